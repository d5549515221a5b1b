"""A frame in pieces comes whole, or not at all."""

import threading
from collections.abc import Iterator

import polars as pl
import pytest
from polars.io.plugins import register_io_source

from engine import piecewise

ROWS = pl.DataFrame({"n": range(25_000)}).with_columns(
    text=pl.format("row {}", "n"), pair=pl.struct("n", half=pl.col("n") / 2)
)


@pytest.mark.parametrize("rows", [1_000, 10_000, 25_000, 100_000])
@pytest.mark.parametrize("height", [0, 1, 10_000, 25_000])
def test_every_row_comes_once_and_in_order(height: int, rows: int) -> None:
    """Whatever the pieces, with nothing of what marks the end."""
    frame = ROWS.head(height)
    found = list(piecewise.collect(frame.lazy(), rows))
    assert all(piece.height for piece in found)
    assert frame.equals(pl.concat([ROWS.clear(), *found]))


def test_a_query_keeps_its_sense() -> None:
    """Filters, projections and first rows mean the list, not what ends it."""
    odd = ROWS.lazy().filter(pl.col("n") % 2 == 1).select("text").head(7)
    (piece,) = piecewise.collect(odd, 1000)
    assert piece["text"].to_list() == [f"row {n}" for n in range(1, 15, 2)]


@pytest.mark.parametrize("good", [0, 1, 3])
@pytest.mark.parametrize(
    "fault",
    [
        pl.exceptions.PanicException("index out of bounds"),
        OSError("gone"),
        MemoryError(),
    ],
)
def test_what_breaks_off_is_no_shorter_list(good: int, fault: BaseException) -> None:
    """A thread of polars that panics would else be the end."""

    def supply(*_wanted: object) -> Iterator[pl.DataFrame]:
        for _ in range(good):
            yield ROWS
        raise fault

    frame = register_io_source(supply, schema=ROWS.schema)
    with pytest.raises((pl.exceptions.PolarsError, OSError, MemoryError)):
        list(piecewise.collect(frame, 10_000))


@pytest.mark.parametrize("good", [0, 1, 5])
def test_frames_that_are_made_ahead_are_those_there_are(good: int) -> None:
    """In their order, each once, and then the end or what broke off."""
    frames = [ROWS.slice(n * 10, 10) for n in range(good)]
    assert frames == list(piecewise.ahead(iter(frames)))

    def broken() -> Iterator[pl.DataFrame]:
        yield from frames
        raise pl.exceptions.PanicException("index out of bounds")

    found = piecewise.ahead(broken())
    assert frames == [next(found) for _ in frames]
    with pytest.raises(pl.exceptions.PanicException):
        next(found)


def test_one_frame_is_made_while_the_one_before_it_is_in_use() -> None:
    """One ahead and no more; and none once nobody asks."""
    made: list[int] = []
    asked = [threading.Event() for _ in range(5)]

    def supply() -> Iterator[pl.DataFrame]:
        for n, event in enumerate(asked):
            made.append(n)
            event.set()
            yield ROWS.head(n)

    frames = piecewise.ahead(supply())
    for n in range(3):
        assert next(frames).height == n
        assert asked[n + 1].wait(10)
        assert made == [*range(n + 2)]
    frames.close()  # type: ignore[attr-defined]
    assert made == [0, 1, 2, 3]
