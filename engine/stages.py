"""Where the time of a run went, stage by stage, and what bounded it.

Pure. Each stage is timed as it is felt: plan, read and results by the clock; render and
encode in seconds of a core, of all processes together; the journal while its writer is
at work; the pace while the first in line waits for a limit or a pause; the provider as
long as a worker waits for it on average. Stages overlap, so they do not add up.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import itemgetter
from time import perf_counter


class Stage(StrEnum):
    """What a run does, in the order in which a row meets it."""

    PLAN = "plan"
    READ = "read"
    RENDER = "render"
    ENCODE = "encode"
    PACE = "pace"
    PROVIDER = "provider"
    JOURNAL = "journal"
    RESULTS = "results"


@dataclass(slots=True)
class Spent:
    """Seconds by stage, as they add up."""

    seconds: dict[Stage, float] = field(default_factory=lambda: dict.fromkeys(Stage, 0))

    def add(self, stage: Stage, seconds: float) -> None:
        """Add to a stage."""
        self.seconds[stage] += seconds

    @contextmanager
    def on(self, stage: Stage) -> Iterator[None]:
        """Add what passes inside, by the clock."""
        began = perf_counter()
        try:
            yield
        finally:
            self.add(stage, perf_counter() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """How the messages were sent.

    Attributes:
        seconds: by the clock, from the first worker's start to the last one's end.
        cpu: seconds of a core that this process took meanwhile.
        workers: requests in flight at most.
        processes: how many made and sent messages.
        requests: that were answered.
        limited: seconds in which the first in line waited for a limit.
        throttled: seconds of pauses after a 429.
        failing: seconds of pauses because the provider did not answer, or with a fault.
        canary: seconds of the wait for a canary.
        limits: the limits, as people write them: `500 messages/s`; none if empty.
    """

    seconds: float
    cpu: float
    workers: int
    processes: int
    requests: int
    limited: float
    throttled: float
    failing: float
    canary: float
    limits: str


@dataclass(frozen=True, slots=True)
class Bound:
    """What a run waited for most.

    Attributes:
        told: a sentence.
        advice: what makes it faster, a clause; empty where nothing would.
    """

    told: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.told}; {self.advice}" if self.advice else self.told


#: Shares of the time from which a stage is what bounds a run. A core that is busy makes
#: every other wait look long, so it is asked first.
BUSY, MOST = 0.8, 0.4


def bound(spent: Spent, sending: Sending, *, cores: int | None = None) -> Bound:
    """Say what bounded a run.

    Args:
        spent: seconds by stage.
        sending: the part between the plan and the results.
        cores: of this machine; None: as many as there are.
    """
    seconds = spent.seconds
    whole = seconds[Stage.PLAN] + sending.seconds + seconds[Stage.RESULTS]
    if not whole:
        return Bound("there was nothing to do")
    if seconds[Stage.PLAN] > whole / 2:
        return Bound(
            f"{_share(seconds[Stage.PLAN], whole)} of the time went into reading and "
            "checking the list",
            "a list in Parquet is read fastest",
        )
    if sending.seconds < whole / 2:
        told = _share(seconds[Stage.RESULTS], whole)
        return Bound(f"{told} of the time went into writing the results")
    if sending.cpu >= BUSY * sending.seconds and not _waits(sending):
        return _processor(seconds, sending, cores or os.cpu_count() or 1)
    return _longest(seconds, sending)


def _longest(seconds: dict[Stage, float], sending: Sending) -> Bound:
    """Say what was waited for most, where the processor is not what bounded a run."""
    if not sending.limits:  # what it kept to was its own, made of 429s
        throttled = min(sending.seconds, sending.throttled + sending.limited)
        sending = replace(sending, throttled=throttled, limited=0.0)
    waits = [
        (sending.limited, _limit(sending)),
        (sending.throttled, _throttles(sending)),
        (sending.failing, _faults(sending)),
        (sending.canary, _canary(sending)),
        (seconds[Stage.JOURNAL], _journal(seconds, sending)),
    ]
    rest = sending.seconds - sending.cpu - sum(wait for wait, _ in waits)
    waits.append((seconds[Stage.PROVIDER], _provider(seconds, sending)))
    longest, told = max(waits, key=itemgetter(0))
    if longest >= MOST * sending.seconds:
        return told
    if rest >= MOST * sending.seconds:  # while most lanes had nothing to wait for
        return _few(rest, sending)
    return Bound(
        "no stage took much more than the others: "
        f"{_share(longest, sending.seconds)} at most"
    )


def _waits(sending: Sending) -> bool:
    waits = (sending.limited, sending.throttled, sending.failing, sending.canary)
    return max(waits) >= MOST * sending.seconds


def _processor(seconds: dict[Stage, float], sending: Sending, cores: int) -> Bound:
    making = seconds[Stage.RENDER] + seconds[Stage.ENCODE]
    told = (
        f"the processor was busy {_share(sending.cpu, sending.seconds)} of the time, "
        f"{_share(making, sending.cpu)} of that with making messages"
    )
    if sending.processes == 1 and cores > 1:
        return Bound(told, f"use more of its {cores} cores: --processes {cores}")
    return Bound(told, "a faster machine would send faster")


def _limit(sending: Sending) -> Bound:
    return Bound(
        f"{_share(sending.limited, sending.seconds)} of the time went by waiting for "
        f"the account's limit of {sending.limits}",
        "if the provider allows more, raise it in [limits]",
    )


def _throttles(sending: Sending) -> Bound:
    return Bound(
        f"{_share(sending.throttled, sending.seconds)} of the time nobody might send: "
        "the provider had answered 429 (too many requests)",
        "set [limits] to what the account is allowed, or ask for more",
    )


def _faults(sending: Sending) -> Bound:
    return Bound(
        f"{_share(sending.failing, sending.seconds)} of the time nobody might send: "
        "the provider did not answer, or with an error of its own",
        "see whether its address is right and its service is up",
    )


def _canary(sending: Sending) -> Bound:
    return Bound(
        f"{_share(sending.canary, sending.seconds)} of the time went by waiting for "
        "what came of the canary",
        "[canary] wait says how long",
    )


def _provider(seconds: dict[Stage, float], sending: Sending) -> Bound:
    each = seconds[Stage.PROVIDER] * sending.workers / max(1, sending.requests)
    flight = f"{sending.workers} request{'s'[: sending.workers != 1]} in flight"
    return Bound(
        f"{_share(seconds[Stage.PROVIDER], sending.seconds)} of the time went by "
        f"waiting for the provider's answers, {each * 1000:,.0f} ms each with {flight}",
        f"have more in flight: [limits] workers = {2 * sending.workers}",
    )


def _few(rest: float, sending: Sending) -> Bound:
    return Bound(
        f"{_share(rest, sending.seconds)} of the time went by waiting for answers to a "
        f"few requests, of {sending.workers} that may be in flight",
        "see whether the provider's service is well",
    )


def _journal(seconds: dict[Stage, float], sending: Sending) -> Bound:
    return Bound(
        f"the disk was busy {_share(seconds[Stage.JOURNAL], sending.seconds)} of the "
        "time with the journal",
        "put --runs-dir on a faster disk",
    )


def _share(part: float, whole: float) -> str:
    return f"{min(1.0, part / whole) * 100 if whole else 0:.0f} %"
