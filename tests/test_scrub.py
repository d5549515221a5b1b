"""A journal's copy without the words about some people."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from engine.errors import JournalError
from engine.journal import Journal, inline, scrub
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchState, RowFinding, RowOutcome

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ANN = "ann@inbox.example"
WORDS = f"550 no such user {ANN}, says Ann Leeward"
LONG = f"{WORDS} {'x' * 200}"  # long enough to be deflated
CLEANER = scrub.Cleaner(
    rows={1, 30},
    word="erased",
    text=lambda text: text.replace(ANN, "erased"),
    own=lambda text: text.replace(ANN, "erased").replace("Ann Leeward", "erased"),
)


async def intend(journal: Journal, name: int, rows: list[int]) -> str:
    """Write an intent; return the id of its batch."""
    batch = f"{name:032x}"
    sha256 = hashlib.sha256(b"x").digest()
    await journal.intend(batch, rows, body_digest=sha256, body_bytes=1)
    return batch


def attempt(number: int, detail: str | None) -> Attempt:
    """Make an attempt that ended with some words."""
    return Attempt(number, NOON, 0.1, "refused", 400, detail)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal in every state, whose every text names somebody."""
    trio.run(fill, tmp_path / "journal.db")
    return tmp_path / "journal.db"


async def fill(path: Path) -> None:
    """Make that journal."""
    with Journal.create(path, {"manifest": "old"}, runner=inline) as journal:
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            one = await intend(journal, 1, [0, 1, 2])
            await journal.release(one, attempt(1, WORDS))
            await intend(journal, 1, [0, 1, 2])
            statuses = [Status.ACCEPTED, Status.REJECTED, Status.REJECTED]
            told = Outcomes(statuses, [None, "a", "b"], [None, LONG, LONG], ["p"] * 3)
            await journal.settle(one, told, attempt(2, None))
            await journal.doubt(await intend(journal, 2, [10]), attempt(1, WORDS))
            await journal.doubt(await intend(journal, 3, [11]), attempt(1, WORDS))
            await journal.flush()
            found = RowFinding(11, Status.REJECTED, "r", WORDS, "p11", NOON)
            await journal.find([found])
            skipped = [(30, WORDS), (31, WORDS), (32, None)]
            await journal.skip(
                [
                    RowOutcome(row, Status.RENDER_FAILED, "r", words, NOON)
                    for row, words in skipped
                ]
            )
            await journal.flush()
            nursery.cancel_scope.cancel()


def test_only_the_words_change(path: Path) -> None:
    """States, statuses, reasons, ids and attempts stay; seals and tables hold."""
    copy = path.with_name("copy.db")
    scrub.copy(path, copy)
    assert copy.stat().st_mode & 0o077 == 0
    scrub.scrub(copy, CLEANER, {"manifest": "new"})
    assert ANN.encode() not in copy.read_bytes()
    with Journal.looked_into(path) as before, Journal.looked_into(copy) as after:
        assert (before.fact("manifest"), after.fact("manifest")) == ("old", "new")
        assert before.counts() == after.counts()
        pairs = list(zip(before.batches(), after.batches(), strict=True))
        for old, new in pairs:
            assert old.state is new.state
            assert (old.rows, old.settled_at) == (new.rows, new.settled_at)
        done = pairs[0][1].outcomes
        assert done is not None
        assert done.details == [None, "erased", LONG.replace(ANN, "erased")]
        assert done.provider_ids == ["p"] * 3
        assert pairs[0][1].state is BatchState.DONE
        details = [one.detail for one in after.attempts(pairs[0][1].id)]
        assert details == ["550 no such user erased, says erased", None]
        told = {one.row: one.detail for one in after.row_outcomes()}
        assert told == {30: "erased", 31: WORDS.replace(ANN, "erased"), 32: None}
        (finding,) = after.findings()
        assert finding.detail == WORDS.replace(ANN, "erased")
    with Journal.open(copy) as writable:  # the triggers are back
        writable.replay()


def test_it_is_known_whether_there_is_anything_to_take_out(path: Path) -> None:
    """The journal itself is not changed by looking, nor by copying."""
    before = path.read_bytes()
    assert scrub.is_needed(path, CLEANER)
    copy = path.with_name("copy.db")
    scrub.copy(path, copy)
    scrub.scrub(copy, CLEANER, {})
    nobody = scrub.Cleaner((), "erased", CLEANER.text, CLEANER.own)
    assert not scrub.is_needed(copy, nobody)
    assert path.read_bytes() == before


def test_a_copy_is_not_written_over_another_file(path: Path) -> None:
    """What lies there may be anything."""
    (there := path.with_name("copy.db")).write_bytes(b"precious")
    with pytest.raises(JournalError):
        scrub.copy(path, there)
    assert there.read_bytes() == b"precious"
