"""A worker's way to the provider, in place of `engine.wire`, and what passes there.

An exchange is four steps, each an event: it departs, its body has left whole, it is
processed, its answer is read. A request whose sender is gone after the second may be
processed all the same, now or later.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import trio
from simulation.service import KEY, Incoming, Service
from simulation.world import World

from engine.errors import (
    AccountRejected,
    BatchRejected,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.message import Request, Response
from engine.retry import Breaker, RetryPolicy

#: Seconds after which nobody waits for an answer any more.
DEADLINE = 60.0
#: What computed times may be off by, seconds.
DUST = 1e-9


_REFUSALS = {
    Throttled: "throttled",
    BatchRejected: "refused",
    AccountRejected: "stopped",
}


@dataclass(frozen=True, slots=True)
class Passing:
    """A request as it passed: when, its messages, and which start it belongs to."""

    at: float
    messages: int
    start: int


@dataclass(slots=True)
class Traffic:
    """All requests of a world, and the rules that hold between two of them.

    Attributes:
        departures: the requests as they left, in order.
        arrivals: the same as the last byte of each was on the wire.
        bodies: of all requests; every batch has one of its own.
        ends: how requests ended, over all starts: see `failed`.
        own_faults: of the present start, faults by body while no outage was seen.
        start: which start this is, from 1.
    """

    world: World
    departures: list[Passing] = field(default_factory=list)
    arrivals: list[Passing] = field(default_factory=list)
    bodies: set[bytes] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    own_faults: Counter[bytes] = field(default_factory=Counter)
    start: int = 0
    _breaker: Breaker = field(default_factory=Breaker)
    _outage: bool = False
    _not_before: float = 0.0
    _held_until: float = 0.0

    def begin(self) -> None:
        """Begin a start: a new process has forgotten all of this."""
        self.start += 1
        self.own_faults.clear()
        self._breaker, self._outage = Breaker(), False
        self._not_before = self._held_until = 0.0

    def depart(self, messages: int, body: bytes) -> None:
        """Put a request on record, and check that it was allowed to leave."""
        now = self.world.now()
        self.bodies.add(body)
        self.departures.append(self.passing(messages))
        if now < self._not_before - DUST:
            self.world.violated(f"I5 {self._not_before - now:g} s before Retry-After")
        if now < self._held_until - DUST:
            self.world.violated("I6 a request in the midst of an outage's pause")

    def passing(self, messages: int) -> Passing:
        """Describe a request that passes now."""
        return Passing(self.world.now(), messages, self.start)

    def told_to_wait(self, until: float) -> None:
        """Have read an answer that asks for a pause."""
        self._not_before = max(self._not_before, until)

    def answered(self) -> None:
        """Count a request with an answer."""
        self.ends["answered"] += 1
        self._breaker.answered()

    def failed(self, body: bytes, error: ProviderError) -> None:
        """Count a request without, as `engine.deliver` should see it."""
        if not isinstance(error, Unavailable | Unanswered):
            self.ends[_REFUSALS[type(error)]] += 1
            self._breaker.answered()
            return
        self._breaker.failed(trio.current_time(), lambda: 0.0)
        if self._breaker.is_open:
            self._outage = True
            self.ends["outage"] += 1
            self._held_until = self.world.now() + self._breaker.base / 2
            return
        self.ends["fault"] += 1
        self.own_faults[body] += 1
        most = RetryPolicy().max_faults
        if not self._outage and self.own_faults[body] > most:
            self.world.violated(f"I6 more than {most} faults of one batch")


class SimulatedConnection:
    """See `engine.crew.Connection`."""

    def __init__(
        self, world: World, service: Service, traffic: Traffic, latency: float
    ) -> None:
        self._world = world
        self._service = service
        self._traffic = traffic
        self._latency = latency

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    async def exchange(self, request: Request, *, sent: Callable[[], None]) -> Response:
        """Send a request and read its answer whole, or say how far it got."""
        try:
            return await self._exchange(request, sent)
        except ProviderError as error:
            self._traffic.failed(request.body, error)
            raise

    async def _exchange(self, request: Request, sent: Callable[[], None]) -> Response:
        world, service = self._world, self._service
        incoming = Incoming(request.body, self.key(request))
        mood = service.mood(incoming)
        messages = len(incoming.mails())
        world.event(f"departs: {messages} messages; {mood or 'well'}")
        self._traffic.depart(messages, request.body)
        await world.pause(self._latency)
        if mood == "refused":
            raise Unavailable("not sent", reason="not_sent")
        if mood == "reset_before":
            raise Unavailable("not sent whole", reason="not_processed")
        processed = False
        try:
            world.event("sent")
            self._traffic.arrivals.append(self._traffic.passing(messages))
            sent()
            await world.pause(self._latency)
            if mood == "timeout_before":
                await trio.sleep(DEADLINE)
                raise Unanswered("no answer in time", reason="timeout")
            world.event("arrives")
            processed = True
        finally:
            if not processed:
                service.abandon(incoming)
        status, headers, body = service.process(incoming, mood)
        world.event(f"answers {status}")
        asked, at = service.asked, world.now()
        await world.pause(self._latency)
        await self._lose(mood)
        world.event("read")
        if asked is not None:
            self._traffic.told_to_wait(at + asked)
        return Response(status, headers, body, world.utc())

    def key(self, request: Request) -> str | None:
        """Return the key that goes with a request."""
        return request.headers.get(KEY)

    async def _lose(self, mood: str) -> None:
        match mood:
            case "timeout_after":
                await trio.sleep(DEADLINE)
                raise Unanswered("no answer in time", reason="timeout")
            case "reset_after" | "truncated":
                raise Unanswered("no whole answer", reason="no_answer")
