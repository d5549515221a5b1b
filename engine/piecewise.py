"""A long frame piece by piece: to its end, or with an error.

polars alone takes one of its threads that broke for the end: of a list of 75,000 rows,
the last file damaged, it gave 65,536 and no word. So `collect` puts a row behind the
last one; where it has come, all others have. And `ahead` has a piece made while the one
before it is in use.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import polars as pl

_END: Final = "\0end"  # a name that no list gives a column


def collect(frame: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Collect a frame in pieces, each of one chunk.

    Args:
        frame: in its order.
        rows: of a piece, about.

    Raises:
        polars.exceptions.PolarsError: it cannot be read to its end.
    """
    schema = frame.collect_schema()
    end = {**{name: [None] for name in schema}, _END: [True]}
    last = pl.LazyFrame(end, schema={**schema, _END: pl.Boolean()})
    whole = pl.concat([frame.with_columns(pl.lit(value=False).alias(_END)), last])
    ended = False
    for batch in whole.collect_batches(chunk_size=rows, lazy=True):
        if not batch.height:
            continue
        ended = batch[_END][-1]
        piece = batch.drop(_END).head(batch.height - ended).rechunk()
        if piece.height:
            yield piece
    if not ended:
        raise pl.exceptions.ComputeError("it breaks off before its end")


def ahead(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Have each frame made in a thread while the one before it is in use.

    Raises:
        Exception: what making one raises, after those before it.
    """
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, frames, None)
        while (frame := coming.result()) is not None:
            coming = maker.submit(next, frames, None)
            yield frame
