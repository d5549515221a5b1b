"""What a message must be for MailerLogic to take it: each field of `/api/v1/send`.

Megabytes are counted as 10**6 bytes, the smaller reading of the document, after base64
is undone. Headers are kept to text of one line, as a mail header is. The calendar is
read as far as a mail client must read it to show the invitation.

Source:
    MailerLogic API, `POST /api/v1/send`, read 2026-11-20. Calendar: RFC 5545, 3.1
    (lines), 3.6 (VERSION and PRODID), 3.6.1 (UID and DTSTAMP of an event).
"""

import binascii
import re
from collections.abc import Callable, Mapping
from email.utils import parseaddr
from typing import NamedTuple

from engine.sandbox.mailerlogic.refusal import Refused

#: The domain of an account that names none.
_FIRST_DOMAIN = "mail.sandbox.example"
_STREAMS = ("transactional", "broadcast", "shared")
_MAX_FILE = 10 * 10**6
_MAX_TOTAL = 25 * 10**6

_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+").fullmatch
_DOMAIN = re.compile(r"[^\s@<>,;:\"]+\.[^\s@<>,;:\"]+").fullmatch
_HEADER = re.compile(r"[!-9;-~]+").fullmatch
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(;.*)?", re.ASCII).fullmatch
_CALENDAR_LINE = re.compile(r"([A-Za-z0-9-]+)(;[^:\"]*(?:\"[^\"]*\"[^:\"]*)*)?:(.*)")


class Mail(NamedTuple):
    """What of a message matters for its way.

    Attributes:
        to: bare address.
        domain: that it is sent from.
        sender: bare address.
        key: the client's own id, or None.
    """

    to: str
    domain: str
    sender: str
    key: str | None


def _is_address(value: object) -> bool:
    return isinstance(value, str) and _ADDRESS(value) is not None


def _is_mailbox(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable():
        return False
    return _is_address(value) or _is_address(parseaddr(value)[1])


def _is_domain(value: object) -> bool:
    return isinstance(value, str) and _DOMAIN(value) is not None


def _is_line(value: object) -> bool:
    return isinstance(value, str) and value.splitlines() == [value]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_stream(value: object) -> bool:
    return value in _STREAMS


def _are_addresses(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_address, value))


def _are_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        _HEADER(name) and _is_line(line) for name, line in value.items()
    )


def _are_attachments(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_attachment, value))


def _is_attachment(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    media_type = value.get("contentType")
    return (
        _is_line(value.get("filename"))
        and isinstance(media_type, str)
        and _MEDIA_TYPE(media_type) is not None
        and value.get("encoding", "base64") == "base64"
        and _size(value.get("content")) is not None
    )


def _size(content: object) -> int | None:
    """Return the bytes that base64 text stands for; None if it is none."""
    if not isinstance(content, str) or not content:
        return None
    try:
        return len(binascii.a2b_base64(content, strict_mode=True))
    except (binascii.Error, ValueError):
        return None


def is_calendar(value: object) -> bool:
    """Say whether a value is a calendar with at least one event, RFC 5545 roughly."""
    if not isinstance(value, str):
        return False
    unfolded = re.sub(r"\r?\n[ \t]", "", value)
    found = [_CALENDAR_LINE.fullmatch(line) for line in unfolded.splitlines() if line]
    open_parts: list[str] = []
    properties: set[tuple[str, str]] = set()
    for line in found:
        if line is None or (not open_parts and line[0].upper() != "BEGIN:VCALENDAR"):
            return False
        name, text = line[1].upper(), line[3].strip().upper()
        if name == "BEGIN":
            open_parts.append(text)
        elif name == "END":
            if open_parts.pop() != text:
                return False
        else:
            properties.add((open_parts[-1], name))
    needed = {("VCALENDAR", "VERSION"), ("VCALENDAR", "PRODID")}
    needed |= {("VEVENT", "UID"), ("VEVENT", "DTSTAMP")}
    return not open_parts and needed <= properties


#: Each field of a message, what it must be, and the words for it.
_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "domain": (_is_domain, "a domain"),
    "from": (_is_mailbox, "one email address"),
    "to": (_is_address, "one email address"),
    "reply_to": (_is_mailbox, "one email address"),
    "cc": (_are_addresses, "an array of email addresses"),
    "bcc": (_are_addresses, "an array of email addresses"),
    "subject": (_is_line, "one line of text"),
    "html": (_is_text, "a string"),
    "text": (_is_text, "a string"),
    "track_opens": (_is_flag, "true or false"),
    "track_clicks": (_is_flag, "true or false"),
    "headers": (_are_headers, "an object of header lines"),
    "tag": (_is_line, "one line of text"),
    "stream_type": (_is_stream, f"one of {', '.join(_STREAMS)}"),
    "metadata": (_is_object, "an object"),
    "attachments": (
        _are_attachments,
        "an array of objects with filename, content in base64 and contentType",
    ),
    "icalEvent": (is_calendar, "a VCALENDAR with an event, RFC 5545"),
}
_REQUIRED = ("to", "subject")


def read_mail(item: object, *, unverified: str, strict: bool) -> Mail:
    """Check one message.

    Args:
        item: the message.
        unverified: an address that mail may not be from; empty for none.
        strict: refuse fields that are not documented.

    Raises:
        Refused: names the field.
    """
    if not isinstance(item, dict):
        raise Refused(400, "A message must be an object")
    _check_fields(item, strict=strict)
    _check_sizes(item)
    domain, sender = sender_of(item)
    its_domain = sender.partition("@")[2].lower()
    if its_domain != domain and not its_domain.endswith(f".{domain}"):
        raise Refused(400, f"from must be an address at {domain}")
    if "unknown" in domain:
        raise Refused(404, f"Domain not found: {domain}")
    if "unverified" in domain or sender.lower() == unverified.lower():
        message = f"Domain not verified: {domain}"
        raise Refused(403, message, "domain_not_verified")
    if item["to"].lower().startswith("reject"):
        raise Refused(400, f"Recipient refused: {item['to']}")
    metadata = item.get("metadata", {})
    key = metadata.get("message_id")
    return Mail(item["to"], domain, sender, key if isinstance(key, str) else None)


def sender_of(item: Mapping[str, object]) -> tuple[str, str]:
    """Return domain and sender of a message, each from the other if it is left out."""
    if "from" not in item:
        domain = str(item.get("domain", _FIRST_DOMAIN)).lower()
        return domain, f"noreply@{domain}"
    sender = parseaddr(str(item["from"]))[1]
    domain = str(item.get("domain", sender.partition("@")[2])).lower()
    return domain, sender


def _check_fields(item: Mapping[str, object], *, strict: bool) -> None:
    for name in _REQUIRED:
        if name not in item:
            raise Refused(400, f"Missing required field: {name}")
    for name, value in item.items():
        rule = _FIELDS.get(name)
        if rule is None:
            if strict:
                raise Refused(400, f"Unknown field: {name}")
        elif not rule[0](value):
            raise Refused(400, f"{name} must be {rule[1]}")
    if not (item.get("html") or item.get("text")):
        raise Refused(400, "html or text must be given and not empty")


def _check_sizes(item: Mapping[str, object]) -> None:
    attachments = item.get("attachments", [])
    sizes = [
        _size(each["content"]) or 0
        for each in (attachments if isinstance(attachments, list) else [])
    ]
    if max(sizes, default=0) > _MAX_FILE:
        raise Refused(400, f"An attachment has at most {_MAX_FILE} bytes")
    total = sum(sizes) + len(str(item.get("html", "")).encode())
    if total > _MAX_TOTAL:
        raise Refused(400, f"Attachments and html have at most {_MAX_TOTAL} bytes")
