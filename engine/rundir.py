"""The run directory: which files there are, how they appear, and who owns them.

    <runs>/<campaign>/.lock         held by the process that sends the campaign
    <runs>/<campaign>/<run>/
        manifest.json               what was planned; the run exists when this does
        recipients.parquet          the frozen list, one row per input row
        templates/                  copies of the templates in use
        journal.db                  what was sent: the only truth that changes
        progress.json               for who looks on while the run holds the journal
        results.parquet             made from the journal, whole or not there
        results.sha256              of that file, by which damage of a disk is told
        events.parquet              what the provider reported of the rows later
    <runs>/events.db                every event, of all runs
    <runs>/suppressions.db          who must not be mailed

A file appears whole or not at all: it is written aside, brought to the disk, renamed,
and its folder brought to the disk. Nothing is readable to others.
"""

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.errors import RunError, RunLocked, cause_of

#: What the name of a run begins with that went to the sandbox.
REHEARSAL = "rehearsal-"
#: A run's id: when it was planned, to the microsecond, UTC.
MOMENT = "%Y%m%dT%H%M%SZ-%f"
#: The page of a preview, in the campaign's folder.
PREVIEW = "preview.html"
#: Seconds that an owner waits for those who only look, and between two tries.
PATIENCE, _GLANCE = 5.0, 0.02
#: Seconds after which a temporary folder that nobody holds is nobody's.
_YOUNG = 60.0
_LOOKING = os.O_RDONLY | os.O_CLOEXEC
RUN = re.compile(rf"(?:{REHEARSAL})?([0-9]{{8}}T[0-9]{{6}}Z-[0-9]{{6}})")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id: the name of its folder."""
        return self.path.name

    @property
    def manifest(self) -> Path:
        """What was planned."""
        return self.path / "manifest.json"

    @property
    def recipients(self) -> Path:
        """The frozen list."""
        return self.path / "recipients.parquet"

    @property
    def templates(self) -> Path:
        """The copies of the templates."""
        return self.path / "templates"

    @property
    def journal(self) -> Path:
        """What was sent."""
        return self.path / "journal.db"

    @property
    def progress(self) -> Path:
        """How far the run is, for who looks on."""
        return self.path / "progress.json"

    @property
    def results(self) -> Path:
        """One row per input row."""
        return self.path / "results.parquet"

    @property
    def results_sha256(self) -> Path:
        """The hash of the results, in hex."""
        return self.path / "results.sha256"

    @property
    def events(self) -> Path:
        """What the provider reported of the rows later."""
        return self.path / "events.parquet"

    @property
    def is_rehearsal(self) -> bool:
        """Whether it went to the sandbox."""
        return self.run.startswith(REHEARSAL)

    def exists(self) -> bool:
        """Whether the run was planned to the end."""
        return self.manifest.is_file()

    def has_begun(self) -> bool:
        """Whether there is something that is only there once there was a journal."""
        log = self.journal.with_name(f"{self.journal.name}-wal")
        return any(file.exists() for file in (log, self.progress, self.results))


def create(folder: Path, *, rehearsal: bool) -> RunDirectory:
    """Make the directory of a new run in the campaign's folder.

    The id tells a rehearsal from the real thing, and sorts after those of all runs that
    are there, even where the clock was set back: who is newest decides what is sent.

    Raises:
        RunError: the folder cannot be written.
    """
    prefix = REHEARSAL if rehearsal else ""
    moment = datetime.now(UTC)
    try:
        newest = max(map(_planned_at, _runs(folder)), default=moment)
        if moment <= newest:
            moment = newest + timedelta(microseconds=1)
        path = folder / f"{prefix}{moment.strftime(MOMENT)}"
        path.mkdir(mode=0o700)
    except OSError as error:
        raise _unwritable(folder, error) from error
    return RunDirectory(path)


def clear_leftovers(folder: Path, *, rehearsal: bool) -> None:
    """Remove what a crash left of runs that were never planned to the end.

    Rehearsals have a lock of their own, and so clear only what is theirs.

    Only for who owns the campaign: nothing of them was ever sent. What else lies in the
    folder is not ours and is left alone.

    Raises:
        RunError: they cannot be removed.
    """
    try:
        for run in every(folder, rehearsal=rehearsal):
            if not run.exists():
                shutil.rmtree(run.path)
    except OSError as error:
        raise _unwritable(folder, error) from error


def remove(run: RunDirectory) -> None:
    """Remove a run of which nothing was sent. Only for who owns the campaign.

    The manifest goes first: without it there is no run, and what a crash leaves is
    cleared by the next start.

    Raises:
        RunError: it cannot be removed.
    """
    try:
        run.manifest.unlink(missing_ok=True)
        sync_folder(run.path)
        shutil.rmtree(run.path)
    except OSError as error:
        raise RunError(
            f"{run.path}: cannot be removed: {error.strerror}",
            hint="see to the permissions of the folder",
        ) from error


def every(folder: Path, *, rehearsal: bool) -> frozenset[RunDirectory]:
    """Return the runs of a folder, planned to the end or not: rehearsals, or others."""
    return frozenset(run for run in _runs(folder) if run.is_rehearsal is rehearsal)


def find(folder: Path) -> list[RunDirectory]:
    """Return the planned runs of a campaign's folder, the newest first."""
    planned = [run for run in _runs(folder) if run.exists()]
    return sorted(planned, key=_planned_at, reverse=True)


def _runs(folder: Path) -> list[RunDirectory]:
    """Return the runs of a folder, planned to the end or not."""
    if not folder.is_dir():
        return []
    return [
        RunDirectory(path)
        for path in folder.iterdir()
        if _moment(path.name) and path.is_dir() and not path.is_symlink()
    ]


def _planned_at(run: RunDirectory) -> datetime:
    return _moment(run.run) or datetime.min.replace(tzinfo=UTC)


def _moment(name: str) -> datetime | None:
    """Return the moment in a run's id; None if the name is none."""
    if (found := RUN.fullmatch(name)) is None:
        return None
    try:
        return datetime.strptime(found[1], MOMENT).replace(tzinfo=UTC)
    except ValueError:  # the 99th of a month
        return None


@contextmanager
def owned(folder: Path, *, rehearsal: bool = False) -> Iterator[None]:
    """Own a campaign while the block runs: nobody else sends it meanwhile.

    A rehearsal owns the campaign's rehearsals alone, and disturbs nobody.

    The lock is the kernel's and dies with the process; nothing is decided by a
    timeout. It is `flock`, since a POSIX lock lets a second caller of the same process
    pass.

    Raises:
        RunLocked: another process, or another call of this one, owns the campaign.
        RunError: the folder cannot be written.
    """
    lock = None
    try:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            lock = os.open(_lock(folder, rehearsal=rehearsal), flags, 0o600)
            _take(lock, folder)
        except OSError as error:
            raise _unwritable(folder, error) from error
        yield
    finally:
        if lock is not None:
            os.close(lock)


@contextmanager
def looked_at(directory: RunDirectory) -> Iterator[None]:
    """Read a run's files while the block runs: nobody changes them meanwhile.

    Others may look, too; who wants to own the campaign waits a little. Nothing is
    written, so that a folder can be read which cannot be written.

    Raises:
        RunLocked: somebody owns the campaign.
        RunError: the lock cannot be read.
    """
    folder = directory.path.parent
    lock = None
    try:
        try:
            lock = os.open(_lock(folder, rehearsal=directory.is_rehearsal), _LOOKING)
            if not _locked(lock, fcntl.LOCK_SH):
                raise _owned_already(lock, folder)
        except FileNotFoundError:
            pass  # nobody has ever owned it: it was brought here from elsewhere
        except OSError as error:
            raise RunError(f"{folder}: cannot be read: {error.strerror}") from error
        yield
    finally:
        if lock is not None:
            os.close(lock)


class Passing:
    """A folder among the system's temporary ones, there from `make` to `remove`.

    Its name is known before it is there, so that an interrupt between any two steps
    finds what to remove. What killed processes have left is removed by the next: who
    lives holds a lock on the folder itself, which dies with the process.

    Attributes:
        path: the folder.
    """

    def __init__(self, prefix: str) -> None:
        """Choose a name that begins with a prefix, which must be ours alone."""
        self._prefix = prefix
        self.path = Path(tempfile.gettempdir()) / f"{prefix}{secrets.token_hex(8)}"
        self._lock: int | None = None

    def make(self) -> None:
        """Make the folder and hold it; remove what the killed have left."""
        for left in self.path.parent.glob(f"{self._prefix}*"):
            with suppress(OSError):  # removed meanwhile, or somebody else's
                _remove_left(left)
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path, _LOOKING)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the folder, as far as there is one."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _remove_left(folder: Path) -> None:
    lock = os.open(folder, _LOOKING | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        about = os.fstat(lock)
        # One that is younger may be about to be locked.
        is_old = time.time() - about.st_mtime > _YOUNG
        if is_old and about.st_uid == os.getuid() and _locked(lock, fcntl.LOCK_EX):
            shutil.rmtree(folder)
    finally:
        os.close(lock)


def _lock(folder: Path, *, rehearsal: bool) -> Path:
    return folder / (".lock-rehearsal" if rehearsal else ".lock")


def _take(lock: int, folder: Path) -> None:
    """Take the lock at once or not at all, and say in it who has it.

    Who only looks is waited for a little: that is no owner.
    """
    until = time.monotonic() + PATIENCE
    while not _locked(lock, fcntl.LOCK_EX):
        if not _locked(lock, fcntl.LOCK_SH):
            raise _owned_already(lock, folder)
        fcntl.flock(lock, fcntl.LOCK_UN)  # else two who wait would wait for each other
        if time.monotonic() > until:
            raise RunLocked(
                f"{folder}: somebody has been looking at this campaign for "
                f"{PATIENCE:.0f} s",
                hint="wait until `mailvolley status` or `verify` has ended",
            )
        time.sleep(_GLANCE)
    os.ftruncate(lock, 0)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    os.pwrite(lock, f"process {os.getpid()} since {started}".encode(), 0)


def _locked(lock: int, how: int) -> bool:
    """Lock at once; False if that cannot be."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owned_already(lock: int, folder: Path) -> RunLocked:
    holder = os.pread(lock, 200, 0).decode(errors="replace") or "unknown"
    return RunLocked(
        f"{folder}: this campaign is being sent already ({holder})",
        hint=f"wait until it ends, or look at it: mailvolley status {folder}",
    )


def sha256(path: Path) -> str:
    """Return the hash of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(path: Path, data: bytes, *, option: str = "--runs-dir DIR") -> None:
    """Let a file appear whole, and survive a power cut once this returns.

    Args:
        path: the file.
        data: what it holds.
        option: by which the user may name another place.

    Raises:
        RunError: it cannot be written; nothing is left of it.
    """
    aside = path.with_name(f".{path.name}.inprogress")
    try:
        aside.touch(mode=0o600)
        aside.write_bytes(data)
        publish_file(aside, path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise _unwritable(path, error, option) from error


def publish_file(aside: Path, path: Path) -> None:
    """Let a file that was written aside appear under its name, durably."""
    aside.chmod(0o600)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def make_folders(folder: Path, *, below: Path) -> None:
    """Make a folder and those between it and `below`, for their owner alone."""
    if folder != below:
        make_folders(folder.parent, below=below)
        folder.mkdir(mode=0o700, exist_ok=True)


def check_target(target: Path, *, never: Iterable[Path] = ()) -> None:
    """Refuse a place that results cannot be copied to, before anything is sent.

    Args:
        target: where they are to be copied to.
        never: files that must not be overwritten.

    Raises:
        RunError: it is no file, one of those, or its folder cannot be written.
    """
    try:
        if target.resolve() in {file.resolve() for file in never}:
            raise RunError(f"--out {target}: is what the run is made from")
        if target.exists() and not target.is_file():
            raise RunError(f"--out {target}: is no file")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise RunError(
            f"--out {target}: cannot be written: {cause_of(error)}",
            hint="name another file",
        ) from error


def copy(path: Path, target: Path) -> None:
    """Copy a file to where the user wants it; it appears whole, for its owner alone.

    Raises:
        RunError: it cannot be written there.
    """
    target = target.resolve()  # what a link points to is written, not the link
    aside = target.with_name(f".{target.name}.inprogress")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.touch(mode=0o600)  # before there is anything in it to read
        shutil.copyfile(path, aside)
        publish_file(aside, target)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise RunError(
            f"{target}: cannot be written: {cause_of(error)}",
            hint=f"the results are in {path}",
        ) from error


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def show_progress(directory: RunDirectory, facts: dict[str, object]) -> None:
    """Tell who looks on how far the run is. Whole, but not durable: it is not truth.

    Nor does a run end because of it: a full disk is the journal's to notice.
    """
    aside = directory.path / ".progress.json.inprogress"
    with suppress(OSError):
        aside.touch(mode=0o600)
        aside.write_text(json.dumps(facts), encoding="utf-8")
        aside.replace(directory.progress)


def _unwritable(path: Path, error: OSError, option: str = "--runs-dir DIR") -> RunError:
    return RunError(
        f"{path}: cannot be written: {cause_of(error)}",
        hint=f"choose another folder: {option}",
    )


def now() -> str:
    """Return the moment, UTC, as it is stored: ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
