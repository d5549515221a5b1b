"""The journal's file: made whole or not at all, opened alone, checked before use."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from engine.errors import JournalError, OtherVersion
from engine.journal.codec import Damage
from engine.journal.ground import expect_local, expect_own_file, expect_own_folder
from engine.journal.schema import APPLICATION_ID, SCHEMA, VERSION

#: Opens an existing file of SQLite; transactions are left to the caller.
Connect = Callable[[Path], sqlite3.Connection]

_ANOTHER: Final = (
    "Use the version of mailvolley that began the run. If it is finished, it may be "
    "moved elsewhere: then nobody is left out for having got its mail."
)
_NOT_OURS: Final = (
    "If it is a copy, go back to the original. Never send from a journal that cannot "
    "be trusted: start a new run and leave out those who may have been mailed."
)


@contextmanager
def trouble(path: Path, what: str) -> Iterator[None]:
    """Turn damage, errors of SQLite and of the file system into JournalError.

    Args:
        path: the journal, for the message.
        what: what could not be done, as the end of "cannot …".
    """
    try:
        yield
    except (Damage, UnicodeDecodeError) as error:
        # SQLite quotes damaged names in its messages as they are.
        raise JournalError(f"{path}: damaged: {error}", hint=_NOT_OURS) from error
    except (sqlite3.Error, OSError) as error:
        raise _translated(path, what, error) from error


def is_full(error: sqlite3.Error) -> bool:
    """Say whether it is just that the disk is full.

    Source:
        https://www.sqlite.org/rescode.html#full. A quota that is spent, or an error
        that comes with a flush, is another code: after those nothing is certain.
    """
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _translated(path: Path, what: str, error: Exception) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return JournalError(
            f"{path}: another process has it",
            hint="Wait for the other run to end, or stop it.",
        )
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return JournalError(f"{path}: damaged: {error}", hint=_NOT_OURS)
    if code == sqlite3.SQLITE_FULL:
        return JournalError(
            f"{path}: cannot {what}: the disk is full",
            hint="Free some space, then resume.",
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return JournalError(
            f"{path}: refused a contradiction: {error}",
            hint="This is a mistake in mailvolley, not yours. The journal is intact.",
        )
    return JournalError(
        f"{path}: cannot {what}: {error}",
        hint="See to the disk and the permissions, then resume.",
    )


def create_file(
    path: Path,
    fill: Callable[[sqlite3.Connection], None],
    *,
    allow_network: bool,
) -> None:
    """Make a journal, complete or not at all.

    Args:
        path: where; nothing may be there.
        fill: writes what it begins with.
        allow_network: see `open_file`.

    Raises:
        JournalError: the file exists, cannot be made, or may not lie there.
    """
    aside = path.with_name(f"{path.name}.inprogress")
    with trouble(path, "create it"):
        _expect_ground(path.parent, allow_network=allow_network)
        aside.unlink(missing_ok=True)
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(connect(aside)) as db:
            db.executescript(f"BEGIN; {SCHEMA}")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            fill(db)
            db.execute("COMMIT")
        try:
            # Not a rename: that would replace a journal made in the meantime.
            os.link(aside, path)
        except FileExistsError:
            raise JournalError(
                f"{path}: a journal is there already",
                hint="Resume that run, or start another one in its own folder.",
            ) from None
        finally:
            aside.unlink()
        _sync_directory(path.parent)


def open_file(
    path: Path,
    *,
    synchronous: Literal["FULL", "NORMAL", "OFF"],
    connect: Connect,
    allow_network: bool,
) -> sqlite3.Connection:
    """Take hold of a journal and check all of its structure.

    EXCLUSIVE comes first: then WAL needs no shared memory, nobody else can open the
    file, and it still opens on a full disk. SQLite's locks go when *any* descriptor of
    this file is closed in this process: nothing here may open it a second time.

    Args:
        path: where it is.
        synchronous: when SQLite flushes.
        connect: opens the file.
        allow_network: whether it may lie on a network file system.

    Raises:
        JournalError: it is missing, foreign, damaged, may not lie where it does, or
            another process has it.

    Source:
        https://www.sqlite.org/wal.html section 7, use of WAL without shared memory;
        https://www.sqlite.org/howtocorrupt.html section 2.2, POSIX locks.
    """
    with trouble(path, "open it"):
        expect_own_file(path)
        _expect_ground(path.parent, allow_network=allow_network)
        db = connect(path)
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            _expect_ours(path, db)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {synchronous}")
            db.execute("PRAGMA fullfsync = ON")  # macOS: fsync leaves it in the drive
            db.execute("PRAGMA checkpoint_fullfsync = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            _expect_sound(db)
        except BaseException:
            db.close()
            raise
    return db


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing file; transactions are ours to begin and end."""
    return _opened(f"{path.absolute().as_uri()}?mode=rw")


def _opened(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )


def looking(path: Path, aside: Path) -> Connect:
    """Say how to open a journal that nobody changes meanwhile, and not change it.

    Without a log it is read as it lies, without any lock: any number may look. What a
    crash has left in a log must be brought into the file first: into a copy of it.

    Args:
        path: where it is.
        aside: an empty folder of ours for the copy.

    Raises:
        JournalError: it cannot be copied.

    Source:
        https://www.sqlite.org/uri.html, `immutable`; that it holds is our promise.
    """
    log = path.with_name(f"{path.name}-wal")
    with trouble(path, "read it"):
        if not (log.exists() and log.stat().st_size):
            query = "mode=ro&immutable=1"
            return lambda path: _opened(f"{path.absolute().as_uri()}?{query}")
        for file in (path, log):
            shutil.copyfile(file, aside / file.name)
    return lambda _: connect(aside / path.name)


def _expect_ground(folder: Path, *, allow_network: bool) -> None:
    expect_own_folder(folder)
    if not allow_network:
        expect_local(folder)


def _expect_ours(path: Path, db: sqlite3.Connection) -> None:
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        raise JournalError(f"{path}: not a journal of mailvolley", hint=_NOT_OURS)
    if version != VERSION:
        raise OtherVersion(
            f"{path}: a journal of version {version}, and this program reads {VERSION}",
            hint=_ANOTHER,
        )


def _expect_sound(db: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(SCHEMA)
        expected = _schema_of(fresh)
    if _schema_of(db) != expected:
        raise Damage("its tables are not those of this version")
    ((verdict,),) = db.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise Damage(verdict)


def _schema_of(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def _sync_directory(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
