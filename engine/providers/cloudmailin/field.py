"""The fields of a message that are not text alone: mailboxes, headers, files."""

import re

from engine.message import Attachment, Extras
from engine.mime.mailbox import ascii_domain, parse
from engine.providers.form import fragment

#: RFC 5322 section 3.2.3: what a display name may hold only between quotation marks.
_SPECIALS = re.compile(r'[()<>\[\]:;@\\,."]')
_ESCAPED = re.compile(r'(["\\])')


def mailbox(name: str, address: str) -> str:
    """Write `Name <address>`, the name in quotation marks where it needs them."""
    if not name:
        return address
    if _SPECIALS.search(name):
        name = '"' + _ESCAPED.sub(r"\\\1", name) + '"'
    return f"{name} <{address}>"


def as_in_header(text: str) -> str:
    """Write a mailbox as it reads in the header of a message that we make."""
    box = parse(text)
    return mailbox(box.name, ascii_domain(box.address))


def of_json(extras: Extras) -> bytes:
    """Return the fields of what a message has beside its recipient and bodies."""
    headers = dict(extras.headers)
    if extras.reply_to is not None:
        headers["Reply-To"] = extras.reply_to
    return fragment(
        {
            "cc": extras.cc or None,
            "headers": headers or None,
            "attachments": [*map(_attachment, extras.files())] or None,
        }
    )


def of_raw(extras: Extras) -> bytes:
    """Return the fields that a raw message has beside itself: all else is in it."""
    return fragment({"cc": [*map(as_in_header, extras.cc)] or None})


def _attachment(file: Attachment) -> dict[str, str]:
    fields = {
        "file_name": file.name,
        "content": file.content,
        "content_type": file.content_type,
    }
    # Its presence shows the file inside the message.
    if file.content_id is not None:
        fields["content_id"] = file.content_id
    return fields
