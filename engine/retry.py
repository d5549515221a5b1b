"""This answer at this attempt: wait how long, give the batch up, or stop the run.

Pure. There is no clock here, and the random numbers are an argument; `deliver` does the
waiting.

How it works: the branch of `errors` that an error belongs to says whether the request
was accepted, and that alone decides whether it may be sent again.

    Throttled         surely not accepted   wait, everybody; as often as it takes
    Unavailable       surely not accepted   wait; `max_faults` attempts, then FAILED
    Unanswered        perhaps accepted      never again: IN_DOUBT
    BatchRejected     surely not accepted   never again: REJECTED
    AccountRejected   surely not accepted   stop the run

Rules: what a provider asks for is a lower bound. Chance makes a wait longer, never
shorter, and a wait longer than `max_wait` stops the run instead: a process that sleeps
for an hour is worse than one that says when to come back.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import (
    AccountRejected,
    BatchRejected,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.outcome import Status

#: A wait that the provider asked for grows by up to this share, so that the accounts
#: and machines it told the same do not all return in the same instant.
_LATER = 0.05

#: 2**30 times any base is beyond any cap; without a bound, 2.0**1024 overflows.
_MOST_DOUBLINGS = 30


@dataclass(frozen=True, slots=True)
class Retry:
    """Send the same batch again, later.

    Attributes:
        wait: seconds from now, at least.
        pause_all: whether every worker of the account waits, or this batch alone.
    """

    wait: float
    pause_all: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Settle every message of the batch; the run goes on.

    Attributes:
        status: what became of the messages: FAILED, IN_DOUBT or REJECTED.
    """

    status: Status


@dataclass(frozen=True, slots=True)
class StopRun:
    """Stop the run so that it can be resumed; the batch stays unsent.

    Attributes:
        retry_after: seconds from now before which resuming is useless, or None when
            it is not a question of time.
    """

    retry_after: float | None


Decision = Retry | GiveUp | StopRun


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient a run is. The defaults suit a campaign: nobody waits at a screen.

    Attributes:
        base: seconds; the longest first wait after a throttle that names no time.
        transient_base: seconds; the longest first wait after a fault.
        cap: seconds; the longest wait that is our own choice.
        max_faults: attempts of one batch that may end in `Unavailable`.
        max_wait: seconds; a provider that asks for more stops the run.

    Raises:
        ValueError: a base is not above 0 or exceeds `cap`, or no attempt is allowed.

    Source:
        AWS SDKs' standard retry mode, defaults of 2026-11-10: base 1 s for throttling,
        cap 20 s, full jitter. Their transient base is 50 ms, for calls of
        milliseconds; ours is five times that, so that six attempts outlast the restart
        of a load balancer (up to 7.75 s). Six attempts and the limit of 15 minutes are
        ours.
    """

    base: float = 1.0
    transient_base: float = 0.25
    cap: float = 20.0
    max_faults: int = 6
    max_wait: float = 900.0

    def __post_init__(self) -> None:
        for name in ("base", "transient_base"):
            seconds = getattr(self, name)
            if not 0 < seconds <= self.cap:
                raise ValueError(
                    f"{name} = {seconds}: must be above 0 and at most cap = {self.cap}"
                )
        if self.max_faults < 1:
            raise ValueError(f"max_faults = {self.max_faults}: must be at least 1")

    def after(
        self,
        error: ProviderError,
        *,
        faults: int,
        throttles: int,
        random: Callable[[], float],
        keyed: bool = False,
    ) -> Decision:
        """Decide what becomes of a batch whose request ended in `error`.

        Args:
            error: how the request ended.
            faults: how often this batch ended in `Unavailable` before; 0 at first.
            throttles: how many throttles in a row came before this one; 0 at first.
            random: gives a number in [0, 1); called once at most.
            keyed: whether the provider takes the same request with the same key for
                the one it already has.

        Returns:
            A wait, an outcome for all messages of the batch, or the end of the run.

        Raises:
            TypeError: `error` is none of the five ways in which a request can end.

        Source:
            Full jitter: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
            Blog, 2015. Retry-After as a lower bound: RFC 9110, 10.2.3.
        """
        match error:
            case Throttled():
                return self._throttled(error, throttles, random)
            case Unavailable():
                return self._unavailable(error, faults, random)
            case Unanswered():
                return self._unanswered(faults, random, keyed=keyed)
            case BatchRejected():
                return GiveUp(Status.REJECTED)
            case AccountRejected():
                return StopRun(None)
            case _:
                raise TypeError(f"{type(error).__name__}: not an end of a request")

    def _throttled(
        self, error: Throttled, throttles: int, random: Callable[[], float]
    ) -> Decision:
        # Nothing bounds the number of these waits, so none may be near 0: a chance of
        # 0.0, or `Retry-After: 0`, would make a loop as fast as the network.
        least = self.base / 2
        if error.retry_after is None:
            most = self._ceiling(self.base, throttles)
            return Retry(least + (most - least) * random(), pause_all=True)
        if error.retry_after > self.max_wait:
            return StopRun(error.retry_after)
        asked = max(error.retry_after, least)
        return Retry(asked + asked * _LATER * random(), pause_all=True)

    def _unavailable(
        self, error: Unavailable, faults: int, random: Callable[[], float]
    ) -> Decision:
        if error.retry_after is not None and error.retry_after > self.max_wait:
            return StopRun(error.retry_after)
        if faults + 1 >= self.max_faults:
            return GiveUp(Status.FAILED)
        if error.retry_after is None:
            most = self._ceiling(self.transient_base, faults)
            return Retry(most * random(), pause_all=False)
        # A Retry-After speaks of the service, not of this batch: everybody waits.
        asked = max(error.retry_after, self.transient_base / 2)
        return Retry(asked + asked * _LATER * random(), pause_all=True)

    def _unanswered(
        self, faults: int, random: Callable[[], float], *, keyed: bool
    ) -> Decision:
        """Ask again where a key makes that harmless; else nobody can know."""
        if not keyed or faults + 1 >= self.max_faults:
            return GiveUp(Status.IN_DOUBT)
        most = self._ceiling(self.transient_base, faults)
        return Retry(most * random(), pause_all=False)

    def _ceiling(self, base: float, doublings: int) -> float:
        return min(self.cap, base * 2.0 ** min(doublings, _MOST_DOUBLINGS))


@dataclass(slots=True)
class Breaker:
    """When a provider fails everybody: let one ask now and then, and give up in time.

    Pure: the clock and the lots are arguments. A fault is a request that ended in
    `Unavailable` or `Unanswered`; anything else, a 429 included, is an answer. While
    the breaker is open, faults are the provider's and not a batch's. Those that come
    before a wait is over were under way when it began: they say the same once more.

    Attributes:
        straight: faults without an answer between them that open it.
        share: of all requests, what may be faults before it opens; a first few aside.
        base: seconds; the first wait, doubled by each fault after its end.
        cap: seconds; the longest wait.
        patience: seconds without an answer after which the run stops.
        first_patience: the same before the first answer ever: an address that is
            wrong is not worth an hour.

    Source:
        The share of a tenth: "Handling Overload", Site Reliability Engineering, 2016.
        The other numbers are ours: five faults in a row are no accident, five minutes
        find an end of most outages soon enough.
    """

    straight: int = 5
    share: float = 0.1
    base: float = 1.0
    cap: float = 300.0
    patience: float = 3600.0
    first_patience: float = 30.0
    _requests: int = 0
    _faults: int = 0
    _in_a_row: int = 0
    _since: float | None = None
    _until: float = -math.inf
    _answered: bool = False

    @property
    def is_open(self) -> bool:
        """Whether faults are the provider's: see the class."""
        return self._in_a_row >= self.straight

    def answered(self) -> None:
        """Count a request that was answered, well or badly."""
        self._requests += 1
        self._answered = True
        self._in_a_row = 0
        self._since = None

    def failed(self, now: float, random: Callable[[], float]) -> float | None:
        """Count a fault.

        Args:
            now: seconds on a monotonic clock.
            random: gives a number in [0, 1).

        Returns:
            Seconds for which nobody shall send, and infinity if the run shall stop;
            None if there is no reason for either, or nobody is to send already.
        """
        self._requests += 1
        self._faults += 1
        if now < self._until:
            return None
        self._in_a_row += 1
        if self._since is None:
            self._since = now
        if self._faults > self.straight + self.share * self._requests:
            self._in_a_row = max(self._in_a_row, self.straight)
        if not self.is_open:
            return None
        first = min(self.first_patience, self.patience)
        if now - self._since >= (self.patience if self._answered else first):
            return math.inf
        doublings = min(self._in_a_row - self.straight, _MOST_DOUBLINGS)
        most = min(self.cap, self.base * 2.0**doublings)
        wait = most / 2 + most / 2 * random()
        self._until = now + wait
        return wait
