"""The whole: made once by the standard library, filled message by message.

    multipart/mixed                  if there are attachments
        multipart/alternative        if there is more than one of:
            text/plain
            multipart/related        if the HTML shows attachments, else text/html alone
                text/html
                image/png …
            text/calendar; method=…  an invitation, and the same as invite.ics
        application/pdf …

A message of 2 kB of text and 2 kB of HTML takes 25 us, 70 where both have letters
beyond ASCII; `EmailMessage` takes 1 770 (CPU time on a busy machine, 2026-11-20).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from email.generator import BytesGenerator
from email.message import Message
from email.policy import compat32
from email.utils import format_datetime
from io import BytesIO
from itertools import chain, repeat
from typing import NamedTuple

from engine.message import Envelope, Extras, Messages
from engine.mime import header
from engine.mime.bodies import bodies
from engine.mime.body import BOUNDARY, body
from engine.mime.file import Files, encoded
from engine.mime.mailbox import Mailbox, ascii_domain, parse

#: RFC 5546: what an invitation asks for.
_METHOD = re.compile(r"^METHOD:([A-Za-z-]+)", re.MULTILINE)
#: RFC 5322 section 3.6.4: an id, without what would end it.
_ID = re.compile(r"[!-;=?A-~]+")
#: RFC 5322 section 3.6.8, and what this module writes itself or nobody may see.
_FIELD = re.compile(r"[!-9;-~]+")
_OURS = frozenset(
    {"from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id"}
    | {"mime-version", "content-type", "content-transfer-encoding", "sender"}
)
#: The attached twin of an invitation. As text/calendar with a method it would be a
#: second invitation to some readers.
_ICS = "application/ics"

#: To, Cc and Reply-To, Subject, the id, and further fields; then the parts.
_HEAD = (
    b"From: %b\r\nTo: %%b\r\n%%bSubject: %%b\r\nDate: %b\r\nMessage-ID: <%%b@%b>\r\n%%b"
)


class _Shape(NamedTuple):
    # What a message is made of. method: None without an invitation, "" if it says none.
    text: bool
    html: bool
    shown: int
    method: str | None
    attached: int


class _Dress(NamedTuple):
    # What one `Extras` puts around the bodies. copies, fields: whole header fields.
    # tail: values of the parts after the HTML.
    form: bytes
    copies: bytes
    fields: bytes
    tail: tuple[bytes, ...]


class Skeleton:
    """What all messages of a run have in common, ready to be filled.

    Raises:
        ValueError: what they share cannot stand in a header.
    """

    def __init__(self, envelope: Envelope) -> None:
        self._extras = envelope.extras
        sender = parse(envelope.sender)
        domain = ascii_domain(sender.address).rpartition("@")[2]
        self._head = _HEAD % (
            header.mailbox(sender, used=len("From: ")).replace(b"%", b"%%"),
            format_datetime(envelope.date).encode(),
            domain.encode().replace(b"%", b"%%"),
        )
        self._forms: dict[_Shape, bytes] = {}
        self._files = Files()
        self._shared: dict[tuple[bool, bool], _Dress] = {}

    def encode(self, messages: Messages) -> list[bytes]:
        """Return the bytes of each message, in order.

        A row whose place in `Messages.extras` is taken gets those in place of the
        envelope's. Nobody in bcc is named.

        Raises:
            ValueError: an address has not the form `local@domain`; a header has a
                control character or a name of ours; there is no body.
        """
        texts, htmls = messages.texts, messages.htmls
        if texts is None and htmls is None:
            raise ValueError("a message has neither HTML nor text")
        columns = [bodies(column) for column in (texts, htmls) if column is not None]
        each = zip(
            messages.addresses,
            messages.names,
            messages.subjects,
            messages.message_ids,
            self._dresses(messages),
            zip(*columns, strict=True),
            strict=True,
        )
        made = []
        for address, name, subject, message_id, dress, parts in each:
            if not _ID.fullmatch(message_id):
                raise ValueError(f"{message_id!r} cannot be the id of a message")
            values = (
                header.mailbox(Mailbox(name, address), used=len("To: ")),
                dress.copies,
                header.text(subject, used=len("Subject: ")),
                message_id.encode(),
                dress.fields,
                *chain(*parts),
                *dress.tail,
            )
            made.append(dress.form % values)
        return made

    def _dresses(self, messages: Messages) -> Iterable[_Dress]:
        bodies = messages.texts is not None, messages.htmls is not None
        if messages.extras is not None:
            return (self._dress(extras, bodies) for extras in messages.extras)
        if bodies not in self._shared:
            self._shared[bodies] = self._dress(self._extras, bodies)
        return repeat(self._shared[bodies], len(messages))

    def _dress(self, extras: Extras, bodies: tuple[bool, bool]) -> _Dress:
        text, html = bodies
        sides: dict[bool, list[bytes]] = {True: [], False: []}
        for file in extras.attachments:
            shown = html and file.content_id is not None
            sides[shown] += self._files.encoded(file, shown=shown)
        tail, attached = sides[True], sides[False]
        shown_files = len(tail) // 2
        method = None
        if extras.calendar is not None:
            found = _METHOD.search(extras.calendar)
            method = found[1].upper() if found else ""
            tail += body(extras.calendar)
            twin = replace(extras.files()[-1], content_type=_ICS)
            attached += encoded(twin, shown=False)
        tail += attached
        shape = _Shape(text, html, shown_files, method, len(attached) // 2)
        if shape not in self._forms:
            self._forms[shape] = self._head + _form(shape)
        fields = [_field(name, value) for name, value in extras.headers.items()]
        return _Dress(
            self._forms[shape], _copies(extras), b"".join(fields), tuple(tail)
        )


def _copies(extras: Extras) -> bytes:
    fields = {"Cc": extras.cc, "Reply-To": (extras.reply_to,)}
    lines = b""
    for name, texts in fields.items():
        if boxes := [parse(text) for text in texts if text is not None]:
            value = header.mailboxes(boxes, used=len(name) + 2)
            lines += b"%b: %b\r\n" % (name.encode(), value)
    return lines


def _field(name: str, value: str) -> bytes:
    if not _FIELD.fullmatch(name) or name.lower() in _OURS:
        raise ValueError(f"{name!r} cannot be the name of a further header field")
    return b"%b: %b\r\n" % (name.encode(), header.text(value, used=len(name) + 2))


# ---- the form, made by the standard library ----------------------------------------


def _form(shape: _Shape) -> bytes:
    """Return the parts with a `%b` for each value: two a part."""
    parts = []
    if shape.text:
        parts.append(_leaf('text/plain; charset="utf-8"', "%b"))
    if shape.html:
        html = _leaf('text/html; charset="utf-8"', "%b")
        shown = [_leaf("%b", "base64") for _ in range(shape.shown)]
        parts.append(_multipart("related", [html, *shown]) if shown else html)
    if shape.method is not None:
        method = f"; method={shape.method}" if shape.method else ""
        parts.append(_leaf(f'text/calendar; charset="utf-8"{method}', "%b"))
    root = parts[0] if len(parts) == 1 else _multipart("alternative", parts)
    if shape.attached:
        files = [_leaf("%b", "base64") for _ in range(shape.attached)]
        root = _multipart("mixed", [root, *files])
    root["MIME-Version"] = "1.0"
    # No limit to its lines: it has none that is long, and `%b` stands for many.
    policy = compat32.clone(linesep="\r\n", max_line_length=None)
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False, policy=policy).flatten(root)
    return written.getvalue()


def _leaf(content_type: str, encoding: str) -> Message:
    part = Message(compat32)
    part["Content-Type"] = content_type
    part["Content-Transfer-Encoding"] = encoding
    part.set_payload("%b")
    return part


def _multipart(subtype: str, parts: Sequence[Message]) -> Message:
    whole = Message(compat32)
    whole.add_header(
        "Content-Type", f"multipart/{subtype}", boundary=f"{BOUNDARY}{subtype}"
    )
    if subtype == "related":
        whole.set_param("type", "text/html")  # RFC 2387 section 3.1
    whole.set_payload([*parts])
    return whole
