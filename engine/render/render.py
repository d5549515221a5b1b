"""Rows in, messages out: one bad row fails alone and says where.

The templates of a run are compiled once. What a header may not hold (a line end, a
NUL, any control code) makes the row fail after rendering; nothing is stripped in
silence but the white space around a subject.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import (
    TemplateError,
    TemplateNotFound,
    TemplatesNotFound,
    TemplateSyntaxError,
    UndefinedError,
)

from engine.errors import TemplateError as BadTemplate
from engine.message import HEADER_UNSAFE, Messages
from engine.render.environment import Sources, environment
from engine.render.filler import Filler
from engine.render.template import CAMPAIGN, Tree

ESCAPED_PARTS = frozenset({"html"})
#: What ends a line, for one reader of mail or another.
LINE_ENDS = frozenset("\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
#: Characters of a failure's detail: some errors quote the value, which may be a book.
LONGEST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that could not be rendered.

    Attributes:
        row: 0-based input position.
        reason: short code: `undefined`, `template_error` or `header_unsafe`.
        detail: template, line and what went wrong there, in one line.
    """

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of a run of rows: messages in input order, and the failures."""

    messages: Messages
    failures: list[Failure]


class Unfit(Exception):
    """What was rendered may not stand where it is to stand.

    Attributes:
        part: the part of the message.
        character: what may not stand there.
        place: its 0-based place in the part.
    """

    def __init__(self, part: str, character: str, place: int) -> None:
        super().__init__(part, character, place)
        self.part = part
        self.character = character
        self.place = place

    @property
    def is_surrogate(self) -> bool:
        """Whether it is half a surrogate pair, which can be neither JSON nor mail."""
        return "\ud800" <= self.character <= "\udfff"


class Renderer:
    """The compiled templates of one run.

    Args:
        directory: the folder of the templates.
        parts: `subject`, and `html` or `text` or both, to template names.
        campaign: what templates see as `campaign`, even where a column has that name.

    Raises:
        TemplateError: a template is not there, does not compile or includes one that
            is not there; with every such problem of all parts, file and line.
    """

    def __init__(
        self, directory: Path, parts: Mapping[str, str], campaign: Mapping[str, Any]
    ) -> None:
        self._sources = Sources(directory)
        plain = environment(self._sources, escape=False)
        escaping = environment(self._sources, escape=True)
        by_part = {p: escaping if p in ESCAPED_PARTS else plain for p in parts}
        for env in (plain, escaping):
            env.globals[CAMPAIGN] = campaign
        self._trees = {
            part: Tree.read(by_part[part], self._sources, name)
            for part, name in parts.items()
        }
        problems = [p for tree in self._trees.values() for p in tree.problems]
        if problems:
            raise BadTemplate(*dict.fromkeys(problems))
        fillers = {p: Filler(by_part[p].get_template(n)) for p, n in parts.items()}
        self._subject = fillers["subject"]
        self._html = fillers.get("html")
        self._text = fillers.get("text")
        self._files = {str(self._sources.file(n)): n for n in self._sources.texts}

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
        return dict(self._sources.texts)

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
            values.pop(CAMPAIGN, None)
            try:
                subject = _header(self._subject.fill(values), "subject")
                name = _header(names[place], "display name")
                html = self._html.fill(values) if self._html else ""
                text = self._text.fill(values) if self._text else ""
                _refuse_surrogates(subject=subject, html=html, text=text)
            except Exception as error:  # noqa: BLE001 - a template can raise anything
                failures.append(self._failure(rows[place], error, values))
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

    def _failure(
        self, row: int, error: Exception, values: Mapping[str, Any]
    ) -> Failure:
        match error:
            case Unfit():
                reason = "template_error" if error.is_surrogate else "header_unsafe"
                tree = self._trees.get(error.part)
                place = tree.names[0] if tree else "the list"
                what = _told(error, values)
            case UndefinedError():
                reason, place = "undefined", self._place(error)
                what = str(error).replace("'None' has", "an empty cell has", 1)
            case _:
                reason, place = "template_error", self._place(error)
                what = _in_words(error)
        detail = HEADER_UNSAFE.sub(" ", f"{place}: {what}")[:LONGEST_DETAIL]
        # A detail is stored as UTF-8, which has no lone surrogates.
        stored = detail.encode(errors="backslashreplace").decode()
        return Failure(row, reason, stored)

    def _place(self, error: Exception) -> str:
        """Name the template and line in which an error arose.

        Jinja rewrites tracebacks so that a frame of a compiled template bears the
        template's file and line.
        """
        files = self._files
        if isinstance(error, TemplateSyntaxError):  # of a template that the row chose
            return f"{files.get(error.filename or '', 'template')}:{error.lineno}"
        place = "template"
        step = error.__traceback__
        while step is not None:
            name = files.get(step.tb_frame.f_code.co_filename)
            if name is not None:
                place = f"{name}:{step.tb_lineno}"
            step = step.tb_next
        return place


def _in_words(error: Exception) -> str:
    """Say what a template raised."""
    match error:
        case TemplateNotFound() if not isinstance(error, TemplatesNotFound):
            return f"there is no template {error.name}"
        case TemplateError():
            return error.message or type(error).__name__
        case _:
            return f"{type(error).__name__}: {error}".removesuffix(": ")


def _told(error: Unfit, values: Mapping[str, Any]) -> str:
    """Say what is wrong with a part, and which columns it comes from."""
    character = error.character
    what = "a line end" if character in LINE_ENDS else "a control code"
    if error.is_surrogate:
        what = "half of a surrogate pair"
    told = (
        f"the {error.part} has {what} (U+{ord(character):04X}) "
        f"at character {error.place + 1}"
    )
    found = [
        f'"{name}"'
        for name, value in values.items()
        if isinstance(value, str) and character in value
    ]
    if found and error.part == "subject":
        told += f", as has the column {' and '.join(found)}"
    return told


def _header(value: str, part: str) -> str:
    """Return a value fit for a header, without the white space around it."""
    value = value.strip()
    if found := HEADER_UNSAFE.search(value):
        raise Unfit(part, found[0], found.start())
    return value


def _refuse_surrogates(**parts: str) -> None:
    """Refuse half a surrogate pair in any part."""
    try:
        "".join(parts.values()).encode()
    except UnicodeEncodeError:
        for part, value in parts.items():
            if found := re.search("[\ud800-\udfff]", value):
                raise Unfit(part, found[0], found.start()) from None
