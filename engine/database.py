"""A small SQLite database that several processes share: made, opened, checked.

WAL with full flushes: a commit that has returned survives a power cut, and who reads
never waits for who writes. The journal is another thing: one owner, and no waiting.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import StoreError, cause_of, is_full

#: Seconds to wait while another process writes.
_PATIENCE = 30.0
#: Rows read at a time.
_AT_ONCE = 10_000


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


@dataclass(frozen=True, slots=True)
class Database:
    """An open database. Made by `Database.open`; may be used in any thread."""

    path: Path
    layout: Layout
    _db: sqlite3.Connection

    @classmethod
    @contextmanager
    def open(cls, path: Path, layout: Layout) -> Iterator["Database"]:
        """Open a database; it and its folder are made where they are not there yet.

        Raises:
            StoreError: it cannot be opened or made, or is not ours.
        """
        with trouble(path, layout):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            db = sqlite3.connect(
                path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        try:
            with trouble(path, layout):
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA secure_delete = ON")  # who was erased is erased
                db.execute("PRAGMA fullfsync = ON")  # macOS: else it stays in the drive
                _made(path, db, layout)
            yield cls(path, layout, db)
        finally:
            db.close()

    def write(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Run a statement for each row, durably: all of them or none.

        Returns:
            How many rows of the database changed.

        Raises:
            StoreError: it failed, and nothing changed.
        """
        with trouble(self.path, self.layout):
            before = self._db.total_changes
            with _transaction(self._db):
                self._db.executemany(statement, rows)
            return self._db.total_changes - before

    def compact(self) -> None:
        """Leave nothing of what was deleted or replaced, in the file or in its log.

        Raises:
            StoreError: it failed, or somebody reads at this moment.
        """
        with trouble(self.path, self.layout):
            self._db.execute("VACUUM")
            query = "PRAGMA wal_checkpoint(TRUNCATE)"
            ((busy, _, _),) = self._db.execute(query)
        if busy:
            raise StoreError(
                f"{self.path}: somebody reads {self.layout.what} just now",
                hint="once more when they have ended",
            )

    def copy(self, target: Path) -> None:
        """Copy it, whole, for its owner alone; others may be at it.

        Raises:
            StoreError: the copy cannot be written.
        """
        with trouble(target, self.layout):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._db.execute("VACUUM INTO ?", (str(target),))

    def read(
        self, query: str, values: Sequence[object] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Read rows, some at a time.

        Raises:
            StoreError: they cannot be read.
        """
        with trouble(self.path, self.layout):
            cursor = self._db.execute(query, values)
            while rows := cursor.fetchmany(_AT_ONCE):
                yield from rows


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
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
        if _is_full(path, error):
            raise StoreError(
                f"{path}: {layout.what} cannot be written: the disk is full",
                hint="free some space, then once more",
            ) from error
        raise StoreError(
            f"{path}: {layout.what} cannot be read or written: {error}",
            hint="see to the disk and the permissions, or restore it from a backup",
        ) from error
    except OSError as error:
        raise StoreError(
            f"{path}: {layout.what} cannot be kept there: {cause_of(error)}",
            hint="choose another folder: --runs-dir DIR",
        ) from error


def _is_full(path: Path, error: sqlite3.DatabaseError) -> bool:
    """Whether it failed for want of room.

    The files beside a database fail with an error of the disk where there is no room.
    """
    code = error.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_IOERR:
        return is_full(error, path.parent)
    return code == sqlite3.SQLITE_FULL


def _made(path: Path, db: sqlite3.Connection, layout: Layout) -> None:
    """Make the tables of a new database; refuse one that is not ours."""
    with _transaction(db):
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
