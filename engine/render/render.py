"""Rows in, messages out: one bad row fails alone and says where.

The templates of a run are compiled once. What a header may not hold (a line end, a
NUL, any control code) makes the row fail after rendering; nothing is stripped in
silence but the white space around a subject.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import TemplateError, UndefinedError

from engine.errors import TemplateError as BadTemplate
from engine.message import HEADER_UNSAFE, Messages
from engine.render.environment import environment
from engine.render.template import Tree

ESCAPED_PARTS = frozenset({"html"})


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that could not be rendered.

    Attributes:
        row: 0-based input position.
        reason: short code: `undefined`, `template_error` or `header_unsafe`.
        detail: template, line and what went wrong there.
    """

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of a run of rows: messages in input order, and the failures."""

    messages: Messages
    failures: list[Failure]


class UnsafeHeader(Exception):
    """A rendered value may not stand in a header."""


class Renderer:
    """The compiled templates of one run.

    Args:
        directory: the folder of the templates.
        parts: `subject`, and `html` or `text` or both, to template names.
        campaign: what templates see as `campaign`.

    Raises:
        TemplateError: a template does not compile or includes one that is not there;
            with every such problem of all parts, file and line.
    """

    def __init__(
        self, directory: Path, parts: Mapping[str, str], campaign: Mapping[str, Any]
    ) -> None:
        plain = environment(directory, escape=False)
        escaping = environment(directory, escape=True)
        by_part = {p: escaping if p in ESCAPED_PARTS else plain for p in parts}
        for env in (plain, escaping):
            env.globals["campaign"] = campaign
        self._trees = {
            part: Tree.read(by_part[part], directory, name)
            for part, name in parts.items()
        }
        problems = [p for tree in self._trees.values() for p in tree.problems]
        if problems:
            raise BadTemplate(*dict.fromkeys(problems))
        templates = {p: by_part[p].get_template(n) for p, n in parts.items()}
        self._subject = templates["subject"]
        self._html = templates.get("html")
        self._text = templates.get("text")
        self._directory = directory

    @property
    def columns(self) -> frozenset[str] | None:
        """The columns that the templates read; None where any may be read."""
        if any(tree.dynamic for tree in self._trees.values()):
            return None
        trees = self._trees.values()
        return frozenset(n for tree in trees for n in (*tree.asked, *tree.optional))

    @property
    def sources(self) -> dict[str, str]:
        """The text of every template file in use, by its name below the folder."""
        return {n: s for tree in self._trees.values() for n, s in tree.sources.items()}

    def check_columns(self, columns: Iterable[str]) -> None:
        """Refuse templates that ask for what the list does not have.

        Raises:
            TemplateError: with every such name, its file and line.
        """
        known = list(columns)
        problems = [p for tree in self._trees.values() for p in tree.missing(known)]
        if problems:
            raise BadTemplate(*dict.fromkeys(problems))

    def render(self, chunk: pl.DataFrame) -> Rendered:
        """Render one message per row.

        Args:
            chunk: rows to be mailed, in input order. Columns: row u64, address str,
                name str ("" for none), message_id str, data struct: what the
                templates see, by name.
        """
        rows = chunk["row"].to_list()
        addresses = chunk["address"].to_list()
        names = chunk["name"].to_list()
        message_ids = chunk["message_id"].to_list()
        kept: list[int] = []
        shown: list[str] = []
        subjects: list[str] = []
        htmls: list[str] | None = None if self._html is None else []
        texts: list[str] | None = None if self._text is None else []
        failures: list[Failure] = []
        for place, values in enumerate(chunk["data"].to_list()):
            try:
                subject = _header(self._subject.render(values), "subject")
                name = _header(names[place], "display name")
                html = self._html.render(values) if self._html else ""
                text = self._text.render(values) if self._text else ""
                # A lone surrogate can be neither JSON nor mail.
                f"{subject}{html}{text}".encode()
            except Exception as error:  # noqa: BLE001 - a template can raise anything
                failures.append(self._failure(rows[place], error))
                continue
            kept.append(place)
            shown.append(name)
            subjects.append(subject)
            if htmls is not None:
                htmls.append(html)
            if texts is not None:
                texts.append(text)
        messages = Messages(
            rows=[rows[place] for place in kept],
            addresses=[addresses[place] for place in kept],
            names=shown,
            message_ids=[message_ids[place] for place in kept],
            subjects=subjects,
            htmls=htmls,
            texts=texts,
        )
        return Rendered(messages, failures)

    def _failure(self, row: int, error: Exception) -> Failure:
        if isinstance(error, UnsafeHeader):
            return Failure(row, "header_unsafe", str(error))
        reason = "undefined" if isinstance(error, UndefinedError) else "template_error"
        what = str(error) if isinstance(error, TemplateError) else repr(error)
        return Failure(row, reason, f"{self._place(error)}: {what}")

    def _place(self, error: Exception) -> str:
        """Name the template and line in which an error arose.

        Jinja rewrites tracebacks so that a frame of a compiled template bears the
        template's file and line.
        """
        place = "template"
        step = error.__traceback__
        while step is not None:
            file = Path(step.tb_frame.f_code.co_filename)
            if file.is_relative_to(self._directory):
                place = f"{file.relative_to(self._directory)}:{step.tb_lineno}"
            step = step.tb_next
        return place


def _header(value: str, what: str) -> str:
    """Return a value fit for a header, without the white space around it."""
    value = value.strip()
    if found := HEADER_UNSAFE.search(value):
        raise UnsafeHeader(
            f"the {what} has the control code U+{ord(found[0]):04X} "
            f"at character {found.start() + 1}"
        )
    return value
