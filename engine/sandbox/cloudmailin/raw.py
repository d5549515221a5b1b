"""A raw RFC 5322 message, as far as it must agree with its request.

Rules: `From` must be the request's `from`, `To` the same addresses as its `to`, and
each of its `cc` must stand in `Cc`. The documents say that they must match and break
off before they say how closely; this is the closest that cc allows.
"""

from collections.abc import Iterator
from email import message_from_string
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import HeaderParser
from email.utils import getaddresses

from engine.sandbox.cloudmailin.form import Flaw


def check_raw(text: str, sender: str, to: list[str], cc: list[str]) -> Iterator[str]:
    """Hold a raw message against the request that brings it.

    Args:
        text: header, empty line, body.
        sender: bare address.
        to: bare addresses.
        cc: bare addresses.

    Yields:
        The names of the files attached to it.

    Raises:
        Flaw: it is no message, or another than the request says.
    """
    message = message_from_string(text)
    for part in message.walk():
        if part.defects:
            raise Flaw(422, f"raw is malformed: {type(part.defects[0]).__name__}")
    if [sender.lower()] != _addresses(message, "From"):
        raise Flaw(422, "from must match the From header of raw")
    if {address.lower() for address in to} != set(_addresses(message, "To")):
        raise Flaw(422, "to must match the To header of raw")
    if not {address.lower() for address in cc} <= set(_addresses(message, "Cc")):
        raise Flaw(422, "cc must match the Cc header of raw")
    for part in message.walk():
        name = part.get_filename()
        if name:
            yield decoded(name)


def header(text: str, name: str) -> str | None:
    """Return a raw message's header in readable form; None if it has none."""
    value = HeaderParser().parsestr(text.replace("\r\n", "\n").partition("\n\n")[0])
    found = value.get(name)
    return None if found is None else decoded(str(found))


def decoded(value: str) -> str:
    """Write a header's value on one line, its encoded words read if they can be."""
    line = "".join(value.splitlines())
    try:
        return str(make_header(decode_header(line)))
    except (HeaderParseError, LookupError, UnicodeError):
        return line


def _addresses(message: Message, name: str) -> list[str]:
    values = [str(value) for value in message.get_all(name, [])]
    return [address.lower() for _, address in getaddresses(values)]
