"""The MailerLogic dialect: sending, batches, events and webhooks of its REST API v1.

    __init__.py  the endpoints and their answers
    batch.py     the forms an answer to a batch may have
    mail.py      what a message must be
    event.py     the Events API and the posts of webhooks
    refusal.py   the errors and the rate headers

Every domain is a verified one of the account, unless it has `unverified` in its name
(403) or `unknown` (404). `reject...` as local part of `to` is refused; what becomes of
the others is in `engine.sandbox.fate`. The bearer tokens `no-tracking` and `no-events`
belong to accounts whose plan has no events. The limit of requests is stated and never
reached: only faults throttle.

Of a batch the document gives the totals and not what stands beside them; the fault
`shape` chooses among the forms that clients meet. With `atomic`, one bad message
refuses the batch, which the document rules out.

Source:
    MailerLogic API: `POST /api/v1/send`, `POST /api/v1/batch`, Events API and webhooks,
    read 2026-11-20.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar
from urllib.parse import urlsplit

import orjson

from engine.sandbox.faults import Faults
from engine.sandbox.mailerlogic.batch import Ruled, shape_answer
from engine.sandbox.mailerlogic.event import (
    POST_TYPES,
    events_of,
    list_events,
    moment_text,
    post_of,
)
from engine.sandbox.mailerlogic.mail import Mail, read_mail
from engine.sandbox.mailerlogic.refusal import Refused, quota_headers
from engine.sandbox.store import (
    Accepted,
    Answer,
    Call,
    Happening,
    Store,
    json_answer,
)

_MAX_BATCH = 500
_SEND, _BATCH = "/api/v1/send", "/api/v1/batch"
_WEBHOOKS = "/api/v1/customer/webhooks"
_EVENTS = "/api/v1/events"
_EMAILS, _OF_EMAIL = "/api/v1/emails/", "/events"
_PLANS = {
    "no-tracking": "event_tracking_disabled",
    "no-events": "event_api_disabled",
}


class MailerLogic:
    """The MailerLogic API.

    Attributes:
        webhooks: what was registered, as it was answered.
    """

    name: ClassVar[str] = "mailerlogic"
    prefix: ClassVar[str] = "/mailerlogic"

    def __init__(self) -> None:
        self.webhooks: list[dict[str, object]] = []

    def is_sending(self, method: str, path: str) -> bool:
        """Say whether a request to `path` sends mail."""
        return method == "POST" and path in {_SEND, _BATCH}

    def refuse(self, status: int, message: str) -> Answer:
        """Answer with an error in MailerLogic's words."""
        answer = Refused(status, message).answer()
        return replace(answer, headers=quota_headers(datetime.now(UTC)))

    def handle(self, call: Call, faults: Faults, store: Store) -> Answer:
        """Answer one request as MailerLogic would."""
        try:
            answer = self._answer(call, faults, store)
        except Refused as refusal:
            answer = refusal.answer()
        headers = [*answer.headers, *quota_headers(call.at)]
        return replace(answer, headers=headers)

    def post(self, happening: Happening) -> bytes | None:
        """Write the post of a webhook."""
        return post_of(happening)

    def _answer(self, call: Call, faults: Faults, store: Store) -> Answer:
        places: dict[str, tuple[str, Callable[[], Answer]]] = {
            _SEND: ("POST", lambda: self._send(call, faults)),
            _BATCH: ("POST", lambda: self._send_batch(call, faults)),
            _WEBHOOKS: ("POST", lambda: self._register(call)),
            _EVENTS: ("GET", lambda: _list_events(call, store)),
        }
        place = places.get(call.path)
        email_id = call.path.removeprefix(_EMAILS).removesuffix(_OF_EMAIL)
        if call.path == f"{_EMAILS}{email_id}{_OF_EMAIL}" and "/" not in email_id:
            place = ("GET", lambda: _follow(call, email_id, store))
        if place is None:
            raise Refused(404, f"There is no {call.path} here")
        method, act = place
        if call.method != method:
            refusal = Refused(405, f"{call.path} takes {method}").answer()
            return replace(refusal, headers=[("allow", method)])
        _authenticate(call.headers, bearer=method == "GET")
        return act()

    def _send(self, call: Call, faults: Faults) -> Answer:
        content = _read(call)
        mail = read_mail(content, unverified=faults.unverified, strict=faults.strict)
        accepted = Accepted()
        written = _accept(mail, content, call.at, accepted)
        written["message"] = "Email queued for delivery"
        return replace(json_answer(200, written), accepted=accepted)

    def _send_batch(self, call: Call, faults: Faults) -> Answer:
        content = _read(call)
        items = content.get("emails")
        if not isinstance(items, list) or not items:
            raise Refused(400, "emails must be a non-empty array")
        if len(items) > _MAX_BATCH:
            raise Refused(400, f"At most {_MAX_BATCH} emails per batch")
        if faults.strict and len(content) > 1:
            raise Refused(400, f"Unknown fields: {sorted(content)}")
        accepted = Accepted()
        ruled = []
        for index, item in enumerate(items):
            try:
                mail = read_mail(
                    item, unverified=faults.unverified, strict=faults.strict
                )
            except Refused as refusal:
                if faults.atomic:
                    raise Refused(400, f"emails[{index}]: {refusal}") from refusal
                to = item.get("to") if isinstance(item, dict) else None
                ruled.append(Ruled(to, None, refusal))
            else:
                row = _accept(mail, item, call.at, accepted)
                ruled.append(Ruled(mail.to, row, None))
        if faults.shape == "accepted_empty":
            return Answer(202, accepted=accepted)
        shaped = shape_answer(faults, call.number, ruled)
        return Answer(200, orjson.dumps(shaped), accepted=accepted)

    def _register(self, call: Call) -> Answer:
        content = _read(call)
        _check_webhook(content)
        webhook: dict[str, object] = {
            "id": str(uuid.uuid4()),
            "url": content["url"],
            "events": content.get("events", list(POST_TYPES)),
            "name": content.get("name"),
            "description": content.get("description"),
            "domain_ids": content.get("domain_ids"),
            "is_active": content.get("is_active", True),
            "created_at": moment_text(call.at),
        }
        self.webhooks.append(webhook)
        return json_answer(201, webhook)


def _authenticate(headers: Mapping[str, str], *, bearer: bool) -> None:
    """Check who asks: a bearer token for events, a key for everything else."""
    if not bearer:
        if not headers.get("x-api-key", "").strip():
            raise Refused(401, "X-API-Key is missing")
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refused(401, "Authorization must be a bearer token")
    if token in _PLANS:
        raise Refused(403, "The plan of this account has no events", _PLANS[token])


def _read(call: Call) -> dict[str, object]:
    media_type = call.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        raise Refused(400, "Content-Type must be application/json")
    try:
        content = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, f"Malformed JSON: {error}") from error
    if not isinstance(content, dict):
        raise Refused(400, "The body must be a JSON object")
    return content


def _accept(
    mail: Mail, content: dict[str, object], now: datetime, accepted: Accepted
) -> dict[str, object]:
    """Note an accepted message; returns what is answered of it."""
    email_id = str(uuid.uuid4())
    accepted.to.append(mail.to)
    accepted.message_ids.append(email_id)
    accepted.keys.append(mail.key)
    accepted.contents.append(content)
    return {
        "to": mail.to,
        "submitted_at": moment_text(now),
        "message_id": f"<{email_id}@{mail.domain}>",
        "email_id": email_id,
        "status": "queued",
    }


def _list_events(call: Call, store: Store) -> Answer:
    return json_answer(200, list_events(store, call.query, call.at))


def _follow(call: Call, email_id: str, store: Store) -> Answer:
    kept = store.find(email_id, MailerLogic.name)
    if kept is None:
        raise Refused(404, f"There is no email {email_id}")
    events = events_of(store, kept, call.at)
    timeline = [
        {"event_type": event["event_type"], "timestamp": event["timestamp"]}
        for event in events
    ]
    return json_answer(
        200, {"email_id": email_id, "events": events, "timeline": timeline}
    )


def _check_webhook(content: Mapping[str, object]) -> None:
    if not _is_url(content.get("url")):
        raise Refused(400, "url must be an http or https URL")
    events = content.get("events", [])
    if not isinstance(events, list) or not all(each in POST_TYPES for each in events):
        raise Refused(400, f"events must be among {', '.join(POST_TYPES)}")
    for name in ("name", "description"):
        if not isinstance(content.get(name, ""), str):
            raise Refused(400, f"{name} must be a string")
    domain_ids = content.get("domain_ids")
    if domain_ids is not None and not (
        isinstance(domain_ids, list) and all(map(_is_uuid, domain_ids))
    ):
        raise Refused(400, "domain_ids must be null or an array of UUIDs")
    if not isinstance(content.get("is_active", True), bool):
        raise Refused(400, "is_active must be true or false")


def _is_url(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _is_uuid(value: object) -> bool:
    try:
        uuid.UUID(str(value))
    except ValueError:
        return False
    return isinstance(value, str)
