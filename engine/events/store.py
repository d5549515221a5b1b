"""What providers reported, kept for good: one database beside the runs.

    <runs>/events.db

An event is kept once, however often it is reported: it is known by its provider and
its own words. The order in which events come means nothing; when they happened does.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import orjson

from engine.database import Database, Layout
from engine.event import Event, EventType, RejectReason

#: How an event came: posted by the provider, asked for, or from a file.
Via = Literal["webhook", "status", "file"]

#: The file in the runs folder.
DATABASE: Final = "events.db"
_LAYOUT: Final = Layout(
    what="the events",
    mark=0x6D76_6576,  # "mvev"
    tables="""
    CREATE TABLE event (
        number      INTEGER PRIMARY KEY,
        print       BLOB NOT NULL UNIQUE,
        provider    TEXT NOT NULL,
        type        TEXT NOT NULL,
        provider_id TEXT,
        message_id  TEXT,
        run         TEXT,
        recipient   TEXT,
        happened_at TEXT,
        received_at TEXT NOT NULL,
        reject_reason TEXT,
        description TEXT,
        word        TEXT NOT NULL,
        metadata    TEXT NOT NULL,
        payload     TEXT NOT NULL,
        via         TEXT NOT NULL
    ) STRICT;
    CREATE INDEX by_provider_id ON event (provider, provider_id);
    CREATE INDEX by_message_id ON event (message_id);
    """,
)
_COLUMNS: Final = (
    "provider, type, provider_id, message_id, run, recipient, happened_at, "
    "received_at, reject_reason, description, word, metadata, payload, via"
)
_INSERT: Final = (
    f"INSERT OR IGNORE INTO event (print, {_COLUMNS}) "  # noqa: S608 - constants
    f"VALUES ({', '.join('?' * 15)})"
)


class Kept(NamedTuple):
    """An event, and how we came to know of it.

    Attributes:
        received_at: when it was first kept, UTC.
        via: how it came.
    """

    event: Event
    received_at: datetime
    via: Via


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose events are to be forgotten.

    Attributes:
        ids: ours and the provider's of messages to them.
        text: takes their addresses out of a text.
    """

    ids: frozenset[str]
    text: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class EventStore:
    """The events of all runs in a folder. Made by `EventStore.open`."""

    _database: Database

    @classmethod
    @contextmanager
    def open(cls, runs: Path) -> Iterator["EventStore"]:
        """Open the events of a runs folder; they are made where there are none.

        Raises:
            StoreError: they cannot be opened.
        """
        with Database.open(runs / DATABASE, _LAYOUT) as database:
            yield cls(database)

    def add(
        self, events: Sequence[Event], via: Via, *, erased: Sequence[bool] = ()
    ) -> int:
        """Keep events, durably once this returns. Returns how many were new.

        Args:
            events: in the order in which they came.
            via: how they came.
            erased: one per event, or none at all: whether it is about somebody who was
                erased. Of such events nothing is kept that tells who it was.

        Raises:
            StoreError: they cannot be kept; none of them was.
        """
        received_at = _stored(datetime.now(UTC))
        each = zip(events, erased or [False] * len(events), strict=True)
        rows = [_row(event, received_at, via, erased=gone) for event, gone in each]
        return self._database.write(_INSERT, rows)

    def erase(self, whose: Whose) -> int:
        """Forget who some events are about. Returns how many events had told.

        They are kept: what happened to which message, and when. What has been deleted
        is not left in the file, either.

        Raises:
            StoreError: it cannot be done; once more does no harm.
        """
        changed = list(self._without(whose))
        update = (
            "UPDATE event SET recipient = ?, description = ?, metadata = ?, "
            "payload = ? WHERE number = ?"
        )
        self._database.write(update, changed)
        self._database.compact()
        return len(changed)

    def telling(self, whose: Whose) -> int:
        """Count the events that `erase` would change."""
        return sum(1 for _ in self._without(whose))

    def _without(self, whose: Whose) -> Iterator[tuple[object, ...]]:
        """Yield what is left of each event that tells of them, and its number."""
        query = (
            "SELECT message_id, provider_id, run, recipient, description, metadata, "
            "payload, number FROM event"
        )
        for (
            *ids,
            run,
            recipient,
            description,
            metadata,
            payload,
            number,
        ) in self._database.read(query):
            told: tuple[str | None, ...] = (recipient, description, metadata, payload)
            left: tuple[str | None, ...]
            is_named = recipient is not None and whose.text(recipient) != recipient
            if is_named or not whose.ids.isdisjoint(ids):
                left = (None if is_named else recipient, *_anonymous(run))
            else:
                left = tuple(
                    None if text is None else whose.text(text) for text in told
                )
            if left != told:
                yield (*left, number)

    def about(self, provider: str) -> Iterator[Kept]:
        """Read the events of a provider, in the order in which they came."""
        query = f"SELECT {_COLUMNS} FROM event WHERE provider = ? ORDER BY number"  # noqa: S608 - constants
        return map(_kept, self._database.read(query, (provider,)))

    def heard(
        self, run: str, ids: Collection[str], *, since: datetime
    ) -> dict[EventType, int]:
        """Count the messages of a run that bounced, or that somebody called spam.

        Args:
            run: the run's id, which events bear where the provider gives it back.
            ids: ours and the provider's ids of its messages, for all others.
            since: only what came in at this moment or later.
        """
        query = (
            "SELECT type, run, message_id, provider_id FROM event "
            "WHERE type IN (?, ?) AND received_at >= ?"
        )
        kinds = (EventType.BOUNCED, EventType.COMPLAINED)
        known = frozenset(ids)
        found: dict[EventType, set[object]] = {kind: set() for kind in kinds}
        rows = self._database.read(query, (*kinds, _stored(since)))
        for kind, of_run, message_id, provider_id in rows:
            if of_run == run or (
                of_run is None and not known.isdisjoint((message_id, provider_id))
            ):
                found[EventType(kind)].add(message_id or provider_id)
        return {kind: len(messages) for kind, messages in found.items()}

    def last(self) -> int:
        """Return the number of the event that came last; 0 if there is none."""
        query = "SELECT coalesce(max(number), 0) FROM event"
        ((number,),) = self._database.read(query)
        return int(number)

    def count(self) -> dict[str, int]:
        """Count the events by type."""
        query = "SELECT type, count(*) FROM event GROUP BY type ORDER BY type"
        return dict(self._database.read(query))


def _row(
    event: Event, received_at: str, via: Via, *, erased: bool
) -> tuple[object, ...]:
    run = event.metadata.get("run")
    happened_at = None if event.happened_at is None else _stored(event.happened_at)
    what = (event.provider, event.raw, event.payload or _told(event, happened_at))
    run = run if isinstance(run, str) else None
    whom = (
        event.recipient,
        event.description,
        orjson.dumps(dict(event.metadata)).decode(),
        event.payload,
    )
    recipient, description, metadata, payload = (
        (None, *_anonymous(run)) if erased else whom
    )
    return (
        hashlib.sha256("\0".join(what).encode()).digest(),
        event.provider,
        event.type.value,
        event.provider_id,
        event.message_id,
        run,
        recipient,
        happened_at,
        received_at,
        None if event.reject_reason is None else event.reject_reason.value,
        description,
        event.raw,
        metadata,
        payload,
        via,
    )


def _anonymous(run: str | None) -> tuple[None, str, str]:
    """Return description, metadata and payload of an event that tells of nobody."""
    return None, orjson.dumps({} if run is None else {"run": run}).decode(), ""


def _told(event: Event, happened_at: str | None) -> str:
    """Return what tells an event from others when its own words are not at hand."""
    return f"{event.provider_id} {event.message_id} {event.recipient} {happened_at}"


def _stored(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _kept(row: tuple[Any, ...]) -> Kept:
    reason = row[8]
    event = Event(
        type=EventType(row[1]),
        provider=row[0],
        provider_id=row[2],
        message_id=row[3],
        recipient=row[5],
        happened_at=None if row[6] is None else datetime.fromisoformat(row[6]),
        reject_reason=None if reason is None else RejectReason(reason),
        description=row[9],
        raw=row[10],
        metadata=orjson.loads(row[11]),
        payload=row[12],
    )
    return Kept(event, datetime.fromisoformat(row[7]), row[13])
