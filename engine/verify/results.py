"""The results file: one row per input row, in order, and what the journal says?

A run that was killed leaves a results file of an earlier stop. Where such a file says
that a row is pending or in doubt, the journal may have moved on: that is no damage, and
counted apart. Nothing moves from any other status.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import polars as pl

from engine.outcome import Status
from engine.results import COLUMNS, Header
from engine.verify.check import EXAMPLES, Check
from engine.verify.files import rows_in_order

_OPEN: Final = (Status.PENDING.value, Status.IN_DOUBT.value)
#: What a row is, whatever becomes of it.
_IDENTITY: Final = ("key", "address", "message_id", "provider")
_REST: Final = tuple(name for name in COLUMNS if name not in {"row", *_IDENTITY})
_OF_FILE: Final = "_of_file"
#: What a damaged file raises: at its opening, or not before a row of it is read.
_UNREADABLE: Final = (pl.exceptions.PolarsError, OSError)


class ResultsFile:
    """A results file, held against what it should be, piece by piece.

    Attributes:
        outdated: rows of which the journal knows more by now.
    """

    def __init__(self, path: Path, check: Check) -> None:
        self.outdated = 0
        self._path = path
        self._check = check
        self._scan: pl.LazyFrame | None = None

    def open(self, header: Header, rows: int) -> None:
        """Check the file as a whole."""
        try:
            scan = pl.scan_parquet(self._path)
            schema = dict(scan.collect_schema())
            metadata = pl.read_parquet_metadata(self._path)
            found, ordered = rows_in_order(scan)
        except _UNREADABLE as error:
            self._unreadable(error)
            return
        if schema != COLUMNS:
            self._check.fault(f"{self._path}: has other columns than results have")
            return
        named = {name: metadata.get(name) for name in ("campaign", "run", "manifest")}
        if named != {name: getattr(header, name) for name in named}:
            self._check.fault(f"{self._path}: is of another run")
        if found != rows:
            self._check.fault(f"{self._path}: {found:,} rows for {rows:,} input rows")
        elif not ordered:
            self._check.fault(f"{self._path}: not in input order")
        self._check.told = f"{found:,} rows"
        self._scan = scan

    def compare(self, expected: pl.DataFrame) -> None:
        """Hold the next rows against what they should be, in input order."""
        if self._scan is None or not expected.height:
            return
        first, last = expected["row"][0], expected["row"][-1]
        try:
            found = self._scan.filter(pl.col("row").is_between(first, last)).collect()
        except _UNREADABLE as error:
            self._unreadable(error)
            self._scan = None  # told once, and not of every piece
            return
        joined = expected.join(found, on="row", how="left", suffix=_OF_FILE)
        judged = joined.with_columns(
            missing=pl.col(f"status{_OF_FILE}").is_null(),
            open=pl.col(f"status{_OF_FILE}").is_in(_OPEN),
            other=_differs(_IDENTITY),
            changed=_differs(_REST),
        )
        wrong = (
            pl.col("missing") | pl.col("other") | (pl.col("changed") & ~pl.col("open"))
        )
        self.outdated += judged.filter(pl.col("changed") & ~wrong).height
        faulty = judged.filter(wrong)
        for row in faulty.head(EXAMPLES).iter_rows(named=True):
            self._check.fault(_sentence(row))
        self._check.wrong += max(0, faulty.height - EXAMPLES)

    def _unreadable(self, error: Exception) -> None:
        self._check.fault(f"{self._path}: cannot be read: {error}")


def _differs(names: Iterable[str]) -> pl.Expr:
    return pl.any_horizontal(
        pl.col(name).ne_missing(pl.col(f"{name}{_OF_FILE}")) for name in names
    )


def _sentence(row: Mapping[str, object]) -> str:
    """Say what is wrong with a row, by the first column that differs."""
    if row["missing"]:
        return f"row {row['row']} is not there"
    name = next(n for n in (*_IDENTITY, *_REST) if row[n] != row[f"{n}{_OF_FILE}"])
    told, known = row[f"{name}{_OF_FILE}"], row[name]
    return f"row {row['row']} has {name} {told}, and by the journal it is {known}"
