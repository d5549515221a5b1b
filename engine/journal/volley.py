"""Batches of one row each that leave together: one record of their intents.

Those of them that are answered together are a landing, one record likewise. A batch to
which anything else happens goes on by itself: it is written once more as what it was,
and from there on it is like any other (`store.py`).
"""

# ruff: noqa: S608  the statements are made of constants of this file alone

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from engine.journal.codec import (
    ID_BYTES,
    Damage,
    Ends,
    bits,
    ended,
    pack_ended,
    pack_members,
    pack_statuses,
    pack_texts,
    seal,
    seal_bytes,
    unpack_ended,
    unpack_members,
    unpack_outcomes,
)
from engine.journal.entry import DEPTHS, Aloft, Entry
from engine.journal.schema import MOST_ALOFT
from engine.moment import from_micros
from engine.outcome import Outcomes
from engine.record import Attempt, BatchRecord, BatchState, LandingRecord

Row = tuple[Any, ...]

_SHORT: Final = "low, high, size, intended_at, lengths, keyed"
_LONG: Final = "members, ids, digests"
_VOLLEY: Final = f"{_SHORT}, {_LONG}, seal"
_LANDING: Final = "volley, mask, size, statuses, ended, texts, seal"

_INSERT_VOLLEY: Final = (
    f"INSERT INTO volley ({_VOLLEY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_LANDING: Final = (
    f"INSERT INTO landing ({_LANDING}) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

#: Parameters: the row to start after, how many.
VOLLEYS: Final = f"SELECT {_VOLLEY} FROM volley WHERE low > ? ORDER BY low LIMIT ?"

#: Parameters: the lowest row of the first volley, that of the last.
LANDINGS: Final = f"""
SELECT {_LANDING} FROM landing WHERE volley BETWEEN ? AND ? ORDER BY volley"""

#: Volleys of which a batch has neither landed nor gone on by itself.
ALOFT: Final = f"""
SELECT {_VOLLEY} FROM volley WHERE size >
    (SELECT total(size) FROM landing WHERE volley = volley.low)
    + (SELECT count(*) FROM batch
       WHERE place BETWEEN volley.low * {DEPTHS} AND volley.high * {DEPTHS} + 63)"""

#: Parameters: the lowest row, the highest. Those that go on by themselves.
APART: Final = f"""
SELECT high FROM batch WHERE place BETWEEN ? * {DEPTHS} AND ? * {DEPTHS} + 63"""

#: Parameters: the row to start after, how many. Which batches of a volley have landed,
#: and the rows of those that go on by themselves.
MASKS: Final = f"""
SELECT low, high, members,
       (SELECT coalesce(sum(mask), 0) FROM landing WHERE volley = volley.low),
       (SELECT group_concat(batch.high) FROM batch
        WHERE place BETWEEN volley.low * {DEPTHS} AND volley.high * {DEPTHS} + 63)
FROM volley WHERE low > ? ORDER BY low LIMIT ?"""

#: Parameter: the batch's id. Ids lie side by side, so another volley may come, too.
VOLLEY: Final = f"SELECT {_VOLLEY} FROM volley WHERE instr(ids, ?)"


# --- writing


def gathered(new: Iterable[Entry]) -> list[list[Entry]]:
    """Part new batches, in their order, into volleys and those that go alone.

    What lies between two of a volley is in no other: the order is that of the call.
    """
    runs: list[list[Entry]] = []
    for entry in new:
        if runs and _joins(runs[-1], entry):
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return runs


def _joins(run: list[Entry], entry: Entry) -> bool:
    last = run[-1]
    return (
        len(run) < MOST_ALOFT
        and last.place < entry.place
        and _is_single(last)
        and _is_single(entry)
        and (last.idempotency_key is None) is (entry.idempotency_key is None)
    )


def _is_single(entry: Entry) -> bool:
    return (
        entry.size == 1
        and entry.parent is None
        and len(entry.id) == 2 * ID_BYTES
        and entry.idempotency_key in {None, entry.id}
    )


def begun(entries: Sequence[Entry]) -> Row:
    """Return the record of a volley, and tell each batch what is written of it, where.

    All of them began with the first.
    """
    rows = [entry.high for entry in entries]
    low, high, first = rows[0], rows[-1], entries[0]
    for bit, entry in enumerate(entries):
        entry.aloft, entry.intended_at = Aloft(low, bit), first.intended_at
    short = (
        low,
        high,
        len(rows),
        first.intended_at,
        orjson.dumps([entry.body_bytes for entry in entries]).decode(),
        int(first.idempotency_key is not None),
    )
    long = (
        pack_members(rows),
        bytes.fromhex("".join([entry.id for entry in entries])),
        b"".join([entry.body_digest for entry in entries]),
    )
    return (*short, *long, _sealed(short, long))


def _sealed(short: Row, long: Iterable[bytes | None]) -> int:
    found = seal(*short)
    for content in long:
        found = seal_bytes(content, after=found)
    return found


class Answered(NamedTuple):
    """What came of a batch that is written in a volley.

    Attributes:
        aloft: where it is written.
        outcomes: of its one row.
        attempt: how its request ended.
    """

    aloft: Aloft
    outcomes: Outcomes
    attempt: Attempt


def insert_volley(db: sqlite3.Connection, volley: Row) -> None:
    """Write a record that `begun` has made."""
    db.execute(_INSERT_VOLLEY, volley)


def insert_landings(db: sqlite3.Connection, answered: Sequence[Answered]) -> None:
    """Write what came of batches of any volleys."""
    landings: dict[int, list[Answered]] = {}
    for one in sorted(answered, key=_aloft):
        landings.setdefault(one.aloft.volley, []).append(one)
    db.executemany(
        _INSERT_LANDING,
        [_landed(volley, landing) for volley, landing in landings.items()],
    )


def _aloft(one: Answered) -> Aloft:
    return one.aloft


def _landed(volley: int, landing: Sequence[Answered]) -> Row:
    outcomes = joined([one.outcomes for one in landing])
    columns = (
        volley,
        sum([1 << one.aloft.bit for one in landing]),
        len(landing),
        pack_statuses(outcomes.statuses),
        pack_ended([ended(one.attempt) for one in landing]),
    )
    return sealed_landing(columns, pack_texts(outcomes))


def sealed_landing(columns: Row, texts: bytes | None) -> Row:
    """Return the record of a landing under its seal."""
    return (*columns, texts, seal_bytes(texts, after=seal(*columns)))


def joined(single: Sequence[Outcomes]) -> Outcomes:
    """Return outcomes of one row each as one."""
    return Outcomes(
        [one.statuses[0] for one in single],
        [one.reasons[0] for one in single],
        [one.details[0] for one in single],
        [one.provider_ids[0] for one in single],
    )


# --- reading: each checks the seal


class Volley(NamedTuple):
    """A row of VOLLEYS: of each of its batches the row, and what it was when it began.

    Attributes:
        intended_at: microseconds since 1970.
        keyed: whether the id of each is its idempotency key.
    """

    intended_at: int
    keyed: bool
    rows: list[int]
    ids: list[str]
    digests: list[bytes]
    lengths: list[int]

    @property
    def low(self) -> int:
        """The lowest row."""
        return self.rows[0]

    @property
    def high(self) -> int:
        """The highest row."""
        return self.rows[-1]


def volley(row: Row) -> Volley:
    """Read a row of VOLLEYS."""
    short, long, sealed = row[:6], row[6:9], row[9]
    low, high, size, intended_at, lengths, keyed = short
    members, ids, digests = long
    if sealed != _sealed(short, long):
        raise Damage(f"the volley of row {low} is not as it was written")
    names = ids.hex()
    width = 2 * ID_BYTES
    return Volley(
        intended_at=intended_at,
        keyed=bool(keyed),
        rows=unpack_members(low, high, members),
        ids=[names[at : at + width] for at in range(0, size * width, width)],
        digests=[digests[at : at + 32] for at in range(0, size * 32, 32)],
        lengths=orjson.loads(lengths),
    )


class Landing(NamedTuple):
    """A row of LANDINGS.

    Attributes:
        volley: its lowest row.
        places: of the batches among those of the volley, ascending.
        outcomes: one per batch.
        ends: how the request of each ended.
    """

    volley: int
    places: list[int]
    outcomes: Outcomes
    ends: Ends


def landing(row: Row) -> Landing:
    """Read a row of LANDINGS."""
    low, mask, size, letters, ended, texts, sealed = row
    if sealed_landing(row[:5], texts)[-1] != sealed or mask.bit_count() != size:
        raise Damage(f"a landing of the volley of row {low} is not as it was written")
    outcomes = unpack_outcomes(letters, texts, size)
    return Landing(low, bits(mask), outcomes, unpack_ended(ended, size))


def records(
    volley: Volley, landings: Iterable[Landing], apart: Collection[int]
) -> list[BatchRecord]:
    """Return what is known of the batches of a volley.

    Args:
        volley: the volley.
        landings: all of it.
        apart: rows of batches that go on by themselves, which are left out.
    """
    found: dict[int, BatchRecord] = {}
    began = from_micros(volley.intended_at)
    for _, places, outcomes, ends in landings:
        each = zip(
            places,
            ends.each(),
            outcomes.statuses,
            outcomes.reasons,
            outcomes.details,
            outcomes.provider_ids,
            strict=True,
        )
        for place, end, status, reason, detail, provider_id in each:
            found[place] = BatchRecord(
                id=volley.ids[place],
                parent=None,
                rows=[volley.rows[place]],
                state=BatchState.DONE,
                attempts=1,
                outcomes=Outcomes([status], [reason], [detail], [provider_id]),
                http_status=end.http_status,
                settled_at=end.ended_at,
                latency_ms=end.seconds * 1000,
                body_digest=volley.digests[place],
                body_bytes=volley.lengths[place],
                idempotency_key=volley.ids[place] if volley.keyed else None,
                intended_at=began,
            )
    for place, row in enumerate(volley.rows):
        if place not in found and row not in apart:
            found[place] = BatchRecord(
                id=volley.ids[place],
                parent=None,
                rows=[row],
                state=BatchState.INTENT,
                attempts=1,
                outcomes=None,
                http_status=None,
                settled_at=None,
                latency_ms=None,
                body_digest=volley.digests[place],
                body_bytes=volley.lengths[place],
                idempotency_key=volley.ids[place] if volley.keyed else None,
                intended_at=began,
            )
    return [found[place] for place in sorted(found)]


def landed(volley: Volley, landing: Landing) -> LandingRecord:
    """Return what came of the batches of a landing."""
    return LandingRecord(
        ids=[volley.ids[place] for place in landing.places],
        rows=[volley.rows[place] for place in landing.places],
        outcomes=landing.outcomes,
        http_statuses=landing.ends.http_status,
        started_at=landing.ends.started_at,
        seconds=landing.ends.seconds,
    )


def aloft(
    volley: Volley, landings: Iterable[Landing], apart: Collection[int]
) -> list[Entry]:
    """Return the batches of a volley that have not landed, nor gone on: see above."""
    landed = {place for landing in landings for place in landing.places}
    return [
        Entry(
            place=row * DEPTHS,
            id=volley.ids[place],
            parent=None,
            high=row,
            size=1,
            members=None,
            intended_at=volley.intended_at,
            body_digest=volley.digests[place],
            body_bytes=volley.lengths[place],
            idempotency_key=volley.ids[place] if volley.keyed else None,
            aloft=Aloft(volley.low, place),
        )
        for place, row in enumerate(volley.rows)
        if place not in landed and row not in apart
    ]


def attempts(
    volley: Volley, landings: Iterable[Landing], batch_id: str
) -> list[Attempt]:
    """Return how the requests for a batch of a volley ended: one at most."""
    place = volley.ids.index(batch_id)
    return [
        Attempt(
            1,
            from_micros(end.started_at),
            end.seconds,
            end.result,
            end.http_status,
            end.detail,
        )
        for landing in landings
        for at, end in zip(landing.places, landing.ends.each(), strict=True)
        if at == place
    ]


def mark(marks: bytearray, states: Collection[str], page: list[Row]) -> None:
    """Set the places of the batches of volleys in `states`: rows of MASKS.

    Those that go on by themselves are left to `store.mark`.
    """
    for low, high, members, landed, alone in page:
        if high >= len(marks):
            raise Damage(f"row {high} is beyond the {len(marks)} rows of the list")
        apart = set() if alone is None else {int(row) for row in alone.split(",")}
        for place, row in enumerate(unpack_members(low, high, members)):
            state = BatchState.DONE if landed >> place & 1 else BatchState.INTENT
            if state in states and row not in apart:
                marks[row] = 1
