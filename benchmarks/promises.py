"""The speeds and sizes that mailvolley promises, each beside what was measured.

A promise has two figures: the one to reach, and the one to aim for then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.table import lay_out, number

Results = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise.

    Attributes:
        job: what it is about.
        figure: what of it, with its unit.
        reach: the figure to reach.
        aim: the figure to aim for.
        found: takes the figure out of the results.
        most: whether it is an upper bound.
    """

    job: str
    figure: str
    reach: float
    aim: float
    found: Callable[[Results], float]
    most: bool = True

    def verdict(self, value: float) -> str:
        """Say how far a figure has come."""
        for name, bound in (("aim", self.aim), ("reached", self.reach)):
            if value <= bound if self.most else value >= bound:
                return name
        return "not yet"


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


BATCHES, SINGLE, RAW = "batches of 1000", "one per request, 64 in flight", "raw MIME"
ROWS, RATE = "10 million rows", "rate held"
PROMISES = (
    Promise(BATCHES, "CPU µs per message", 15, 8, _ours("batches", "cpu")),
    Promise(
        BATCHES, "messages/s", 75_000, 150_000, _ours("batches", "speed"), most=False
    ),
    Promise(SINGLE, "CPU µs per message", 120, 60, _ours("single", "cpu")),
    Promise(SINGLE, "messages/s", 8_000, 15_000, _ours("single", "speed"), most=False),
    Promise(RAW, "CPU µs per message", 170, 100, _ours("raw", "cpu")),
    Promise(RAW, "messages/s", 6_000, 6_000, _ours("raw", "speed"), most=False),
    Promise(ROWS, "peak MB", 500, 300, _ours("ten-million", "peak")),
    Promise(ROWS, "times the 1 million's MB", 1.2, 1.2, _growth),
    Promise(RATE, "% of the limit, worst second", 100, 100, _worst),
    Promise(RATE, "% of the limit used", 98, 99.5, _used, most=False),
    Promise("`mailvolley --help`", "ms", 150, 80, _help),
    Promise("resume of 1 million rows", "s to the first new batch", 3, 1, _resume),
)


def build_promises(results: Results) -> str:
    """Lay out every promise that something was measured for."""
    rows = []
    for promise in PROMISES:
        try:
            value = promise.found(results)
        except KeyError:
            continue  # that job was not measured
        sign = "≤" if promise.most else "≥"
        rows.append(
            [
                f"{promise.job}: {promise.figure}",
                number(value),
                f"{sign} {number(promise.reach)}",
                f"{sign} {number(promise.aim)}",
                promise.verdict(value),
            ]
        )
    return lay_out(["promise", "measured", "reach", "then aim for", ""], rows)
