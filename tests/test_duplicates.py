"""Claims about `engine.duplicates`: who only looks like a duplicate is none."""

from pathlib import Path

import polars as pl
import pytest

from engine.duplicates import Duplicates
from engine.spool import Spool

GOOD = pl.lit(value=True)


def find(folder: Path, groups: list[pl.DataFrame], key: str = "mail") -> pl.DataFrame:
    """Go through groups of a list and return its duplicates."""
    folder.mkdir()
    spool, duplicates = Spool(folder), Duplicates("mail", key)
    for group in groups:
        spool.add(group)
        duplicates.add(group, GOOD)
    return duplicates.found(spool)


@pytest.fixture(scope="module")
def alike() -> tuple[str, str]:
    """Return two addresses of one 32-bit hash, as polars hashes in this process.

    Among so many the odds that no two meet are one to ten thousand million.
    """
    many = pl.select(mail=pl.format("{}@x.example", pl.int_range(450_000)))
    short = pl.col("mail").hash().cast(pl.UInt32, wrap_numerical=True)
    pairs = many.filter(short.is_duplicated()).sort(short)
    first, second = pairs["mail"].head(2)
    return first, second


@pytest.mark.parametrize("apart", [False, True])
def test_a_collision_makes_nobody_a_duplicate(
    tmp_path: Path, alike: tuple[str, str], *, apart: bool
) -> None:
    """Different addresses of the same hash are both mailed, and found when repeated."""
    rows = [*alike, alike[1]]
    cuts = [[mail] for mail in rows] if apart else [rows]
    found = find(tmp_path / "spool", [pl.DataFrame({"mail": some}) for some in cuts])
    assert found.rows() == [(2, 1, "address")]


def test_an_address_is_no_key(tmp_path: Path) -> None:
    """A key that reads like the address of an earlier row is another's all the same."""
    group = pl.DataFrame({"mail": ["a", "b", "c"], "own": ["b", "a", "b"]})
    found = find(tmp_path / "spool", [group], key="own")
    assert found.rows() == [(2, 0, "key")]


def test_every_frame_is_read_a_last_time_and_gone(tmp_path: Path) -> None:
    """What was set aside comes back as it was, in order, and leaves no file."""
    spool = Spool(tmp_path)
    frames = [pl.DataFrame({"n": [n, None], "data": [{"x": [n]}] * 2}) for n in (1, 2)]
    for frame in frames:
        spool.add(frame)
    taken = list(spool.take())
    assert all(a.equals(b) for a, b in zip(taken, frames, strict=True))
    assert list(tmp_path.iterdir()) == []
