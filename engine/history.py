"""The earlier runs of a campaign: what has been sent, where to, and to whom.

A run belongs to a place: the provider's public addresses are one place together, and
every address of this machine is one of its own. So a rehearsal against a server on this
machine neither continues nor forbids the real thing.

A generation is one sending of the campaign to everyone. It may take several runs: a
first one to a few, the rest after it, another try for those who were refused.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from engine import parquet, results, rundir
from engine.campaign import is_loopback
from engine.errors import JournalError, RunError
from engine.journal import Journal
from engine.lint.audience import Before
from engine.manifest import Manifest
from engine.outcome import Status
from engine.record import BatchRecord, BatchState
from engine.rundir import RunDirectory

#: What keeps a recipient from being written to again in the same generation.
SENT = frozenset({Status.ACCEPTED, Status.IN_DOUBT})
SENT_SCHEMA = pl.Schema({"message_id": pl.String(), "run": pl.String()})

#: States of a batch that is never sent again.
SETTLED = frozenset({BatchState.DONE, BatchState.HELD})
RESTORE = "restore the run directory from a backup"

Run = tuple[RunDirectory, Manifest]


def place(base_url: str) -> str:
    """Return what place an address belongs to: see the module."""
    return base_url if is_loopback(urlsplit(base_url).hostname or "") else ""


def runs(folder: Path, base_url: str) -> list[Run]:
    """Return the runs of a campaign that went to a place, the newest first.

    Raises:
        RunError: a manifest cannot be read.
    """
    found = [
        (directory, Manifest.read(directory))
        for directory in rundir.find(folder)
        if not directory.is_rehearsal
    ]
    wanted = place(base_url)
    return [run for run in found if place(run[1].base_url) == wanted]


@contextmanager
def opened(
    directory: RunDirectory, manifest: Manifest, *, only_look: bool = False
) -> Iterator[Journal | None]:
    """Open the journal of a run; None if nothing of it was sent.

    Args:
        directory: the run's.
        manifest: the run's.
        only_look: whether nothing is to be written: see `rundir.looked_at`.

    Raises:
        RunError: it is gone or cannot be trusted; also while a process owns the run.
            Nothing may be concluded from it, least of all that nobody was mailed.
    """
    path = directory.journal
    if not path.exists() and directory.has_begun():
        raise RunError(f"{path}: is gone, and something was sent", hint=RESTORE)
    if not path.exists():
        yield None
        return
    with ExitStack() as stack:
        try:
            found = Journal.looked_into(path) if only_look else Journal.open(path)
            journal = stack.enter_context(found)
        except JournalError as error:
            raise RunError(str(error), hint=error.hint or RESTORE) from error
        if journal.fact("manifest") != manifest.sha256:
            raise RunError(
                f"{path}: belongs to another plan than the manifest beside it",
                hint=RESTORE,
            )
        yield journal


def before(folder: Path, base_url: str, *, owned: bool = False) -> Before | None:
    """Return what is known of the campaign's last run to its whole list.

    None where there was none, or nothing can be read of it: it is only compared with.

    Args:
        folder: the campaign's runs.
        base_url: where it goes.
        owned: whether the caller owns the campaign.
    """
    try:
        earlier = runs(folder, base_url)
    except RunError:
        return None
    for directory, manifest in earlier:
        if manifest.limit is None and manifest.parent is None:
            try:
                with nullcontext() if owned else rundir.looked_at(directory):
                    moment = finished_at(directory, manifest, only_look=True)
            except RunError:
                moment = ""
            return Before(
                rows=manifest.rows,
                mailable=manifest.mailable,
                templates=manifest.templates,
                ended_at=datetime.fromisoformat(moment) if moment else None,
            )
    return None


def finished_at(
    directory: RunDirectory, manifest: Manifest, *, only_look: bool = False
) -> str:
    """Return when a run was finished, ISO 8601; empty if it was not.

    Raises:
        RunError: the journal is gone or cannot be trusted.
    """
    with opened(directory, manifest, only_look=only_look) as journal:
        return "" if journal is None else journal.fact("finished_at") or ""


def expect_results(directory: RunDirectory) -> None:
    """Refuse a run without results, and say how it comes by them.

    Raises:
        RunError: there is no such run, or there are none: not yet, or not any more; or
            they are damaged.
    """
    manifest = Manifest.read(directory)
    is_there = directory.results.exists()
    if not (is_there or finished_at(directory, manifest, only_look=True)):
        raise RunError(
            f"{directory.path}: there are no results yet",
            hint=f"finish the run: mailvolley resume {directory.path}",
        )
    results.expect(directory)


def projected(
    directory: RunDirectory, manifest: Manifest, journal: Journal
) -> Iterator[pl.DataFrame]:
    """Give each row of a run its outcome by the journal: see `results.project`."""
    return results.project(
        directory.recipients,
        journal.records(),
        journal.row_outcomes(),
        results.Header.of(manifest),
        findings=journal.findings(),
    )


def expect_current(directory: RunDirectory, manifest: Manifest) -> None:
    """Refuse results of an earlier stop: the run has gone on since.

    Who waits by them may have got mail.

    Raises:
        RunError: they tell less than the journal, or that cannot be read.
    """
    path = directory.results
    by_journal: Counter[str] = Counter()
    with opened(directory, manifest, only_look=True) as journal:
        if journal is None or journal.fact("finished_at"):
            return
        for rows in projected(directory, manifest, journal):
            by_journal.update(dict(rows["status"].value_counts().iter_rows()))
    by_file = pl.scan_parquet(path).group_by("status").len().collect()
    if by_journal != dict(by_file.iter_rows()):
        raise RunError(
            f"{path}: the run has gone on since this was written",
            hint=results.anew(directory.path),
        )


def sent(earlier: Sequence[Run], *, only_look: bool = False) -> pl.DataFrame:
    """Tell who has been written to, or perhaps has.

    Args:
        earlier: the runs to look into.
        only_look: see `opened`.

    Returns:
        Columns: message_id str, unique; run str, the run that wrote to them.

    Raises:
        RunError: a journal is gone or cannot be trusted, or a frozen list is damaged.
    """
    frames = [_sent(*run, only_look=only_look) for run in earlier]
    known = pl.concat([pl.DataFrame(schema=SENT_SCHEMA), *frames])
    return known.unique("message_id", keep="first", maintain_order=True)


def addresses(
    run: Run, *, since: datetime | None = None, only_look: bool = False
) -> Iterator[pl.Series]:
    """Tell to which addresses a run has written, or perhaps has, group by group.

    Args:
        run: the run.
        since: only by messages of this moment or later, UTC; None: by all.
        only_look: see `opened`.

    Raises:
        RunError: as `sent`.
    """
    return _written_to(run, "address", since=since, only_look=only_look)


def _sent(
    directory: RunDirectory, manifest: Manifest, *, only_look: bool
) -> pl.DataFrame:
    found = _written_to((directory, manifest), "message_id", only_look=only_look)
    ids = pl.concat([pl.Series("message_id", [], dtype=pl.String), *found])
    return ids.to_frame().with_columns(run=pl.lit(directory.run))


def _written_to(
    run: Run, column: str, *, only_look: bool, since: datetime | None = None
) -> Iterator[pl.Series]:
    """Read a column of the frozen list for those whom a run has written to."""
    directory, manifest = run
    with opened(directory, manifest, only_look=only_look) as journal:
        if journal is None:
            return
        marks = _marked(journal, manifest.rows, since)
    if not any(marks):
        return
    manifest.check_snapshot(directory)
    for group in parquet.groups(directory.recipients, ["row", column]):
        first, last = group["row"][0], group["row"][-1]
        there = pl.Series(list(marks[first : last + 1]), dtype=pl.UInt8)
        yield group[column].filter(there == 1)


def _marked(journal: Journal, rows: int, since: datetime | None) -> bytearray:
    """Mark the rows that were written to, one byte each: 1 if it was, else 0."""
    marks = bytearray(rows)
    ended_at = journal.fact("finished_at")
    if since and ended_at and datetime.fromisoformat(ended_at) < since:
        return marks
    refused = {f.row for f in journal.findings() if f.status not in SENT}
    for batch in journal.batches():
        if since is not None and _last_sent(journal, batch) < since:
            continue
        for row, status in _told(batch):
            if status in SENT and not (status is Status.IN_DOUBT and row in refused):
                marks[row] = 1
    return marks


def _last_sent(journal: Journal, batch: BatchRecord) -> datetime:
    """Say when a batch was sent last, as far as that is known."""
    if batch.settled_at is not None:
        return batch.settled_at
    begun = (attempt.started_at for attempt in journal.attempts(batch.id))
    return max(begun, default=batch.intended_at)


def _told(batch: BatchRecord) -> Iterable[tuple[int, Status]]:
    """Return what a batch tells of its rows; an intent was perhaps sent."""
    if batch.state is BatchState.INTENT:
        return ((row, Status.IN_DOUBT) for row in batch.rows)
    if batch.outcomes is None:
        return ()
    return zip(batch.rows, batch.outcomes.statuses, strict=True)


def reached(run: Run, *, only_look: bool = False) -> pl.DataFrame:
    """Tell who waits in a run whom another one of the same sending has written to.

    Args:
        run: the run.
        only_look: see `opened`.

    Returns:
        Columns: row u64, ascending; run str, the other one.

    Raises:
        RunError: as `sent`.
    """
    directory, manifest = run
    others = [
        other
        for other in runs(directory.path.parent, manifest.base_url)
        if other[0].run != directory.run and other[1].generation == manifest.generation
    ]
    if not others:
        return pl.DataFrame(schema={"row": pl.UInt64(), "run": pl.String()})
    waiting = _waiting(directory, manifest, only_look=only_look)
    known = sent(others, only_look=only_look)
    joined = waiting.join(known, on="message_id", maintain_order="left")
    return joined.select("row", "run")


def is_untouched(run: Run) -> bool:
    """Whether a run has no record of a batch or row: nobody was ever to be mailed.

    Raises:
        RunError: the journal is gone or cannot be trusted.
    """
    with opened(*run, only_look=True) as journal:
        if journal is None:
            return True
        records = (journal.batches(), journal.row_outcomes(), journal.findings())
        return not any(True for kind in records for _ in kind)


def pending(run: Run, *, resend: bool) -> int:
    """Count who would be mailed if a run were taken up now.

    Args:
        run: the run.
        resend: whether those in doubt are to be written to again.

    Raises:
        RunError: the journal is gone or cannot be trusted.
    """
    _, manifest = run
    with opened(*run) as journal:
        if journal is None:
            return manifest.mailable
        settled = sum(journal.counts().values())
        if not resend:
            open_ = (BatchState.INTENT, BatchState.IN_DOUBT)
            doubtful = (b for b in journal.batches() if b.state in open_)
            settled += sum(len(batch.rows) for batch in doubtful)
    return manifest.mailable - settled


def expect_unreached(run: Run) -> None:
    """Refuse to take up a run where a later one has written to those who wait in it.

    Both would mail them, each once.

    Raises:
        RunError: somebody waits here whom another run of the sending has reached.
    """
    directory, manifest = run
    if (known := reached(run)).height:
        raise RunError(
            f"{directory.path}: {known.height:,} of those who wait here have been "
            f"written to by the run {known['run'][0]}",
            hint="send to those whom none has reached: "
            f"mailvolley send {manifest.file} --new-run",
        )


def _waiting(
    directory: RunDirectory, manifest: Manifest, *, only_look: bool
) -> pl.DataFrame:
    """Return who may still be mailed; whoever is in doubt is, if the user asks.

    Unless it was found what became of them.
    """
    manifest.check_snapshot(directory)
    with opened(directory, manifest, only_look=only_look) as journal:
        total = manifest.rows
        marks = bytearray(total) if journal is None else journal.marks(total, SETTLED)
        for finding in () if journal is None else journal.findings():
            marks[finding.row] = 1
    waits = pl.Series("waits", list(marks), dtype=pl.UInt8) == 0
    frozen = pl.scan_parquet(directory.recipients).select("row", "status", "message_id")
    return frozen.collect().filter(waits & pl.col("status").is_null())
