"""The journal: who has which row, and is there one outcome for each?

Two batches with one row would mail somebody twice, whatever else the journal says of
them. SQLite's triggers refuse such a record; here the file is believed to be no better
than its bytes.
"""

from collections import Counter
from collections.abc import Iterable

from engine.errors import JournalError
from engine.journal import Journal
from engine.outcome import Status
from engine.record import BatchRecord, BatchState
from engine.verify.check import Check

#: Batches in these states have counted outcomes; the others may still move.
_FINAL = frozenset({BatchState.DONE, BatchState.HELD, BatchState.SPLIT})


def check_journal(
    journal: Journal, rows: int, mailable: bytes | None, check: Check
) -> bool:
    """Check every record of a journal.

    Args:
        journal: open.
        rows: of the list.
        mailable: a byte per row: 1 if it is to be mailed. None if nobody knows.
        check: takes what is wrong.

    Returns:
        Whether it can be read to its end.
    """
    claims = _Claims(rows, mailable, check)
    number = 0
    try:
        for number, batch in enumerate(journal.batches(), 1):  # noqa: B007 - counts
            claims.add(batch)
        for settled in journal.row_outcomes():
            claims.claim([settled.row], f"the settled row {settled.row}")
            claims.counts[settled.status] += 1
    except JournalError as error:
        check.fault(str(error))
        return False
    claims.check_counts(journal)
    check.told = f"{number:,} batches"
    return True


class _Claims:
    """Which rows are taken.

    Attributes:
        counts: rows with a final outcome, by status.
    """

    def __init__(self, rows: int, mailable: bytes | None, check: Check) -> None:
        self.counts: Counter[Status] = Counter()
        self._taken = bytearray(rows)
        self._mailable = mailable
        self._check = check

    def add(self, batch: BatchRecord) -> None:
        """Take the rows of a batch, but for those that went on in its children."""
        name = f"batch {batch.id}"
        told = None if batch.outcomes is None else batch.outcomes.statuses
        if told is not None and len(told) != len(batch.rows):
            self._check.fault(
                f"{name}: {len(told)} outcomes for {len(batch.rows)} rows"
            )
            return
        if batch.state is BatchState.SPLIT:
            pairs = zip(
                batch.rows, told or [Status.PENDING] * len(batch.rows), strict=True
            )
            kept = [pair for pair in pairs if pair[1] is not Status.PENDING]
            self.claim([row for row, _ in kept], name)
            self.counts.update(status for _, status in kept)
            return
        self.claim(batch.rows, name)
        if batch.state is BatchState.DONE and (told is None or Status.PENDING in told):
            self._check.fault(f"{name}: is done, and a row of it has no outcome")
        elif batch.state in _FINAL:
            self.counts.update(told or ())

    def claim(self, rows: Iterable[int], who: str) -> None:
        """Take rows; each can be taken once, and only if it was to be mailed."""
        for row in rows:
            if row >= len(self._taken):
                self._check.fault(f"{who}: there is no row {row}")
                continue
            if self._taken[row]:
                self._check.fault(f"{who}: row {row} is in another batch too")
            if self._mailable is not None and not self._mailable[row]:
                self._check.fault(f"{who}: row {row} was not to be mailed")
            self._taken[row] = 1

    def check_counts(self, journal: Journal) -> None:
        """Hold the journal's own sums against what was counted here."""
        totals = journal.counts()
        for status in Status:
            counted, told = self.counts[status], totals.get(status, 0)
            if counted != told:
                self._check.fault(f"{counted} rows {status}, and its sum is {told}")
