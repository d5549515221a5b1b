"""How long a command line takes to say `--help`: what every start has to pay."""

import statistics
import sys
import time
from typing import Any

from benchmarks.measure import OUT, run_sender
from benchmarks.peers import environment
from benchmarks.sender import mailvolley

RUNS = 15


def measure(repeat: int = RUNS) -> dict[str, Any]:
    """Start each command some times, in turns.

    Returns:
        The medians of each: milliseconds of wall time and of CPU, and the least of
        both, which is what noise leaves alone.
    """
    environment.ensure()
    commands = {
        "mailvolley --help": mailvolley("--help"),
        "mailmerge --help": [str(environment.PYTHON.with_name("mailmerge")), "--help"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for _ in range(repeat):
        for name, command in commands.items():
            began = time.perf_counter()
            cpu, _, _ = run_sender(command, {}, OUT / "start.log")
            times[name].append(((time.perf_counter() - began) * 1e3, cpu * 1e3))
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
