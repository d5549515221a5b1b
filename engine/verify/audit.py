"""The provider's events against what we hold: the four words of Jepsen.

    lost        we hold it accepted, and the provider knows nothing of it
    duplicated  the provider has two messages of its own for one of ours
    unexpected  the provider had a message that we never sent, or hold as refused
    recovered   we hold it in doubt, and the provider had it: news, not trouble

Silence proves something only if the file is said to be complete: without that, nothing
is called lost.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl

from engine.event import REFUSED, TAKEN, Event
from engine.events import By, Match, Roster
from engine.outcome import Status
from engine.verify.check import EXAMPLES

_HEARD, _TAKEN, _TWICE = 1, 2, 4
#: We know of these that the provider may have the message.
_SENT: Final = (Status.ACCEPTED, Status.IN_DOUBT)


@dataclass(frozen=True, slots=True)
class Example:
    """One row of an anomaly.

    Attributes:
        row: 0-based input position; None if it is not in this run at all.
        address: of the row, or of the event.
        message_id: ours.
        held: what we hold of the row, or None.
        told: what the provider reports, or None.
    """

    row: int | None
    address: str | None
    message_id: str | None
    held: Status | None
    told: str | None


@dataclass(slots=True)
class Anomaly:
    """Rows with which one thing is the matter, and the first of them."""

    count: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class Audited:
    """What the events say.

    Attributes:
        events: how many were read.
        ours: how many of them are about this run.
        complete: whether the file was said to have all events of the run.
        lost: None if it was not.
        unheard: rows in doubt of which a complete file has nothing; None likewise.
    """

    complete: bool
    events: int = 0
    ours: int = 0
    lost: Anomaly | None = None
    duplicated: Anomaly = field(default_factory=Anomaly)
    unexpected: Anomaly = field(default_factory=Anomaly)
    recovered: Anomaly = field(default_factory=Anomaly)
    unheard: int | None = None

    @property
    def broken(self) -> bool:
        """Whether a promise is broken."""
        lost = self.lost is not None and self.lost.count > 0
        return lost or self.duplicated.count > 0 or self.unexpected.count > 0


class Audit:
    """Takes events, one after the other, and says what they mean in the end.

    Args:
        roster: the rows of the run, all of them.
        complete: whether all events of the run are there.
    """

    def __init__(self, roster: Roster, *, complete: bool) -> None:
        self._roster = roster
        self._told = Audited(complete=complete)
        self._marks = bytearray(len(roster))
        self._first_ids = array("q", bytes(8 * len(roster)))
        self._events: dict[int, Event] = {}

    def note(self, match: Match) -> None:
        """Take an event into account."""
        event, row, by = match
        told = self._told
        told.events += 1
        if by is By.NOTHING:
            return
        told.ours += 1
        if row is None:
            if event.type in TAKEN | REFUSED:
                self._add(told.unexpected, None, event)
            return
        before = self._marks[row]
        self._marks[row] |= _HEARD
        if event.type not in TAKEN:
            return
        if not before & _TAKEN:
            self._marks[row] |= _TAKEN
            self._judge(row, event)
        if event.provider_id is not None:
            self._compare(row, event)

    def conclude(self, recipients: Path) -> Audited:
        """Say what the events mean, and what their absence does.

        Args:
            recipients: the frozen list, for the rows of which there is no event.
        """
        told = self._told
        if told.complete:
            told.lost, told.unheard = Anomaly(), 0
            for row in self._silent():
                if self._roster.status(row) is Status.ACCEPTED:
                    self._add(told.lost, row, None)
                else:
                    told.unheard += 1
            told.lost.examples = _named(recipients, told.lost.examples)
        return told

    def _judge(self, row: int, event: Event) -> None:
        """Hold the first proof that the provider had a row against what we hold."""
        held = self._roster.status(row)
        if held is Status.IN_DOUBT:
            self._add(self._told.recovered, row, event)
        elif held is not Status.ACCEPTED:
            self._add(self._told.unexpected, row, event)

    def _compare(self, row: int, event: Event) -> None:
        """Find out whether the provider has two messages of its own for a row."""
        number = hash(event.provider_id) or 1
        if not self._first_ids[row]:
            self._first_ids[row] = number
        elif self._first_ids[row] != number and not self._marks[row] & _TWICE:
            self._marks[row] |= _TWICE
            self._add(self._told.duplicated, row, event)

    def _silent(self) -> Iterator[int]:
        """Yield the rows that were sent, perhaps, and of which nothing was heard."""
        row = self._marks.find(0)
        while row >= 0:
            if self._roster.status(row) in _SENT:
                yield row
            row = self._marks.find(0, row + 1)

    def _add(self, anomaly: Anomaly, row: int | None, event: Event | None) -> None:
        anomaly.count += 1
        if len(anomaly.examples) == EXAMPLES:
            return
        held = None if row is None else self._roster.status(row)
        if event is None:
            anomaly.examples.append(Example(row, None, None, held, None))
            return
        id_ = "" if event.provider_id is None else f" as {event.provider_id}"
        anomaly.examples.append(
            Example(row, event.recipient, event.message_id, held, f"{event.raw}{id_}")
        )


def _named(recipients: Path, examples: list[Example]) -> list[Example]:
    """Put addresses and ids to rows."""
    rows = [example.row for example in examples]
    known = {
        row: (address, message_id)
        for row, address, message_id in pl.scan_parquet(recipients)
        .filter(pl.col("row").is_in(rows))
        .select("row", "address", "message_id")
        .collect()
        .iter_rows()
    }
    return [
        Example(e.row, *known[e.row], e.held, e.told)
        for e in examples
        if e.row is not None
    ]
