"""Claims about `engine.rundir`: who owns a campaign, and files that are whole."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import rundir
from engine.errors import RunError, RunLocked
from engine.rundir import RunDirectory

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from engine import rundir
with rundir.owned(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def mode(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    """Let the process allow everything, so that modes are the module's own work."""
    before = os.umask(0)
    yield
    os.umask(before)


@contextmanager
def another_owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process own a campaign."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert holder.stdout is not None
        assert "mine\n" == holder.stdout.readline()
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def planned(folder: Path, name: str) -> RunDirectory:
    """Make a run that was planned to the end."""
    directory = RunDirectory(folder / name)
    directory.path.mkdir(parents=True)
    directory.manifest.write_text("{}", encoding="utf-8")
    return directory


# -- who owns a campaign --------------------------------------------------------------


def test_second_owner_in_the_same_process_is_refused(tmp_path: Path) -> None:
    """A program that starts the same campaign twice is told at once, by whom."""
    folder = tmp_path / "runs/spring"
    with rundir.owned(folder):
        with pytest.raises(RunLocked) as caught, rundir.owned(folder):
            pytest.fail("owned twice")
        told = str(caught.value)
        start = f"{folder}: this campaign is being sent already (process {os.getpid()} "
        assert told.startswith(start + f"since {datetime.now(UTC):%Y-}")
        assert caught.value.hint.endswith(f"mailvolley status {folder}")
    with rundir.owned(folder):
        pass


def test_owner_in_another_process_is_respected_until_it_is_killed(
    tmp_path: Path,
) -> None:
    """The lock dies with its process, however that ends; nothing has to be cleared."""
    with another_owner(tmp_path) as holder:
        for _ in range(2):
            with (
                pytest.raises(RunLocked, match=f"process {holder.pid} since"),
                rundir.owned(tmp_path),
            ):
                pytest.fail("owned by two")
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with rundir.owned(tmp_path):
            pass


def looking(folder: Path) -> AbstractContextManager[None]:
    """Look at a run of a campaign."""
    return rundir.looked_at(planned(folder, "20261120T120000Z-000000"))


def test_many_may_look_at_once_and_nobody_while_it_is_owned(tmp_path: Path) -> None:
    """Reading disturbs nobody who reads; what moves is not read."""
    refused = pytest.raises(RunLocked, match=r"being sent already \(process")
    with rundir.owned(tmp_path), refused:
        looking(tmp_path).__enter__()
    shutil.rmtree(tmp_path / "20261120T120000Z-000000")
    with looking(tmp_path), rundir.looked_at(*rundir.find(tmp_path)):
        pass
    with rundir.owned(tmp_path):
        pass


def test_owner_waits_until_nobody_looks(tmp_path: Path) -> None:
    """A start in the moment of a look is no second start."""
    with rundir.owned(tmp_path):
        pass
    order = []

    def own() -> None:
        with rundir.owned(tmp_path):
            order.append("owned")

    thread = threading.Thread(target=own)
    with looking(tmp_path):
        thread.start()
        time.sleep(0.2)
        order.append("looked")
    thread.join()
    assert ["looked", "owned"] == order


@pytest.mark.slow
def test_owner_does_not_wait_for_ever(tmp_path: Path) -> None:
    """It says who is in the way: nobody is sending."""
    with rundir.owned(tmp_path):
        pass
    refused = pytest.raises(RunLocked, match="looking at this campaign")
    with looking(tmp_path), refused:
        rundir.owned(tmp_path).__enter__()
    with rundir.owned(tmp_path):
        pass


def test_a_second_owner_is_refused_at_once_though_somebody_looks_on(
    tmp_path: Path,
) -> None:
    """Patience is for those who look; whoever owns it may do so for hours."""
    with rundir.owned(tmp_path):
        began = time.monotonic()
        with pytest.raises(RunLocked, match="being sent already"):
            rundir.owned(tmp_path).__enter__()
    assert time.monotonic() - began < rundir.PATIENCE / 2


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    """A run that was brought here from elsewhere, on a disk that is read alone."""
    folder = tmp_path / "archive"
    directory = planned(folder, "20261120T120000Z-000000")
    folder.chmod(0o500)
    try:
        with rundir.looked_at(directory):
            pass
        assert [directory.path] == list(folder.iterdir())
    finally:
        folder.chmod(0o700)


def test_failure_inside_frees_the_campaign_and_is_not_changed(tmp_path: Path) -> None:
    """What goes wrong while a campaign is owned is not the lock's business."""
    with pytest.raises(OSError, match="mine"), rundir.owned(tmp_path):
        raise OSError("mine")
    with rundir.owned(tmp_path):
        pass


def test_campaigns_do_not_lock_each_other(tmp_path: Path) -> None:
    """Each has its own lock."""
    with rundir.owned(tmp_path / "spring"), rundir.owned(tmp_path / "autumn"):
        pass


@pytest.mark.parametrize("blocked", ["runs", "runs/spring", "runs/spring/.lock"])
def test_folder_that_cannot_be_written_is_refused(tmp_path: Path, blocked: str) -> None:
    """A file in the place of a folder, or the reverse, is told with what to do."""
    folder = tmp_path / "runs/spring"
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    if blocked.endswith(".lock"):
        (tmp_path / blocked).mkdir()
    else:
        (tmp_path / blocked).touch()
    with pytest.raises(RunError) as caught, rundir.owned(folder):
        pytest.fail("owned")
    assert not isinstance(caught.value, RunLocked)
    assert str(caught.value).startswith(f"{folder}: cannot be written: ")
    assert "choose another folder: --runs-dir DIR" == caught.value.hint


# -- runs -----------------------------------------------------------------------------


def test_run_directory_names_its_files() -> None:
    """Everything of a run is below its folder, whose name is the run's id."""
    directory = RunDirectory(Path("runs/spring/x"))
    named = {
        directory.manifest: "manifest.json",
        directory.recipients: "recipients.parquet",
        directory.templates: "templates",
        directory.journal: "journal.db",
        directory.progress: "progress.json",
        directory.results: "results.parquet",
    }
    assert {Path("runs/spring/x") / name for name in named.values()} == named.keys()
    assert "x" == directory.run


@pytest.mark.parametrize("rehearsal", [False, True])
def test_run_is_created_for_its_owner_alone(tmp_path: Path, *, rehearsal: bool) -> None:
    """Its id is the moment, and tells a rehearsal; it exists once it was planned."""
    with rundir.owned(tmp_path / "spring"):
        before = datetime.now(UTC)
        made = rundir.create(tmp_path / "spring", rehearsal=rehearsal)
        after = datetime.now(UTC)
    moment = made.run.removeprefix("rehearsal-")
    assert rehearsal == (moment != made.run) == made.is_rehearsal
    then = datetime.strptime(moment, "%Y%m%dT%H%M%SZ-%f").replace(tzinfo=UTC)
    assert before <= then <= after
    assert (0o700, 0o700) == (mode(made.path), mode(tmp_path / "spring"))
    assert 0o600 == mode(tmp_path / "spring/.lock")
    assert not made.exists()
    made.manifest.touch()
    assert made.exists()


def test_runs_are_found_newest_first_in_the_order_of_their_creation(
    tmp_path: Path,
) -> None:
    """Also of the same second, and rehearsals among the real ones."""
    made = [rundir.create(tmp_path, rehearsal=n % 3 == 0) for n in range(50)]
    for directory in made:
        directory.manifest.touch()
    assert made[::-1] == rundir.find(tmp_path)


@pytest.mark.parametrize(
    "name", ["99981231T235959Z-999998", "rehearsal-29990101T000000Z-000000"]
)
def test_new_run_is_the_newest_though_the_clock_was_set_back(
    tmp_path: Path, name: str
) -> None:
    """Else the run before last would be taken for the last, and its ids used again."""
    future = planned(tmp_path, name)
    made = [rundir.create(tmp_path, rehearsal=False) for _ in range(3)]
    for directory in made:
        directory.manifest.touch()
    assert [*made[::-1], future] == rundir.find(tmp_path)


def test_find_knows_a_run_by_its_name_and_manifest(tmp_path: Path) -> None:
    """Whatever else lies in the folder is no run, least of all the newest."""
    there = planned(tmp_path, "20261120T101112Z-000001")
    planned(tmp_path, "backup of 20261120T101112Z-000001")
    planned(tmp_path, "20269999T101112Z-000001")
    (tmp_path / "20261120T101113Z-000001").mkdir()
    (tmp_path / "20261120T101114Z-000001").touch()
    (tmp_path / "20261120T101115Z-000001").symlink_to(there.path)
    assert [there] == rundir.find(tmp_path)
    assert [] == rundir.find(tmp_path / "nowhere")


def test_leftovers_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    """Half planned runs go: never a planned one, and never the user's own files."""
    kept = planned(tmp_path, "20261120T101112Z-000001")
    half = RunDirectory(tmp_path / "20261120T101113Z-000001")
    rehearsed = RunDirectory(tmp_path / "rehearsal-20261120T101113Z-000002")
    for directory in (half, rehearsed):
        (directory.templates / "deep").mkdir(parents=True)
        directory.recipients.touch()
    own = tmp_path / "my templates/spring"
    own.mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "20261120T101116Z-000001").symlink_to(elsewhere)
    rundir.clear_leftovers(tmp_path, rehearsal=False)
    assert not half.path.exists()
    assert rehearsed.path.exists()
    rundir.clear_leftovers(tmp_path, rehearsal=True)
    assert not rehearsed.path.exists()
    assert kept.exists()
    assert own.is_dir()
    assert elsewhere.is_dir()
    assert (tmp_path / "notes.txt").exists()


def test_run_in_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    """The user reads which folder, and what to do."""
    with pytest.raises(RunError, match="cannot be written: No such file") as caught:
        rundir.create(tmp_path / "gone", rehearsal=False)
    assert "--runs-dir" in caught.value.hint


# -- files that are whole -------------------------------------------------------------


def test_published_file_is_whole_private_and_alone(tmp_path: Path) -> None:
    """It replaces what was there, and leaves nothing beside it."""
    file = tmp_path / "manifest.json"
    file.write_text("old", encoding="utf-8")
    file.chmod(0o644)
    rundir.publish(file, b"new")
    assert b"new" == file.read_bytes()
    assert 0o600 == mode(file)
    assert [file] == list(tmp_path.iterdir())


def test_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """While a file is published again and again, it is always one of the versions."""
    file = tmp_path / "results.parquet"
    versions = [bytes([letter]) * 200_000 for letter in b"abc"]
    rundir.publish(file, versions[0])
    stop = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(file.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for turn in range(60):
            rundir.publish(file, versions[turn % 3])
    finally:
        stop.set()
        reader.join()
    assert seen <= set(versions)
    assert 1 < len(seen)


def test_leftover_of_a_crash_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """A longer file half written before is no part of the new one."""
    file = tmp_path / "manifest.json"
    (tmp_path / ".manifest.json.inprogress").write_bytes(b"x" * 999)
    rundir.publish(file, b"new")
    assert b"new" == file.read_bytes()
    assert 0o600 == mode(file)


def test_file_that_cannot_be_published_is_told(tmp_path: Path) -> None:
    """No error of the operating system leaves the engine."""
    with pytest.raises(RunError, match=r"gone/x: cannot be written: No such file"):
        rundir.publish(tmp_path / "gone/x", b"")


def test_copy_appears_whole_and_private(tmp_path: Path) -> None:
    """In a folder that need not exist, over a file that may."""
    source = tmp_path / "results.parquet"
    source.write_bytes(b"rows")
    for target in (tmp_path / "out/deep/r.parquet", tmp_path / "r.parquet"):
        if target.parent == tmp_path:
            target.write_bytes(b"older")
        rundir.copy(source, target)
        assert b"rows" == target.read_bytes()
        assert 0o600 == mode(target)
        assert [] == list(target.parent.glob(".*"))


def test_copy_is_private_while_it_is_written(tmp_path: Path) -> None:
    """Nobody else opens it before it has its name."""
    source = tmp_path / "results.parquet"
    source.write_bytes(b"rows" * 4_000_000)
    seen: list[int] = []
    for turn in range(100):
        target = tmp_path / f"{turn}"
        worker = threading.Thread(target=rundir.copy, args=(source, target))
        worker.start()
        while worker.is_alive():
            with suppress(FileNotFoundError):
                seen.append(mode(tmp_path / f".{turn}.inprogress"))
        worker.join()
        target.unlink()
        if seen:  # the copy was not too fast to be seen
            break
    assert {0o600} == set(seen)


def test_copy_that_fails_names_both_places_and_leaves_nothing(tmp_path: Path) -> None:
    """The results are not lost because a copy of them could not be made."""
    source, target = tmp_path / "results.parquet", tmp_path / "out"
    source.write_bytes(b"rows")
    target.mkdir()
    with pytest.raises(RunError) as caught:
        rundir.copy(source, target)
    assert f"{target}: cannot be written: Is a directory" == str(caught.value)
    assert f"the results are in {source}" == caught.value.hint
    assert {source, target} == set(tmp_path.iterdir())


def test_folders_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    """Each on the way, and those that are there already stay as they are."""
    rundir.make_folders(tmp_path / "a/b/c", below=tmp_path)
    rundir.make_folders(tmp_path / "a/b/d", below=tmp_path)
    made = ["a", "a/b", "a/b/c", "a/b/d"]
    assert [0o700] * 4 == [mode(tmp_path / name) for name in made]


def test_progress_is_whole_private_and_never_in_the_way(tmp_path: Path) -> None:
    """A folder that is gone or full does not end a run for the sake of telling."""
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    rundir.show_progress(directory, {"settled": 1})
    rundir.show_progress(directory, {"settled": 2})
    assert {"settled": 2} == json.loads(directory.progress.read_bytes())
    assert 0o600 == mode(directory.progress)
    assert [directory.progress] == list(directory.path.iterdir())
    shutil.rmtree(directory.path)
    rundir.show_progress(directory, {"settled": 3})


def test_now_is_utc_to_the_microsecond() -> None:
    """As it is stored, it sorts as text and reads back."""
    before = datetime.now(UTC)
    told = datetime.fromisoformat(rundir.now())
    assert before <= told <= datetime.now(UTC)
    assert 32 == len(rundir.now())
