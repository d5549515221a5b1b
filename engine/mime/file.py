"""One attachment: its header and its lines, as they stand in a JSON string.

The header is folded by the standard library, which knows RFC 2231: file names beyond
ASCII, and long ones.
"""

import re
from collections import OrderedDict
from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple

from engine.message import HEADER_UNSAFE, Attachment
from engine.mime.body import cut
from engine.texts import inside

#: RFC 2045 section 5.1: `type/subtype`, and perhaps parameters.
_KIND = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+\s*(;.*)?", re.ASCII)
#: RFC 2046 sections 5.1.1 and 5.2.1: these may not be encoded in base64.
_COMPOSITE = re.compile(r"(multipart|message)/", re.IGNORECASE)
_ANY_BYTES = "application/octet-stream"
#: RFC 2392: what a `cid:` may name, as far as every reader agrees.
_CONTENT_ID = re.compile(r"[!-;=?-~]+")

#: Bytes of encoded files that are kept.
_KEPT = 16 * 1024 * 1024


class File(NamedTuple):
    """One attachment, in JSON.

    Attributes:
        head: the value of Content-Type, and the further fields of its header.
        content: base64 in lines.
    """

    head: bytes
    content: bytes


def encoded(attachment: Attachment, *, shown: bool) -> File:
    """Encode an attachment; `shown` by its content id, or beside the message.

    Raises:
        ValueError: its name, type or content id has what no header may have, or its
            content is not ASCII.
    """
    kind = attachment.content_type.strip()
    for value in (attachment.name, kind):
        if HEADER_UNSAFE.search(value):
            raise ValueError(f"{value[:80]!r} has a control character in a header")
    if not _KIND.fullmatch(kind) or _COMPOSITE.match(kind) or not kind.isascii():
        kind = _ANY_BYTES
    part = EmailMessage(SMTP)
    part["Content-Type"] = kind
    named = {"filename": attachment.name} if attachment.name else {}
    disposition = "inline" if shown else "attachment"
    part.add_header("Content-Disposition", disposition, **named)
    head = part.as_bytes(policy=SMTP).rstrip(b"\r\n")
    if shown:
        head += b"\r\nContent-ID: <%b>" % _content_id(attachment)
    head = head.removeprefix(b"Content-Type: ")
    content = cut(attachment.content.encode("ascii"))
    return File(inside(head.decode()), inside(content.decode()))


def _content_id(attachment: Attachment) -> bytes:
    name = attachment.content_id or ""
    if not _CONTENT_ID.fullmatch(name):
        raise ValueError(f"{name[:80]!r} cannot be a content id")
    return name.encode()


class Files:
    """Attachments that were encoded lately, by object: many rows share a few."""

    def __init__(self) -> None:
        # The attachment is held too, so that no other object gets its id.
        self._kept: OrderedDict[tuple[int, bool], tuple[Attachment, File]]
        self._kept = OrderedDict()
        self._bytes = 0

    def encoded(self, attachment: Attachment, *, shown: bool) -> File:
        """Return `encoded` of an attachment, made once while it is kept."""
        key = (id(attachment), shown)
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return known[1]
        made = encoded(attachment, shown=shown)
        self._kept[key] = (attachment, made)
        self._bytes += len(made.content)
        while self._bytes > _KEPT:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= len(oldest.content)
        return made
