"""Parquet and Arrow IPC: read piece by piece, with little read ahead.

Left to itself, polars reads further than anybody has asked for: a hundred megabytes of
a list of a million rows, half as much again of ten million. Even of what it is given it
takes some thirty frames before the first is used, so each is a slice of a piece.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import polars as pl
from polars.io.plugins import register_io_source

from engine.parquet import GROUP
from engine.recipients.files import (
    Part,
    changed,
    narrowed,
    refuse_names,
    state_of,
)

#: Rows of a slice.
_SLICE: Final = GROUP // 8


def read(path: Path, kind: str) -> Part:
    """Scan a file of either format, which it knows for itself.

    Raises:
        RecipientsError: a column has no name, or there are none.
    """
    scanner = pl.scan_parquet if kind == "Parquet" else pl.scan_ipc
    scan = scanner(path, glob=False, hive_partitioning=False)
    state = state_of(path)
    schema = scan.collect_schema()
    refuse_names(schema.names(), str(path))
    height: int = scan.select(pl.len()).collect().item()

    def pieces(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        rows: int | None,
        _size: int | None,
    ) -> Iterator[pl.DataFrame]:
        # A predicate may look at columns that are not wanted.
        wanted = (
            scan if columns is None or predicate is not None else scan.select(columns)
        )
        end = height if rows is None else min(rows, height)
        for start in range(0, end, GROUP):
            rows_here = min(GROUP, end - start)
            try:
                piece = wanted.slice(start, rows_here).collect()
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as err:
                if state_of(path) != state:
                    raise changed(path) from None
                if isinstance(err, pl.exceptions.PolarsError):
                    raise
                # Its text is about the insides of polars, and is on stderr already.
                raise pl.exceptions.ComputeError("polars broke over it") from None
            # Each piece opens the file anew: it must be the same one.
            if state_of(path) != state or piece.height != rows_here:
                raise changed(path)
            yield from narrowed(piece, columns, predicate).iter_slices(_SLICE)

    return Part(path, register_io_source(pieces, schema=schema), height)
