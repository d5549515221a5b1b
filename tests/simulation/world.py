"""Time, chance and death: what everything else in a simulated world hangs on.

How it works: whatever has an effect outside of the process asks `World.event` first. It
counts, and at the event for which a crash is planned it takes an image of the files and
raises `Dead`; after that every other event raises it too, so nothing later has an
effect. That is kill -9, to the letter. A wait is an event as well: the clock, which
jumps whenever all tasks sleep, reports each jump.

Rules: one source of chance, no threads, no real time. The seed is then the whole world,
and any failure can be played again.
"""

import gc
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import trio
from trio.testing import MockClock

#: When a simulated world begins.
EPOCH = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
#: Events of one start at most: a world of forty rows needs some hundreds.
MOST_EVENTS = 20_000

How = Literal["kill", "power", "stop", "cut"]


class Dead(BaseException):
    """The process is gone. Not an `Exception`: nobody shall survive it."""


class Stuck(Exception):
    """A start does not come to an end."""


@dataclass(frozen=True, slots=True)
class Crash:
    """What befalls one start.

    Attributes:
        at: the number of the event, 1 for the first of the start.
        how: kill -9; a power cut; one signal, which lets requests under way end; two
            signals, which cut them.
    """

    at: int
    how: How


def _clock(wait: Callable[[], None]) -> MockClock:
    """Make a clock that jumps whenever all tasks sleep, and tells of it.

    By its own attributes, for trio lets nobody subclass it. The original also asks the
    real clock for the time at every look, which takes a while.
    """
    clock = MockClock(autojump_threshold=0)
    time = 0.0

    def jump(seconds: float) -> None:
        nonlocal time
        wait()
        time += seconds

    clock.jump = jump  # type: ignore[method-assign]
    clock.current_time = lambda: time  # type: ignore[method-assign]
    return clock


class World:
    """One seed's world, over all starts of its run.

    Attributes:
        random: the only source of chance.
        trace: what happened, a line per event.
        violations: promises that were seen broken while it happened.
        events: of the present start.
        dead: whether the present start has died.
        take_image: called at death with how it came.
        stop: called for an orderly stop, with whether it is a second signal.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.trace: list[str] = []
        self.violations: list[str] = []
        self.events = 0
        self.dead = False
        self.take_image: Callable[[How], None] = lambda _: None
        self.stop: Callable[[bool], None] = lambda _: None
        self._crash: Crash | None = None
        self._base = 0.0
        self._clock = _clock(self._wait)
        self._died = trio.Event()

    # --- time

    def now(self) -> float:
        """Return seconds since the world began, all starts and gaps included."""
        return self._base + self._clock.current_time()

    def utc(self) -> datetime:
        """Return the same as a moment."""
        return EPOCH + timedelta(seconds=self.now())

    def begin(self, crash: Crash | None, *, after: float) -> MockClock:
        """Begin a start `after` seconds of nobody being there; return its clock."""
        self._base = self.now() + after
        self._clock = _clock(self._wait)
        self._crash, self.events, self.dead = crash, 0, False
        self._died = trio.Event()
        self.log(f"start after {after:g}, {crash}")
        return self._clock

    async def pause(self, most: float) -> None:
        """Take up to `most` seconds; half of the time, none at all."""
        if self.random.random() < 1 / 2:
            await trio.sleep(self.random.uniform(0, most))

    # --- events

    def log(self, what: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.now():.6f} {what}")

    def violated(self, what: str) -> None:
        """Put a broken promise on record."""
        self.log(f"VIOLATED {what}")
        self.violations.append(what)

    def event(self, what: str) -> None:
        """Let something happen, unless the process is dead, or dies now.

        Raises:
            Dead: it is.
            Stuck: there is no end to it.
        """
        if (how := self.due(what)) is not None:
            self.die(how)
            raise Dead

    def due(self, what: str) -> How | None:
        """Count an event, and return how the process is to die at it, if it is.

        Raises:
            Dead: it is dead.
            Stuck: there is no end to it.
        """
        if self.dead:
            raise Dead
        self.events += 1
        if self.events > MOST_EVENTS:
            raise Stuck(f"more than {MOST_EVENTS} events")
        self.log(what)
        crash = self._crash
        if crash is None or crash.at != self.events:
            return None
        if crash.how in {"stop", "cut"}:
            self.stop(crash.how == "cut")
            return None
        return crash.how

    def die(self, how: How) -> None:
        """Be dead from now on."""
        self.log(f"dies: {how}")
        self.take_image(how)
        self.dead = True
        self._died.set()

    def _wait(self) -> None:
        # The run loop is calling: nothing may be raised here.
        if self.dead or self.events >= MOST_EVENTS:
            return
        if (how := self.due("wait")) is not None:
            self.die(how)

    async def reap(self) -> None:
        """Raise `Dead` once the process has died in a wait."""
        await self._died.wait()
        raise Dead


@contextmanager
def determined(seed: int) -> Iterator[None]:
    """Make trio's order of tasks, and the chance that nobody injects, follow a seed.

    The switch and the generator are private names of trio, the same that its plugin for
    Hypothesis uses. `test_simulation` pins them.
    """
    # The collector runs when it likes, and what it finalises may act.
    collects = gc.isenabled()
    gc.disable()
    run, state = trio._core._run, random.getstate()  # type: ignore[attr-defined]
    switch, lots = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = switch
        run._r.setstate(lots)
        random.setstate(state)
        if collects:
            gc.enable()
