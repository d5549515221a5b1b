"""The CloudMails dialect: its REST API v1, as strict as its document allows.

The document fixes paths, fields, limits and error codes. It shows no answer of a
sending endpoint and no body of an error, so the fault `shape` chooses among the forms
that clients meet. Its own example of a batch leaves out `from`, which its table of
fields requires; here the table wins. Ids in errors and indexes count from 0.

`reject...` is refused; what becomes of the others has `fate`. A lookup and the posts of
webhooks tell of the same.

Source:
    CloudMails, "SMTP API Documentation", REST API.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parseaddr
from itertools import count
from typing import ClassVar, NamedTuple

import orjson

from engine.sandbox.faults import Faults
from engine.sandbox.store import (
    Accepted,
    Answer,
    Call,
    Happening,
    Store,
    json_answer,
)

_MAX_BATCH = 1000
_METHODS = {"/send": "POST", "/send/batch": "POST"}
_EVENTS = frozenset(
    ("delivered", "bounced", "opened", "clicked", "unsubscribed", "complained")
)
#: Of docs/webhooks.php: each event, and what its data tells beside id and recipient.
_NESTED: dict[str, tuple[str, dict[str, object]]] = {
    "delivered": ("email.delivered", {"isp": "example"}),
    "deferred": (
        "email.bounced",
        {
            "bounce_type": "soft",
            "bounce_code": "451 4.7.1",
            "bounce_description": "Greylisted, try again later",
        },
    ),
    "bounced": (
        "email.bounced",
        {
            "bounce_type": "hard",
            "bounce_code": "550 5.1.1",
            "bounce_description": "No such user",
        },
    ),
    "complained": ("email.complained", {}),
    "opened": ("email.opened", {}),
    "clicked": ("email.clicked", {"url": "https://sandbox.example/clicked"}),
}
_EMAILS = "/emails/"
_ADDRESS = re.compile(r"[^\s@<>,;:\"]+@[^\s@<>,;:\"]+").fullmatch
_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "sender_not_verified",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limited",
}


class _Flaw(NamedTuple):
    """Why a message cannot be taken."""

    code: str
    message: str
    field: str


class _Ruled(NamedTuple):
    """One message of a batch: the id it was given, or why it was refused."""

    to: object
    message_id: str
    flaw: _Flaw | None


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


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


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
    "attachments": (_are_objects, "an array of objects"),
    "custom_args": (_is_object, "an object"),
}
_REQUIRED = ("to", "from", "subject", "html")


class CloudMails:
    """The CloudMails API. Its one state is the next message id."""

    name: ClassVar[str] = "cloudmails"
    prefix: ClassVar[str] = "/cloudmails/v1"

    def __init__(self) -> None:
        self.adjust(Faults())
        # Two sandboxes never give the same id, so a client cannot mistake an old run.
        self._salt = secrets.token_hex(4)
        self._sequence = count(1)

    def is_sending(self, method: str, path: str) -> bool:
        """Say whether a request to `path` sends mail."""
        return _METHODS.get(path) == method

    def refuse(self, status: int, message: str) -> Answer:
        """Answer with an error in CloudMails' words."""
        return _refusal(status, message, {})

    def handle(self, call: Call, faults: Faults, store: Store) -> Answer:
        """Answer one request as CloudMails would."""
        is_lookup = call.path.startswith(_EMAILS) and len(call.path) > len(_EMAILS)
        method = "GET" if is_lookup else _METHODS.get(call.path)
        if method is None:
            return self.refuse(404, f"There is no {call.path} here")
        if call.method != method:
            refusal = self.refuse(405, f"{call.path} takes {method}")
            return Answer(405, refusal.body, [("allow", method)])
        if not _has_token(call.headers):
            return self.refuse(401, "Invalid or missing API key")
        if is_lookup:
            return self._look_up(call, store)
        return self._receive(call, faults)

    def _receive(self, call: Call, faults: Faults) -> Answer:
        media_type = call.headers.get("content-type", "").partition(";")[0].strip()
        if media_type.lower() != "application/json":
            return self.refuse(400, "Content-Type must be application/json")
        try:
            content = orjson.loads(call.body)
        except orjson.JSONDecodeError as error:
            return self.refuse(400, f"Malformed JSON: {error}")
        if not isinstance(content, dict):
            return self.refuse(400, "The body must be a JSON object")
        if call.path == "/send":
            return self._send(content, faults)
        return self._send_batch(call.number, content, faults)

    def _send(self, item: dict[str, object], faults: Faults) -> Answer:
        flaw = _find_flaw(item, strict=faults.strict)
        if flaw is not None:
            return _refusal(400, flaw.message, {"field": flaw.field}, code=flaw.code)
        if _is_unverified(item, faults):
            return self.refuse(403, f"Sender address not verified: {item['from']}")
        accepted = Accepted()
        message_id = self._accept(item, accepted)
        body = orjson.dumps({"success": True, "message_id": message_id})
        return Answer(200, body, accepted=accepted)

    def _send_batch(
        self, number: int, content: dict[str, object], faults: Faults
    ) -> Answer:
        items = content.get("messages")
        if not isinstance(items, list) or not items:
            return self.refuse(400, "messages must be a non-empty array")
        if len(items) > _MAX_BATCH:
            return self.refuse(
                400, f"At most {_MAX_BATCH} messages per batch, got {len(items)}"
            )
        if faults.strict and len(content) > 1:
            return self.refuse(400, f"Unknown fields: {sorted(content.keys())}")
        if faults.unverified and any(_is_unverified(item, faults) for item in items):
            return self.refuse(403, f"Sender address not verified: {faults.unverified}")
        flaws = [_find_flaw(item, strict=faults.strict) for item in items]
        if faults.atomic or faults.shape not in _ITEM_BY_ITEM:
            for index, flaw in enumerate(flaws):
                if flaw is not None:
                    details = {"index": index, "field": flaw.field}
                    return _refusal(400, flaw.message, details, code=flaw.code)
        return self._take(number, items, flaws, faults)

    def _take(
        self,
        number: int,
        items: list[dict[str, object]],
        flaws: list[_Flaw | None],
        faults: Faults,
    ) -> Answer:
        accepted = Accepted()
        ruled = [
            _Ruled(item["to"], self._accept(item, accepted), None)
            if flaw is None
            else _Ruled(item.get("to") if isinstance(item, dict) else None, "", flaw)
            for item, flaw in zip(items, flaws, strict=True)
        ]
        if faults.shape == "accepted_empty":
            return Answer(202, accepted=accepted)
        shaped = _shape(faults, number, ruled)
        return Answer(200, orjson.dumps(shaped), accepted=accepted)

    def _accept(self, item: dict[str, object], accepted: Accepted) -> str:
        message_id = f"msg_{self._salt}{next(self._sequence):08x}"
        custom_args = item.get("custom_args")
        key = custom_args.get("message_id") if isinstance(custom_args, dict) else None
        accepted.to.append(str(item["to"]))
        accepted.message_ids.append(message_id)
        accepted.keys.append(key if isinstance(key, str) else None)
        accepted.contents.append(item)
        return message_id

    def _look_up(self, call: Call, store: Store) -> Answer:
        message_id = call.path.removeprefix(_EMAILS)
        kept = store.find(message_id, self.name)
        if kept is None:
            return self.refuse(404, f"There is no email {message_id}")
        known: dict[str, object] = {
            "message_id": message_id,
            "status": "sent",
            "created_at": _text(store.moment(kept.request)),
            "opens": 0,
            "clicks": 0,
        }
        for happening in store.happenings(kept):
            if happening.at <= call.at:
                known |= _told(happening)
        return json_answer(200, known)

    def adjust(self, faults: Faults) -> None:
        """Take the form of events and the header of signatures."""
        self._form = faults.events_form
        self._signature_header = faults.signature_header

    def post(self, happening: Happening) -> bytes | None:
        """Write the post of a webhook, in the form that is set."""
        written = _nested(happening) if self._form == "nested" else _flat(happening)
        return None if written is None else orjson.dumps(written)

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        """Sign as docs/webhooks.php has it: HMAC-SHA256 of the raw body, in hex."""
        signed = hmac.digest(secret.encode(), body, "sha256").hex()
        return {self._signature_header: signed}


def _flat(happening: Happening) -> dict[str, object] | None:
    """Write an event in the form of the REST API's document."""
    if happening.kind not in _EVENTS:
        return None
    kept, content = happening.kept, happening.content
    custom_args: object = {} if kept.key is None else {"message_id": kept.key}
    if content is not None:
        custom_args = content.get("custom_args", {})
    return {
        "event": happening.kind,
        "message_id": kept.message_id,
        "timestamp": _text(happening.at),
        "recipient": kept.to,
        "custom_args": custom_args,
    }


def _nested(happening: Happening) -> dict[str, object] | None:
    """Write an event in the form of docs/webhooks.php, which has no custom_args."""
    if happening.kind not in _NESTED:
        return None
    event, more = _NESTED[happening.kind]
    return {
        "event": event,
        "timestamp": int(happening.at.timestamp()),
        "data": {
            "message_id": happening.kept.message_id,
            "recipient": happening.kept.to,
            **more,
        },
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _told(happening: Happening) -> dict[str, object]:
    """Return the fields of a status that something changes."""
    at = _text(happening.at)
    told: dict[str, dict[str, object]] = {
        "delivered": {"status": "delivered", "delivered_at": at},
        "deferred": {"status": "deferred"},
        "bounced": {"status": "bounced", "bounce_reason": "550 5.1.1 No such user"},
        "suppressed": {"status": "failed"},
        "opened": {"opens": 1},
        "clicked": {"clicks": 1},
    }
    return told.get(happening.kind, {})


def _has_token(headers: Mapping[str, str]) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip())


def _is_unverified(item: object, faults: Faults) -> bool:
    if not faults.unverified or not isinstance(item, dict):
        return False
    sender = parseaddr(str(item.get("from")))[1]
    return sender.lower() == faults.unverified.lower()


def _find_flaw(item: object, *, strict: bool) -> _Flaw | None:
    if not isinstance(item, dict):
        return _Flaw("invalid_request", "A message must be an object", "")
    for name in _REQUIRED:
        if name not in item:
            return _Flaw("missing_field", f"Missing required field: {name}", name)
    for name, value in item.items():
        rule = _FIELDS.get(name)
        if rule is None:
            if strict:
                return _Flaw("unknown_field", f"Unknown field: {name}", name)
        elif not rule[0](value):
            return _Flaw("invalid_field", f"{name} must be {rule[1]}", name)
    if item["to"][:6].lower() == "reject":
        return _Flaw("invalid_recipient", f"Recipient refused: {item['to']}", "to")
    return None


def _refusal(
    status: int, message: str, details: dict[str, object], *, code: str | None = None
) -> Answer:
    error = {
        "code": code or _CODES.get(status, "server_error"),
        "message": message,
        "details": details,
    }
    return json_answer(status, {"success": False, "error": error})


#: Shapes that can say of each message whether it was accepted.
_ITEM_BY_ITEM = frozenset(
    (
        "results",
        "messages",
        "data",
        "emails",
        "bare",
        "keyed",
        "indexed",
        "errors",
        "short",
        "long",
    )
)


def _shape(faults: Faults, number: int, ruled: list[_Ruled]) -> object:
    """Write the answer to a batch in one of the forms that clients meet."""
    shape = faults.shape
    ids = [one.message_id for one in ruled if one.flaw is None]
    if shape not in _ITEM_BY_ITEM:
        return _summary(shape, ids)
    if shape == "errors":
        return {"success": True, "message_ids": ids, "errors": _errors(ruled)}
    rows = _rows(faults, number, ruled)
    if shape == "bare":
        return rows
    name = shape if shape in {"messages", "data", "emails"} else "results"
    return {"success": True, name: rows}


def _summary(shape: str, ids: list[str]) -> object:
    return {
        "ids": ids,
        "message_ids": {"success": True, "message_ids": ids},
        "batch_id": {"batch_id": f"batch_{ids[0].removeprefix('msg_')}"},
        "success": {"success": True},
    }[shape]


def _rows(faults: Faults, number: int, ruled: list[_Ruled]) -> list[dict[str, object]]:
    rows = [_row(one) for one in ruled]
    match faults.shape:
        case "keyed":
            pairs = zip(rows, ruled, strict=True)
            return _shuffled(
                faults, number, [row | {"to": one.to} for row, one in pairs]
            )
        case "indexed":
            numbered = [row | {"index": index} for index, row in enumerate(rows)]
            return _shuffled(faults, number, numbered)
        case "short":
            return rows[:-1]
        case "long":
            return [*rows, {"message_id": "msg_of_nobody", "status": "sent"}]
        case _:
            return rows


def _row(one: _Ruled) -> dict[str, object]:
    if one.flaw is None:
        return {"message_id": one.message_id, "status": "sent"}
    error = {"code": one.flaw.code, "message": one.flaw.message}
    return {"status": "failed", "error": error}


def _errors(ruled: list[_Ruled]) -> list[dict[str, object]]:
    return [
        {"index": index, "code": one.flaw.code, "message": one.flaw.message}
        for index, one in enumerate(ruled)
        if one.flaw is not None
    ]


def _shuffled(
    faults: Faults, number: int, rows: list[dict[str, object]]
) -> list[dict[str, object]]:
    """Put rows in another order, surely another when there are two or more."""
    order = list(range(len(rows)))
    faults.dice(number).shuffle(order)
    if order == sorted(order):
        order.reverse()
    return [rows[place] for place in order]
