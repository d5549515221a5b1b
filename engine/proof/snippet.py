"""What is read around a field that is empty: `Hello ▯, thank you for joining`."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.message import Messages
from engine.proof.watching import END, MARK

#: Characters shown on either side, and looked at to find them.
_BESIDE, _LOOKED_AT = 36, 1000
_TAG = re.compile(r"<[^<>]*>")
_BLOCK = re.compile(
    r"</?(?:p|div|td|tr|table|li|ul|h[1-6]|br|title)\b[^<>]*>", re.IGNORECASE
)
_SPACE = re.compile(r"[ \t\r\f\v]+")
_MARKS = re.compile(f"{MARK}[0-9]+{END}")
#: What a sentence cannot have before its next mark: nothing at all.
_STOPS = ",.;:!?)\u201d\u2019…"


@dataclass(frozen=True, slots=True)
class Snippet:
    """A line of a message with a gap in it.

    Attributes:
        part: `subject`, `text` or `html`.
        before: what is read before the gap, on the same line.
        after: what is read behind it.
        inside_tag: whether it is in an attribute, where nobody reads it.
    """

    part: str
    before: str
    after: str
    inside_tag: bool = False

    @property
    def breaks(self) -> bool:
        """Whether the sentence reads as if something were missing: `Hi ,`."""
        if self.inside_tag:
            return False
        before, after = self.before, self.after
        parted = not before or before[-1].isspace()
        joined = not after or after[0].isspace() or after[0] in _STOPS
        return bool(before or after) and parted and joined

    def __str__(self) -> str:
        """Say it as people read it, with a box for the gap."""
        return f"{self.before}▯{self.after}"


def snippet(marked: Messages, number: int) -> Snippet | None:
    """Find the gap with a number in the only one of some messages, marked for it."""
    needle = f"{MARK}{number}{END}"
    for part, text in _parts(marked):
        at = text.find(needle)
        if at < 0:
            continue
        before = text[max(0, at - _LOOKED_AT) : at]
        after = text[at + len(needle) :][:_LOOKED_AT]
        before, after = _MARKS.sub("", before), _MARKS.sub("", after)
        inside = part == "html" and before.rfind("<") > before.rfind(">")
        if part == "html" and not inside:
            before = before[before.find(">") + 1 :] if len(before) > _BESIDE else before
            before, after = _read(before), _read(after)
        return Snippet(part, _end(before), _start(after), inside)
    return None


def _parts(messages: Messages) -> Iterator[tuple[str, str]]:
    yield "subject", messages.subjects[0]
    if messages.texts is not None:
        yield "text", messages.texts[0]
    if messages.htmls is not None:
        yield "html", messages.htmls[0]


def _read(source: str) -> str:
    """Return what of HTML is read, with its lines."""
    flowed = source.replace("\n", " ")
    return html.unescape(_TAG.sub("", _BLOCK.sub("\n", flowed)))


def _end(text: str) -> str:
    line = _SPACE.sub(" ", text.rpartition("\n")[2]).lstrip(" ")
    return line if len(line) <= _BESIDE else f"…{line[-_BESIDE:]}"


def _start(text: str) -> str:
    line = _SPACE.sub(" ", text.partition("\n")[0]).rstrip(" ")
    return line if len(line) <= _BESIDE else f"{line[:_BESIDE]}…"
