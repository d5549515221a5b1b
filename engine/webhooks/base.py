"""What the readings of posts share: JSON without guessing, and tolerant fields.

Rules: a body that is no JSON, or JSON of no event, is refused whole. Within an event a
field that is missing or of the wrong kind is None: what a provider adds or leaves out
tomorrow must not stop a file of a million events.
"""

import re
from datetime import UTC, datetime
from typing import Any

import orjson

from engine.errors import EventsError
from engine.event import Event, EventType


def content(body: bytes) -> Any:
    """Return what a post holds; None if it is empty.

    Raises:
        EventsError: it is not JSON.
    """
    if not body.strip():
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise EventsError(f"is not JSON in UTF-8: {error.msg}") from error


def text(value: object) -> str | None:
    """Return a text; ids that were written as numbers too. Empty is None."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value).strip() or None


#: A Message-ID of ours: our id of the message, then a domain.
_OURS = re.compile(
    r"<?([0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})@"
)


def our_id(value: object) -> str | None:
    """Return our id of a message from its Message-ID; None if it is not ours."""
    found = _OURS.match(value.strip()) if isinstance(value, str) else None
    return None if found is None else found[1]


def written(value: object) -> str:
    """Return what the provider wrote, as it is kept."""
    return orjson.dumps(value).decode()


def objects(body: bytes, provider: str) -> list[dict[str, object]]:
    """Return the objects of a post: one, or those of an array; none of an empty post.

    Raises:
        EventsError: it is not JSON, or holds something else.
    """
    posted = content(body)
    items = posted if isinstance(posted, list) else [] if posted is None else [posted]
    for item in items:
        if not isinstance(item, dict):
            raise EventsError(f"is no event of {provider}: not an object")
    return items


def unknown(body: bytes, provider: str) -> Event:
    """Return a post that cannot be read as an event of unknown kind, kept as it is.

    A provider tries an address before it uses it, in words that its documents leave
    open, and may invent another envelope tomorrow.

    Raises:
        EventsError: it is not JSON, or neither an object nor an array.
    """
    posted = content(body)
    if not isinstance(posted, dict | list):
        raise EventsError("is no event: neither an object nor an array")
    return Event(
        type=EventType.UNKNOWN,
        provider=provider,
        provider_id=None,
        recipient=None,
        message_id=None,
        metadata={},
        happened_at=None,
        raw="unreadable",
        reject_reason=None,
        description=None,
        payload=written(posted),
    )


def table(value: object) -> dict[str, object]:
    """Return an object; of anything else, an empty one."""
    return value if isinstance(value, dict) else {}


def moment(value: object) -> datetime | None:
    """Return a moment, from ISO 8601 or from seconds since 1970; UTC.

    A text without a time zone is UTC: no provider means the zone of the reader.
    """
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value.strip())
            return (
                found.replace(tzinfo=UTC)
                if found.tzinfo is None
                else found.astimezone(UTC)
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
