"""The contract of a tracker, and what an answer outside 2xx means for a question."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar, Final, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import orjson

from engine.errors import EventsError, ProviderError, Unanswered
from engine.event import Event
from engine.message import Request, Response
from engine.providers.base import SUCCESS, Credentials, refuse
from engine.webhooks.base import content

#: What a message is that the provider says it does not have.
_UNKNOWN: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class Tracker(Protocol):
    """One status endpoint.

    Attributes:
        name: the provider's, as in a campaign file.
        endpoint: what is asked, for people.
        token: the environment variable of the token to ask with; empty: the campaign's
            own token does.
        token_required: whether the campaign's own token never does.
        account: the environment variable of the account's id; empty: none is needed.
        requests_per_second: what the documents allow; None where they name no limit.
        sources: the documents that this was written from.
    """

    name: ClassVar[str]
    endpoint: ClassVar[str]
    token: ClassVar[str]
    token_required: ClassVar[bool]
    account: ClassVar[str]
    requests_per_second: ClassVar[float | None]
    sources: ClassVar[tuple[str, ...]]

    def __init__(self, *, account: str = "") -> None: ...

    def credentials(self, token: str) -> Credentials:
        """Return what proves who asks."""
        ...

    def request(self, provider_id: str) -> Request:
        """Return the question about a message."""
        ...

    def events(self, provider_id: str, response: Response) -> list[Event] | None:
        """Read an answer.

        Args:
            provider_id: which message was asked about.
            response: the answer.

        Returns:
            What is told of the message, perhaps nothing yet; None: the provider says
            that it has no such message.

        Raises:
            AccountRejected: who asks may not, or the address is wrong.
            Throttled: ask again later.
            Unavailable: likewise.
            Unanswered: the answer cannot be read; likewise.
            BatchRejected: this question is refused.
        """
        ...


class Doubt(NamedTuple):
    """A message of which nobody knows whether the provider has taken it.

    Attributes:
        row: 0-based input position.
        address: the recipient's.
        message_id: ours.
        run: the run that may have sent it; its id travels with each message.
        sender: the bare address that it would be from.
        since: nothing of it happened before that, UTC.
    """

    row: int
    address: str
    message_id: str
    run: str
    sender: str
    since: datetime

    def is_to(self, address: object) -> bool:
        """Whether an address is the recipient's."""
        return isinstance(address, str) and address.lower() == self.address.lower()


class Finder(Tracker, Protocol):
    """A tracker that finds messages whose id at the provider nobody knows.

    Attributes:
        search_endpoint: what is asked, for people.
    """

    search_endpoint: ClassVar[str]

    def __init__(self, *, account: str = "", username: str = "") -> None: ...

    def search(self, doubt: Doubt) -> Request:
        """Return the question whether there is such a message."""
        ...

    def found(self, doubt: Doubt, response: Response) -> list[Event]:
        """Read an answer.

        Returns:
            What proves that the provider has taken the message. Empty proves nothing:
            it may be found later, or was never there.

        Raises:
            ProviderError: as `Tracker.events`.
        """
        ...


def question(path: str, query: Mapping[str, str] | None = None) -> Request:
    """Ask for what is at a path."""
    target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path
    return Request("GET", target, {}, b"")


def answer(response: Response, *, provider: str) -> dict[str, object] | None:
    """Return the object of an answer; None: there is no such message.

    Raises:
        ProviderError: it is another answer, or cannot be read; see `Tracker.events`.
    """
    if response.status in _UNKNOWN:
        return None
    told = listing(response, provider=provider)
    if not isinstance(told, dict):
        raise unreadable(provider, response, "is no JSON object")
    return told


def listing(response: Response, *, provider: str) -> object:
    """Return what an answer of 2xx holds.

    Raises:
        ProviderError: it is another answer, or cannot be read; see `Tracker.events`.
    """
    if response.status not in SUCCESS:
        raise refuse(response, provider=provider)
    try:
        return content(response.body)
    except EventsError as error:
        raise unreadable(provider, response, str(error)) from error


def unreadable(provider: str, response: Response, why: str) -> ProviderError:
    """Say that an answer is none; the caller raises it."""
    return Unanswered(
        f"{provider}: the answer about a message {why}",
        reason="unreadable",
        http_status=response.status,
    )


def canonical(event: Event, told: Mapping[str, object]) -> Event:
    """Give an event a payload that is the same whenever the same is told."""
    payload = orjson.dumps(dict(told), option=orjson.OPT_SORT_KEYS).decode()
    return replace(event, payload=payload)
