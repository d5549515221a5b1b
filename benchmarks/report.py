"""What was measured, kept: `results/results.json`, and the tables and plot made of it.

A part that is measured again replaces the same part of before, and nothing else; so the
long runs need not be done every time. Each part says how and when it was measured.
"""

import json
from collections.abc import Mapping
from typing import Any

from benchmarks import plot
from benchmarks.job import JOBS
from benchmarks.measure import ROOT
from benchmarks.promises import build_promises
from benchmarks.table import build_job, lay_out, number

HOME = ROOT / "benchmarks" / "results"
FIGURES, TABLES, PLOT = "results.json", "README.md", "speed.svg"
HEAD = """\
# What mailvolley costs

Made by `make bench`; do not edit. Loopback, the provider in a process of its own.
CPU is user and system time of the sender, from its start to its exit, and disturbed
least by what else the machine does: take that, and the ratios. Who is compared with
whom: `benchmarks/job.py`. Every sender sent the same mails, by a sum over every field.
Where the load is above what the sender and the provider make themselves, two, other
work took part of the machine, and messages/s and all times say too little of it.
"""


def load() -> dict[str, Any]:
    """Return what has been measured before."""
    file = HOME / FIGURES
    if not file.exists():
        return {"jobs": {}, "stages": {}}
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return results


def save(results: Mapping[str, Any]) -> None:
    """Keep figures, tables and plot."""
    HOME.mkdir(exist_ok=True)
    written = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (HOME / FIGURES).write_text(written, encoding="utf-8")
    (HOME / TABLES).write_text(build_page(results), encoding="utf-8")
    if any(name in results["jobs"] for name in plot.JOBS):
        (HOME / PLOT).write_text(plot.build_plot(results), encoding="utf-8")


def build_page(results: Mapping[str, Any]) -> str:
    """Lay out everything that was measured."""
    parts = [HEAD, f"![CPU per message]({PLOT})", "## Promises"]
    parts += [build_promises(results), "## End to end"]
    for name in JOBS:
        if job := results["jobs"].get(name):
            parts += [build_job(job), job["provenance"]]
    if rates := results.get("rates"):
        parts += ["## Rate held", build_rates(rates["cases"]), rates["provenance"]]
    if resume := results.get("resume"):
        parts += ["## Resume", build_resume(resume), resume["provenance"]]
    if start := results.get("start"):
        parts += ["## Start", build_start(start["commands"]), start["provenance"]]
    if results["stages"]:
        parts.append("## Stages alone")
    for stage in results["stages"].values():
        parts += [build_stage(stage), stage["provenance"]]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def build_rates(cases: list[dict[str, float]]) -> str:
    """Lay out how limits were held."""
    head = ["limit, messages/s", "batch", "worst second, % of it", "used, % of it"]
    return lay_out(
        head,
        [
            [
                number(case["limit"]),
                number(case["batch"]),
                f"{case['worst'] * 100:.1f}",
                f"{case['used'] * 100:.1f}",
            ]
            for case in cases
        ],
    )


def build_resume(resume: Mapping[str, Any]) -> str:
    """Say how long a resume took."""
    return (
        f"A run of {number(resume['rows'])} messages was killed after "
        f"{number(resume['sent_before'])}. Taken up again, its first new batch came "
        f"after {resume['seconds']:.2f} s."
    )


def build_start(commands: Mapping[str, Mapping[str, float]]) -> str:
    """Lay out how long commands take to start."""
    head = ["command", "ms", "CPU ms", "least ms"]
    return lay_out(
        head,
        [
            [f"`{name}`", *(number(took[key]) for key in ("wall", "cpu", "least_wall"))]
            for name, took in commands.items()
        ],
    )


def build_stage(stage: Mapping[str, Any]) -> str:
    """Lay out one stage: what each way costs, and how ours compares."""
    ours = stage["cpu"]["mailvolley"]
    head = [stage["title"], f"CPU µs per {stage['unit']}", "mailvolley takes"]
    return lay_out(
        head,
        [
            [name, number(cost), f"{number(ours / cost)} ×"]  # noqa: RUF001  # times
            for name, cost in stage["cpu"].items()
        ],
    )
