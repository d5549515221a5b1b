"""CloudMails' posts: both forms that its public documents show.

    {"event": "delivered", "message_id": "msg_…", "timestamp": "2026-05-19T14:30:00Z",
     "recipient": "…", "custom_args": {…}}

    {"event": "email.bounced", "timestamp": 1779201000,
     "data": {"message_id": "msg_…", "recipient": "…", "bounce_type": "soft", …}}

A post is one of these, or an array of them. What we sent in `custom_args` comes back in
them: there our own message id is. A test ping is no event, and no error.

Source:
    "SMTP API Documentation", Webhooks, of cloudmails.eu, read 2026-11-20: the first
    form. docs/webhooks.php of the same: the second.
"""

from collections.abc import Mapping
from typing import Final

from engine.errors import EventsError
from engine.event import Event, EventType, RejectReason
from engine.webhooks.base import moment, objects, table, text, written

_NAME: Final = "cloudmails"
_SECOND_FORM: Final = "email."

_Meaning = tuple[EventType, RejectReason | None]

#: What each word means. The second form has the same words behind `email.`.
MEANINGS: Final[Mapping[str, _Meaning]] = {
    # Webhooks, accepted by the recipient's server
    "delivered": (EventType.DELIVERED, None),
    # Webhooks, rejected by the recipient's server
    "bounced": (EventType.BOUNCED, RejectReason.BOUNCED),
    # Webhooks, opened by the recipient
    "opened": (EventType.OPENED, None),
    # Webhooks, a link in it was clicked
    "clicked": (EventType.CLICKED, None),
    # Webhooks, the recipient clicked unsubscribe
    "unsubscribed": (EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED),
    # Webhooks, the recipient marked it as spam
    "complained": (EventType.COMPLAINED, RejectReason.SPAM),
    # REST API, a `status` of GET /emails/{message_id}; not among the webhooks today
    "sent": (EventType.SENT, None),
    # likewise
    "deferred": (EventType.DEFERRED, None),
    # likewise
    "failed": (EventType.FAILED, None),
}
#: docs/webhooks.php, `bounce_type`: hard or soft. A soft bounce is put off, not over:
#: so django-anymail reads those of Mailjet, which are told in the same way.
_SOFT: Final[_Meaning] = (EventType.DEFERRED, None)
#: "CloudMails will send a test ping to verify connectivity before activating": its form
#: is not documented.
_PINGS: Final = frozenset({"", "ping", "test"})


def parse(body: bytes) -> list[Event]:
    """Make events of the body of one post.

    Args:
        body: as it came.

    Returns:
        The events in their order; none for a ping.

    Raises:
        EventsError: it is not JSON, or JSON of something else.
    """
    items = objects(body, "CloudMails")
    return [event for item in items if (event := _event(item)) is not None]


def _event(item: dict[str, object]) -> Event | None:
    """Make an event of one object; None if it is a ping."""
    word = item.get("event", "" if not item else None)
    if not isinstance(word, str):
        raise EventsError('is no event of CloudMails: it has no text "event"')
    kind = word.strip().lower().removeprefix(_SECOND_FORM)
    if kind in _PINGS:
        return None
    told = item | table(item.get("data"))
    meaning = MEANINGS.get(kind, (EventType.UNKNOWN, None))
    if kind == "bounced" and told.get("bounce_type") == "soft":
        meaning = _SOFT
    metadata = table(told.get("custom_args"))
    return Event(
        type=meaning[0],
        provider=_NAME,
        provider_id=text(told.get("message_id")),
        recipient=text(told.get("recipient")),
        message_id=text(metadata.get("message_id")),
        metadata=metadata,
        happened_at=moment(told.get("timestamp")),
        raw=word,
        reject_reason=meaning[1],
        description=_why(told),
        payload=written(item),
    )


def _why(told: Mapping[str, object]) -> str | None:
    """Return the provider's words on why it did not arrive: code and sentence."""
    # `bounce_reason` is of GET /emails/{message_id}, the others of docs/webhooks.php.
    words = map(text, map(told.get, ("bounce_code", "bounce_description")))
    return " ".join(filter(None, words)) or text(told.get("bounce_reason"))
