"""What a run says about each row: read from its journal, or from its results file.

Both are the product's own words. Most seeds go by the journal, through the functions
that `engine.results` itself asks, for writing and reading a file takes as long as the
rest of a world; the others write the file, read it back, and compare.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl
from simulation.lists import frozen

from engine import results
from engine.journal import Journal
from engine.outcome import Status


class Told(NamedTuple):
    """One word on one row: its status, and the provider's id of the message."""

    status: Status
    given: str | None


#: The words on each row, in input order. There should be one each.
Words = list[list[Told]]


def by_journal(journal: Journal, rows: int) -> Words:
    """Read what a journal says about a list of so many rows."""
    words: Words = [[] for _ in range(rows)]
    for row, status in frozen(rows).never.items():
        words[row].append(Told(status, None))
    for batch in journal.batches():
        if (outcomes := results._told(batch)) is None:
            continue
        statuses = results._own(batch, outcomes)
        for row, status, given in zip(
            batch.rows, statuses, outcomes.provider_ids, strict=True
        ):
            if status is not None:
                words[row].append(Told(status, given))
    for outcome in journal.row_outcomes():
        words[outcome.row].append(Told(outcome.status, None))
    return [one or [Told(Status.PENDING, None)] for one in words]


def by_file(path: Path) -> Words:
    """Read a results file."""
    frame = pl.read_parquet(path, columns=["row", "status", "provider_id"])
    words: Words = [[] for _ in range(frame.height)]
    for row, status, given in frame.iter_rows():
        words[row].append(Told(Status(status), given))
    return words
