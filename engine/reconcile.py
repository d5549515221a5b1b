"""End doubts by what the provider reports of the messages.

How it works: the events of a file are tied to the rows of a run. A row in doubt was
accepted if something is reported of it that cannot happen unless the provider had taken
the message; it was refused if only a refusal is reported. What was found goes into the
journal, a batch whose rows are all found is done, and the results are written again.

Rules: nothing is concluded from silence, and no row that is not in doubt changes: an
event that contradicts what we hold is told, never believed. The whole file is read
before anything is written, so a broken one changes nothing. Doing it again with the
same events, or with more, is harmless.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import trio

from engine import events, history, results, rundir, webhooks
from engine.errors import EngineError, RunError, ungrouped
from engine.event import REFUSED, TAKEN, Event
from engine.events import By, Match, Roster
from engine.journal import Journal
from engine.manifest import Manifest
from engine.outcome import Outcomes, Status
from engine.record import BatchState, RowFinding
from engine.rundir import RunDirectory

#: What the results say of a row that was found this way.
REASON: Final = "reconciled"
#: Contradictions that are told with their rows; of the others only the number.
EXAMPLES: Final = 10
#: Findings written down at a time.
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An event that cannot be, if what we hold of its row is true.

    Attributes:
        row: 0-based input position; None if the event names this run and nobody in it.
        held: what we hold of the row, or None.
        event: the event.
    """

    row: int | None
    held: Status | None
    event: Event


@dataclass(slots=True)
class Reconciled:
    """What came of it.

    Attributes:
        campaign: the campaign's name.
        run: the run's id.
        events: how many were read.
        ours: how many of them are about this run.
        settled: rows that are no longer in doubt, by what became of them.
        by_address: how many of these were known by their address alone.
        contradictions: how many events cannot be, if what we hold is true.
        examples: the first of these.
        counts: rows by status afterwards; every status is there.
        results: the results file.
    """

    campaign: str
    run: str
    results: Path
    events: int = 0
    ours: int = 0
    settled: Counter[Status] = field(default_factory=Counter)
    by_address: int = 0
    contradictions: int = 0
    examples: list[Contradiction] = field(default_factory=list)
    counts: dict[Status, int] = field(default_factory=dict)


async def reconcile(
    directory: RunDirectory, source: Path | Iterable[Event]
) -> Reconciled:
    """Settle the rows in doubt of which events tell.

    Args:
        directory: the run's.
        source: the events, or a file of them: see `engine.events`.

    Raises:
        RunError: there is no such run; RunLocked: somebody is at it.
        EventsError: the file cannot be read to its end. Nothing was changed.
        JournalError: the journal cannot be read or written.
        BrokenPromise: the results do not have one row per input row.
    """
    manifest = Manifest.read(directory)
    parse = webhooks.load(manifest.definition["provider"]["name"])
    header = results.Header.of(manifest)
    told = Reconciled(manifest.campaign, manifest.run, directory.results)
    manifest.check_snapshot(directory)
    with rundir.owned(directory.path.parent), _opened(directory, manifest) as journal:
        roster = Roster(manifest.run, header.planned_at)
        for rows in history.projected(directory, manifest, journal):
            roster.add(rows)
        ledger = _Ledger(roster, told)
        told_of = events.read(source, parse) if isinstance(source, Path) else source
        for match in roster.matches(told_of):
            ledger.note(match)
        await _write_down(journal, ledger.findings(journal.now()))
        counts = results.write(
            directory.results,
            directory.recipients,
            journal.records(),
            journal.row_outcomes(),
            header,
            findings=journal.findings(),
        )
    told.counts = {status: counts.get(status, 0) for status in Status}
    return told


@contextmanager
def _opened(directory: RunDirectory, manifest: Manifest) -> Iterator[Journal]:
    """Open the journal of a run, with what a crash left called in doubt."""
    with history.opened(directory, manifest) as journal:
        if journal is None:
            raise RunError(
                f"{directory.path}: nothing of it was sent, so nothing is in doubt",
                hint=f"send it: mailvolley resume {directory.path}",
            )
        journal.replay()
        yield journal


async def _write_down(journal: Journal, findings: list[RowFinding]) -> None:
    """Put findings into the journal, durably, and end the batches that they end."""
    with ungrouped(EngineError):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            for start in range(0, len(findings), _AT_ONCE):
                await journal.find(findings[start : start + _AT_ONCE])
            await journal.flush()
            for batch_id, outcomes in _ended(journal):
                await journal.resolve(batch_id, outcomes)
            await journal.flush()
            nursery.cancel_scope.cancel()


def _ended(journal: Journal) -> list[tuple[str, Outcomes]]:
    """Return the batches in doubt of which every row is found, with their outcomes.

    Left in doubt, they would be sent again with those of which nothing is known.
    """
    found = {finding.row: finding for finding in journal.findings()}
    ended = []
    for batch in journal.batches():
        if batch.state is BatchState.IN_DOUBT and found.keys() >= set(batch.rows):
            told = [found[row] for row in batch.rows]
            outcomes = Outcomes(
                [finding.status for finding in told],
                [finding.reason for finding in told],
                [finding.detail for finding in told],
                [finding.provider_id for finding in told],
            )
            ended.append((batch.id, outcomes))
    return ended


@dataclass(slots=True)
class _Evidence:
    """What is reported of a row in doubt: the first match of each kind."""

    taken: Match | None = None
    refused: Match | None = None


class _Ledger:
    """What the events prove of the rows in doubt, and what they contradict."""

    def __init__(self, roster: Roster, told: Reconciled) -> None:
        self._roster = roster
        self._told = told
        self._evidence: dict[int, _Evidence] = {}

    def note(self, match: Match) -> None:
        """Take an event into account."""
        event, row, by = match
        self._told.events += 1
        if by is By.NOTHING:
            return
        self._told.ours += 1
        if row is None:
            if event.type in TAKEN | REFUSED:
                self._contradict(match, None)
            return
        held = self._roster.status(row)
        if held is Status.IN_DOUBT:
            self._weigh(match, self._evidence.setdefault(row, _Evidence()))
        elif held is not Status.ACCEPTED and event.type in TAKEN:
            self._contradict(match, held)

    def findings(self, found_at: datetime) -> list[RowFinding]:
        """Return what was found, ordered by row, and count it."""
        found = []
        for row, evidence in sorted(self._evidence.items()):
            status = Status.REJECTED if evidence.taken is None else Status.ACCEPTED
            match = evidence.taken or evidence.refused
            if match is None:
                continue
            found.append(
                RowFinding(
                    row=row,
                    status=status,
                    reason=REASON,
                    detail=_detail(match),
                    provider_id=match.event.provider_id,
                    found_at=found_at,
                )
            )
            self._told.settled[status] += 1
            self._told.by_address += match.by is By.ADDRESS
        return found

    def _weigh(self, match: Match, evidence: _Evidence) -> None:
        event = match.event
        if event.type in REFUSED:
            row = match.row
            if row is not None and self._roster.is_of_a_copy(row, event.recipient):
                return  # a copy was refused: that tells nothing of the message
            evidence.refused = evidence.refused or match
        elif event.type in TAKEN:
            evidence.taken = evidence.taken or match
            if evidence.taken.event.provider_id != event.provider_id:
                self._contradict(match, Status.IN_DOUBT)  # one message, two mails

    def _contradict(self, match: Match, held: Status | None) -> None:
        self._told.contradictions += 1
        if len(self._told.examples) < EXAMPLES:
            example = Contradiction(match.row, held, match.event)
            self._told.examples.append(example)


def _detail(match: Match) -> str:
    """Say what was reported, for the results."""
    event = match.event
    told = event.raw
    if event.happened_at is not None:
        told += f" at {event.happened_at.isoformat(timespec='seconds')}"
    if event.description is not None:
        told += f": {event.description}"
    return f"{told} (known by the address alone)" if match.by is By.ADDRESS else told
