"""What CloudMails takes for a message: the fields of its table, as strict as it is.

Its document says of attachments that they are objects and no more; the names of their
fields are those of its other public page. What it does not name at all is let pass,
unless `strict` is asked for. `reject...` is refused as a recipient.

Source:
    CloudMails, "SMTP API Documentation", Send Email Endpoint; docs/api-reference.php
    for attachments.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from email.utils import parseaddr
from typing import NamedTuple

_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+").fullmatch


class Flaw(NamedTuple):
    """Why a message cannot be taken."""

    code: str
    message: str
    field: str


def _is_address(value: object) -> bool:
    return isinstance(value, str) and _ADDRESS(value) is not None


def _is_mailbox(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable():
        return False
    return _is_address(value) or _is_address(parseaddr(value)[1])


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.splitlines() == [value]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_body(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _are_addresses(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_address, value))


def _are_attachments(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_attachment, value))


def _is_attachment(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    name, content = value.get("name", value.get("filename")), value.get("content")
    return _is_line(name) and _is_base64(content)


def _is_base64(value: object) -> bool:
    try:
        return isinstance(value, str) and b64decode(value, validate=True) is not None
    except ValueError:
        return False


def _are_arguments(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, str | int | float) for each in value.values()
    )


#: Each field of a message, what it must be, and the words for it.
_FIELDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "to": (_is_address, "one email address"),
    "from": (_is_mailbox, "one sender email address"),
    "subject": (_is_line, "one line of text"),
    "html": (_is_body, "a non-empty string"),
    "text": (_is_text, "a string"),
    "reply_to": (_is_mailbox, "one email address"),
    "cc": (_are_addresses, "an array of email addresses"),
    "bcc": (_are_addresses, "an array of email addresses"),
    "attachments": (
        _are_attachments,
        "an array of objects with a name and their content in base64",
    ),
    "custom_args": (_are_arguments, "an object of texts, numbers and booleans"),
}
_REQUIRED = ("to", "from", "subject", "html")


def find_flaw(item: object, *, strict: bool) -> Flaw | None:
    """Say why a message cannot be taken; None if it can.

    Args:
        item: what should be a message.
        strict: whether undocumented fields are a reason.
    """
    if not isinstance(item, dict):
        return Flaw("invalid_request", "A message must be an object", "")
    for name in _REQUIRED:
        if name not in item:
            return Flaw("missing_field", f"Missing required field: {name}", name)
    for name, value in item.items():
        rule = _FIELDS.get(name)
        if rule is None:
            if strict:
                return Flaw("unknown_field", f"Unknown field: {name}", name)
        elif not rule[0](value):
            return Flaw("invalid_field", f"{name} must be {rule[1]}", name)
    if item["to"][:6].lower() == "reject":
        return Flaw("invalid_recipient", f"Recipient refused: {item['to']}", "to")
    return None
