"""Batches of one row that leave together: written as one, known as if alone."""

import hashlib
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BrokenPromise, JournalError
from engine.journal import Intent, Journal, inline, scrub
from engine.journal.pages import PAGE
from engine.journal.schema import MOST_ALOFT
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchState, RowFinding, RowOutcome
from engine.results import Header, project

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ANN = "ann@inbox.example"
TEXT = st.none() | st.sampled_from(["bounce", "ok"]) | st.text(max_size=9)
FATES = ("nothing", "land", "land", "land", "unsure", "again", "doubt", "hold", "sure")


def name(row: int) -> str:
    """Make a batch id of its lowest row."""
    return f"{row:032x}"


def intent(rows: Sequence[int], *, keyed: bool = True) -> Intent:
    """Make an intent with a body of its own."""
    body, batch = f"body of {rows[0]}".encode(), name(rows[0])
    sha256 = hashlib.sha256(body).digest()
    key = batch if keyed else None
    return Intent(batch, rows, sha256, len(body), idempotency_key=key)


def ended(row: int, number: int = 1) -> Attempt:
    """Make an attempt with numbers of its own."""
    status = None if row % 7 == 0 else 200 + row % 3
    return Attempt(number, NOON, (row % 5) / 8, "answered", status, None)


def accepted(row: int) -> Outcomes:
    """Make the outcome of a message that was taken."""
    return Outcomes([Status.ACCEPTED], [None], [None], [f"id-{row}"])


async def begun(path: Path, nursery: trio.Nursery) -> Journal:
    """Make a journal and run its writer."""
    journal = Journal.create(
        path, {}, runner=inline, synchronous="OFF", clock=lambda: NOON
    )
    await nursery.start(journal.run)
    return journal


# --- as if each were alone


@dataclass(frozen=True)
class Call:
    """Batches that leave together.

    Attributes:
        batches: the rows of each.
        keyed: whether they have keys.
        fates: what is to become of each.
        outcomes: what an answer says of each.
    """

    batches: list[list[int]]
    keyed: bool
    fates: list[str]
    outcomes: list[Outcomes]


@st.composite
def calls(draw: st.DrawFn) -> list[Call]:
    """Draw calls, the rows of each beyond those of the one before."""
    found, row = [], 0
    for _ in range(draw(st.integers(1, 4))):
        count = draw(st.integers(1, 8) | st.just(MOST_ALOFT + 3))
        batches = []
        for _ in range(count):
            size = draw(st.sampled_from([1, 1, 1, 1, 3]))
            row += draw(st.integers(1, 3))
            batches.append([*range(row, row + size)])
            row += size - 1
        fates = draw(st.lists(st.sampled_from(FATES), min_size=count, max_size=count))
        outcomes = [draw(told(len(rows))) for rows in batches]
        found.append(Call(batches, draw(st.booleans()), fates, outcomes))
    return found


@st.composite
def told(draw: st.DrawFn, size: int) -> Outcomes:
    """Draw what an answer says of a batch."""
    sure = [Status.ACCEPTED, Status.REJECTED, Status.FAILED]
    columns = [draw(st.lists(TEXT, min_size=size, max_size=size)) for _ in range(3)]
    statuses = st.lists(st.sampled_from(sure), min_size=size, max_size=size)
    return Outcomes(draw(statuses), *columns)


async def play(path: Path, drawn: list[Call], *, together: bool, seed: int) -> None:
    """Write what was drawn; where not together, each batch and answer by itself."""
    chance = random.Random(seed)
    async with trio.open_nursery() as nursery:
        journal = await begun(path, nursery)
        for call in drawn:
            intents = [intent(rows, keyed=call.keyed) for rows in call.batches]
            if together:
                await journal.intend_all(intents)
            else:
                for one in intents:
                    await journal.intend_all([one])
        answers = []
        for call in drawn:
            for one in zip(call.batches, call.fates, call.outcomes, strict=True):
                answers += await meet(journal, *one, keyed=call.keyed)
        chance.shuffle(answers)
        while answers:
            count = chance.randint(1, 9) if together else 1
            await journal.settle_all(answers[:count])
            del answers[:count]
        await journal.flush()
        nursery.cancel_scope.cancel()
    journal.close()


async def meet(
    journal: Journal, rows: list[int], fate: str, outcomes: Outcomes, *, keyed: bool
) -> list[tuple[str, Outcomes, Attempt]]:
    """Let a batch meet its fate; return its answer, if that is an answer."""
    row, batch = rows[0], name(rows[0])
    match fate:
        case "land":
            return [(batch, outcomes, ended(row))]
        case "unsure":
            doubt = Outcomes.uniform(len(rows), Status.IN_DOUBT)
            return [(batch, doubt, ended(row))]
        case "again":
            await journal.release(batch, ended(row))
            await journal.intend_all([intent(rows, keyed=keyed)])
            return [(batch, outcomes, ended(row, 2))]
        case "doubt":
            await journal.doubt(batch, ended(row))
        case "hold":
            await journal.doubt(batch, ended(row))
            await journal.hold(batch)
        case "sure":
            await journal.doubt(batch, ended(row))
            await journal.resolve(batch, outcomes)
    return []


def known(journal: Journal, drawn: list[Call]) -> Any:
    """Say everything that a journal tells."""
    ids = [name(rows[0]) for call in drawn for rows in call.batches]
    total = drawn[-1].batches[-1][-1] + 1
    return (
        list(journal.batches()),
        journal.counts(),
        [journal.marks(total, [state]) for state in BatchState],
        [journal.attempts(batch) for batch in ids],
        [(journal.knows(batch), journal.doubt_of(batch)) for batch in ids],
        results_of(journal, total),
    )


def results_of(journal: Journal, total: int) -> list[tuple[Any, ...]]:
    """Lay a journal's outcomes over a list of so many rows, as results do."""
    with tempfile.TemporaryDirectory() as folder:
        recipients = Path(folder) / "recipients.parquet"
        texts = dict.fromkeys(("key", "address", "message_id"), "x")
        nothing = dict.fromkeys(("status", "reason", "detail", "variant"), None)
        rows = pl.DataFrame({"row": range(total), **texts, **nothing})
        rows.cast({"row": pl.UInt64, pl.Null: pl.String}).write_parquet(recipients)
        header = Header("c", "r", "cloudmails", "m", "1", NOON)
        told = project(recipients, journal.records(), journal.row_outcomes(), header)
        return pl.concat(told).rows()


@settings(max_examples=15, deadline=None)
@given(drawn=calls(), seed=st.integers(0, 99))
def test_it_is_known_as_if_each_had_been_alone(drawn: list[Call], seed: int) -> None:
    """After a crash at the end: before its replay, and after."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "together.db", Path(folder) / "alone.db"]
        for path in paths:
            trio.run(partial(play, together=path is paths[0], seed=seed), path, drawn)
        for replay in (False, True):
            found = []
            for path in paths:
                with Journal.open(path, clock=lambda: NOON) as journal:
                    if replay:
                        journal.replay()
                    found.append(known(journal, drawn))
            for together, alone in zip(*found, strict=True):
                assert together == alone


async def test_an_id_across_two_of_another_volley_is_not_taken_for_it(
    tmp_path: Path,
) -> None:
    """The ids of rows 1 and 2, side by side, hold that of row 256."""
    assert name(256) in name(1) + name(2)
    async with trio.open_nursery() as nursery:
        journal = await begun(tmp_path / "journal.db", nursery)
        for rows in ((1, 2), (256, 257)):
            await journal.intend_all([intent([row]) for row in rows])
        await journal.settle_all([(name(256), accepted(256), ended(256))])
        await journal.flush()
        assert journal.attempts(name(256)) == [ended(256)]
        assert journal.attempts(name(1)) == []
        nursery.cancel_scope.cancel()
    journal.close()


async def test_a_thousand_are_read_in_order_whatever_became_of_them(
    tmp_path: Path,
) -> None:
    """Over the borders of pages, those that went on by themselves among the others."""
    chance = random.Random(5)
    rows = [row for row in range(1500) if row % 11]
    async with trio.open_nursery() as nursery:
        journal = await begun(tmp_path / "journal.db", nursery)
        left = list(rows)
        while left:
            count = chance.choice([1, 2, 40, MOST_ALOFT, PAGE])
            await journal.intend_all([intent([row]) for row in left[:count]])
            del left[:count]
        for row in chance.sample(rows, 900):
            await journal.release(name(row), ended(row))
        await journal.flush()
        assert [[row] for row in rows] == [b.rows for b in journal.batches()]
        nursery.cancel_scope.cancel()
    journal.close()


async def test_reading_meanwhile_misses_none_and_tells_none_twice(
    tmp_path: Path,
) -> None:
    """A batch that leaves its volley between two pages is told once."""
    rows = range(500)
    async with trio.open_nursery() as nursery:
        journal = await begun(tmp_path / "journal.db", nursery)
        for start in range(0, 500, 50):
            several = [intent([row]) for row in rows[start : start + 50]]
            await journal.intend_all(several)
        read: list[int] = []
        leaving = list(reversed(rows))
        for batch in journal.batches():
            read += batch.rows
            row = leaving.pop() if len(read) % 2 else leaving.pop(0)
            await journal.release(name(row), ended(row))
            await journal.flush()
        assert read == list(rows)
        nursery.cancel_scope.cancel()
    journal.close()


# --- what cannot be


@pytest.fixture(scope="module")
def mother(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a journal: a volley of rows 10, 11 and 13; 10 has landed, 13 goes on."""
    path = tmp_path_factory.mktemp("mother") / "journal.db"

    async def write() -> None:
        async with trio.open_nursery() as nursery:
            journal = await begun(path, nursery)
            await journal.skip([RowOutcome(12, Status.INVALID, None, None, NOON)])
            await journal.intend_all([intent([row]) for row in (10, 11, 13)])
            await journal.settle(name(10), accepted(10), ended(10))
            await journal.release(name(13), ended(13))
            await journal.intend_all([intent([20, 21]), intent([30]), intent([31])])
            await journal.doubt(name(20), ended(20))
            await journal.flush()
            await journal.find([RowFinding(20, Status.ACCEPTED, "", "", None, NOON)])
            await journal.flush()
            nursery.cancel_scope.cancel()
        journal.close()

    trio.run(write)
    return path


@pytest.fixture
def path(mother: Path, tmp_path: Path) -> Path:
    """Copy that journal."""
    return Path(shutil.copy(mother, tmp_path / "journal.db"))


_COPY = (
    "INSERT {how} INTO volley SELECT {low}, {high}, 2, {members}, intended_at,"
    " zeroblob(32), zeroblob(64), '[1,1]', 0, 0 FROM volley WHERE low = 10"
)
_LAND = "INSERT {how} INTO landing SELECT {low}, {mask}, 1, 'a', NULL, '[]', 0"
_BATCH = (
    "INSERT INTO batch SELECT {row} * 64, {id}, {parent}, {row}, 1, NULL, intended_at,"
    " 'intent', 1, '', 0, {sha256}, 1, {key}, NULL, NULL, NULL, 0"
    " FROM volley WHERE low = 10"
)


def _copy(low: int, high: int, members: str = "NULL", how: str = "") -> str:
    return _COPY.format(low=low, high=high, members=members, how=how)


def _land(low: int, mask: int, how: str = "") -> str:
    return _LAND.format(low=low, mask=mask, how=how)


def _batch(row: int, bit: int = 1, **other: str) -> str:
    columns = {
        "id": f"substr(ids, {bit} * 16 + 1, 16)",
        "parent": "NULL",
        "sha256": f"substr(digests, {bit} * 32 + 1, 32)",
        "key": f"'{name(row)}'",
    }
    return _BATCH.format(row=row, **(columns | other))


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        (_copy(9, 10), "in another batch"),
        (_copy(13, 14), "in another batch"),
        (_copy(5, 40, f"CAST(x'01{'00' * 34}01' AS BLOB)"), "in another batch"),
        (_copy(10, 11, how="OR REPLACE"), "in another batch"),
        (_copy(19, 20), "became of"),
        (_copy(21, 22), "in another batch"),
        ("UPDATE volley SET size = 2", "never changes"),
        ("DELETE FROM volley", "never forgotten"),
        (_land(9, 1), "no volley has"),
        (_land(10, 8), "no volley has"),
        (_land(10, 1), "landed already"),
        (_land(10, 3), "landed already"),
        (_land(10, 1, "OR REPLACE"), "landed already"),
        (_land(10, 4), "by itself"),
        (_land(10, 6), "by itself"),
        (_land(10, 2).replace("'a'", "'d'"), "CHECK"),
        (_land(10, 2).replace("'a'", "'p'"), "CHECK"),
        (_land(10, 0), "CHECK"),
        ("UPDATE landing SET statuses = 'r'", "never changes"),
        ("DELETE FROM landing", "never forgotten"),
        (_batch(10, 0), "has landed"),
        (_batch(11, 0), "not what it was"),
        (_batch(11, sha256="zeroblob(32)"), "not what it was"),
        (_batch(11, key="NULL"), "not what it was"),
        (_batch(11).replace("intended_at", "intended_at + 1"), "not what it was"),
        (_batch(11, parent="640").replace("11 * 64", "11 * 64 + 1"), "not a split"),
        (_batch(12), "settled already"),
        (_batch(13, 2), "in another batch"),
        ("INSERT INTO settled_row VALUES (11, 'failed', '', '', 1, 0)", "in a batch"),
    ],
)
def test_the_database_takes_no_contradiction(
    path: Path, statement: str, complaint: str
) -> None:
    """Whoever writes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        with pytest.raises(sqlite3.IntegrityError, match=complaint):
            db.execute(statement)
        # What may be, the same way: the refusals are not of something else.
        for good in (_copy(14, 15), _land(30, 2), _batch(11)):
            db.execute(good)


@pytest.mark.parametrize("row", [20, 12])
async def test_what_is_known_of_a_row_keeps_it_from_a_volley(
    path: Path, row: int
) -> None:
    """It was found what became of it, or it is settled."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER volley_apart")
        with pytest.raises(sqlite3.IntegrityError, match=r"became of|settled"):
            db.execute(_copy(row, row + 1))


async def test_an_impossible_request_fails_where_it_is_made(path: Path) -> None:
    """What has landed is not open; another attempt than the first never began."""
    with Journal.open(path, runner=inline) as journal:
        journal.replay()
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            await journal.intend_all([intent([row]) for row in (40, 41)])
            with pytest.raises(BrokenPromise, match="attempt 2 ends"):
                await journal.settle(name(40), accepted(40), ended(40, 2))
            await journal.settle(name(40), accepted(40), ended(40))
            with pytest.raises(BrokenPromise, match="not open"):
                await journal.settle(name(40), accepted(40), ended(40))
            outcomes = Outcomes.uniform(2, Status.ACCEPTED)
            with pytest.raises(BrokenPromise, match="outcomes for 1 rows"):
                await journal.settle(name(41), outcomes, ended(41))
            nursery.cancel_scope.cancel()


async def test_nothing_is_sent_before_what_was_aloft_is_in_doubt(path: Path) -> None:
    """A crash left some of a volley neither landed nor gone on."""
    with Journal.open(path) as journal:
        with pytest.raises(RuntimeError, match="replay comes before"):
            await journal.run()
        journal.replay()
        doubted = [b.rows for b in journal.batches() if b.state is BatchState.IN_DOUBT]
        assert doubted == [[11], [20, 21], [30], [31]]


# --- damage, and people


def _story(path: Path) -> object:
    with Journal.open(path) as found:
        return list(found.batches()), found.counts(), found.attempts(name(10))


@pytest.mark.slow
def test_flipped_bits_are_never_read_as_truth(path: Path) -> None:
    """Wherever bits flip in what tells of a volley, the journal refuses."""
    truth = _story(path)
    original = path.read_bytes()
    chance = random.Random(3)
    # Where the records are: in pages that have the volley's ids and the answer's.
    marks = [original.find(bytes.fromhex(name(10))), original.find(b"id-10")]
    assert min(marks) > 0
    refused = 0
    for _ in range(120):
        spoilt = bytearray(original)
        spoilt[chance.choice(marks) + chance.randrange(-60, 90)] ^= 1 << (
            chance.randrange(8)
        )
        path.write_bytes(spoilt)
        try:
            assert truth == _story(path)
        except JournalError:
            refused += 1
    assert refused > 80


def test_people_are_taken_out_of_what_landed(path: Path) -> None:
    """Their rows say a word in place of the details; the others are cleaned."""

    async def write() -> None:
        with Journal.open(path, runner=inline) as journal:
            journal.replay()
            async with trio.open_nursery() as nursery:
                await nursery.start(journal.run)
                await journal.intend_all([intent([row]) for row in (50, 51, 52)])
                words = [f"no such user {ANN}", f"says {ANN}", "greylisted"]
                answers = []
                for row, detail in zip((50, 51, 52), words, strict=True):
                    outcome = Outcomes([Status.REJECTED], ["r"], [detail], [None])
                    attempt = Attempt(1, NOON, 0.5, "answered", 200, detail)
                    answers.append((name(row), outcome, attempt))
                await journal.settle_all(answers)
                await journal.flush()
                nursery.cancel_scope.cancel()

    trio.run(write)
    cleaner = scrub.Cleaner(
        rows={50},
        word="erased",
        text=lambda text: text.replace(ANN, "-"),
        own=lambda text: text.replace(ANN, "-").replace("user", "-"),
    )
    assert scrub.is_needed(path, cleaner)
    copy = path.with_name("copy.db")
    scrub.copy(path, copy)
    scrub.scrub(copy, cleaner, {})
    assert ANN.encode() not in copy.read_bytes()
    with Journal.looked_into(copy) as journal:
        told = {
            batch.rows[0]: batch.outcomes.details[0]
            for batch in journal.batches()
            if batch.rows[0] >= 50 and batch.outcomes is not None
        }
        assert told == {50: "erased", 51: "says -", 52: "greylisted"}
        (attempt,) = journal.attempts(name(50))
        assert attempt.detail == "no such - -"
    assert not scrub.is_needed(copy, cleaner)
