"""The suppression list of an account: `GET …/email/sending/suppressions`, page by page.

    {"success": true, "result": [{"email": "…", "reason": "hard_bounce",
     "expires_at": "…", …}], "result_info": {"next_cursor": "…", …}}

A recipient on it fails the whole send, those in cc and bcc with it. Entries expire: a
copy of the list is right for the moment it was made.

Source:
    Cloudflare API, Email Sending, Suppressions, and "Suppression lists" of its Email
    Service, read 2026-11-20.
"""

from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import quote

from engine.errors import CampaignError, Unanswered
from engine.message import Request, Response
from engine.providers.answers import NO, flag, parse, words
from engine.providers.base import SUCCESS, Credentials
from engine.providers.cloudflare import account
from engine.providers.cloudflare.answer import NAME, refused
from engine.providers.suppressed import Listed, Page

#: Entries of one page, the most there may be.
_PAGE: Final = 1000
#: Its reasons, and ours. One that is new is passed on as it is.
_REASONS: Final[Mapping[str, str]] = {
    "manual": "manual",
    "complaint": "complained",
    "hard_bounce": "bounced",
    "soft_bounce": "soft_bounced",
    "policy": "blocked",
}


class CloudflareSuppressions:
    """The list of `cloudflare`. See `engine.providers.suppressed.SuppressionList`."""

    title: ClassVar[str] = "Cloudflare Email Sending"

    def __init__(self, settings: Mapping[str, str]) -> None:
        if "account_id" not in settings:
            raise CampaignError(account.MISSING)
        self.account = account.check(settings["account_id"])
        self._email = settings.get("email")

    def credentials(self, token: str) -> Credentials:
        """Return what proves who asks: the same as for sending."""
        return account.credentials(token, self._email)

    def request(self, cursor: str | None) -> Request:
        """Return the question for a page."""
        path = f"/accounts/{self.account}/email/sending/suppressions?per_page={_PAGE}"
        if cursor is not None:
            path += f"&cursor={quote(cursor, safe='')}"
        return Request("GET", path, {}, b"")

    def page(self, response: Response) -> Page:
        """Read an answer."""
        if response.status not in SUCCESS:
            raise refused(response)
        answer = parse(response, provider=NAME)
        if not isinstance(answer, dict):
            raise _unreadable(response, "is no object")
        if flag(answer.get("success")) in NO:
            raise refused(response)
        result = answer.get("result")
        if not isinstance(result, list):
            raise _unreadable(response, "has no list of entries")
        info = answer.get("result_info")
        cursor = info.get("next_cursor") if isinstance(info, dict) else None
        if not isinstance(cursor, str | None):
            raise _unreadable(response, "has a next_cursor that is no text")
        return Page([_entry(item, response) for item in result], cursor or None)


def _entry(item: object, response: Response) -> Listed:
    # An entry that was skipped would be somebody who is mailed all the same.
    address = item.get("email") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(address, str) or not address:
        raise _unreadable(response, "has an entry without an address")
    said = item.get("reason")
    word = words(said) if isinstance(said, str) and said.strip() else "no reason given"
    until = item.get("expires_at")
    told = f"{word}, until {words(until)}" if isinstance(until, str) else word
    return Listed(address, _REASONS.get(word, word), told)


def _unreadable(response: Response, why: str) -> Unanswered:
    return Unanswered(
        f"{NAME}: the answer about the suppression list {why}",
        reason="unreadable_answer",
        http_status=response.status,
    )
