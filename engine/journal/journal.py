"""The journal itself: made or opened, taken up again, written by its writer, closed."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Self

import trio

from engine.errors import JournalError
from engine.journal import store
from engine.journal.ballast import BALLAST, Ballast
from engine.journal.batches import Batches
from engine.journal.commit import GroupCommit, Statistics
from engine.journal.file import Connect, connect, create_file, looking, open_file
from engine.journal.runner import Adaptive, Runner
from engine.record import BatchState


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Journal(Batches):
    """The durable truth of a run. Make one with `create` or `open`.

    Writing belongs to trio tasks, while `run` runs in a nursery. Reading is possible at
    any time, without trio too. Records are written in the order of the calls.

    Every method that writes raises JournalError once a commit has failed or the journal
    is closed, and BrokenPromise when asked for what cannot be.
    """

    @classmethod
    def create(
        cls,
        path: Path,
        facts: Mapping[str, str],
        *,
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        runner: Runner | None = None,
        clock: Callable[[], datetime] = _utc_now,
        ballast: int = BALLAST,
        allow_network: bool = False,
    ) -> Self:
        """Make a new journal, for the eyes of its owner alone, and open it.

        Args:
            path: where; nothing may be there yet.
            facts: what the run wants to know of itself later, by name.
            synchronous: less than FULL is for the control of a crash test.
            runner: how a transaction is run: `inline` for a simulation; None: at once
                while the disk is quick, else in a thread.
            clock: tells the present moment, UTC.
            ballast: bytes of disk to set aside while it is open, so that answers are
                kept when the disk is full. Without that room no batch may begin.
                0 for none: then a full disk is an error like any other.
            allow_network: whether it may lie on a network file system. There, what was
                acknowledged can be lost, and two processes can have it at once.

        Raises:
            JournalError: something is there already, it cannot be made, or the folder
                is a link, somebody else's, or on the network.
        """
        fill = partial(store.insert_facts, facts=facts)
        create_file(path, fill, allow_network=allow_network)
        return cls.open(
            path,
            synchronous=synchronous,
            runner=runner,
            clock=clock,
            ballast=ballast,
            allow_network=allow_network,
        )

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL",
        runner: Runner | None = None,
        clock: Callable[[], datetime] = _utc_now,
        ballast: int = BALLAST,
        allow_network: bool = False,
        connect: Connect = connect,
    ) -> Self:
        """Take hold of a journal and check it. `replay` comes next.

        It opens on a full disk too, and can be read; but no batch may begin.

        Args:
            path: where it is.
            synchronous: as in `create`; likewise those that follow.
            runner: likewise.
            clock: likewise.
            ballast: likewise.
            allow_network: likewise.
            connect: opens the file; a crash test puts its own disk below SQLite.

        Raises:
            JournalError: it is missing, damaged or not a journal, it is of another
                version, another process has it, it or its folder is a link or somebody
                else's, or it lies on the network.
        """
        db = open_file(
            path, synchronous=synchronous, connect=connect, allow_network=allow_network
        )
        room = Ballast(path.parent, ballast)
        try:
            return cls(path, GroupCommit(db, path, runner or Adaptive(), room), clock)
        except BaseException:
            room.drop()
            db.close()
            raise

    @classmethod
    @contextmanager
    def looked_into(cls, path: Path) -> Iterator[Self]:
        """Read a journal that nobody has open or opens meanwhile, and change nothing.

        Any number of processes may look into it at once.

        Raises:
            JournalError: as `open`; that it lies on the network does no harm.
        """
        with tempfile.TemporaryDirectory(prefix="mailvolley-look-") as aside:
            how = looking(path, Path(aside))
            with cls.open(path, ballast=0, allow_network=True, connect=how) as journal:
                yield journal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def replay(self) -> None:
        """Call every batch that a crash left as an intent in doubt, durably.

        Repeating it changes nothing. Where the disk has no room for that, the journal
        can still be read, and refuses everything else.

        Raises:
            JournalError: it cannot be written for another reason.
            RuntimeError: `run` has begun.
        """
        self._writer.expect_fresh()
        for entry in self._open.values():
            if entry.state is BatchState.INTENT:
                self._move(entry, BatchState.IN_DOUBT)
        try:
            self._writer.drain()
        except JournalError:
            if not self.is_closing():
                raise
        self._unreplayed = False

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Write what is queued until `aclose` or cancelled; then write the rest.

        All that is queued while a transaction is under way shares the next one.

        Raises:
            JournalError: a commit failed. It is not repeated; sending has to stop.
            RuntimeError: `run` was called before, or `replay` was not.
        """
        if self._unreplayed:
            raise RuntimeError("a crash left intents: replay comes before run")
        await self._writer.run(task_status=task_status)

    async def flush(self) -> None:
        """Wait until everything queued so far is durable."""
        await self._writer.durable()

    async def aclose(self) -> None:
        """Make everything queued durable, end `run`, and close the file."""
        try:
            await self._writer.stop()
        finally:
            self.close()

    def close(self) -> None:
        """Close the file. What was queued after `run` ended is made durable first.

        Raises:
            JournalError: that failed. The file is closed all the same.
            RuntimeError: `run` is at work: use `aclose`.
        """
        self._writer.close()

    def statistics(self) -> Statistics:
        """Say what was made durable since the journal was opened."""
        return self._writer.statistics
