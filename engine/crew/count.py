"""In how many processes a run makes and sends its messages, and why.

Pure, but for the number of cores. A process costs half a second of a core to start and
some megabytes to keep, so there is one only where it has something to do.
"""

import math
import os
import sys
from dataclasses import dataclass
from typing import Literal

from engine.planning import Plan

Asked = int | Literal["auto"]
AUTO: Literal["auto"] = "auto"

#: Seconds of a core for a message, and for a request on top, roughly; and what of that
#: stays with the run's own process, however many others there are: 5 of 16 us a message
#: in batches of 1000, 280 of 320 one by one (`process_time` while sending 400 000
#: and 40 000 messages, two busy cores, 2026-11-28).
PER_MESSAGE, PER_REQUEST = 15e-6, 300e-6
OWN_MESSAGE, OWN_REQUEST = 4.5e-6, 270e-6
#: Seconds of work that are worth another process.
WORTH = 5.0
#: How much of a core may be in use before a second one is of use.
ENOUGH = 0.6


@dataclass(frozen=True, slots=True)
class Processes:
    """A choice.

    Attributes:
        count: how many make and send; 1: the run's own.
        why: what speaks for it, in words for the user.
    """

    count: int
    why: str


#: No process but the run's own.
INLINE = Processes(1, "as asked")


def choose(asked: Asked, plan: Plan) -> Processes:
    """Choose for a run.

    Args:
        asked: a number, or `auto` for what the run can use.
        plan: the run.

    Raises:
        ValueError: the number is below 1.
    """
    if asked != AUTO and asked < 1:
        raise ValueError(f"processes = {asked}: must be at least 1")
    if asked != AUTO:
        return Processes(asked, "as asked")
    cores = _cores()
    workers = plan.campaign.limits.workers
    most = min(cores, workers) if sys.executable else 1
    if most == 1:
        only = "core" if cores == 1 else "request in flight"
        return Processes(1, f"there is one {only}")
    size = plan.manifest.batch_size
    most = min(most, _most_useful(size))
    if most == 1:
        told = f"{size} message{'s'[: size != 1]} a request"
        return Processes(1, f"with {told} another process would have little to do")
    share, rate = _share(plan)
    if share <= ENOUGH:
        return Processes(1, f"{rate} take {max(1, math.ceil(share * 100))} % of a core")
    messages, requests = plan.manifest.mailable, plan.requests
    seconds = messages * PER_MESSAGE + requests * PER_REQUEST
    if seconds < WORTH:
        return Processes(1, f"the list takes {math.ceil(seconds)} s of a core")
    useful = min(most, max(2, math.ceil(share / ENOUGH))) if share < math.inf else most
    return Processes(useful, f"there are {cores} cores, and work for {useful}")


def _most_useful(size: int) -> int:
    """Say how many processes the run's own can keep busy."""
    whole = PER_MESSAGE * size + PER_REQUEST
    return max(1, int(whole / (OWN_MESSAGE * size + OWN_REQUEST)))


def _share(plan: Plan) -> tuple[float, str]:
    """Say how many cores the limits let a run use, and which limit says so."""
    limits, size = plan.campaign.limits, plan.manifest.batch_size
    one = PER_MESSAGE + PER_REQUEST / size
    shares = [
        (rate * cost, f"{rate:g} {unit}/s")
        for rate, cost, unit in (
            (limits.messages_per_second, one, "messages"),
            (limits.requests_per_second, one * size, "requests"),
        )
        if rate is not None
    ]
    return min(shares, default=(math.inf, ""))


def _cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
