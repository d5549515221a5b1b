"""CloudMails: `GET /emails/{message_id}`.

    {"message_id": "msg_…", "status": "delivered", "created_at": "…",
     "delivered_at": "…", "bounce_reason": "…", "opens": 2, "clicks": 0}

One state and two numbers become events: one for the state, one for each open and each
click. So a number that rises brings as many new events as it rose by, and the same
answer, or a number that fell, brings none.

Complaints and unsubscribes are not told: webhooks alone have them. Neither are the
times of bounces and opens: they happened before they were asked about, that is all.

Source:
    "SMTP API Documentation", REST API, Email Status Endpoint, of cloudmails.eu, read
    2026-11-20.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final
from urllib.parse import quote

from engine.event import Event, EventType
from engine.message import Request, Response
from engine.providers.base import Credentials
from engine.tracking.base import answer, canonical, question, unreadable
from engine.webhooks.base import moment, text
from engine.webhooks.cloudmails import MEANINGS

#: A broken counter, or a machine that follows links all day, must not fill the disk.
MOST_EACH: Final = 100

#: The field that tells when a state began, where there is one.
_SINCE: Final[Mapping[str, str]] = {"sent": "created_at", "delivered": "delivered_at"}


class CloudMails:
    """The tracker of `cloudmails`. See `engine.tracking.base.Tracker`."""

    name: ClassVar[str] = "cloudmails"
    endpoint: ClassVar[str] = "GET /emails/{message_id}"
    token: ClassVar[str] = ""
    token_required: ClassVar[bool] = False
    account: ClassVar[str] = ""
    requests_per_second: ClassVar[float | None] = None  # 429 exists, no number
    sources: ClassVar[tuple[str, ...]] = (
        '"SMTP API Documentation", Email Status Endpoint, of cloudmails.eu',
    )

    def __init__(self, *, account: str = "") -> None:
        pass

    def credentials(self, token: str) -> Credentials:
        """Return the header that the wire adds: the same as for sending."""
        return Credentials({"Authorization": f"Bearer {token}"})

    def request(self, provider_id: str) -> Request:
        """Return the question about a message."""
        return question(f"/emails/{quote(provider_id, safe='')}")

    def events(self, provider_id: str, response: Response) -> list[Event] | None:
        """Read an answer; see `Tracker.events`."""
        told = answer(response, provider=self.name)
        if told is None:
            return None
        # The other public page of CloudMails puts answers into `data`.
        inner = told.get("data")
        told = inner if isinstance(inner, dict) else told
        if text(told.get("message_id")) not in {None, provider_id}:
            raise unreadable(self.name, response, "is about another one")
        status = text(told.get("status"))
        if status is None:
            raise unreadable(self.name, response, "has no status")
        return [_state(provider_id, status, told), *_counted(provider_id, told)]


def _state(provider_id: str, status: str, told: Mapping[str, object]) -> Event:
    word = status.lower()
    kind, reason = MEANINGS.get(word, (EventType.UNKNOWN, None))
    happened_at = moment(told.get(_SINCE.get(word, "")))
    why = text(told.get("bounce_reason"))
    facts = ("created_at", "delivered_at", "bounce_reason")
    return canonical(
        Event(
            type=kind,
            provider=CloudMails.name,
            provider_id=provider_id,
            recipient=None,
            message_id=None,
            metadata={},
            happened_at=happened_at,
            raw=status,
            reject_reason=reason,
            description=why,
        ),
        {"message_id": provider_id, "status": status}
        | {name: told[name] for name in facts if told.get(name) is not None},
    )


def _counted(provider_id: str, told: Mapping[str, object]) -> Iterator[Event]:
    for field, kind in (("opens", EventType.OPENED), ("clicks", EventType.CLICKED)):
        number = told.get(field)
        if isinstance(number, bool) or not isinstance(number, int):
            continue
        for place in range(1, min(number, MOST_EACH) + 1):
            yield canonical(
                Event(
                    type=kind,
                    provider=CloudMails.name,
                    provider_id=provider_id,
                    recipient=None,
                    message_id=None,
                    metadata={},
                    happened_at=None,
                    raw=field,
                    reject_reason=None,
                    description=None,
                ),
                {"message_id": provider_id, field: place},
            )
