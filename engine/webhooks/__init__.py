"""What providers post about messages, by the name a campaign file gives them.

    base         what every reading shares
    cloudflare   what a Worker forwards from a Queue
    cloudmailin  its posts, and what its status endpoint lists
    cloudmails   both forms that its public documents show
    mailerlogic  its posts, and the pages of its Events API

A reading is pure: the bytes of one post become events in our words, and nothing of the
post is believed beyond them. Whether it came from the provider, its signature tells;
that is not looked at here.

To add one: write its module here with a function `parse`, and add it to `NAMES`.
"""

from collections.abc import Callable
from importlib import import_module

from engine.errors import EventsError
from engine.event import Event

#: Makes events of the body of one post; raises EventsError if it holds none.
Parse = Callable[[bytes], list[Event]]

#: The providers whose events can be read; `engine.webhooks.<name>` has `parse`.
NAMES = ("cloudflare", "cloudmailin", "cloudmails", "mailerlogic")


def load(name: str) -> Parse:
    """Return what reads the events of the provider called `name`.

    Raises:
        EventsError: nothing does.
    """
    if name not in NAMES:
        raise EventsError(
            f"events of {name} cannot be read, only those of {', '.join(NAMES)}"
        )
    found: Parse = import_module(f"{__name__}.{name}").parse
    return found
