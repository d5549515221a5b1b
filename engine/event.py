"""What a provider reports of a message later: closed vocabularies, and their event.

Source:
    django-anymail 15.1, "Tracking sent mail status": its words for event types and
    reject reasons, so that who knows them from there knows them here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EventType(StrEnum):
    """What happened to a message."""

    #: The provider has taken the message and will try to send it.
    QUEUED = "queued"
    #: The provider has handed it on.
    SENT = "sent"
    #: The provider refuses to send it: see the reject reason.
    REJECTED = "rejected"
    #: The provider could not send it, for a fault of its own or of the message.
    FAILED = "failed"
    #: The recipient's server refused it for good, at once or later.
    BOUNCED = "bounced"
    #: The recipient's server put it off; the provider goes on trying.
    DEFERRED = "deferred"
    #: The recipient's server took it. It need not be in the inbox.
    DELIVERED = "delivered"
    #: A machine of the recipient's answered.
    AUTORESPONDED = "autoresponded"
    #: Somebody, or a machine, loaded its images.
    OPENED = "opened"
    #: Somebody, or a machine, followed a link in it.
    CLICKED = "clicked"
    #: The recipient called it spam.
    COMPLAINED = "complained"
    #: The recipient asked for no more of this.
    UNSUBSCRIBED = "unsubscribed"
    #: The recipient asked for more of this.
    SUBSCRIBED = "subscribed"
    #: Not of a message of ours: one came in.
    INBOUND = "inbound"
    #: Not of a message of ours: one that came in could not be passed on.
    INBOUND_FAILED = "inbound_failed"
    #: A word that we do not know; `Event.raw` has it.
    UNKNOWN = "unknown"


class RejectReason(StrEnum):
    """Why a message was rejected, bounced or complained about."""

    #: The address is none.
    INVALID = "invalid"
    #: The recipient's server refused, now or earlier.
    BOUNCED = "bounced"
    #: The recipient's server could not be reached for too long.
    TIMED_OUT = "timed_out"
    #: The provider, or the recipient's server, blocks sender or recipient.
    BLOCKED = "blocked"
    #: It was taken for spam, by a machine or by the recipient.
    SPAM = "spam"
    #: The recipient had unsubscribed.
    UNSUBSCRIBED = "unsubscribed"
    #: Something else; the description may have it.
    OTHER = "other"


#: None of these can happen unless the provider had taken the message.
TAKEN = frozenset(
    {
        EventType.QUEUED,
        EventType.SENT,
        EventType.DELIVERED,
        EventType.DEFERRED,
        EventType.BOUNCED,
        EventType.AUTORESPONDED,
        EventType.OPENED,
        EventType.CLICKED,
        EventType.COMPLAINED,
        EventType.UNSUBSCRIBED,
    }
)
#: The provider had the message and did not send it.
REFUSED = frozenset({EventType.REJECTED, EventType.FAILED})


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to one message, as its provider reports it.

    Attributes:
        type: what happened.
        provider: the provider's name, as in a campaign file.
        provider_id: the provider's id of the message, or None if it tells none.
        recipient: the bare address, or None.
        message_id: our id of the message, from what we sent along; None without one.
        metadata: what we sent along and the provider gave back, by name; may be empty.
        happened_at: when, UTC; None if it does not say.
        raw: the provider's own word for what happened.
        reject_reason: why, where something was refused, and if it is known.
        description: the provider's own words about why, or None.
        payload: the event as the provider wrote it, in JSON.
    """

    type: EventType
    provider: str
    provider_id: str | None
    recipient: str | None
    message_id: str | None
    metadata: Mapping[str, object]
    happened_at: datetime | None
    raw: str
    reject_reason: RejectReason | None
    description: str | None
    payload: str = ""
