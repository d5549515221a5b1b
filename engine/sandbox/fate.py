"""What becomes of an accepted message, and when: pure rules for every dialect.

The local part of the first recipient decides, by how it begins, case ignored:

    bounce...       bounces
    soft...         is put off, then delivered
    slow...         is delivered after some minutes
    open...         is delivered and opened
    click...        is delivered, opened, and a link in it clicked
    unsubscribe...  is delivered, opened, then its reader unsubscribes
    complain...     is delivered, then its reader complains of spam
    suppress...     is not sent on: the address is on the provider's own list

Everything else is delivered. `reject...` never comes here: each dialect refuses it in
its own words. A dialect that has no word for a step leaves it out, nothing else.

Rules: no clock, no state, no chance: the same address and id always meet the same
fate, so that a lookup and a webhook agree without anything being remembered.
"""

from typing import Final, Literal, NamedTuple
from zlib import crc32

#: One step of a message's way.
Kind = Literal[
    "accepted",
    "sent",
    "delivered",
    "deferred",
    "bounced",
    "opened",
    "clicked",
    "unsubscribed",
    "complained",
    "suppressed",
]

#: The steps behind `accepted`, each with the seconds to it from the one before, LO and
#: HI. Mailbox servers answer in seconds and greylisting takes minutes (RFC 6647, 5);
#: people take minutes, too, to open what they read at all.
_SENT: Final = ("sent", 0.1, 0.5)
_DELIVERED: Final = ("delivered", 0.5, 3.0)
_OPENED: Final = ("opened", 60.0, 900.0)
_WAYS: Final[dict[str, tuple[tuple[Kind, float, float], ...]]] = {
    "bounce": (_SENT, ("bounced", 0.5, 3.0)),
    "soft": (_SENT, ("deferred", 0.5, 3.0), ("delivered", 300.0, 900.0)),
    "slow": (_SENT, ("delivered", 120.0, 300.0)),
    "open": (_SENT, _DELIVERED, _OPENED),
    "click": (_SENT, _DELIVERED, _OPENED, ("clicked", 5.0, 60.0)),
    "unsubscribe": (_SENT, _DELIVERED, _OPENED, ("unsubscribed", 5.0, 60.0)),
    "complain": (_SENT, _DELIVERED, ("complained", 60.0, 900.0)),
    "suppress": (("suppressed", 0.0, 0.1),),
}
_ORDINARY: Final = (_SENT, _DELIVERED)


class Step(NamedTuple):
    """One thing that happens to a message.

    Attributes:
        after: seconds since it was accepted, at pace 1.
    """

    after: float
    kind: Kind


def fate(to: str, message_id: str) -> list[Step]:
    """Say all that becomes of a message.

    Args:
        to: the first recipient's bare address.
        message_id: the id it was given; spreads the times.

    Returns:
        The steps in order, `accepted` after 0 seconds first.
    """
    local = to.lower()
    way = next(
        (way for word, way in _WAYS.items() if local.startswith(word)), _ORDINARY
    )
    steps, after = [Step(0.0, "accepted")], 0.0
    for place, (kind, low, high) in enumerate(way):
        share = crc32(f"{place}{message_id}".encode()) / 2**32
        after += low + share * (high - low)
        steps.append(Step(after, kind))
    return steps
