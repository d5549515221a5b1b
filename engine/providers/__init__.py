"""The HTTP APIs that take mail, by the name a campaign file gives them.

    base        the contract, and how every status that is not 2xx is classified
    form        messages as JSON, what they share written once
    review      what of a campaign an API cannot carry, in plain words
    answers     an answer's own words, and its word on one message
    matching    whose entry is it: the items of an answer and the messages of a batch
    columns     the common answer to a batch, read at once
    suppressed  the suppression lists that providers keep themselves
    tolerant    an answer to a batch whose form is not documented, read without guessing
    cloudmails  CloudMails, `POST /send` and `POST /send/batch`
    cloudflare  Cloudflare Email Sending, `POST …/send_raw` and `POST …/send`
    cloudmailin CloudMailin, `POST /{username}/messages`, as JSON or whole
    mailerlogic MailerLogic, `POST /api/v1/send` and `POST /api/v1/batch`

A provider is pure: a request is a function of the batch, outcomes are a function of the
batch and the answer. None reads a clock, a socket, a file or the environment.

To add one: write its module here, add its line to `_HOMES`. `tests/providers/` then
holds it to the contract.
"""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from engine.errors import CampaignError

if TYPE_CHECKING:
    from engine.providers.base import Provider

#: Name in a campaign file -> module here, class in it. A module is imported when asked.
_HOMES = {
    "cloudflare": ("cloudflare", "Cloudflare"),
    "cloudmails": ("cloudmails", "CloudMails"),
    "cloudmailin": ("cloudmailin", "CloudMailin"),
    "mailerlogic": ("mailerlogic", "MailerLogic"),
}

#: The names that `[provider] name` may have.
NAMES = tuple(_HOMES)


def load(name: str) -> "type[Provider]":
    """Return the class of the provider called `name`; only its module is imported.

    Raises:
        CampaignError: there is no such provider.
    """
    if name not in _HOMES:
        raise CampaignError(
            f'[provider] name = "{name}": there is no such provider; '
            f"write one of {', '.join(sorted(NAMES))}"
        )
    module, kind = _HOMES[name]
    found = getattr(import_module(f"{__name__}.{module}"), kind)
    return cast("type[Provider]", found)
