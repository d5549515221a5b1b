"""CloudMailin's posts, and the events of its status endpoint.

    {"events": [{"kind": "delivery", "message_id": "<uuid>", "recipient": "…",
                 "original_message_id": "<ours>@…", "timestamp": "…", "details": {…}}]}

`message_id` is the id in the answer to the send. Where the message went out with a
Message-ID of ours, `original_message_id` gives it back. A sample without events is the
ping that its dashboard sends.

Source:
    CloudMailin, Core API, "Outbound Messages", and "Sending email events webhook", read
    2026-11-20.
"""

from collections.abc import Mapping
from typing import Final

from engine.errors import EventsError
from engine.event import Event, EventType, RejectReason
from engine.webhooks.base import moment, objects, our_id, table, text, written

_NAME: Final = "cloudmailin"

_Meaning = tuple[EventType, RejectReason | None]

#: What each kind means; "Sending email events webhook".
MEANINGS: Final[Mapping[str, _Meaning]] = {
    "registration": (EventType.QUEUED, None),
    # kept back for the account's or the domain's allowance, and sent later
    "rate_limit": (EventType.DEFERRED, None),
    "dispatch": (EventType.SENT, None),
    "dispatch_soft_bounce": (EventType.DEFERRED, None),
    "soft_bounce": (EventType.DEFERRED, None),
    "delivery": (EventType.DELIVERED, None),
    "bounce": (EventType.BOUNCED, RejectReason.BOUNCED),
    "retries_exhausted": (EventType.BOUNCED, RejectReason.TIMED_OUT),
    "error": (EventType.FAILED, None),
    # taken by the API with a 202, and then not sent: spam, or a suppressed address
    "suppressed": (EventType.REJECTED, RejectReason.BLOCKED),
    "open": (EventType.OPENED, None),
    "read": (EventType.OPENED, None),
    "click": (EventType.CLICKED, None),
    "auto_reply": (EventType.AUTORESPONDED, None),
    "bounce_reply": (EventType.AUTORESPONDED, None),
    "complaint": (EventType.COMPLAINED, RejectReason.SPAM),
    "unsubscribe": (EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED),
}


def parse(body: bytes) -> list[Event]:
    """Make events of the body of one post.

    Args:
        body: as it came: a post, an array of posts, or single events.

    Returns:
        The events in their order; none for a ping.

    Raises:
        EventsError: it is not JSON, or JSON of something else.
    """
    found = []
    for post in objects(body, "CloudMailin"):
        inner = post.get("events", [post] if "kind" in post else None)
        if inner is None and not post:
            continue
        if not isinstance(inner, list):
            raise EventsError('is no event of CloudMailin: it has no list "events"')
        found += [event(item) for item in inner]
    return found


def event(item: object, *, of: Mapping[str, object] | None = None) -> Event:
    """Make an event of one entry.

    Args:
        item: the entry.
        of: what is known of the message beside it: `message_id`, `recipient`.

    Raises:
        EventsError: it has no kind.
    """
    if not isinstance(item, dict) or not isinstance(item.get("kind"), str):
        raise EventsError('is no event of CloudMailin: it has no text "kind"')
    told = {**(of or {}), **item}
    kind = str(item["kind"])
    meaning = MEANINGS.get(kind.strip().lower(), (EventType.UNKNOWN, None))
    details = table(told.get("details"))
    return Event(
        type=meaning[0],
        provider=_NAME,
        provider_id=text(told.get("message_id")),
        recipient=text(told.get("recipient")),
        message_id=our_id(told.get("original_message_id")),
        metadata={},
        happened_at=moment(told.get("timestamp")),
        raw=kind,
        reject_reason=meaning[1],
        description=_why(details),
        payload=written(told),
    )


def _why(details: Mapping[str, object]) -> str | None:
    """Return the words of the recipient's server: status and sentence."""
    words = (text(details.get(key)) for key in ("delivery_status", "smtp_response"))
    return " ".join(filter(None, words)) or text(details.get("reason"))
