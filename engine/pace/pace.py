"""The pace of one account: limits checked, and turns given out."""

import math
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Self

from engine.campaign import Limits
from engine.pace.allowance import Allowance
from engine.pace.line import Line, Turn


@dataclass(frozen=True, slots=True)
class PaceStatistics:
    """What a run's pace has been so far.

    Attributes:
        waited_for_rate: seconds during which a first turn in line, before its intent or
            after it, waited for room under the limits.
        waited_for_pauses: seconds for which pauses shut the gate; of a pause that is
            under way, all of it.
        waited_for_throttles: those of them that a 429 made.
        throttles: storms of 429s; many at once are one.
        messages: departed.
        requests: departed.
        factor: what the limits are multiplied with at present: 1.0 in fair weather,
            less after a storm. Without limits of the user's it is of the rate at
            which the last storm came, and may exceed 1.0 until that is lifted.
    """

    waited_for_rate: float
    waited_for_pauses: float
    waited_for_throttles: float
    throttles: int
    messages: int
    requests: int
    factor: float


class Pace:
    """The pace of one account in one run: every request takes a turn.

        async with pace.turn(len(batch)) as turn:
            ...                     # write the intent
            await turn.depart()
            ...                     # send
            turn.sent()
            ...                     # read the answer
            turn.throttled(2.0)     # if it was a 429

    A storm of 429s also slows it down for a while; see `engine.pace.allowance`.

    Args:
        messages_per_second: messages/s of the account, or None for no limit.
        requests_per_second: requests/s of the account, or None for no limit.
        burst: messages that may leave at once after a rest; None for the strict
            promise. Means nothing without `messages_per_second`.
        batch_size: the most messages of one request; see `largest_batch`.
        start_empty: count the limits as used up at the first turn, because a process
            that died a moment ago may have done so: nothing departs for one window.

    Raises:
        ValueError: a limit is not above 0, or `batch_size` could never depart.
    """

    def __init__(
        self,
        *,
        messages_per_second: float | None,
        requests_per_second: float | None,
        burst: int | None = None,
        batch_size: int,
        start_empty: bool = False,
    ) -> None:
        _check_limit("batch_size", batch_size)
        if messages_per_second is not None:
            _check_limit("messages_per_second", messages_per_second)
            most = max(1, math.floor(messages_per_second)) if burst is None else burst
            if batch_size > most:
                raise ValueError(f"batch_size = {batch_size}: must be at most {most}")
        if requests_per_second is not None:
            _check_limit("requests_per_second", requests_per_second)
        self._batch_size = batch_size
        allowance = Allowance(
            messages_per_second=messages_per_second,
            requests_per_second=requests_per_second,
            burst=burst,
            batch_size=batch_size,
        )
        self._line = Line(allowance, start_empty=start_empty)

    @classmethod
    def of(cls, limits: Limits, batch_size: int, *, resumed: bool) -> Self:
        """Make the pace of a run.

        A run keeps its batches when it is taken up with lower limits; one that is
        larger than the new limits allow at once is then a burst of its own.

        Args:
            limits: of the campaign.
            batch_size: the most messages of one request.
            resumed: whether an earlier start may have used them up a moment ago.
        """
        rate = limits.messages_per_second
        burst = None if limits.burst is None else max(limits.burst, batch_size)
        if burst is None and rate is not None and batch_size > max(rate, 1):
            burst = batch_size
        return cls(
            messages_per_second=rate,
            requests_per_second=limits.requests_per_second,
            burst=burst,
            batch_size=batch_size,
            start_empty=resumed,
        )

    @property
    def storms_in_a_row(self) -> int:
        """Storms of 429s since a probe was last answered otherwise; 0 in fair weather.

        What `RetryPolicy.after` wants to know as `throttles`: when a probe is
        throttled the next one may be another batch, so no batch can count them.
        """
        return self._line.gate.storms_in_a_row

    def turn(self, messages: int) -> AbstractAsyncContextManager[Turn]:
        """Wait in line for a request of that many messages, and hold its place.

        Served in the order in which the blocks are entered: the gate, the requests/s,
        the messages/s. With nothing to wait for, entering is no checkpoint. A waiter
        that is cancelled has used nothing up and lets the next one through.

        Args:
            messages: 1 to `batch_size`.

        Raises:
            ValueError: `messages` is out of range.
            RuntimeError: on entering, if the pace was used in another `trio.run`.
            Closed: on entering or departing, if nobody is to depart any more.
        """
        if not 1 <= messages <= self._batch_size:
            raise ValueError(
                f"messages = {messages}: must be within 1 and {self._batch_size}"
            )
        return Turn(self._line, messages)

    async def admit(self, messages: Sequence[int]) -> list[Turn]:
        """Wait in line for the first of some requests; return its turn.

        And those of the ones after it that need not wait then. For who has many: as
        `turn`, but each turn is to be ended by `Turn.end`, or by leaving its block.

        Args:
            messages: of each request, one or more.

        Raises:
            Closed: nobody is to depart any more.
        """
        turns = [Turn(self._line, count) for count in messages]
        await self._line.admit(turns[0])
        return turns[: 1 + self._line.admit_now(turns[1:])]

    async def depart_now(self, turns: Sequence[Turn]) -> int:
        """Put departures on record, in order, as `Turn.depart` does; no checkpoint.

        Returns:
            How many of the turns need not wait: they leave now.
        """
        return await self._line.depart_now(turns)

    async def wait(self, turn: Turn) -> None:
        """Wait until a turn that was admitted may depart, by `depart_now`.

        Raises:
            Closed: nobody is to depart any more.
        """
        await self._line.wait(turn)

    def close(self) -> None:
        """Let nobody depart any more: who waits, and who comes, gets `Closed`."""
        self._line.close()

    def pause(self, seconds: float, *, throttled: bool = False) -> None:
        """Let nobody depart for at least that long; pauses extend, never shorten.

        Args:
            seconds: from now.
            throttled: whether a 429 asked for it, to an earlier start.

        Raises:
            ValueError: `seconds` is below 0 or not finite.
        """
        self._line.shut(seconds, throttled=throttled)

    def statistics(self) -> PaceStatistics:
        """Say what the pace has been so far; also after the run."""
        line = self._line
        return PaceStatistics(
            waited_for_rate=line.waited,
            waited_for_pauses=line.gate.paused,
            waited_for_throttles=line.gate.throttled,
            throttles=line.gate.storms,
            messages=line.departed_messages,
            requests=line.departed_requests,
            factor=line.allowance.factor,
        )


def largest_batch(
    maximum: int, *, messages_per_second: float | None, burst: int | None
) -> int:
    """Choose the batch size with which full batches use all of the limit.

    Without `burst`, a second holds whole batches only: 1500 messages/s in batches of
    1000 would be 1000 messages/s, in batches of 750 they are 1500. What the division
    leaves over, less than one message per batch, is lost.

    Args:
        maximum: the most messages that the provider takes in one request.
        messages_per_second: messages/s of the account, or None for no limit.
        burst: messages that may leave at once, or None for the strict promise.

    Returns:
        Messages per batch, 1 to `maximum`.

    Raises:
        ValueError: an argument is not above 0.
    """
    _check_limit("maximum", maximum)
    if messages_per_second is None:
        return maximum
    _check_limit("messages_per_second", messages_per_second)
    if burst is not None:
        _check_limit("burst", burst)
        return min(maximum, burst)
    batches_per_second = math.ceil(messages_per_second / maximum)
    return max(1, math.floor(messages_per_second / batches_per_second))


def _check_limit(name: str, limit: float) -> None:
    if not 0 < limit < math.inf:
        raise ValueError(f"{name} = {limit}: must be above 0 and finite")
