"""The two forms of a message, and all that can be wrong with one.

A message is JSON with a body (`plain`, `html`, `markdown`) or JSON around a `raw` RFC
5322 message. `check_message` refuses what the documents do not allow; `Envelope.read`
reads what both forms have in common, from content that was checked.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import getaddresses, parseaddr, quote
from typing import Final, Self

from engine.sandbox.cloudmailin.form import (
    Flaw,
    Rule,
    check,
    is_flag,
    is_line,
    is_object,
    is_text,
    one_of,
)
from engine.sandbox.cloudmailin.raw import check_raw, header

MAX_RECIPIENTS = 20
#: Bytes of a message as it is encoded. The documents say 10 MB; the smaller reading.
MAX_BYTES = 10_000_000
#: Kinds of file that are refused. CloudMailin says that its list is not complete.
REFUSED_FILES: Final = (
    *("vbs", "exe", "bin", "bat", "chm", "com", "hta"),
    *("pif", "reg", "vbe", "vba", "msc", "msi"),
)
_LINE = 76  # characters of base64 to a line of mail, each line with its CRLF

_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+").fullmatch
_HEADER_NAME = re.compile(r"[!-9;-~]+").fullmatch
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:\s*;.*)?", re.ASCII).fullmatch
_BODIES = ("plain", "html", "markdown")


def bare(mailbox: str) -> str:
    """Return the address in `Name <address>`."""
    return parseaddr(mailbox)[1]


def mailboxes(value: object) -> list[str]:
    """Read the recipients of a field: an array, or text with commas between them."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, list) else []
    pairs = getaddresses([value])
    if len(pairs) == 1:
        return [value.strip()]
    return [
        f'"{quote(name)}" <{address}>' if name else address for name, address in pairs
    ]


def _is_mailbox(value: object) -> bool:
    if not isinstance(value, str) or not value.isprintable():
        return False
    return len(getaddresses([value])) == 1 and _ADDRESS(bare(value)) is not None


def _are_mailboxes(value: object) -> bool:
    return isinstance(value, str | list) and all(map(_is_mailbox, mailboxes(value)))


def _are_tags(value: object) -> bool:
    if isinstance(value, str):
        return is_line(value)
    return isinstance(value, list) and all(is_line(tag) and tag for tag in value)


def _are_headers(value: object) -> bool:
    return isinstance(value, dict) and all(
        _HEADER_NAME(name) is not None and is_line(line) for name, line in value.items()
    )


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(map(is_object, value))


def _is_name(value: object) -> bool:
    return is_line(value) and bool(value)


def _is_media_type(value: object) -> bool:
    return isinstance(value, str) and _MEDIA_TYPE(value) is not None


def _is_base64(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        return False
    return True


_COMMON: dict[str, Rule] = {
    "from": (_is_mailbox, "one email address"),
    "to": (_are_mailboxes, "an email address or an array of them"),
    "cc": (_are_mailboxes, "an email address or an array of them"),
    "test_mode": (is_flag, "true or false"),
    "subject": (is_line, "one line of text"),
    "tags": (_are_tags, "a string or an array of strings"),
}
_MESSAGE: dict[str, Rule] = _COMMON | {
    "plain": (is_text, "a string"),
    "html": (is_text, "a string"),
    "markdown": (is_text, "a string"),
    "headers": (_are_headers, "an object of header names to lines of text"),
    "priority": one_of("standard", "priority", "digest"),
    "attachments": (_are_objects, "an array of objects"),
}
_RAW_MESSAGE: dict[str, Rule] = _COMMON | {"raw": (is_text, "a string")}
_ATTACHMENT: dict[str, Rule] = {
    "file_name": (_is_name, "the name of a file"),
    "content": (_is_base64, "base64 without newlines"),
    "content_type": (_is_media_type, "a media type"),
    "content_id": (_is_name, "one line of text"),
}
_ATTACHMENT_REQUIRED = ("file_name", "content_type")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What both forms of a message have in common.

    Attributes:
        sender: as written, perhaps with a name.
        to: as written, one by one.
        cc: as written, one by one.
        key: the client's own id for the message: its Message-ID without brackets.
    """

    sender: str
    to: list[str]
    cc: list[str]
    subject: str | None
    tags: list[str]
    test_mode: bool
    key: str | None

    @classmethod
    def read(cls, content: Mapping[str, object]) -> Self:
        """Read it from a message that was checked."""
        tags = content.get("tags", [])
        if isinstance(tags, str):
            tags = [tag.strip() for tag in tags.split(",") if tag.strip()]
        subject = content.get("subject")
        if subject is None:
            subject = _header(content, "Subject")
        key = _header(content, "Message-ID") or _header(content, "X-Message-ID") or ""
        return cls(
            sender=str(content["from"]),
            to=mailboxes(content["to"]),
            cc=mailboxes(content.get("cc", [])),
            subject=None if subject is None else str(subject),
            tags=tags if isinstance(tags, list) else [],
            test_mode=content.get("test_mode") is True,
            key=key.strip().strip("<>") or None,
        )

    @property
    def recipients(self) -> list[str]:
        """Bare addresses, those of `to` first."""
        return [bare(mailbox) for mailbox in (*self.to, *self.cc)]


def check_message(content: Mapping[str, object], *, strict: bool) -> None:
    """Hold a message against the documents.

    Args:
        content: the request's JSON.
        strict: refuse undocumented fields.

    Raises:
        Flaw: the first that is found.
    """
    is_raw = "raw" in content
    rules = _RAW_MESSAGE if is_raw else _MESSAGE
    check(content, rules, ("from", "to"), strict=strict)
    recipients = [
        bare(mailbox)
        for name in ("to", "cc")
        for mailbox in mailboxes(content.get(name, []))
    ]
    if len(recipients) > MAX_RECIPIENTS:
        raise Flaw(
            422, f"At most {MAX_RECIPIENTS} recipients a message, got {len(recipients)}"
        )
    for address in recipients:
        if address.lower().startswith("reject"):
            raise Flaw(422, f"Recipient refused: {address}")
    if is_raw:
        _check_raw_form(content)
    else:
        _check_json_form(content, strict=strict)


def _check_json_form(content: Mapping[str, object], *, strict: bool) -> None:
    bodies = [str(content[name]) for name in _BODIES if content.get(name)]
    if not bodies:
        raise Flaw(422, "One of plain, html, markdown is required")
    attachments = content.get("attachments", [])
    files = attachments if isinstance(attachments, list) else []
    for place, file in enumerate(files):
        where = f"attachments[{place}]."
        check(file, _ATTACHMENT, _ATTACHMENT_REQUIRED, strict=strict, where=where)
        if "content" not in file:
            raise Flaw(422, f"{where}content is required")
    _check_files(file["file_name"] for file in files)
    encoded = sum(len(file["content"]) for file in files)
    encoded += 2 * (encoded // _LINE)
    _check_size(sum(len(body.encode()) for body in bodies) + encoded)


def _check_raw_form(content: Mapping[str, object]) -> None:
    text = content["raw"]
    if not isinstance(text, str) or not text:
        raise Flaw(422, "raw is required")
    if any(content.get(name) for name in _BODIES):
        raise Flaw(422, "raw stands instead of plain, html and markdown")
    _check_size(len(text.encode()))
    to = [bare(mailbox) for mailbox in mailboxes(content["to"])]
    cc = [bare(mailbox) for mailbox in mailboxes(content.get("cc", []))]
    _check_files(check_raw(text, bare(str(content["from"])), to, cc))


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise Flaw(422, f"At most {MAX_BYTES} bytes a message, got {size}")


def _check_files(names: Iterable[str]) -> None:
    for name in names:
        _, dot, kind = name.lower().rpartition(".")
        if dot and kind.strip() in REFUSED_FILES:
            raise Flaw(422, f"Files of this type are refused: {name}")


def _header(content: Mapping[str, object], name: str) -> str | None:
    """Find a header in a raw message, or among the `headers` of the other form."""
    raw, headers = content.get("raw"), content.get("headers")
    if isinstance(raw, str):
        return header(raw, name)
    if isinstance(headers, dict):
        for each, value in headers.items():
            if each.lower() == name.lower():
                return str(value)
    return None
