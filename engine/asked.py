"""When the provider was last asked about each row of a run: a small database in it.

    <run>/asked.db

An answer that brings no news leaves no event. So that it is known all the same that
there was one, who asks writes it down here, after the events are kept: what a crash
leaves out is asked again, which does no harm.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from engine.database import Database, Layout
from engine.rundir import RunDirectory

#: The file in a run's directory.
DATABASE: Final = "asked.db"

_LAYOUT: Final = Layout(
    what="what was asked of the provider",
    mark=0x6D76_6173,  # "mvas"
    tables="""
    CREATE TABLE asked (
        row      INTEGER PRIMARY KEY,
        asked_at INTEGER NOT NULL
    ) STRICT;
    """,
)
#: The columns of `Asked.when`.
SCHEMA: Final = pl.Schema(
    {"row": pl.UInt64(), "asked_at": pl.Datetime("us", time_zone="UTC")}
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOTE: Final = "INSERT OR REPLACE INTO asked VALUES (?, ?)"
#: Rows made into a frame at a time.
_AT_ONCE: Final = 100_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked about the rows of one run. Made by `Asked.open`."""

    _database: Database

    @classmethod
    @contextmanager
    def open(cls, directory: RunDirectory) -> Iterator["Asked"]:
        """Open what was asked of a run; it is made where there is nothing yet.

        Raises:
            StoreError: it cannot be opened.
        """
        with Database.open(directory.path / DATABASE, _LAYOUT) as database:
            yield cls(database)

    def note(self, rows: Iterable[int], at: datetime) -> None:
        """Write down, durably, that there was an answer about some rows.

        Args:
            rows: 0-based input positions.
            at: when, UTC.

        Raises:
            StoreError: it cannot be written.
        """
        # In whole numbers: a float of so many microseconds is not exact.
        since = at - _EPOCH
        moment = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
        self._database.write(_NOTE, ((row, moment) for row in rows))

    def copy(self, target: Path) -> None:
        """Copy it, though somebody may be asking just now.

        Raises:
            StoreError: the copy cannot be written.
        """
        self._database.copy(target)

    def when(self) -> pl.DataFrame:
        """Return when each row was last asked about: see `SCHEMA`, by row.

        Raises:
            StoreError: it cannot be read.
        """
        stored = pl.Schema({"row": pl.UInt64(), "asked_at": pl.Int64()})
        rows = self._database.read("SELECT row, asked_at FROM asked ORDER BY row")
        parts = [pl.DataFrame(schema=stored)]
        while some := list(islice(rows, _AT_ONCE)):
            parts.append(pl.DataFrame(some, schema=stored, orient="row"))
        return pl.concat(parts).cast(SCHEMA)
