"""What providers answer when they are asked what became of a message.

    base         the contract, and what an answer outside 2xx means for a question
    cloudmailin  Core API, `GET /{accountID}/outbound_messages/{uuid}`
    cloudmails   `GET /emails/{message_id}`
    mailerlogic  Events API, `GET /api/v1/emails/{email_id}/events`

Cloudflare has no such endpoint: it puts its events into a Queue of the account.

A tracker is pure: a question is a function of the provider's id of a message, events
are a function of the answer. The same answer gives the same events, to the byte: an
event is known by its payload, so a message may be asked about as often as one likes.

To add one: write its module here, add its line to `_HOMES`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

from engine.errors import EventsError

if TYPE_CHECKING:
    from engine.tracking.base import Finder, Tracker

_HOMES: Final = {
    "cloudmailin": "CloudMailin",
    "cloudmails": "CloudMails",
    "mailerlogic": "MailerLogic",
}
#: Providers that tell of a message in another way, and which.
_OTHERWISE: Final = {
    "cloudflare": (
        (
            "Cloudflare has no status endpoint: it puts its events into a Queue of the "
            "account (Event subscriptions, Email Sending)"
        ),
        (
            "let a Worker write the Queue's messages to a file, then: "
            "mailvolley events import FILE"
        ),
    ),
}

#: The providers that can be asked; `engine.tracking.<name>` has the class.
NAMES = tuple(_HOMES)


#: The providers that find messages whose id nobody knows.
FINDERS: Final = ("cloudmailin", "mailerlogic")
#: What to do where nobody can be asked.
_LATER: Final = (
    "its events tell, once they came: mailvolley reconcile RUN --events FILE"
)


def finder(name: str) -> "type[Finder]":
    """Return what finds messages at the provider called `name`.

    Raises:
        EventsError: it does not let them be found, with what to do instead.
    """
    if name not in FINDERS:
        told = f"{name} finds no message by anything but its own id of it"
        if name == "cloudflare":
            told = (
                "Cloudflare's analytics, which list what was sent, are not asked here"
            )
        raise EventsError(told, hint=_LATER)
    return cast("type[Finder]", load(name))


def load(name: str) -> "type[Tracker]":
    """Return what asks the provider called `name`; only its module is imported.

    Raises:
        EventsError: it cannot be asked, with what to do instead.
    """
    if name not in _HOMES:
        told = f"{name} has no status endpoint that is known here"
        hint = "import what it posts: mailvolley events import FILE"
        told, hint = _OTHERWISE.get(name, (told, hint))
        raise EventsError(told, hint=hint)
    found = getattr(import_module(f"{__name__}.{name}"), _HOMES[name])
    return cast("type[Tracker]", found)
