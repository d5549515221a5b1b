"""The CloudMails dialect: its REST API v1, as strict as its document allows.

    mail    what is taken for a message
    batch   the answers to a batch
    event   what is told of a message later

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
import secrets
from collections.abc import Mapping
from email.utils import parseaddr
from itertools import count
from typing import ClassVar

import orjson

from engine.sandbox.cloudmails import event
from engine.sandbox.cloudmails.batch import ITEM_BY_ITEM, Ruled, shape_answer
from engine.sandbox.cloudmails.mail import Flaw, find_flaw
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
_EMAILS = "/emails/"
_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "sender_not_verified",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limited",
}


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
        flaw = find_flaw(item, strict=faults.strict)
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
        flaws = [find_flaw(item, strict=faults.strict) for item in items]
        if faults.atomic or faults.shape not in ITEM_BY_ITEM:
            for index, flaw in enumerate(flaws):
                if flaw is not None:
                    details = {"index": index, "field": flaw.field}
                    return _refusal(400, flaw.message, details, code=flaw.code)
        return self._take(number, items, flaws, faults)

    def _take(
        self,
        number: int,
        items: list[dict[str, object]],
        flaws: list[Flaw | None],
        faults: Faults,
    ) -> Answer:
        accepted = Accepted()
        ruled = [
            Ruled(item["to"], self._accept(item, accepted), None)
            if flaw is None
            else Ruled(item.get("to") if isinstance(item, dict) else None, "", flaw)
            for item, flaw in zip(items, flaws, strict=True)
        ]
        if faults.shape == "accepted_empty":
            return Answer(202, accepted=accepted)
        shaped = shape_answer(faults, number, ruled)
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
            "created_at": event.moment_text(store.moment(kept.request)),
            "opens": 0,
            "clicks": 0,
        }
        for happening in store.happenings(kept):
            if happening.at <= call.at:
                known |= event.status(happening)
        return json_answer(200, known)

    def adjust(self, faults: Faults) -> None:
        """Take the form of events and the header of signatures."""
        self._form = faults.events_form
        self._signature_header = faults.signature_header

    def post(self, happening: Happening) -> bytes | None:
        """Write the post of a webhook, in the form that is set."""
        written = (event.nested if self._form == "nested" else event.flat)(happening)
        return None if written is None else orjson.dumps(written)

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        """Sign as docs/webhooks.php has it: HMAC-SHA256 of the raw body, in hex."""
        signed = hmac.digest(secret.encode(), body, "sha256").hex()
        return {self._signature_header: signed}


def _has_token(headers: Mapping[str, str]) -> bool:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and bool(token.strip())


def _is_unverified(item: object, faults: Faults) -> bool:
    if not faults.unverified or not isinstance(item, dict):
        return False
    sender = parseaddr(str(item.get("from")))[1]
    return sender.lower() == faults.unverified.lower()


def _refusal(
    status: int, message: str, details: dict[str, object], *, code: str | None = None
) -> Answer:
    error = {
        "code": code or _CODES.get(status, "server_error"),
        "message": message,
        "details": details,
    }
    return json_answer(status, {"success": False, "error": error})
