"""The disk below a simulated journal: real files, and what a death leaves of them.

How it works: the journal is the real one on real SQLite files, in memory if there is
such a file system. Its transactions take some virtual time, and may be cut short in
their midst: then a part of what they added to the write-ahead log is there. A power cut
also takes back what was not yet brought to the disk. With `synchronous=FULL` that is
nothing, since every commit is; which of the two holds is asked of SQLite.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from unittest import mock

from simulation.world import Dead, How, World

from engine.journal import Journal
from engine.journal import file as journal_file
from engine.journal.codec import Damage

_MEMORY = Path("/dev/shm")
_FULL = 2
#: Seconds that one half of a transaction takes at most.
_SLOWEST = 0.004

Image = dict[str, bytes]


@cache
def home() -> Path:
    """Make a folder for all files of this process, in memory if possible."""
    where = _MEMORY if _MEMORY.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=where))
    # Not atexit: the processes of a pool do not come that far.
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=0)
    return folder


@cache
def _tables() -> list[tuple[str, str]]:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(journal_file.SCHEMA)
        return journal_file._schema_of(fresh)


def _expect_sound(db: sqlite3.Connection) -> None:
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok" or journal_file._schema_of(db) != _tables():
        raise Damage(verdict)


def compared_once() -> AbstractContextManager[object]:
    """Do not make the tables anew at every opening, to compare with those of the file.

    It would take as long as all transactions of a small world.
    """
    return mock.patch.object(journal_file, "_expect_sound", _expect_sound)


class Disk:
    """The files of one journal.

    Args:
        world: whose time and deaths these are.
        journal: where the journal is or will be.
    """

    def __init__(self, world: World, journal: Path) -> None:
        self._world = world
        self._files = (journal, journal.with_name(f"{journal.name}-wal"))
        self._syncs = True
        self._synced = 0
        self._left: Image = {}
        world.take_image = self._take

    def attach(self, journal: Journal) -> None:
        """Ask an open journal how it treats the disk."""
        ((level,),) = journal._writer.fetch("PRAGMA synchronous")
        self._syncs = level == _FULL
        self._synced = self._logged()

    async def write(self, apply: Callable[[], None], _rows: int) -> None:
        """Run one transaction: the journal's `Runner`."""
        world = self._world
        world.event("commit")
        await world.pause(_SLOWEST)
        how = world.due("commit: writes")
        if how is not None:
            before = self._now()
            apply()
            world.die(how)
            self._left = self._torn(before, self._now(), how)
            raise Dead
        apply()
        if self._syncs:
            self._synced = self._logged()
        await world.pause(_SLOWEST)
        world.event("commit: done")

    def restore(self) -> None:
        """Put back what the last death left."""
        for file in self._files:
            file.unlink(missing_ok=True)
            if file.name in self._left:
                file.write_bytes(self._left[file.name])

    def _now(self) -> Image:
        return {file.name: file.read_bytes() for file in self._files if file.exists()}

    def _logged(self) -> int:
        log = self._files[1]
        return log.stat().st_size if log.exists() else 0

    def _take(self, how: How) -> None:
        self._left = self._now()
        log = self._files[1].name
        if how == "power" and log in self._left:
            whole = self._left[log]
            keep = self._world.random.randint(min(self._synced, len(whole)), len(whole))
            self._left[log] = whole[:keep]

    def _torn(self, before: Image, after: Image, how: How) -> Image:
        """Cut a transaction short: a part of what it added to the log is there."""
        database, log = (file.name for file in self._files)
        old, new = before.get(log, b""), after.get(log, b"")
        if before.get(database) != after.get(database) or not new.startswith(old):
            # A checkpoint was part of it: either all of it happened, or nothing.
            return before if self._world.random.random() < 1 / 2 else after
        sure = min(self._synced, len(old)) if how == "power" else len(old)
        keep = self._world.random.randint(sure, len(new))
        return {**after, log: new[:keep]}
