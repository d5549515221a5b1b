"""One question at a time to a provider, asked until it is answered or given up.

A question changes nothing, so it may be asked again after any failure: a 429 and a 5xx,
a lost answer, one that cannot be read. Throttles are waited out as often as it takes,
other failures a few times; an account that is refused ends it all.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import trio

from engine.errors import ProviderError, Throttled, Unanswered, Unavailable
from engine.event import Event
from engine.message import Request, Response
from engine.pace import Pace, Turn
from engine.retry import Breaker, Decision, Retry, RetryPolicy, StopRun
from engine.stop import Stop
from engine.track.due import Question
from engine.wire import Wire

#: Seconds without any answer after which it stops. Nobody is harmed by asking later.
PATIENCE = 600.0
#: The same before the first answer ever.
FIRST_PATIENCE = 10.0


class Told(NamedTuple):
    """What came of a question.

    Attributes:
        events: what is told, perhaps nothing; None if there was no such message, or no
            answer.
        error: why there was no answer.
    """

    question: Question
    events: list[Event] | None
    error: ProviderError | None


class Answering(Protocol):
    """The part of a tracker that knows what to ask, and what is told."""

    def request(self, provider_id: str) -> Request:
        """Return the question about a message."""
        ...

    def events(self, provider_id: str, response: Response) -> list[Event] | None:
        """Read an answer; see `engine.tracking.base.Tracker.events`."""
        ...


def _breaker() -> Breaker:
    return Breaker(patience=PATIENCE, first_patience=FIRST_PATIENCE)


@dataclass(frozen=True, slots=True)
class Asking:
    """What the workers share.

    Attributes:
        stop: ends it all early, waits and requests under way included.
    """

    tracker: Answering
    pace: Pace
    stop: Stop
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: Breaker = field(default_factory=_breaker)
    random: Callable[[], float] = random.random

    async def ask(self, wire: Wire, question: Question) -> Told:
        """Ask about a message."""
        faults = 0
        while True:
            async with self.pace.turn(1) as turn:
                await turn.depart()
                try:
                    told = await self._exchange(wire, turn, question)
                except ProviderError as failure:
                    error, decision = failure, self._judge(turn, failure, faults)
                else:
                    self.breaker.answered()
                    return told
            if self.stop.requested:
                await trio.sleep_forever()  # the stop has ended this already
            if not isinstance(decision, Retry):
                return Told(question, None, error)
            if not decision.pause_all:
                await trio.sleep(decision.wait)
            if not (isinstance(error, Throttled) or self.breaker.is_open):
                faults += 1

    async def _exchange(self, wire: Wire, turn: Turn, question: Question) -> Told:
        request = self.tracker.request(question.provider_id)
        response = await wire.exchange(request, sent=turn.sent)
        events = self.tracker.events(question.provider_id, response)
        return Told(question, events, None)

    def _judge(self, turn: Turn, error: ProviderError, faults: int) -> Decision:
        """Decide what a failure means, for this question and for the others."""
        hold = None
        if isinstance(error, Unavailable | Unanswered):
            turn.unanswered()
            hold = self.breaker.failed(trio.current_time(), self.random)
        else:
            self.breaker.answered()
        decision = self.policy.after(
            error,
            faults=0 if self.breaker.is_open else faults,
            throttles=self.pace.storms_in_a_row,
            random=self.random,
            keyed=True,  # to ask again is always harmless
        )
        if isinstance(decision, StopRun) and decision.retry_after is not None:
            error.hint = f"the provider asks to wait for {decision.retry_after:.0f} s"
        if isinstance(decision, StopRun) or hold == math.inf:
            self.stop.request(error)
        elif isinstance(decision, Retry) and isinstance(error, Throttled):
            turn.throttled(decision.wait)
        elif isinstance(decision, Retry) and decision.pause_all:
            self.pace.pause(decision.wait)
        if hold is not None and hold < math.inf:
            self.pace.pause(hold)
        return decision
