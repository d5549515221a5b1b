"""Several processes make and send; they are killed, and nobody is lost or mailed twice.

Each claim of the other end-to-end tests that depends on who sends is made here once
more, of `--processes 2`.
"""

import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from end_to_end.desk import Desk, Site

from engine.crew.processes import MOST_LOST

WORKERS = 8


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in task.read_text().split()]
    return found


def exists(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        )
    except OSError:
        return False


def wait_for(is_so: Callable[[], object], *, seconds: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start(desk: Desk, site: Site, *words: object) -> "subprocess.Popen[str]":
    """Start sending in two processes."""
    return desk.start(
        "send",
        "letter.toml",
        "--yes",
        "--json",
        "--processes=2",
        f"--base-url={site.url}",
        *words,
    )


def sent(site: Site) -> int:
    """Return how many requests the provider has seen."""
    count: int = site.ask("stats")["requests"]
    return count


pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc"),
]


def test_two_processes_send_what_one_does(desk: Desk, sandbox: Site) -> None:
    """Every row is accepted once, and `made in` says who made it."""
    desk.list(300)
    ended = desk.send(sandbox.url, "--json", "--processes=2")
    assert ended.code == 0, ended.err
    assert ended.json["counts"]["accepted"] == 300
    assert "made in    2 processes: as asked" in ended.err
    assert sandbox.accepted() == sorted(desk.results()["address"])
    assert sandbox.ask("stats")["twice"] == []


@pytest.mark.parametrize(
    ("faults", "doubtful"),
    [
        ({"unavailable_every": 4, "retry_after": 0.1}, False),
        ({"throttle_every": 7, "retry_after": 0.1}, False),
        ({"error_after_every": 4}, True),
        ({"reset_after_every": 4}, True),
        ({"truncate_every": 4}, True),
    ],
)
def test_faults_come_to_the_same_outcomes(
    desk: Desk,
    start_sandbox: Callable[..., Site],
    faults: dict[str, object],
    doubtful: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    """Nobody is mailed twice; what is doubtful is named, all else is accepted."""
    site = start_sandbox(**faults)
    desk.list(160)
    ended = desk.send(site.url, "--json", "--processes=2")
    results, counts = desk.results(), ended.json["counts"]
    said = set(results.filter(status="accepted")["address"])
    doubted = set(results.filter(status="in_doubt")["address"])

    assert ended.code == (4 if doubtful else 0), ended.err
    assert counts["in_doubt"] == (40 if doubtful else 0)
    assert counts["accepted"] + counts["in_doubt"] == 160
    assert said <= set(site.accepted()) <= said | doubted
    assert site.ask("stats")["twice"] == []


def test_refused_batch_is_halved_down_to_the_row_to_blame(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """Its halves are cut where it was made."""
    site = start_sandbox(atomic="true")
    desk.list(200, row25="reject@inbox.example")
    ended = desk.send(site.url, "--json", "--processes=2", "--set=limits.batch_size=50")
    assert ended.code == 1, ended.err
    assert ended.json["counts"]["accepted"] == 199
    assert desk.results().filter(status="rejected")["row"].to_list() == [25]
    assert site.ask("stats")["twice"] == []


def test_the_rate_holds_across_processes(desk: Desk, sandbox: Site) -> None:
    """The provider never sees more than the limit in a second, and nearly all of it.

    A second less a tenth: on a busy machine the sandbox notes some arrivals late.
    """
    desk.list(900)
    ended = desk.send(
        sandbox.url,
        "--processes=2",
        "--set=limits.messages_per_second=200",
        "--set=limits.batch_size=20",
        "--set=limits.workers=8",
    )
    arrivals = [(r["at"], r["messages"]) for r in sandbox.ask("requests")]

    assert ended.code == 0, ended.err
    for start_at in range(len(arrivals)):
        later = arrivals[start_at:]
        at = later[0][0]
        window = itertools.takewhile(lambda a, at=at: a[0] < at + 0.9, later)
        assert sum(messages for _, messages in window) <= 200
    assert 3.5 <= arrivals[-1][0] - arrivals[0][0]


def test_the_first_interrupt_of_the_group_drains(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """SIGINT to everybody: what is under way is answered; a resume finishes."""
    site = start_sandbox(latency=0.3)
    desk.list(600)
    process = start(desk, site)
    wait_for(lambda: sent(site) >= 8)
    for pid in [*children(process.pid), process.pid]:
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 3, err
    stopped = desk.results()
    assert set(stopped["status"]) == {"accepted", "pending"}
    assert site.accepted() == sorted(stopped.filter(status="accepted")["address"])
    resumed = desk.run("resume", desk.run_directory(), "--yes", "--processes=2")
    assert resumed.code == 0, resumed.err
    assert site.ask("stats")["twice"] == []


def test_processes_end_with_the_one_that_owns_the_run(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """Kill -9 of that one: within moments no other is left."""
    site = start_sandbox(latency=1)
    desk.list(600)
    process = start(desk, site)
    wait_for(lambda: sent(site) >= 2)
    others = children(process.pid)
    process.kill()
    process.communicate()
    assert len(others) == 2
    wait_for(lambda: not any(map(exists, others)), seconds=5)


def test_processes_that_keep_dying_stop_the_run(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """It says so, in words, with rows waiting, and finishes in one process."""
    site = start_sandbox(latency=0.2)
    desk.list(1000)
    process = start(desk, site)
    while process.poll() is None:
        for pid in children(process.pid):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    _, err = process.communicate()
    assert process.returncode == 3, err
    assert "6 worker processes have ended before their work did" in err
    assert "--processes 1" in err
    finished = desk.run(
        "resume", desk.run_directory(), "--yes", "--json", "--processes=1"
    )
    assert finished.code in {0, 4}, finished.err
    assert finished.json["counts"]["pending"] == 0
    assert site.ask("stats")["twice"] == []


def test_kills_of_any_process_lose_nobody(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """Kill -9 at random moments, of those who send and of the one that owns the run."""
    _killed(desk, start_sandbox(latency=0.05), rows=6_000, kills=8, batch=20, seed=21)


@pytest.mark.long
def test_many_kills_of_any_process_lose_nobody(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """The long form: 60 kills over 100 000 rows."""
    _killed(
        desk, start_sandbox(latency=0.1), rows=100_000, kills=60, batch=100, seed=22
    )


def _killed(
    desk: Desk, site: Site, *, rows: int, kills: int, batch: int, seed: int
) -> None:
    """Kill a run's processes so often, and compare with the provider at its end."""
    lots = random.Random(seed)
    desk.list(rows)
    words = (f"--set=limits.batch_size={batch}", f"--set=limits.workers={WORKERS}")
    done = owners = 0
    process = start(desk, site, *words)
    of_this_start = 0
    while done < kills:
        seen = sent(site)
        wait_for(lambda s=seen, p=process: sent(site) > s or p.poll() is not None)
        time.sleep(lots.uniform(0.0, 0.4))
        others = children(process.pid)
        assert others, "the run ended before it was killed so often"
        # More losses of one start than five would stop the run.
        owner = of_this_start == MOST_LOST or lots.random() < 1 / 4
        victim = process.pid if owner else lots.choice(others)
        if not exists(victim):
            continue
        os.kill(victim, signal.SIGKILL)
        done, owners, of_this_start = done + 1, owners + owner, of_this_start + 1
        if owner:
            process.communicate()
            process, of_this_start = start(desk, site, *words), 0
    assert 0 < owners < done, "choose another seed: only one kind was killed"
    _, err = process.communicate(timeout=600)
    assert process.returncode in {0, 4}, err

    results = desk.results()
    accepted = results.filter(status="accepted")["address"].to_list()
    doubted = results.filter(status="in_doubt")["address"].to_list()
    assert results["row"].to_list() == list(range(rows))
    assert len(accepted) + len(doubted) == rows
    assert len(doubted) <= kills * WORKERS * batch
    assert site.ask("stats")["twice"] == []
    at_the_server = set(site.accepted())
    assert set(accepted) <= at_the_server <= set(accepted) | set(doubted)
    events = desk.folder / "events.jsonl"
    events.write_bytes(site.read("events"))
    verified = desk.run(
        "verify", desk.run_directory(), "--events", events, "--complete", "--json"
    )
    assert verified.code in {0, 4}, verified.err
