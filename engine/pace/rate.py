"""One limit: how much has departed, and when the next may.

Nothing here waits in line but `TrioLimiter.acquire`; `line` does the waiting. All
records are written at departure. What is about to depart is an argument, `pending`.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import trio
from aiolimiter import AsyncLimiter

#: The log's window is this much longer than the promised one. Two requests that are on
#: the wire 1 s apart arrive closer when the second has the faster way; 10 ms of jitter
#: are covered. It costs 1 % of the rate.
_MARGIN = 1.01

#: Says that a request is on the wire.
Sent = Callable[[], None]

#: Seconds' worth of the rate that the spacing bucket holds beyond one batch. With
#: exactly one batch, whatever a sleep overruns is lost for good (asked for 50 000/s,
#: 48 400 came); the log keeps the promise, so the slack costs nothing but evenness.
SLACK = 0.05

#: Added to computed waits, seconds.
DUST = 1e-6


class Clock:
    """Trio's time, or a slower one, in which limits let less depart.

    Attributes:
        speed: seconds of this clock in one of trio's; 1.0 at first.
    """

    def __init__(self) -> None:
        self.speed = 1.0
        self._own = self._trio = 0.0

    def time(self) -> float:
        """Return the time. It is what aiolimiter asks of an event loop."""
        return self._own + (trio.current_time() - self._trio) * self.speed

    def run_at(self, speed: float) -> None:
        """Run at another speed from now on."""
        if speed != self.speed:
            self._own, self._trio = self.time(), trio.current_time()
            self.speed = speed


class TrioLimiter(AsyncLimiter):
    """aiolimiter's leaky bucket on trio's clock, served in the order of the calls.

    As shipped it needs asyncio, and lets small amounts overtake large ones without end.
    Kept are its bucket and its arithmetic. Replaced are the clock, through the private
    property `_loop`, and the queue; the private `_level` tells how long to wait.

    In any window of W seconds of its clock at most `max_rate * (1 + W / time_period)`
    passes.
    """

    __slots__ = ("_clock", "_queue", "_run")

    def __init__(
        self, max_rate: float, time_period: float = 60, clock: Clock | None = None
    ) -> None:
        super().__init__(max_rate, time_period)
        self._clock = clock or Clock()
        self._queue = trio.StrictFIFOLock()
        self._run: trio.lowlevel.TrioToken | None = None

    @property
    def _loop(self) -> Any:
        return self._clock

    async def acquire(self, amount: float = 1) -> None:
        """Wait for room in the bucket and fill it; with room there is no checkpoint.

        Raises:
            ValueError: `amount` is below 0 or above `max_rate`.
            RuntimeError: the bucket has been used in another `trio.run`.
        """
        if not 0 <= amount <= self.max_rate:
            raise ValueError(f"amount = {amount}: must be within 0 and {self.max_rate}")
        self._run = same_run(self._run)
        if self._queue.locked() or self.seconds_until(amount):
            async with self._queue:
                while seconds := self.seconds_until(amount):  # noqa: ASYNC110  time alone empties it
                    await trio.sleep(seconds)
                # There is room, so this returns at once and asks for no event loop.
                await super().acquire(amount)
        else:
            await super().acquire(amount)

    def seconds_until(
        self, amount: float, *, pending: float = 0, lead: float = 0
    ) -> float:
        """Say how long `amount` must wait; 0.0 if there is room.

        Args:
            amount: what would be acquired.
            pending: what others are about to acquire first.
            lead: seconds from now at which the room is needed.

        Returns:
            Seconds, not of our clock but of trio's; infinite if `pending` has to be
            acquired first, however long that takes.
        """
        rate = self.max_rate / self.time_period * self._clock.speed
        needed = amount + pending - lead * rate
        if needed > self.max_rate:
            return math.inf
        if self.has_capacity(needed):
            return 0.0
        return max(0.0, (self._level + needed - self.max_rate) / rate) + DUST

    def fill(self) -> None:
        """Fill the bucket to the brim, as if its whole capacity had just been used."""
        self.has_capacity(0)  # brings its clock to now
        self._level = self.max_rate


class _Window:
    """The departures of the last window: never more than the quota in any of them."""

    def __init__(self, limit: float, clock: Clock) -> None:
        self._clock = clock
        self.quota = max(1, math.floor(limit))
        self._seconds = max(1.0, 1.0 / limit) * _MARGIN
        self._departures: deque[tuple[float, int]] = deque()
        self._total = 0
        self._leaving = 0

    def seconds_until(self, amount: int, *, pending: int = 0, lead: float = 0) -> float:
        """Say how long `amount` must wait; as `TrioLimiter.seconds_until`."""
        now = self._clock.time()
        log = self._departures
        while log and log[0][0] + self._seconds <= now:
            self._total -= log.popleft()[1]
        now_at_once = amount + pending + self._leaving
        if now_at_once > self.quota:
            return math.inf
        short = self._total + now_at_once - self.quota
        if short <= 0:
            return 0.0
        room_at = now
        for departed_at, departed in log:
            room_at = departed_at + self._seconds
            short -= departed
            if short <= 0:
                break
        wait = (room_at - now) / self._clock.speed - lead
        return wait + DUST if wait > 0 else 0.0

    def depart(self, amount: int) -> Sent:
        """Count a departure as of now, for as long as it takes; return what ends it.

        What is on its way to the wire may arrive at any later moment.
        """
        self._leaving += amount
        return partial(self._sent, amount)

    def _sent(self, amount: int) -> None:
        self._leaving -= amount
        self._departures.append((self._clock.time(), amount))
        self._total += amount


class Rate:
    """One limit, of messages or of requests, as far as its clock is trio's.

    Attributes:
        limit: per second of its clock.
        seconds: of its clock, in which all of it may be used up at once.
    """

    def __init__(
        self, limit: float, clock: Clock, *, largest: int, burst: int | None = None
    ) -> None:
        self.limit = limit
        self._window = _Window(limit, clock) if burst is None else None
        capacity = burst if burst is not None else largest + limit * SLACK
        self._bucket = TrioLimiter(capacity, capacity / limit, clock)
        self.seconds = max(1.0, 1.0 / limit) * _MARGIN

    def seconds_until(self, amount: int, *, pending: int, lead: float) -> float:
        """Say how long `amount` must wait; as `TrioLimiter.seconds_until`."""
        spaced = self._bucket.seconds_until(amount, pending=pending, lead=lead)
        if self._window is None:
            return spaced
        return max(
            spaced, self._window.seconds_until(amount, pending=pending, lead=lead)
        )

    async def depart(self, amounts: Sequence[int]) -> list[Sent]:
        """Put departures on record. There is room, so there is no checkpoint.

        Returns:
            For each what is to be called once, when the request is on the wire.
        """
        await self._bucket.acquire(sum(amounts))
        if self._window is None:
            return [_nothing] * len(amounts)
        return [*map(self._window.depart, amounts)]

    def fill(self) -> None:
        """Count everything as used up to now."""
        self._bucket.fill()
        if self._window is not None:
            self._window.depart(self._window.quota)()


def same_run(run: trio.lowlevel.TrioToken | None) -> trio.lowlevel.TrioToken:
    """Return the token of this `trio.run`, which must be `run` if there is one.

    Without this check, times of the last run's clock stall the next one: both start at
    an arbitrary point.
    """
    token = trio.lowlevel.current_trio_token()
    if run is not None and run is not token:
        raise RuntimeError("a pace belongs to one trio.run: make a new one")
    return token


def _nothing() -> None:
    """Do nothing: a burst is a promise about the bucket alone."""
