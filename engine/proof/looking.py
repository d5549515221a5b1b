"""What rendered messages show: sizes, subjects, links, forgotten braces.

Columns, not messages: a look at a chunk costs some microseconds a row.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from engine.message import Messages
from engine.proof.count import Count, Counts, Example, merge, note
from engine.providers.base import Provider

#: Characters of a subject that a wide inbox shows, about; a phone shows half of them.
#: Common advice, no measurement of ours.
LONG_SUBJECT: Final = 70
#: Bytes of HTML behind which Gmail cuts a message off: "[Message clipped]".
CLIPPED: Final = 102 * 1024
#: What a template leaves that was not rendered. Not `}}`, which ends CSS, too.
_BRACES: Final = r"\{\{|\{%|\*\|[A-Z_]+\|\*|%%[A-Za-z_]+%%"
_AROUND_BRACES: Final = rf".{{0,20}}(?:{_BRACES}).{{0,30}}"
#: A link without https. The names of XML are no links, and nobody follows them.
_LINK: Final = re.compile(r"http://(?!www\.w3\.org/)[^\s\"'<>?#)]+", re.IGNORECASE)
#: Different links told.
LINKS: Final = 50
#: Bytes of JSON or MIME that a byte of a message can become, and of its frame: what
#: is below the limit by this measure need not be encoded to know that it is.
_GROWTH, _FRAME = 3, 20_000


@dataclass(slots=True)
class Most:
    """The largest of something, and the row that has it."""

    size: int = -1
    example: Example = field(default_factory=lambda: Example(0, ""))

    def add(self, size: int, example: Example) -> None:
        """Take notice of one."""
        if size > self.size or (size == self.size and example < self.example):
            self.size, self.example = size, example


@dataclass(slots=True)
class Look:
    """What messages show; looks add up.

    Attributes:
        empty_subjects: rows without a subject.
        long_subjects: rows whose subject is cut off in most inboxes.
        longest_subject: in characters.
        largest: HTML, in bytes; text where there is none.
        bytes: of all bodies that `largest` is one of.
        clipped: rows that Gmail cuts off.
        too_large: rows that no request to the provider has room for.
        braces: rows with something that looks unrendered, by part.
        links: rows by the link without https.
    """

    empty_subjects: Count = field(default_factory=Count)
    long_subjects: Count = field(default_factory=Count)
    longest_subject: Most = field(default_factory=Most)
    largest: Most = field(default_factory=Most)
    bytes: int = 0
    clipped: Count = field(default_factory=Count)
    too_large: Count = field(default_factory=Count)
    braces: Counts[str] = field(default_factory=dict)
    links: Counts[str] = field(default_factory=dict)

    def merge(self, other: "Look") -> None:
        """Take in what other messages show."""
        for name in ("empty_subjects", "long_subjects", "clipped", "too_large"):
            getattr(self, name).merge(getattr(other, name))
        for name in ("longest_subject", "largest"):
            theirs = getattr(other, name)
            getattr(self, name).add(theirs.size, theirs.example)
        self.bytes += other.bytes
        merge(self.braces, other.braces, most=LINKS)
        merge(self.links, other.links, most=LINKS)

    def add(self, messages: Messages, keys: list[str], provider: Provider) -> None:
        """Look at messages; keys: of their rows, in the same order."""
        if not len(messages):
            return
        columns = {
            "subject": messages.subjects,
            "html": messages.htmls,
            "text": messages.texts,
        }
        parts = {
            part: pl.Series(column, dtype=pl.String)
            for part, column in columns.items()
            if column is not None
        }
        self._subjects(parts["subject"], messages, keys)
        for part, column in parts.items():
            self._braces(part, column, messages, keys)
        bodies = [column for part, column in parts.items() if part != "subject"]
        self._links(bodies, messages, keys)
        self._sizes(parts, messages, keys, provider)

    def _subjects(
        self, subjects: pl.Series, messages: Messages, keys: list[str]
    ) -> None:
        lengths = subjects.str.len_chars()
        longest = lengths.arg_max() or 0
        said = messages.subjects[longest]
        self.longest_subject.add(
            int(lengths[longest]), Example(messages.rows[longest], keys[longest], said)
        )
        for count, places in (
            (self.empty_subjects, lengths == 0),
            (self.long_subjects, lengths > LONG_SUBJECT),
        ):
            for place in places.arg_true():
                said = messages.subjects[place] if count.wants_examples else ""
                count.add(Example(messages.rows[place], keys[place], said))

    def _braces(
        self, part: str, column: pl.Series, messages: Messages, keys: list[str]
    ) -> None:
        for place in column.str.contains(_BRACES).arg_true():
            said = re.search(_AROUND_BRACES, column[place])
            told = said[0].strip() if said else ""
            note(self.braces, part, Example(messages.rows[place], keys[place], told))

    def _links(
        self, bodies: list[pl.Series], messages: Messages, keys: list[str]
    ) -> None:
        """Count the links of each message once, in however many of its bodies."""
        found: dict[int, set[str]] = {}
        for column in bodies:
            for place in column.str.contains("http://", literal=True).arg_true():
                found.setdefault(place, set()).update(_LINK.findall(column[place]))
        for place in sorted(found):
            for link in sorted(found[place]):
                if link in self.links or len(self.links) < LINKS:
                    example = Example(messages.rows[place], keys[place])
                    note(self.links, link, example)

    def _sizes(
        self,
        parts: dict[str, pl.Series],
        messages: Messages,
        keys: list[str],
        provider: Provider,
    ) -> None:
        sizes = {part: column.str.len_bytes() for part, column in parts.items()}
        shown = sizes.get("html", sizes.get("text", sizes["subject"]))
        for place in (shown.arg_max() or 0,):
            example = Example(messages.rows[place], keys[place])
            self.largest.add(int(shown[place]), example)
        self.bytes += int(shown.sum())
        if "html" in sizes:
            for place in (sizes["html"] > CLIPPED).arg_true():
                told = f"{int(shown[place]):,} bytes"
                self.clipped.add(Example(messages.rows[place], keys[place], told))
        for place, size in _over(list(sizes.values()), messages, provider):
            told = f"{size:,} bytes"
            self.too_large.add(Example(messages.rows[place], keys[place], told))


def _over(
    sizes: list[pl.Series], messages: Messages, provider: Provider
) -> Iterator[tuple[int, int]]:
    """Yield the messages that no request has room for, with their bytes."""
    most = provider.capabilities.max_batch_bytes
    whole = pl.select(pl.sum_horizontal(*sizes) * _GROWTH + _FRAME).to_series()
    places = (whole > most).arg_true().to_list()
    if messages.extras is not None:
        attached = [
            place
            for place, extras in enumerate(messages.extras)
            if extras.attachments or extras.calendar
        ]
        places = sorted({*places, *attached})
    for place in places:
        (made,) = provider.encode(messages.at([place]))
        if len(made) > most:
            yield place, len(made)
