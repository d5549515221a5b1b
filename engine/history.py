"""The earlier runs of a campaign: what has been sent, where to, and to whom.

A run belongs to a place: the provider's public addresses are one place together, and
every address of this machine is one of its own. So a rehearsal against a server on this
machine neither continues nor forbids the real thing.

A generation is one sending of the campaign to everyone. It may take several runs: a
first one to a few, the rest after it, another try for those who were refused.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

from engine import rundir
from engine.campaign import is_loopback
from engine.journal import Journal
from engine.manifest import Manifest
from engine.outcome import Status
from engine.rundir import RunDirectory

#: What keeps a recipient from being written to again in the same generation.
SENT = frozenset({Status.ACCEPTED, Status.IN_DOUBT})
SENT_SCHEMA = pl.Schema({"message_id": pl.String(), "run": pl.String()})

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


def finished_at(directory: RunDirectory) -> str:
    """Return when a run was finished, ISO 8601; empty if it was not.

    Raises:
        JournalError: the journal cannot be read; also while a process owns the run.
    """
    if not directory.journal.exists():
        return ""
    with Journal.open(directory.journal) as journal:
        return journal.fact("finished_at") or ""


def sent(earlier: Sequence[Run]) -> pl.DataFrame:
    """Tell who has been written to, or perhaps has.

    Args:
        earlier: the runs to look into.

    Returns:
        Columns: message_id str, unique; run str, the run that wrote to them.

    Raises:
        JournalError: a journal cannot be read.
    """
    frames = [_sent(directory) for directory, _ in earlier]
    known = pl.concat([pl.DataFrame(schema=SENT_SCHEMA), *frames])
    return known.unique("message_id", keep="first", maintain_order=True)


def _sent(directory: RunDirectory) -> pl.DataFrame:
    if not directory.journal.exists():
        return pl.DataFrame(schema=SENT_SCHEMA)
    rows: list[int] = []
    with Journal.open(directory.journal) as journal:
        journal.replay()
        for batch in journal.batches():
            if batch.outcomes is not None:
                told = zip(batch.rows, batch.outcomes.statuses, strict=True)
                rows += [row for row, status in told if status in SENT]
    known = pl.LazyFrame({"row": rows}, schema={"row": pl.UInt64})
    return (
        pl.scan_parquet(directory.recipients)
        .join(known, on="row", how="semi")
        .select("message_id", run=pl.lit(directory.run))
        .collect()
    )
