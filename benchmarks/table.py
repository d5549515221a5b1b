"""Costs as Markdown tables, fit for the README."""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

from benchmarks.measure import Cost

NAMES = {
    "ours": "mailvolley",
    "obvious": "the obvious script",
    "ceiling": "the ceiling",
}
TIMES = "\N{MULTIPLICATION SIGN}"
PACKAGES = ("httpx", "jinja2", "orjson", "polars", "trio")


@dataclass(frozen=True, slots=True)
class Figures:
    """The middle of several runs, per message.

    Attributes:
        speed: messages/s, of the wall time.
        cpu: microseconds of CPU per message.
        wall: seconds.
        peak: MB.
    """

    speed: float
    cpu: float
    wall: float
    peak: float


def summarise(costs: Sequence[Cost]) -> Figures:
    """Take the median of each figure over the runs of one sender."""
    return Figures(
        speed=statistics.median(cost.messages / cost.wall_seconds for cost in costs),
        cpu=statistics.median(cost.cpu_seconds / cost.messages for cost in costs) * 1e6,
        wall=statistics.median(cost.wall_seconds for cost in costs),
        peak=statistics.median(cost.peak_bytes for cost in costs) / 1e6,
    )


def build_table(title: str, figures: Mapping[str, Figures], *, main: str) -> str:
    """Lay out one job, with ratios for its main figure and for CPU.

    Args:
        title: stands over the first column.
        figures: of each sender that was measured.
        main: the figure that the job is about, "speed" or "peak".
    """
    other = "peak" if main == "speed" else "speed"
    columns = (main, "cpu", other, "wall")
    heads = {
        "speed": "messages/s",
        "cpu": "CPU µs per message",
        "wall": "wall s",
        "peak": "peak MB",
    }
    ratios = [name for name in ("ceiling", "obvious") if name in figures]
    head = [title]
    for column in columns:
        head.append(heads[column])
        if column in (main, "cpu"):
            head += [f"to {name}" for name in ratios]
    lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
    for sender, mine in figures.items():
        cells = [NAMES[sender]]
        for column in columns:
            value = getattr(mine, column)
            cells.append(_number(value))
            if column in (main, "cpu"):
                bases = [getattr(figures[name], column) for name in ratios]
                cells += [f"{_number(value / base)} {TIMES}" for base in bases]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float) -> str:
    if value >= 100:
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


def build_provenance(command: str, today: date, repeat: int) -> str:
    """Say in one line how the figures came to be."""
    versions = ", ".join(f"{name} {value}" for name, value in read_versions().items())
    return (
        f"`{command}` on {today.isoformat()}: {os.cpu_count()} cores "
        f"({describe_processor()}), {versions}. Whole processes from start to exit, "
        f"on loopback, the provider in its own process; median of {repeat}."
    )
