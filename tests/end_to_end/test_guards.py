"""What ends a run by itself: stop rules, a canary, a late start."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from end_to_end.desk import Desk, Site

from engine.event import Event, EventType
from engine.events import EventStore

Start = Callable[..., Site]


def add(desk: Desk, text: str) -> None:
    """Add to the campaign file."""
    desk.campaign.write_text(f"{desk.campaign.read_text()}\n{text}\n")


def refused(*rows: int) -> dict[str, str]:
    """Return addresses that the sandbox refuses, by row."""
    return {f"row{row}": f"reject{row}@inbox.example" for row in rows}


@pytest.mark.slow
def test_too_many_refused_end_the_run(desk: Desk, sandbox: Site) -> None:
    """Above the share the run stops, resumable; a resume counts anew."""
    add(desk, "[stop]\nrejected_share = 0.2\nafter = 20")
    desk.list(200, **refused(*range(0, 60, 2)))
    stopped = desk.send(sandbox.url, "--set", "limits.workers=1")
    assert stopped.code == 3, stopped.err
    assert "messages were refused: [stop] rejected_share is 0.2" in stopped.err
    assert 10 <= len(sandbox.accepted()) < 100
    while (ended := desk.send(sandbox.url, "--json")).code == 3:
        assert ended.json["counts"]["accepted"] < 170
    assert (ended.code, ended.json["counts"]["accepted"]) == (1, 170)
    assert ended.json["counts"]["rejected"] == 30


@pytest.mark.slow
def test_few_refused_end_nothing(desk: Desk, sandbox: Site) -> None:
    """A share counts only once enough are settled, and only above the rule."""
    add(desk, "[stop]\nrejected_share = 0.2\nafter = 20")
    desk.list(100, **refused(0, 1, 2))
    assert desk.send(sandbox.url).code == 1


@pytest.mark.slow
def test_a_canary_that_is_refused_ends_the_run(desk: Desk, sandbox: Site) -> None:
    """Only the canary has left; to resume is to say that all is well."""
    add(desk, "[canary]\nshare = 0.1\nwait = 1")
    desk.list(100, **refused(1, 2))
    stopped = desk.send(sandbox.url)
    assert stopped.code == 3, stopped.err
    assert "the canary: 2 of 10 were refused" in stopped.err
    assert len(sandbox.accepted()) == 8
    done = desk.send(sandbox.url, "--json")
    assert (done.code, done.json["counts"]["accepted"]) == (1, 98)


@pytest.mark.slow
def test_a_canary_that_is_well_is_followed_by_the_rest(
    desk: Desk, sandbox: Site
) -> None:
    """Nobody else is mailed before the wait is over, and who looks on is told."""
    add(desk, "[canary]\nshare = 0.13\nwait = 6")
    planned = desk.send(sandbox.url, "--dry-run", "--json")
    assert planned.json["canary"] == {"messages": 13, "wait": 6.0}
    assert "13 first, the others 6.0 s later" in planned.err
    began = time.monotonic()
    process = desk.start("send", "letter.toml", "--base-url", sandbox.url, "--yes")
    while len(sandbox.accepted()) < 13:
        time.sleep(0.05)
    time.sleep(1)
    told = desk.run("status", desk.run_directory(), "--json")
    assert told.json["progress"]["settled"] == 13
    assert told.json["progress"]["canary"]["messages"] == 13
    assert len(sandbox.accepted()) == 13
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "13 went first; the others wait until 20" in err
    assert "waiting for what came of the canary" in err
    assert time.monotonic() - began > 6
    assert len(sandbox.accepted()) == 100


@pytest.mark.slow
def test_a_canary_is_cut_the_same_however_often_the_run_is_taken_up(
    desk: Desk, sandbox: Site
) -> None:
    """Less than a batch goes first, and nobody is mailed twice after a kill."""
    add(desk, "[canary]\nshare = 0.03\nwait = 60")
    desk.list(104)
    process = desk.start("send", "letter.toml", "--base-url", sandbox.url, "--yes")
    while len(sandbox.accepted()) < 4:
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.communicate(timeout=60)
    run = desk.run_directory()
    assert json.loads((run / "manifest.json").read_bytes())["canary"] == 4
    assert len(sandbox.accepted()) == 4
    process = desk.start("resume", run, "--yes")
    (run / "progress.json").unlink()
    while not (run / "progress.json").exists():
        time.sleep(0.05)
    time.sleep(1)
    told = desk.run("status", run)
    assert "4 of 104 settled" in told.err, "what an earlier start has settled counts"
    assert "4 went first; the others wait until 20" in told.err
    process.kill()
    process.communicate(timeout=60)
    no_wait = ("--set", "canary.share=0.5", "--set", "canary.wait=0")
    done = desk.send(sandbox.url, *no_wait, "--json")
    assert (done.code, done.json["counts"]["accepted"]) == (0, 104), done.err
    assert len(set(sandbox.accepted())) == len(sandbox.accepted()) == 104


@pytest.mark.slow
def test_a_run_planned_without_a_cut_canary_keeps_its_batches(
    desk: Desk, sandbox: Site
) -> None:
    """A canary that came in later is whole batches: others could mail people twice."""
    desk.list(100, **refused(*range(20, 60)))
    stop = ("--set", "stop.after=20", "--set", "stop.rejected_share=0.2")
    assert desk.send(sandbox.url, "--set", "limits.workers=1", *stop).code == 3
    manifest = desk.run_directory() / "manifest.json"
    assert "canary" not in json.loads(manifest.read_bytes())
    canary = [
        f"--set=canary.{it}" for it in ("share=0.03", "wait=0", "rejected_share=0.9")
    ]
    ended = desk.send(sandbox.url, *canary, "--json")
    assert (ended.code, ended.json["counts"]["accepted"]) == (1, 60), ended.err
    assert len(sandbox.accepted()) == 60


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "told"),
    [(EventType.BOUNCED, "were bounced"), (EventType.COMPLAINED, "were called spam")],
)
def test_a_canary_that_bounces_or_is_spam_ends_the_run(
    desk: Desk, sandbox: Site, kind: EventType, told: str
) -> None:
    """Events of the run that came in while it waited count; others do not."""
    add(desk, "[canary]\nshare = 0.1\nwait = 6")
    process = desk.start("send", "letter.toml", "--base-url", sandbox.url, "--yes")
    while len(sandbox.accepted()) < 10:
        time.sleep(0.05)
    time.sleep(1)
    run = desk.run_directory().name
    with EventStore.open(desk.runs) as events:
        events.add(
            [
                Event(
                    provider="cloudmails",
                    type=kind,
                    provider_id=f"x{number}",
                    message_id=None,
                    recipient=f"reader{number}@inbox.example",
                    happened_at=datetime.now(UTC),
                    reject_reason=None,
                    description=None,
                    raw=kind.value,
                    metadata={"run": run if number < 2 else "another"},
                )
                for number in range(4)
            ],
            "webhook",
        )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert f"the canary: 2 of 10 {told}" in err
    assert len(sandbox.accepted()) == 10


def test_a_late_start_is_refused_unless_allowed(desk: Desk, sandbox: Site) -> None:
    """L43 is about real sendings; one to this machine may be late."""
    definition = desk.campaign.read_text()
    desk.campaign.write_text(f"start_by = 2026-01-01T00:00:00Z\n{definition}")
    late = desk.run("plan", "letter.toml")
    assert late.code == 2
    assert "L43 start_by = 2026-01-01T00:00:00+00:00" in late.err
    assert desk.run("plan", "letter.toml", "--allow", "L43").code == 0
    for rehearsed in (
        desk.run("plan", "letter.toml", "--sandbox"),
        desk.send(sandbox.url),
    ):
        assert rehearsed.code == 0, rehearsed.err
        assert "passed over in a rehearsal; for real it is refused" in rehearsed.err


def test_what_a_part_of_the_list_passes_over_is_said(desk: Desk) -> None:
    """What the campaign expects is about the whole list."""
    add(desk, "[expect]\nmin = 90\n[canary]\nshare = 0.1")
    whole = desk.run("plan", "letter.toml", "--sandbox")
    part = desk.run("plan", "letter.toml", "--sandbox", "--limit", "5")
    assert (whole.code, part.code) == (0, 0), part.err
    assert "passed over" not in whole.err
    assert "[expect] is passed over" in part.err
    assert "1 first, the others at once, for a rehearsal does not wait" in part.err


def test_more_recipients_than_allowed_are_refused(desk: Desk, sandbox: Site) -> None:
    """--max-recipients holds for every send, and nothing is left behind."""
    refused = desk.send(sandbox.url, "--max-recipients", "99")
    assert refused.code == 2
    assert "100 are to be mailed, and --max-recipients is 99" in refused.err
    assert sandbox.accepted() == []
    assert desk.send(sandbox.url, "--max-recipients", "100").code == 0


@pytest.mark.slow
def test_it_holds_for_those_who_wait_when_a_run_goes_on(
    desk: Desk, sandbox: Site
) -> None:
    """By `send` and `resume`; what the campaign expects today counts, too."""
    desk.list(100, **refused(*range(20)))
    stop = [f"--set=stop.{it}" for it in ("after=20", "rejected_share=0.2")]
    assert desk.send(sandbox.url, "--set", "limits.workers=1", *stop).code == 3
    left = len(sandbox.accepted())
    told = desk.run("status", desk.run_directory(), "--json").json
    waiting = told["counts"]["pending"]
    assert 0 < waiting < 100
    for words, limit in (
        (("--max-recipients", waiting - 1), "--max-recipients"),
        (("--set", f"expect.max={waiting - 1}"), "[expect] max"),
    ):
        late = desk.send(sandbox.url, *words)
        assert late.code == 2, late.err
        wanted = f"{waiting} are to be mailed, and {limit} is {waiting - 1}"
        assert wanted in late.err
    run, few = desk.run_directory(), ("--max-recipients", waiting - 1)
    assert desk.run("resume", run, "--yes", *few).code == 2
    assert len(sandbox.accepted()) == left
    done = desk.run("resume", run, "--yes", "--max-recipients", waiting)
    assert done.code == 1, done.err
    assert len(sandbox.accepted()) == 80
