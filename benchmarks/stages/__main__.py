"""Measures one stage in this process, and prints its figures as JSON."""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.measure import OUT
from benchmarks.stages import REPEAT, STAGES

Contestants = Mapping[str, Callable[[], object]]


def take_turns(contestants: Contestants, rows: int, repeat: int) -> dict[str, Any]:
    """Run every contestant some times, in turns.

    CPU is user and system time of all threads of this process. The first turn is for
    warming up where there are several.
    """
    cpu: dict[str, list[float]] = {name: [] for name in contestants}
    wall: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeat + (repeat > 1)):
        for name, run in contestants.items():
            began, spent = time.perf_counter(), time.process_time()
            run()
            if turn or repeat == 1:
                cpu[name].append((time.process_time() - spent) / rows * 1e6)
                wall[name].append((time.perf_counter() - began) / rows * 1e6)
    return {
        "rows": rows,
        "repeat": repeat,
        "cpu": {name: statistics.median(found) for name, found in cpu.items()},
        "wall": {name: statistics.median(found) for name, found in wall.items()},
    }


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--repeat", type=int, default=REPEAT)
    options = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    stage = STAGES[options.stage]
    rows = options.rows or stage.rows
    module = import_module(f"benchmarks.stages.{stage.module}")
    with tempfile.TemporaryDirectory(prefix="stage-", dir=OUT) as folder:
        contestants = module.contestants(rows, Path(folder), stage.variant)
        print(json.dumps(take_turns(contestants, rows, options.repeat)))


if __name__ == "__main__":
    main()
