"""The speeds and sizes that mailvolley promises, each beside what was measured.

A promise has two figures: the one to reach, and the one to aim for then. One that is
measured by the clock is not judged where other work kept the machine busy.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

from benchmarks.table import lay_out, number

Results = Mapping[str, Any]
#: What a sender and its sink add to the load of a machine.
OURS = 2.0


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise.

    Attributes:
        job: what it is about.
        figure: what of it, with its unit.
        reach: the figure to reach.
        aim: the figure to aim for.
        found: takes the figure out of the results.
        part: where in the results that is.
        most: whether it is an upper bound.
        clock: whether it is measured by the clock, which other work disturbs.
    """

    job: str
    figure: str
    reach: float
    aim: float
    found: Callable[[Results], float]
    part: tuple[str, ...]
    most: bool = True
    clock: bool = False

    def verdict(self, value: float, load: float = 0.0) -> str:
        """Say how far a figure has come.

        Args:
            value: the figure.
            load: the load of the machine while it was measured; a sender and its sink
                are two of it.
        """
        for name, bound in (("aim", self.aim), ("reached", self.reach)):
            if value <= bound if self.most else value >= bound:
                return name
        busy = self.clock and load > (os.cpu_count() or 1) + OURS
        return "machine too busy to tell" if busy else "not yet"


def _ours(job: str, figure: str) -> Callable[[Results], float]:
    def found(results: Results) -> float:
        value: float = results["jobs"][job]["figures"]["ours"][figure]
        return value

    return found


def _growth(results: Results) -> float:
    return _ours("ten-million", "peak")(results) / _ours("million", "peak")(results)


def _worst(results: Results) -> float:
    return max(rate["worst"] for rate in results["rates"]["cases"]) * 100


def _used(results: Results) -> float:
    return min(rate["used"] for rate in results["rates"]["cases"]) * 100


def _help(results: Results) -> float:
    value: float = results["start"]["commands"]["mailvolley --help"]["wall"]
    return value


def _resume(results: Results) -> float:
    value: float = results["resume"]["seconds"]
    return value


def _of(about: str, unit: str, *, job: str, figure: str, to: list[float]) -> Promise:
    """Make the promise of a job's own figure: to reach, and to aim for."""
    (reach, aim), speed = to, figure == "speed"
    found, part = _ours(job, figure), ("jobs", job)
    return Promise(about, unit, reach, aim, found, part, most=not speed, clock=speed)


CPU, SPEED = "CPU µs per message", "messages/s"
BATCHES, SINGLE, RAW = "batches of 1000", "one per request, 64 in flight", "raw MIME"
ROWS, RATE, MANY = "10 million rows", "rate held", ("jobs", "ten-million")
AGAIN = "s to the first new batch"
PROMISES = (
    _of(BATCHES, CPU, job="batches", figure="cpu", to=[15, 8]),
    _of(BATCHES, SPEED, job="batches", figure="speed", to=[75_000, 150_000]),
    _of(SINGLE, CPU, job="single", figure="cpu", to=[120, 60]),
    _of(SINGLE, SPEED, job="single", figure="speed", to=[8_000, 15_000]),
    _of(RAW, CPU, job="raw", figure="cpu", to=[170, 100]),
    _of(RAW, SPEED, job="raw", figure="speed", to=[6_000, 6_000]),
    _of(ROWS, "peak MB", job="ten-million", figure="peak", to=[500, 300]),
    Promise(ROWS, "times the 1 million's MB", 1.2, 1.2, _growth, MANY),
    Promise(RATE, "% of the limit, worst second", 100, 100, _worst, ("rates",)),
    Promise(
        RATE, "% of the limit used", 98, 99.5, _used, ("rates",), most=False, clock=True
    ),
    Promise("`mailvolley --help`", "ms", 150, 80, _help, ("start",), clock=True),
    Promise("resume of 1 million rows", AGAIN, 3, 1, _resume, ("resume",), clock=True),
)


def build_promises(results: Results) -> str:
    """Lay out every promise that something was measured for."""
    rows = []
    for promise in PROMISES:
        try:
            value = promise.found(results)
        except KeyError:
            continue  # that job was not measured
        part = reduce(getitem, promise.part, results)
        sign = "≤" if promise.most else "≥"
        rows.append(
            [
                f"{promise.job}: {promise.figure}",
                number(value),
                f"{sign} {number(promise.reach)}",
                f"{sign} {number(promise.aim)}",
                promise.verdict(value, part["load"]),
            ]
        )
    return lay_out(["promise", "measured", "reach", "then aim for", ""], rows)
