"""`mailvolley export`, and what else writes CSV."""

import csv
from pathlib import Path

import polars as pl
import pytest
from end_to_end.desk import Desk, Site


def read(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as a spreadsheet does."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_results_go_into_a_spreadsheet_and_run_nothing(
    desk: Desk, sandbox: Site
) -> None:
    """By status or all; the same rows in each format; keys are formulas in none."""
    desk.list(4, row1="reject1@inbox.example", row2="=cmd|calc!a@inbox.example")
    definition = desk.campaign.read_text().replace('key = "id"\n', "")
    desk.campaign.write_text(definition)
    assert desk.send(sandbox.url).code == 1
    run = desk.run_directory()

    told = desk.run("export", run, "--out", "all.csv", "--json")
    assert told.code == 0, told.err
    assert (told.json["rows"], told.json["status"]) == (4, "exported")
    assert "formula" in told.err
    rows = read(desk.folder / "all.csv")
    assert list(rows[0]) == desk.results().columns
    assert rows[2]["address"] == "'=cmd|calc!a@inbox.example"
    assert rows[2]["key"].startswith("'=")
    assert rows[0]["address"] == "reader0@inbox.example"

    some = ("--status", "rejected,failed")
    assert desk.run("export", run, "--out", "some.csv", *some).code == 0
    assert [row["row"] for row in read(desk.folder / "some.csv")] == ["1"]
    assert desk.run("export", run, "--out", "all.parquet").code == 0
    assert pl.read_parquet(desk.folder / "all.parquet").equals(desk.results())

    assert desk.run("events", "show", run, "--out", "last.csv").code == 0
    assert read(desk.folder / "last.csv")[2]["address"].startswith("'=cmd")


@pytest.mark.slow
def test_what_cannot_be_written_is_refused(desk: Desk, sandbox: Site) -> None:
    """No such run, no such status, no such format, and never a file of the run."""
    assert desk.send(sandbox.url).code == 0
    run = desk.run_directory()
    assert desk.run("export", desk.runs, "--out", "x.csv").code == 2
    assert desk.run("export", run, "--out", "x.csv", "--status", "lost").code == 2
    assert desk.run("export", run, "--out", "x.xlsx").code == 2
    before = desk.results()
    assert desk.run("export", run, "--out", run / "results.parquet").code == 2
    assert desk.results().equals(before)
    assert not list(desk.folder.glob("x.*"))


def test_suppressions_go_out_safe_and_come_in_as_they_were(desk: Desk) -> None:
    """An address may begin with a plus; the apostrophe is taken off again."""
    given = ("+49@inbox.example", "'x@inbox.example")
    desk.run("suppress", "add", *given, "--runs-dir", desk.runs)
    assert desk.run("suppress", "export", "no.csv").code == 0
    addresses = {row["address"] for row in read(desk.folder / "no.csv")}
    assert addresses == {"'+49@inbox.example", "'x@inbox.example"}
    told = desk.run("suppress", "import", "no.csv", "--runs-dir", "there")
    assert told.code == 0, told.err
    kept = desk.run("suppress", "list", "--json", "--runs-dir", "there").json
    assert {entry["address"] for entry in kept["entries"]} == {
        "+49@inbox.example",
        "'x@inbox.example",
    }


@pytest.mark.slow
def test_damaged_results_are_named_with_what_to_do(desk: Desk, sandbox: Site) -> None:
    """They can be made anew from the journal; no half of a file is left."""
    desk.list(4)
    assert desk.send(sandbox.url).code == 0
    results = desk.run_directory() / "results.parquet"
    whole = results.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1  # a value among the rows: the file reads well
    for damaged in (whole[:500], bytes(flipped)):
        results.write_bytes(damaged)
        told = desk.run("export", desk.run_directory(), "--out", "all.csv")
        assert told.code == 2
        assert "results.parquet: is damaged" in told.err
        assert "mailvolley reconcile" in told.err
        assert not (desk.folder / "all.csv").exists()
    run = desk.run_directory()
    assert desk.run("reconcile", run, "--events", "/dev/null").code == 0
    assert desk.run("export", run, "--out", "all.csv").code == 0
