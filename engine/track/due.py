"""Which rows of a run there is still something to ask about, and in which order.

Rows that were never asked about come first, then those that were asked about the
longest ago. So who was interrupted goes on where it stopped, without a list of what is
left, and nobody waits for ever behind those that never come to an end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

import polars as pl

from engine import intake, parquet
from engine.asked import Asked
from engine.event import EventType
from engine.outcome import Status
from engine.rundir import RunDirectory

#: After these nothing of a message is to come.
FINAL: Final = frozenset(
    {
        EventType.BOUNCED,
        EventType.FAILED,
        EventType.REJECTED,
        EventType.COMPLAINED,
        EventType.UNSUBSCRIBED,
    }
)
#: After these what is to come are opens and the like alone.
ARRIVED: Final = frozenset({EventType.DELIVERED, EventType.OPENED, EventType.CLICKED})
#: What a provider may know of.
_TAKEN: Final = (Status.ACCEPTED.value, Status.IN_DOUBT.value)


class Question(NamedTuple):
    """A message to be asked about.

    Attributes:
        row: 0-based input position.
        provider_id: the provider's id of the message.
        address: the recipient's.
    """

    row: int
    provider_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Due:
    """What there is to ask about.

    Attributes:
        rows: column row u64, in the order in which to ask.
        settled: how many rows are left out because nothing is to come.
        fresh: how many because there was an answer a short while ago.
        nameless: how many cannot be asked about, for the provider gave them no id.
    """

    directory: RunDirectory
    rows: pl.DataFrame
    settled: int
    fresh: int
    nameless: int

    @classmethod
    def of(cls, directory: RunDirectory, *, opens: bool, before: datetime) -> "Due":
        """Find what there is to ask about.

        Args:
            directory: the run's.
            opens: whether messages that have arrived are asked about, too.
            before: rows with an answer since then are left out; UTC.

        Raises:
            RunError: the run has no results yet.
            StoreError: the events, or what was asked, cannot be read.
        """
        events = pl.scan_parquet(intake.lay_out(directory))
        over = FINAL if opens else FINAL | ARRIVED
        settled = events.filter(
            pl.col("event").is_in([kind.value for kind in over]) & ~pl.col("copy")
        )
        with Asked.open(directory) as asked:
            when = asked.when()
        taken = pl.scan_parquet(directory.results).filter(
            pl.col("status").is_in(_TAKEN)
        )
        named = pl.col("provider_id").is_not_null()
        open_ = (
            taken.filter(named)
            .select("row")
            .join(settled.select("row").unique(), on="row", how="anti")
            .join(when.lazy(), on="row", how="left")
            .collect()
        )
        stale = open_.filter(
            pl.col("asked_at").is_null() | (pl.col("asked_at") < before)
        )
        of_all, of_named = taken.select(pl.len(), named.sum()).collect().row(0)
        return cls(
            directory,
            stale.sort("asked_at", "row", nulls_last=False).select("row"),
            settled=of_named - open_.height,
            fresh=open_.height - stale.height,
            nameless=of_all - of_named,
        )

    def __len__(self) -> int:
        return self.rows.height

    def questions(self) -> Iterator[Question]:
        """Go through the messages; some are held at a time."""
        results = pl.scan_parquet(self.directory.results)
        asked = results.select("row", "provider_id", "address")
        for start in range(0, len(self), parquet.GROUP):
            some = self.rows.slice(start, parquet.GROUP).lazy()
            found = asked.join(some, on="row", how="semi").collect()
            yield from map(Question._make, found.iter_rows())
