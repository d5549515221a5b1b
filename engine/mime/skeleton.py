"""The whole: made once by the standard library, filled message by message.

    multipart/mixed                  if there are attachments
        multipart/alternative        if there is more than one of:
            text/plain
            multipart/related        if the HTML shows attachments, else text/html alone
                text/html
                image/png …
            text/calendar; method=…  an invitation, and the same as invite.ics
        application/pdf …

A message of 2 kB takes some 10 us, its request included; `EmailMessage` takes 1 770
(CPU time on a busy machine, 2026-11-29 and 20).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from email.generator import BytesGenerator
from email.message import Message
from email.policy import compat32
from email.utils import format_datetime
from io import BytesIO
from itertools import chain
from typing import NamedTuple, TypeVar

from engine.message import Envelope, Extras, Messages
from engine.mime import header
from engine.mime.bodies import bodies
from engine.mime.body import BOUNDARY, body
from engine.mime.file import Files, encoded
from engine.mime.mailbox import Mailbox, ascii_domain, parse
from engine.texts import Piece, Texts, inside, insides

_P = TypeVar("_P", bound=Piece)

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

#: Stands for a value in a form.
_GAP = "%b"

#: What stands before the address, the copies, the subject, the id and further fields.
_HEAD = (
    "From: {sender}\r\nTo: ",
    "\r\n",
    "Subject: ",
    "\r\nDate: {date}\r\nMessage-ID: <",
    "@{domain}>\r\n",
)


class _Shape(NamedTuple):
    # What a message is made of. method: None without an invitation, "" if it says none.
    text: bool
    html: bool
    shown: int
    method: str | None
    attached: int


class _Dress(NamedTuple):
    # What one `Extras` puts around the bodies, in JSON. form: what stands around the
    # values. copies, fields: whole header fields. tail: values of the parts after the
    # HTML.
    form: list[bytes]
    copies: bytes
    fields: bytes
    tail: list[bytes]

    def around(
        self, to: _P, subject: _P, message_id: _P, parts: Iterable[_P]
    ) -> list[_P | bytes]:
        # The pieces of a message, or of many at once.
        values = [to, self.copies, subject, message_id, self.fields, *parts, *self.tail]
        *before, end = self.form
        return [*chain.from_iterable(zip(before, values, strict=True)), end]


class Skeleton:
    """What all messages of a run have in common, ready to be filled.

    Raises:
        ValueError: what they share cannot stand in a header.
    """

    def __init__(self, envelope: Envelope) -> None:
        self._extras = envelope.extras
        sender = parse(envelope.sender)
        shared = {
            "sender": header.mailbox(sender, used=len("From: ")),
            "date": format_datetime(envelope.date),
            "domain": ascii_domain(sender.address).rpartition("@")[2],
        }
        self._head = [inside(text.format(**shared)) for text in _HEAD]
        self._forms: dict[_Shape, list[bytes]] = {}
        self._files = Files()
        self._shared: dict[tuple[bool, bool], _Dress] = {}

    def encode(self, messages: Messages) -> Texts:
        """Return the messages, in order.

        A row whose place in `Messages.extras` is taken gets those in place of the
        envelope's. Nobody in bcc is named.

        Raises:
            ValueError: an address has not the form `local@domain`; a header has a
                control character or a name of ours; there is no body.
        """
        texts, htmls = messages.texts, messages.htmls
        if texts is None and htmls is None:
            raise ValueError("a message has neither HTML nor text")
        for message_id in messages.message_ids:
            if not _ID.fullmatch(message_id):
                raise ValueError(f"{message_id!r} cannot be the id of a message")
        people = zip(messages.names, messages.addresses, strict=True)
        boxes = [Mailbox(name, address) for name, address in people]
        to = insides([header.mailbox(box, used=len("To: ")) for box in boxes])
        used = len("Subject: ")
        subjects = insides([header.text(text, used=used) for text in messages.subjects])
        ids = insides(messages.message_ids)
        parts: list[list[bytes]] = []
        for column in (texts, htmls):
            if column is not None:
                made = bodies(column)
                parts += [[part.encoding for part in made], [p.content for p in made]]
        kinds = texts is not None, htmls is not None
        if messages.extras is None:
            pieces = self._dress_of_all(kinds).around(to, subjects, ids, parts)
            return Texts(len(messages), pieces)
        dresses = (self._dress(extras, kinds) for extras in messages.extras)
        each = zip(dresses, to, subjects, ids, *parts, strict=True)
        whole = [
            b"".join(dress.around(box, subject, message_id, own))
            for dress, box, subject, message_id, *own in each
        ]
        return Texts(len(messages), [whole])

    def _dress_of_all(self, bodies: tuple[bool, bool]) -> _Dress:
        if bodies not in self._shared:
            self._shared[bodies] = self._dress(self._extras, bodies)
        return self._shared[bodies]

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
            self._forms[shape] = [*self._head, *_form(shape)]
        fields = "".join(map(_field, extras.headers, extras.headers.values()))
        return _Dress(self._forms[shape], inside(_copies(extras)), inside(fields), tail)


def _copies(extras: Extras) -> str:
    fields = {"Cc": extras.cc, "Reply-To": (extras.reply_to,)}
    lines = ""
    for name, texts in fields.items():
        if boxes := [parse(text) for text in texts if text is not None]:
            lines += f"{name}: {header.mailboxes(boxes, used=len(name) + 2)}\r\n"
    return lines


def _field(name: str, value: str) -> str:
    if not _FIELD.fullmatch(name) or name.lower() in _OURS:
        raise ValueError(f"{name!r} cannot be the name of a further header field")
    return f"{name}: {header.text(value, used=len(name) + 2)}\r\n"


# ---- the form, made by the standard library ----------------------------------------


def _form(shape: _Shape) -> list[bytes]:
    """Return what stands around the values of the parts, in JSON: two a part."""
    parts = []
    if shape.text:
        parts.append(_leaf('text/plain; charset="utf-8"', _GAP))
    if shape.html:
        html = _leaf('text/html; charset="utf-8"', _GAP)
        shown = [_leaf(_GAP, "base64") for _ in range(shape.shown)]
        parts.append(_multipart("related", [html, *shown]) if shown else html)
    if shape.method is not None:
        method = f"; method={shape.method}" if shape.method else ""
        parts.append(_leaf(f'text/calendar; charset="utf-8"{method}', _GAP))
    root = parts[0] if len(parts) == 1 else _multipart("alternative", parts)
    if shape.attached:
        files = [_leaf(_GAP, "base64") for _ in range(shape.attached)]
        root = _multipart("mixed", [root, *files])
    root["MIME-Version"] = "1.0"
    # No limit to its lines: it has none that is long, and a gap stands for many.
    policy = compat32.clone(linesep="\r\n", max_line_length=None)
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False, policy=policy).flatten(root)
    return [inside(text) for text in written.getvalue().decode().split(_GAP)]


def _leaf(content_type: str, encoding: str) -> Message:
    part = Message(compat32)
    part["Content-Type"] = content_type
    part["Content-Transfer-Encoding"] = encoding
    part.set_payload(_GAP)
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
