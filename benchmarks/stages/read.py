"""Reading a list: declared types, everything else text, in pieces."""

import csv
from collections.abc import Callable
from pathlib import Path

import polars as pl

from benchmarks.recipients import write_recipients
from engine import parquet, recipients


def contestants(rows: int, folder: Path, _: str) -> dict[str, Callable[[], object]]:
    """Return ours, polars alone, and the standard library."""
    path = folder / "list.csv"
    write_recipients(rows, path)

    def ours() -> int:
        frame = recipients.load(path, types={"points": "integer"})
        pieces = frame.collect_batches(chunk_size=parquet.GROUP, lazy=True)
        return sum(piece.height for piece in pieces)

    def by_hand() -> int:
        with path.open(newline="", encoding="utf-8") as file:
            return len([{**row} for row in csv.DictReader(file)])

    return {
        "mailvolley": ours,
        "the ceiling: polars.read_csv": lambda: pl.read_csv(path),
        "csv.DictReader": by_hand,
    }
