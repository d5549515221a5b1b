"""Figures as Markdown, fit for the README."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.job import NAMES

TIMES = "\N{MULTIPLICATION SIGN}"
PACKAGES = ("httpx", "jinja2", "orjson", "polars", "trio")
HEADS = {
    "speed": "messages/s",
    "cpu": "CPU µs per message",
    "wire": "messages/s while sending",
    "peak": "peak MB",
    "messages": "messages",
}


def build_job(job: Mapping[str, Any]) -> str:
    """Lay out one job, with ratios for its main figure and for CPU.

    Args:
        job: what `benchmarks.compare.measure_job` returned.
    """
    figures: Mapping[str, Mapping[str, float]] = job["figures"]
    main = job["main"]
    other = "peak" if main == "speed" else "speed"
    columns = (main, "cpu", "wire", other, "messages")
    ratios = [name for name in ("ceiling", "obvious") if name in figures]
    ratios = ratios if len(figures) > 1 else []
    head = [job["title"]]
    for column in columns:
        head.append(HEADS[column])
        if column in (main, "cpu"):
            head += [f"to {NAMES[name]}" for name in ratios]
    rows = []
    for sender, mine in figures.items():
        cells = [NAMES[sender]]
        for column in columns:
            cells.append(number(mine[column]))
            if column in (main, "cpu"):
                bases = [figures[name][column] for name in ratios]
                cells += [f"{number(mine[column] / base)} {TIMES}" for base in bases]
        rows.append(cells)
    missing = [
        f"\n{NAMES[sender]} was not measured: {why}"
        for sender, why in job["failures"].items()
    ]
    return "\n".join([lay_out(head, rows), *missing])


def lay_out(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first column is text and whose others are figures."""
    lines = [head, ["---"] + ["--:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Write a figure with three digits that matter."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def describe_processor() -> str:
    """Name the processor as the system does."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def read_versions() -> dict[str, str]:
    """Tell the versions of Python and of the packages that matter here."""
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"Python": platform.python_version(), **versions}


def build_provenance(command: str, today: date, repeat: int, *, load: float) -> str:
    """Say in one line how figures came to be, and how busy the machine was."""
    versions = ", ".join(f"{name} {value}" for name, value in read_versions().items())
    return (
        f"`{command}` on {today.isoformat()}: {os.cpu_count()} cores "
        f"({describe_processor()}), {versions}; load {load:.1f} at the "
        f"end; median of {repeat}."
    )
