"""A small SQLite database that several processes share: made, opened, checked.

WAL with full flushes: a commit that has returned survives a power cut, and who reads
never waits for who writes. The journal is another thing: one owner, and no waiting.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engine.errors import StoreError

#: Seconds to wait while another process writes.
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Layout:
    """What a database holds.

    Attributes:
        what: what it is, for messages: "the events".
        tables: SQL that makes them.
        mark: the number by which SQLite tells whose file it is.
        version: of the tables; another one is refused.
    """

    what: str
    tables: str
    mark: int
    version: int = 1


@contextmanager
def opened(path: Path, layout: Layout) -> Iterator[sqlite3.Connection]:
    """Open a database, and make it and its folder where they are not there yet.

    Every transaction is the caller's: `with transaction(db)`.

    Raises:
        StoreError: it cannot be opened or made, is not ours, or a statement in the
            block failed.
    """
    with trouble(path, layout):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        db = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA fullfsync = ON")  # macOS: fsync leaves it in the drive
            _made(path, db, layout)
            yield db
        finally:
            db.close()


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Write all that the block writes, durably, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some errors have ended it already
            db.execute("ROLLBACK")
        raise


@contextmanager
def trouble(path: Path, layout: Layout) -> Iterator[None]:
    """Turn errors of SQLite and of the file system into StoreError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path}: {layout.what} cannot be read or written: {error}",
            hint="see to the disk and the permissions, or restore it from a backup",
        ) from error
    except OSError as error:
        raise StoreError(
            f"{path}: {layout.what} cannot be kept there: {error.strerror}",
            hint="choose another folder: --runs-dir DIR",
        ) from error


def _made(path: Path, db: sqlite3.Connection, layout: Layout) -> None:
    """Make the tables of a new database; refuse one that is not ours."""
    with transaction(db):
        (mark,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        ((tables,),) = db.execute("SELECT count(*) FROM sqlite_schema")
        if (mark, version, tables) == (0, 0, 0):
            for statement in filter(str.strip, layout.tables.split(";")):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {layout.mark}")
            db.execute(f"PRAGMA user_version = {layout.version}")
        elif mark != layout.mark:
            raise StoreError(
                f"{path}: does not hold {layout.what}: another program made it",
                hint="choose another folder: --runs-dir DIR",
            )
        elif version != layout.version:
            raise StoreError(
                f"{path}: holds {layout.what} in version {version}, and this program "
                f"reads {layout.version}",
                hint="use the version of mailvolley that made it",
            )
