"""Cloudflare's events, as its Event Subscriptions put them into a Queue.

    {"type": "cf.email.sending.message.bounced", "source": {…},
     "payload": {"eventId": "…", "messageId": "…", "recipient": "…", "bounce": {…}},
     "metadata": {"eventTimestamp": "…", …}}

Cloudflare posts nothing by HTTP itself: a Worker that reads the Queue forwards these,
one or an array of them, as they are.

Source:
    Cloudflare, "Event subscriptions", Email Sending, read 2026-11-20.
"""

from collections.abc import Mapping
from typing import Final

from engine.errors import EventsError
from engine.event import Event, EventType, RejectReason
from engine.webhooks.base import moment, objects, our_id, table, text, written

_NAME: Final = "cloudflare"
_PREFIX: Final = "cf.email.sending.message."

_Meaning = tuple[EventType, RejectReason | None]

#: What the last word of each type means.
MEANINGS: Final[Mapping[str, _Meaning]] = {
    "delivered": (EventType.DELIVERED, None),
    "deferred": (EventType.DEFERRED, None),
    "bounced": (EventType.BOUNCED, RejectReason.BOUNCED),
    "failed": (EventType.FAILED, None),
    "rejected": (EventType.REJECTED, RejectReason.BLOCKED),
    "complained": (EventType.COMPLAINED, RejectReason.SPAM),
}
#: `bounce.type`: a soft bounce is not the end unless it says so (`terminal`).
_SOFT: Final[_Meaning] = (EventType.DEFERRED, None)


def parse(body: bytes) -> list[Event]:
    """Make events of the body of one post.

    Args:
        body: as it came: an event, or an array of them.

    Returns:
        The events in their order; none for an empty post.

    Raises:
        EventsError: it is not JSON, or JSON of something else.
    """
    return [_event(item) for item in objects(body, "Cloudflare") if item]


def _event(item: dict[str, object]) -> Event:
    kind = item.get("type")
    if not isinstance(kind, str):
        raise EventsError('is no event of Cloudflare: it has no text "type"')
    told = table(item.get("payload"))
    word = kind.strip().lower().removeprefix(_PREFIX)
    meaning = MEANINGS.get(word, (EventType.UNKNOWN, None))
    is_soft = table(told.get("bounce")).get("type") == "soft"
    if word == "bounced" and is_soft and told.get("terminal") is not True:
        meaning = _SOFT
    named = text(told.get("messageId"))
    return Event(
        type=meaning[0],
        provider=_NAME,
        provider_id=named,
        recipient=text(told.get("recipient")),
        message_id=our_id(named),
        metadata={},
        happened_at=moment(table(item.get("metadata")).get("eventTimestamp")),
        raw=kind,
        reject_reason=meaning[1],
        description=_why(told),
        payload=written(item),
    )


def _why(told: Mapping[str, object]) -> str | None:
    """Return the words on why it did not arrive, or of the recipient's server."""
    for name, keys in (
        ("bounce", ("classification", "reason")),
        ("failure", ("reason",)),
        ("rejection", ("reason", "party", "detail")),
        ("complaint", ("type",)),
        ("delivery", ("smtpEnhancedStatusCode", "smtpResponse")),
    ):
        part = table(told.get(name))
        if words := [found for key in keys if (found := text(part.get(key)))]:
            return " ".join(words)
    return None
