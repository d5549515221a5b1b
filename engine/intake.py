"""What becomes of events: kept, heeded, and laid beside the results they are about.

    post, file, status ─▶ take ─▶ events.db
                               └▶ suppressions.db      who must not be mailed again
    events.db + results.parquet ─▶ lay_out ─▶ events.parquet, beside the results

Rules: an event is kept before it is heeded, and both before anybody is told that it
came: who reports it again after a crash does no harm. An outcome never changes by an
event: what was accepted was accepted, whatever became of it later.
"""

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine import history, parquet, rundir
from engine.address import bare, normalised
from engine.event import Event, EventType, RejectReason
from engine.events import By, EventStore, Kept, Roster, Via
from engine.manifest import Manifest
from engine.results import COLUMNS, Header, damaged
from engine.rundir import RunDirectory
from engine.suppression import Entry, Suppressions

#: After these nobody is mailed again, with the reason of the entry.
_HEEDED: Final = {
    EventType.BOUNCED: "bounced",
    EventType.COMPLAINED: "complained",
    EventType.UNSUBSCRIBED: "unsubscribed",
}
#: The columns of `events.parquet`: an event, and the row that it is about. `copy`: of
#: somebody in cc or bcc; it says nothing of the row's own recipient.
SCHEMA: Final = pl.Schema(
    {
        "row": pl.UInt64(),
        "event": pl.String(),
        "happened_at": pl.Datetime("us", "UTC"),
        "received_at": pl.Datetime("us", "UTC"),
        "reject_reason": pl.String(),
        "description": pl.String(),
        "word": pl.String(),
        "recipient": pl.String(),
        "copy": pl.Boolean(),
        "via": pl.String(),
        "payload": pl.String(),
    }
)


#: Of the file of events; another one is laid out anew.
_FORM: Final = 2


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of some events.

    Attributes:
        events: how many there were.
        new: how many of them were not known yet.
        suppressed: addresses that were entered because of them.
    """

    events: int
    new: int
    suppressed: int

    def __add__(self, other: "Taken") -> "Taken":
        return Taken(
            self.events + other.events,
            self.new + other.new,
            self.suppressed + other.suppressed,
        )


def take(
    events: Iterable[Event], via: Via, *, store: EventStore, suppressions: Suppressions
) -> Taken:
    """Keep events, and enter those who are not to be mailed again.

    Of those who were erased it is not kept whom they are about: see `EventStore.add`.

    Raises:
        StoreError: they cannot be kept. Nobody was entered then.
    """
    coming = list(events)
    to = pl.DataFrame(
        {"to": [event.recipient for event in coming]}, schema={"to": pl.String}
    )
    addresses = to.select(bare(pl.col("to"))).to_series().to_list()
    new = store.add(coming, via, erased=suppressions.are_erased(addresses))
    each = map(_entry, coming, addresses)
    entered = suppressions.add(entry for entry in each if entry is not None)
    return Taken(len(coming), new, entered)


def _entry(event: Event, address: str | None) -> Entry | None:
    """Return whom an event takes off all lists."""
    reason = _HEEDED.get(event.type)
    # A server that could not be reached for days may be there again next week.
    if reason is None or event.reject_reason is RejectReason.TIMED_OUT:
        return None
    if address is None:
        return None
    return Entry(address, reason, f"{event.provider}: {event.raw}")


def lay_out(directory: RunDirectory) -> Path:
    """Write the events of a run beside its results, where there are new ones.

    Args:
        directory: the run's. Its results must have been written.

    Returns:
        The file, `events.parquet`: the columns of `SCHEMA`, in the order in which the
        events came.

    Raises:
        RunError: there is no such run, or its results are not there or damaged.
        StoreError: the events cannot be read.
    """
    history.expect_results(directory)
    manifest = Manifest.read(directory)
    header = Header.of(manifest)
    with EventStore.open(directory.path.parent.parent) as store:
        parts = (_FORM, manifest.sha256, store.last(), _changed(directory.results))
        state = " ".join(map(str, parts))
        if not _is_laid_out(directory.events, state):
            roster = Roster(manifest.run, header.planned_at)
            try:
                for rows in parquet.groups(directory.results):
                    roster.add(rows.select(*COLUMNS))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise damaged(directory.results) from error
            found = _matched(roster, store.about(header.provider))
            if _has_copies(manifest):
                found = (_marked(some, directory.results) for some in found)
            _publish(directory.events, found, {"state": state})
    return directory.events


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns


def _is_laid_out(path: Path, state: str) -> bool:
    """Whether a file was made of the same results and the same events."""
    if not path.exists():
        return False
    try:
        return pl.read_parquet_metadata(path).get("state") == state
    except pl.exceptions.PolarsError:
        return False


def _publish(
    path: Path, frames: Iterator[pl.DataFrame], metadata: dict[str, str]
) -> None:
    """Let a file appear whole; another process may be doing the same."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.inprogress")
    try:
        parquet.write(aside, frames, SCHEMA, metadata=metadata)
        rundir.publish_file(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _matched(roster: Roster, kept: Iterator[Kept]) -> Iterator[pl.DataFrame]:
    """Yield the events that are about rows of a run, with these rows."""
    while some := list(itertools.islice(kept, parquet.GROUP)):
        matches = roster.matches(one.event for one in some)
        rows = [
            _row(one, match.row)
            for one, match in zip(some, matches, strict=True)
            if match.row is not None and match.by is not By.ADDRESS
        ]
        yield pl.DataFrame(rows, schema=SCHEMA, orient="row")


def _has_copies(manifest: Manifest) -> bool:
    message = manifest.definition["message"]
    return bool(message.get("cc") or message.get("bcc"))


def _marked(events: pl.DataFrame, results: Path) -> pl.DataFrame:
    """Mark the events of those in cc and bcc, by their addresses."""
    own = (
        pl.scan_parquet(results)
        .select("row", own="address")
        .join(events.lazy().select("row").unique(), on="row", how="semi")
        .collect()
    )
    told = normalised(bare(pl.col("recipient")))
    is_other = told != normalised(pl.col("own"))
    return (
        events.join(own, on="row", how="left", maintain_order="left")
        .with_columns(copy=is_other.fill_null(value=False))
        .select(SCHEMA.names())
    )


def _row(kept: Kept, row: int) -> tuple[object, ...]:
    event = kept.event
    return (
        row,
        event.type.value,
        event.happened_at,
        kept.received_at,
        None if event.reject_reason is None else event.reject_reason.value,
        event.description,
        event.raw,
        event.recipient,
        False,
        kept.via,
        event.payload,
    )
