"""What MailerLogic says of a message later: events to ask for, and posts of webhooks.

Events are listed newest first, and only once their time has come. The document says
that metadata and headers are in every post; the envelope around them is an assumption,
as are the contents of `event_data`.

Source:
    MailerLogic, Events API and webhooks, read 2026-11-20; `POST /api/v1/send`, fields
    `headers` and `metadata`.
"""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs

import orjson

from engine.sandbox.mailerlogic.mail import sender_of
from engine.sandbox.mailerlogic.refusal import Refused
from engine.sandbox.store import Happening, Kept, Store

#: What each kind is called in the Events API; what has no word there is left out.
_TYPES: Final = {
    "accepted": "queued",
    "sent": "sent",
    "delivered": "delivered",
    "bounced": "bounced",
    "complained": "complained",
    "opened": "opened",
    "clicked": "clicked",
    "unsubscribed": "unsubscribed",
}
#: What each kind is called in a webhook's post.
_POSTS: Final = {
    "sent": "email.sent",
    "delivered": "email.delivered",
    "opened": "email.opened",
    "clicked": "email.clicked",
    "bounced": "email.bounced",
    "complained": "email.complained",
    "unsubscribed": "email.unsubscribed",
    "suppressed": "email.failed",
}
POST_TYPES: Final = tuple(_POSTS.values())
_MORE: Final[Mapping[str, Mapping[str, object]]] = {
    "bounced": {"bounce_type": "hard", "reason": "550 5.1.1 User unknown"},
    "clicked": {"url": "https://sandbox.example/"},
    "complained": {"feedback_type": "abuse"},
    "suppressed": {"reason": "The recipient is on the suppression list"},
}
#: What a post repeats of the message.
_CARRIED = ("subject", "tag", "metadata", "headers")
_DEFAULT_PAGE = 50
_MAX_PAGE = 100
_EVENT_NAME = "mailerlogic"


def post_of(happening: Happening) -> bytes | None:
    """Write the post of a webhook, if there is such an event.

    Of a message that was not kept whole, it has the ids and the recipient alone.
    """
    if happening.kind not in _POSTS:
        return None
    kept, content = happening.kept, happening.content
    data: dict[str, object] = {"email_id": kept.message_id, "recipient": kept.to}
    if content is not None:
        domain, sender = sender_of(content)
        data |= {"message_id": f"<{kept.message_id}@{domain}>", "from": sender}
        data |= {name: content[name] for name in _CARRIED if name in content}
    elif kept.key is not None:
        data["metadata"] = {"message_id": kept.key}
    data |= _MORE.get(happening.kind, {})
    post = {
        "event": _POSTS[happening.kind],
        "timestamp": moment_text(happening.at),
        "data": data,
    }
    return orjson.dumps(post)


def events_of(store: Store, kept: Kept, now: datetime) -> list[dict[str, object]]:
    """Describe what has become of a message until now, oldest first."""
    return [
        _describe(happening)
        for happening in store.happenings(kept)
        if happening.kind in _TYPES and happening.at <= now
    ]


def list_events(store: Store, query: str, now: datetime) -> dict[str, object]:
    """Answer `GET /api/v1/events`.

    Args:
        store: where the messages are.
        query: `email_id`, `type`, `recipient`, `from`, `from_timestamp`,
            `to_timestamp`, `page` and `limit`.
        now: UTC.

    Raises:
        Refused: a value is wrong.
    """
    asked = {name: values[-1] for name, values in parse_qs(query).items()}
    page = _whole(asked, "page", default=1)
    limit = _whole(asked, "limit", default=_DEFAULT_PAGE)
    if limit > _MAX_PAGE:
        raise Refused(400, f"limit must be 1 to {_MAX_PAGE}")
    if asked.get("type", "queued") not in _TYPES.values():
        raise Refused(400, f"type must be one of {', '.join(_TYPES.values())}")
    since, until = _moment(asked, "from_timestamp"), _moment(asked, "to_timestamp")
    found = [
        event
        for event in _candidates(store, asked.get("email_id"), now)
        if _matches(event, asked, since, until)
    ]
    found.sort(key=lambda event: str(event["timestamp"]), reverse=True)
    pagination = {
        "page": page,
        "limit": limit,
        "total": len(found),
        "pages": -(-len(found) // limit),
    }
    shown = found[(page - 1) * limit : page * limit]
    return {"events": shown, "pagination": pagination}


def moment_text(moment: datetime) -> str:
    """Write a moment as MailerLogic does, with milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_id(name: str) -> str:
    """Derive an id, so that an event told twice is the same event."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{_EVENT_NAME} {name}"))


def _describe(happening: Happening) -> dict[str, object]:
    kept, word = happening.kept, _TYPES[happening.kind]
    content = happening.content
    at = moment_text(happening.at)
    return {
        "id": event_id(f"{kept.message_id} {happening.kind}"),
        "email_id": kept.message_id,
        "customer_id": event_id("customer"),
        "event_type": word,
        "status": word,
        "recipient": kept.to,
        "from": None if content is None else sender_of(content)[1],
        "timestamp": at,
        "event_data": _MORE.get(happening.kind, {}),
        "created_at": at,
    }


def _candidates(
    store: Store, email_id: str | None, now: datetime
) -> Iterator[dict[str, object]]:
    if email_id is None:
        for kept in store.all(_EVENT_NAME):
            yield from events_of(store, kept, now)
    elif (one := store.find(email_id, _EVENT_NAME)) is not None:
        yield from events_of(store, one, now)


def _matches(
    event: Mapping[str, object],
    asked: Mapping[str, str],
    since: datetime | None,
    until: datetime | None,
) -> bool:
    at = datetime.fromisoformat(str(event["timestamp"]))
    return (
        asked.get("type", event["event_type"]) == event["event_type"]
        and asked.get("recipient", event["recipient"]) == event["recipient"]
        and asked.get("from", event["from"]) == event["from"]
        and (since is None or since <= at)
        and (until is None or at <= until)
    )


def _whole(asked: Mapping[str, str], name: str, *, default: int) -> int:
    try:
        number = int(asked.get(name, default))
    except ValueError:
        number = 0
    if number < 1:
        raise Refused(400, f"{name} must be a whole number, 1 or more")
    return number


def _moment(asked: Mapping[str, str], name: str) -> datetime | None:
    """Read a moment: ISO 8601, UTC unless it says otherwise."""
    if name not in asked:
        return None
    try:
        moment = datetime.fromisoformat(asked[name])
    except ValueError as error:
        raise Refused(400, f"{name} must be a moment, ISO 8601") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
