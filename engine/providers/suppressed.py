"""Suppression lists that providers keep themselves, where their APIs give them out.

Whom a provider does not mail, it refuses one by one, and some refuse the whole message
for one of its copies: it is better to know before. A list is pure, like a provider: a
request is a function of the cursor, a page is a function of the answer.

To add one: write its class in the provider's room, add its line to `_HOMES`.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import ClassVar, Final, NamedTuple, Protocol, cast

from engine.errors import CampaignError
from engine.message import Request, Response
from engine.providers.base import Credentials

_HOMES: Final = {"cloudflare": ("cloudflare.suppressed", "CloudflareSuppressions")}

#: The providers whose list can be fetched.
NAMES: Final = tuple(_HOMES)


class Listed(NamedTuple):
    """One address on a list.

    Attributes:
        address: as the provider writes it.
        reason: a short code: `bounced`, `complained`, `manual` and the like.
        told: the provider's own word for it, and until when it holds, if not for ever.
    """

    address: str
    reason: str
    told: str


class Page(NamedTuple):
    """A part of a list.

    Attributes:
        cursor: where the next part begins; None: this is the last.
    """

    entries: list[Listed]
    cursor: str | None


class SuppressionList(Protocol):
    """The list of one account.

    Attributes:
        title: what its makers call the provider.
        account: whose list it is, as in a campaign file.
    """

    title: ClassVar[str]
    account: str

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Take what `[provider]` says.

        Raises:
            CampaignError: a setting is missing, or is none.
        """
        ...

    def credentials(self, token: str) -> Credentials:
        """Return what proves who asks."""
        ...

    def request(self, cursor: str | None) -> Request:
        """Return the question for the part that begins at a cursor; None: the first."""
        ...

    def page(self, response: Response) -> Page:
        """Read an answer.

        Raises:
            ProviderError: it is none, as `Provider.outcomes` says.
        """
        ...


def load(name: str) -> "type[SuppressionList]":
    """Return the list of the provider called `name`; only its module is imported.

    Raises:
        CampaignError: its API gives none out, with what to do instead.
    """
    if name not in _HOMES:
        raise CampaignError(
            f"{name} has no suppression list that can be fetched; "
            f"who has is {', '.join(NAMES)}",
            hint="export it in the provider's dashboard, then: "
            "mailvolley suppress import FILE",
        )
    module, kind = _HOMES[name]
    found = getattr(import_module(f"engine.providers.{module}"), kind)
    return cast("type[SuppressionList]", found)
