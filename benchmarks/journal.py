"""What the journal costs: the same run with it, and with one that forgets.

`python -m benchmarks.journal`. The forgetful journal goes through every step but the
transactions, so that what is compared is the disk and SQLite. Runs take turns; figures
are medians.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trio

from benchmarks.measure import CAMPAIGN, OUT, running_sink
from benchmarks.recipients import write_recipients
from engine import api, planning
from engine.journal import Journal
from engine.run import Run
from engine.rundir import RunDirectory
from engine.secret import Secret


class Measured(Run):
    """A run that keeps its journal in sight."""

    journal: Journal

    def open_journal(self) -> tuple[Journal, bool]:
        """Open the journal as ever."""
        self.journal, resumed = super().open_journal()
        return self.journal, resumed


class Forgetful(Measured):
    """A run whose journal writes nothing."""

    def open_journal(self) -> tuple[Journal, bool]:
        """Make a journal that does not carry out its transactions."""
        path = self._plan.directory.journal
        facts = {"manifest": self._plan.manifest.sha256}
        self.journal = Journal.create(path, facts, runner=_forget)
        return self.journal, False


async def _forget(_write: Callable[[], None]) -> None:
    await trio.lowlevel.checkpoint()


def _run(kind: type[Measured], rows: Path, url: str, *, single: bool) -> list[float]:
    """Send a list once.

    Returns:
        Messages/s, CPU us per message, transactions, records.
    """
    overrides = ["limits.batch_size=1", "limits.workers=64"] if single else []
    campaign = api.load(CAMPAIGN, overrides=overrides, needs_list=False)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=OUT))
    try:
        plan = planning.draw_up(campaign, rows, RunDirectory(folder))
        run = kind(plan, base_url=url, secret=Secret("benchmark"))
        cpu = time.process_time()
        ended = trio.run(run.send)
        cpu = time.process_time() - cpu
        done = run.journal.statistics()
    finally:
        shutil.rmtree(folder)
    messages = plan.manifest.mailable
    rate, cost = messages / ended.seconds, cpu / messages * 1e6
    return [rate, cost, float(done.commits), float(done.records)]


def measure(count: int, *, single: bool, repeat: int) -> None:
    """Measure one job with both journals, and print a line each."""
    rows = OUT / f"recipients-{count}.parquet"
    write_recipients(count, rows)
    figures: dict[type[Measured], list[list[float]]] = {Measured: [], Forgetful: []}
    for _ in range(repeat):
        for kind, found in figures.items():
            with running_sink() as sink:
                found.append(_run(kind, rows, sink.url, single=single))
    (rate, cost, commits, records), (bare, spare, *_) = (
        [statistics.median(column) for column in zip(*found, strict=True)]
        for found in figures.values()
    )
    job = "one per request, 64 in flight" if single else "batches of 1000"
    print(
        f"| {count:,} messages, {job} | {rate:,.0f} | {bare:,.0f} | {rate / bare:.2f} "
        f"| {cost - spare:.1f} | {records / commits:.1f} |"
    )


def main() -> None:
    """Read the command line, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    print(f"Journal on and off, {os.cpu_count()} cores, median of {options.repeat}.\n")
    print(
        "| job | messages/s with | without | share | CPU µs per message "
        "| records per transaction |\n| --- | --: | --: | --: | --: | --: |"
    )
    measure(options.rows, single=False, repeat=options.repeat)
    measure(options.rows // 20, single=True, repeat=options.repeat)


if __name__ == "__main__":
    main()
