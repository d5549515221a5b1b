"""What a journal has to tell: batches, rows, facts and totals.

How it works: pages of a few batches at a time, each read between two transactions. So
reading may go on while the writer works, and never holds it up for long.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from engine.journal import pages, store, volley
from engine.journal.commit import GroupCommit
from engine.journal.entry import Entry
from engine.journal.file import trouble
from engine.journal.pages import Page
from engine.journal.volley import Landing
from engine.moment import from_micros
from engine.outcome import Status
from engine.record import (
    Attempt,
    BatchRecord,
    BatchState,
    LandingRecord,
    RowFinding,
    RowOutcome,
)

R = TypeVar("R")
T = TypeVar("T")

#: Rows, or findings, read at a time.
_PAGE: Final = 64
#: Batches looked at a time where outcomes do not matter.
_SPANS: Final = 10_000


class Reader:
    """The reading half of a journal. It also takes up what is open when it begins."""

    def __init__(self, path: Path, writer: GroupCommit) -> None:
        self._path = path
        self._writer = writer
        self._open: dict[str, Entry] = {}
        self._split: dict[str, Entry] = {}
        self._facts: dict[str, str] = {}
        self._found: dict[int, RowFinding] = {}
        self._unreplayed = False
        self._load()

    def fact(self, name: str) -> str | None:
        """Return a fact, or None if there is none of that name."""
        return self._facts.get(name)

    def facts(self) -> dict[str, str]:
        """Return all facts by name."""
        return dict(self._facts)

    def counts(self) -> dict[Status, int]:
        """Count the rows whose outcome is durable and final, findings aside.

        Reads nothing. Rows that were held in doubt count as that, found or not.
        """
        return dict(self._writer.totals)

    def batches(self) -> Iterator[BatchRecord]:
        """Read all batches by their lowest row, a split one before its children.

        Raises:
            JournalError: a record is damaged.
        """
        return self._paged(pages.batches)

    def records(self) -> Iterator[BatchRecord | LandingRecord]:
        """Read the same with less to do: what has landed together as one record.

        Raises:
            JournalError: a record is damaged.
        """
        return self._paged(pages.records)

    def _paged(self, read: Callable[[Page], list[T]]) -> Iterator[T]:
        after = -1
        while after < pages.LAST:
            with self._writer.reading() as fetch:
                page = pages.page(fetch, after)
            yield from self._checked(read, page)
            after = page.last

    def row_outcomes(self) -> Iterator[RowOutcome]:
        """Read the rows that were settled without a request, in input order.

        Raises:
            JournalError: a record is damaged.
        """
        after = -1
        while page := self._writer.fetch(store.ROWS, after, _PAGE):
            for row in page:
                yield self._checked(store.row_outcome, row)
            after = page[-1][0]

    def findings(self) -> Iterator[RowFinding]:
        """Read what was found out about rows in doubt, in input order.

        A finding speaks for its row as long as the row's batch leaves it in doubt: in
        IN_DOUBT, in HELD, or by its outcome. Another outcome came by an answer.

        Raises:
            JournalError: a record is damaged.
        """
        after = -1
        while page := self._writer.fetch(store.FOUND, after, _PAGE):
            for row in page:
                yield self._checked(store.row_finding, row)
            after = page[-1][0]

    def is_closing(self) -> bool:
        """Tell whether the disk is full: no batch may begin, answers are still kept."""
        return self._writer.refusal is not None

    def is_doubted(self, batch_id: str) -> bool:
        """Tell whether a request for an open batch, this or an earlier, is in doubt.

        Then a later refusal says nothing of the whole: it must not be called failed.
        """
        entry = self._open.get(batch_id)
        return entry is not None and entry.doubted

    def knows(self, batch_id: str) -> bool:
        """Tell whether anything was written of a batch that has not ended."""
        return batch_id in self._open or batch_id in self._split

    def is_split(self, batch_id: str) -> bool:
        """Tell whether a batch's rows go on in smaller ones."""
        return batch_id in self._split

    def handed_on(self, batch_id: str) -> list[int] | None:
        """Tell which rows of a split batch go on in one batch of their own, ascending.

        None: it is not split, or all of its rows go on, in halves.
        """
        entry = self._split.get(batch_id)
        return None if entry is None else entry.handed_on

    def doubt_of(self, batch_id: str) -> tuple[bytes, datetime] | None:
        """Tell of a batch in doubt the hash of its bytes, and when it was intended."""
        entry = self._open.get(batch_id)
        if entry is None or entry.state is not BatchState.IN_DOUBT:
            return None
        return entry.body_digest, from_micros(entry.intended_at)

    def attempts(self, batch_id: str) -> list[Attempt]:
        """Read how the requests for a batch ended. Looks through the whole journal.

        A request that a crash cut short has left its number and no attempt.
        """
        wanted = bytes.fromhex(batch_id)
        for row in self._writer.fetch(store.BATCH, wanted):
            entry, _ = self._checked(store.entry, row)
            return store.past_attempts(entry.history)
        for row in self._writer.fetch(volley.VOLLEY, wanted):
            found = self._checked(volley.volley, row)
            if batch_id in found.ids:
                landings = self._landings(found.low)
                return volley.attempts(found, landings, batch_id)
        raise KeyError(batch_id)

    def marks(self, total: int, states: Collection[BatchState]) -> bytearray:
        """Mark the rows of batches in `states`, and those settled in another way.

        That is without a request, or by a batch that was split.

        Over ten times as fast as `batches`: it reads no outcomes and checks no seals,
        only that the members of each batch are as many as they should be.

        Args:
            total: the rows of the list.
            states: which batches.

        Returns:
            One byte per row: 1 if it is marked, else 0.

        Raises:
            JournalError: a record is damaged, or a row is beyond `total`.
        """
        marks = bytearray(total)
        wanted = frozenset(state.value for state in states)
        after = -1
        while page := self._writer.fetch(store.SPANS, after, _SPANS):
            self._checked(partial(store.mark, marks, wanted), page)
            after = page[-1][0]
        after = -1
        while page := self._writer.fetch(volley.MASKS, after, _SPANS):
            self._checked(partial(volley.mark, marks, wanted), page)
            after = page[-1][0]
        for (settled,) in self._writer.fetch(store.SETTLED_BETWEEN, 0, total - 1):
            marks[settled] = 1
        return marks

    def unclaimed(self, batch_id: str) -> list[int]:
        """Tell which rows of a split batch have no outcome and no child yet."""
        return sorted(self._split[batch_id].free)

    def _load(self) -> None:
        """Take up the facts, the totals, and the batches that are not final."""
        fetch = self._writer.fetch
        self._facts = dict(self._checked(store.fact, row) for row in fetch(store.FACTS))
        for row in fetch(store.ENTRIES):
            entry, letters = self._checked(store.entry, row)
            self._unreplayed |= entry.state is BatchState.INTENT
            if entry.state is BatchState.SPLIT:
                self._split[entry.id] = entry
                entry.free = self._free(entry, letters)
                if letters is not None:
                    entry.handed_on = sorted(store.open_rows(entry, letters))
            else:
                self._open[entry.id] = entry
        for row in fetch(volley.ALOFT):
            found = self._checked(volley.volley, row)
            apart = {high for (high,) in fetch(volley.APART, found.low, found.high)}
            for entry in volley.aloft(found, self._landings(found.low), apart):
                self._open[entry.id] = entry
                self._unreplayed = True
        self._found = {finding.row: finding for finding in self.findings()}
        for row in fetch(store.TOTALS):
            self._writer.gain(self._checked(store.total, row))

    def _free(self, entry: Entry, letters: str | None) -> set[int]:
        """Find the rows that a split batch handed on and that nobody has taken up."""
        free = store.open_rows(entry, letters)
        place, low, high = entry.place, entry.low, entry.high
        for row in self._writer.fetch(store.CHILDREN, place, high, place):
            child, _ = self._checked(store.entry, row)
            free.difference_update(child.rows())
        settled = self._writer.fetch(store.SETTLED_BETWEEN, low, high)
        return free.difference(row for (row,) in settled)

    def _landings(self, low: int) -> list[Landing]:
        """Read the landings of a volley."""
        rows = self._writer.fetch(volley.LANDINGS, low, low)
        return [self._checked(volley.landing, row) for row in rows]

    def _checked(self, read: Callable[[R], T], row: R) -> T:
        with trouble(self._path, "read it"):
            return read(row)
