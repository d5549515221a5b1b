"""What may depart: the limits of an account, and how much of them is in use.

How it works: multiplicative decrease, additive increase. A storm of 429s cuts the speed
to 0.7 of what it was; every second in which that speed was made use of adds a little,
up to the user's limits. All limits keep their records on one clock, and that clock
runs at the speed. It never outruns trio's, so whatever a limit promises at full speed
it keeps at any other.

Where the user named no limit, a storm makes one: the requests/s that departed in the
second before, times 0.7. It rises in the same way, beyond that rate too, and is lifted
when it is twice what is in use: a provider that throttled once binds nobody for ever.
"""

import math
from collections.abc import Sequence

import trio

from engine.pace.rate import SLACK, Clock, Rate, Sent

#: The speed after a storm, of what it was before.
#: Source: RFC 9438 section 4.6, and the adaptive retry mode of the AWS SDKs.
_CUT = 0.7

#: What a second adds, of the full speed: ten good ones make up for one storm. Ours.
_RISE = 0.03

#: A speed is in use if at least this share of it departs.
#: Source: AIMDLimit of Netflix's concurrency-limits, which rises from half in use.
_IN_USE = 0.5

#: No storm cuts deeper. Below, the pauses that a provider asks for do more than a rate,
#: and a small limit would keep a run waiting long after the storm.
_LEAST_SPEED = 0.1
#: Requests/s; the same where the user named no limit. Source: the AWS SDKs, as above.
_LEAST_REQUESTS = 0.5

#: Seconds over which the use is measured, at least.
_WINDOW = 1.0


class Allowance:
    """All limits of one account together; see `Pace` for the arguments."""

    def __init__(
        self,
        *,
        messages_per_second: float | None,
        requests_per_second: float | None,
        burst: int | None,
        batch_size: int,
    ) -> None:
        self._clock = Clock()
        self._messages = self._requests = None
        if messages_per_second is not None:
            self._messages = Rate(
                messages_per_second, self._clock, largest=batch_size, burst=burst
            )
        if requests_per_second is not None:
            self._requests = Rate(requests_per_second, self._clock, largest=1)
        self._named = self._messages is not None or self._requests is not None
        self._storm_rate = 1.0  # requests/s; means nothing if a limit is named
        self._use = _Use()

    @property
    def factor(self) -> float:
        """What the limits are multiplied with; 1.0 if there are none."""
        return self._clock.speed

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing holds anybody back."""
        return self._messages is None and self._requests is None

    def fill(self) -> float:
        """Count all limits as just used up; return for how many seconds they are."""
        seconds = 0.0
        for rate in (self._messages, self._requests):
            if rate is not None:
                rate.fill()
                seconds = max(seconds, rate.seconds)
        return seconds

    def seconds_until(
        self, messages: int, *, pending: tuple[int, int] = (0, 0), lead: float = 0.0
    ) -> float:
        """Say how long a request must wait; as `TrioLimiter.seconds_until`.

        Args:
            messages: how many it carries.
            pending: messages and requests that are about to depart first.
            lead: seconds from now at which the room is needed.
        """
        wait = 0.0
        if self._messages is not None:
            wait = self._messages.seconds_until(messages, pending=pending[0], lead=lead)
        if self._requests is not None:
            more = self._requests.seconds_until(1, pending=pending[1], lead=lead)
            wait = max(wait, more)
        return wait

    async def depart(self, messages: Sequence[int]) -> list[tuple[Sent, ...]]:
        """Put departures on record. There is room, so there is no checkpoint.

        Args:
            messages: of each request that leaves now.

        Returns:
            For each request, what is to be called when it is on the wire; or nothing,
            if there is no limit.
        """
        limits = []
        if self._messages is not None:
            limits.append(await self._messages.depart(messages))
        if self._requests is not None:
            limits.append(await self._requests.depart([1] * len(messages)))
        takes = sum(map(self._seconds_of, messages))
        if self._use.add(takes, trio.current_time()):
            self._rise()
        return [*zip(*limits, strict=True)]

    def storm(self) -> None:
        """Go slower from here on."""
        if self._named:
            self._clock.run_at(max(_LEAST_SPEED, _CUT * self.factor))
            self._use = _Use()
        elif (rate := self._requests_per_second()) is not None:
            self._storm_rate = max(_LEAST_REQUESTS, rate)
            slack = int(self._storm_rate * SLACK)
            self._requests = Rate(
                self._storm_rate, self._clock, largest=1, burst=1 + slack
            )
            self._clock.run_at(_CUT)
            self._use = _Use()

    def _requests_per_second(self) -> float | None:
        """Return the rate at present, or None if it is too early to tell."""
        measured = self._use.per_second(trio.current_time()) * self._storm_rate or None
        if self._requests is None:
            return measured
        limit = self._storm_rate * self.factor
        return min(limit, measured or limit)

    def _rise(self) -> None:
        """Go a little faster if the last window was in use."""
        if self.is_unlimited:
            return
        most = 1.0 if self._named else math.inf
        if self.factor * _IN_USE <= self._use.before:
            rise = _RISE * max(1.0, self.factor)
            self._clock.run_at(min(most, self.factor + rise))
        elif self.factor > 1.0:
            self._requests = None
            self._clock.run_at(1.0)

    def _seconds_of(self, messages: int) -> float:
        """Say how long a departure takes up the limits at full speed."""
        if not self._named:
            return 1 / self._storm_rate
        takes = 0.0
        if self._messages is not None:
            takes = messages / self._messages.limit
        if self._requests is not None:
            takes = max(takes, 1 / self._requests.limit)
        return takes


class _Use:
    """How much departs in a second: 1.0 is full speed.

    Attributes:
        before: in the last window that is over; 0.0 if there is none.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self._began = math.inf
        self._sum = 0.0

    def add(self, amount: float, now: float) -> bool:
        """Count a departure, and tell whether it was the first after a window."""
        seconds = now - self._began
        over = seconds >= _WINDOW
        if over:
            self.before = self._sum / seconds
        if over or self._began == math.inf:
            self._began, self._sum = now, 0.0
        self._sum += amount
        return over

    def per_second(self, now: float) -> float:
        """Return the use of late, or 0.0 if that is less than a window."""
        seconds = now - self._began
        if not self.before and seconds < _WINDOW:
            return 0.0
        return max(self.before, self._sum / max(seconds, _WINDOW))
