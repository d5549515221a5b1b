"""One run without some people: looked through, then made anew beside itself.

How it works: a folder beside the run gets what the run has, but for those people: the
frozen list, the journal, the results, and a manifest with the new hash. What names
nobody is linked. Then both folders change places in one step, and the old one goes. So
a crash leaves the run as it was or as it is to be; whatever lies beside it under the
name of an erasure is rubbish, and is removed first.

Rules: every row stays, with its outcome and our id of its message: who was written to
is still not written to again. Only a run of which nothing can be sent any more is made
anew: messages are cut into batches by what all rows of a chunk hold, and to change one
could cut them otherwise. So what is in doubt in such a chunk stays in doubt for good.
"""

import os
import re
import shutil
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import polars as pl
import trio

from engine import asked, history, parquet, results, rundir, snapshot
from engine.erase.people import ERASED, People
from engine.errors import EngineError, RunError, ungrouped
from engine.exchange import exchange
from engine.journal import Journal, scrub
from engine.manifest import Manifest
from engine.outcome import Status
from engine.record import BatchState
from engine.rundir import RunDirectory

#: Of the folder beside a run; no run has such a name.
_PREFIX: Final = ".erasing-"
#: What is made anew, or is of no use in what is made.
_OURS: Final = frozenset(
    {"manifest.json", "recipients.parquet", "results.parquet", "events.parquet"}
    | {"results.sha256"}
    | {"journal.db", "journal.db-wal", "journal.db-shm", "ballast"}
    | {"asked.db", "asked.db-wal", "asked.db-shm"}
)


@dataclass(slots=True)
class Traces:
    """What a run holds of some people.

    Attributes:
        rows: theirs: 0-based input positions.
        ids: our ids of their messages, and the provider's.
        names: their display names.
        mentions: other rows, or records of the journal, that name them.
        chunks: by number, the chunks of the list that such rows are in.
        starts: the first row of each chunk.
    """

    rows: list[int] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    mentions: int = 0
    chunks: set[int] = field(default_factory=set)
    starts: list[int] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.rows or self.mentions)

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows of theirs."""
        self.rows += rows["row"].to_list()
        self.ids.update(rows["message_id"])
        self.names.update(filter(None, rows["name"]))

    def chunk_of(self, row: int) -> int:
        """Return the number of the chunk that a row to be mailed is in."""
        return bisect_right(self.starts, row) - 1


def look(directory: RunDirectory, manifest: Manifest, people: People) -> Traces:
    """Look for some people in a run; change nothing.

    Raises:
        RunError: the frozen list or the journal cannot be trusted.
    """
    manifest.check_snapshot(directory)
    traces, mailable = Traces(), 0
    for group in parquet.groups(directory.recipients):
        own = _own(group, manifest, people)
        changed = own | _mentions(group, people)
        waits = group["status"].is_null()
        rank = waits.cum_sum().cast(pl.Int64) - 1 + mailable
        begins = snapshot.begins(rank, manifest.chunk, first=manifest.canary or 0)
        traces.starts += group["row"].filter(waits & begins).to_list()
        traces.chunks.update(map(traces.chunk_of, group["row"].filter(changed & waits)))
        traces.add(group.filter(own))
        traces.mentions += int((changed & ~own).sum())
        mailable += int(waits.sum())
    _look_into_journal(directory, manifest, people, traces)
    return traces


def _own(group: pl.DataFrame, manifest: Manifest, people: People) -> pl.Series:
    """Tell the rows of these people; those of a test go to another address."""
    column = manifest.definition["recipients"]["address"]
    given = pl.col("data").struct.field(column).cast(pl.String)
    exact = people.are(pl.col("address")) | people.are(pl.col("key"))
    # What is no address may hold one: "Ann <ann@harbour.example>".
    odd = (group["status"] == Status.INVALID).fill_null(value=False)
    return group.select(exact | people.are(given)).to_series() | (
        odd & people.named(group["address"])
    )


def _mentions(group: pl.DataFrame, people: People) -> pl.Series:
    """Tell the rows that name these people in what templates read, or in a sentence."""
    columns = group["data"].struct.unnest().iter_columns()
    found = people.named(group["name"]) | people.named(group["detail"])
    for column in columns:
        found |= people.named(column)
    return found


def _look_into_journal(
    directory: RunDirectory, manifest: Manifest, people: People, traces: Traces
) -> None:
    mine = set(traces.rows)
    with history.opened(directory, manifest, only_look=True) as journal:
        for batch in journal.batches() if mine and journal is not None else ():
            if batch.outcomes is not None and not mine.isdisjoint(batch.rows):
                pairs = zip(batch.rows, batch.outcomes.provider_ids, strict=True)
                traces.ids.update(id_ for row, id_ in pairs if id_ and row in mine)
    if journal is not None and not mine:
        cleaner = scrub.Cleaner((), ERASED, people.cleaned, people.cleaned)
        traces.mentions += scrub.is_needed(directory.journal, cleaner)


def may_be_sent(directory: RunDirectory, manifest: Manifest) -> bool:
    """Whether something of a run may still be sent, but for what is in doubt.

    A rehearsal is never taken up: its provider is gone with its process.

    Raises:
        RunError: the journal cannot be trusted.
    """
    if manifest.rehearsal:
        return False
    return not history.finished_at(directory, manifest, only_look=True)


def has_sent(directory: RunDirectory, manifest: Manifest) -> bool:
    """Whether a request of a run was ever begun: its intent is written down before.

    Raises:
        RunError: the journal cannot be trusted.
    """
    with history.opened(directory, manifest, only_look=True) as journal:
        return journal is not None and any(True for _ in journal.batches())


def remove_leftovers(folder: Path) -> None:
    """Remove what a crash left of erasures among a campaign's runs."""
    for path in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(path)


def make_anew(
    directory: RunDirectory, manifest: Manifest, people: People, traces: Traces
) -> None:
    """Put in the place of a run one that does not hold these people any more.

    Args:
        directory: the run's; its campaign is owned, nothing of it may be sent.
        manifest: the run's.
        people: who is to be forgotten.
        traces: what the run holds of them.

    Raises:
        EngineError: it cannot be done, and the run is as it was.
    """
    made = RunDirectory(directory.path.with_name(f"{_PREFIX}{directory.run}"))
    try:
        made.path.mkdir(mode=0o700)
        try:
            _make(directory, made, manifest, people, traces)
            exchange(made.path, directory.path)
        finally:
            shutil.rmtree(made.path)  # what was made, or after the exchange what was
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(
            f"{directory.path}: cannot be made anew: {error}",
            hint="see to the disk: it has to have room for the run once more",
        ) from error


def _make(
    directory: RunDirectory,
    made: RunDirectory,
    manifest: Manifest,
    people: People,
    traces: Traces,
) -> None:
    """Fill the folder that is to take the place of a run, durably."""
    _link(directory.path, made.path)
    if (kept := directory.path / asked.DATABASE).exists():
        with asked.Asked.open(directory) as answers:
            answers.copy(made.path / kept.name)
    _make_list(directory, made, manifest, people)
    anew = replace(manifest, snapshot=rundir.sha256(made.recipients))
    if directory.journal.exists():
        _make_journal(directory, made, anew, people, traces)
    if directory.results.exists():
        _make_results(made, anew)
    anew.write(made)
    rundir.sync_folder(made.path)


def _link(source: Path, target: Path) -> None:
    """Give a folder the files of another that are not made anew."""
    for path in source.iterdir():
        if path.name in _OURS or path.name.endswith(".inprogress"):
            continue
        if path.is_dir() and not path.is_symlink():
            (target / path.name).mkdir(mode=0o700)
            _link(path, target / path.name)
            rundir.sync_folder(target / path.name)
        else:
            os.link(path, target / path.name, follow_symlinks=False)


def _make_list(
    directory: RunDirectory, made: RunDirectory, manifest: Manifest, people: People
) -> None:
    groups = parquet.groups(directory.recipients)
    schema = pl.read_parquet_schema(directory.recipients)
    frames = (_without(group, manifest, people) for group in groups)
    parquet.write(made.recipients, frames, pl.Schema(schema))
    _sync(made.recipients)


def _without(group: pl.DataFrame, manifest: Manifest, people: People) -> pl.DataFrame:
    """Return a group of the frozen list that does not name these people."""
    own = _own(group, manifest, people)
    data = group["data"].struct.unnest()
    clean = data.with_columns(map(people.column, data.iter_columns()))
    gone = {name: own & people.named(group[name]) for name in ("address", "key")}
    erased = pl.lit(ERASED)
    return group.with_columns(
        **{
            name: pl.when(which).then(erased).otherwise(name)
            for name, which in gone.items()
        },
        name=pl.when(own).then(pl.lit("")).otherwise(people.column(group["name"])),
        detail=pl.when(own & group["detail"].is_not_null())
        .then(erased)
        .otherwise(people.column(group["detail"])),
        data=clean.select(pl.when(~own).then(pl.all())).to_struct(),
    )


def _make_journal(
    directory: RunDirectory,
    made: RunDirectory,
    anew: Manifest,
    people: People,
    traces: Traces,
) -> None:
    scrub.copy(directory.journal, made.journal)
    names = [re.escape(name) for name in traces.names]
    named = re.compile(rf"(?<!\w)(?:{'|'.join(names)})(?!\w)" if names else r"(?!)")

    def own(text: str) -> str:
        return named.sub(ERASED, people.cleaned(text))

    cleaner = scrub.Cleaner(frozenset(traces.rows), ERASED, people.cleaned, own)
    scrub.scrub(made.journal, cleaner, {"manifest": anew.sha256})
    if not anew.rehearsal:
        trio.run(_hold, made.journal, traces)
    _sync(made.journal)


async def _hold(path: Path, traces: Traces) -> None:
    """Leave in doubt for good what could not be sent again as it was."""
    with Journal.open(path, ballast=0) as journal, ungrouped(EngineError):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            for batch in list(journal.batches()):
                touched = traces.chunk_of(batch.rows[0]) in traces.chunks
                if batch.state is BatchState.IN_DOUBT and touched:
                    await journal.hold(batch.id)
            await journal.flush()
            nursery.cancel_scope.cancel()


def _make_results(made: RunDirectory, anew: Manifest) -> None:
    with history.opened(made, anew, only_look=True) as journal:
        results.write(
            made.results,
            made.recipients,
            () if journal is None else journal.records(),
            () if journal is None else journal.row_outcomes(),
            results.Header.of(anew),
            findings=() if journal is None else journal.findings(),
        )


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
