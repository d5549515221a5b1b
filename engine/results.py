"""Journal and snapshot made into `results.parquet`: one row per input row, in order.

A projection, never the truth: it can be made again from the two at any time, and gives
the same rows. It is written aside, read back and counted before it takes its name.
Memory holds one group of rows at a time.
"""

import heapq
import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, Self, TypeVar

import polars as pl

from engine import parquet, rundir
from engine.errors import BrokenPromise, JournalError, RunError
from engine.manifest import Manifest
from engine.moment import after, to_micros
from engine.outcome import Outcomes, Status
from engine.record import (
    BatchRecord,
    BatchState,
    LandingRecord,
    RowFinding,
    RowOutcome,
)
from engine.rundir import RunDirectory

COLUMNS: dict[str, pl.DataType] = {
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
#: What the journal adds to a row of the snapshot.
SETTLED = {
    name: COLUMNS[name]
    for name in (
        "row",
        "status",
        "reason",
        "detail",
        "provider_id",
        "batch",
        "attempts",
        "http_status",
        "settled_at",
        "latency_ms",
    )
}
#: Of these, what may differ within a batch; and how many rows share the others.
_OF_ROWS = {
    name: SETTLED[name] for name in ("row", "status", "reason", "detail", "provider_id")
}
#: Moments are counted first: so many of them alone take polars as long as all else.
_OF_RECORDS = {
    "rows": pl.UInt32(),
    **{name: kind for name, kind in SETTLED.items() if name not in _OF_ROWS},
    "settled_at": pl.Int64(),
}
#: What is read of the snapshot.
_PLANNED = (
    "row",
    "key",
    "address",
    "message_id",
    "status",
    "reason",
    "detail",
    "variant",
)
#: What was found out later of a row in doubt, and goes in the place of the doubt.
FOUND = {
    "row": COLUMNS["row"],
    "status_found": COLUMNS["status"],
    "reason_found": COLUMNS["reason"],
    "detail_found": COLUMNS["detail"],
    "provider_id_found": COLUMNS["provider_id"],
    "settled_at_found": COLUMNS["settled_at"],
}
MOST_ATTEMPTS = 2**16 - 1

Record = BatchRecord | LandingRecord | RowOutcome
R = TypeVar("R", BatchRecord | LandingRecord | RowOutcome, RowFinding)


@dataclass(frozen=True, slots=True)
class Header:
    """What is the same in every row, or stands in the file's metadata."""

    campaign: str
    run: str
    provider: str
    manifest: str
    version: str
    planned_at: datetime

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return what the results of a run have in common."""
        return cls(
            campaign=manifest.campaign,
            run=manifest.run,
            provider=manifest.definition["provider"]["name"],
            manifest=manifest.sha256,
            version=manifest.versions["mailvolley"],
            planned_at=datetime.fromisoformat(manifest.created_at),
        )


def write(
    path: Path,
    recipients: Path,
    batches: Iterable[BatchRecord | LandingRecord],
    skipped: Iterable[RowOutcome],
    header: Header,
    *,
    findings: Iterable[RowFinding] = (),
) -> dict[Status, int]:
    """Write the results of a run.

    Args:
        path: the file to write.
        recipients: the frozen list: see `snapshot`.
        batches: what was sent, ordered by first row.
        skipped: rows settled without a request, ordered by row.
        header: what is the same in every row.
        findings: what was found out of rows in doubt, ordered by row.

    Returns:
        Rows by status.

    Raises:
        BrokenPromise: the file has not exactly one row per input row, or the journal
            tells of rows that are not there. A file from before stays as it is.
        JournalError: the journal cannot be read, or the file not be written; likewise.
    """
    aside = path.with_name(f".{path.name}.inprogress")
    frames = project(recipients, batches, skipped, header, findings=findings)
    metadata = {
        "campaign": header.campaign,
        "run": header.run,
        "manifest": header.manifest,
        "version": header.version,
    }
    try:
        parquet.write(aside, frames, pl.Schema(COLUMNS), metadata=metadata)
        counts = _counted(aside, parquet.rows(recipients))
        # First: after a crash between the two the results are made anew for nothing.
        rundir.publish(RunDirectory(path.parent).results_sha256, _hash(aside))
        rundir.publish_file(aside, path)
    except (pl.exceptions.PolarsError, OSError, RunError) as error:
        _remove(aside)
        raise JournalError(
            f"{path}: the results cannot be written: {error}",
            hint="mend the disk, then resume the run: its journal has everything",
        ) from error
    except BaseException:
        _remove(aside)
        raise
    return counts


def expect(directory: RunDirectory) -> None:
    """Refuse a finished run whose results are not to the bit what was written.

    Raises:
        RunError: they are gone or damaged.
    """
    path = directory.results
    if not path.exists():
        told = f"{path}: is gone, and the run is finished"
        raise RunError(told, hint=anew(directory.path))
    try:
        known = directory.results_sha256.read_bytes()
    except FileNotFoundError:  # of an older version
        return
    if known != _hash(path):
        raise damaged(path)


def _hash(path: Path) -> bytes:
    return f"{rundir.sha256(path)}\n".encode()


def anew(run: Path) -> str:
    """Say how results that are gone or damaged are made anew: nothing needs events."""
    return (
        "make it anew from the journal: "
        f"mailvolley reconcile {shlex.quote(str(run))} --events {os.devnull}"
    )


def damaged(path: Path) -> RunError:
    """Return what is to be raised of results that cannot be read."""
    return RunError(f"{path}: is damaged", hint=anew(path.parent))


def left_out(path: Path) -> dict[str, dict[str, int]]:
    """Count the rows that a plan left out, by status and reason.

    Args:
        path: a frozen list, or the results that were made from it.
    """
    statuses = [Status.INVALID.value, Status.SUPPRESSED.value, Status.DUPLICATE.value]
    counted = (
        pl.scan_parquet(path)
        .filter(pl.col("status").is_in(statuses))
        .group_by("status", "reason")
        .len()
        .sort("status", "reason")
        .collect()
    )
    found: dict[str, dict[str, int]] = {}
    for status, reason, rows in counted.iter_rows():
        found.setdefault(status, {})[reason] = rows
    return found


def by_variant(path: Path) -> dict[str, dict[str, int]]:
    """Count the rows of a results file that were to be mailed, by variant and status.

    Empty where all got the same.
    """
    counted = (
        pl.scan_parquet(path)
        .drop_nulls("variant")
        .group_by("variant", "status")
        .len()
        .sort("variant", "status")
        .collect()
    )
    found: dict[str, dict[str, int]] = {}
    for variant, status, rows in counted.iter_rows():
        found.setdefault(variant, {})[status] = rows
    return found


def _remove(aside: Path) -> None:
    with suppress(OSError):
        aside.unlink()


def _counted(path: Path, rows: int) -> dict[Status, int]:
    """Read a results file back and check that each input row is there, in order."""
    counts: Counter[Status] = Counter()
    total, ordered = 0, True
    for group in parquet.groups(path, ["row", "status"]):
        expected = pl.int_range(total, total + group.height, dtype=pl.UInt64)
        ordered &= group.select((pl.col("row") == expected).all()).item()
        total += group.height
        for status, count in group["status"].value_counts().iter_rows():
            counts[Status(status)] += count
    if total != rows or not ordered:
        raise BrokenPromise(
            f"{path}: {total} rows for {rows} input rows"
            f"{'' if ordered else ', not in input order'}"
        )
    return dict(counts)


def project(
    recipients: Path,
    batches: Iterable[BatchRecord | LandingRecord],
    skipped: Iterable[RowOutcome],
    header: Header,
    *,
    findings: Iterable[RowFinding] = (),
) -> Iterator[pl.DataFrame]:
    """Give each row of the list its outcome, group by group: what `write` writes.

    What has been read of the journal reaches as far as the first row of the record
    after it: the records are ordered by their first rows, and may overlap.

    Raises:
        BrokenPromise: the journal tells of rows that are not there, or of one twice.
        JournalError: the journal cannot be read.
    """
    sources: tuple[Iterable[Record], ...] = (batches, skipped)
    records = _Ahead(heapq.merge(*sources, key=_first_row))
    found = _Ahead(findings)
    rest = pl.DataFrame(schema=SETTLED)
    for group in parquet.groups(recipients, _PLANNED):
        first, last = group["row"][0], group["row"][-1]
        gathered = _Gathered()
        for record in records.until(last):
            gathered.add(record)
        known = pl.concat([rest, gathered.frame()])
        _expect_none(known.filter(pl.col("row") < first))
        rest = known.filter(pl.col("row") > last)
        settled = known.filter(pl.col("row") <= last)
        laid_over = _lay_over(settled, _found(found.until(last), first))
        yield _join(group, laid_over, header)
    for beyond in (*records.left(), *found.left()):
        rest = pl.DataFrame({"row": [_first_row(beyond)]})
    _expect_none(rest)


def _expect_none(beyond: pl.DataFrame) -> None:
    """Refuse outcomes that would find no row: they came too late, or have none."""
    if beyond.height:
        row = beyond["row"][0]
        raise BrokenPromise(
            f"the journal tells of row {row} out of order, or there is no such row"
        )


class _Ahead(Generic[R]):
    """Records in the order of their first rows, taken up to a row at a time."""

    def __init__(self, records: Iterable[R]) -> None:
        self._records: Iterator[R] = iter(records)
        self._next: R | None = next(self._records, None)

    def until(self, last: int) -> Iterator[R]:
        """Take the records that begin at row `last` or before."""
        while self._next is not None and _first_row(self._next) <= last:
            yield self._next
            self._next = next(self._records, None)

    def left(self) -> list[R]:
        """Return the next record, if there is one."""
        return [] if self._next is None else [self._next]


def _first_row(record: Record | RowFinding) -> int:
    if isinstance(record, RowOutcome | RowFinding):
        return record.row
    return record.rows[0]


def _found(findings: Iterable[RowFinding], first: int) -> pl.DataFrame:
    found = pl.DataFrame(
        [
            (f.row, f.status, f.reason, f.detail, f.provider_id, f.found_at)
            for f in findings
        ],
        schema=FOUND,
        orient="row",
    )
    _expect_none(found.filter(pl.col("row") < first))
    return found


def _lay_over(settled: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Put what was found out in the place of the doubt; whatever else is known stays.

    A row may have left the doubt in another way: then that came by an answer. If the
    finding itself ended it, its moment counts, not that of the decision.
    """
    if not found.height:
        return settled
    joined = settled.join(found, on="row", how="left", maintain_order="left")
    doubtful = pl.col("status") == Status.IN_DOUBT
    same = pl.all_horizontal(
        pl.col(name).eq_missing(pl.col(f"{name}_found"))
        for name in ("status", "reason", "detail", "provider_id")
    )
    is_found = (doubtful | same) & pl.col("status_found").is_not_null()
    return joined.select(
        pl.when(is_found).then(f"{name}_found").otherwise(name).alias(name)
        if f"{name}_found" in FOUND
        else name
        for name in SETTLED
    )


def _join(group: pl.DataFrame, settled: pl.DataFrame, header: Header) -> pl.DataFrame:
    planned = pl.col("status").is_not_null()
    joined = group.join(
        settled, on="row", how="left", suffix="_sent", maintain_order="left"
    )
    never = joined.filter(planned & pl.col("status_sent").is_not_null())
    if never.height:
        raise BrokenPromise(
            f"row {never['row'][0]} was not to be mailed, and the journal says it was"
        )
    return joined.select(
        "row",
        "key",
        "address",
        status=pl.coalesce("status", "status_sent", pl.lit(Status.PENDING)),
        reason=pl.coalesce("reason", "reason_sent"),
        detail=pl.coalesce("detail", "detail_sent"),
        message_id="message_id",
        provider=pl.lit(header.provider),
        provider_id="provider_id",
        batch="batch",
        attempts=pl.col("attempts").fill_null(0),
        http_status="http_status",
        settled_at=pl.when(planned)
        .then(pl.lit(header.planned_at, dtype=COLUMNS["settled_at"]))
        .otherwise("settled_at"),
        latency_ms="latency_ms",
        variant="variant",
    ).cast(pl.Schema(COLUMNS))


class _Gathered:
    """Settled rows on their way into a frame: a column each of rows and of records.

    What is the same for all rows of a record is turned into columns once a record. A
    landing counts as records of one row each.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[object]] = {name: [] for name in _OF_ROWS}
        self._records: dict[str, list[object]] = {name: [] for name in _OF_RECORDS}

    def add(self, record: Record) -> None:
        if isinstance(record, RowOutcome):
            self._add_rows(
                [record.row], [record.status], [record.reason], [record.detail], [None]
            )
            settled_at = [to_micros(record.settled_at)]
            self._add_records([1], [None], [0], [None], settled_at, [None])
        elif isinstance(record, LandingRecord):
            told = record.outcomes
            self._add_outcomes(record.rows, told.statuses, told)
            ones = [1] * len(record.rows)
            self._add_records(
                ones,
                record.ids,
                ones,
                record.http_statuses,
                map(after, record.started_at, record.seconds),
                [seconds * 1000 for seconds in record.seconds],
            )
        elif (outcomes := _told(record)) is not None:
            self._add_outcomes(record.rows, _own(record, outcomes), outcomes)
            at = record.settled_at
            self._add_records(
                [len(record.rows)],
                [record.id],
                [min(record.attempts, MOST_ATTEMPTS)],
                [record.http_status],
                [None if at is None else to_micros(at)],
                [record.latency_ms],
            )

    def _add_outcomes(
        self, rows: list[int], statuses: Sequence[Status | None], told: Outcomes
    ) -> None:
        self._add_rows(rows, statuses, told.reasons, told.details, told.provider_ids)

    def _add_rows(self, *columns: Iterable[object]) -> None:
        for kept, values in zip(self._rows.values(), columns, strict=True):
            kept.extend(values)

    def _add_records(self, *columns: Iterable[object]) -> None:
        for kept, values in zip(self._records.values(), columns, strict=True):
            kept.extend(values)

    def frame(self) -> pl.DataFrame:
        """Return what was gathered."""
        records = pl.DataFrame(self._records, schema=_OF_RECORDS)
        record = pl.int_range(pl.len()).repeat_by("rows").explode()
        of_each = records[records.select(record).to_series()].drop("rows")
        frame = pl.DataFrame(self._rows, schema=_OF_ROWS).hstack(of_each)
        told = frame.filter(pl.col("status").is_not_null())
        return told.select(SETTLED.keys()).cast({"settled_at": SETTLED["settled_at"]})


def _told(record: BatchRecord) -> Outcomes | None:
    """Return what a batch tells of its rows, if anything."""
    match record.state:
        case BatchState.INTENT:
            # Only a crash leaves this: the request may have arrived.
            count = len(record.rows)
            return Outcomes.uniform(count, Status.IN_DOUBT, reason="interrupted")
        case BatchState.RETRYABLE:
            return Outcomes.uniform(len(record.rows), Status.PENDING)
        case _:
            return record.outcomes


def _own(record: BatchRecord, outcomes: Outcomes) -> Sequence[Status | None]:
    """Return the status of each row; None: it went on in a child, which tells it."""
    if record.state is not BatchState.SPLIT:
        return outcomes.statuses
    return [None if s is Status.PENDING else s for s in outcomes.statuses]
