"""One part: 7bit, quoted-printable or base64, whichever fits the text.

No encoded part has `--=_` at the beginning of a line, which is how the boundaries of a
message begin: in quoted-printable two hexadecimal digits or a line end follow `=`, in
base64 there is no `-`, and a text that has it is not sent as 7bit.
"""

import binascii
from typing import NamedTuple

#: How every boundary begins.
BOUNDARY = "=_"

_DELIMITER = f"--{BOUNDARY}".encode()
#: RFC 5322 section 2.1.1, without CRLF.
_LONGEST_LINE = 998
#: RFC 2045 section 6.8: characters of a line of base64.
_BASE64_LINE = 76
#: Tab, LF and what is printable in ASCII.
_PLAIN = bytes([9, 10, *range(32, 127)])
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
    data = text.encode()
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not data.endswith(b"\n"):
        data += b"\n"
    odd = len(data.translate(None, _PLAIN))
    if not odd and _is_tame(data):
        return Body(b"7bit", data.replace(b"\n", b"\r\n"))
    if odd * _BASE64_PAYS > len(data):
        encoded = binascii.b2a_base64(data.replace(b"\n", b"\r\n"), newline=False)
        return Body(b"base64", lines(encoded))
    encoded = binascii.b2a_qp(data)
    if encoded[:1] == b"." or any(mark in encoded for mark in _UNTIDY):
        encoded = b"\n".join(map(_tidied, encoded.split(b"\n")))
    return Body(b"quoted-printable", encoded.replace(b"\n", b"\r\n"))


def lines(encoded: bytes) -> bytes:
    """Cut base64 into lines of 76 characters, each ended."""
    cut = range(0, len(encoded), _BASE64_LINE)
    return b"".join([encoded[at : at + _BASE64_LINE] + b"\r\n" for at in cut])


def _is_tame(data: bytes) -> bool:
    """Whether plain text survives as it is: no long lines, no dots at their start."""
    return (
        not data.startswith(b".")
        and b"\n." not in data
        and _DELIMITER not in data
        and len(max(data.split(b"\n"), key=len)) <= _LONGEST_LINE
    )


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
