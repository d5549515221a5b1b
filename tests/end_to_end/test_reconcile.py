"""Send into faults, reconcile with the provider's own events, and verify the whole."""

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from end_to_end.desk import Desk, Site


def fetch(desk: Desk, site: Site) -> Path:
    """Save what the webhooks of a sandbox would have posted."""
    path = desk.folder / "events.jsonl"
    with urllib.request.urlopen(f"{site.root}/_sandbox/events") as answer:
        path.write_bytes(answer.read())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["close_after_every", "truncate_every"])
def test_every_lost_answer_is_found_in_the_events(
    desk: Desk, start_sandbox: Callable[..., Site], fault: str
) -> None:
    """Accepted and unanswered: in doubt, recovered, settled; nobody is mailed twice."""
    site = start_sandbox(**{fault: 3})
    desk.list(
        160, row5="bounce@inbox.example", row7="nobody", row90="bounce2@x.example"
    )
    assert desk.send(site.url).code == 4
    run, events = desk.run_directory(), fetch(desk, site)
    doubtful = desk.results().filter(status="in_doubt")["row"].to_list()
    assert doubtful

    before = desk.run("verify", run, "--events", events, "--complete", "--json")
    assert before.code == 4
    assert before.json["audit"]["recovered"]["count"] == len(doubtful)
    assert before.json["audit"]["lost"]["count"] == 0

    told = desk.run("reconcile", run, "--events", events, "--json")
    assert told.code == 0
    assert told.json["settled"] == {"accepted": len(doubtful), "rejected": 0}
    assert told.json["counts"]["in_doubt"] == 0
    results = desk.results()
    found = results.filter(reason="reconciled")
    assert found["row"].to_list() == doubtful
    given = {
        m["to"]: m["message_id"] for m in site.ask("messages?limit=999")["messages"]
    }
    accepted = results.filter(status="accepted")
    assert dict(accepted.select("address", "provider_id").iter_rows()) == given

    after = desk.run("verify", run, "--events", events, "--complete", "--json")
    assert after.code == 0
    assert after.json["status"] == "verified"
    assert after.json["audit"]["recovered"]["count"] == 0
    assert site.ask("stats")["twice"] == []


@pytest.mark.slow
def test_what_was_truly_not_accepted_stays_in_doubt_and_can_be_sent_again(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """A 500 says nothing: the events tell those it took from those it did not."""
    site = start_sandbox(close_after_every=3, error_before_every=5)
    desk.list(160)
    assert desk.send(site.url).code == 4
    run, events = desk.run_directory(), fetch(desk, site)

    told = desk.run("reconcile", run, "--events", events, "--json")
    assert told.code == 4
    left = desk.results().filter(status="in_doubt")["address"].to_list()
    assert set(left).isdisjoint(site.accepted())
    assert len(left) == told.json["counts"]["in_doubt"] > 0

    verified = desk.run("verify", run, "--events", events, "--complete", "--json")
    assert verified.code == 4
    assert verified.json["audit"]["unheard"] == len(left)
    assert "resume" in verified.err
    assert "resend" in verified.err

    site.fault()
    again = desk.run("resume", run, "--in-doubt", "resend", "--yes", "--json")
    assert again.code == 0
    assert again.json["counts"]["accepted"] == 160
    final = desk.run("verify", run, "--events", fetch(desk, site), "--complete")
    assert final.code == 0
    assert site.ask("stats")["twice"] == []


@pytest.mark.slow
def test_verify_finds_a_message_that_was_sent_twice(desk: Desk, sandbox: Site) -> None:
    """The provider's events of somebody who posts a batch again, behind our back."""
    desk.list(20)
    desk.send(sandbox.url)
    run, events = desk.run_directory(), fetch(desk, sandbox)
    lines = events.read_text().splitlines()
    twice = lines[3].replace("msg_", "msg_again_")
    events.write_text("\n".join([*lines[:10], *lines[11:], twice]))
    ended = desk.run("verify", run, "--events", events, "--complete", "--json")

    assert ended.code == 70
    audit = ended.json["audit"]
    assert audit["lost"]["count"] == 1
    assert [e["row"] for e in audit["lost"]["examples"]] == [10]
    assert [e["row"] for e in audit["duplicated"]["examples"]] == [3]
    assert "duplicated 1" in ended.err
    assert "row 10  reader10@inbox.example" in ended.err


@pytest.mark.slow
def test_a_file_that_holds_no_events_changes_nothing(desk: Desk, sandbox: Site) -> None:
    """Told with its line, on both streams."""
    desk.list(10)
    desk.send(sandbox.url)
    ended = desk.run(
        "reconcile", desk.run_directory(), "--events", "list.csv", "--json"
    )

    assert ended.code != 0
    assert "list.csv:1: is not JSON" in ended.err
    assert "list.csv:1: is not JSON" in ended.json["error"]["message"]


@pytest.mark.slow
def test_complete_without_a_file_is_a_mistake(desk: Desk, sandbox: Site) -> None:
    """There is nothing that could be complete."""
    desk.list(10)
    desk.send(sandbox.url)
    ended = desk.run("verify", desk.run_directory(), "--complete")

    assert ended.code == 2
    assert "--events FILE" in ended.err
