"""A small world, and a crash at every one of its events.

Six rows in batches of two, two workers, three requests and what comes back from them:
small enough that a first start can be killed at each of its events, in each way, with
and without keys and faults, and be taken up again soon or when every key has expired.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from simulation.play import play
from simulation.scenario import Scenario
from simulation.world import Crash, How

#: What befalls the first requests: one of each kind that a run must tell apart.
_SCRIPT = {
    1: "429_none",
    2: "timeout_after",
    3: "reset_before",
    4: "500_after",
    5: "503_retry_after",
}
_HOWS: tuple[How, ...] = ("kill", "power")
#: Seconds until the next start: soon, and beyond a key's life.
_DELAYS = (1.0, 1900.0)


def bases() -> Iterator[Scenario]:
    """Yield the worlds as they are before anything crashes in them."""
    for keyed in (False, True):
        for script in ({}, _SCRIPT):
            yield Scenario(
                seed=len(script) + keyed,
                rows=6,
                batch_size=2,
                chunk=2,
                keyed=keyed,
                script=script,
            )


def crashes(base: Scenario) -> Iterator[Scenario]:
    """Yield a world with a crash at each event of its first start."""
    for at in range(1, play(base).events + 1):
        for how in _HOWS:
            for delay in _DELAYS:
                yield _crashed(base, Crash(at, how), delay)


def name(scenario: Scenario) -> str:
    """Describe a world in the words that `find` understands."""
    (crash, *_), (delay, *_) = scenario.crashes, scenario.delays
    assert crash is not None
    keys = "keyed" if scenario.keyed else "keyless"
    faults = "faults" if scenario.script else "well"
    return f"{keys}/{faults}/{crash.how}/{crash.at}/{delay:g}"


def all_worlds() -> Iterator[Scenario]:
    """Yield every world that crashes."""
    for base in bases():
        yield from crashes(base)


def find(wanted: str) -> Scenario:
    """Return the world of a name."""
    keys, faults, how, at, delay = wanted.split("/")
    for base in bases():
        if base.keyed is (keys == "keyed") and bool(base.script) is (faults != "well"):
            crash = Crash(int(at), cast("How", how))
            return _crashed(base, crash, float(delay))
    raise ValueError(f"{wanted}: there is no such world")


def _crashed(base: Scenario, crash: Crash, delay: float) -> Scenario:
    return replace(base, crashes=(crash, None, None), delays=(delay,))
