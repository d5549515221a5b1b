"""Files for people: no cell of CSV is a formula, and the others are as they were."""

import csv
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import export
from engine.errors import RunError

_DANGEROUS = [
    "=1+1",
    '=HYPERLINK("http://x.example","x")',
    "+49 30 1234",
    "-1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "=",
]
_HARMLESS = ["", "1", "a=b", " =1", "'=1", "ann@inbox.example", "5 - 1", "\u2212"]


def written(folder: Path, *cells: str | None) -> list[list[str]]:
    """Write a column of CSV and read it as a spreadsheet does."""
    frame = pl.DataFrame({"cell": cells, "n": range(len(cells))}, strict=False)
    export.write(frame.lazy(), folder / "x.csv")
    with (folder / "x.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("cell", _DANGEROUS)
def test_what_a_spreadsheet_would_run_is_text(tmp_path: Path, cell: str) -> None:
    """An apostrophe stands before it."""
    assert written(tmp_path, cell) == [["cell", "n"], [f"'{cell}", "0"]]


@pytest.mark.parametrize("cell", _HARMLESS)
def test_any_other_cell_is_as_it_was(tmp_path: Path, cell: str) -> None:
    """Also what begins with an apostrophe of its own."""
    assert written(tmp_path, cell) == [["cell", "n"], [cell, "0"]]


def test_numbers_may_be_below_zero(tmp_path: Path) -> None:
    """They are no texts: a spreadsheet may compute with them."""
    frame = pl.LazyFrame({"n": [-1, None], "x": [-0.5, 1.0]})
    export.write(frame, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "n,x\n-1,-0.5\n,1.0\n"


@pytest.mark.parametrize("end", [".parquet", ".ndjson"])
def test_other_formats_are_raw(tmp_path: Path, end: str) -> None:
    """They are read by programs."""
    frame = pl.DataFrame({"cell": [*_DANGEROUS, *_HARMLESS, None]})
    export.write(frame.lazy(), tmp_path / f"x{end}")
    read = pl.read_parquet if end == ".parquet" else pl.read_ndjson
    assert read(tmp_path / f"x{end}").equals(frame)
    assert (tmp_path / f"x{end}").stat().st_mode & 0o077 == 0


@given(st.lists(st.none() | st.text("=+-@'\t\r\na\uff1d", max_size=4), min_size=1))
def test_the_apostrophe_can_be_taken_off(cells: list[str | None]) -> None:
    """Who reads a file of ours again has what was written."""
    frame = pl.DataFrame({"cell": cells}, schema={"cell": pl.String})
    safe = export.guarded(frame.lazy()).collect()
    firsts = safe["cell"].drop_nulls().str.slice(0, 1).to_list()
    assert not set(firsts) & set("=+-@\t\r\n\uff1d")
    again = safe.select(export.unguarded(pl.col("cell"))).to_series()
    for cell, back in zip(cells, again, strict=True):
        own = (
            cell is not None
            and cell[:1] == "'"
            and cell[1:2] in set("=+-@\t\r\n\uff1d") - {""}
        )
        assert own or back == cell


@pytest.mark.parametrize("name", ["x.xlsx", "x", "x.csv.gz"])
def test_a_name_that_says_no_format_is_refused(tmp_path: Path, name: str) -> None:
    """And what would do is named."""
    with pytest.raises(RunError) as refused:
        export.write(pl.LazyFrame({"a": [1]}), tmp_path / name)
    assert ".csv" in str(refused.value)
    assert ".parquet" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_is_made_of_is_not_written_over(tmp_path: Path) -> None:
    """Not even under another name."""
    (kept := tmp_path / "results.parquet").write_bytes(b"precious")
    (tmp_path / "link.parquet").symlink_to(kept)
    with pytest.raises(RunError):
        export.write(pl.LazyFrame({"a": [1]}), tmp_path / "link.parquet", never=[kept])
    assert kept.read_bytes() == b"precious"
