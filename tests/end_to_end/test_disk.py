"""A disk that fills up in mid-run: sending stops, and no answer is lost."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.desk import Desk, Site


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("a file system can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def _fill(folder: Path) -> Path:
    """Take all the room that there is."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            os.fsync(file.fileno())
    return filler


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_a_resume_finishes_it(
    desk: Desk, small_disk: Path, start_sandbox: Callable[..., Site]
) -> None:
    """Exit 3; what was answered is kept; with room again the rest is sent, once."""
    site = start_sandbox(latency=0.1)
    desk.list(3000)
    process = desk.start(
        "send",
        "letter.toml",
        f"--base-url={site.url}",
        f"--runs-dir={small_disk}",
        "--yes",
    )
    deadline = time.monotonic() + 20
    while site.ask("stats")["requests"] < 20:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    filler = _fill(small_disk)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    seen = len(site.accepted())

    filler.unlink()
    (manifest,) = small_disk.glob("letter/*/manifest.json")
    ended = desk.run("resume", manifest.parent, "--yes", "--json")
    counts = ended.json["counts"]
    assert counts["in_doubt"] == 0
    assert counts["accepted"] == 3000
    assert seen < 3000
    assert site.ask("stats")["twice"] == []


@pytest.mark.slow
def test_a_disk_without_room_for_the_answers_leaves_no_run(
    desk: Desk, small_disk: Path, sandbox: Site
) -> None:
    """Nothing may begin then: exit 2, what is wrong, and no run that waits."""
    filler = _fill(small_disk)
    os.truncate(filler, filler.stat().st_size - 4_000_000)
    ended = desk.send(sandbox.url, "--runs-dir", small_disk)
    assert ended.code == 2, ended.err
    assert "nothing was sent: " in ended.err
    assert "bytes cannot be set aside" in ended.err
    assert [*small_disk.glob("letter/2*")] == []
    assert sandbox.ask("stats")["requests"] == 0
    filler.unlink()
    assert desk.send(sandbox.url, "--runs-dir", small_disk).code == 0


@pytest.mark.slow
def test_a_stopped_process_goes_on_where_it_was(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """SIGSTOP and SIGCONT, as when a laptop sleeps: nobody twice, no burst after it."""
    site = start_sandbox(latency=0.05)
    desk.list(1200)
    process = desk.start(
        "send",
        "letter.toml",
        f"--base-url={site.url}",
        "--yes",
        "--json",
        "--set=limits.messages_per_second=400",
    )
    while site.ask("stats")["requests"] < 10:
        time.sleep(0.02)
    os.kill(process.pid, 19)
    time.sleep(2.5)
    os.kill(process.pid, 18)
    process.communicate(timeout=60)
    arrivals = [(r["at"], r["messages"]) for r in site.ask("requests?limit=10000")]

    assert process.returncode == 0
    assert site.ask("stats")["twice"] == []
    for at, _ in arrivals:
        # Nine tenths: a busy sandbox stamps some arrivals late.
        in_a_second = sum(m for t, m in arrivals if at <= t < at + 0.9)
        assert in_a_second <= 400


def test_a_folder_that_cannot_be_written_is_refused(desk: Desk, sandbox: Site) -> None:
    """Exit 2 before anything is sent, and the way out is named."""
    (desk.folder / "runs").write_text("a file where a folder should be")
    ended = desk.send(sandbox.url)

    assert ended.code == 2
    assert "--runs-dir" in ended.err
    assert sandbox.ask("stats")["requests"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "empty"])
def test_no_run_goes_on_without_its_journal(
    desk: Desk, sandbox: Site, damage: str
) -> None:
    """The results tell that it was sent: nobody is mailed because the proof is gone."""
    desk.send(sandbox.url)
    run = desk.run_directory()
    if damage == "gone":
        (run / "journal.db").unlink()
    else:
        (run / "journal.db").write_bytes(b"")
    for words in (
        ["resume", run, "--yes"],
        ["retry", run, "--yes"],
        ["send", "letter.toml", "--base-url", sandbox.url, "--yes"],
        ["send", "letter.toml", "--base-url", sandbox.url, "--yes", "--new-run"],
        ["reconcile", run, "--events", "/dev/null"],
    ):
        refused = desk.run(*words)
        assert refused.code == 2, words
        assert "journal.db" in refused.err
        assert "next" in refused.err

    assert desk.run("status", run, "--json").json["status"] == "unreadable"
    assert desk.run("verify", run).code == 70
    assert len(sandbox.accepted()) == 100


@pytest.mark.slow
def test_nothing_is_made_from_a_damaged_list(desk: Desk, sandbox: Site) -> None:
    """What reads it again refuses it, and leaves the results as they were."""
    desk.list(100, row3="reject3@inbox.example")
    desk.send(sandbox.url)
    frozen = desk.run_directory() / "recipients.parquet"
    data = bytearray(frozen.read_bytes())
    data[len(data) // 2] ^= 1
    frozen.write_bytes(data)
    for words in (
        ["retry", desk.run_directory(), "--yes"],
        ["reconcile", desk.run_directory(), "--events", "/dev/null"],
        ["send", "letter.toml", "--base-url", sandbox.url, "--yes", "--new-run"],
    ):
        refused = desk.run(*words)
        assert refused.code == 2, words
        assert "recipients.parquet: is not what was planned" in refused.err


@pytest.mark.slow
@pytest.mark.parametrize("gone", [True, False])
def test_results_that_are_lost_are_told_and_made_anew(
    desk: Desk, sandbox: Site, *, gone: bool
) -> None:
    """They are made from the journal, and whoever misses them names the command."""
    desk.send(sandbox.url)
    run = desk.run_directory()
    if gone:
        (run / "results.parquet").unlink()
    else:
        (run / "results.parquet").write_bytes(b"PAR1")
    anew = f"mailvolley reconcile {run} --events /dev/null"
    for words, code in (
        (("status", run), 0),
        (("verify", run), 70),
        (("retry", run, "--yes"), 2),
        (("export", run, "--out", "all.csv"), 2),
        (("events", "show", run), 2),
    ):
        told = desk.run(*words)
        assert told.code == code, told.err
        assert f"next       make it anew from the journal: {anew}" in told.err
        assert "Traceback" not in told.err
    if gone:
        assert anew in desk.run("resume", run, "--yes").err
    assert desk.run("reconcile", run, "--events", "/dev/null").code == 0
    assert set(desk.results()["status"]) == {"accepted"}


@pytest.mark.slow
def test_a_full_disk_is_told_as_that(
    desk: Desk, sandbox: Site, small_disk: Path
) -> None:
    """Not as a damaged file or without words; and no half of a file is left."""
    assert desk.send(sandbox.url).code == 0
    run = desk.run_directory()
    _fill(small_disk)
    for words in (
        *(("export", run, "--out", small_disk / f"x.{f}") for f in ("csv", "parquet")),
        ("preview", "letter.toml", "--no-open", "--out", small_disk / "page.html"),
        ("suppress", "add", "a@inbox.example", "--runs-dir", small_disk),
        ("events", "serve", "--port", "0", "--key-file", small_disk / "key"),
    ):
        told = desk.run(*words)
        assert told.code in {2, 3}
        assert "the disk is full" in told.err
        assert "Traceback" not in told.err
        for left in (small_disk / "key", *small_disk.glob("suppressions.*")):
            left.unlink(missing_ok=True)  # made before there was found to be no room
        assert {path.name for path in small_disk.iterdir()} == {"filler"}
