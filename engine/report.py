"""What became of a run, as a value: small, to be printed, kept or passed on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import CampaignIncomplete
from engine.outcome import TROUBLE, Status


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

    @property
    def rows(self) -> int:
        """Input rows."""
        return sum(self.counts.values())

    @property
    def results(self) -> pl.LazyFrame:
        """The results, to be scanned: see the README for the columns."""
        return pl.scan_parquet(self.path)

    @property
    def in_doubt(self) -> pl.LazyFrame:
        """The rows of which nobody can say whether they were accepted."""
        return self.results.filter(pl.col("status") == Status.IN_DOUBT)

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
            "results": str(self.path),
            "seconds": round(self.seconds, 3),
            "messages_per_second": round(self.messages_per_second, 1),
        }
