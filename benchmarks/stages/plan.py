"""Planning: every row checked, duplicates found, ids given, the list frozen."""

import itertools
import uuid
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.measure import CAMPAIGN
from benchmarks.recipients import write_recipients
from engine import api, planning
from engine.rundir import RunDirectory

ADDRESS = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"


def contestants(rows: int, folder: Path, _: str) -> dict[str, Callable[[], object]]:
    """Return ours, a bare copy of the list, and what one would write."""
    path, copy = folder / "list.parquet", folder / "copy.parquet"
    write_recipients(rows, path)
    campaign = api.load(CAMPAIGN, needs_list=False)
    runs = itertools.count()

    def ours() -> None:
        run = folder / f"run-{next(runs)}"
        run.mkdir()
        planning.draw_up(campaign, path, RunDirectory(run))

    def by_hand() -> None:
        frame = pl.read_parquet(path)
        good = frame.filter(pl.col("email").str.contains(ADDRESS))
        once = good.unique("email", keep="first", maintain_order=True)
        ids = [str(uuid.uuid4()) for _ in range(once.height)]
        once.with_columns(message_id=pl.Series(ids)).write_parquet(copy)

    return {
        "mailvolley": ours,
        "the ceiling: a copy by polars": lambda: pl.scan_parquet(path).sink_parquet(
            copy
        ),
        "polars and uuid4 by hand": by_hand,
    }
