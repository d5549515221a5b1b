"""Columns of a batch as bytes and back, and the seals that show damage.

How it works: statuses become one letter per row, or a single letter when all rows have
the same. The three text columns become one JSON array, deflated when that pays. A
column is null (None for all), a string (the same for all) or an array.

Seals: SQLite has no checksums on its pages and its own check looks at structure alone,
so every record carries a CRC-32 of its contents. `ascii` gives the same bytes on every
Python; `repr` follows the Unicode tables of the version.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import compress, pairwise
from typing import Any, Final, NamedTuple, TypeVar

import orjson

from engine.moment import after, from_micros, to_micros
from engine.outcome import Outcomes, Status
from engine.record import Attempt

T = TypeVar("T")

_LETTERS: Final = {
    Status.ACCEPTED: "a",
    Status.REJECTED: "r",
    Status.FAILED: "f",
    Status.IN_DOUBT: "d",
    Status.INVALID: "i",
    Status.SUPPRESSED: "s",
    Status.DUPLICATE: "u",
    Status.RENDER_FAILED: "n",
    Status.PENDING: "p",
}
LETTERS: Final = "".join(_LETTERS.values())
_STATUSES: Final = {letter: status for status, letter in _LETTERS.items()}

#: Bytes of a batch's id.
ID_BYTES: Final = 16

#: Shorter texts grow when deflated: one 36-character id takes 53 bytes, not 51.
_DEFLATE_FROM: Final = 128


def pack_statuses(statuses: Sequence[Status]) -> str:
    """Write a letter per row, or one letter if all are the same."""
    first = statuses[0]
    if statuses.count(first) == len(statuses):
        return _LETTERS[first]
    return "".join([_LETTERS[status] for status in statuses])


def unpack_statuses(letters: str, count: int) -> list[Status]:
    """Undo `pack_statuses` for a batch of `count` rows."""
    if len(letters) == 1:
        return [_STATUSES[letters]] * count
    return [_STATUSES[letter] for letter in letters]


def tally(letters: str, count: int) -> dict[Status, int]:
    """Count the settled rows by status; pending ones are left out."""
    if len(letters) == 1:
        found = {_STATUSES[letters]: count}
    else:
        found = {_STATUSES[letter]: letters.count(letter) for letter in set(letters)}
    found.pop(Status.PENDING, None)
    return found


def pack_texts(outcomes: Outcomes) -> bytes | None:
    """Write reasons, details and provider ids; None if there are none at all."""
    columns = [
        _narrow(column)
        for column in (outcomes.reasons, outcomes.details, outcomes.provider_ids)
    ]
    if columns == [None, None, None]:
        return None
    plain = _packed(columns)
    return plain if len(plain) < _DEFLATE_FROM else zlib.compress(plain, 1)


def unpack_outcomes(letters: str, texts: bytes | None, count: int) -> Outcomes:
    """Undo `pack_statuses` and `pack_texts` for a batch of `count` rows."""
    columns: list[Any] = [None, None, None]
    if texts is not None:
        # JSON begins with "[", a zlib stream never does (RFC 1950, 2.2).
        columns = orjson.loads(texts if texts[:1] == b"[" else zlib.decompress(texts))
    reasons, details, provider_ids = _widened(columns, count)
    statuses = unpack_statuses(letters, count)
    return Outcomes(statuses, reasons, details, provider_ids)


def _narrow(column: list[T]) -> T | list[T]:
    """Collapse a column that says the same of every row."""
    first = column[0]
    if first == column[-1] and column.count(first) == len(column):
        return first
    return column


def _widened(columns: list[Any], count: int) -> list[list[Any]]:
    """Undo `_narrow` for each of some columns."""
    return [
        column if isinstance(column, list) else [column] * count for column in columns
    ]


def _packed(columns: list[Any]) -> bytes:
    try:
        return orjson.dumps(columns)
    except TypeError:
        return orjson.dumps([_clean_column(column) for column in columns])


def pack_members(rows: Sequence[int]) -> bytes | None:
    """Write one byte per row from the first to the last: 1 for a member, else 0.

    Bytes and not bits, so that a trigger can look one up with `substr`. Batches do not
    overlap: all of them together take at most one byte per row of the list.

    Args:
        rows: ascending, at least one.

    Returns:
        None if every row of the range is a member.

    Raises:
        ValueError: the rows are not ascending, or there are none.
    """
    if not rows or rows[0] < 0:
        raise ValueError("a batch needs at least one row, counted from 0")
    low, high = rows[0], rows[-1]
    if low == high and len(rows) == 1:
        return None
    if list(rows) == list(range(low, high + 1)):
        return None
    if any(left >= right for left, right in pairwise(rows)):
        raise ValueError("the rows of a batch must be ascending, each at most once")
    members = bytearray(high - low + 1)
    for row in rows:
        members[row - low] = 1
    return bytes(members)


def unpack_members(low: int, high: int, members: bytes | None) -> list[int]:
    """Undo `pack_members`."""
    span = range(low, high + 1)
    return list(span) if members is None else list(compress(span, members))


def clean(text: str | None) -> str | None:
    """Replace lone surrogates, which neither SQLite nor JSON can hold."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


def _clean_column(column: Any) -> Any:
    if isinstance(column, list):
        return [_clean_column(value) for value in column]
    return clean(column) if isinstance(column, str) else column


def pack_attempt(attempt: Attempt) -> str:
    """Write an attempt as one line of JSON."""
    fields = (
        attempt.number,
        to_micros(attempt.started_at),
        float(attempt.seconds),
        clean(attempt.result),
        attempt.http_status,
        clean(attempt.detail),
    )
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE).decode()


def unpack_attempt(line: str) -> Attempt:
    """Undo `pack_attempt`."""
    number, started_at, seconds, result, http_status, detail = orjson.loads(line)
    return Attempt(
        number, from_micros(started_at), seconds, result, http_status, detail
    )


class Ended(NamedTuple):
    """The fields of an `Attempt`, its number aside.

    Attributes:
        started_at: microseconds since 1970.
    """

    started_at: int
    seconds: float
    result: str
    http_status: int | None
    detail: str | None

    @property
    def ended_at(self) -> datetime:
        """When the request ended, UTC."""
        return from_micros(after(self.started_at, self.seconds))


class Ends(NamedTuple):
    """`Ended` of several, by columns."""

    started_at: list[int]
    seconds: list[float]
    result: list[str]
    http_status: list[int | None]
    detail: list[str | None]

    def each(self) -> Iterator[Ended]:
        """Yield them one by one."""
        return map(Ended, *self)


def ended(attempt: Attempt) -> Ended:
    """Return the fields of an attempt."""
    return Ended(
        to_micros(attempt.started_at),
        float(attempt.seconds),
        attempt.result,
        attempt.http_status,
        attempt.detail,
    )


def pack_ended(each: Iterable[Ended]) -> str:
    """Write the only attempts of some batches, by columns as `pack_texts` does."""
    columns = map(list, zip(*each, strict=True))
    return _packed([_narrow(column) for column in columns]).decode()


def unpack_ended(packed: str, count: int) -> Ends:
    """Undo `pack_ended`."""
    return Ends(*_widened(orjson.loads(packed), count))


def bits(mask: int) -> list[int]:
    """Return the places of the bits that are set, ascending."""
    return [place for place in range(mask.bit_length()) if mask >> place & 1]


def last_attempt(history: str) -> tuple[int, int, float, str, int | None, str | None]:
    """Read the last line of a history: the fields of an `Attempt`, in their order.

    The number is 0 where no attempt has ended.
    """
    if not history:
        return 0, 0, 0.0, "", None, None
    # Not splitlines: JSON leaves U+2028 and its like as they are.
    number, began, seconds, result, status, detail = orjson.loads(
        history[history.rfind("\n", 0, -1) + 1 :]
    )
    return number, began, seconds, result, status, detail


class Damage(Exception):
    """A record is not what was written."""


def seal(*columns: str | bytes | float | None, after: int = 0) -> int:
    """Compute the checksum of a record.

    Args:
        columns: scalars; long bytes are better chained through `seal_bytes`.
        after: the checksum of what comes before.
    """
    return zlib.crc32(ascii(columns).encode(), after)


def seal_bytes(content: bytes | None, *, after: int) -> int:
    """Compute the checksum of a long field."""
    return zlib.crc32(content or b"", after)
