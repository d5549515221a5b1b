"""An account of Cloudflare: its place in a path, and what proves who asks."""

import re
from typing import Final

from engine.errors import CampaignError
from engine.providers.base import Credentials

#: The form of an account's id is 32 hexadecimal digits; what matters is that it is one
#: piece of a path.
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: As much of an address as matters: it stands in a header, alone.
_EMAIL: Final = re.compile(r"[!-?A-~]+@[!-?A-~]+")

MISSING: Final = (
    "[provider] account_id is missing: write the account's id, 32 hexadecimal digits, "
    "which the dashboard shows"
)


def check(account_id: str) -> str:
    """Return an account's id.

    Raises:
        CampaignError: it cannot stand in a path.
    """
    if not _ACCOUNT.fullmatch(account_id):
        raise CampaignError(
            f'[provider] account_id = "{account_id}": is not the id of an account; '
            "write its 32 hexadecimal digits"
        )
    return account_id


def is_email(text: str) -> bool:
    """Whether a text can be the address that a Global API Key belongs to."""
    return _EMAIL.fullmatch(text) is not None


def credentials(token: str, email: str | None) -> Credentials:
    """Return the header, or the two, that the wire adds as it sends.

    Args:
        token: an API token, or a Global API Key.
        email: of the user whose Global API Key it is; None: it is an API token.
    """
    if email is None:
        return Credentials({"Authorization": f"Bearer {token}"})
    return Credentials({"X-Auth-Email": email, "X-Auth-Key": token})
