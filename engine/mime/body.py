"""One part: 7bit, quoted-printable or base64, whichever fits the text.

Contents are bytes as they stand in a JSON string, which is where messages go: lines
that many messages share are escaped once.

No encoded part has `--=_` at the beginning of a line, which is how the boundaries of a
message begin: in quoted-printable two hexadecimal digits or a line end follow `=`, in
base64 there is no `-`, and a text that has it is not sent as 7bit.
"""

import binascii
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from engine.texts import inside

#: How every boundary begins.
BOUNDARY = "=_"

#: As JSON has it.
CRLF = inside("\r\n")

_DELIMITER = f"--{BOUNDARY}".encode()
#: RFC 5322 section 2.1.1, without CRLF.
_LONGEST_LINE = 998
#: RFC 2045 section 6.8: characters of a line of base64.
_BASE64_LINE = 76
#: Tab and what is printable in ASCII.
_PLAIN = bytes([9, *range(32, 127)])
#: Characters of a text whose lines are remembered.
_REMEMBERED = 1 << 14
#: Of this many bytes one beyond ASCII: then base64 is the shorter.
_BASE64_PAYS = 6

#: RFC 2045 section 6.7 (5): characters of a line of quoted-printable.
_QUOTED_LINE = 76
#: What of a short line of plain ASCII is not what it is in quoted-printable.
_QUOTABLE = re.compile(rb"^\.|=|[ \t]$")
#: What `b2a_qp` leaves to be done: dots; and where it writes the space at the end of a
#: line as `=20` it does not count the two characters more (Python 3.11 to 3.14).
_UNTIDY = (b"\n.", b"=20\n", b"=09\n")


class Body(NamedTuple):
    """One part.

    Attributes:
        encoding: the Content-Transfer-Encoding.
        content: ASCII with CRLF, its last line ended; in JSON.
    """

    encoding: bytes
    content: bytes


class Lines(NamedTuple):
    """Lines of a text, one or more, without the end of the last.

    Attributes:
        raw: as they are.
        plain: as they are, in JSON.
        quoted: in quoted-printable, perhaps more lines; in JSON.
        odd: bytes that are no plain ASCII.
        size: bytes, with an end of one byte for each line.
        tame: whether they survive as they are: plain, not long, no dot at a start.
    """

    raw: bytes
    plain: bytes
    quoted: bytes
    odd: int
    size: int
    tame: bool


#: Lines that each of many texts has for itself, or that all of them have.
Column = Lines | Sequence[Lines]


def body(text: str) -> Body:
    """Encode text; every kind of line end becomes CRLF, and the last line has one."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    encoded = line if len(text) > _REMEMBERED else _line_again
    parts = map(encoded, text.removesuffix("\n").split("\n"))
    return _fitting(zip(*parts, strict=True))


def wholes(columns: Sequence[Column]) -> list[Body]:
    """Return the part of each of many texts, as `body` does.

    Args:
        columns: their lines, in order; a column, or more, has lines for each of them.
    """
    count = next(len(column) for column in columns if not isinstance(column, Lines))
    fields = [
        [[value] * count for value in column]
        if isinstance(column, Lines)
        else zip(*column, strict=True)
        for column in columns
    ]
    each = (zip(*field, strict=True) for field in zip(*fields, strict=True))
    return [*map(_fitting, zip(*each, strict=True))]


def _fitting(lines: Iterable[Any]) -> Body:
    """Return the part that has these lines, in the encoding that fits all of them.

    Args:
        lines: what `Lines` has, of all of them: a sequence each.
    """
    raw, plain, quoted, odd, size, tame = lines
    if all(tame):
        return Body(b"7bit", CRLF.join(plain) + CRLF)
    if sum(odd) * _BASE64_PAYS <= sum(size):
        return Body(b"quoted-printable", CRLF.join(quoted) + CRLF)
    text = b"\r\n".join(raw) + b"\r\n"
    encoded = cut(binascii.b2a_base64(text, newline=False))
    return Body(b"base64", inside(encoded.decode()))


def several(texts: Sequence[str]) -> Lines:
    """Encode lines that always stand together."""
    raw, plain, quoted, odd, size, tame = zip(*map(line, texts), strict=True)
    return Lines(
        b"\r\n".join(raw),
        CRLF.join(plain),
        CRLF.join(quoted),
        sum(odd),
        sum(size),
        all(tame),
    )


def line(text: str) -> Lines:
    """Encode one line."""
    raw, plain = text.encode(), inside(text)
    size = len(raw)
    odd = len(raw.translate(None, _PLAIN))
    if not odd and size <= _QUOTED_LINE and not _QUOTABLE.search(raw):
        return Lines(raw, plain, plain, 0, size + 1, tame=True)
    wild = odd or size > _LONGEST_LINE or _DELIMITER in raw
    # With its end: a space before it must be written as `=20`.
    quoted = binascii.b2a_qp(raw + b"\n")
    if quoted[:1] == b"." or any(mark in quoted for mark in _UNTIDY):
        quoted = b"\n".join(map(_tidied, quoted.split(b"\n")))
    return Lines(
        raw,
        plain,
        inside(quoted[:-1].decode().replace("\n", "\r\n")),
        odd,
        size + 1,
        tame=not (wild or raw.startswith(b".")),
    )


#: Most lines of a message are those of its template, the same in each.
_line_again = lru_cache(2048)(line)


def cut(encoded: bytes) -> bytes:
    """Cut base64 into lines of 76 characters, each ended."""
    starts = range(0, len(encoded), _BASE64_LINE)
    return b"".join([encoded[at : at + _BASE64_LINE] + b"\r\n" for at in starts])


def _tidied(line: bytes) -> bytes:
    """Write a dot at the start of a quoted-printable line as `=2E`, and keep it short.

    SMTP doubles the dot on the way (RFC 5321 section 4.5.2), and not every program
    halves it again.
    """
    done = b""
    while True:
        if line.startswith(b"."):
            line = b"=2E" + line[1:]
        if len(line) <= _QUOTED_LINE:
            return done + line
        end = _QUOTED_LINE - 1
        end -= (line[:end].endswith(b"=")) or 2 * (line[: end - 1].endswith(b"="))
        done += line[:end] + b"=\n"
        line = line[end:]
