"""The journal: never twice, never silently lost, on real files and real processes."""

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.errors import BrokenPromise, JournalError
from engine.journal import Journal, in_thread, inline
from engine.journal.codec import pack_texts
from engine.journal.entry import MOVES
from engine.journal.ground import filesystem_of, is_network
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchRecord, BatchState, RowFinding, RowOutcome

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FINAL = [status for status in Status if status is not Status.PENDING]
ACCEPTED = Outcomes.uniform(1, Status.ACCEPTED)


def digest(text: str) -> bytes:
    """Hash a body."""
    return hashlib.sha256(text.encode()).digest()


def name(number: int) -> str:
    """Make a batch id."""
    return f"{number:032x}"


def ended(number: int = 1, result: str = "ok", status: int | None = 200) -> Attempt:
    """Make an attempt that took an eighth of a second."""
    return Attempt(number, NOON, 0.125, result, status, None)


def finding(row: int, status: Status = Status.ACCEPTED, **other: str) -> RowFinding:
    """Make a finding."""
    words = {"reason": "event", "detail": "delivered", "provider_id": None, **other}
    return RowFinding(row, status, **words, found_at=NOON)


async def intend(
    journal: Journal,
    batch: str,
    rows: list[int],
    *,
    body: str = "body",
    parent: str | None = None,
    key: str | None = None,
) -> None:
    """Intend with what matters to most tests."""
    await journal.intend(
        batch,
        rows,
        body_digest=digest(body),
        body_bytes=len(body),
        parent=parent,
        idempotency_key=key,
    )


@asynccontextmanager
async def writing(journal: Journal) -> AsyncIterator[Journal]:
    """Run the writer; at the end everything is durable and the file is closed."""
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        yield journal
        await journal.aclose()


@contextmanager
def reopened(path: Path) -> Iterator[Journal]:
    """Open the journal as the next process would."""
    with Journal.open(path) as journal:
        journal.replay()
        yield journal


def states(path: Path) -> dict[str, BatchState]:
    """Read what a later process finds."""
    with reopened(path) as journal:
        return {batch.id: batch.state for batch in journal.batches()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a journal that is not there yet."""
    return tmp_path / "journal.db"


# --- the file


def test_only_the_owner_can_read_it(path: Path) -> None:
    """The journal and the log beside it are for their owner alone."""
    with Journal.create(path, {}) as journal:
        journal.replay()
        modes = {
            file.name: stat.S_IMODE(file.stat().st_mode)
            for file in path.parent.iterdir()
        }
    names = ("ballast", "journal.db", "journal.db-wal")
    assert dict.fromkeys(names, 0o600) == modes


async def test_facts_survive(path: Path) -> None:
    """What a run notes of itself is there later, the newest of each name."""
    async with writing(Journal.create(path, {"run": "r1", "rows": "7"})) as journal:
        await journal.note("finished_at", "never")
        await journal.note("finished_at", "now")
        assert journal.fact("finished_at") == "now"
    with Journal.open(path) as journal:
        assert journal.facts() == {"run": "r1", "rows": "7", "finished_at": "now"}
        assert journal.fact("nothing") is None


def test_create_leaves_an_existing_journal_alone(path: Path) -> None:
    """A second create is refused and changes nothing, also while the first is open."""
    with Journal.create(path, {"run": "first"}):
        with pytest.raises(JournalError, match="there already"):
            Journal.create(path, {"run": "second"})
        assert {"ballast", "journal.db", "journal.db-wal"} >= {
            p.name for p in path.parent.iterdir()
        }
    with Journal.open(path) as journal:
        assert journal.fact("run") == "first"


def test_a_create_that_was_cut_short_is_done_again(path: Path) -> None:
    """Leftovers of a crash while creating do not stand in the way."""
    path.with_name("journal.db.inprogress").write_bytes(b"half a journal")
    with Journal.create(path, {"run": "r"}) as journal:
        assert journal.fact("run") == "r"
    assert [path] == list(path.parent.iterdir())


def _missing(path: Path) -> None:
    """Leave nothing there."""


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database, but longer than a header" * 200)


def _empty(path: Path) -> None:
    path.touch()


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE batch (id)")


def _link(path: Path) -> None:
    other = path.with_name("other.db")
    Journal.create(other, {}).close()
    path.symlink_to(other)


def _other_version(path: Path) -> None:
    Journal.create(path, {}).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def _weakened(path: Path) -> None:
    Journal.create(path, {}).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TRIGGER batch_moves")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (_missing, "there is no journal"),
        (_garbage, "damaged"),
        (_empty, "not a journal"),
        (_foreign, "not a journal"),
        (_link, "not a plain file"),
        (_other_version, "version 99"),
        (_weakened, "not those of this version"),
    ],
)
def test_what_is_no_journal_is_refused(
    path: Path, make: Callable[[Path], None], complaint: str
) -> None:
    """Only a complete journal of this version opens; the refusal says what to do."""
    make(path)
    with pytest.raises(JournalError, match=complaint) as caught:
        Journal.open(path)
    assert caught.value.hint


def test_one_process_at_a_time(path: Path) -> None:
    """While one has the journal, no other can open it, here or elsewhere."""
    code = (
        "import sys; from pathlib import Path; from engine.journal import Journal\n"
        "Journal.open(Path(sys.argv[1]))"
    )
    with Journal.create(path, {}):
        with pytest.raises(JournalError, match="another process has it"):
            Journal.open(path)
        elsewhere = subprocess.run(
            [sys.executable, "-c", code, path],
            capture_output=True,
            text=True,
            check=False,
        )
    assert "another process has it" in elsewhere.stderr
    Journal.open(path).close()


def test_commits_are_fully_synchronous(path: Path) -> None:
    """The settings that make a commit survive a power cut are in force."""
    with Journal.create(path, {}) as journal:
        fetch = journal._writer.fetch
        assert fetch("PRAGMA synchronous") == [(2,)]
        assert fetch("PRAGMA journal_mode") == [("wal",)]
        assert fetch("PRAGMA locking_mode") == [("exclusive",)]


# --- where it may lie

MOUNTS = """\
21 27 0:20 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
35 27 0:52 /home /mnt/with\\040space rw shared:31 master:2 - nfs4 nas:/export rw
36 27 0:53 / /mnt/odd rw - fuse.sshfs me@there:/a\\040-\\040b rw,user_id=0
37 27 0:52 /other /mnt/bound rw - nfs4 nas:/export rw
38 27 8:17 / /mnt/cut
39 27 0:5
"""


@pytest.mark.parametrize(
    ("major", "minor", "kind"),
    [
        (254, 0, "ext4"),
        (0, 52, "nfs4"),
        (0, 53, "fuse.sshfs"),
        (8, 17, None),
        (0, 5, None),
        (27, 1, None),
    ],
)
def test_a_device_is_looked_up_among_the_mounts(
    major: int, minor: int, kind: str | None
) -> None:
    """The kernel's table tells the file system of a device, or tells nothing."""
    assert kind == filesystem_of(MOUNTS, os.makedev(major, minor))
    assert filesystem_of("", os.makedev(major, minor)) is None


REMOTE = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "ceph",
    "fuse",
    "fuse.sshfs",
    "fuse.s3fs",
)
LOCAL = ("ext4", "btrfs", "tmpfs", "ocfs2", "overlay", "virtiofs", "fuseblk")
LOCAL_FUSE = ("fuse.fuse-overlayfs", "fuse.gocryptfs")


def test_a_kind_of_file_system_is_of_this_machine_or_not() -> None:
    """What may lie on another machine is named; FUSE is, unless it is known better."""
    assert [*REMOTE] == [k for k in REMOTE + LOCAL + LOCAL_FUSE if is_network(k)]


OPEN_ANYWHERE = """
import sys
from pathlib import Path
from engine.errors import JournalError
from engine.journal import Journal

path = Path(sys.argv[1])
try:
    Journal.open(path)
except JournalError as error:
    print(error)
try:
    Journal.create(path.with_name("new.db"), {})
except JournalError as error:
    print(error)
Journal.open(path, allow_network=True).close()
Journal.create(path.with_name("forced.db"), {}, allow_network=True).close()
"""


def test_a_journal_on_the_network_is_refused_unless_allowed(path: Path) -> None:
    """Where the kernel says nfs4, neither create nor open goes on, unless forced."""
    Journal.create(path, {}).close()
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    table = path.with_name("mountinfo")
    table.write_text(f"1 2 {number} / / rw - nfs4 nas:/export rw\n", encoding="ascii")
    script = 'mount --bind "$1" /proc/$$/mountinfo || exit 9; shift; exec "$@"'
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare to give a process mounts of its own")
    command = [unshare, "--mount", "sh", "-c", script, "sh", table]
    done = subprocess.run(
        [*command, sys.executable, "-c", OPEN_ANYWHERE, path],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 9 or "unshare" in done.stderr:
        pytest.skip("no right to mount a table of mounts")
    assert done.stderr == ""
    assert 2 == done.stdout.count("network file system (nfs4)"), done.stdout
    names = {"forced.db", "journal.db", "mountinfo"}
    assert names == {file.name for file in path.parent.iterdir()}


def _foreign_file(path: Path) -> None:
    os.chown(path, 54321, -1)


def _foreign_folder(path: Path) -> None:
    os.chown(path.parent, 54321, -1)


def _linked_folder(path: Path) -> None:
    folder = path.parent
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_foreign_file, "belongs to another user, number 54321"),
        (_foreign_folder, "belongs to another user, number 54321"),
        (_linked_folder, "not a plain folder"),
    ],
)
def test_what_others_may_have_made_is_refused(
    path: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    """A journal that is somebody else's, or lies in such a folder, is not touched."""
    if spoil is not _linked_folder and os.geteuid() != 0:
        pytest.skip("only root may give files away")
    folder = path.parent / "run"
    folder.mkdir()
    path = folder / path.name
    Journal.create(path, {}).close()
    before = path.read_bytes()
    spoil(path)
    with pytest.raises(JournalError, match=complaint) as caught:
        Journal.open(path)
    assert caught.value.hint
    assert before == path.read_bytes()
    if spoil is not _foreign_file:
        with pytest.raises(JournalError, match=complaint):
            Journal.create(path.with_name("new.db"), {})
        assert [path.name] == [file.name for file in path.parent.iterdir()]


def test_what_a_crash_left_of_the_ballast_is_replaced(path: Path) -> None:
    """The room is set aside anew, whatever lies there, and given back at the end."""
    ballast = path.with_name("ballast")
    target = path.with_name("target")
    target.write_text("somebody's", encoding="ascii")
    ballast.symlink_to(target)
    with Journal.create(path, {}, ballast=5000) as journal:
        assert (False, 5000) == (ballast.is_symlink(), ballast.stat().st_size)
        assert not journal.is_closing()
    assert not ballast.exists()
    assert target.read_text(encoding="ascii") == "somebody's"
    with Journal.open(path, ballast=5000):
        journal.close()
        assert ballast.exists()


# --- what goes in comes out

TEXT = st.none() | st.sampled_from(["bounce", "ok"]) | st.text(max_size=20)


@st.composite
def column(draw: st.DrawFn, size: int) -> list[str | None]:
    """Draw a column: all the same, or each its own."""
    if draw(st.booleans()):
        return [draw(TEXT)] * size
    return draw(st.lists(TEXT, min_size=size, max_size=size))


@st.composite
def settled_batches(draw: st.DrawFn) -> list[tuple[list[int], Outcomes]]:
    """Draw batches apart from each other, with holes in them, and their outcomes."""
    steps = st.integers(1, 3)
    found, row = [], 0
    for size in draw(st.lists(st.integers(1, 40), min_size=1, max_size=5)):
        rows = []
        for step in draw(st.lists(steps, min_size=size, max_size=size)):
            row += step
            rows.append(row - 1)
        statuses = draw(
            st.lists(st.sampled_from(FINAL), min_size=size, max_size=size)
            | st.sampled_from(FINAL).map(lambda status, n=size: [status] * n)
        )
        texts = [draw(column(size)) for _ in range(3)]
        found.append((rows, Outcomes(statuses, *texts)))
    return found


@settings(max_examples=40, deadline=None)
@given(drawn=settled_batches(), order=st.randoms(use_true_random=False))
def test_outcomes_come_back_as_they_went_in(
    drawn: list[tuple[list[int], Outcomes]], order: random.Random
) -> None:
    """Any outcomes, written in any order, are read unchanged and in input order."""
    shuffled = list(enumerate(drawn))
    order.shuffle(shuffled)

    async def write(path: Path) -> dict[Status, int]:
        journal = Journal.create(path, {}, runner=inline, synchronous="OFF")
        async with writing(journal) as journal:
            for number, (rows, outcomes) in shuffled:
                await intend(journal, name(number), rows)
                await journal.settle(name(number), outcomes, ended())
            await journal.flush()
            return journal.counts()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        counts = trio.run(write, path)
        with Journal.open(path) as journal:
            batches = list(journal.batches())
            assert drawn == [(batch.rows, batch.outcomes) for batch in batches]
            expected = Counter(s for _, found in drawn for s in found.statuses)
            assert expected == counts == journal.counts()


async def test_a_batch_tells_its_whole_story(path: Path) -> None:
    """A record has all that was said of a batch; attempts keep their order."""
    journal = Journal.create(path, {}, clock=lambda: NOON)
    async with writing(journal):
        await intend(journal, name(1), [3, 4], body="hello", key="k")
        first = Attempt(1, NOON, 0.5, "throttled", 429, "slow\ndown\u2028\0")
        await journal.release(name(1), first)
        await intend(journal, name(1), [3, 4], body="hello", key="k")
        outcomes = Outcomes(
            [Status.ACCEPTED, Status.REJECTED],
            [None, "invalid"],
            [None, "no such user é\0"],
            ["id-1", None],
        )
        second = Attempt(2, NOON + timedelta(seconds=9), 0.25, "ok", 200, None)
        await journal.settle(name(1), outcomes, second)
    with Journal.open(path) as journal:
        expected = BatchRecord(
            id=name(1),
            parent=None,
            rows=[3, 4],
            state=BatchState.DONE,
            attempts=2,
            outcomes=outcomes,
            http_status=200,
            settled_at=NOON + timedelta(seconds=9.25),
            latency_ms=250.0,
            body_digest=digest("hello"),
            body_bytes=5,
            idempotency_key="k",
            intended_at=NOON,
        )
        assert [expected] == list(journal.batches())
        assert [first, second] == journal.attempts(name(1))


async def test_rows_without_a_request_come_back_in_order(path: Path) -> None:
    """Rows that were settled without a request are read in input order and counted."""
    rows = [
        RowOutcome(row, Status.RENDER_FAILED, "missing", f"line {row}", NOON)
        for row in range(200)
    ]
    rows[7] = RowOutcome(7, Status.SUPPRESSED, None, None, NOON)
    async with writing(Journal.create(path, {})) as journal:
        await journal.skip(rows[100:])
        await journal.skip(rows[:100])
        await journal.flush()
        assert rows == list(journal.row_outcomes())
    with Journal.open(path) as journal:
        assert rows == list(journal.row_outcomes())
        expected = {Status.RENDER_FAILED: 199, Status.SUPPRESSED: 1}
        assert expected == journal.counts()


async def test_text_that_no_file_can_hold_does_not_stop_the_journal(path: Path) -> None:
    """Half a surrogate pair from a provider becomes a question mark, nothing worse."""
    odd = "\ud800!"
    async with writing(Journal.create(path, {})) as journal:
        await journal.skip([RowOutcome(0, Status.INVALID, odd, odd, NOON)])
        await intend(journal, name(1), [1, 2])
        mixed = Outcomes([Status.FAILED] * 2, [odd] * 2, ["ok", odd], [None, None])
        await journal.settle(name(1), mixed, Attempt(1, NOON, 0.1, odd, None, odd))
    with Journal.open(path) as journal:
        (batch,) = journal.batches()
        assert batch.outcomes is not None
        assert [
            batch.outcomes.reasons,
            batch.outcomes.details,
        ] == [["?!"] * 2, ["ok", "?!"]]
        assert [row.detail for row in journal.row_outcomes()] == ["?!"]
        assert [attempt.detail for attempt in journal.attempts(name(1))] == ["?!"]


def test_a_full_batch_takes_a_few_bytes_per_row() -> None:
    """A thousand random 36-character ids and some reasons take under 30 kB."""
    ids = random.Random(1)
    outcomes = Outcomes(
        [Status.ACCEPTED] * 1000,
        ["soft" if n % 50 == 0 else None for n in range(1000)],
        [None] * 1000,
        [f"{ids.getrandbits(128):032x}-{n:03}" for n in range(1000)],
    )
    packed = pack_texts(outcomes)
    assert packed is not None
    assert len(packed) < 30_000


# --- what cannot be, the database refuses

#: What to do to a new intent to bring it to each state.
ROADS: dict[BatchState, list[BatchState]] = {
    BatchState.INTENT: [],
    BatchState.RETRYABLE: [BatchState.RETRYABLE],
    BatchState.IN_DOUBT: [BatchState.IN_DOUBT],
    BatchState.DONE: [BatchState.DONE],
    BatchState.HELD: [BatchState.IN_DOUBT, BatchState.HELD],
    BatchState.SPLIT: [BatchState.SPLIT],
}


async def step(journal: Journal, batch: str, to: BatchState) -> None:
    """Take one arrow."""
    match to:
        case BatchState.RETRYABLE:
            await journal.release(batch, ended())
        case BatchState.IN_DOUBT:
            await journal.doubt(batch, ended())
        case BatchState.DONE:
            await journal.settle(batch, ACCEPTED, ended())
        case BatchState.HELD:
            await journal.hold(batch)
        case BatchState.SPLIT:
            await journal.split(batch, ended())


@pytest.fixture(scope="module")
def mother(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a closed journal with one batch of one row in each state, rows 0 to 5."""
    path = tmp_path_factory.mktemp("mother") / "journal.db"

    async def write() -> None:
        async with writing(Journal.create(path, {}, runner=inline)) as journal:
            await journal.skip([RowOutcome(9, Status.INVALID, None, None, NOON)])
            for row, road in enumerate(ROADS.values()):
                await intend(journal, name(row), [row], key="key")
                for stop in road:
                    await step(journal, name(row), stop)

    trio.run(write)
    return path


@pytest.fixture
def every_state(mother: Path, path: Path) -> Path:
    """Copy the journal that has a batch in each state."""
    shutil.copy(mother, path)
    return path


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    """Go behind the journal's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        yield db


@pytest.mark.parametrize(("old", "new"), list(product(BatchState, BatchState)))
def test_the_database_takes_no_move_but_the_arrows(
    every_state: Path, old: BatchState, new: BatchState
) -> None:
    """Whoever writes: an arrow is followed, anything else is refused."""
    change = (
        "UPDATE batch SET state = ?1, attempts = attempts + (?1 = 'intent'),"
        " statuses = CASE WHEN ?1 = 'done' THEN 'a'"
        " WHEN ?2 = 'in_doubt' AND ?1 = 'split' THEN 'f' END,"
        " settled_at = iif(?1 IN ('done', 'held')"
        " OR ?2 = 'in_doubt' AND ?1 = 'split', 1, NULL), texts = NULL,"
        " doubted = CASE ?1 WHEN 'in_doubt' THEN 1 WHEN 'retryable' THEN 0"
        " ELSE doubted END"
        " WHERE state = ?2"
    )
    with raw(every_state) as db:
        if (old, new) == (BatchState.IN_DOUBT, BatchState.SPLIT):
            with pytest.raises(sqlite3.IntegrityError, match="that was not"):
                db.execute(change, (new.value, old.value))
            db.execute(_find([*ROADS].index(old)))
        if (old, new) in MOVES:
            assert db.execute(change, (new.value, old.value)).rowcount == 1
        else:
            with pytest.raises(sqlite3.IntegrityError, match="cannot move so"):
                db.execute(change, (new.value, old.value))


_COPY = (
    "INSERT {how} INTO batch SELECT {place}, x'ee', {parent}, {high}, {size}, NULL,"
    " 1, 'intent', 1, '', 0, body_digest, 1, NULL, NULL, NULL, NULL, 0"
    " FROM batch WHERE place = 0"
)


def _copy(
    place: int, high: int, parent: str = "NULL", how: str = "", size: int = 1
) -> str:
    return _COPY.format(place=place, high=high, parent=parent, how=how, size=size)


def _find(row: int, *, status: str = "failed", times: int = 1, how: str = "") -> str:
    return (
        f"INSERT {how} INTO found SELECT {row}, '{status}', '', '', '', 1, 0"
        f" FROM batch LIMIT {times}"
    )


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (_copy(3 * 64, 3), "in another batch"),
        (_copy(3 * 64, 3, how="OR REPLACE"), "in another batch"),
        (_copy(5 * 64, 6, size=2), "in another batch"),
        (_copy(9 * 64, 9), "settled already"),
        (_copy(5 * 64 + 1, 5, parent="4 * 64"), "not a split batch"),
        (_copy(3 * 64 + 1, 3, parent="3 * 64"), "not a split batch"),
        (_copy(5 * 64 + 1, 6, parent="5 * 64", size=2), "not a split batch"),
        ("DELETE FROM batch WHERE place = 0", "never forgotten"),
        ("UPDATE batch SET high = 8, size = 9, state = 'done'", "never changes"),
        ("UPDATE batch SET state = 'intent' WHERE place = 64", "one by one"),
        (
            "UPDATE batch SET state = 'intent', attempts = 2, body_bytes = 9",
            "other bytes",
        ),
        (
            "UPDATE batch SET state='retryable', doubted=0, history='' WHERE place=128",
            "never changes",
        ),
        (
            "UPDATE batch SET state='intent', attempts=2, doubted=0 WHERE place=128",
            "in doubt",
        ),
        ("UPDATE batch SET state = 'held', doubted = 0 WHERE place = 128", "in doubt"),
        (_find(0), "not in doubt"),
        (_find(1), "not in doubt"),
        (_find(3), "not in doubt"),
        (_find(5), "not in doubt"),
        (_find(7), "not in doubt"),
        (_find(9), "not in doubt"),
        (_find(2, status="in_doubt"), "CHECK"),
        (_find(4, times=2), "found already"),
        (_find(4, times=2, how="OR REPLACE"), "found already"),
        ("UPDATE batch SET state = 'done'", "CHECK"),
        ("INSERT INTO settled_row VALUES (3, 'failed', '', '', 1, 0)", "in a batch"),
        ("INSERT INTO settled_row VALUES (4, 'failed', '', '', 1, 0)", "in a batch"),
        (
            "INSERT OR REPLACE INTO settled_row VALUES (9, 'failed', '', '', 1, 0)",
            "settled already",
        ),
        ("UPDATE settled_row SET status = 'failed'", "never changes"),
        ("DELETE FROM settled_row", "never forgotten"),
    ],
)
def test_the_database_takes_no_contradiction(
    every_state: Path, statement: str, complaint: str
) -> None:
    """One live batch per row, one outcome per row, and nothing unwritten."""
    with (
        raw(every_state) as db,
        pytest.raises(sqlite3.IntegrityError, match=complaint),
    ):
        db.execute(statement)


async def test_holes_of_a_batch_are_free_and_its_members_are_not(path: Path) -> None:
    """A row between the rows of a batch may be settled apart; a member may not."""
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0, 2])
        await journal.skip([RowOutcome(1, Status.SUPPRESSED, None, None, NOON)])
        await journal.flush()
    with raw(path) as db:
        for row in (0, 2):
            with pytest.raises(sqlite3.IntegrityError, match="in a batch"):
                db.execute(
                    "INSERT INTO settled_row VALUES (?, 'failed', '', '', 1, 0)", [row]
                )


async def test_an_impossible_request_fails_where_it_is_made(path: Path) -> None:
    """A wrong call raises at once, writes nothing, and stops nobody."""
    two = Outcomes.uniform(2, Status.ACCEPTED)
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0], key="k")
        await intend(journal, name(2), [1])
        await journal.doubt(name(2), ended())
        await intend(journal, name(3), [2], key="k")
        await journal.release(name(3), ended())
        await intend(journal, name(4), [5, 6])
        await journal.split(
            name(4),
            ended(),
            Outcomes(
                [Status.FAILED, Status.PENDING], [None] * 2, [None] * 2, [None] * 2
            ),
        )
        await journal.flush()
        before = journal.statistics().records
        for call in (
            lambda: journal.settle("ab", ACCEPTED, ended()),
            lambda: journal.settle(name(2), ACCEPTED, ended()),
            lambda: journal.settle(name(1), two, ended()),
            lambda: journal.settle(name(1), ACCEPTED, ended(2)),
            lambda: journal.settle(
                name(1), Outcomes.uniform(1, Status.PENDING), ended()
            ),
            lambda: journal.hold(name(1)),
            lambda: journal.resolve(name(1), resend=True),
            lambda: journal.release(name(2), ended()),
            lambda: intend(journal, name(1), [0], key="k"),
            lambda: intend(journal, name(2), [2]),
            lambda: intend(journal, name(2), [1], body="other"),
            lambda: intend(journal, name(2), [1], key="new"),
            lambda: intend(journal, name(3), [2], body="other", key="k"),
            lambda: intend(journal, name(8), [5], parent=name(4)),
            lambda: intend(journal, name(8), [0], parent=name(1)),
            lambda: journal.skip([RowOutcome(5, Status.FAILED, None, None, NOON)]),
        ):
            with pytest.raises(BrokenPromise):
                await call()
        with pytest.raises(ValueError, match="ascending"):
            await intend(journal, name(9), [8, 7])
        with pytest.raises(ValueError, match="at least one"):
            await intend(journal, name(9), [])
        with pytest.raises(ValueError, match="resend"):
            await journal.resolve(name(2), ACCEPTED, resend=True)
        await journal.flush()
        assert before == journal.statistics().records
        await intend(journal, name(3), [2], body="other", key="another")


async def test_an_overlap_stops_everything(path: Path) -> None:
    """Two batches that want one row are our mistake: nothing more is sent."""
    with pytest.RaisesGroup(JournalError, pytest.RaisesGroup(JournalError)):
        async with trio.open_nursery() as nursery:
            journal = await start(nursery, Journal.create(path, {}))
            await intend(journal, name(1), [0, 1, 2])
            async with trio.open_nursery() as workers:
                workers.start_soon(intend, journal, name(2), [2, 3])
    journal.close()
    assert {name(1): BatchState.IN_DOUBT} == states(path)


async def start(nursery: trio.Nursery, journal: Journal) -> Journal:
    """Start the writer beside the test."""
    await nursery.start(journal.run)
    return journal


# --- durability


async def test_many_records_share_a_commit(path: Path) -> None:
    """64 tasks that intend at once need a handful of commits, not 64."""
    async with writing(Journal.create(path, {})) as journal:
        async with trio.open_nursery() as workers:
            for row in range(64):
                workers.start_soon(intend, journal, name(row), [row])
        found = journal.statistics()
        assert found.records == 64
        assert found.commits <= 4
        assert found.seconds > 0


async def test_a_settlement_does_not_wait_for_the_disk(path: Path) -> None:
    """`intend` waits for its commit, `settle` only for a place in the queue."""
    gate = trio.Event()
    held = False

    async def slow(write: Callable[[], None], rows: int) -> None:
        if held:
            await gate.wait()
        write()

    async with writing(Journal.create(path, {}, runner=slow)) as journal:
        await intend(journal, name(1), [0])
        held = True
        async with trio.open_nursery() as workers:
            workers.start_soon(intend, journal, name(2), [1])
            await wait_all_tasks_blocked()
            await journal.settle(name(1), ACCEPTED, ended())
            assert journal.counts() == {}
            assert journal.statistics().records == 1
            gate.set()
        await journal.flush()
        assert journal.counts() == {Status.ACCEPTED: 1}


async def test_a_full_queue_slows_its_writers_and_loses_nothing(path: Path) -> None:
    """Past the bound a call waits; given up meanwhile, its record is kept."""
    gate = trio.Event()

    async def slow(write: Callable[[], None], rows: int) -> None:
        await gate.wait()
        write()

    many = 70_000
    async with writing(Journal.create(path, {}, runner=slow)) as journal:
        gate.set()
        await intend(journal, name(1), list(range(many)))
        gate = trio.Event()
        await journal.note("first", "in flight")
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01) as patience:
            await journal.settle(
                name(1), Outcomes.uniform(many, Status.FAILED), ended()
            )
        assert patience.cancelled_caught
        gate.set()
        await journal.flush()
        assert {Status.FAILED: many} == journal.counts()


CHILD = """
import sys, time, trio, hashlib, resource
from pathlib import Path
from engine.journal import Journal
from engine.errors import JournalError

async def intend(journal, number):
    batch = f"{number:032x}"
    await journal.intend(batch, [number], body_digest=bytes(32), body_bytes=1)
    print(batch, flush=True)
"""


def test_an_intent_outlives_the_process(path: Path) -> None:
    """Once `intend` has returned, kill -9 cannot undo it."""
    code = (
        CHILD
        + """
async def main(path):
    async with trio.open_nursery() as nursery:
        journal = Journal.create(path, {"run": "r"})
        await nursery.start(journal.run)
        for number in range(5):
            await intend(journal, number)
        await trio.sleep_forever()

trio.run(main, Path(sys.argv[1]))
"""
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(5)]
        child.send_signal(signal.SIGKILL)
    assert [name(number) for number in range(5)] == acknowledged
    assert dict.fromkeys(acknowledged, BatchState.IN_DOUBT) == states(path)


async def test_any_number_may_look_into_a_journal_and_change_nothing(
    path: Path,
) -> None:
    """At once, and also into one that a crash has left with its log."""
    crashed = path.parent / "crashed" / path.name
    crashed.parent.mkdir()
    async with writing(Journal.create(path, {"run": "r1"})) as journal:
        await intend(journal, name(1), [0, 1])
        for file in path.parent.glob("journal.db*"):
            shutil.copy(file, crashed.parent)
        await journal.settle(name(1), Outcomes.uniform(2, Status.FAILED), ended())
    for file, state in ((path, BatchState.DONE), (crashed, BatchState.INTENT)):
        before = {
            one: one.read_bytes() for one in file.parent.iterdir() if one.is_file()
        }
        with Journal.looked_into(file) as one, Journal.looked_into(file) as other:
            assert [state] == [batch.state for batch in one.batches()]
            assert [state] == [batch.state for batch in other.batches()]
            assert {"run": "r1"} == one.facts()
        after = {
            one: one.read_bytes() for one in file.parent.iterdir() if one.is_file()
        }
        assert before == after
    assert 2 == len(list(crashed.parent.iterdir()))


def test_a_look_tells_of_damage_where_it_is(path: Path) -> None:
    """Not in a copy that nobody has heard of."""
    with pytest.raises(JournalError, match=f"^{path}: "):
        Journal.looked_into(path).__enter__()
    path.write_bytes(b"no journal" * 1000)
    path.chmod(0o600)
    path.with_name("journal.db-wal").write_bytes(b"no log")
    with pytest.raises(JournalError, match=f"^{path}: "):
        Journal.looked_into(path).__enter__()


def test_a_write_that_fails_stops_everything_and_keeps_what_was_acknowledged(
    path: Path,
) -> None:
    """At the first failed write all who wait are told; what was acknowledged stays.

    The file may not grow, yet the disk is not full: the ballast is not touched.
    """
    code = (
        CHILD
        + """
async def worker(journal, numbers, told):
    try:
        for number in numbers:
            await intend(journal, number)
    except JournalError:
        told.append(1)

async def main(path):
    journal = Journal.create(path, {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    told = []
    numbers = iter(range(100_000))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            async with trio.open_nursery() as workers:
                for _ in range(8):
                    workers.start_soon(worker, journal, numbers, told)
    except* JournalError:
        spared = path.with_name("ballast").exists() and not journal.is_closing()
        print("writer stopped", len(told), spared, flush=True)
    try:
        await journal.note("late", "call")
    except JournalError:
        print("late call refused", flush=True)

trio.run(main, Path(sys.argv[1]))
"""
    )
    child = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    *acknowledged, stopped, late = child.stdout.splitlines()
    assert (stopped, late) == ("writer stopped 8 True", "late call refused")
    assert len(acknowledged) > 20
    found = states(path)
    assert dict.fromkeys(acknowledged, BatchState.IN_DOUBT).items() <= found.items()
    assert len(found) <= len(acknowledged) + 8


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk],
            capture_output=True,
            check=False,
        ).returncode
    ):
        pytest.skip("no right to mount a disk")
    try:
        yield disk
    finally:
        # Lazily: a test that failed may have left a file open.
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> None:
    """Leave not one free block on a disk."""
    with (
        (disk / "filler").open("ab", buffering=0) as filler,
        suppress(OSError),
    ):
        while True:
            filler.write(bytes(4096))
    assert os.statvfs(disk).f_bavail == 0


def large(size: int = 1) -> Outcomes:
    """Make outcomes that take some 50 kB however they are packed."""
    words = random.Random(size).randbytes(50_000).hex()
    return Outcomes(
        [Status.ACCEPTED] * size, [None] * size, [words] * size, ["id"] * size
    )


async def test_a_full_disk_is_told_and_survived(small_disk: Path) -> None:
    """With no ballast the run stops by name, and the journal opens as it stands."""
    path = small_disk / "journal.db"
    journal = Journal.create(path, {}, ballast=0)
    acknowledged: list[str] = []

    async def go_on() -> None:
        for row in range(10_000):
            await intend(journal, name(row), [row])
            acknowledged.append(name(row))

    with pytest.RaisesGroup(JournalError):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            with pytest.raises(JournalError, match="disk is full"):
                await go_on()
    with pytest.raises(JournalError, match="disk is full"):
        await journal.note("late", "call")
    journal.close()
    assert len(acknowledged) > 10
    with Journal.open(path, ballast=0) as journal:
        assert acknowledged == [batch.id for batch in journal.batches()]


ROOM = 300_000


async def test_on_a_full_disk_no_batch_begins_and_every_answer_is_kept(
    small_disk: Path,
) -> None:
    """An intent that meets a full disk is taken back; what is under way is recorded."""
    path = small_disk / "journal.db"
    async with writing(Journal.create(path, {}, ballast=ROOM)) as journal:
        for row in range(6):
            await intend(journal, name(row), [row], key="k")
        await journal.doubt(name(5), ended())
        await journal.flush()
        assert (small_disk / "ballast").stat().st_blocks * 512 >= ROOM
        fill(small_disk)
        assert not journal.is_closing()
        with pytest.raises(JournalError, match="disk is full") as caught:
            await intend(journal, name(6), [6])
        assert caught.value.hint == "Free some space, then resume."
        assert journal.is_closing()
        assert not (small_disk / "ballast").exists()
        for row, rows in ((5, [5]), (7, [7])):
            with pytest.raises(JournalError, match="disk is full"):
                await intend(journal, name(row), rows, key="k")
        await journal.settle(name(0), ACCEPTED, ended())
        await journal.release(name(1), ended())
        await journal.doubt(name(2), ended())
        await journal.split(name(3), ended())
        await journal.skip([RowOutcome(8, Status.INVALID, None, None, NOON)])
        await journal.find([finding(5)])
        await journal.note("why", "full")
    with Journal.open(path, ballast=0) as journal:
        found = {batch.id: batch for batch in journal.batches()}
        assert [
            BatchState.DONE,
            BatchState.RETRYABLE,
            BatchState.IN_DOUBT,
            BatchState.SPLIT,
            BatchState.INTENT,
            BatchState.IN_DOUBT,
            BatchState.RETRYABLE,
        ] == [found[name(row)].state for row in range(7)]
        assert [1] * 7 == [found[name(row)].attempts for row in range(7)]
        assert ["not_sent"] == [a.result for a in journal.attempts(name(6))]
        assert [8] == [outcome.row for outcome in journal.row_outcomes()]
        assert [finding(5)] == list(journal.findings())
        assert journal.fact("why") == "full"


async def test_an_intent_for_a_batch_in_doubt_is_taken_back_to_doubt(
    small_disk: Path,
) -> None:
    """A repetition that the full disk forbids leaves the batch in doubt, not free."""
    path = small_disk / "journal.db"
    async with writing(Journal.create(path, {}, ballast=ROOM)) as journal:
        await intend(journal, name(1), [0], key="k")
        await journal.doubt(name(1), ended())
        await journal.flush()
        fill(small_disk)
        with pytest.raises(JournalError, match="disk is full"):
            await intend(journal, name(1), [0], key="k")
    assert {name(1): BatchState.IN_DOUBT} == states(path)


async def test_an_answer_that_meets_a_full_disk_is_kept(small_disk: Path) -> None:
    """The commit of an outcome fails, is undone, and succeeds in the ballast's room."""
    path = small_disk / "journal.db"
    async with writing(Journal.create(path, {}, ballast=ROOM)) as journal:
        await intend(journal, name(1), [0])
        fill(small_disk)
        await journal.settle(name(1), large(), ended())
        await journal.flush()
        assert {Status.ACCEPTED: 1} == journal.counts()
        with pytest.raises(JournalError, match="disk is full"):
            await intend(journal, name(2), [1])
    with Journal.open(path, ballast=0) as journal:
        assert [large()] == [batch.outcomes for batch in journal.batches()]


async def test_when_the_ballast_is_spent_a_full_disk_stops_everything(
    small_disk: Path,
) -> None:
    """There is one second try, not two: then everybody is told, and nothing is torn."""
    path = small_disk / "journal.db"
    journal = Journal.create(path, {}, ballast=ROOM)
    with pytest.RaisesGroup(JournalError):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            for row in range(3):
                await intend(journal, name(row), [row])
            for row in range(2):
                fill(small_disk)
                await journal.settle(name(row), large(), ended())
                if row:
                    with pytest.raises(JournalError, match="cannot write to it"):
                        await journal.flush()
                else:
                    await journal.flush()
    journal.close()
    doubt = BatchState.IN_DOUBT
    (small_disk / "filler").unlink()
    assert {name(0): BatchState.DONE, name(1): doubt, name(2): doubt} == states(path)


async def test_a_journal_on_a_full_disk_can_be_read_and_begins_nothing(
    small_disk: Path,
) -> None:
    """It opens, tells what it knows, and lets no batch begin before there is room."""
    path = small_disk / "journal.db"
    async with writing(Journal.create(path, {"run": "r"}, ballast=ROOM)) as journal:
        await intend(journal, name(1), [0])
        await journal.settle(name(1), ACCEPTED, ended())
    fill(small_disk)
    async with writing(Journal.open(path, ballast=ROOM)) as journal:
        assert [ACCEPTED] == [batch.outcomes for batch in journal.batches()]
        assert journal.is_closing()
        with pytest.raises(JournalError, match="cannot be set aside: No space"):
            await intend(journal, name(2), [1])
    (small_disk / "filler").unlink()
    async with writing(Journal.open(path, ballast=ROOM)) as journal:
        assert not journal.is_closing()
        await intend(journal, name(2), [1])


async def test_doubts_can_be_read_though_they_cannot_be_written_down(
    small_disk: Path,
) -> None:
    """Where replay finds no room, reading goes on; nothing is written, nothing sent."""
    path = small_disk / "journal.db"
    async with writing(Journal.create(path, {}, ballast=ROOM)) as journal:
        await intend(journal, name(1), [0])
    fill(small_disk)
    with Journal.open(path, ballast=ROOM) as journal:
        journal.replay()
        assert [BatchState.INTENT] == [batch.state for batch in journal.batches()]
        with pytest.raises(JournalError, match="disk is full"):
            await intend(journal, name(2), [1])
        with pytest.raises(JournalError, match="disk is full"):
            await journal.run()
    (small_disk / "filler").unlink()
    assert {name(1): BatchState.IN_DOUBT} == states(path)


async def test_a_journal_that_was_taken_away_is_noticed(path: Path) -> None:
    """Records in a file that no longer has its name are not acknowledged."""
    with pytest.RaisesGroup(JournalError):
        async with trio.open_nursery() as nursery:
            journal = await start(nursery, Journal.create(path, {}))
            await trio.Path(path).rename(path.with_name("moved.db"))
            with pytest.raises(JournalError):
                await intend(journal, name(1), [0])
    journal.close()


async def test_cancelling_everything_loses_nothing_that_was_queued(path: Path) -> None:
    """Cancelled in mid-flight, the writer still commits all it was given."""
    started = threading.Event()
    release = threading.Event()

    def held(write: Callable[[], None]) -> None:
        started.set()
        release.wait()
        write()

    async def slow(write: Callable[[], None], rows: int) -> None:
        await in_thread(lambda: held(write), rows)

    journal = Journal.create(path, {}, runner=slow)
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        for row in range(3):
            nursery.start_soon(intend, journal, name(row), [row])
        await trio.to_thread.run_sync(started.wait)
        for row in range(3, 6):
            nursery.start_soon(intend, journal, name(row), [row])
        await journal.note("queued", "yes")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        release.set()
    # The answer to a request that was on its way comes after the writer has gone.
    await journal.settle(name(0), ACCEPTED, ended())
    with pytest.raises(JournalError, match="writer has stopped"):
        await intend(journal, name(7), [7])
    journal.close()
    with Journal.open(path) as journal:
        journal.replay()
        assert journal.fact("queued") == "yes"
        assert [batch.state for batch in journal.batches()] == [BatchState.DONE] + [
            BatchState.IN_DOUBT
        ] * 5


async def test_who_waits_is_answered_though_the_writer_is_cancelled(
    path: Path,
) -> None:
    """A waiter outside of what is cancelled still learns that its record is durable."""
    gate = trio.Event()

    async def slow(write: Callable[[], None], rows: int) -> None:
        await gate.wait()
        write()

    journal = Journal.create(path, {}, runner=slow)
    async with trio.open_nursery() as outer, trio.open_nursery() as inner:
        await inner.start(journal.run)
        for row in range(2):
            outer.start_soon(intend, journal, name(row), [row])
            await wait_all_tasks_blocked()
        inner.cancel_scope.cancel()
        gate.set()
    assert journal.statistics().records == 2
    journal.close()


async def test_those_behind_a_failed_commit_are_told_too(path: Path) -> None:
    """Whatever breaks, who waits for this commit or the next gets a JournalError."""
    gate = trio.Event()

    async def broken(_: Callable[[], None], rows: int) -> None:
        await gate.wait()
        raise ZeroDivisionError

    told = []

    async def work(journal: Journal, row: int) -> None:
        with pytest.raises(JournalError, match="ZeroDivision"):
            await intend(journal, name(row), [row])
        told.append(row)

    journal = Journal.create(path, {}, runner=broken)
    with pytest.RaisesGroup(JournalError):
        async with trio.open_nursery() as inner:
            await inner.start(journal.run)
            async with trio.open_nursery() as workers:
                for row in range(2):
                    workers.start_soon(work, journal, row)
                    await wait_all_tasks_blocked()
                gate.set()
    assert sorted(told) == [0, 1]
    journal.close()


async def test_a_file_that_disagrees_with_memory_stops_everything(path: Path) -> None:
    """A move that finds another state in the file than expected is not made."""
    change = "UPDATE batch SET state = 'retryable'"
    journal = Journal.create(path, {})
    with pytest.RaisesGroup(JournalError):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            await intend(journal, name(1), [0])
            journal._writer.put(lambda db: db.execute(change) and None)
            await journal.settle(name(1), ACCEPTED, ended())
            with pytest.raises(JournalError, match="as it was written"):
                await journal.flush()
    journal.close()


async def test_a_closed_journal_refuses_everything(path: Path) -> None:
    """After the end every call says so, instead of losing what it was given."""
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0])
    for call in (
        lambda: intend(journal, name(2), [1]),
        lambda: journal.settle(name(1), ACCEPTED, ended()),
        lambda: journal.note("a", "b"),
        journal.flush,
    ):
        with pytest.raises(JournalError, match="closed"):
            await call()
    with pytest.raises(JournalError):
        list(journal.batches())
    journal.close()


async def test_the_file_is_not_closed_under_its_writer(path: Path) -> None:
    """`close` is for when `run` has ended; `aclose` ends it."""
    async with writing(Journal.create(path, {})) as journal:
        with pytest.raises(RuntimeError, match="aclose"):
            journal.close()
        await journal.note("still", "works")


# --- damage


async def _write_story(path: Path) -> None:
    async with writing(Journal.create(path, {"run": "r"}, runner=inline)) as journal:
        await journal.skip([RowOutcome(1, Status.INVALID, "reason", "detail", NOON)])
        await intend(journal, name(0), [0, 2, 5])
        await journal.doubt(name(0), ended())
        await journal.find([finding(2), finding(5, Status.FAILED)])
        for number in range(1, 40):
            rows = list(range(number * 10, number * 10 + number % 9 + 1))
            await intend(journal, name(number), rows)
            outcomes = Outcomes(
                [FINAL[row % 8] for row in rows],
                [None] * len(rows),
                [f"words about {row}" for row in rows],
                [f"id-{row}" for row in rows],
            )
            await journal.settle(name(number), outcomes, ended())


def _read_story(path: Path) -> object:
    with Journal.open(path) as found:
        return (
            list(found.batches()),
            list(found.row_outcomes()),
            list(found.findings()),
            found.facts(),
            found.counts(),
            [found.attempts(name(number)) for number in range(40)],
        )


@pytest.mark.slow
def test_flipped_bits_are_never_read_as_truth(path: Path) -> None:
    """Wherever bits flip, the journal refuses or still says just what was written."""
    trio.run(_write_story, path)
    truth = _read_story(path)
    original = path.read_bytes()
    chance = random.Random(7)
    refused = 0
    copy = path.with_name("copy.db")
    for _ in range(150):
        spoilt = bytearray(original)
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
        copy.write_bytes(spoilt)
        copy.with_name("copy.db-wal").unlink(missing_ok=True)
        try:
            assert truth == _read_story(copy)
        except JournalError:
            refused += 1
    assert refused > 30


# --- going on after a crash


async def test_replay_puts_open_intents_in_doubt_once(path: Path) -> None:
    """Replaying twice is replaying once; what had ended stays as it was."""
    async with writing(Journal.create(path, {})) as journal:
        for row in range(4):
            await intend(journal, name(row), [row])
        await journal.settle(name(0), ACCEPTED, ended())
        await journal.release(name(1), ended())
    expected = [BatchState.DONE, BatchState.RETRYABLE] + [BatchState.IN_DOUBT] * 2
    for _ in range(2):
        with Journal.open(path) as journal:
            journal.replay()
            once = list(journal.batches())
            journal.replay()
            assert once == list(journal.batches())
            assert expected == [batch.state for batch in once]
            assert [batch.attempts for batch in once] == [1] * 4


async def test_nothing_runs_before_replay(path: Path) -> None:
    """With intents left by a crash the writer does not start, so nothing is sent."""
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0])
    with Journal.open(path) as journal:
        with pytest.raises(RuntimeError, match="replay"):
            await journal.run()
        journal.replay()
        async with trio.open_nursery() as nursery:
            await start(nursery, journal)
            with pytest.raises(RuntimeError, match="replay"):
                journal.replay()
            nursery.cancel_scope.cancel()


async def test_a_doubt_ends_in_one_of_four_ways(path: Path) -> None:
    """In doubt: the same request again, found out, sent again by order, or held."""
    journal = Journal.create(path, {}, clock=lambda: NOON)
    async with writing(journal):
        for row in range(4):
            await intend(journal, name(row), [row], key="k")
            await journal.doubt(name(row), ended(result="no_answer", status=None))
        await intend(journal, name(0), [0], key="k")
        await journal.settle(name(0), ACCEPTED, ended(2))
        await journal.resolve(name(1), ACCEPTED)
        await journal.resolve(name(2), resend=True)
        await journal.hold(name(3))
        await journal.flush()
        assert journal.counts() == {Status.ACCEPTED: 2, Status.IN_DOUBT: 1}
    with Journal.open(path) as journal:
        found = list(journal.batches())
        assert journal.counts() == {Status.ACCEPTED: 2, Status.IN_DOUBT: 1}
    assert [batch.state for batch in found] == [
        BatchState.DONE,
        BatchState.DONE,
        BatchState.RETRYABLE,
        BatchState.HELD,
    ]
    assert [batch.attempts for batch in found] == [2, 1, 1, 1]
    held = Outcomes.uniform(1, Status.IN_DOUBT, reason="no_answer")
    assert [ACCEPTED, ACCEPTED, None, held] == [batch.outcomes for batch in found]
    assert (found[3].settled_at, found[3].http_status) == (NOON, None)


async def test_a_doubt_outlives_a_refusal_of_the_repetition(path: Path) -> None:
    """After "perhaps accepted", that a repetition was refused does not free the batch.

    Free, it would be sent again when its key has long expired.
    """
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0], key="k")
        assert not journal.is_doubted(name(1))
        await journal.doubt(name(1), ended(result="no_answer", status=None))
        await intend(journal, name(1), [0], key="k")
        assert journal.is_doubted(name(1))
        await journal.release(name(1), ended(2, "throttled", 429))
        assert journal.doubt_of(name(1)) is not None
        await intend(journal, name(1), [0], key="k")
    with reopened(path) as journal:
        assert journal.is_doubted(name(1))
        async with writing(journal):
            with pytest.raises(BrokenPromise, match="other bytes"):
                await intend(journal, name(1), [0], key="new")
            await intend(journal, name(1), [0], key="k")
            await journal.release(name(1), ended(4, "throttled", 429))
            await journal.resolve(name(1), resend=True)
            assert not journal.is_doubted(name(1))
            await intend(journal, name(1), [0], body="other", key="new")
            await journal.release(name(1), ended(5, "throttled", 429))
    assert {name(1): BatchState.RETRYABLE} == states(path)


# --- rows that are found out later


async def doubtful_journal(journal: Journal) -> None:
    """Write batches of which rows 0, 3, 5, 6, 12, 15 and 21 stay in doubt."""
    doubt, yes, pending = Status.IN_DOUBT, Status.ACCEPTED, Status.PENDING
    none = [None] * 3
    await journal.skip([RowOutcome(9, Status.INVALID, None, None, NOON)])
    await intend(journal, name(0), [0])
    await journal.doubt(name(0), ended())
    await intend(journal, name(1), [3, 5, 6])
    await journal.doubt(name(1), ended())
    await journal.hold(name(1))
    await intend(journal, name(2), [10, 11, 12])
    await journal.settle(name(2), Outcomes([yes, yes, doubt], *[none] * 3), ended())
    await intend(journal, name(3), [13, 15, 18])
    await journal.settle(name(3), Outcomes([yes, doubt, yes], *[none] * 3), ended())
    await intend(journal, name(4), [20, 21, 22])
    await journal.split(name(4), ended(), Outcomes([pending, doubt, yes], *[none] * 3))
    await intend(journal, name(5), [20], parent=name(4))
    await journal.release(name(5), ended())
    await intend(journal, name(6), [30])


DOUBTFUL = [0, 3, 5, 6, 12, 15, 21]


async def test_findings_are_kept_for_rows_in_doubt_and_no_others(path: Path) -> None:
    """In whatever way a row is in doubt it can be found out; any other row cannot."""
    async with writing(Journal.create(path, {})) as journal:
        await doubtful_journal(journal)
        for row in range(-1, 40):
            if row not in DOUBTFUL:
                with pytest.raises(BrokenPromise, match="not in doubt"):
                    await journal.find([finding(0), finding(row)])
        await journal.flush()
        assert [] == list(journal.findings())
        assert {Status.ACCEPTED: 5, Status.IN_DOUBT: 6, Status.INVALID: 1} == dict(
            journal.counts()
        )
        before = list(journal.batches())
        expected = [
            finding(row, (Status.ACCEPTED, Status.REJECTED, Status.FAILED)[row % 3])
            for row in DOUBTFUL
        ]
        await journal.find(expected[::-1])
        await journal.flush()
        assert expected == list(journal.findings())
        assert before == list(journal.batches())
    with Journal.open(path) as journal:
        assert expected == list(journal.findings())


async def test_a_finding_stays_as_it_is(path: Path) -> None:
    """The same again changes nothing, another word is refused, also after a restart."""
    odd = finding(3, detail="\ud800!", provider_id="id")
    kept = finding(3, detail="?!", provider_id="id")
    async with writing(Journal.create(path, {})) as journal:
        await doubtful_journal(journal)
        await journal.find([finding(0), finding(0, detail="other"), odd])
        await journal.flush()
    with reopened(path) as journal:
        async with writing(journal):
            await journal.find([finding(0), finding(3, reason="look_up")])
            await journal.find([])
            for other in (
                finding(0, Status.REJECTED),
                finding(3, provider_id="another"),
            ):
                with pytest.raises(BrokenPromise, match="found accepted"):
                    await journal.find([finding(5), other])
            with pytest.raises(BrokenPromise, match="found accepted"):
                await journal.find([finding(5), finding(5, Status.FAILED)])
            await journal.flush()
            assert [finding(0), kept] == list(journal.findings())


async def test_a_finding_sees_what_is_still_queued(path: Path) -> None:
    """A doubt that is not on the disk yet is found out all the same."""
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0, 1])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(intend, journal, name(2), [2])
            await journal.doubt(name(1), ended())
            await journal.find([finding(1)])
        await journal.flush()
        assert [finding(1)] == list(journal.findings())


#: Rows of batches in doubt, and what was found of them.
FOUND_IN_PART = [
    ([0, 1], {1: Status.ACCEPTED}),
    ([12, 14, 17, 18], {14: Status.REJECTED, 18: Status.FAILED}),
    ([20, 21], {}),
    ([30, 31], {30: Status.ACCEPTED, 31: Status.REJECTED}),
]


async def found_in_part(journal: Journal) -> None:
    """Write batches in doubt, numbered from 0, and what was found of them."""
    for number, (rows, found) in enumerate(FOUND_IN_PART):
        await intend(journal, name(number), rows)
        await journal.doubt(name(number), ended(result="no_answer", status=None))
        await journal.find(
            [finding(row, status, provider_id="id") for row, status in found.items()]
        )
    await journal.flush()


async def test_by_order_those_alone_go_again_of_whom_nothing_is_known(
    path: Path,
) -> None:
    """What was found stays as it is; the others go on in a batch of their own."""
    async with writing(Journal.create(path, {})) as journal:
        await found_in_part(journal)
        for number in range(4):
            await journal.resolve(name(number), resend=True)
        handed_on = [journal.handed_on(name(number)) for number in range(4)]
        assert [[0], [12, 17], None, None] == handed_on
    with reopened(path) as journal:
        assert handed_on == [journal.handed_on(name(number)) for number in range(4)]
        first, second, third, fourth = journal.batches()
        split, again, done = BatchState.SPLIT, BatchState.RETRYABLE, BatchState.DONE
        states = [batch.state for batch in (first, second, third, fourth)]
        assert [split, split, again, done] == states
        pending, failed = Status.PENDING, Status.FAILED
        assert second.outcomes == Outcomes(
            [pending, Status.REJECTED, pending, failed],
            [None, "event", None, "event"],
            [None, "delivered", None, "delivered"],
            [None, "id", None, "id"],
        )
        known = [1, 14, 18, 30, 31]
        assert known == [n for n, mark in enumerate(journal.marks(40, {done})) if mark]
        with pytest.raises(JournalError, match="row 18 is beyond the 18"):
            journal.marks(18, {done})
        async with writing(journal):
            for row in (1, 14, 18):
                parent = name(0 if row == 1 else 1)
                with pytest.raises(BrokenPromise, match=f"row {row} was found"):
                    await intend(journal, name(9), [row], parent=parent)
            await intend(journal, name(8), [0], parent=name(0))
            await intend(journal, name(9), [12, 17], parent=name(1))
            await journal.settle(name(9), Outcomes.uniform(2, failed), ended())
            await journal.flush()
            found = {Status.ACCEPTED: 2, Status.REJECTED: 2, failed: 3}
            assert found == journal.counts()
    with Journal.open(path) as journal:
        assert found == journal.counts()


async def test_a_rest_that_is_in_doubt_itself_can_be_found_and_go_again(
    path: Path,
) -> None:
    """Doubt upon doubt: each time fewer go on, and who was found stays found."""
    rows = list(range(5))
    async with writing(Journal.create(path, {})) as journal:
        for depth in range(4):
            parent = name(depth - 1) if depth else None
            await intend(journal, name(depth), rows, parent=parent)
            await journal.doubt(name(depth), ended())
            with pytest.raises(BrokenPromise, match="not in doubt"):
                await journal.find([finding(5)])
            await journal.find([finding(rows.pop(1))])
            await journal.resolve(name(depth), resend=True)
            assert rows == journal.handed_on(name(depth))
    with reopened(path) as journal:
        assert [[0], rows] == [[0], journal.unclaimed(name(3))]
        assert {Status.ACCEPTED: 4} == journal.counts()
        assert [1, 2, 3, 4] == [found.row for found in journal.findings()]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ("state = 'retryable', doubted = 0", "known what became"),
        ("state = 'split', settled_at = 1, statuses = NULL", "CHECK|that was not"),
        ("state = 'split', settled_at = 1, statuses = 'p'", "that was not"),
        ("state = 'split', settled_at = 1, statuses = 'pppp'", "that was not"),
        ("state = 'split', settled_at = 1, statuses = 'prpr'", "that was not"),
        ("state = 'split', settled_at = 1, statuses = 'ppfr'", "that was not"),
        ("state = 'split', settled_at = 1, statuses = 'prrf'", "that was not"),
        ("state = 'split', settled_at = 1, statuses = 'rrff'", "that was not"),
        ("state = 'split', settled_at = 1, statuses = 'fprp'", "that was not"),
    ],
)
async def test_no_bug_sends_again_who_was_found(
    path: Path, change: str, match: str
) -> None:
    """The database takes the one split that says what was found, and no other."""
    async with writing(Journal.create(path, {})) as journal:
        await found_in_part(journal)
    update = f"UPDATE batch SET {change} WHERE place = {12 * 64}"
    good = "state = 'split', settled_at = 1, statuses = 'prpf'"
    with raw(path) as db:
        with pytest.raises(sqlite3.IntegrityError, match=match):
            db.execute(update)
        db.execute(f"UPDATE batch SET {good} WHERE place = {12 * 64}")


async def test_a_part_of_a_split_batch_that_was_found_is_not_sent(path: Path) -> None:
    """A row that was found does not go on in a child of its batch."""
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0, 1], key="k")
        await journal.doubt(name(1), ended())
        await journal.find([finding(1)])
        await intend(journal, name(1), [0, 1], key="k")
        await journal.split(name(1), ended(2))
        with pytest.raises(BrokenPromise, match="row 1 was found accepted"):
            await intend(journal, name(2), [1], parent=name(1))
        await intend(journal, name(3), [0], parent=name(1))
    with (
        raw(path) as db,
        pytest.raises(sqlite3.IntegrityError, match="known what became"),
    ):
        db.execute(_copy(64 + 1, 1, parent="0"))


async def test_what_was_found_goes_into_what_is_decided(path: Path) -> None:
    """Deciding about a batch in doubt does not overrule what is known of its rows."""
    known = finding(1, Status.REJECTED, provider_id="id-1")
    async with writing(Journal.create(path, {}, clock=lambda: NOON)) as journal:
        await intend(journal, name(1), [0, 1])
        await journal.doubt(name(1), ended())
        await journal.find([known])
        assumed = Outcomes.uniform(2, Status.ACCEPTED, reason="assumed")
        await journal.resolve(name(1), assumed)
        await journal.flush()
        assert {Status.ACCEPTED: 1, Status.REJECTED: 1} == journal.counts()
        (batch,) = journal.batches()
    assert batch.outcomes == Outcomes(
        [Status.ACCEPTED, Status.REJECTED],
        ["assumed", "event"],
        [None, "delivered"],
        [None, "id-1"],
    )
    assert assumed == Outcomes.uniform(2, Status.ACCEPTED, reason="assumed")


@pytest.mark.parametrize("status", [Status.IN_DOUBT, Status.PENDING, Status.INVALID])
def test_a_finding_is_one_of_three(status: Status) -> None:
    """What was found out is accepted, rejected or failed, at a moment in UTC."""
    with pytest.raises(ValueError, match="must be one of accepted, rejected, failed"):
        finding(1, status)
    with pytest.raises(ValueError, match="time zone"):
        RowFinding(1, Status.FAILED, None, None, None, NOON.replace(tzinfo=None))


async def test_an_open_doubt_reads_as_doubt(path: Path) -> None:
    """Rows in doubt say so, and why, before anybody has decided about them."""
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0])
        await journal.doubt(name(1), ended(result="no_answer", status=None))
        await intend(journal, name(2), [1])
        await intend(journal, name(3), [2])
        await journal.release(name(3), ended())
    with reopened(path) as journal:
        assert [
            Outcomes.uniform(1, Status.IN_DOUBT, reason="no_answer"),
            Outcomes.uniform(1, Status.IN_DOUBT, reason="interrupted"),
            None,
        ] == [batch.outcomes for batch in journal.batches()]
        assert {} == journal.counts()


async def test_a_split_batch_hands_its_open_rows_to_its_children(path: Path) -> None:
    """After a crash between split and children, the rows without one are known."""
    pending = Status.PENDING
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0, 1, 2, 3, 4, 5])
        outcomes = Outcomes(
            [Status.ACCEPTED, pending, pending, pending, pending, Status.REJECTED],
            *([None] * 6 for _ in range(3)),
        )
        await journal.split(name(1), ended(), outcomes)
        await intend(journal, name(2), [1, 2], parent=name(1))
        await journal.split(name(2), ended())
        await intend(journal, name(3), [1], parent=name(2))
        await journal.settle(name(3), ACCEPTED, ended())
        await journal.skip([RowOutcome(4, Status.SUPPRESSED, None, None, NOON)])
        assert journal.unclaimed(name(1)) == [3]
    with Journal.open(path) as journal:
        assert journal.unclaimed(name(1)) == [3]
        assert journal.unclaimed(name(2)) == [2]
        found = [(b.id, b.parent, b.rows) for b in journal.batches()]
        assert [
            (name(1), None, [0, 1, 2, 3, 4, 5]),
            (name(2), name(1), [1, 2]),
            (name(3), name(2), [1]),
        ] == found
        expected = {Status.ACCEPTED: 2, Status.REJECTED: 1, Status.SUPPRESSED: 1}
        assert expected == journal.counts()
        async with writing(journal):
            await intend(journal, name(4), [2], parent=name(2))
            await journal.split(name(4), ended(), Outcomes.uniform(1, pending))
            assert journal.unclaimed(name(4)) == [2]
            await intend(journal, name(5), [3], parent=name(1))
            assert journal.unclaimed(name(1)) == []


async def test_marks_are_the_rows_of_some_states(path: Path) -> None:
    """Rows that need nothing more are told fast, members and single rows alike."""
    async with writing(Journal.create(path, {})) as journal:
        await intend(journal, name(1), [0, 2])
        await journal.settle(name(1), Outcomes.uniform(2, Status.FAILED), ended())
        await intend(journal, name(2), [3, 4])
        await intend(journal, name(3), [5, 6])
        await journal.doubt(name(3), ended())
        await journal.skip([RowOutcome(8, Status.INVALID, None, None, NOON)])
        await journal.flush()
        final = {BatchState.DONE, BatchState.IN_DOUBT}
        assert bytes([1, 0, 1, 0, 0, 1, 1, 0, 1, 0]) == journal.marks(10, final)
        assert bytes([0, 0, 0, 1, 1, 0, 0, 0, 1]) == journal.marks(
            9, {BatchState.INTENT}
        )
        with pytest.raises(JournalError, match="beyond the 6"):
            journal.marks(6, final)


# --- simulation


def test_inline_commits_need_no_thread_and_no_time(tmp_path: Path) -> None:
    """With the inline runner a virtual clock sees every commit as instantaneous."""
    threads = set()

    async def watched(write: Callable[[], None], rows: int) -> None:
        threads.add(threading.get_ident())
        await inline(write, rows)

    async def main() -> float:
        journal = Journal.create(tmp_path / "journal.db", {}, runner=watched)
        async with writing(journal):
            for row in range(20):
                await intend(journal, name(row), [row])
        return trio.current_time()

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == 0.0
    assert {threading.get_ident()} == threads


async def test_after_a_simulated_death_nothing_more_is_written(path: Path) -> None:
    """A runner that dies leaves the file as the last commit made it."""
    calls = 0

    class Dead(BaseException):
        """The power is off."""

    async def dying(write: Callable[[], None], rows: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise Dead
        write()

    journal = Journal.create(path, {}, runner=dying)
    with pytest.RaisesGroup(Dead, pytest.RaisesGroup(JournalError)):
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            async with trio.open_nursery() as workers:

                async def work() -> None:
                    for row in range(5):
                        await intend(journal, name(row), [row])

                workers.start_soon(work)
    journal.close()
    assert dict.fromkeys([name(0), name(1)], BatchState.IN_DOUBT) == states(path)
