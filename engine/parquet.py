"""One Parquet file out of many frames, in memory for one of them at a time.

polars writes a whole frame or the result of a query; a query over a long list holds
more of it the longer it is. Frames that come from a generator are written as they come.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

#: Rows of one group of a file: 65 536 rows of 200 bytes are 13 MB in memory.
GROUP = 1 << 16
#: Of zstd. The default, 3, takes a third more time, and makes ids the larger.
_LEVEL = 1


def write(
    path: Path,
    frames: Iterator[pl.DataFrame],
    schema: pl.Schema,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write frames one after the other, to a file that only its owner may read.

    Args:
        path: the file.
        frames: each of the given schema, of about `GROUP` rows.
        schema: names and types of the columns.
        metadata: facts to store with the file.

    Raises:
        Exception: whatever `frames` raises, as it is; else polars' own errors.
    """
    raised: list[BaseException] = []

    def supply(*_wanted: object) -> Iterator[pl.DataFrame]:
        try:
            yield from frames
        except BaseException as error:
            raised.append(error)  # polars would wrap it, or take a panic for the end
            raise

    path.touch(mode=0o600)  # polars keeps the mode of a file that is there
    source = register_io_source(supply, schema=schema)
    try:
        source.sink_parquet(
            path,
            row_group_size=GROUP,
            compression_level=_LEVEL,
            metadata=None if metadata is None else dict(metadata),
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        if not raised:
            raise
    if raised:
        raise raised[0] from None


def rows(path: Path) -> int:
    """Return how many rows a file has."""
    count: int = pl.scan_parquet(path).select(pl.len()).collect().item()
    return count


def groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """Read a file in pieces of `GROUP` rows, in order; some columns or all."""
    scan = pl.scan_parquet(path)
    wanted = scan if columns is None else scan.select(columns)
    for start in range(0, rows(path), GROUP):
        yield wanted.slice(start, GROUP).collect()
