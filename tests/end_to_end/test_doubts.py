"""Rows in doubt found in part: who is sent again, tried again, or left alone."""

import json
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from end_to_end.desk import Desk, Site


def events_of(desk: Desk, site: Site) -> dict[str, list[dict[str, object]]]:
    """Return what the webhooks of a sandbox would have posted, by address."""
    with urllib.request.urlopen(f"{site.root}/_sandbox/events") as answer:
        posts = [json.loads(line) for line in answer.read().splitlines()]
    found: dict[str, list[dict[str, object]]] = {}
    for post in posts:
        found.setdefault(str(post["recipient"]), []).append(post)
    return found


def write(desk: Desk, posts: list[dict[str, object]]) -> Path:
    """Write posts to a file, a line each."""
    path = desk.folder / "events.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in posts))
    return path


def twice(site: Site) -> list[str]:
    """Return whom a sandbox has taken a message for more than once, sorted."""
    counts = Counter(site.accepted())
    return sorted(address for address, count in counts.items() if count > 1)


@pytest.fixture
def doubtful(desk: Desk, start_sandbox: Callable[..., Site]) -> tuple[Site, list[str]]:
    """Send to a provider that loses some answers. Returns it, and who is in doubt."""
    site = start_sandbox(close_after_every=4)
    assert desk.send(site.url).code == 4
    site.fault()
    rows = desk.results().filter(status="in_doubt")["address"].to_list()
    assert 20 == len(rows)
    return site, rows


def test_those_alone_are_sent_again_of_whom_nothing_is_known(
    desk: Desk, doubtful: tuple[Site, list[str]]
) -> None:
    """Each batch in doubt was found in part: the found keep what was found."""
    site, rows = doubtful
    run, posts = desk.run_directory(), events_of(desk, site)
    found = rows[::3]
    file = write(desk, [post for row in found for post in posts[row]])
    assert desk.run("reconcile", run, "--events", file).code == 4
    before = desk.results().filter(reason="reconciled")
    assert found == before["address"].to_list()

    again = desk.run("resume", run, "--in-doubt", "resend", "--yes", "--json")
    assert again.code == 0
    assert {"accepted": 100} == {k: n for k, n in again.json["counts"].items() if n}
    assert before.equals(desk.results().filter(reason="reconciled"))
    assert sorted(set(rows) - set(found)) == twice(site)

    told = desk.run("status", run, "--json").json
    assert ("finished", 100) == (told["status"], told["counts"]["accepted"])
    assert 0 == desk.run("verify", run).code
    nothing_left = desk.run("resume", run, "--in-doubt", "resend", "--yes")
    assert 0 == nothing_left.code
    assert 120 - len(found) == len(site.accepted())


def test_who_was_found_refused_is_tried_again_and_nobody_else(
    desk: Desk, doubtful: tuple[Site, list[str]]
) -> None:
    """Though others of the same batch are still in doubt; these can be sent again."""
    site, rows = doubtful
    run, posts = desk.run_directory(), events_of(desk, site)
    refused, known = rows[::4], rows[1::4]
    told = [post | {"event": "failed"} for row in refused for post in posts[row]]
    file = write(desk, [*told, *(post for row in known for post in posts[row])])
    settled = desk.run("reconcile", run, "--events", file, "--json").json["settled"]
    assert {"accepted": 5, "rejected": 5} == settled

    retried = desk.run("retry", run, "--yes", "--json")
    assert retried.code == 0
    child = pl.read_parquet(retried.json["results"])
    assert dict.fromkeys(refused, "accepted") == dict(
        child.select("address", "status").iter_rows()
    )
    once_more = desk.run("retry", run, "--yes", "--json").json["counts"]
    assert (0, 5) == (once_more["accepted"], once_more["duplicate"])

    again = desk.run("resume", run, "--in-doubt", "resend", "--yes", "--json")
    assert (95, 5) == tuple(again.json["counts"][k] for k in ("accepted", "rejected"))
    unknown = set(rows) - set(refused) - set(known)
    # The sandbox had taken those who were told as refused here.
    assert sorted({*refused, *unknown}) == twice(site)


def test_status_counts_what_was_found_once(
    desk: Desk, doubtful: tuple[Site, list[str]]
) -> None:
    """While its batch is in doubt, and when that is settled: as the results do."""
    site, rows = doubtful
    run, posts = desk.run_directory(), events_of(desk, site)
    for known in (rows[:3], rows[:13], rows):
        file = write(desk, [post for row in known for post in posts[row]])
        desk.run("reconcile", run, "--events", file)
        counts = desk.run("status", run, "--json").json["counts"]
        told = dict(desk.results()["status"].value_counts().iter_rows())
        assert told == {status: count for status, count in counts.items() if count}
