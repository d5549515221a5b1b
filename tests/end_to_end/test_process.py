"""What happens to the process: signals, kill -9, a second start."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import trio
from end_to_end.desk import COMMAND, TOKEN, Desk, Site

import engine
from engine import rundir
from engine.rundir import RunDirectory


def _wait_for(site: Site, requests: int) -> None:
    """Wait until the provider has seen so many requests."""
    deadline = time.monotonic() + 20
    while site.ask("stats")["requests"] < requests:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _start(desk: Desk, site: Site, *words: str) -> "subprocess.Popen[str]":
    return desk.start(
        "send", "letter.toml", "--base-url", site.url, "--yes", "--json", *words
    )


@pytest.fixture
def slow_site(start_sandbox: Callable[..., Site]) -> Site:
    """A provider that takes a tenth of a second for each request."""
    return start_sandbox(latency=0.1)


@pytest.mark.slow
def test_the_first_interrupt_drains_and_a_resume_finishes(
    desk: Desk, slow_site: Site
) -> None:
    """SIGINT: what is under way is answered, exit 3, the resume line; nothing twice."""
    desk.list(400)
    process = _start(desk, slow_site)
    _wait_for(slow_site, 8)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 3
    assert f"mailvolley resume runs/letter/{desk.run_directory().name}" in err
    stopped = desk.results()
    assert stopped.height == 400
    assert set(stopped["status"]) == {"accepted", "pending"}
    said = sorted(stopped.filter(status="accepted")["address"])
    assert slow_site.accepted() == said

    resumed = desk.run("resume", desk.run_directory(), "--yes", "--json")
    assert resumed.code == 0
    assert resumed.json["counts"]["accepted"] == 400
    assert slow_site.ask("stats")["twice"] == []


@pytest.mark.slow
def test_an_interrupt_before_the_first_message_leaves_no_run(
    desk: Desk, sandbox: Site
) -> None:
    """While processes start, the run exists already: nothing was sent, exit 2."""
    words = ("send", "letter.toml", "--base-url", sandbox.url, "--yes")
    process = desk.start(*words, "--processes", "2", "--json")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("made in"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 2, err
    assert json.loads(out)["error"]["message"] == "nothing was sent"
    assert "stopped    nothing was sent" in err
    assert [*desk.runs.glob("letter/2*")] == []
    assert sandbox.ask("stats")["requests"] == 0
    assert desk.send(sandbox.url).code == 0


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_more_interrupts_while_a_run_ends_change_nothing_of_what_is_told(
    desk: Desk, start_sandbox: Callable[..., Site], gap: float
) -> None:
    """In the pause after a 429 the first ends the run; others find it telling so."""
    site = start_sandbox(throttle_every=2, retry_after=5)
    process = _start(desk, site)
    _wait_for(site, 2)
    time.sleep(0.3)
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        time.sleep(gap)
    _, err = process.communicate(timeout=20)

    assert process.returncode == 3, err
    assert "nothing was sent" not in err
    assert "mailvolley resume runs/letter/" in err
    assert site.accepted()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["send", "plan"])
def test_an_interrupt_of_the_planning_leaves_nothing_and_says_so(
    desk: Desk,
    sandbox: Site,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    number: signal.Signals,
) -> None:
    """Either signal: nothing was sent, exit 2, and no half of a run is left."""
    temporary = desk.folder / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    desk.list(300_000)
    sending = _start(desk, sandbox) if command == "send" else None
    process = sending or desk.start("plan", "letter.toml")
    begun, wait = [], time.monotonic() + 20
    while not begun:
        assert time.monotonic() < wait
        begun = [*desk.runs.glob("letter/2*"), *temporary.glob("mailvolley-*")]
    process.send_signal(number)
    out, err = process.communicate(timeout=20)

    assert 2 == process.returncode, err
    assert "nothing was sent" in err
    assert "Traceback" not in err
    assert "" == out
    assert [] == [path for path in begun if path.exists()]
    assert 0 == sandbox.ask("stats")["requests"]


@pytest.mark.slow
def test_the_second_interrupt_cuts(desk: Desk, slow_site: Site) -> None:
    """Twice SIGTERM: at once; what was under way is in doubt, and nothing is lost."""
    slow_site.fault(latency=5)
    desk.list(100)
    process = _start(desk, slow_site)
    _wait_for(slow_site, 1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)

    assert time.monotonic() - began < 2
    assert process.returncode == 3
    counts = dict(desk.results()["status"].value_counts().iter_rows())
    assert counts == {"in_doubt": 10, "pending": 90}


@pytest.mark.slow
def test_after_kill_9_the_next_start_goes_on_and_mails_nobody_twice(
    desk: Desk, slow_site: Site
) -> None:
    """What was under way is in doubt, by name; everybody else is mailed once."""
    desk.list(400)
    process = _start(desk, slow_site)
    _wait_for(slow_site, 10)
    process.kill()
    process.communicate()
    again = desk.send(slow_site.url, "--json")
    results = desk.results()
    counts = again.json["counts"]

    assert again.code == (4 if counts["in_doubt"] else 0)
    assert counts["accepted"] + counts["in_doubt"] == 400
    assert counts["in_doubt"] <= 4 * 10
    assert slow_site.ask("stats")["twice"] == []
    said = set(results.filter(status="accepted")["address"])
    doubted = set(results.filter(status="in_doubt")["address"])
    assert said <= set(slow_site.accepted()) <= said | doubted


_SCRIPT = """
import sys
import engine
try:
    engine.send(None, "letter.toml", base_url=sys.argv[1])
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.slow
def test_an_interrupt_of_a_script_is_one_and_the_run_goes_on_later(
    desk: Desk, slow_site: Site
) -> None:
    """The library leaves signals to Python: the script gets what it knows to catch."""
    desk.list(200)
    script = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, slow_site.url],
        cwd=desk.folder,
        env={**os.environ, "LETTER_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        text=True,
    )
    _wait_for(slow_site, 8)
    script.send_signal(signal.SIGINT)
    out, _ = script.communicate(timeout=20)
    again = desk.send(slow_site.url, "--json")

    assert (out, script.returncode) == ("interrupted\n", 0)
    assert again.code == (4 if again.json["counts"]["in_doubt"] else 0)
    assert slow_site.ask("stats")["twice"] == []
    assert len(slow_site.accepted()) >= 200 - again.json["counts"]["in_doubt"]


@pytest.mark.slow
def test_a_second_start_of_the_same_campaign_exits_5(
    desk: Desk, slow_site: Site
) -> None:
    """At once, without sending, and without disturbing the first."""
    slow_site.fault(latency=0.5)
    desk.list(200)
    first = _start(desk, slow_site)
    _wait_for(slow_site, 2)
    first.send_signal(signal.SIGSTOP)  # else it may end before the second looks
    second = desk.send(slow_site.url)
    first.send_signal(signal.SIGCONT)
    first.communicate(timeout=30)

    assert second.code == 5
    assert "process" in second.err
    assert first.returncode == 0
    assert slow_site.ask("stats")["twice"] == []


@pytest.mark.slow
def test_kill_9_during_an_orderly_stop_loses_nobody(
    desk: Desk, slow_site: Site
) -> None:
    """It drains and is killed: in doubt is what was under way, and nobody else."""
    slow_site.fault(latency=3)
    desk.list(100)
    process = _start(desk, slow_site)
    _wait_for(slow_site, 1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None
    process.kill()
    process.communicate()
    slow_site.fault()
    again = desk.run("resume", desk.run_directory(), "--yes", "--json")

    assert again.code == 4
    assert 0 < again.json["counts"]["in_doubt"] <= 4 * 10
    assert again.json["counts"]["accepted"] == 100 - again.json["counts"]["in_doubt"]
    assert slow_site.ask("stats")["twice"] == []


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["| true", ">&-", "> /dev/full", ">&- 2>&-"])
def test_a_closed_stdout_changes_nothing_of_a_run(
    desk: Desk, sandbox: Site, shell: str
) -> None:
    """Nobody reads what it prints: everybody is mailed, and the exit code says so."""
    words = ["send", "letter.toml", "--base-url", sandbox.url, "--yes", "--json"]
    line = f"{shlex.join([str(COMMAND), *words])} {shell}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", line],
        cwd=desk.folder,
        env={**os.environ, "LETTER_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr
    assert len(sandbox.accepted()) == 100
    assert set(desk.results()["status"]) == {"accepted"}


async def test_a_caller_who_cancels_before_the_first_request_is_let_go(
    desk: Desk, sandbox: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline that passes while the list is planned: it ends, and leaves no run."""
    monkeypatch.setenv("LETTER_TOKEN", TOKEN)
    with trio.CancelScope() as caller:
        caller.cancel()
        await engine.asend(None, desk.campaign, base_url=sandbox.url)

    assert caller.cancelled_caught
    assert [*desk.runs.glob("letter/2*")] == []
    assert sandbox.accepted() == []
    report = await engine.asend(None, desk.campaign, base_url=sandbox.url)
    assert report.counts["accepted"] == 100
    assert sandbox.ask("stats")["twice"] == []


@pytest.mark.slow
def test_who_looks_at_a_campaign_is_in_nobodys_way(desk: Desk, sandbox: Site) -> None:
    """A start meanwhile waits a moment; others who look see it as it is."""
    assert desk.send(sandbox.url, "--limit=10").code == 0
    run = RunDirectory(desk.run_directory())
    with rundir.looked_at(run):
        process = _start(desk, sandbox)
        assert desk.run("status", run.path, "--json").json["status"] == "finished"
        assert desk.run("verify", run.path).code == 0
        assert process.poll() is None
    out, err = process.communicate(timeout=30)
    assert 0 == process.returncode, out + err
    assert 100 == len(sandbox.accepted())
