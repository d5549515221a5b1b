"""Rows in, messages out: one bad row fails alone and says where.

Where there is Markdown, the HTML is made from it, and where no template makes the text
part it is made from the HTML, if that is wanted. What is the same for all messages
beside these is not the renderer's: see `engine.render.extras`.

The templates of a run are compiled once. What a header may not hold (a line end, a
NUL, any control code) makes the row fail after rendering; nothing is stripped in
silence but the white space around a subject.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import (
    Environment,
    TemplateError,
    TemplateNotFound,
    TemplatesNotFound,
    TemplateSyntaxError,
    UndefinedError,
)

from engine.errors import TemplateError as BadTemplate
from engine.message import HEADER_UNSAFE, Extras, Messages
from engine.render import markdown, plain
from engine.render.environment import Sources, environment
from engine.render.extras import ExtrasMaker, Row, Unusable, all_words, varying
from engine.render.filler import Filler
from engine.render.made import Made
from engine.render.recipe import Recipe, Words
from engine.render.slots import Data, Slots, Uncut
from engine.render.template import CAMPAIGN, Tree
from engine.render.watch import Watch
from engine.texts import Texts

ESCAPED_PARTS = frozenset({"html"})
#: What ends a line, for one reader of mail or another.
LINE_ENDS = frozenset("\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029")
#: Characters of a failure's detail: some errors quote the value, which may be a book.
LONGEST_DETAIL = 500
#: What an attachment is shown by in HTML and Markdown; the second is up to the row.
SHOWN = re.compile(r"cid:(?:([A-Za-z0-9._@+-]+)|(\{[{%]))")


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that could not be rendered.

    Attributes:
        row: 0-based input position.
        reason: short code: `undefined`, `template_error`, `header_unsafe`,
            `mailbox_unfit`, `attachment_missing`, `attachment_unfit` or
            `calendar_unfit`.
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
        parts: `subject`, and one or more of `html`, `markdown` and `text`, the first
            two not together, to template names.
        campaign: what templates see as `campaign`, even where a column has that name.
        recipe: what messages have beside these parts; None: nothing.
        derive_text: whether the text part is made from the HTML. It takes some 200 us
            a message (3.2 kB of HTML, November 2026), a template takes 5.
        watch: told of the branches that rows take; then nothing is remembered from row
            to row.

    Attributes:
        uncut: parts that are rendered row by row, which takes longer, and why.
        elsewhere: what is said of names that are no columns, and why they may be meant.

    Raises:
        TemplateError: a template is not there, does not compile or includes one that
            is not there; with every such problem of all parts, file and line.
    """

    def __init__(
        self,
        directory: Path,
        parts: Mapping[str, str],
        campaign: Mapping[str, Any],
        *,
        recipe: Recipe | None = None,
        derive_text: bool = False,
        watch: Watch | None = None,
    ) -> None:
        self.uncut: dict[str, str] = {}
        self.elsewhere: Mapping[str, str] = {}
        self._watch = watch
        self._sources = Sources(directory)
        self._plain = environment(self._sources, escape=False)
        by_part = dict.fromkeys(parts, self._plain)
        if "html" in parts:
            by_part["html"] = environment(self._sources, escape=True)
        if "markdown" in parts:
            by_part["markdown"] = environment(
                self._sources, escape=False, extensions=[markdown.Marks]
            )
        for env in {id(env): env for env in (self._plain, *by_part.values())}.values():
            env.globals[CAMPAIGN] = campaign
            if watch is not None:
                watch.attach(env)
        self._parts = {
            part: Tree.read(by_part[part], self._sources, name)
            for part, name in parts.items()
        }
        inline = self._read_inline(recipe)
        self._trees = [*self._parts.values(), *inline.values()]
        problems = [p for tree in self._trees for p in tree.problems]
        if problems:
            raise BadTemplate(*dict.fromkeys(problems))
        fillers = {p: Filler(by_part[p].get_template(n)) for p, n in parts.items()}
        self._subject = fillers["subject"]
        self._html = fillers.get("html")
        self._text = fillers.get("text")
        self._markdown = fillers.get("markdown")
        self._convert = markdown.converter() if self._markdown else None
        derived = derive_text and not self._text
        self._derive = plain.reader() if derived else None
        self._slots = {} if watch else self._cut(parts, by_part)
        self._maker = self._compiled(recipe, inline)
        self._files = self._sources.labels

    def _read_inline(self, recipe: Recipe | None) -> dict[Words[Any], Tree]:
        """Read the inline templates of a recipe."""
        trees = {}
        for words in all_words(recipe) if recipe else ():
            if words.inline:
                file = recipe.file if recipe else Path()
                name = self._sources.add_inline(words.place, words.text, file)
                trees[words] = Tree.read(self._plain, self._sources, name)
        return trees

    def _cut(
        self, parts: Mapping[str, str], by_part: Mapping[str, Environment]
    ) -> dict[str, Slots]:
        """Cut the parts that can be cut; note why the others cannot.

        Markdown is left whole: its marks are no text, and to convert it takes so long
        that nothing would be gained.
        """
        found = {}
        for part, name in parts.items():
            if part == "markdown":
                continue
            try:
                found[part] = Slots(by_part[part], self._sources, name)
            except Uncut as error:
                self.uncut[part] = str(error)
        return found

    def _compiled(
        self, recipe: Recipe | None, inline: Mapping[Words[Any], Tree]
    ) -> ExtrasMaker | None:
        """Compile a recipe; None if all its messages are alike."""
        if recipe is None or not varying(recipe):
            return None
        fillers = {
            words: Filler(self._plain.get_template(tree.names[0]))
            for words, tree in inline.items()
        }
        return ExtrasMaker(
            recipe, lambda words: fillers[words].fill if words.inline else _nothing
        )

    @property
    def columns(self) -> frozenset[str] | None:
        """The columns that the templates read; None where any may be read."""
        if any(tree.dynamic for tree in self._trees):
            return None
        return frozenset(
            name for tree in self._trees for name in (*tree.asked, *tree.optional)
        )

    @property
    def sources(self) -> dict[str, str]:
        """The text of every template file in use, by its name below the folder."""
        return dict(self._sources.texts)

    def shown_ids(self) -> frozenset[str] | None:
        """Return what attachments the HTML shows; None where a row may choose them."""
        parts = (self._parts.get("html"), self._parts.get("markdown"))
        found = [
            match
            for tree in parts
            if tree is not None
            for name in tree.names
            for match in SHOWN.finditer(self._sources.read(name))
        ]
        if any(match[2] for match in found):
            return None
        return frozenset(match[1] for match in found)

    def check_columns(self, columns: Iterable[str]) -> None:
        """Refuse templates that ask for what the list does not have.

        Raises:
            TemplateError: with every such name, its file and line.
        """
        known = list(columns)
        problems = [
            p for tree in self._trees for p in tree.missing(known, self.elsewhere)
        ]
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
        made = self._columns(chunk)
        doubtful = made.doubtful(names)
        one_by_one = sorted(doubtful) if self._maker is None else range(len(rows))
        values = chunk["data"].to_list() if one_by_one else []
        bodies: dict[int, tuple[str, str, str, str]] = {}
        extras: list[Extras] = []
        failures: dict[int, Failure] = {}
        for place in one_by_one:
            if self._watch is not None:
                self._watch.begin(place)
            values[place].pop(CAMPAIGN, None)
            try:
                if place in doubtful:
                    bodies[place] = self._bodies(values[place])
                    names[place] = _header(names[place], "display name")
                if self._maker is not None:
                    row = Row(
                        values[place],
                        addresses[place],
                        names[place].strip(),
                        message_ids[place],
                    )
                    extras.append(self._maker.make(row))
            except Exception as error:  # noqa: BLE001 - a template can raise anything
                failures[place] = self._failure(rows[place], error, values[place])
        made.put(bodies)
        messages = Messages(
            rows=rows,
            addresses=addresses,
            names=[*map(str.strip, names)],
            message_ids=message_ids,
            subjects=made.subjects,
            htmls=made.htmls,
            texts=made.texts,
            markdowns=made.markdowns,
        )
        if failures:
            kept = [place for place in range(len(rows)) if place not in failures]
            messages = messages.at(kept)
        if self._maker is not None:
            messages = replace(messages, extras=extras)
        return Rendered(messages, [*failures.values()])

    def _columns(self, chunk: pl.DataFrame) -> Made:
        """Render all rows part by part; what failed is an empty text in doubt."""
        frame = chunk["data"].struct.unnest()
        if CAMPAIGN in frame.columns:  # a query of its own: not where there is nothing
            frame = frame.drop(CAMPAIGN)
        data = Data(frame)
        made = Made(self._column("subject", self._subject, data))
        if self._markdown and self._convert:
            sources = made.each(
                self._column("markdown", self._markdown, data), markdown.unmarked
            )
            made.markdowns = made.filled(sources)
            made.htmls = made.filled(made.each(sources, self._convert))
        if self._html:
            made.htmls = made.filled(self._column("html", self._html, data))
        if self._text:
            made.texts = made.filled(self._column("text", self._text, data))
        if self._derive and made.htmls is not None:
            made.texts = made.filled(made.each(made.htmls, self._derive))
        return made

    def _column(
        self, part: str, filler: Filler, data: Data
    ) -> Texts | list[str | None]:
        """Render one part of all rows; None where it failed."""
        if part in self._slots:
            return self._slots[part].fill(data)
        found: list[str | None] = []
        for place, values in enumerate(data.frame.iter_rows(named=True)):
            if self._watch is not None:
                self._watch.begin(place)
            try:
                found.append(filler.fill(values))
            except Exception:  # noqa: BLE001 - a template can raise anything
                found.append(None)
        return found

    def _bodies(self, values: Mapping[str, Any]) -> tuple[str, str, str, str]:
        """Return subject, HTML, text and Markdown of a row; "" for what is not."""
        subject = _header(self._subject.fill(values), "subject")
        html = self._html.fill(values) if self._html else ""
        source = ""
        if self._markdown and self._convert:
            source = markdown.unmarked(self._markdown.fill(values))
            _refuse_surrogates(markdown=source)
            html = self._convert(source)
        text = self._text.fill(values) if self._text else ""
        _refuse_surrogates(subject=subject, html=html, text=text)
        if self._derive:
            text = self._derive(html)
        return subject, html, text, source

    def _failure(
        self, row: int, error: Exception, values: Mapping[str, Any]
    ) -> Failure:
        match error:
            case Unfit():
                reason = "template_error" if error.is_surrogate else "header_unsafe"
                tree = self._parts.get(error.part)
                place = tree.names[0] if tree else "the list"
                what = _told(error, values)
            case Unusable():
                reason, place, what = error.reason, error.place, error.detail
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
            file, _ = files.get(error.filename or "", ("template", False))
            return f"{file}:{error.lineno}"
        place = "template"
        step = error.__traceback__
        while step is not None:
            name = files.get(step.tb_frame.f_code.co_filename)
            if name is not None:
                file, inline = name
                place = file if inline else f"{file}:{step.tb_lineno}"
            step = step.tb_next
        return place


def _nothing(values: Mapping[str, Any]) -> str:  # noqa: ARG001 - the form of a filler
    raise AssertionError("a constant is not filled")


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
