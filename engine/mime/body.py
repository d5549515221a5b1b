"""One part: 7bit, quoted-printable or base64, whichever fits the text.

No encoded part has `--=_` at the beginning of a line, which is how the boundaries of a
message begin: in quoted-printable two hexadecimal digits or a line end follow `=`, in
base64 there is no `-`, and a text that has it is not sent as 7bit.
"""

import binascii
from functools import lru_cache
from typing import NamedTuple

#: How every boundary begins.
BOUNDARY = "=_"

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
#: What `b2a_qp` leaves to be done: dots; and where it writes the space at the end of a
#: line as `=20` it does not count the two characters more (Python 3.11 to 3.14).
_UNTIDY = (b"\n.", b"=20\n", b"=09\n")


class Body(NamedTuple):
    """One part.

    Attributes:
        encoding: the Content-Transfer-Encoding.
        content: ASCII with CRLF, its last line ended.
    """

    encoding: bytes
    content: bytes


def body(text: str) -> Body:
    """Encode text; every kind of line end becomes CRLF, and the last line has one."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    apart = text.removesuffix("\n").split("\n")
    line = _line if len(text) > _REMEMBERED else _line_again
    plain, quoted, odd, tame = zip(*map(line, apart), strict=True)
    if all(tame):
        return Body(b"7bit", b"\r\n".join(plain) + b"\r\n")
    if sum(odd) * _BASE64_PAYS > sum(map(len, plain)) + len(plain):
        whole = b"\r\n".join(plain) + b"\r\n"
        return Body(b"base64", lines(binascii.b2a_base64(whole, newline=False)))
    return Body(b"quoted-printable", b"\r\n".join(quoted) + b"\r\n")


class _Line(NamedTuple):
    """A line of text without its end.

    Attributes:
        plain: as it is.
        quoted: in quoted-printable, perhaps several lines.
        odd: bytes that are no plain ASCII.
        tame: whether it survives as it is: plain, not long, no dot at its start.
    """

    plain: bytes
    quoted: bytes
    odd: int
    tame: bool


def _line(text: str) -> _Line:
    plain = text.encode()
    odd = len(plain.translate(None, _PLAIN))
    wild = odd or len(plain) > _LONGEST_LINE or _DELIMITER in plain
    # With its end: a space before it must be written as `=20`.
    quoted = binascii.b2a_qp(plain + b"\n")
    if quoted[:1] == b"." or any(mark in quoted for mark in _UNTIDY):
        quoted = b"\n".join(map(_tidied, quoted.split(b"\n")))
    return _Line(
        plain,
        quoted[:-1].replace(b"\n", b"\r\n"),
        odd,
        not (wild or plain.startswith(b".")),
    )


#: Most lines of a message are those of its template, the same in each.
_line_again = lru_cache(2048)(_line)


def lines(encoded: bytes) -> bytes:
    """Cut base64 into lines of 76 characters, each ended."""
    cut = range(0, len(encoded), _BASE64_LINE)
    return b"".join([encoded[at : at + _BASE64_LINE] + b"\r\n" for at in cut])


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
