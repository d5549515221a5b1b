"""Rows that somebody asks for: by position, by id, or the worst of all."""

from dataclasses import dataclass

import polars as pl

from engine.errors import CampaignError
from engine.planning import Plan


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks to see.

    Attributes:
        rows: 0-based input positions.
        keys: the recipients' own ids, or addresses.
        worst: the worst of all rows; then all are rendered.
    """

    rows: tuple[int, ...] = ()
    keys: tuple[str, ...] = ()
    worst: bool = False


def find(plan: Plan, wanted: Wanted) -> list[int]:
    """Return the rows that are asked for by position or key, each once.

    Raises:
        CampaignError: one of them is not on the list.
    """
    last = plan.manifest.rows - 1
    problems = [
        f"--row {row}: the list has rows 0 to {last:,}"
        for row in wanted.rows
        if row > last
    ]
    found = [row for row in wanted.rows if row <= last]
    if wanted.keys:
        is_it = pl.col("key").is_in(wanted.keys) | pl.col("address").is_in(wanted.keys)
        scan = pl.scan_parquet(plan.directory.recipients)
        known = scan.filter(is_it).select("row", "key", "address").collect()
        for key in wanted.keys:
            same = known.filter((pl.col("key") == key) | (pl.col("address") == key))
            if same.height:
                found.append(same["row"][0])
            else:
                problems.append(f"--key {key}: nobody on the list has it")
    if problems:
        raise CampaignError(*problems)
    return list(dict.fromkeys(found))


def read(plan: Plan, rows: list[int]) -> pl.DataFrame:
    """Read rows of the frozen list, in the order in which they are wanted."""
    order = pl.LazyFrame({"row": rows}, schema={"row": pl.UInt64})
    scan = pl.scan_parquet(plan.directory.recipients)
    return order.join(scan, on="row", how="left", maintain_order="left").collect()
