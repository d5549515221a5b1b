"""The journal's statements: words to columns and back, each record under its seal."""

# ruff: noqa: S608  the statements are made of constants of this file alone

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from engine.journal.codec import (
    Damage,
    clean,
    last_attempt,
    pack_texts,
    seal,
    seal_bytes,
    tally,
    unpack_attempt,
    unpack_members,
    unpack_outcomes,
    unpack_statuses,
)
from engine.journal.entry import DEPTHS, Entry
from engine.journal.schema import doubtful
from engine.moment import from_micros, to_micros
from engine.outcome import Outcomes, Status
from engine.record import Attempt, BatchRecord, BatchState, RowFinding, RowOutcome

Row = tuple[Any, ...]

_FIXED: Final = "place, id, parent, high, size, intended_at"
_CHANGING: Final = (
    "state, attempts, history, body_digest, body_bytes, idempotency_key,"
    " settled_at, statuses, doubted"
)
_STATUSES_AT: Final = 7
_BATCH: Final = f"{_FIXED}, members, {_CHANGING}, texts, seal"
_ROW: Final = "row, status, reason, detail, settled_at"
_FOUND: Final = "row, status, reason, detail, provider_id, found_at"

_INSERT_BATCH: Final = (
    f"INSERT INTO batch ({_FIXED}, members, {_CHANGING}, seal)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_BATCH: Final = (
    f"UPDATE batch SET ({_CHANGING}, texts, seal)"
    " = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE place = ? AND state = ?"
)
_INSERT_ROW: Final = f"INSERT INTO settled_row ({_ROW}, seal) VALUES (?, ?, ?, ?, ?, ?)"
_INSERT_FOUND: Final = (
    f"INSERT INTO found ({_FOUND}, seal) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_UPSERT_FACT: Final = (
    "INSERT INTO fact (name, value, seal) VALUES (?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value, seal = excluded.seal"
)

FACTS: Final = "SELECT name, value, seal FROM fact"

#: Parameters: the place to start after, the last one, how many.
BATCHES: Final = f"""
SELECT {_BATCH}, (SELECT up.id FROM batch AS up WHERE up.place = batch.parent)
FROM batch WHERE place > ? AND place <= ? ORDER BY place LIMIT ?"""

_DOUBTFUL: Final = (BatchState.HELD.value, BatchState.IN_DOUBT.value)

#: Parameters: the place to start after, how many.
SPANS: Final = """
SELECT place, high, size, members, state,
       CASE state WHEN 'split' THEN statuses END FROM batch
WHERE place > ? ORDER BY place LIMIT ?"""

#: Batches that are not final, and split ones.
ENTRIES: Final = f"SELECT {_BATCH} FROM batch WHERE state NOT IN ('done', 'held')"

#: Parameters: the place of the parent, its highest row, its place again.
CHILDREN: Final = f"""
SELECT {_BATCH} FROM batch
WHERE place > ? AND place <= ? * {DEPTHS} + {DEPTHS - 1} AND parent = ?"""

#: Parameters: the row to start after, how many.
ROWS: Final = f"SELECT {_ROW}, seal FROM settled_row WHERE row > ? ORDER BY row LIMIT ?"

#: Parameters: the row to start after, how many.
FOUND: Final = f"SELECT {_FOUND}, seal FROM found WHERE row > ? ORDER BY row LIMIT ?"

#: Parameter: a row. Whether a batch leaves it in doubt.
IS_DOUBTFUL: Final = f"SELECT {doubtful('?1')}"

#: Parameter: the batch's id.
BATCH: Final = f"SELECT {_BATCH} FROM batch WHERE id = ?"

#: Settled rows: as letters or as a status, and how many.
TOTALS: Final = """
SELECT statuses, '', sum(size) FROM batch WHERE statuses IS NOT NULL GROUP BY statuses
UNION ALL
SELECT '', 'in_doubt', sum(size) FROM batch WHERE state = 'held' HAVING sum(size) > 0
UNION ALL
SELECT '', status, count(*) FROM settled_row GROUP BY status
UNION ALL
SELECT statuses, '', sum(size) FROM landing GROUP BY statuses"""

#: Parameters: the lowest row, the highest.
SETTLED_BETWEEN: Final = "SELECT row FROM settled_row WHERE row BETWEEN ? AND ?"


# --- writing: these run inside a transaction


class Move(NamedTuple):
    """A batch goes to another state.

    Attributes:
        entry: the batch, which may have moved on in the meantime.
        before: the state that it leaves.
        changing: its columns as they were when this move was made.
        outcomes: what goes with the statuses among them.
    """

    entry: Entry
    before: BatchState
    changing: Row
    outcomes: Outcomes | None

    @property
    def letters(self) -> str | None:
        """The letters of the batch's statuses."""
        letters: str | None = self.changing[_STATUSES_AT]
        return letters


def insert_batches(db: sqlite3.Connection, new: Sequence[tuple[Entry, Row]]) -> None:
    """Write new batches, each with its changing columns as in a `Move`."""
    db.executemany(
        _INSERT_BATCH,
        [
            (
                *entry.fixed(),
                entry.members,
                *changing,
                seal(*changing, after=entry.fixed_seal()),
            )
            for entry, changing in new
        ],
    )


def update_batches(db: sqlite3.Connection, moves: Sequence[Move]) -> None:
    """Move batches.

    Raises:
        Damage: one of them is not in the state that it is to leave.
    """
    if db.executemany(_UPDATE_BATCH, map(_updated, moves)).rowcount != len(moves):
        raise Damage(f"{_one_of(moves)} is not as it was written")


def _updated(move: Move) -> Row:
    entry, before, changing, outcomes = move
    texts = None if outcomes is None else pack_texts(outcomes)
    sealed = seal_bytes(texts, after=seal(*changing, after=entry.fixed_seal()))
    return (*changing, texts, sealed, entry.place, before.value)


def _one_of(moves: Sequence[Move]) -> str:
    first = f"batch {moves[0].entry.id}"
    return first if len(moves) == 1 else f"{first} or one of {len(moves) - 1} others"


def insert_rows(db: sqlite3.Connection, rows: Sequence[RowOutcome]) -> None:
    """Write the outcomes of rows that were settled without a request."""
    for outcome in rows:
        columns = (
            outcome.row,
            outcome.status.value,
            clean(outcome.reason),
            clean(outcome.detail),
            to_micros(outcome.settled_at),
        )
        db.execute(_INSERT_ROW, (*columns, seal(*columns)))


def insert_findings(db: sqlite3.Connection, rows: Sequence[RowFinding]) -> None:
    """Write what was found out about rows in doubt."""
    for finding in rows:
        columns = (
            finding.row,
            finding.status.value,
            clean(finding.reason),
            clean(finding.detail),
            clean(finding.provider_id),
            to_micros(finding.found_at),
        )
        db.execute(_INSERT_FOUND, (*columns, seal(*columns)))


def insert_facts(db: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    """Write what a new journal begins with."""
    for name, value in facts.items():
        upsert_fact(db, name, value)


def upsert_fact(db: sqlite3.Connection, name: str, value: str) -> None:
    """Write a fact in place of an older one of that name."""
    db.execute(_UPSERT_FACT, (name, value, seal(name, value)))


# --- reading: each checks the seal


def fact(row: Row) -> tuple[str, str]:
    """Read a row of FACTS."""
    *columns, sealed = row
    _expect_seal(sealed, seal(*columns), "a fact")
    name, value = columns
    return name, value


def entry(row: Row) -> tuple[Entry, str | None]:
    """Read a batch, and the letters of its statuses."""
    _expect_whole(row)
    place, batch_id, parent, high, size, intended_at, members = row[:7]
    state, attempts, history, digest, body_bytes, key, _, statuses, doubted = row[7:16]
    found = Entry(
        place=place,
        id=batch_id.hex(),
        parent=parent,
        high=high,
        size=size,
        members=members,
        intended_at=intended_at,
        body_digest=digest,
        body_bytes=body_bytes,
        idempotency_key=key,
        state=BatchState(state),
        attempts=attempts,
        history=history,
        doubted=bool(doubted),
    )
    return found, statuses


def batches(page: list[Row]) -> list[BatchRecord]:
    """Read rows of BATCHES."""
    return [batch(row) for row in page]


def batch(row: Row) -> BatchRecord:
    """Read a row of BATCHES."""
    _expect_whole(row)
    place, batch_id, _, high, size, intended_at, members = row[:7]
    state, attempts, history, digest, body_bytes, key, settled_at, statuses = row[7:15]
    texts, parent = row[16], row[18]
    number, _, seconds, result, http_status, detail = last_attempt(history)
    latency_ms: float | None = seconds * 1000
    if number != attempts:  # the last one has not ended
        latency_ms, result, http_status, detail = None, "interrupted", None, None
    outcomes = None
    if statuses is not None:
        outcomes = unpack_outcomes(statuses, texts, size)
    elif state in _DOUBTFUL:
        outcomes = Outcomes.uniform(
            size,
            Status.IN_DOUBT,
            reason=result,
            detail=detail,
        )
    return BatchRecord(
        id=batch_id.hex(),
        parent=None if parent is None else parent.hex(),
        rows=unpack_members(place // DEPTHS, high, members),
        state=BatchState(state),
        attempts=attempts,
        outcomes=outcomes,
        http_status=http_status,
        settled_at=None if settled_at is None else from_micros(settled_at),
        latency_ms=latency_ms,
        body_digest=digest,
        body_bytes=body_bytes,
        idempotency_key=key,
        intended_at=from_micros(intended_at),
    )


def mark(marks: bytearray, states: Collection[str], page: list[Row]) -> None:
    """Set the places of the members of batches in `states`: rows of SPANS.

    And of what a batch settled that was split.
    """
    total = len(marks)
    for place, high, size, members, state, letters in page:
        if letters is not None:
            _mark_settled(
                marks, unpack_members(place // DEPTHS, high, members), letters
            )
        if state not in states:
            continue
        low = place // DEPTHS
        if high >= total:
            raise Damage(f"row {high} is beyond the {total} rows of the list")
        if members is None:
            marks[low : high + 1] = b"\1" * size
            continue
        found = unpack_members(low, high, members)
        if len(found) != size:
            raise Damage(f"the batch of row {low} is not as it was written")
        for row in found:
            marks[row] = 1


def _mark_settled(marks: bytearray, rows: list[int], letters: str) -> None:
    if rows[-1] >= len(marks):
        raise Damage(f"row {rows[-1]} is beyond the {len(marks)} rows of the list")
    for row, status in zip(rows, unpack_statuses(letters, len(rows)), strict=True):
        if status is not Status.PENDING:
            marks[row] = 1


def open_rows(parent: Entry, statuses: str | None) -> set[int]:
    """Return the rows that a split batch handed on."""
    if statuses is None:
        return set(parent.rows())
    each = unpack_statuses(statuses, parent.size)
    pairs = zip(parent.rows(), each, strict=True)
    return {row for row, status in pairs if status is Status.PENDING}


def total(row: Row) -> dict[Status, int]:
    """Read a row of TOTALS."""
    letters, status, count = row
    if status:
        return {Status(status): count}
    if len(letters) == 1:
        return tally(letters, count)
    alike = count // len(letters)
    found = tally(letters, len(letters))
    return {status: number * alike for status, number in found.items()}


def past_attempts(history: str) -> list[Attempt]:
    """Read how the requests for a batch ended."""
    # Not splitlines: JSON leaves U+2028 and its like as they are.
    return [unpack_attempt(line) for line in history.split("\n")[:-1]]


def row_outcome(row: Row) -> RowOutcome:
    """Read a row of ROWS."""
    *columns, sealed = row
    _expect_seal(sealed, seal(*columns), f"the outcome of row {columns[0]}")
    place, status, reason, detail, settled_at = columns
    return RowOutcome(place, Status(status), reason, detail, from_micros(settled_at))


def row_finding(row: Row) -> RowFinding:
    """Read a row of FOUND."""
    *columns, sealed = row
    _expect_seal(sealed, seal(*columns), f"what was found of row {columns[0]}")
    place, status, reason, detail, provider_id, found_at = columns
    moment = from_micros(found_at)
    return RowFinding(place, Status(status), reason, detail, provider_id, moment)


def _expect_whole(row: Row) -> None:
    """Check the seal of a batch as `update_batches` made it."""
    fixed = seal_bytes(row[6], after=seal(*row[:6]))
    expected = seal_bytes(row[16], after=seal(*row[7:16], after=fixed))
    _expect_seal(row[17], expected, f"the batch of row {row[0] // DEPTHS}")


def _expect_seal(found: int, expected: int, what: str) -> None:
    if found != expected:
        raise Damage(f"{what} is not as it was written")
