"""Send, then ask the sandbox what became of it: over sockets, with real processes."""

import json
import signal
import sqlite3
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from end_to_end.desk import Desk, Site

from engine.report import deliveries
from engine.rundir import RunDirectory
from engine.suppression import Suppressions

PROVIDERS = {
    "cloudmails": ("cloudmails/v1", ""),
    "cloudmailin": ("cloudmailin/api/v0.1", 'username = "0123456789abcdef"'),
    "mailerlogic": ("mailerlogic", ""),
}
FAST = ("--requests-per-second", "1000")


def hasten(site: Site) -> None:
    """Let all that becomes of messages have happened at once."""
    request = urllib.request.Request(
        f"{site.root}/_sandbox/webhook", data=json.dumps({"pace": 0}).encode()
    )
    urllib.request.urlopen(request).close()


def asked(run: Path) -> int:
    """Count the rows of which it is written down that they were asked about."""
    path = run / "asked.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            ((number,),) = db.execute("SELECT count(*) FROM asked")
        except sqlite3.OperationalError:  # it is being made just now
            return 0
    return int(number)


def events(run: Path) -> pl.DataFrame:
    """Return the events that are laid beside the results."""
    return pl.read_parquet(run / "events.parquet")


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVIDERS)
def test_what_became_of_a_run_is_known_after_asking(
    desk: Desk, sandbox: Site, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Deliveries have the last word of each row, and who bounced is suppressed."""
    monkeypatch.setenv("CLOUDMAILIN_API_TOKEN", "api-token")
    monkeypatch.setenv("CLOUDMAILIN_ACCOUNT_ID", "fedcba9876543210")
    prefix, more = PROVIDERS[name]
    definition = desk.campaign.read_text().replace("cloudmails", name)
    definition = definition.replace("[limits]", f"{more}\n\n[limits]")
    desk.campaign.write_text(definition)
    desk.list(30, row5="bounce@inbox.example", row7="open@inbox.example")
    hasten(sandbox)
    sent = desk.send(f"{sandbox.root}/{prefix}")
    assert sent.code == 0, sent.err
    run, before = desk.run_directory(), desk.results()

    told = desk.run("track", run, *FAST, "--json")
    assert told.code == 0, told.err
    assert told.json["status"] == "tracked"
    assert told.json["asked"] == told.json["answered"] == told.json["due"] == 30
    assert told.json["by_type"]["delivered"] == 29
    assert told.json["by_type"]["bounced"] == 1
    assert told.json["suppressed"] == 1
    assert sum(told.json["by_type"].values()) == told.json["events"]["new"]

    rows = deliveries(RunDirectory(run)).collect()
    assert rows.select(before.columns).equals(before)
    assert rows["event"][5] == "bounced"
    assert (rows["event"][7], rows["opens"][7]) == ("opened", 1)
    rest = rows.filter(~pl.col("row").is_in([5, 7]))
    assert set(rest["event"]) == {"delivered"}
    assert rest["delivered_at"].null_count() == 0
    with Suppressions.open(desk.runs) as suppressions:
        assert suppressions.all()["address"].to_list() == ["bounce@inbox.example"]

    again = desk.run("track", run, *FAST, "--opens", "--fresh", "0", "--json")
    assert again.code == 0, again.err
    assert (again.json["asked"], again.json["events"]["new"]) == (29, 0)
    assert desk.run("track", run, *FAST, "--json").json["due"] == 0


@pytest.mark.slow
def test_a_killed_track_goes_on_where_it_was(desk: Desk, sandbox: Site) -> None:
    """Nothing is lost or kept twice, and what was asked is not asked again."""
    desk.list(120, row3="bounce@inbox.example")
    hasten(sandbox)
    assert desk.send(sandbox.url).code == 0
    run = desk.run_directory()
    killed = 0
    for _ in range(2):
        process = desk.start("track", run, "--requests-per-second", "25")
        before = asked(run)
        while process.poll() is None and asked(run) == before:
            time.sleep(0.01)
        if process.poll() is None:
            process.kill()
            killed += 1
        process.communicate()
    assert killed == 2
    known = asked(run)
    assert 0 < known < 120

    ended = desk.run("track", run, *FAST, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["due"] <= 120 - known
    laid_out = events(run)
    assert sorted(laid_out["row"]) == list(range(120))
    assert asked(run) == 120
    assert laid_out.filter(event="bounced")["row"].to_list() == [3]
    # Asked twice are at most those whose answers were under way or not yet kept.
    lookups = sandbox.ask("stats")["answers"]["200"] - sandbox.ask("stats")["requests"]
    assert 120 <= lookups < 240


@pytest.mark.slow
def test_an_interrupted_track_keeps_what_was_answered(
    desk: Desk, sandbox: Site
) -> None:
    """Exit 3, with the command that goes on."""
    desk.list(60)
    hasten(sandbox)
    assert desk.send(sandbox.url).code == 0
    run = desk.run_directory()
    process = desk.start("track", run, "--requests-per-second", "10", "--json")
    while process.poll() is None and asked(run) == 0:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    told = json.loads(out)
    assert process.returncode == 3, err
    assert told["status"] == "stopped"
    assert 0 < told["answered"] < 60
    assert told["answered"] == events(run).height == asked(run)
    assert "track" in err.splitlines()[-1]
    assert "--requests-per-second 10" in err.splitlines()[-1]

    ended = desk.run("track", run, *FAST, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["asked"] == 60 - told["answered"]
    assert events(run).height == 60


@pytest.mark.slow
def test_a_provider_that_is_gone_is_told_and_nothing_is_lost(
    desk: Desk, sandbox: Site
) -> None:
    """A sandbox that has forgotten everything: every message is unknown there."""
    desk.list(10)
    assert desk.send(sandbox.url).code == 0
    reset = urllib.request.Request(f"{sandbox.root}/_sandbox/reset", data=b"")
    urllib.request.urlopen(reset).close()
    ended = desk.run("track", desk.run_directory(), *FAST, "--json")
    assert ended.code == 1
    assert ended.json["unknown"] == 10
    assert "10 messages are not known" in ended.err
