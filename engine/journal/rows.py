"""What a journal is told of single rows, and of the run as a whole."""

from collections.abc import Sequence
from functools import partial

from engine.errors import BrokenPromise
from engine.journal import store
from engine.journal.reader import Reader
from engine.outcome import Outcomes, Status
from engine.record import RowFinding, RowOutcome


class Rows(Reader):
    """The part of a journal that writes about rows without a request, and facts."""

    async def skip(self, rows: Sequence[RowOutcome]) -> None:
        """Settle rows without a request. Returns when queued.

        Rows between those of a batch are skipped *before* that batch is intended: a
        crash in between would leave them neither sent nor settled.
        """
        gains: dict[Status, int] = {}
        for outcome in rows:
            gains[outcome.status] = gains.get(outcome.status, 0) + 1
            for entry in self._split.values():
                if entry.has(outcome.row) and outcome.row not in entry.free:
                    raise BrokenPromise(f"row {outcome.row}: batch {entry.id} has it")
        for entry in self._split.values():
            entry.free.difference_update(outcome.row for outcome in rows)
        operation = partial(store.insert_rows, rows=tuple(rows))
        self._writer.put(operation, weight=len(rows), gains=gains)
        await self._writer.room()

    async def find(self, rows: Sequence[RowFinding]) -> None:
        """Add what was found out about rows in doubt. Returns when queued.

        All of them, or none if one is refused. A row that has a finding keeps it: the
        same again changes nothing. Two say the same if their status is the same, and
        the provider's id where both have one.

        Raises:
            BrokenPromise: a row is not in doubt, or was found otherwise before.
        """
        await self._writer.quiet()
        self._writer.check()
        new: dict[int, RowFinding] = {}
        for finding in rows:
            row = finding.row
            known = new.get(row) or self._found.get(row)
            if known is not None:
                _expect_same(known, finding)
            elif row < 0 or not self._writer.fetch(store.IS_DOUBTFUL, row)[0][0]:
                raise BrokenPromise(f"row {row}: it is not in doubt")
            else:
                new[row] = finding
        if new:
            operation = partial(store.insert_findings, rows=tuple(new.values()))
            self._writer.put(operation, weight=len(new))
            self._found |= new
        await self._writer.room()

    async def note(self, name: str, value: str) -> None:
        """Write a fact in place of an older one of that name. Returns when queued."""
        self._writer.put(partial(store.upsert_fact, name=name, value=value))
        self._facts[name] = value
        await self._writer.room()

    def _expect_unfound(self, batch_id: str, rows: Sequence[int]) -> None:
        """Raise BrokenPromise if a row would be sent of which it is known what came."""
        for row in self._found.keys() & set(rows) if self._found else ():
            found = self._found[row].status
            raise BrokenPromise(f"batch {batch_id}: row {row} was found {found}")

    def _with_findings(self, rows: Sequence[int], outcomes: Outcomes) -> Outcomes:
        """Return the outcomes of a batch with the findings in their places."""
        if self._found.keys().isdisjoint(rows):
            return outcomes
        told = Outcomes(
            list(outcomes.statuses),
            list(outcomes.reasons),
            list(outcomes.details),
            list(outcomes.provider_ids),
        )
        for place, row in enumerate(rows):
            if (finding := self._found.get(row)) is not None:
                told.statuses[place] = finding.status
                told.reasons[place] = finding.reason
                told.details[place] = finding.detail
                told.provider_ids[place] = finding.provider_id
        return told


def _expect_same(known: RowFinding, again: RowFinding) -> None:
    ids = {known.provider_id, again.provider_id} - {None}
    if known.status is not again.status or len(ids) > 1:
        raise BrokenPromise(
            f"row {known.row}: found {known.status} ({known.provider_id}) before, "
            f"and now {again.status} ({again.provider_id})"
        )
