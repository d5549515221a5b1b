"""Sends the same campaign three ways and prints what each costs: `make bench`.

Senders: *ours* is `mailvolley send` with journal and results; *obvious* is the script
one would write with the same packages; *ceiling* only posts what was rendered before.
Jobs: *batches* of 1000, *single* messages with 64 requests in flight, and *memory*, a
long list in batches of 1000. A wide gap to the obvious script is the reason to use
mailvolley, the gap to the ceiling what is left to gain.

Before a job is measured, each sender runs it on a short list against a strict sink. One
that sends other mails than the obvious script, by a byte of sender, address, subject or
body, or cuts them into other requests, is not measured.
"""

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks import measure, table
from benchmarks.measure import ROOT, Cost, SenderFailed

OUT = ROOT / "benchmarks" / "out"
CAMPAIGN = ROOT / "benchmarks" / "material" / "bench.toml"
SENDERS = ("ours", "obvious", "ceiling")
#: Rows of the comparison before each job. The last batch is a short one.
CHECK_ROWS = 1500
#: What the sink must say of every sender alike; `sum` covers every field of each mail.
SAME = ("requests", "addresses", "sum")
#: Bodies made for the ceiling; a longer run goes round (20 000 are 44 MB).
BODY_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to measure.

    Attributes:
        title: for people, with a place for the number of rows.
        rows: unless the command line says otherwise.
        batch: messages per request.
        workers: requests in flight.
        main: the figure that the job is about.
        once: one run is enough.
    """

    title: str
    rows: int
    batch: int
    workers: int
    main: str = "speed"
    once: bool = False


JOBS = {
    "batches": Job("{} messages, batches of 1000", 200_000, 1000, 8),
    "single": Job("{} messages, one per request, 64 in flight", 20_000, 1, 64),
    "memory": Job(
        "{} messages, batches of 1000", 1_000_000, 1000, 8, main="peak", once=True
    ),
}


def prepare(job: Job, rows: int) -> tuple[Path, Path]:
    """Make the list and the ceiling's bodies.

    In processes of their own, so that this one stays small.

    Returns:
        The list, and the bodies.
    """
    recipients = OUT / f"recipients-{rows}.parquet"
    bodies = OUT / f"bodies-{min(rows, BODY_ROWS)}-by-{job.batch}.jsonl"
    make = [sys.executable, "-m", "benchmarks.recipients", str(rows), str(recipients)]
    subprocess.run(make, cwd=ROOT, check=True)
    make = [sys.executable, "-m", "benchmarks.ceiling"]
    make += ["--rows", str(min(rows, BODY_ROWS)), "--batch", str(job.batch)]
    make += ["prepare", str(recipients), str(bodies)]
    subprocess.run(make, cwd=ROOT, check=True)
    return recipients, bodies


def build_command(
    sender: str, job: Job, rows: int, material: tuple[Path, Path], port: int
) -> list[str]:
    """Build the command line of one sender."""
    recipients, bodies = material
    url = f"http://127.0.0.1:{port}"
    batch, workers = str(job.batch), str(job.workers)
    if sender == "ceiling":
        command = [sys.executable, "-m", "benchmarks.ceiling", "--rows", str(rows)]
        command += ["--batch", batch, "post", str(bodies), "--port", str(port)]
        return [*command, "--workers", workers]
    if sender == "obvious":
        command = [sys.executable, "-m", "benchmarks.obvious", str(recipients)]
        command += [str(OUT / "obvious.parquet"), "--base-url", url]
        return [*command, "--batch", batch, "--workers", workers]
    command = [str(Path(sys.executable).with_name("mailvolley")), "send", str(CAMPAIGN)]
    command += ["--recipients", str(recipients), "--base-url", url]
    command += ["--runs-dir", str(OUT / "runs"), "--yes", "--json"]
    if job.batch == 1:
        command += [
            "--set",
            "limits.batch_size=1",
            "--set",
            f"limits.workers={workers}",
        ]
    return command


def run_once(
    sender: str, job: Job, rows: int, material: tuple[Path, Path], *, strict: bool
) -> tuple[Cost, dict[str, Any]]:
    """Run one sender against a fresh sink.

    Returns:
        What it cost, and the sink's own figures.

    Raises:
        SenderFailed: it failed, or the sink did not get every message once.
    """
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    with measure.running_sink(strict=strict) as sink:
        command = build_command(sender, job, rows, material, sink.port)
        log = OUT / f"{sender}.log"
        token = {"CLOUDMAILS_API_KEY": "bench"}
        cpu, wall, peak = measure.run_sender(command, token, log)
        stats = sink.stats()
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    if stats["messages"] != rows:
        raise SenderFailed(f"the sink got {stats['messages']} messages, not {rows}")
    cost = Cost(
        messages=stats["messages"],
        requests=stats["requests"],
        body_bytes=stats["body_bytes"],
        cpu_seconds=cpu,
        wall_seconds=wall,
        wire_seconds=stats["seconds"],
        peak_bytes=peak,
    )
    return cost, stats


def compare_mails(job: Job, senders: Sequence[str]) -> dict[str, str]:
    """Let each sender do the job on a short list, and compare what they sent.

    The yardstick is the obvious script, also when it is not to be measured.

    Returns:
        The senders that cannot be measured, and why.
    """
    material = prepare(job, CHECK_ROWS)
    failures: dict[str, str] = {}
    try:
        _, wanted = run_once("obvious", job, CHECK_ROWS, material, strict=True)
    except SenderFailed as error:
        return dict.fromkeys(senders, f"the yardstick failed: {error}")
    for sender in senders:
        try:
            _, stats = run_once(sender, job, CHECK_ROWS, material, strict=True)
        except (SenderFailed, OSError) as error:
            failures[sender] = str(error)
            continue
        differs = [name for name in SAME if stats[name] != wanted[name]]
        if differs:
            failures[sender] = f"not the obvious script's {', '.join(differs)}"
    return failures


def measure_job(
    name: str, senders: Sequence[str], *, rows: int, repeat: int
) -> tuple[dict[str, list[Cost]], dict[str, str]]:
    """Measure one job.

    The senders take turns, so that a slow minute of the machine hits all of them.

    Returns:
        The costs of each sender's runs, and why senders are missing.
    """
    job = JOBS[name]
    failures = compare_mails(job, senders)
    costs: dict[str, list[Cost]] = {
        sender: [] for sender in senders if sender not in failures
    }
    material = prepare(job, rows)
    for _ in range(1 if job.once else repeat):
        for sender in list(costs):
            print(f"{name}: {sender} ...", file=sys.stderr, flush=True)
            try:
                cost, _ = run_once(sender, job, rows, material, strict=False)
            except SenderFailed as error:
                failures[sender] = str(error)
                del costs[sender]
            else:
                costs[sender].append(cost)
    return costs, failures


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", type=int, help="instead of each job's own number")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*JOBS, *SENDERS],
        default=[],
        help="this job or this sender; may be repeated",
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs per sender")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the rows, once"
    )
    options = parser.parse_args()
    rows = options.rows
    if rows is not None and (rows < 1 or (rows > BODY_ROWS and rows % 1000)):
        parser.error(f"--rows: above {BODY_ROWS} it must be a multiple of 1000")
    return options


def main() -> int:
    """Run what was asked for, print the tables, and keep the figures."""
    options = read_options()
    # So that the sink and the sender are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    OUT.mkdir(exist_ok=True)
    jobs = [name for name in JOBS if name in options.only] or list(JOBS)
    senders = [name for name in SENDERS if name in options.only] or list(SENDERS)
    repeat = 1 if options.quick else options.repeat
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    provenance = table.build_provenance(command, date.today(), repeat)  # noqa: DTZ011  # the day people see on their clock
    results: dict[str, Any] = {"provenance": provenance, "jobs": {}}
    missing = False
    for name in jobs:
        job = JOBS[name]
        rows = options.rows or (job.rows // 10 if options.quick else job.rows)
        costs, failures = measure_job(name, senders, rows=rows, repeat=repeat)
        figures = {
            sender: table.summarise(runs) for sender, runs in costs.items() if runs
        }
        title = job.title.format(f"{rows:,}".replace(",", " "))
        if figures:
            print(f"\n{table.build_table(title, figures, main=job.main)}")
        for sender, why in failures.items():
            print(f"\n{table.NAMES[sender]} was not measured: {why}")
        missing = missing or bool(failures)
        results["jobs"][name] = {
            "rows": rows,
            "runs": {
                sender: [asdict(c) for c in runs] for sender, runs in costs.items()
            },
            "figures": {sender: asdict(mine) for sender, mine in figures.items()},
            "failures": failures,
        }
    print(f"\n{provenance}")
    (OUT / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
