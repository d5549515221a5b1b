"""Measures what mailvolley costs, beside what one would use instead: `make bench`.

Jobs: end to end, every sender in turns; see `benchmarks/job.py`. Parts: `rates`, how a
limit is held; `resume`, how soon a killed run sends again; `start`, what `--help`
and a small list take; `stages`, each stage alone. Without names everything but the 10
million rows, which write gigabytes and take many minutes: ask for them with `--only
ten-million`.

Figures, tables and a plot are kept in benchmarks/report. With `--quick` nothing is
kept: a few seconds for the ratios that must not get worse.
"""

import argparse
import compileall
import os
import shlex
import signal
import sys
from datetime import date
from functools import partial
from typing import Any

from benchmarks import compare, quick, rate, report, resume, stages, start, table
from benchmarks.job import JOBS, SENDERS
from benchmarks.measure import OUT, ROOT, SenderFailed

PARTS = ("rates", "resume", "start", "stages")
RESUMED_ROWS = 1_000_000


def read_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rows", type=int, help="instead of each job's own number")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*JOBS, *PARTS, *stages.NAMES, *SENDERS],
        default=[],
        metavar="NAME",
        help="this job, part, stage or sender; may be repeated: "
        f"{', '.join([*JOBS, *PARTS, *stages.NAMES, *SENDERS])}",
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs per sender")
    parser.add_argument("--quick", action="store_true", help="the guarded ratios alone")
    options = parser.parse_args()
    rows = options.rows
    if rows is not None and (rows < 1 or (rows > 20_000 and rows % 1000)):
        parser.error("--rows: above 20000 it must be a multiple of 1000")
    return options


def main() -> int:
    """Measure what was asked for, print the tables, and keep the figures."""
    options = read_options()
    # So that the sink and the sender are stopped on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    OUT.mkdir(exist_ok=True)
    # As everybody has it from the second run on, though the environment may forbid it.
    compileall.compile_dir(ROOT / "engine", quiet=1)
    if options.quick:
        return quick.main()
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    missing = False
    for name in _jobs(options.only):
        rows = options.rows or JOBS[name].rows
        asked = [s for s in JOBS[name].senders if s in options.only]
        job = compare.measure_job(
            name, asked or JOBS[name].senders, rows=rows, repeat=options.repeat
        )
        missing = missing or bool(job["failures"])
        once = 1 if JOBS[name].once else options.repeat
        _keep(("jobs", name), job, command, once)
        print(f"\n{table.build_job(job)}\n")
    for part in _parts(options.only):
        print(f"{part} ...", file=sys.stderr, flush=True)
        try:
            _measure_part(part, options.rows or RESUMED_ROWS, command)
        except SenderFailed as error:
            print(f"\n{part} was not measured: {error}")
            missing = True
    for stage in _stages(options.only):
        print(f"{stage} ...", file=sys.stderr, flush=True)
        measured = stages.measure(stage, options.rows)
        _keep(("stages", stage), measured, command, measured["repeat"])
        print(f"\n{report.build_stage(measured)}\n")
    print(f"Kept in {report.HOME}")
    return 1 if missing else 0


def _measure_part(part: str, rows: int, command: str) -> None:
    measures = {
        "rates": lambda: {"cases": rate.measure_rates()},
        "resume": partial(resume.measure_resume, rows),
        "start": lambda: {"commands": start.measure()},
    }
    _keep((part,), measures[part](), command, start.RUNS if part == "start" else 1)


def _keep(
    place: tuple[str, ...], measured: dict[str, Any], command: str, repeat: int
) -> None:
    """Put what was measured into the results, at once: the next job may be broken."""
    today = date.today()  # noqa: DTZ011  # the day people see on their clock
    measured["load"] = os.getloadavg()[0]
    measured["provenance"] = table.build_provenance(
        command, today, repeat, load=measured["load"]
    )
    kept = report.load()
    *above, last = place
    home = kept
    for name in above:
        home = home.setdefault(name, {})
    home[last] = measured
    report.save(kept)


def _jobs(only: list[str]) -> list[str]:
    named = [name for name in JOBS if name in only]
    if named or any(name in (*PARTS, *stages.NAMES) for name in only):
        return named
    return [name for name, job in JOBS.items() if not job.extra]


def _parts(only: list[str]) -> list[str]:
    parts = [part for part in PARTS if part != "stages"]
    return [part for part in parts if not only or part in only]


def _stages(only: list[str]) -> list[str]:
    every = not only or "stages" in only
    return [name for name in stages.NAMES if every or name in only]


if __name__ == "__main__":
    sys.exit(main())
