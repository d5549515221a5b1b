"""MailerLogic: `GET /api/v1/emails/{email_id}/events` of its Events API.

    {"email_id": "<uuid>", "timeline": [],
     "events": [{"id": "…", "email_id": "…", "event_type": "delivered",
                 "recipient": "…", "timestamp": "…", "event_data": {…}}]}

The Events API takes a bearer token where sending takes a key in `X-API-Key`. Whether it
is the same one is not documented: the campaign's own is tried unless there is another.
It is part of some plans alone; the others answer 403, and say why.

    GET /api/v1/events?recipient=…&from_timestamp=…&limit=100
    {"events": [like those above, with "from": "…"], "pagination": {…}}

This list finds messages whose id nobody knows. Whether its events carry the metadata is
not documented: where they do not, recipient, sender and time must do.

Source:
    MailerLogic, its public pages on the Events API (limit: its FAQ), read 2026-11-20.
"""

from collections.abc import Mapping
from email.utils import parseaddr
from typing import ClassVar, Final
from urllib.parse import quote

import orjson

from engine.errors import EventsError
from engine.event import Event
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
from engine.webhooks.base import text
from engine.webhooks.mailerlogic import parse

#: What an event is: the rest of it, its `status` say, may be told otherwise tomorrow.
_FACTS: Final = (
    "id",
    "email_id",
    "event_type",
    "recipient",
    "from",
    "timestamp",
    "event_data",
    "metadata",
)


class MailerLogic:
    """The tracker of `mailerlogic`. See `engine.tracking.base.Tracker`."""

    name: ClassVar[str] = "mailerlogic"
    endpoint: ClassVar[str] = "GET /api/v1/emails/{email_id}/events"
    token: ClassVar[str] = "MAILERLOGIC_EVENTS_TOKEN"  # noqa: S105 - its name
    token_required: ClassVar[bool] = False
    account: ClassVar[str] = ""
    requests_per_second: ClassVar[float | None] = 10.0  # 600 requests a minute
    sources: ClassVar[tuple[str, ...]] = (
        "the public pages of MailerLogic on its Events API, and its FAQ (limits)",
    )

    search_endpoint: ClassVar[str] = "GET /api/v1/events"

    def __init__(self, *, account: str = "", username: str = "") -> None:
        pass

    def credentials(self, token: str) -> Credentials:
        """Return the header that the wire adds: not that of sending."""
        return Credentials({"Authorization": f"Bearer {token}"})

    def request(self, provider_id: str) -> Request:
        """Return the question about a message."""
        return question(f"/api/v1/emails/{quote(provider_id, safe='')}/events")

    def events(self, provider_id: str, response: Response) -> list[Event] | None:
        """Read an answer; see `Tracker.events`."""
        told = answer(response, provider=self.name)
        if told is None:
            return None
        if text(told.get("email_id")) not in {None, provider_id}:
            raise unreadable(self.name, response, "is about another one")
        items = told.get("events")
        if not isinstance(items, list):
            raise unreadable(self.name, response, "has no events")
        try:
            return [found for item in items for found in _events(provider_id, item)]
        except EventsError as error:
            raise unreadable(self.name, response, str(error)) from error

    def search(self, doubt: Doubt) -> Request:
        """Return the question whether there is such a message."""
        since = doubt.since.isoformat(timespec="seconds").replace("+00:00", "Z")
        query = {"recipient": doubt.address, "from_timestamp": since, "limit": "100"}
        return question("/api/v1/events", query)

    def found(self, doubt: Doubt, response: Response) -> list[Event]:
        """Read an answer; see `Finder.found`."""
        told = listing(response, provider=self.name)
        items = told.get("events") if isinstance(told, Mapping) else None
        if not isinstance(items, list):
            raise unreadable(self.name, response, "has no events")
        try:
            return [
                event
                for item in items
                if isinstance(item, Mapping) and _is_from(doubt, item)
                for event in _events(text(item.get("email_id")) or "", item)
                if event.provider_id is not None
                and doubt.is_to(event.recipient)
                and event.happened_at is not None
                and event.happened_at >= doubt.since
            ]
        except EventsError as error:
            raise unreadable(self.name, response, str(error)) from error


def _is_from(doubt: Doubt, item: Mapping[str, object]) -> bool:
    """Whether an event may be of a message from the sender."""
    sender = text(item.get("from"))
    return sender is None or parseaddr(sender)[1].lower() == doubt.sender.lower()


def _events(provider_id: str, item: object) -> list[Event]:
    if not isinstance(item, Mapping):
        raise EventsError("has an event that is no object")
    if text(item.get("email_id")) not in {None, provider_id}:
        raise EventsError("has an event of another one")
    facts = {name: item[name] for name in _FACTS if item.get(name) is not None}
    told = facts | {"email_id": provider_id}
    return [canonical(found, told) for found in parse(orjson.dumps(told))]
