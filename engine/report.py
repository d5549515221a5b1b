"""What became of a run, as a value: small, to be printed, kept or passed on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine import intake, results
from engine.errors import CampaignIncomplete
from engine.outcome import TROUBLE, Status
from engine.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a run.

    Attributes:
        campaign: the campaign's name.
        run: the run's id.
        finished: whether every row has its outcome; if not, the run can be resumed.
        counts: rows by status; every status is there.
        path: the results file: one row per input row, in input order.
        directory: the run's directory.
        seconds: how long this start has been sending.
        messages_per_second: messages settled per second by this start.
        cause: why it stopped, in a sentence; empty if nothing stopped it.
        hint: what to do about that; may be empty.
        account: whether it was the account that stopped it.
        stages: seconds of each stage; see `engine.stages`.
        bound: what took most of the time, in a sentence, and what to change; empty if
            it did not come to sending.
    """

    campaign: str
    run: str
    finished: bool
    counts: dict[str, int]
    path: Path
    directory: Path
    seconds: float
    messages_per_second: float
    cause: str
    hint: str
    account: bool
    stages: dict[str, float]
    bound: str

    @property
    def rows(self) -> int:
        """Input rows."""
        return sum(self.counts.values())

    @property
    def sent(self) -> int:
        """Messages that this start has settled."""
        return round(self.messages_per_second * self.seconds)

    @property
    def results(self) -> pl.LazyFrame:
        """The results, to be scanned: see the README for the columns."""
        return pl.scan_parquet(self.path)

    @property
    def left_out(self) -> dict[str, dict[str, int]]:
        """Rows that the plan left out, by status and reason."""
        return results.left_out(self.path)

    @property
    def variants(self) -> dict[str, dict[str, int]]:
        """Rows of each variant by status; empty where all get the same message.

        What was reported of them later: see `engine.report.reported`.
        """
        return results.by_variant(self.path)

    @property
    def in_doubt(self) -> pl.LazyFrame:
        """The rows of which nobody can say whether they were accepted."""
        return self.results.filter(pl.col("status") == Status.IN_DOUBT)

    @property
    def deliveries(self) -> pl.LazyFrame:
        """The results, with what the provider reported of each row later.

        Adds to the columns of the results: event str|null, the last word of an event;
        event_at; reject_reason and event_detail of that event; delivered_at; opens and
        clicks u32. All null, or 0, where nothing was reported, or nothing of it was
        gathered: see `mailvolley events` and `mailvolley track`. Outcomes stay. What
        became of copies (cc, bcc) is in `events.parquet` alone.

        Raises:
            StoreError: the events cannot be read.
        """
        return deliveries(RunDirectory(self.directory))

    def raise_for_failures(self) -> None:
        """Raise unless every row was accepted, or left out for a stated reason.

        Raises:
            CampaignIncomplete: with the numbers and the file to look into.
        """
        trouble = {
            s.value: self.counts[s]
            for s in (*TROUBLE, Status.PENDING)
            if self.counts[s]
        }
        if trouble:
            told = ", ".join(f"{count} {status}" for status, count in trouble.items())
            raise CampaignIncomplete(f"{self.campaign}: {told}; see {self.path}")

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "campaign": self.campaign,
            "run": self.run,
            "status": "finished" if self.finished else "stopped",
            "counts": self.counts,
            "rows": self.rows,
            "left_out": self.left_out,
            "variants": self.variants,
            "results": str(self.path),
            "seconds": round(self.seconds, 3),
            "messages_per_second": round(self.messages_per_second, 1),
            "stages": {
                stage: {
                    "seconds": round(seconds, 3),
                    "messages_per_second": round(self.sent / seconds, 1)
                    if seconds
                    else None,
                }
                for stage, seconds in self.stages.items()
            },
            "bound": self.bound,
        }


def deliveries(directory: RunDirectory) -> pl.LazyFrame:
    """Return what became of each row of a run: see `Report.deliveries`.

    Raises:
        RunError: there is no such run, or it has no results yet.
        StoreError: the events cannot be read.
    """
    events = intake.lay_out(directory)
    return (
        pl.scan_parquet(directory.results)
        .join(_last(events), on="row", how="left", maintain_order="left")
        .with_columns(pl.col("opens", "clicks").fill_null(0))
    )


def reported(directory: RunDirectory) -> dict[str, dict[str, int]]:
    """Count the rows of each variant of which an event was reported, by the event.

    A row counts once for an event, however often it came: somebody who opened a mail
    five times is one who opened it.

    Returns:
        By variant; `rows`: those that were accepted. Empty where all got the same.

    Raises:
        RunError: there is no such run, or it has no results yet.
        StoreError: the events cannot be read.
    """
    own = pl.scan_parquet(directory.results).drop_nulls("variant")
    accepted = own.filter(pl.col("status") == Status.ACCEPTED)
    happened = (
        pl.scan_parquet(intake.lay_out(directory))
        .filter(~pl.col("copy"))
        .select("row", "event")
        .unique()
        .join(own, on="row")
    )
    counted = pl.concat(
        some.group_by("variant", event).len()
        for some, event in (
            (accepted, pl.lit("rows").alias("event")),
            (happened, pl.col("event")),
        )
    )
    found: dict[str, dict[str, int]] = {}
    for variant, event, rows in counted.sort("variant").collect().iter_rows():
        found.setdefault(variant, {})[event] = rows
    return found


def _last(path: Path) -> pl.LazyFrame:
    """Return what events say of each row, one line per row."""

    def number(word: str) -> pl.Expr:
        return (pl.col("event") == word).sum().cast(pl.UInt32)

    return (
        pl.scan_parquet(path)
        .filter(~pl.col("copy"))
        .with_columns(event_at=pl.coalesce("happened_at", "received_at"))
        .sort("event_at", maintain_order=True)
        .group_by("row")
        .agg(
            pl.col("event", "event_at", "reject_reason").last(),
            pl.col("description").last().alias("event_detail"),
            pl.col("event_at")
            .filter(pl.col("event") == "delivered")
            .first()
            .alias("delivered_at"),
            number("opened").alias("opens"),
            number("clicked").alias("clicks"),
        )
    )
