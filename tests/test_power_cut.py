"""Power cuts: what a disk may hold afterwards, rebuilt write by write, opened again.

How it works: the journal runs on SQLite over a file system of ours, which passes every
write, flush, truncation and deletion on and also takes it down. From those lists we
build what the disk may hold if the power had failed at a certain moment: what was
flushed is there; what was not may be there, or not, or in part, in any order. The real
`Journal.open` then reads each image, through the SQLite that Python brings.

The claim: an image holds exactly what was there after some commit, the last that was
acknowledged or the one under way. The control: without flushes that claim is wrong.
"""

import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Literal

import apsw
import pytest
import trio

from engine.errors import JournalError
from engine.journal import Journal, inline
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchRecord, BatchState, RowFinding, RowOutcome

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECTOR = 512
#: Of the log, before it is moved into the file. The usual 1000 are too many to see that
#: happen here; when it happens is no matter of durability.
PAGES = 12
#: From one batch to the next, with some rows between them that are not sent.
STRIDE = 16
Sync = Literal["FULL", "NORMAL"]
Contents = tuple[list[BatchRecord], list[RowOutcome], list[RowFinding], dict[str, str]]


# --- a disk that takes everything down


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes at a place of a file; the file is made if it is not there."""

    name: str
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A file is cut off."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Delete:
    """A file goes; `synced`: its name is gone for good at once."""

    name: str
    synced: bool


@dataclass(frozen=True, slots=True)
class Flush:
    """All that was done to a file until now stays, whatever happens."""

    name: str


Operation = Write | Truncate | Delete | Flush


@dataclass
class Recorder:
    """What was done to the disk, and what the journal held after each commit.

    Attributes:
        operations: in their order.
        commits: how many operations there were when it was durable, and its contents.
        acknowledged: how many operations there were when `intend` returned, and for
            which batch.
        failing: makes this fail from now on.
        failed: how often it did.
    """

    operations: list[Operation] = field(default_factory=list)
    commits: list[tuple[int, Contents]] = field(default_factory=list)
    acknowledged: list[tuple[int, str]] = field(default_factory=list)
    failing: type[Operation] | None = None
    failed: int = 0

    def add(self, operation: Operation) -> None:
        """Take an operation down, or let it fail."""
        if self.failing is type(operation):
            self.failed += 1
            error = apsw.IOError("the disk does not answer")
            error.extendedresult = apsw.SQLITE_IOERR_WRITE
            raise error
        self.operations.append(operation)


_names = (f"recorder-{number}" for number in count())


class Disk(apsw.VFS):
    """The system's files, with a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self.name = next(_names)
        self.recorder = recorder
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - apsw calls it so
        """Open a file that records."""
        return File(self.recorder, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - apsw calls it so
        """Delete a file."""
        self.recorder.add(Delete(Path(filename).name, bool(syncdir)))
        super().xDelete(filename, syncdir)


class File(apsw.VFSFile):
    """A file that records."""

    def __init__(
        self, recorder: Recorder, name: str | apsw.URIFilename, flags: list[int]
    ) -> None:
        super().__init__("", name, flags)
        full = name if isinstance(name, str) else name.filename()
        self.name = Path(full).name
        self.recorder = recorder

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - apsw calls it so
        """Write."""
        self.recorder.add(Write(self.name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - apsw calls it so
        """Cut off."""
        self.recorder.add(Truncate(self.name, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - apsw calls it so
        """Flush."""
        self.recorder.add(Flush(self.name))
        super().xSync(flags)


class Rows:
    """What a statement gave."""

    def __init__(self, rows: list[tuple[object, ...]], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchall(self) -> list[tuple[object, ...]]:
        """Return all rows."""
        return self._rows

    def fetchone(self) -> tuple[object, ...] | None:
        """Return the first row."""
        return self._rows[0] if self._rows else None


class Connection:
    """A connection of apsw in the manner of Python's own."""

    def __init__(self, path: Path, disk: Disk) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE
        self._db = apsw.Connection(str(path), flags=flags, vfs=disk.name)
        self._db.execute(f"PRAGMA wal_autocheckpoint = {PAGES}")

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> Rows:
        """Run a statement to its end."""
        try:
            found = self._db.execute(statement, values).fetchall()
        except apsw.Error as error:
            told = sqlite3.OperationalError(str(error))
            told.sqlite_errorcode = error.extendedresult
            raise told from error
        return Rows(found, self._db.changes())

    def executemany(self, statement: str, lines: Iterable[tuple[object, ...]]) -> Rows:
        """Run a statement with each of many lines of values."""
        counts = [self.execute(statement, values).rowcount for values in lines]
        return Rows([], sum(counts))

    def close(self) -> None:
        """Close the file."""
        self._db.close()


# --- what happens before the power fails


def contents(journal: Journal) -> Contents:
    """Read all that a journal has."""
    return (
        list(journal.batches()),
        list(journal.row_outcomes()),
        list(journal.findings()),
        journal.facts(),
    )


@contextmanager
def recorded(
    path: Path, recorder: Recorder, synchronous: Sync = "FULL"
) -> Iterator[Journal]:
    """Open a journal on a recording disk."""
    disk = Disk(recorder)
    moments = (NOON + timedelta(seconds=n) for n in count())

    async def watched(write: Callable[[], None], rows: int) -> None:
        await inline(write, rows)
        recorder.commits.append((len(recorder.operations), contents(journal)))

    journal = Journal.open(
        path,
        synchronous=synchronous,
        runner=watched,
        clock=lambda: next(moments),
        ballast=5000,
        connect=lambda file: Connection(file, disk),
    )
    recorder.commits.append((0, contents(journal)))
    try:
        yield journal
    finally:
        recorder.failing = None
        journal.close()
        disk.unregister()


def record(path: Path, synchronous: Sync, seed: int, batches: int) -> Recorder:
    """Let a campaign happen on a recording disk."""
    recorder = Recorder()

    async def main() -> None:
        with recorded(path, recorder, synchronous) as journal:
            async with trio.open_nursery() as nursery:
                await nursery.start(journal.run)
                await campaign(journal, recorder, seed, batches)
                await journal.aclose()

    trio.run(main)
    return recorder


def outcomes(size: int, chance: random.Random) -> Outcomes:
    """Make outcomes of about a hundred bytes each, some of them in doubt."""
    choice = (Status.ACCEPTED, Status.REJECTED, Status.IN_DOUBT)
    statuses = [choice[chance.randrange(3)] for _ in range(size)]
    words = [chance.randbytes(40).hex() for _ in range(size)]
    return Outcomes(statuses, [None] * size, words, [None] * size)


@dataclass
class Worker:
    """Sends batches of its own rows, one after the other, as the sender would."""

    journal: Journal
    recorder: Recorder
    chance: random.Random

    async def send(self, low: int) -> None:
        """Take a batch of the 12 rows from `low` through one of five fates."""
        rows = list(range(low, low + 12, 1 + self.chance.randrange(2)))
        batch = await self.intend(low, rows)
        match low // STRIDE % 5:
            case 0:
                await self.journal.release(batch, self.attempt(1))
                await self.journal.flush()
                await self.intend(low, rows)
                await self.settle(batch, rows, 2)
            case 1:
                await self.journal.doubt(batch, self.attempt(1))
                await self.find(rows[:3])
            case 2:
                await self.journal.doubt(batch, self.attempt(1))
                await self.journal.hold(batch)
                await self.find(rows[1:2])
            case 3:
                await self.journal.split(batch, self.attempt(1))
                half = len(rows) // 2
                for number, part in enumerate((rows[:half], rows[half:]), 1):
                    child = await self.intend(low + number, part, batch)
                    await self.settle(child, part, 1)
            case _:
                await self.settle(batch, rows, 1)

    async def intend(
        self, number: int, rows: list[int], parent: str | None = None
    ) -> str:
        """Intend, and take down that it was acknowledged."""
        batch = f"{number:032x}"
        await self.journal.intend(
            batch, rows, body_digest=bytes(32), body_bytes=1, parent=parent
        )
        self.recorder.acknowledged.append((len(self.recorder.operations), batch))
        return batch

    async def settle(self, batch: str, rows: list[int], number: int) -> None:
        """Settle, and find out about a row that stays in doubt."""
        told = outcomes(len(rows), self.chance)
        await self.journal.settle(batch, told, self.attempt(number))
        doubtful = [
            row
            for row, status in zip(rows, told.statuses, strict=True)
            if status is Status.IN_DOUBT
        ]
        await self.find(doubtful[:1])

    async def find(self, rows: list[int]) -> None:
        """Find rows accepted."""
        status = Status.ACCEPTED
        await self.journal.find(
            [
                RowFinding(row, status, "event", "words", f"id-{row}", NOON)
                for row in rows
            ]
        )

    def attempt(self, number: int) -> Attempt:
        """Make an attempt."""
        return Attempt(number, NOON, 0.5, "ended", 200, None)


async def campaign(
    journal: Journal, recorder: Recorder, seed: int, batches: int
) -> None:
    """Send with two workers at once, so that their records share commits.

    Which of them comes first is for trio to choose: the claims hold for any order.
    """

    async def work(lows: Iterator[int]) -> None:
        for low in lows:
            skipped = RowOutcome(low + 12, Status.INVALID, "a", "b", NOON)
            await journal.skip([skipped])
            chance = random.Random(seed * 1000 + low)
            await Worker(journal, recorder, chance).send(low)
            await journal.note("at", str(low))

    lows = iter(range(0, batches * STRIDE, STRIDE))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work, lows)
        nursery.start_soon(work, lows)


# --- what the disk may hold when it has failed


@dataclass
class Platter:
    """The files of a disk, as far as they were flushed, and what was done since."""

    flushed: dict[str, bytes]
    pending: list[Operation] = field(default_factory=list)

    def apply(self, operation: Operation) -> None:
        """Let something happen to the disk."""
        match operation:
            case Flush(name):
                own = [op for op in self.pending if op.name == name]
                self.pending = [op for op in self.pending if op.name != name]
                self.flushed = outcome_of(self.flushed, own)
            case Delete(name, True):
                self.pending = [op for op in self.pending if op.name != name]
                self.flushed = outcome_of(self.flushed, [operation])
            case _:
                self.pending.append(operation)

    def images(self, chance: random.Random) -> Iterator[dict[str, bytes]]:
        """Yield what may be there: nothing unflushed, all of it, or some of it."""
        yield self.flushed
        if not self.pending:
            return
        yield outcome_of(self.flushed, self.pending)
        *before, last = self.pending
        yield outcome_of(self.flushed, [*before, *torn(last, chance)])
        for share in (0.5, 0.9):
            kept = [op for op in self.pending if chance.random() < share]
            yield outcome_of(self.flushed, kept)
        sectors = [part for op in self.pending for part in sectors_of(op)]
        kept = [part for part in sectors if chance.random() < 0.8]
        yield outcome_of(self.flushed, kept)


def outcome_of(
    files: dict[str, bytes], operations: list[Operation]
) -> dict[str, bytes]:
    """Return the files after some operations."""
    changed = {op.name: bytearray(files.get(op.name, b"")) for op in operations}
    gone = {op.name for op in operations if op.name not in files}
    for operation in operations:
        name = operation.name
        match operation:
            case Write(_, offset, content):
                gone.discard(name)
                changed[name].extend(bytes(max(0, offset - len(changed[name]))))
                changed[name][offset : offset + len(content)] = content
            case Truncate(_, size):
                gone.discard(name)
                del changed[name][size:]
            case Delete():
                gone.add(name)
                changed[name].clear()
    after = {**files, **{name: bytes(content) for name, content in changed.items()}}
    return {name: content for name, content in after.items() if name not in gone}


def sectors_of(operation: Operation) -> Iterator[Operation]:
    """Cut a write where the disk may cut it."""
    if not isinstance(operation, Write):
        yield operation
        return
    start, end = operation.offset, operation.offset + len(operation.content)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        place = start - operation.offset
        yield Write(
            operation.name, start, operation.content[place : stop - operation.offset]
        )
        start = stop


def torn(operation: Operation, chance: random.Random) -> list[Operation]:
    """Return the beginning of a write."""
    parts = list(sectors_of(operation))
    return parts[: chance.randrange(len(parts))]


# --- what is found then


@dataclass
class Verdict:
    """What became of the images of one recording.

    Attributes:
        images: how many were opened.
        lost: in how many an acknowledged commit is missing.
        unheard: in how many an intent is missing that was acknowledged to its caller.
    """

    recorder: Recorder
    folder: Path
    images: int = 0
    lost: int = 0
    unheard: int = 0

    def examine(self, image: dict[str, bytes], done: int) -> None:
        """Open an image, and compare it with what was there after each commit.

        Raises:
            AssertionError: it does not open, or holds what never was.
        """
        for file in self.folder.iterdir():
            file.unlink()
        for name, content in image.items():
            (self.folder / name).write_bytes(content)
        known = [after for _, after in self.recorder.commits]
        durable = sum(at <= done for at, _ in self.recorder.commits) - 1
        acknowledged = {b for at, b in self.recorder.acknowledged if at <= done}
        with Journal.open(
            self.folder / "journal.db", synchronous="OFF", ballast=0
        ) as journal:
            found = contents(journal)
            # Never a mixture: all of a commit and of those before it, or nothing.
            assert found in known[: durable + 2]
            self.images += 1
            self.lost += found not in known[durable : durable + 2]
            self.unheard += not acknowledged <= {batch.id for batch in found[0]}
            journal.replay()
            for before, after in zip(found[0], journal.batches(), strict=True):
                crashed = before.state is BatchState.INTENT
                assert after.state is (BatchState.IN_DOUBT if crashed else before.state)
                assert (before.id, before.rows) == (after.id, after.rows)


def judge(
    recorder: Recorder,
    base: dict[str, bytes],
    folder: Path,
    chance: random.Random,
    step: int,
) -> Verdict:
    """Cut the power before every `step`-th operation, and examine what may be left."""
    verdict = Verdict(recorder, folder)
    platter = Platter(dict(base))
    for done, operation in enumerate([*recorder.operations, None]):
        if done % step == 0 or operation is None:
            for image in distinct(platter.images(chance)):
                verdict.examine(image, done)
        if operation is not None:
            platter.apply(operation)
    return verdict


def distinct(images: Iterator[dict[str, bytes]]) -> list[dict[str, bytes]]:
    """Leave out images that are the same as another."""
    return list({tuple(sorted(image.items())): image for image in images}.values())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a journal, as a run does before anything is sent."""
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "journal.db"
    Journal.create(path, {"run": "r"}).close()
    return path


def files_beside(path: Path) -> dict[str, bytes]:
    """Read a journal and its log as they lie there."""
    return {file.name: file.read_bytes() for file in path.parent.glob("journal.db*")}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Name a folder to put images in."""
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_power_cut_loses_nothing_that_was_acknowledged(
    path: Path, images: Path, seed: int
) -> None:
    """Whatever a cut leaves on the disk: the last commit is whole, the next or not."""
    before = files_beside(path)
    recorder = record(path, "FULL", seed, batches=12)
    verdict = judge(recorder, before, images, random.Random(seed), step=2)
    assert verdict.images > 200
    assert (verdict.lost, verdict.unheard) == (0, 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_campaign_of_these_tests_meets_all_that_may_happen(
    path: Path, seed: int
) -> None:
    """Every state occurs; the log is moved into the file, begun anew, and deleted."""
    recorder = record(path, "FULL", seed, batches=12)
    kept = [after for _, after in recorder.commits]
    assert set(BatchState) == {batch.state for after in kept for batch in after[0]}
    _, skipped, findings, _ = kept[-1]
    assert len(skipped) == 12
    assert len(findings) > 5
    log = f"{path.name}-wal"
    writes = [op for op in recorder.operations if isinstance(op, Write)]
    assert sum((op.name, op.offset) == (log, 0) for op in writes) > 2
    assert {path.name, log} == {op.name for op in writes}
    assert {path.name, log} == {
        op.name for op in recorder.operations if isinstance(op, Flush)
    }
    assert log in {op.name for op in recorder.operations if isinstance(op, Delete)}


@pytest.mark.slow
def test_without_flushes_a_power_cut_does_lose_records(
    path: Path, images: Path
) -> None:
    """The control: with less than FULL the same images lack acknowledged intents.

    Even they are never torn: SQLite rolls back to an earlier commit.
    """
    before = files_beside(path)
    recorder = record(path, "NORMAL", 1, batches=12)
    verdict = judge(recorder, before, images, random.Random(1), step=2)
    assert verdict.lost > 20
    assert verdict.unheard > 20


@pytest.mark.slow
def test_a_power_cut_during_replay_changes_nothing(path: Path, images: Path) -> None:
    """Cut while it puts a crash's intents in doubt, it does so at the next start."""

    async def crash() -> None:
        async with trio.open_nursery() as nursery:
            journal = Journal.open(path, ballast=0)
            await nursery.start(journal.run)
            for number in range(20):
                await journal.intend(
                    f"{number:032x}", [number], body_digest=bytes(32), body_bytes=1
                )
            left.update(files_beside(path))
            await journal.aclose()

    left: dict[str, bytes] = {}
    trio.run(crash)
    for name, content in left.items():
        path.with_name(name).write_bytes(content)
    recorder = Recorder()
    with recorded(path, recorder) as journal:
        journal.replay()
        recorder.commits.append((len(recorder.operations), contents(journal)))
    replayed = [batch.state for batch in recorder.commits[-1][1][0]]
    assert [BatchState.IN_DOUBT] * 20 == replayed
    verdict = judge(recorder, left, images, random.Random(1), step=1)
    assert verdict.images > 10
    assert verdict.lost == 0


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 20))
def test_longer_campaigns_lose_nothing_at_any_operation(
    path: Path, images: Path, seed: int
) -> None:
    """The same at every operation of ten longer campaigns."""
    before = files_beside(path)
    recorder = record(path, "FULL", seed, batches=40)
    verdict = judge(recorder, before, images, random.Random(seed), step=1)
    assert (verdict.lost, verdict.unheard) == (0, 0)


# --- a disk that does not answer


@pytest.mark.parametrize("fault", [Flush, Write])
async def test_a_disk_that_fails_is_not_asked_again(
    path: Path, fault: type[Operation]
) -> None:
    """After one failed write or flush nothing is tried again; the ballast stays."""
    recorder = Recorder()
    with recorded(path, recorder) as journal:
        with pytest.RaisesGroup(JournalError):
            async with trio.open_nursery() as nursery:
                await nursery.start(journal.run)
                worker = Worker(journal, recorder, random.Random(1))
                await worker.intend(0, [0])
                recorder.failing = fault
                with pytest.raises(JournalError, match="cannot write to it"):
                    await worker.intend(1, [1])
        with pytest.raises(JournalError, match="cannot write to it"):
            await journal.doubt(f"{0:032x}", worker.attempt(1))
        assert (1, False) == (recorder.failed, journal.is_closing())
        assert path.with_name("ballast").exists()
    with Journal.open(path) as journal:
        assert [f"{0:032x}"] == [batch.id for batch in journal.batches()]
