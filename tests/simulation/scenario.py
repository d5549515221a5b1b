"""What a seed means: the list, the limits, the provider's moods and the crashes.

Every world draws a few kinds of faults and leaves the others out: that finds more than
all of them at once, which soon stops every run.
"""

import random
from dataclasses import dataclass, field, replace

from simulation.lists import frozen
from simulation.world import Crash, How

from engine.pace import largest_batch

#: What may happen to a request before it has been processed, while it is, and after.
BEFORE = ("refused", "reset_before", "timeout_before")
REFUSALS = (
    "429_seconds",
    "429_date",
    "429_none",
    "429_long",
    "503_retry_after",
    "503_bare",
    "500_before",
    "401",
)
AFTER = (
    "500_after",
    "timeout_after",
    "reset_after",
    "truncated",
    "garbage",
    "short",
    "long",
    "partial",
)
FAULTS = BEFORE + REFUSALS + AFTER
#: What may befall one message again and again.
CURSES = ("reset_before", "503_retry_after", "500_before", "timeout_after")

#: Seconds until the operator starts the run again; the last is beyond a key's life.
DELAYS = (0.0, 1.0, 60.0, 1900.0)
#: Starts that may meet faults and crashes; those after them must come to an end.
ROUGH_STARTS = 5

_ROWS = (6, 9, 9, 14, 14, 24, 40)
_MANY = (24, 40, 80)
_HOWS: tuple[How, ...] = ("kill", "power", "stop", "cut")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One world, as far as it is settled beforehand.

    Attributes:
        seed: of everything that is settled as it happens.
        rows: input rows.
        batch_size: messages of one request at most.
        chunk: rows that a worker takes at once.
        workers: requests in flight.
        patience: seconds without an answer after which a run stops.
        keyed: whether the provider knows keys.
        poison: rows for which the provider refuses the whole request.
        refused: rows that the provider rejects one by one.
        cursed: a row, and what befalls every request that carries it while the weather
            is rough; a firewall that dislikes one message acts so.
        most: messages of one request that the provider takes; None: as many as come.
        latency: seconds that a step of an exchange takes at most.
        faults: kinds of faults.
        rate: the share of requests that meet one.
        script: faults by the number of the request, instead of by chance.
        crashes: of the first starts, or None for one without.
        delays: before each start but the first; then the last again.
        files: whether every end of a start writes its results file.
        flies: whether as many requests leave at once as the limits let go.
        tick: answers are read together, at each multiple of so many seconds: then
            several connections are open for what leaves next. 0: each as it comes.
    """

    seed: int
    rows: int
    batch_size: int
    chunk: int
    workers: int = 2
    messages_per_second: float | None = None
    requests_per_second: float | None = None
    burst: int | None = None
    patience: float = 3600.0
    keyed: bool = False
    poison: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    cursed: tuple[int, str] | None = None
    most: int | None = None
    latency: float = 0.2
    faults: tuple[str, ...] = ()
    rate: float = 0.0
    script: dict[int, str] = field(default_factory=dict)
    crashes: tuple[Crash | None, ...] = ()
    delays: tuple[float, ...] = (1.0,)
    files: bool = False
    flies: bool = False
    tick: float = 0.0


#: One seed of so many flies.
_FLIGHTS = 4


def draw(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    lots = random.Random(f"scenario {seed}")
    flies = seed % _FLIGHTS == 0
    rows = lots.choice(_MANY if flies else _ROWS)
    mailable = sorted(frozen(rows).rows.values())
    rate = lots.choice((None, None, 5.0, 10.0, 50.0, 0.5))
    size = lots.randint(1, min(8, rows))
    burst = lots.randint(size, 2 * size) if rate and lots.random() < 1 / 4 else None
    size = largest_batch(size, messages_per_second=rate, burst=burst)
    faults = tuple(lots.sample(FAULTS, lots.randint(1, 6)))
    some = lots.random()
    curse = (lots.choice(mailable), lots.choice(CURSES))
    scenario = Scenario(
        seed=seed,
        rows=rows,
        batch_size=size,
        chunk=size * lots.choice((1, 1, 2, 8)),
        workers=lots.choice((1, 2, 3, 4, 8)),
        messages_per_second=rate,
        requests_per_second=lots.choice((None, None, None, 0.7, 2.0, 10.0)),
        burst=burst,
        patience=lots.choice((60.0, 600.0, 3600.0)),
        keyed=lots.random() < 1 / 2,
        poison=frozenset(lots.sample(mailable, lots.choice((0, 0, 0, 1, 2)))),
        refused=frozenset(lots.sample(mailable, lots.choice((0, 0, 1, 3)))),
        cursed=curse if lots.random() < 1 / 5 else None,
        most=lots.randint(1, size) if some < 1 / 8 else None,
        latency=lots.choice((0.01, 0.2, 3.0)),
        faults=faults,
        rate=lots.choice((0.0, 0.05, 0.2, 0.5, 0.9)),
        crashes=tuple(_crash(lots) for _ in range(ROUGH_STARTS)),
        delays=tuple(lots.choice(DELAYS) for _ in range(ROUGH_STARTS)),
        files=lots.random() < 1 / 10,
    )
    if not flies:
        return scenario
    few = largest_batch(min(size, 2), messages_per_second=rate, burst=None)
    few = lots.choice((1, 1, few))
    free = lots.random() < 2 / 3
    # Most requests find their connection open, since not all go wrong.
    return replace(
        scenario,
        flies=True,
        burst=None,
        batch_size=few,
        chunk=few * lots.choice((4, 8, 16)),
        workers=lots.choice((4, 8, 16)),
        messages_per_second=None if free else rate,
        requests_per_second=None if free else scenario.requests_per_second,
        tick=lots.choice((0.0, 1.0, 1.0, 5.0)),
        most=None,
        rate=lots.choice((0.0, 0.05, 0.2)),
    )


def _crash(lots: random.Random) -> Crash | None:
    if lots.random() < 1 / 3:
        return None
    how = lots.choices(_HOWS, (45, 25, 20, 10))[0]
    return Crash(lots.randint(1, lots.choice((20, 60, 200))), how)
