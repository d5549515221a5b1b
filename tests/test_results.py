"""Claims about `engine.results`: one truthful row per input row, whole or not there."""

import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from pathlib import Path

import polars as pl
import pytest
import trio
from handmade import make
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import parquet, results, snapshot
from engine.errors import BrokenPromise, JournalError
from engine.journal import Journal
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchRecord, BatchState, RowFinding, RowOutcome

PLANNED_AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
SETTLED_AT = PLANNED_AT + timedelta(minutes=5)
FOUND_AT = SETTLED_AT + timedelta(hours=1)
HEADER = results.Header(
    campaign="welcome",
    run="20261120T100000Z-abcdef",
    provider="cloudmails",
    manifest="f" * 64,
    version="0.1.0",
    planned_at=PLANNED_AT,
)
#: As documented: the contract of the file.
SCHEMA = {
    "row": pl.UInt64(),
    "key": pl.String(),
    "address": pl.String(),
    "status": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "message_id": pl.String(),
    "provider": pl.String(),
    "provider_id": pl.String(),
    "batch": pl.String(),
    "attempts": pl.UInt16(),
    "http_status": pl.UInt16(),
    "settled_at": pl.Datetime("us", "UTC"),
    "latency_ms": pl.Float32(),
    "variant": pl.String(),
}


def freeze(folder: Path, emails: list[str]) -> Path:
    """Freeze a list; `bad` is no address."""
    file = folder / "recipients.parquet"
    columns = snapshot.Columns("email", None, None, ())
    frame = pl.LazyFrame({"email": emails})
    snapshot.write(frame, file, campaign="welcome", columns=columns)
    return file


@pytest.fixture
def four(tmp_path: Path) -> Path:
    """Freeze a list of four good addresses."""
    return freeze(tmp_path, [f"{n}@x.example" for n in range(4)])


def batch(
    id_: str,
    rows: list[int],
    state: BatchState = BatchState.DONE,
    outcomes: Outcomes | None = None,
    *,
    attempts: int = 1,
    parent: str | None = None,
) -> BatchRecord:
    """Make a batch as the journal would have it."""
    if outcomes is None and state is BatchState.DONE:
        ids: list[str | None] = [f"id-{row}" for row in rows]
        nothing: list[str | None] = [None] * len(rows)
        outcomes = Outcomes([Status.ACCEPTED] * len(rows), nothing, nothing, ids)
    elif outcomes is None and state in (BatchState.IN_DOUBT, BatchState.HELD):
        outcomes = Outcomes.uniform(len(rows), Status.IN_DOUBT, reason="timeout")
    answered = state in (BatchState.DONE, BatchState.SPLIT)
    return BatchRecord(
        id=id_,
        parent=parent,
        rows=rows,
        state=state,
        attempts=attempts,
        outcomes=outcomes,
        http_status=200 if answered else None,
        settled_at=SETTLED_AT if answered else None,
        latency_ms=12.5 if answered else None,
        body_digest=bytes(32),
        body_bytes=10,
        idempotency_key=None,
        intended_at=PLANNED_AT,
    )


def skip(row: int) -> RowOutcome:
    """Make a row whose template failed."""
    return RowOutcome(row, Status.RENDER_FAILED, "undefined", "body:1: x", SETTLED_AT)


def find(row: int, status: Status = Status.ACCEPTED) -> RowFinding:
    """Make what was found out of a row, an hour after it was sent."""
    return RowFinding(row, status, "reconciled", "delivered", f"found-{row}", FOUND_AT)


def write(
    recipients: Path,
    batches: Iterable[BatchRecord] = (),
    skipped: Iterable[RowOutcome] = (),
    findings: Iterable[RowFinding] = (),
) -> pl.DataFrame:
    """Write results and read them back; what was counted must be what is there."""
    path = recipients.with_name("results.parquet")
    counts = results.write(
        path, recipients, batches, skipped, HEADER, findings=findings
    )
    written = pl.read_parquet(path)
    assert dict(written["status"].value_counts().iter_rows()) == counts
    assert [path.name for path in path.parent.glob(".*")] == []
    return written


# ---- the file


def test_the_columns_have_exactly_these_types(four: Path) -> None:
    """Names, order and types are the documented ones, whatever the journal has."""
    assert dict(write(four).schema) == SCHEMA
    written = write(four, [batch("aa", [0, 1])], [skip(2)])
    assert list(written.schema.items()) == list(SCHEMA.items())


def test_an_accepted_row_says_everything(four: Path) -> None:
    """Who, by whom, in which batch, at which attempt, when, and how fast."""
    row = write(four, [batch("aa", [1, 2], attempts=3)]).row(1, named=True)
    frozen = pl.read_parquet(four).row(1, named=True)
    assert row == {
        "row": 1,
        "key": "1@x.example",
        "address": "1@x.example",
        "status": "accepted",
        "reason": None,
        "detail": None,
        "message_id": frozen["message_id"],
        "provider": "cloudmails",
        "provider_id": "id-1",
        "batch": "aa",
        "attempts": 3,
        "http_status": 200,
        "settled_at": SETTLED_AT,
        "latency_ms": 12.5,
        "variant": None,
    }


def test_a_planned_row_keeps_its_reason(tmp_path: Path) -> None:
    """What the plan settled was settled when it was planned, without an attempt."""
    recipients = freeze(tmp_path, ["bad", "a@x.example", "A@x.example"])
    written = write(recipients)
    assert written.select("status", "reason", "attempts", "settled_at").rows() == [
        ("invalid", "address_syntax", 0, PLANNED_AT),
        ("pending", None, 0, None),
        ("duplicate", "same_address", 0, PLANNED_AT),
    ]
    assert written["detail"][2] == "row 1 has the same address"


def test_a_skipped_row_had_no_attempt(four: Path) -> None:
    """A row settled without a request has its words, and no batch or attempt."""
    row = write(four, [], [skip(3)]).row(3, named=True)
    assert (row["status"], row["reason"]) == ("render_failed", "undefined")
    assert (row["detail"], row["settled_at"]) == ("body:1: x", SETTLED_AT)
    assert (row["batch"], row["attempts"], row["http_status"]) == (None, 0, None)


def test_more_attempts_than_the_column_holds_are_cut(four: Path) -> None:
    """A batch that was throttled for days has 65 535 attempts, not a failed file."""
    written = write(four, [batch("aa", [0], attempts=70_000)])
    assert written["attempts"][0] == 2**16 - 1


def test_the_file_says_what_it_is_of(four: Path) -> None:
    """Campaign, run, manifest and version stand in the file's metadata."""
    write(four)
    metadata = pl.read_parquet_metadata(four.with_name("results.parquet"))
    assert (
        metadata.items()
        >= {
            "campaign": "welcome",
            "run": "20261120T100000Z-abcdef",
            "manifest": "f" * 64,
            "version": "0.1.0",
        }.items()
    )


def test_nobody_else_can_read_it(four: Path) -> None:
    """The file is its owner's alone."""
    write(four)
    mode = four.with_name("results.parquet").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_writing_again_gives_the_same_rows(four: Path) -> None:
    """The results are a projection: from the same journal, the same rows."""
    journal = [batch("aa", [0, 1]), batch("bb", [2, 3], BatchState.IN_DOUBT)]
    assert write(four, journal).equals(write(four, journal))


# ---- what is not settled


def test_a_batch_in_doubt_is_told_as_in_doubt(four: Path) -> None:
    """Perhaps accepted is no pending: the reason is that of the last attempt."""
    written = write(four, [batch("aa", [1, 2], BatchState.IN_DOUBT, attempts=2)])
    told = written.select("status", "reason", "attempts", "batch").rows()
    assert told[1:3] == [("in_doubt", "timeout", 2, "aa")] * 2
    assert told[0] == ("pending", None, 0, None)


def test_what_a_crash_cut_short_is_in_doubt(four: Path) -> None:
    """An intent without an end may have been sent."""
    written = write(four, [batch("aa", [0], BatchState.INTENT)])
    told = written.select("status", "reason", "attempts", "batch")
    assert told.row(0) == ("in_doubt", "interrupted", 1, "aa")


def test_a_batch_to_be_sent_again_is_pending(four: Path) -> None:
    """Surely not accepted: pending, with the attempts made so far."""
    written = write(four, [batch("aa", [0], BatchState.RETRYABLE, attempts=4)])
    told = written.select("status", "reason", "attempts", "settled_at")
    assert told.row(0) == ("pending", None, 4, None)


# ---- any arrangement


@dataclass
class Story:
    """A journal, and what it says of each row."""

    batches: list[BatchRecord] = field(default_factory=list)
    skipped: list[RowOutcome] = field(default_factory=list)
    told: dict[int, tuple[str, int]] = field(default_factory=dict)

    def add(self, draw: st.DrawFn, rows: list[int], parent: str | None = None) -> None:
        """Make up a batch of these rows, and children if it was split."""
        id_ = f"{len(self.batches):04x}"
        attempts = draw(st.integers(1, 3))
        state = draw(st.sampled_from(BatchState))
        outcomes = None
        if state in (BatchState.DONE, BatchState.SPLIT):
            known = [Status.ACCEPTED, Status.REJECTED, Status.FAILED]
            if state is BatchState.SPLIT:
                known.append(Status.PENDING)
            statuses = [draw(st.sampled_from(known)) for _ in rows]
            nothing: list[str | None] = [None] * len(rows)
            outcomes = Outcomes(statuses, nothing, nothing, nothing)
        record = batch(id_, rows, state, outcomes, attempts=attempts, parent=parent)
        self.batches.append(record)
        unsettled = {
            BatchState.INTENT: Status.IN_DOUBT,
            BatchState.RETRYABLE: Status.PENDING,
        }
        told = record.outcomes or Outcomes.uniform(
            len(rows), unsettled.get(state, Status.PENDING)
        )
        went_on = []
        for row, status in zip(rows, told.statuses, strict=True):
            if state is BatchState.SPLIT and status is Status.PENDING:
                went_on.append(row)
                self.told.pop(row, None)
            else:
                self.told[row] = (status.value, attempts)
        if went_on:
            self.scatter(draw, went_on, parent=id_)

    def scatter(
        self, draw: st.DrawFn, rows: list[int], parent: str | None = None
    ) -> None:
        """Deal rows out: to batches that may interleave, to no request, to nobody."""
        heaps = {row: draw(st.integers(0, 4)) for row in rows}
        for heap in (0, 1, 2):
            if members := [row for row in rows if heaps[row] == heap]:
                self.add(draw, members, parent)
        for row in rows:
            if heaps[row] == 3:
                self.skipped.append(skip(row))
                self.told[row] = ("render_failed", 0)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[str], Story]:
    """Make up a list, and a journal of a run over it."""
    good = draw(st.lists(st.booleans(), min_size=1, max_size=14))
    emails = [f"{n}@x.example" if ok else "bad" for n, ok in enumerate(good)]
    story = Story()
    story.scatter(draw, [row for row, ok in enumerate(good) if ok])
    story.batches.sort(key=lambda record: record.rows[0])
    story.skipped.sort(key=attrgetter("row"))
    return emails, story


@given(stories())
@settings(max_examples=80, deadline=None)
def test_every_row_is_there_once_in_order(made_up: tuple[list[str], Story]) -> None:
    """However batches are cut, split, interleaved and left, each row has its own."""
    emails, story = made_up
    with tempfile.TemporaryDirectory() as folder:
        recipients = freeze(Path(folder), emails)
        written = write(recipients, story.batches, story.skipped)
    assert written["address"].to_list() == emails
    expected = [
        ("invalid", 0) if email == "bad" else story.told.get(row, ("pending", 0))
        for row, email in enumerate(emails)
    ]
    assert written.select("status", "attempts").rows() == expected


def test_a_batch_may_reach_across_groups(tmp_path: Path) -> None:
    """Rows of a batch that lie in the next groups of the file wait for them."""
    border = parquet.GROUP
    recipients = freeze(tmp_path, [f"{n}@x.example" for n in range(2 * border + 2)])
    across = [5, border - 1, border, 2 * border, 2 * border + 1]
    within = [6, 7, border + 1]
    written = write(recipients, [batch("aa", across), batch("bb", within)])
    found = written.filter(pl.col("status") == "accepted").select("row", "batch")
    assert found.rows() == [
        *((row, "aa") for row in (5,)),
        *((row, "bb") for row in (6, 7)),
        *((row, "aa") for row in (border - 1, border)),
        *((row, "bb") for row in (border + 1,)),
        *((row, "aa") for row in (2 * border, 2 * border + 1)),
    ]
    assert written["row"].equals(
        pl.Series("row", range(written.height), dtype=pl.UInt64)
    )


async def test_a_journal_is_told_as_it_is(four: Path, nursery: trio.Nursery) -> None:
    """From a real journal: one answered, one split, one in doubt, one skipped."""

    def ended(number: int = 1, result: str = "answered") -> Attempt:
        return Attempt(number, PLANNED_AT, 0.5, result, 207, None)

    body = {"body_digest": bytes(32), "body_bytes": 10}
    journal = Journal.create(four.with_name("journal.db"), {})
    await nursery.start(journal.run)
    await journal.skip([skip(3)])
    await journal.intend("aa", [0, 1, 2], **body)
    some = Outcomes.uniform(3, Status.PENDING)
    some.statuses[1] = Status.REJECTED
    some.reasons[1] = "spam"
    await journal.split("aa", ended(), some)
    await journal.intend("bb", [0], parent="aa", **body)
    await journal.settle("bb", Outcomes.uniform(1, Status.ACCEPTED), ended())
    await journal.intend("cc", [2], parent="aa", **body)
    await journal.doubt("cc", ended(result="timeout"))
    await journal.flush()
    written = write(four, journal.batches(), journal.row_outcomes())
    await journal.aclose()
    assert written.select("status", "reason", "batch").rows() == [
        ("accepted", None, "bb"),
        ("rejected", "spam", "aa"),
        ("in_doubt", "timeout", "cc"),
        ("render_failed", "undefined", None),
    ]


# ---- whole or not there


def lying(*records: BatchRecord) -> Iterator[BatchRecord]:
    """Give the records of a journal that cannot be."""
    yield from records


LIES = {
    "a row of two batches": [batch("aa", [0, 1]), batch("bb", [1, 2])],
    "a row beyond the list": [batch("aa", [0]), batch("bb", [4])],
    "a batch that reaches beyond the list": [batch("aa", [3, 4])],
    "the same batch twice": [batch("aa", [2]), batch("aa", [2])],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_journal_that_cannot_be_is_refused(four: Path, lie: str) -> None:
    """A row too many breaks our promise, and the file from before stays as it was."""
    before = write(four, [batch("aa", [0])])
    with pytest.raises(BrokenPromise):
        write(four, lying(*LIES[lie]))
    path = four.with_name("results.parquet")
    assert pl.read_parquet(path).equals(before)
    assert [file.name for file in path.parent.glob(".*")] == []


def test_a_journal_out_of_order_is_refused(tmp_path: Path) -> None:
    """A row whose group has been written already cannot be told any more."""
    recipients = freeze(tmp_path, [f"{n}@x.example" for n in range(parquet.GROUP + 1)])
    late = lying(batch("aa", [parquet.GROUP]), batch("bb", [0]))
    with pytest.raises(BrokenPromise, match="row 0 out of order"):
        write(recipients, late)


def test_a_snapshot_with_a_row_missing_is_refused(four: Path) -> None:
    """Not the number of rows alone is checked, but which they are."""
    frozen = pl.read_parquet(four)
    frozen.filter(pl.col("row") != 1).write_parquet(four)
    with pytest.raises(BrokenPromise, match="not in input order"):
        write(four)


def test_a_journal_that_fails_leaves_the_file_from_before(four: Path) -> None:
    """An error on the way comes through as it is, and nothing of the new file stays."""
    before = write(four, [batch("aa", [0])])

    def failing() -> Iterator[BatchRecord]:
        yield batch("aa", [0, 1])
        raise JournalError("a record is damaged")

    with pytest.raises(JournalError, match="a record is damaged"):
        write(four, failing())
    path = four.with_name("results.parquet")
    assert pl.read_parquet(path).equals(before)
    assert [file.name for file in path.parent.glob(".*")] == []


def test_a_disk_that_takes_no_file_is_told(four: Path) -> None:
    """No error of a library leaves; the file from before stays as it was."""
    before = write(four, [batch("aa", [0])])
    path = four.with_name("results.parquet")
    path.with_name(".results.parquet.inprogress").mkdir()
    with pytest.raises(JournalError, match="results cannot be written") as caught:
        write(four, [batch("aa", [0, 1])])
    assert "resume" in caught.value.hint
    assert pl.read_parquet(path).equals(before)


def test_a_damaged_snapshot_is_told(four: Path) -> None:
    """A list that cannot be read is an error of ours, not of a library."""
    four.write_bytes(four.read_bytes()[:-40])
    with pytest.raises(JournalError, match="cannot be"):
        write(four)


def test_a_row_that_was_not_to_be_mailed_and_was_is_a_broken_promise(
    tmp_path: Path,
) -> None:
    """The plan's word for a row never covers up what was sent to it."""
    recipients = freeze(tmp_path, ["a@x.example", "bad", "b@x.example"])
    with pytest.raises(BrokenPromise, match="row 1 was not to be mailed"):
        write(recipients, [batch("01", [0, 1, 2])])


# ---- what was found out later


@pytest.mark.parametrize("state", [BatchState.IN_DOUBT, BatchState.HELD])
def test_a_finding_takes_the_place_of_the_doubt(four: Path, state: BatchState) -> None:
    """Status, words, id and moment are those of the finding, the rest the batch's."""
    doubtful = batch("aa", [0, 1, 2], state, attempts=2)
    written = write(four, [doubtful], findings=[find(0), find(2, Status.REJECTED)])
    before = write(four, [doubtful]).row(0, named=True)
    assert written["status"].to_list() == [
        "accepted",
        "in_doubt",
        "rejected",
        "pending",
    ]
    assert written.row(0, named=True) == before | {
        "status": "accepted",
        "reason": "reconciled",
        "detail": "delivered",
        "provider_id": "found-0",
        "settled_at": FOUND_AT,
    }
    assert written.row(1, named=True) == before | {
        name: written[name][1] for name in ("row", "key", "address", "message_id")
    }


def test_a_finding_settles_one_row_of_a_batch_that_was_answered(four: Path) -> None:
    """An answer may leave single rows in doubt; only these can be found out."""
    nothing: list[str | None] = [None] * 3
    statuses = [Status.ACCEPTED, Status.IN_DOUBT, Status.REJECTED]
    told = Outcomes(statuses, nothing, nothing, ["id-0", None, None])
    answered = batch("aa", [0, 1, 2], outcomes=told)
    written = write(four, [answered], findings=[find(row) for row in range(3)])
    assert written["status"].to_list() == [
        "accepted",
        "accepted",
        "rejected",
        "pending",
    ]
    assert written["provider_id"].to_list() == ["id-0", "found-1", None, None]


@pytest.mark.parametrize("state", [BatchState.RETRYABLE, BatchState.DONE])
def test_a_finding_does_not_outlive_the_doubt(four: Path, state: BatchState) -> None:
    """What came by an answer, or will be sent again, is not covered up."""
    records = [batch("aa", [0, 1], state)]
    assert write(four, records, findings=[find(0)]).equals(write(four, records))


def test_findings_reach_over_the_groups_of_the_list(tmp_path: Path) -> None:
    """On both sides of a border between two groups of rows."""
    last = parquet.GROUP
    recipients = freeze(tmp_path, [f"{n}@x.example" for n in range(last + 1)])
    doubtful = batch("aa", [last - 1, last], BatchState.IN_DOUBT)
    written = write(recipients, [doubtful], findings=[find(last - 1), find(last)])
    assert written["provider_id"][-2:].to_list() == [
        f"found-{last - 1}",
        f"found-{last}",
    ]


@pytest.mark.parametrize("rows", [[4], [parquet.GROUP, 0]])
def test_a_finding_that_has_no_row_is_a_broken_promise(
    tmp_path: Path, rows: list[int]
) -> None:
    """Beyond the list, or out of order: no finding vanishes without a word."""
    count = 4 if rows == [4] else parquet.GROUP + 1
    recipients = freeze(tmp_path, [f"{n}@x.example" for n in range(count)])
    with pytest.raises(BrokenPromise, match="no such row"):
        write(recipients, findings=[find(row) for row in rows])


def test_what_all_rows_have_in_common_is_in_the_manifest(tmp_path: Path) -> None:
    """`Header.of` takes it from there."""
    manifest = make(tmp_path, [], finished=False).manifest
    assert results.Header.of(manifest) == results.Header(
        campaign="letter",
        run=manifest.run,
        provider="cloudmails",
        manifest=manifest.sha256,
        version=manifest.versions["mailvolley"],
        planned_at=datetime.fromisoformat(manifest.created_at),
    )
