"""One header field: encoded words, folding, names, addresses.

Values are returned as they stand behind `Name: `, folded to 76 characters a line where
they can be. `used` is what the name takes of the first line.

What cannot stand as it is becomes encoded words (RFC 2047) as a whole: a reader joins
them again without a space, whereas text beside an encoded word is joined differently
by different readers.
"""

import binascii
import re
from functools import lru_cache
from typing import Final

from engine.message import HEADER_UNSAFE
from engine.mime.mailbox import Mailbox, ascii_domain

#: RFC 2047 section 2: characters of a line that has an encoded word in it.
_LINE = 76
#: RFC 5322 section 2.1.1: characters of a line at most, without CRLF.
_LONGEST_LINE = 998

_START, _END = "=?utf-8?", "?="
#: Characters of an encoded word, 75, without `=?utf-8?q?` and `?=`.
_ROOM = 75 - len(f"{_START}q?{_END}")
#: One character of four bytes, each as `=XX`.
_LEAST = 12

_SPACED = re.compile(" *[^ ]+")
#: RFC 5322 section 3.2.3 with single spaces between: a name that needs no quotes.
_ATOMS = re.compile(r"[\w!#$%&'*+\-/=?^`{|}~]+(?: [\w!#$%&'*+\-/=?^`{|}~]+)*", re.ASCII)
_QUOTABLE = re.compile(r'(["\\])')
#: What may not stand in an address: it would end it, or begin another.
_PART = r'[^\s\x00-\x1f\x7f-\x9f<>()\[\],;:"\\@]+'
_ADDRESS = re.compile(f"{_PART}@{_PART}")
#: RFC 2047 section 5 (3): what may stand for itself in an encoded word in a name.
_PLAIN = re.compile(r"[A-Za-z0-9!*+/-]")
#: Characters whose quoted form is remembered.
_REMEMBERED = 1 << 12


@lru_cache(2048)  # many subjects are alike
def text(value: str, *, used: int) -> str:
    """Return free text, such as a subject.

    Raises:
        ValueError: it has a control character or a line end.
    """
    _check(value)
    if value.isascii() and "=?" not in value and value.strip(" ") == value:
        if used + len(value) <= _LINE:
            return value
        words = _SPACED.findall(value)
        if len(max(words, key=len)) <= _LONGEST_LINE - used:
            return _folded(words, used)
    return _encoded_words(value, used)


def mailbox(box: Mailbox, *, used: int) -> str:
    """Return a name and an address, or an address alone where the name is empty.

    Raises:
        ValueError: either has a control character, or the address has another form
            than `local@domain`.
    """
    address = ascii_domain(box.address)
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{box.address!r} is not an address")
    name = box.name.strip(" ")
    if not name:
        return address
    shown = _phrase(name, used)
    last = len(shown) - shown.rfind("\n") - 1 + (0 if "\n" in shown else used)
    fold = "\r\n" if last + len(address) + 3 > _LINE else ""
    return f"{shown}{fold} <{address}>"


def mailboxes(boxes: list[Mailbox], *, used: int) -> str:
    """Return a list of addresses, one a line.

    Raises:
        ValueError: as `mailbox`.
    """
    first, *rest = boxes
    lines = [mailbox(first, used=used), *(mailbox(box, used=1) for box in rest)]
    return ",\r\n ".join(lines)


def _check(value: str) -> None:
    if HEADER_UNSAFE.search(value):
        raise ValueError(f"{value[:80]!r} has a control character in a header")


def _folded(words: list[str], used: int) -> str:
    """Break lines before words, each of which has its leading spaces."""
    line, lines = "", []
    for word in words:
        if line and used + len(line) + len(word) > _LINE:
            lines.append(line)
            line, used = "", 0
        line += word
    return "\r\n".join([*lines, line])


def _phrase(name: str, used: int) -> str:
    _check(name)
    if name.isascii() and used + len(name) <= _LINE and "=?" not in name:
        if _ATOMS.fullmatch(name):
            return name
        return '"{}"'.format(_QUOTABLE.sub(r"\\\1", name))
    return _encoded_words(name, used)


class _Quoted(dict[int, str]):
    """Characters, by their numbers, as they stand in a `q` word."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        if character == " ":
            quoted = "_"
        elif _PLAIN.fullmatch(character):
            quoted = character
        else:
            quoted = "".join(f"={byte:02X}" for byte in character.encode())
        if len(self) < _REMEMBERED:
            self[number] = quoted
        return quoted


_QUOTED: Final = _Quoted()


def _encoded_words(value: str, used: int) -> str:
    """Write text as encoded words, `q` or `b`, whichever is shorter."""
    room = max(_ROOM - used + 1, _LEAST)  # the first line has no leading space
    quoted = value.translate(_QUOTED)
    data = value.encode()
    if len(quoted) > 4 * (len(data) + 2) // 3:
        sizes = [len(character.encode()) for character in value]
        pieces = _packed([*value], sizes, room // 4 * 3, _ROOM // 4 * 3)
        kind, words = "b", [*map(_base64, pieces)]
    elif len(quoted) <= room:
        kind, words = "q", [quoted]
    else:
        units = [_QUOTED[ord(character)] for character in value]
        kind, words = "q", _packed(units, [*map(len, units)], room, _ROOM)
    return "\r\n ".join(f"{_START}{kind}?{word}{_END}" for word in words)


def _base64(piece: str) -> str:
    return binascii.b2a_base64(piece.encode(), newline=False).decode()


def _packed(units: list[str], sizes: list[int], room: int, later: int) -> list[str]:
    """Join units to words that fit: the first into `room`, the others into `later`."""
    if sum(sizes) <= room:
        return ["".join(units)]
    words, word, free = [], "", room
    for unit, size in zip(units, sizes, strict=True):
        if size > free:
            words.append(word)
            word, free = "", later
        word += unit
        free -= size
    return [*words, word]
