"""Results: what the journal knows, laid beside the list, as one Parquet file."""

from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.stages.journal import write_journal
from benchmarks.stages.material import draw_plan
from engine import results
from engine.journal import Journal

#: Rows above which a list of dicts is not tried: it takes a kilobyte a row.
MOST = 1_000_000


def contestants(rows: int, folder: Path, _: str) -> dict[str, Callable[[], object]]:
    """Return ours, writing columns that are there already, and dicts to columns."""
    plan = draw_plan(rows, folder)
    path = folder / "journal" / "journal.db"
    path.parent.mkdir(mode=0o700)
    write_journal(path, rows, 1000)
    written, copy = folder / "results.parquet", folder / "copy.parquet"

    def ours() -> None:
        with Journal.open(path) as journal:
            results.write(
                written,
                plan.directory.recipients,
                journal.batches(),
                journal.row_outcomes(),
                results.Header.of(plan.manifest),
            )

    ours()
    found: dict[str, Callable[[], object]] = {
        "mailvolley": ours,
        "the ceiling: a copy by polars": lambda: pl.scan_parquet(written).sink_parquet(
            copy
        ),
    }
    if rows <= MOST:
        dicts = pl.read_parquet(written).to_dicts()
        found["a list of dicts"] = lambda: pl.DataFrame(
            dicts, schema=results.COLUMNS
        ).write_parquet(copy)
    return found
