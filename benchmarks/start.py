"""How long a command takes to start: `--help`, and the least that a send can cost."""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.job import JOBS
from benchmarks.measure import OUT, run_sender
from benchmarks.peers import environment
from benchmarks.sender import mailvolley, run_once

RUNS = 15
#: Rows of the small list: one request, so that the rest is start and end.
FEW = 1000


def measure(repeat: int = RUNS) -> dict[str, Any]:
    """Start each command some times, in turns.

    Returns:
        The medians of each: milliseconds of wall time and of CPU, and the least of
        both, which is what noise leaves alone.
    """
    environment.ensure()
    mailmerge = str(environment.PYTHON.with_name("mailmerge"))
    commands: dict[str, Callable[[], tuple[float, float]]] = {
        "mailvolley --help": partial(_start, mailvolley("--help")),
        "mailvolley send --help": partial(_start, mailvolley("send", "--help")),
        f"mailvolley send, {FEW} rows": _send,
        "mailmerge --help": partial(_start, [mailmerge, "--help"]),
        "python -c pass": partial(_start, [sys.executable, "-c", "pass"]),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, command in commands.items():
            times[name].append(command())
    found = {}
    for name, each in times.items():
        walls, cpus = zip(*each, strict=True)
        found[name] = {
            "wall": statistics.median(walls),
            "cpu": statistics.median(cpus),
            "least_wall": min(walls),
            "least_cpu": min(cpus),
        }
    return found


def _start(command: list[str]) -> tuple[float, float]:
    """Run a command; return its milliseconds of wall time and of CPU."""
    began = time.perf_counter()
    cpu, _, _ = run_sender(command, {}, OUT / "start.log")
    return (time.perf_counter() - began) * 1e3, cpu * 1e3


def _send() -> tuple[float, float]:
    """Send a small list to a sink on this machine; the same figures."""
    cost, _ = run_once("ours", JOBS["batches"], FEW)
    return cost.wall_seconds * 1e3, cost.cpu_seconds * 1e3
