"""A run whose place a later one has taken: the last word on those who waited in it.

How it works: a run that was stopped waits to be taken up. If a later run of the same
sending to the whole list (`--new-run`) has come to its end instead, that shall never
be: both would write to the same people. Then everybody who still waits gets an outcome
there: `duplicate`, with the run that has written to them, or `failed`, if none has. By
that the old run is finished, and `retry` can reach the latter.

Rules: nobody gets an outcome while the old run may still be taken up, and nobody in
doubt. A crash in between is made good by the next start.
"""

from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import polars as pl
import trio

from engine import history, results, rundir
from engine.errors import EngineError, ungrouped
from engine.history import Run
from engine.journal import Journal
from engine.manifest import Manifest
from engine.outcome import Outcomes, Status
from engine.record import BatchState, RowOutcome

#: Reasons in the results: somebody else wrote to them, or nobody did.
SENT_SINCE: Final = "sent_since"
NOT_SENT: Final = "overtaken"
#: The fact of the journal that names the later run.
OVERTAKEN_BY: Final = "overtaken_by"
#: What a row is in that belongs to a batch, as long as that was not split.
_IN_A_BATCH: Final = frozenset(BatchState) - {BatchState.SPLIT}
#: Outcomes written down at a time.
_AT_ONCE: Final = 1000


async def close(folder: Path) -> None:
    """Finish the runs of a campaign whose place a later one has taken.

    Args:
        folder: the campaign's; only for who owns it.

    Raises:
        RunError: a run cannot be read.
        JournalError: a journal cannot be written.
        BrokenPromise: the results do not have one row per input row.
    """
    for old, later in _overtaken(folder):
        await _close(old, later)


def _overtaken(folder: Path) -> Iterator[tuple[Run, str]]:
    """Yield unfinished runs, each with the name of the one that took its place."""
    sendings: dict[tuple[str, int], list[Run]] = {}
    for directory in rundir.find(folder):  # the newest first
        if not directory.is_rehearsal:
            manifest = Manifest.read(directory)
            which = (history.place(manifest.base_url), manifest.generation)
            sendings.setdefault(which, []).append((directory, manifest))
    for sending in sendings.values():
        later = ""
        for directory, manifest in sending if len(sending) > 1 else ():
            if not history.finished_at(directory, manifest, only_look=True):
                if later:
                    yield (directory, manifest), later
            elif manifest.limit is None and manifest.parent is None:
                later = later or directory.run


async def _close(old: Run, later: str) -> None:
    """Give everybody who waits in a run an outcome, and write its results."""
    directory, manifest = old
    words = _Words(manifest.rows, later)
    words.add(history.reached(old))
    with ExitStack() as stack:
        journal = stack.enter_context(history.opened(directory, manifest))
        if journal is None:  # it was stopped before its first request
            made = Journal.create(directory.journal, {"manifest": manifest.sha256})
            journal = stack.enter_context(made)
        journal.replay()
        await _write_down(journal, old, words)


async def _write_down(journal: Journal, old: Run, words: "_Words") -> None:
    directory, manifest = old
    frozen = pl.scan_parquet(directory.recipients).select("row", "status").collect()
    mailable = frozen.filter(pl.col("status").is_null())["row"]
    with ungrouped(EngineError):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            for batch in list(journal.batches()):
                if batch.state is BatchState.RETRYABLE:
                    await journal.split(batch.id, outcomes=words.outcomes(batch.rows))
            await journal.flush()
            marks = journal.marks(manifest.rows, _IN_A_BATCH)
            waiting = [row for row in mailable if not marks[row]]
            for start in range(0, len(waiting), _AT_ONCE):
                rows = waiting[start : start + _AT_ONCE]
                told, now = words.outcomes(rows), journal.now()
                columns = zip(
                    rows, told.statuses, told.reasons, told.details, strict=True
                )
                await journal.skip([RowOutcome(*column, now) for column in columns])
            await journal.flush()
            results.write(
                directory.results,
                directory.recipients,
                journal.records(),
                journal.row_outcomes(),
                results.Header.of(manifest),
                findings=journal.findings(),
            )
            await journal.note(OVERTAKEN_BY, words.later)
            await journal.note("finished_at", rundir.now())
            await journal.flush()
            nursery.cancel_scope.cancel()


class _Words:
    """What is said of each row of a run that waits.

    Attributes:
        later: the run that took its place.
    """

    def __init__(self, rows: int, later: str) -> None:
        self.later = later
        self._runs: list[str] = []
        self._by = array("H", bytes(2 * rows))

    def add(self, reached: pl.DataFrame) -> None:
        """Take who was written to by others: see `history.reached`."""
        self._runs = reached["run"].unique(maintain_order=True).to_list()
        numbers = {run: number for number, run in enumerate(self._runs, 1)}
        for row, run in reached.iter_rows():
            self._by[row] = numbers[run]

    def outcomes(self, rows: list[int]) -> Outcomes:
        """Return the last word on some rows."""
        told = [self._word(self._by[row]) for row in rows]
        statuses, reasons, details = map(list, zip(*told, strict=True))
        return Outcomes(statuses, reasons, details, [None] * len(rows))

    def _word(self, number: int) -> tuple[Status, str | None, str | None]:
        if number:
            run = self._runs[number - 1]
            told = f"the run {run} has written to them, or perhaps has"
            return Status.DUPLICATE, SENT_SINCE, told
        told = f"the run {self.later} took the place of this one; none wrote to them"
        return Status.FAILED, NOT_SENT, told
