"""The promises that are checked when a world has come to its end.

    I1  every row has exactly one final outcome
    I2  no message was accepted twice
    I3  `accepted`: the provider has it; every other sure word: it has not
    I4  the counts add up to the rows
    I5  no window of time saw more than its limit, whatever restarts lie in it; and
        no request left before the Retry-After that its start had been told
    I6  retries are bounded
    I7  in calm weather a run comes to its end
    I8  one crash leaves no more in doubt than was under way
    I9  the same seed gives the same trace

I8, and what concerns two requests, is checked while it happens; I9 by playing twice.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from simulation.connection import Passing, Traffic
from simulation.lists import frozen
from simulation.scenario import Scenario
from simulation.service import Service
from simulation.told import Words

from engine.outcome import Status
from engine.retry import RetryPolicy
from engine.run import Ended

#: What computed times and levels may be off by.
DUST = 1e-6


@dataclass(frozen=True, slots=True)
class End:
    """A world at its end.

    Attributes:
        ended: what the last start said; None if it died.
        words: what it said about each row.
        starts: how often the run was started.
    """

    scenario: Scenario
    service: Service
    traffic: Traffic
    ended: Ended | None
    words: Words
    starts: int


def account(end: End) -> Iterator[str]:
    """Yield every promise that was broken."""
    yield from _rates(end)
    yield from _bounds(end)
    for name, times in end.service.accepted.items():
        if len(times) > 1:
            row = frozen(end.scenario.rows).rows[name]
            at = ", ".join(f"{when:.3f}" for when, _ in times)
            yield f"I2 row {row} was accepted {len(times)} times, at {at} s"
    if end.ended is None or not end.ended.finished:
        yield f"I7 unfinished after {end.starts} starts"
    if end.ended is not None:
        yield from _outcomes(end, end.ended)


# --- I1, I3, I4


def _outcomes(end: End, ended: Ended) -> Iterator[str]:
    scenario = end.scenario
    if len(end.words) != scenario.rows or any(len(words) != 1 for words in end.words):
        yield f"I1 not one outcome per row: {end.words}"
        return
    if sum(ended.counts.values()) != scenario.rows:
        yield f"I4 the counts {ended.counts} are not those of {scenario.rows} rows"
    listed = frozen(scenario.rows)
    for name, row in listed.rows.items():
        ids = [given for _, given in end.service.accepted.get(name, [])]
        yield from _row(row, *end.words[row][0], ids)
    for row, status in listed.never.items():
        if end.words[row][0].status is not status:
            yield f"I3 row {row} is {end.words[row]}, and was not to be mailed"
    disturbed = scenario.rate or scenario.script or scenario.cursed
    if not (disturbed or any(scenario.crashes)):
        yield from _undisturbed(scenario, end.words)


def _row(row: int, status: Status, given: str | None, ids: list[str]) -> Iterator[str]:
    if status is Status.PENDING:
        yield f"I1 row {row} has no outcome"
    elif status is Status.ACCEPTED and not ids:
        yield f"I3 row {row} is accepted, and the provider never had it"
    elif status not in {Status.ACCEPTED, Status.IN_DOUBT} and ids:
        yield f"I3 row {row} is {status}, and the provider has it"
    elif status is Status.ACCEPTED and given is not None and given not in ids:
        yield f"I3 row {row} has the id {given}, and the provider calls it {ids}"


def _undisturbed(scenario: Scenario, words: Words) -> Iterator[str]:
    """Without faults and crashes the outcomes are known beforehand."""
    listed, refused = frozen(scenario.rows), scenario.poison | scenario.refused
    for row in listed.rows.values():
        expected = Status.REJECTED if row in refused else Status.ACCEPTED
        if row in listed.unfit:
            expected = Status.RENDER_FAILED
        if words[row][0].status is not expected:
            yield f"I1 row {row} is {words[row][0].status}, and should be {expected}"


# --- I5


def _rates(end: End) -> Iterator[str]:
    scenario, traffic = end.scenario, end.traffic
    rate, requests = scenario.messages_per_second, scenario.requests_per_second
    for passed in (traffic.departures, traffic.arrivals):
        if requests is not None:
            yield from _window(requests, [(one.at, 1) for one in passed])
        if rate is not None and scenario.burst is None:
            yield from _window(rate, [(one.at, one.messages) for one in passed])
    if rate is not None and scenario.burst is not None:
        yield from _bucket(rate, scenario.burst, traffic.departures)


def _window(limit: float, passed: list[tuple[float, int]]) -> Iterator[str]:
    """In any window of a second, or of 1/limit where that is longer: the limit."""
    seconds, quota = max(1.0, 1 / limit), max(1, math.floor(limit))
    log: deque[tuple[float, int]] = deque()
    total = 0
    for at, amount in passed:
        log.append((at, amount))
        total += amount
        while at - log[0][0] >= seconds - DUST:
            total -= log.popleft()[1]
        if total > quota:
            yield f"I5 {total} within {seconds:g} s until {at:.3f} s: at most {quota}"
            return


def _bucket(limit: float, burst: int, departures: list[Passing]) -> Iterator[str]:
    """In any window of W seconds: limit * W + burst."""
    level, before = 0.0, 0.0
    for one in departures:
        level = max(0.0, level - (one.at - before) * limit) + one.messages
        before = one.at
        if level > burst + DUST * limit:
            yield f"I5 {level - burst:g} above the burst of {burst} at {before:.3f} s"
            return


# --- I6


def _bounds(end: End) -> Iterator[str]:
    traffic, most = end.traffic, RetryPolicy().max_faults
    batches, workers = len(traffic.bodies), end.scenario.workers
    settled = traffic.ends["answered"] + traffic.ends["refused"]
    # What was in doubt may be asked about once more in every start.
    again = batches * (end.starts - 1) if end.scenario.keyed else 0
    if settled > batches + again:
        yield f"I6 {settled} answers to {batches} batches, in {end.starts} starts"
    # While there is an outage faults are the provider's, not a batch's.
    faults = traffic.ends["fault"] - traffic.ends["outage"] * workers
    if faults > batches * most * end.starts:
        yield f"I6 {faults} faults of {batches} batches, in {end.starts} starts"
