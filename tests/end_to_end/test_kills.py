"""Kill -9 at random moments, again and again: nobody twice, nobody lost."""

import random
import time
from collections.abc import Callable

import pytest
from end_to_end.desk import Desk, Site

WORKERS = 8


def _killed_and_resumed(
    desk: Desk, site: Site, *, rows: int, kills: int, batch: int, lots: random.Random
) -> None:
    """Kill a run so often, resume it each time, and compare with the provider."""
    desk.list(rows)
    words = [
        "send",
        "letter.toml",
        "--yes",
        "--json",
        f"--base-url={site.url}",
        f"--set=limits.batch_size={batch}",
        f"--set=limits.workers={WORKERS}",
    ]
    done = 0
    while done < kills:
        seen = site.ask("stats")["requests"]
        process = desk.start(*words)
        while process.poll() is None and site.ask("stats")["requests"] == seen:
            time.sleep(0.005)
        time.sleep(lots.uniform(0.0, 0.4))
        if process.poll() is None:
            process.kill()
            done += 1
        process.communicate()
        if process.returncode != -9:
            break  # it came to its end between two kills
    assert done == kills, "the run ended before it was killed so often"
    ended = desk.run(*words)
    assert ended.code in {0, 4}, ended.err

    results = desk.results()
    accepted = results.filter(status="accepted")["address"].to_list()
    doubted = results.filter(status="in_doubt")["address"].to_list()
    assert results["row"].to_list() == list(range(rows))
    assert len(accepted) + len(doubted) == rows
    assert len(doubted) <= done * WORKERS * batch
    assert site.ask("stats")["twice"] == []
    at_the_server = set(site.accepted())
    assert set(accepted) <= at_the_server <= set(accepted) | set(doubted)
    _verify(desk, site)


def _verify(desk: Desk, site: Site) -> None:
    """`verify` agrees, with the provider's own events in hand."""
    events = desk.folder / "events.jsonl"
    events.write_bytes(site.read("events"))
    verified = desk.run(
        "verify", desk.run_directory(), "--events", events, "--complete", "--json"
    )
    # 0: nothing is in doubt; 4: some rows are, and nothing else is wrong. 70 would
    # say that a row was lost, mailed twice or not expected.
    assert verified.code in {0, 4}, verified.err


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "batch"), [(6_000, 20), (600, 1)])
def test_five_kills_lose_nobody(
    desk: Desk, start_sandbox: Callable[..., Site], rows: int, batch: int
) -> None:
    """The short form, on every change; a message a request leaves with many others."""
    site = start_sandbox(latency=0.05)
    lots = random.Random(20)
    _killed_and_resumed(desk, site, rows=rows, kills=5, batch=batch, lots=lots)


@pytest.mark.long
def test_thirty_kills_over_200_000_rows_lose_nobody(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """The long form: 30 kills at random moments against a slow provider."""
    site = start_sandbox(latency=0.2)
    lots = random.Random(30)
    _killed_and_resumed(desk, site, rows=200_000, kills=30, batch=250, lots=lots)
