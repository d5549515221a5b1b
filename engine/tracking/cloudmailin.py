"""CloudMailin: `GET /{accountID}/outbound_messages/{uuid}` of its Core API.

    {"id": "<uuid>", …, "recipients": [{"email": "…", "last_event": "delivery",
     "events": [{"kind": "delivery", "timestamp": "…", "details": {…}}]}]}

It wants the account's API token and the account's id, which are other ones than the
token and the username that send.

The list of messages is not asked what became of them. It would be cheaper, but it tells
the last event of each recipient without its time and without the words of the other
server, its query is not described, and its pages are called deprecated. It is asked
for messages whose id nobody knows, one by one: each bears its run's id as a tag. What
comes is looked at once more, for the query may mean something else.

    GET /{accountID}/outbound_messages?outbound_account_id=…&query=tags:"…" AND to:"…"
    [{"id": "<uuid>", "to": ["…"], "tags": ["…"], "created_at": "…", …}]

Complaints are left out of the answers, so webhooks alone have them.

Source:
    "The CloudMailin Core API", Outbound Messages (beta), read 2026-11-20; the limit:
    OpenAPI document 0.1.0 of March 2021, of which today's keeps a sentence.
"""

from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import quote

from engine.errors import EventsError
from engine.event import Event, EventType
from engine.message import Request, Response
from engine.providers.base import Credentials
from engine.tracking.base import (
    Doubt,
    answer,
    canonical,
    listing,
    question,
    unreadable,
)
from engine.webhooks.base import moment, text
from engine.webhooks.cloudmailin import event


class CloudMailin:
    """The tracker of `cloudmailin`. See `engine.tracking.base.Tracker`."""

    name: ClassVar[str] = "cloudmailin"
    endpoint: ClassVar[str] = "GET /{accountID}/outbound_messages/{uuid}"
    token: ClassVar[str] = "CLOUDMAILIN_API_TOKEN"  # noqa: S105 - its name
    token_required: ClassVar[bool] = True
    account: ClassVar[str] = "CLOUDMAILIN_ACCOUNT_ID"
    requests_per_second: ClassVar[float | None] = 5 / 60  # "5 calls per minute"
    sources: ClassVar[tuple[str, ...]] = (
        '"The CloudMailin Core API", Outbound Messages (beta)',
        "OpenAPI document 0.1.0 of March 2021 (5 calls a minute)",
    )

    search_endpoint: ClassVar[str] = "GET /{accountID}/outbound_messages"

    def __init__(self, *, account: str = "", username: str = "") -> None:
        self._account = account
        self._username = username

    def credentials(self, token: str) -> Credentials:
        """Return the header that the wire adds, and the account in the path."""
        path = f"/{quote(self._account, safe='')}"
        return Credentials({"Authorization": f"Bearer {token}"}, path)

    def request(self, provider_id: str) -> Request:
        """Return the question about a message."""
        return question(f"/outbound_messages/{quote(provider_id, safe='')}")

    def events(self, provider_id: str, response: Response) -> list[Event] | None:
        """Read an answer; see `Tracker.events`."""
        told = answer(response, provider=self.name)
        if told is None:
            return None
        if text(told.get("id")) not in {None, provider_id}:
            raise unreadable(self.name, response, "is about another one")
        recipients = told.get("recipients")
        if not isinstance(recipients, list):
            raise unreadable(self.name, response, "has no recipients")
        try:
            return [
                _event(provider_id, recipient, item)
                for recipient in recipients
                for item in _items(recipient)
            ]
        except EventsError as error:
            raise unreadable(self.name, response, str(error)) from error

    def search(self, doubt: Doubt) -> Request:
        """Return the question whether there is such a message."""
        words = f'tags:"{doubt.run}" AND to:"{doubt.address}"'
        query = {"outbound_account_id": self._username, "query": words}
        return question("/outbound_messages", query)

    def found(self, doubt: Doubt, response: Response) -> list[Event]:
        """Read an answer; see `Finder.found`."""
        told = listing(response, provider=self.name)
        if not isinstance(told, list):
            raise unreadable(self.name, response, "is no list")
        return [
            _taken(doubt, item)
            for item in told
            if isinstance(item, dict) and _is_of(doubt, item)
        ]


def _is_of(doubt: Doubt, item: Mapping[str, object]) -> bool:
    """Whether a message of a list is the one that is looked for."""
    tags, to = (_strings(item.get(name)) for name in ("tags", "to"))
    named = doubt.run in tags and any(map(doubt.is_to, to))
    return named and text(item.get("id")) is not None


def _strings(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _taken(doubt: Doubt, item: Mapping[str, object]) -> Event:
    """Say that CloudMailin has a message: it lists what it has taken."""
    told = {name: item.get(name) for name in ("id", "to", "tags", "created_at")}
    taken = Event(
        type=EventType.QUEUED,
        provider=CloudMailin.name,
        provider_id=text(item.get("id")),
        recipient=doubt.address,
        message_id=doubt.message_id,
        metadata={"run": doubt.run},
        happened_at=moment(item.get("created_at")),
        raw="listed",
        reject_reason=None,
        description=None,
    )
    return canonical(taken, told)


def _items(recipient: object) -> list[object]:
    """Return what happened to one recipient; nothing where nothing is told."""
    if not isinstance(recipient, dict):
        raise EventsError("has a recipient that is no object")
    items = recipient.get("events")
    if items is None:
        return []
    if not isinstance(items, list):
        raise EventsError("has events that are not a list")
    return items


def _event(provider_id: str, recipient: Mapping[str, object], item: object) -> Event:
    if not isinstance(item, dict):
        raise EventsError("has an event that is no object")
    # The answer is about this message and this recipient, whatever else stands there.
    told = {**item, "message_id": provider_id, "recipient": recipient.get("email")}
    return canonical(event(told), told)
