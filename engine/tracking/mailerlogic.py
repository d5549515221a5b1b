"""MailerLogic: `GET /api/v1/emails/{email_id}/events` of its Events API.

    {"email_id": "<uuid>", "timeline": [],
     "events": [{"id": "…", "email_id": "…", "event_type": "delivered",
                 "recipient": "…", "timestamp": "…", "event_data": {…}}]}

The Events API takes a bearer token where sending takes a key in `X-API-Key`. Whether it
is the same one is not documented: the campaign's own is tried unless there is another.
It is part of some plans alone; the others answer 403, and say why.

Source:
    MailerLogic, its public pages on the Events API (limit: its FAQ), read 2026-11-20.
"""

from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import quote

import orjson

from engine.errors import EventsError
from engine.event import Event
from engine.message import Request, Response
from engine.providers.base import Credentials
from engine.tracking.base import answer, canonical, question, unreadable
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

    def __init__(self, *, account: str = "") -> None:
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


def _events(provider_id: str, item: object) -> list[Event]:
    if not isinstance(item, Mapping):
        raise EventsError("has an event that is no object")
    if text(item.get("email_id")) not in {None, provider_id}:
        raise EventsError("has an event of another one")
    facts = {name: item[name] for name in _FACTS if item.get(name) is not None}
    told = facts | {"email_id": provider_id}
    return [canonical(found, told) for found in parse(orjson.dumps(told))]
