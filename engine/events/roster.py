"""Whose event is it: the rows of a run, to be found by what an event says of them.

How it works: an event that names another run, or that happened before this one was
planned, is not ours: a message keeps its id in every run of its campaign. Else our own
message id decides, and if the event has none, the provider's id. The address decides
last, and only for rows in doubt: that mail came to somebody is no proof that it was
this one.

Memory: 12 to 24 bytes a row, of numbers that stand for the texts. Two of a million ids
have the same number once in 37 million runs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import Enum, auto
from itertools import islice
from typing import Final, NamedTuple

import polars as pl

from engine.address import normalised
from engine.event import Event
from engine.outcome import Status

#: How far a provider's clock may be behind ours. NTP keeps both within a second; a
#: provider that writes whole minutes is out by 60.
_SKEW: Final = timedelta(minutes=2)
#: Events held at a time: 20 MB, and a look-up for each costs 1 us.
_AT_ONCE: Final = 10_000
_STATUSES: Final = tuple(Status)
_CODES: Final = {status: code for code, status in enumerate(_STATUSES)}
#: Rows that cannot have been mailed by this run, though another one has their id.
_NEVER: Final = (Status.INVALID.value, Status.DUPLICATE.value)


class By(Enum):
    """What tied an event to a row."""

    #: Our own id of the message, which the provider gave back.
    MESSAGE_ID = auto()
    #: The provider's id, which we had from its answer.
    PROVIDER_ID = auto()
    #: The address alone.
    ADDRESS = auto()
    #: Nothing: it names this run and nobody in it.
    RUN_ALONE = auto()
    #: Nothing: it is about other mail.
    NOTHING = auto()


class Match(NamedTuple):
    """An event and its row.

    Attributes:
        row: 0-based input position; None if `by` is RUN_ALONE or NOTHING.
    """

    event: Event
    row: int | None
    by: By


class Roster:
    """The rows of a run. Fill it with `add`, then ask.

    Args:
        run: the run's id.
        planned_at: UTC.
    """

    def __init__(self, run: str, planned_at: datetime) -> None:
        self._run = run
        self._earliest = planned_at - _SKEW
        self._statuses = bytearray()
        self._by_message_id = _Index()
        self._by_provider_id = _Index()
        self._by_address = _Index()
        self._doubtful: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._statuses)

    def add(self, rows: pl.DataFrame) -> None:
        """Take the next rows, in input order: the columns of the results file."""
        codes = rows["status"].replace_strict(_CODES, return_dtype=pl.UInt8)
        self._statuses += bytes(codes)
        doubtful = rows.filter(status=Status.IN_DOUBT)
        never = pl.col("status").is_in(_NEVER)
        self._by_message_id.add(rows, pl.col("message_id"), last=never)
        self._by_provider_id.add(rows, pl.col("provider_id"))
        known = normalised(pl.col("address"))
        self._by_address.add(doubtful, known)
        self._doubtful.update(doubtful.select("row", known.hash()).iter_rows())

    def status(self, row: int) -> Status:
        """Return what we hold of a row."""
        return _STATUSES[self._statuses[row]]

    def is_of_a_copy(self, row: int, recipient: str | None) -> bool:
        """Whether somebody else than the recipient of a row in doubt is meant: a cc."""
        if recipient is None or row not in self._doubtful:
            return False
        (number,) = pl.select(normalised(pl.lit(recipient)).hash()).to_series()
        return bool(number != self._doubtful[row])

    def count(self, status: Status) -> int:
        """Count the rows of which we hold `status`."""
        return self._statuses.count(_CODES[status])

    def matches(self, events: Iterable[Event]) -> Iterator[Match]:
        """Find the row of each event, in their order; some are held at a time."""
        coming = iter(events)
        while some := list(islice(coming, _AT_ONCE)):
            ours = self._by_message_id.find([e.message_id for e in some])
            theirs = self._by_provider_id.find([e.provider_id for e in some])
            there = self._by_address.find([e.recipient for e in some], normalised)
            for event, *rows in zip(some, ours, theirs, there, strict=True):
                yield self._judge(event, *rows)

    def _judge(
        self, event: Event, ours: int | None, theirs: int | None, there: int | None
    ) -> Match:
        run = event.metadata.get("run")
        named = run == self._run
        if not named and (isinstance(run, str) or self._is_older(event)):
            return Match(event, None, By.NOTHING)
        if ours is not None:
            return Match(event, ours, By.MESSAGE_ID)
        if event.message_id is None:
            if theirs is not None:
                return Match(event, theirs, By.PROVIDER_ID)
            if there is not None and (named or event.happened_at):
                return Match(event, there, By.ADDRESS)
        return Match(event, None, By.RUN_ALONE if named else By.NOTHING)

    def _is_older(self, event: Event) -> bool:
        return event.happened_at is not None and event.happened_at < self._earliest


class _Index:
    """Rows by the number that stands for a text of theirs."""

    def __init__(self) -> None:
        self._parts: list[pl.DataFrame] = []
        self._sorted: pl.DataFrame | None = None

    def add(
        self, rows: pl.DataFrame, text: pl.Expr, *, last: pl.Expr | None = None
    ) -> None:
        """Take rows with their texts, null for none.

        Args:
            rows: with the column `row`.
            text: unique, but for rows to come `last`; what is repeated finds nobody.
            last: bool, rows that are found only if no other row has the text.
        """
        part = rows.select(
            text.hash().alias("number"),
            pl.col("row").cast(pl.UInt32),
            (pl.lit(value=False) if last is None else last).alias("last"),
        )
        self._parts.append(part.filter(rows.select(text.is_not_null()).to_series()))

    def find(
        self,
        texts: Sequence[str | None],
        form: Callable[[pl.Expr], pl.Expr] = lambda text: text,
    ) -> list[int | None]:
        """Find the row of each text, brought into the form in which rows have theirs.

        Returns:
            None where there is no text, no row, or more than one.
        """
        known = self._ordered()
        if not known.height:
            return [None] * len(texts)
        asked = pl.DataFrame({"text": texts}, schema={"text": pl.String}).select(
            form(pl.col("text"))
        )
        numbers = asked["text"].hash()
        places = known["number"].search_sorted(numbers).clip(0, known.height - 1)
        found = known[places].select(
            pl.when((pl.col("number") == numbers) & asked["text"].is_not_null()).then(
                "row"
            )
        )
        return found["row"].to_list()

    def _ordered(self) -> pl.DataFrame:
        """Sort what was taken, once, and keep of each number who is found by it."""
        if self._sorted is None:
            taken = pl.concat(self._parts).sort("number", "last")
            self._parts.clear()
            number, before, after = (pl.col("number").shift(n) for n in (0, 1, -1))
            first = before.ne_missing(number)
            alone = after.ne_missing(number) | pl.col("last").shift(-1)
            self._sorted = taken.filter(first & alone).select("number", "row")
        return self._sorted
