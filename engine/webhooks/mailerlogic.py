"""MailerLogic's posts, and the events of its Events API.

    {"event": "email.delivered", "timestamp": "…",
     "data": {"email_id": "…", "message_id": "<…>", "recipient": "…", "metadata": {…}}}

The envelope is not documented: the word may stand in `event`, `type` or `event_type`,
the rest in `data` or beside it. What we sent in `metadata` comes back in it: there our
own message id is.

Source:
    MailerLogic, "Send a single email" (`metadata`, `headers`); its public pages on
    webhooks and on the Events API, read 2026-11-20.
"""

from collections.abc import Mapping
from typing import Final

from engine.errors import EventsError
from engine.event import Event, EventType, RejectReason
from engine.webhooks.base import moment, objects, table, text, written

_NAME: Final = "mailerlogic"
_PREFIX: Final = "email."

_Meaning = tuple[EventType, RejectReason | None]

#: What each word means; webhooks write it behind `email.`.
MEANINGS: Final[Mapping[str, _Meaning]] = {
    "queued": (EventType.QUEUED, None),
    "sent": (EventType.SENT, None),
    "delivered": (EventType.DELIVERED, None),
    "deferred": (EventType.DEFERRED, None),
    "bounced": (EventType.BOUNCED, RejectReason.BOUNCED),
    "failed": (EventType.FAILED, None),
    "opened": (EventType.OPENED, None),
    "clicked": (EventType.CLICKED, None),
    "complained": (EventType.COMPLAINED, RejectReason.SPAM),
    "unsubscribed": (EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED),
}
#: A soft bounce is put off, not over.
_SOFT: Final[_Meaning] = (EventType.DEFERRED, None)
_PINGS: Final = frozenset({"ping", "test", "webhook.test"})


def parse(body: bytes) -> list[Event]:
    """Make events of the body of one post.

    Args:
        body: as it came: a post, an array of posts, or a page of the Events API.

    Returns:
        The events in their order; none for a ping.

    Raises:
        EventsError: it is not JSON, or JSON of something else.
    """
    found = []
    for post in objects(body, "MailerLogic"):
        inner = post.get("events", [post])
        if not isinstance(inner, list):
            raise EventsError('is no event of MailerLogic: "events" is not a list')
        found += [event for item in inner if (event := _event(item)) is not None]
    return found


def _event(item: object) -> Event | None:
    """Make an event of one object; None if it is a ping."""
    if not isinstance(item, dict):
        raise EventsError("is no event of MailerLogic: not an object")
    words = (item.get(key) for key in ("event", "event_type", "type"))
    kind = next((word for word in words if isinstance(word, str)), None)
    if kind is None and item:
        raise EventsError('is no event of MailerLogic: it has no text "event"')
    word = (kind or "ping").strip().lower()
    if kind is None or word in _PINGS:
        return None
    told = item | table(item.get("data")) | table(item.get("event_data"))
    meaning = MEANINGS.get(word.removeprefix(_PREFIX), (EventType.UNKNOWN, None))
    if meaning[0] is EventType.BOUNCED and told.get("bounce_type") == "soft":
        meaning = _SOFT
    metadata = table(told.get("metadata"))
    return Event(
        type=meaning[0],
        provider=_NAME,
        provider_id=text(told.get("email_id")),
        recipient=text(told.get("recipient")) or text(told.get("to")),
        message_id=text(metadata.get("message_id")),
        metadata=metadata,
        happened_at=moment(told.get("timestamp")),
        raw=kind,
        reject_reason=meaning[1],
        description=_why(told),
        payload=written(item),
    )


def _why(told: Mapping[str, object]) -> str | None:
    """Return the words on why it did not arrive: code and sentence."""
    keys = ("bounce_code", "bounce_reason", "reason", "error")
    words = (text(told.get(key)) for key in keys)
    return " ".join(filter(None, words)) or None
