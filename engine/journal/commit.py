"""Group commit: whatever is queued while the disk is busy shares the next fsync.

How it works: `put` adds an operation to the present group. The writer takes the group,
applies it in one transaction (`runner.py`), and wakes those who wait for it.

Rules: queue first, then wait, so that a cancelled caller never loses a record. The
first error is the last word: nothing is tried again, because after a failed fsync the
kernel calls the lost pages clean and the next fsync succeeds without them. A full disk
alone is different: it says so before anything is lost, and the transaction is undone.
Then the ballast goes, the same transaction is tried once more, and from there on the
journal is *closing*: no batch may begin, and the answers to those under way are kept.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from engine.errors import JournalError
from engine.journal.ballast import Ballast
from engine.journal.file import is_full, trouble
from engine.journal.runner import Runner
from engine.outcome import Status

Operation = Callable[[sqlite3.Connection], None]
#: Runs a query with its parameters and returns all rows.
Fetch = Callable[..., list[tuple[Any, ...]]]

#: Rows that may wait in the queue before callers are slowed down: two fsyncs of a slow
#: disk at 1M rows/s, about 20 MB of outcomes.
_ROOM: Final = 65_536


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the writer has done since the journal was opened.

    Attributes:
        commits: transactions made durable.
        records: intents, settlements and so on in them.
        seconds: spent in those transactions, the disk's share included.
    """

    commits: int
    records: int
    seconds: float


class _Phase(Enum):
    IDLE = auto()
    RUNNING = auto()
    STOPPED = auto()


@dataclass(slots=True, eq=False)
class Group:
    """Operations that become durable together.

    Attributes:
        records: that they write.
        weight: rows that they speak of.
        gains: rows that they settle, by status.
        done: set once they are durable, or never will be.
        durable: which of the two.
        patient: tasks that wait for that and cannot be cancelled.
    """

    operations: list[Operation] = field(default_factory=list)
    records: int = 0
    weight: int = 0
    gains: dict[Status, int] = field(default_factory=dict)
    done: trio.Event = field(default_factory=trio.Event)
    durable: bool = False
    patient: list[trio.lowlevel.Task] = field(default_factory=list)

    def end(self) -> None:
        """Wake all who wait."""
        self.done.set()
        for task in self.patient:
            trio.lowlevel.reschedule(task)
        self.patient.clear()


class GroupCommit:
    """The one writer of a journal.

    Attributes:
        lock: held while the connection is in use, by whichever thread.
        totals: durably settled rows by status.
        refusal: why no batch may begin any more, or None. Never taken back.
        statistics: what was made durable so far.
    """

    def __init__(
        self, db: sqlite3.Connection, path: Path, runner: Runner, ballast: Ballast
    ) -> None:
        self._db = db
        self._ballast = ballast
        self._path = path
        self._inode = path.lstat().st_ino
        self._runner = runner
        self._group = Group()
        self._writing: Group | None = None
        self._bell = trio.Event()
        self._phase = _Phase.IDLE
        self._closing = False
        self._stopped = trio.Event()
        self._failure: JournalError | None = None
        self.statistics = Statistics(commits=0, records=0, seconds=0.0)
        self.lock = threading.Lock()
        self.totals: dict[Status, int] = {}
        self.refusal: JournalError | None = None
        if reason := ballast.take():
            self._refuse(f"{ballast.size} bytes cannot be set aside: {reason.strerror}")

    def check(self) -> None:
        """Raise JournalError if a commit has failed, or the journal is closed."""
        if self._failure is not None:
            raise JournalError(
                str(self._failure), hint=self._failure.hint
            ) from self._failure

    def check_room(self) -> None:
        """Raise JournalError if no batch may begin for want of room on the disk."""
        if self.refusal is not None:
            raise JournalError(
                str(self.refusal), hint=self.refusal.hint
            ) from self.refusal

    def put(
        self,
        operation: Operation,
        *,
        records: int = 1,
        weight: int = 1,
        gains: Mapping[Status, int] | None = None,
    ) -> None:
        """Queue an operation behind all others.

        Raises:
            JournalError: a commit has failed.
        """
        self.check()
        group = self._group
        group.operations.append(operation)
        group.records += records
        group.weight += weight
        for status, count in (gains or {}).items():
            group.gains[status] = group.gains.get(status, 0) + count
        self._bell.set()

    async def durable(self, *, patiently: bool = False) -> None:
        """Wait until everything queued so far is durable.

        Args:
            patiently: wait though cancelled, without a scope, which costs more (8 us)
                than all else that is done here.

        Raises:
            JournalError: it never will be.
        """
        self.check()
        group = self._group if self._group.operations else self._writing
        if group is None:
            return
        if self._phase is _Phase.STOPPED:
            self.drain()
        if patiently and not group.done.is_set():
            group.patient.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(_stay)
        else:
            await group.done.wait()
        if not group.durable:
            self.check()

    async def quiet(self) -> None:
        """Wait until nothing is queued or being written, so that `fetch` sees all."""
        while self._group.operations or self._writing is not None:
            await self.durable()

    def has_room(self, weight: int) -> bool:
        """Whether a record of so many rows would have to wait for nothing."""
        return self._group.weight + weight <= _ROOM

    async def room(self) -> None:
        """Wait while the queue is full. Does not yield otherwise."""
        while not self.has_room(0) and self._phase is not _Phase.STOPPED:
            await self.durable()

    def expect_fresh(self) -> None:
        """Raise RuntimeError once anything was queued or `run` was begun."""
        if self._phase is not _Phase.IDLE or self._group.operations:
            raise RuntimeError("replay comes before everything else")

    def expect_open(self) -> None:
        """Raise JournalError if nobody will ever commit what is queued now."""
        self.check()
        if self._closing or self._phase is _Phase.STOPPED:
            raise JournalError(f"{self._path}: its writer has stopped")

    def fetch(self, query: str, *values: int | bytes) -> list[tuple[Any, ...]]:
        """Read between two transactions."""
        with self.reading() as fetch:
            return fetch(query, *values)

    @contextmanager
    def reading(self) -> Iterator[Fetch]:
        """Read several things between the same two transactions."""

        def fetch(query: str, *values: int | bytes) -> list[tuple[Any, ...]]:
            return self._db.execute(query, values).fetchall()

        with self.lock, trouble(self._path, "read it"):
            yield fetch

    async def run(
        self,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Commit what is queued until `stop` or cancelled; then commit the rest.

        Raises:
            JournalError: a commit failed. Everyone who waits gets it too.
        """
        if self._phase is not _Phase.IDLE:
            raise RuntimeError("the writer of a journal runs once")
        self.check()
        self._phase = _Phase.RUNNING
        task_status.started()
        try:
            while not self._closing:
                await self._bell.wait()
                await self._commit()
        finally:
            # From here on intents are refused, so this comes to an end.
            self._closing = True
            try:
                while self._group.operations and self._failure is None:
                    await self._commit()
            finally:
                self._phase = _Phase.STOPPED
                self._stopped.set()

    async def stop(self) -> None:
        """Commit everything queued and end `run`."""
        self._closing = True
        self._bell.set()
        if self._phase is _Phase.RUNNING:
            with trio.CancelScope(shield=True):
                await self._stopped.wait()

    def drain(self) -> None:
        """Commit what was queued when no writer was there to do it."""
        group = self._take()
        if group.operations and self._failure is None:
            with self._failing(group):
                self._write(group)
            self._settle(group)

    def close(self) -> None:
        """Commit what is left, close the file, and refuse everything from now on."""
        if self._phase is _Phase.RUNNING:
            raise RuntimeError("the writer is at work: use `await aclose()`")
        self._phase = _Phase.STOPPED
        self._closing = True
        try:
            self.drain()
        finally:
            # Before the file is closed: that moves the log into it, and takes room.
            self._ballast.drop()
            if self._failure is None:
                self._failure = JournalError(f"{self._path}: it is closed")
            with self.lock, trouble(self._path, "close it"):
                self._db.close()

    async def _commit(self) -> None:
        group = self._take()
        self._writing = group
        try:
            with self._failing(group), trio.CancelScope(shield=True):
                await self._runner(partial(self._write, group), group.weight)
        finally:
            self._writing = None
        self._settle(group)

    def _take(self) -> Group:
        group, self._group, self._bell = self._group, Group(), trio.Event()
        if self._closing:
            self._bell.set()
        return group

    def _write(self, group: Group) -> None:
        """Apply a group in one transaction. May run in a worker thread."""
        if not group.operations:
            return
        began = time.perf_counter()
        with self.lock, trouble(self._path, "write to it"):
            # Records in a file without a name would be gone with this process.
            if self._path.lstat().st_ino != self._inode:
                raise JournalError(f"{self._path}: it is not the file it was")
            try:
                self._transact(group.operations)
            except sqlite3.Error as error:
                if not is_full(error) or not self._ballast.drop():
                    raise
                self._refuse("the disk is full")
                self._transact(group.operations)
        before = self.statistics
        self.statistics = Statistics(
            commits=before.commits + 1,
            records=before.records + group.records,
            seconds=before.seconds + time.perf_counter() - began,
        )

    def _transact(self, operations: list[Operation]) -> None:
        """Apply all of them, durably, or none."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for operation in operations:
                operation(self._db)
            self._db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def _refuse(self, reason: str) -> None:
        self.refusal = JournalError(
            f"{self._path}: {reason}; nothing new is sent, answers are still recorded",
            hint="Free some space, then resume.",
        )

    def gain(self, rows: Mapping[Status, int]) -> None:
        """Add to the totals."""
        for status, count in rows.items():
            self.totals[status] = self.totals.get(status, 0) + count

    def _settle(self, group: Group) -> None:
        self.gain(group.gains)
        group.durable = True
        group.end()

    @contextmanager
    def _failing(self, group: Group) -> Iterator[None]:
        """Stop everything at an error, and tell all who wait."""
        try:
            yield
        except JournalError as error:
            self._fail(group, error)
            raise
        except BaseException as error:
            failure = JournalError(f"{self._path}: its writer broke: {error!r}")
            self._fail(group, failure)
            if isinstance(error, Exception):
                raise failure from error
            raise

    def _fail(self, group: Group, failure: JournalError) -> None:
        self._failure = failure
        group.end()
        self._group.end()


def _stay(_: object) -> trio.lowlevel.Abort:
    """Refuse to be cancelled."""
    return trio.lowlevel.Abort.FAILED
