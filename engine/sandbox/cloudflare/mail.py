"""What a message must be for Cloudflare to take it, raw or built from fields.

A raw message must be MIME as it goes over the wire: ASCII, lines that end in CRLF and
have at most 998 characters, the four headers that the document names once each, and
parts that decode. The document's own example has a backslash and an `n` where a line
should end; that is refused, for it would be a mail of one line.

Source:
    Cloudflare API, Email Sending, `send_raw`. For `send`: cloudflare-python 5.9.0 and
    Email Service, "Email headers" and "Limits", all read 2026-11-20. Line length and
    line ends: RFC 5322, 2.1.1 and 2.3.
"""

import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from email import message_from_string
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses
from typing import NamedTuple

from engine.sandbox.cloudflare.header import check_headers
from engine.sandbox.cloudflare.refusal import Error, Refused

_MAX_RECIPIENTS = 50
_MAX_SUBJECT = 998
_MAX_LINE = 998
_MAX_BYTES = 5 * 2**20
#: Where the client may write its own id of a built message: `Message-ID` is refused.
_KEY_HEADER = "x-mailvolley-message-id"

_RAW_FIELDS = ("from", "mime_message", "recipients")
_RECIPIENT_FIELDS = ("to", "cc", "bcc")
_BUILT_FIELDS = (
    "from",
    "subject",
    *_RECIPIENT_FIELDS,
    "reply_to",
    "html",
    "text",
    "headers",
    "attachments",
)
_ATTACHMENT_FIELDS = ("content", "filename", "type", "disposition", "content_id")
_ONCE = ("From", "To", "Subject", "Content-Type")

_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+").fullmatch
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(;.*)?", re.ASCII).fullmatch
_BARE_END = re.compile(r"\r(?!\n)|(?<!\r)\n").search
_BAD_QUOTED = re.compile(r"=(?![0-9A-Fa-f]{2}|[ \t]*\r\n|[ \t]*$)").search
_MESSAGE_ID = re.compile(r"<([^\s<>@]+@[^\s<>@]+)>").fullmatch


class Mail(NamedTuple):
    """What of a message matters for its way.

    Attributes:
        sender: bare address of the envelope.
        recipients: bare addresses, at least one.
        key: the client's own id, or None.
    """

    sender: str
    recipients: list[str]
    key: str | None


def is_address(value: object) -> bool:
    """Say whether a value is one bare address."""
    return isinstance(value, str) and _ADDRESS(value) is not None


def read_raw(content: Mapping[str, object], *, strict: bool) -> Mail:
    """Check the body of `send_raw`.

    Args:
        content: the body.
        strict: refuse fields that are not documented.

    Raises:
        Refused: names the field.
    """
    _check_fields(content, _RAW_FIELDS, strict=strict)
    sender, recipients = content.get("from"), content.get("recipients")
    if not isinstance(sender, str) or not is_address(sender):
        raise Refused(Error.SCHEMA, "from: must be one bare email address")
    if not isinstance(recipients, list) or not all(map(is_address, recipients)):
        raise Refused(Error.SCHEMA, "recipients: must be an array of bare addresses")
    _check_count(recipients)
    mime = content.get("mime_message")
    if not isinstance(mime, str) or not mime:
        raise Refused(Error.SCHEMA, "mime_message: must be a non-empty string")
    _check_size(len(mime.encode()))
    return Mail(sender, recipients, _check_mime(mime))


def read_built(content: Mapping[str, object], *, strict: bool) -> Mail:
    """Check the body of `send`.

    Args:
        content: the body.
        strict: refuse fields that are not documented.

    Raises:
        Refused: names the field.
    """
    _check_fields(content, _BUILT_FIELDS, strict=strict)
    sender = _read_address(content.get("from"), "from")
    recipients = [
        address
        for field in _RECIPIENT_FIELDS
        if field in content
        for address in _read_addresses(content[field], field)
    ]
    _check_count(recipients)
    if "reply_to" in content:
        _read_address(content["reply_to"], "reply_to")
    _check_subject(content.get("subject"))
    size = _check_bodies(content)
    headers = content.get("headers", {})
    size += check_headers(headers)
    size += sum(map(_check_attachment, _objects(content.get("attachments", []))))
    _check_size(size)
    return Mail(sender, recipients, _find_key(headers))


def subject_of(content: Mapping[str, object]) -> str:
    """Return the subject of a message that was taken, raw or built."""
    mime = content.get("mime_message")
    if mime is None:
        return str(content.get("subject", ""))
    return _decode(message_from_string(str(mime)).get("Subject", ""))


def _check_fields(
    content: Mapping[str, object], known: Sequence[str], *, strict: bool
) -> None:
    unknown = sorted(content.keys() - set(known))
    if strict and unknown:
        raise Refused(Error.SCHEMA, f"unknown fields: {', '.join(unknown)}")


def _check_count(recipients: Sequence[str]) -> None:
    if not recipients:
        raise Refused(Error.SCHEMA, "there must be a recipient")
    if len(recipients) > _MAX_RECIPIENTS:
        detail = f"at most {_MAX_RECIPIENTS} recipients, got {len(recipients)}"
        raise Refused(Error.SCHEMA, detail)


def _check_size(size: int) -> None:
    if size > _MAX_BYTES:
        raise Refused(Error.TOO_BIG, f"at most {_MAX_BYTES} bytes, got {size}")


def _check_subject(subject: object) -> None:
    if not isinstance(subject, str) or subject.splitlines() != [subject]:
        raise Refused(Error.SCHEMA, "subject: must be one line of text")
    if len(subject) > _MAX_SUBJECT:
        raise Refused(Error.SCHEMA, f"subject: at most {_MAX_SUBJECT} characters")


def _check_bodies(content: Mapping[str, object]) -> int:
    """Check `html` and `text`; returns their bytes."""
    size = 0
    for field in ("html", "text"):
        body = content.get(field, "")
        if not isinstance(body, str):
            raise Refused(Error.SCHEMA, f"{field}: must be a string")
        size += len(body.encode())
    if not size:
        raise Refused(Error.SCHEMA, "html or text must be given and not empty")
    return size


def _read_address(value: object, field: str) -> str:
    """Read an address or an object of address and name."""
    address = value
    if isinstance(value, dict):
        address, name = value.get("address"), value.get("name")
        if name is not None and not (isinstance(name, str) and name.isprintable()):
            raise Refused(Error.SCHEMA, f"{field}: name must be one line of text")
    if not isinstance(address, str) or not is_address(address):
        detail = f"{field}: must be a bare email address or an object with address"
        raise Refused(Error.SCHEMA, detail)
    return address


def _read_addresses(value: object, field: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [_read_address(each, field) for each in values]


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    if not isinstance(value, list):
        raise Refused(Error.SCHEMA, "attachments: must be an array")
    for each in value:
        if not isinstance(each, dict):
            raise Refused(Error.SCHEMA, "attachments: each must be an object")
        yield each


def _check_attachment(attachment: Mapping[str, object]) -> int:
    """Check one attachment; returns its bytes on the wire, base64."""
    wrong = None
    content = attachment.get("content")
    media_type = attachment.get("type")
    inline = attachment.get("disposition") == "inline"
    if not isinstance(content, str) or not _is_base64(content):
        wrong = "content must be base64"
    elif not _is_line(attachment.get("filename")):
        wrong = "filename must be one line of text"
    elif not isinstance(media_type, str) or not _MEDIA_TYPE(media_type):
        wrong = "type must be a MIME type"
    elif attachment.get("disposition") not in {"attachment", "inline"}:
        wrong = "disposition must be attachment or inline"
    elif inline and not _is_line(attachment.get("content_id")):
        wrong = "content_id must be given with disposition inline"
    if wrong is not None:
        raise Refused(Error.SCHEMA, f"attachments: {wrong}")
    return len(str(content))


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.splitlines() == [value]


def _is_base64(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return bool(text)


def _find_key(headers: object) -> str | None:
    if not isinstance(headers, dict):
        return None
    return next((v for name, v in headers.items() if name.lower() == _KEY_HEADER), None)


def _check_mime(mime: str) -> str | None:
    """Check a raw message; returns its id.

    The angle brackets are not part of a message's id (RFC 5322, 3.6.4).
    """
    _check_wire(mime)
    message = message_from_string(mime)
    for name in _ONCE:
        values = message.get_all(name, [])
        if len(values) != 1 or (name != "Subject" and not values[0].strip()):
            raise Refused(Error.INVALID, f"{name} must be there once")
    if not any(is_address(address) for _, address in getaddresses([message["From"]])):
        raise Refused(Error.INVALID, "From must have an email address")
    if len(_decode(message["Subject"])) > _MAX_SUBJECT:
        raise Refused(Error.INVALID, f"Subject: at most {_MAX_SUBJECT} characters")
    for part in message.walk():
        _check_part(part)
    message_id = message["Message-ID"]
    if message_id is None:
        return None
    found = _MESSAGE_ID(str(message_id).strip())
    if found is None:
        raise Refused(Error.INVALID, "Message-ID must be <left@right>")
    return found[1]


def _check_wire(mime: str) -> None:
    """Check what can be seen before parsing."""
    wrong = None
    if not mime.isascii():
        wrong = "must be ASCII: encode parts and headers"
    elif _BARE_END(mime):
        wrong = "lines must end in CRLF, not in CR or LF alone"
    elif "\r\n" not in mime:
        hint = ", not in a backslash and letters" if r"\r\n" in mime else ""
        wrong = f"lines must end in CRLF{hint}"
    elif max(map(len, mime.split("\r\n"))) > _MAX_LINE:
        wrong = f"lines have at most {_MAX_LINE} characters"
    if wrong is not None:
        raise Refused(Error.INVALID, f"mime_message: {wrong}")


def _check_part(part: Message) -> None:
    encoding = str(part.get("Content-Transfer-Encoding", "7bit")).strip().lower()
    payload = part.get_payload()
    if encoding == "base64" and not part.is_multipart():
        part.get_payload(decode=True)  # notes what is wrong in `defects`
    elif encoding == "quoted-printable" and isinstance(payload, str):
        bad = _BAD_QUOTED(payload)
        if bad is not None:
            raise Refused(Error.INVALID, f"not quoted-printable at {bad.start()}")
    if part.defects:
        wrong = type(part.defects[0]).__name__
        raise Refused(Error.INVALID, f"mime_message: {wrong}")


def _decode(value: object) -> str:
    try:
        return str(make_header(decode_header(str(value))))
    except (HeaderParseError, LookupError, ValueError) as error:
        raise Refused(Error.INVALID, f"Subject cannot be decoded: {error}") from error
