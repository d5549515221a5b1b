"""A recipe, compiled: what every message has, and what differs from row to row.

Constants are made once. What varies is filled by its inline templates, read, and judged
again: a row may not end a header early, name two mailboxes for one, or reach for a file
that is not below its folder. Then the row fails, and says where and why.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from engine.message import HEADER_UNSAFE, Attachment, Extras, Feature
from engine.render import calendar, files
from engine.render.recipe import File, Invitation, Recipe, Words

T = TypeVar("T")

#: Fills an inline template with a row's data.
Fill = Callable[[Mapping[str, Any]], str]


class Unusable(Exception):
    """What a row has made of its extras cannot be sent.

    Attributes:
        reason: short code.
        place: where it stands in the campaign file.
        detail: a sentence.
    """

    def __init__(self, reason: str, place: str, detail: str) -> None:
        super().__init__(reason, place, detail)
        self.reason = reason
        self.place = place
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Row:
    """Whom a message goes to, and the data of the row."""

    values: Mapping[str, Any]
    address: str
    name: str
    message_id: str


class Gap(Generic[T]):
    """A place for words, filled row by row or once for all.

    Args:
        words: what stands there.
        fill: fills the template that they are; not called where they are none.
        reason: of the failure if a row's text cannot be read.
        one_line: whether it is checked for what a header may not hold.
    """

    __slots__ = ("_constant", "_fill", "_one_line", "_reason", "_words")

    def __init__(
        self, words: Words[T], fill: Fill, reason: str, *, one_line: bool = False
    ) -> None:
        self._words = words
        self._fill = fill
        self._reason = reason
        self._one_line = one_line
        self._constant = None if words.inline else words.read(words.text)

    def value(self, row: Row) -> T | None:
        """Return what a row makes of it; None where it leaves it empty.

        Raises:
            Unusable: it cannot be read.
        """
        if not self._words.inline:
            return self._constant
        text = self._fill(row.values).strip()
        place = self._words.place
        if self._one_line and (found := HEADER_UNSAFE.search(text)):
            told = f"it has a control code or line end (U+{ord(found[0]):04X})"
            raise Unusable("header_unsafe", place, f"{told} at {found.start() + 1}")
        if not text:
            return None
        try:
            text.encode()
            return self._words.read(text)
        except UnicodeEncodeError:
            told = "it has half of a surrogate pair"
            raise Unusable("template_error", place, told) from None
        except ValueError as error:
            raise Unusable(self._reason, place, f"{text!r}: {error}") from None


class ExtrasMaker:
    """Makes the extras of messages.

    Args:
        recipe: what the campaign file says.
        compiled: gives what fills an inline template.
    """

    def __init__(self, recipe: Recipe, compiled: Callable[[Words[Any]], Fill]) -> None:
        self._moment = recipe.moment

        def header(words: Words[str]) -> Gap[str]:
            return Gap(words, compiled(words), "header_unsafe", one_line=True)

        def mailbox(words: Words[str]) -> Gap[str]:
            return Gap(words, compiled(words), "mailbox_unfit", one_line=True)

        self._reply_to = None if recipe.reply_to is None else mailbox(recipe.reply_to)
        self._cc = [mailbox(words) for words in recipe.cc]
        self._bcc = [mailbox(words) for words in recipe.bcc]
        self._headers = {name: header(words) for name, words in recipe.headers.items()}
        self._metadata = {n: header(words) for n, words in recipe.metadata.items()}
        shelf = files.Shelf()
        self._files = [_Attaching(file, shelf, compiled) for file in recipe.files]
        self._calendar = None
        if recipe.invitation is not None:
            self._calendar = _Inviting(recipe.invitation, compiled)

    def make(self, row: Row) -> Extras:
        """Return the extras of one message.

        Raises:
            Unusable: they cannot be sent.
            Exception: whatever an inline template raises.
        """
        calendar = self._calendar
        return Extras(
            reply_to=self._reply_to.value(row) if self._reply_to else None,
            cc=_present(self._cc, row),
            bcc=_present(self._bcc, row),
            headers=_filled(self._headers, row),
            metadata=_filled(self._metadata, row, empty=""),
            attachments=tuple(
                made for file in self._files if (made := file.make(row)) is not None
            ),
            calendar=calendar.make(row, self._moment) if calendar else None,
        )


def shared(recipe: Recipe) -> Extras:
    """Return what every message has, whatever its row.

    Of metadata every name is there: whoever says that they cannot be sent names them.
    """

    def constant(words: Words[str] | None) -> str | None:
        return None if words is None or words.inline else words.read(words.text)

    def present(texts: tuple[Words[str], ...]) -> tuple[str, ...]:
        return tuple(text for words in texts if (text := constant(words)) is not None)

    def named(texts: Mapping[str, Words[str]]) -> dict[str, str]:
        found = {name: constant(words) for name, words in texts.items()}
        return {name: text for name, text in found.items() if text is not None}

    return Extras(
        reply_to=constant(recipe.reply_to),
        cc=present(recipe.cc),
        bcc=present(recipe.bcc),
        headers={name: text for name, text in named(recipe.headers).items() if text},
        metadata=dict.fromkeys(recipe.metadata, "") | named(recipe.metadata),
        attachments=tuple(
            _attachment(file, file.path.text, None, files.encoded(file.content))
            for file in recipe.files
            if not file.varies and file.content is not None
        ),
    )


def varying(recipe: Recipe) -> frozenset[Feature]:
    """Return what differs from row to row."""

    def any_inline(texts: Iterator[Words[str]]) -> bool:
        return any(words.inline for words in texts)

    changing = [file for file in recipe.files if file.varies]
    present = {
        Feature.REPLY_TO: recipe.reply_to is not None and recipe.reply_to.inline,
        Feature.CC: any_inline(iter(recipe.cc)),
        Feature.BCC: any_inline(iter(recipe.bcc)),
        Feature.HEADERS: any_inline(iter(recipe.headers.values())),
        Feature.METADATA: any_inline(iter(recipe.metadata.values())),
        Feature.ATTACHMENTS: bool(changing),
        Feature.INLINE: any(file.content_id is not None for file in changing),
        Feature.CALENDAR: recipe.invitation is not None,
    }
    return frozenset(feature for feature, varies in present.items() if varies)


def all_words(recipe: Recipe) -> Iterator[Words[Any]]:
    """Yield every text of a recipe."""
    if recipe.reply_to is not None:
        yield recipe.reply_to
    yield from (*recipe.cc, *recipe.bcc)
    yield from (*recipe.headers.values(), *recipe.metadata.values())
    for file in recipe.files:
        yield file.path
        if file.name is not None:
            yield file.name
    if recipe.invitation is not None:
        for key in Invitation.__slots__:
            if (words := getattr(recipe.invitation, key)) is not None:
                yield words


def _present(gaps: list[Gap[str]], row: Row) -> tuple[str, ...]:
    return tuple(text for gap in gaps if (text := gap.value(row)))


def _filled(
    gaps: Mapping[str, Gap[str]], row: Row, empty: str | None = None
) -> dict[str, str]:
    found = {name: gap.value(row) or empty for name, gap in gaps.items()}
    return {name: text for name, text in found.items() if text is not None}


def _attachment(file: File, path: str, name: str | None, content: str) -> Attachment:
    if name is None and file.name is not None and not file.name.inline:
        name = file.name.text
    name = name or files.file_name(path)
    kind = file.content_type or files.media_type(name)
    return Attachment(name, kind, content, file.content_id)


class _Attaching:
    """Attaches one file of the campaign file's list."""

    def __init__(
        self,
        file: File,
        shelf: files.Shelf,
        compiled: Callable[[Words[Any]], Fill],
    ) -> None:
        self._file = file
        self._shelf = shelf
        self._path = Gap(
            file.path, compiled(file.path), "attachment_unfit", one_line=True
        )
        self._name: Gap[str] | None = None
        if file.name is not None:
            fill = compiled(file.name)
            self._name = Gap(file.name, fill, "attachment_unfit", one_line=True)
        self._content: str | None = None
        self._constant: Attachment | None = None
        if file.content is not None:
            self._content = files.encoded(file.content)
            if not file.varies:
                self._constant = _attachment(file, file.path.text, None, self._content)

    def make(self, row: Row) -> Attachment | None:
        """Return the attachment of a row; None: it has none and needs none."""
        if self._constant is not None:
            return self._constant
        file, place = self._file, self._file.path.place
        path = self._path.value(row)
        name = self._name.value(row) if self._name else None
        if path is None:
            if not file.required:
                return None
            raise Unusable("attachment_missing", place, "the path is empty")
        try:
            content = self._content
            if content is None:
                content = self._shelf.take(file.folder, path)
        except files.FileMissing as error:
            if not file.required:
                return None
            detail = f"{path!r}: {error} in {file.folder}"
            raise Unusable("attachment_missing", place, detail) from None
        except files.FileUnfit as error:
            raise Unusable("attachment_unfit", place, f"{path!r}: {error}") from None
        if HEADER_UNSAFE.search(files.file_name(path)):
            told = f"{path!r}: its name has a control code"
            raise Unusable("attachment_unfit", place, told)
        return _attachment(file, path, name, content)


class _Inviting:
    """Writes the invitations."""

    def __init__(
        self, invitation: Invitation, compiled: Callable[[Words[Any]], Fill]
    ) -> None:
        self._gaps: dict[str, Gap[Any]] = {}
        for key in Invitation.__slots__:
            words: Words[Any] | None = getattr(invitation, key)
            if words is not None:
                self._gaps[key] = Gap(words, compiled(words), "calendar_unfit")

    def make(self, row: Row, moment: datetime) -> str:
        """Return the invitation of a row, with CRLF."""
        place = "[message.calendar]"
        found: dict[str, Any] = dict.fromkeys(Invitation.__slots__)
        found |= {key: gap.value(row) for key, gap in self._gaps.items()}
        for key in ("summary", "start", "organizer"):
            if found[key] is None:
                raise Unusable("calendar_unfit", f"{place} {key}", "it is empty")
        event = calendar.Event(
            uid=found["uid"] or row.message_id,
            stamp=moment,
            method=found["method"] or "REQUEST",
            sequence=found["sequence"] or 0,
            summary=found["summary"],
            start=found["start"],
            end=found["end"],
            duration=found["duration"],
            zone=found["timezone"],
            organizer=found["organizer"],
            attendee=(row.address, row.name),
            location=found["location"],
            description=found["description"],
            url=found["url"],
            alarm_minutes=found["alarm_minutes"],
        )
        try:
            return calendar.write(event)
        except (ValueError, OverflowError) as error:
            raise Unusable("calendar_unfit", place, str(error)) from None
