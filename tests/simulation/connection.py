"""A worker's way to the provider, in place of `engine.wire`, and what passes there.

An exchange is four steps, each an event: it departs, its body has left whole, it is
processed, its answer is read. A request whose sender is gone after the second may be
processed all the same, now or later.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice, takewhile
from types import TracebackType
from typing import Self

import trio
from simulation.scenario import Scenario
from simulation.service import KEY, Incoming, Service
from simulation.world import World

from engine.crew import Thrown
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
    #: When the last fault came; and those in a row whose request left after another.
    _last_fault: float = -math.inf
    _news: int = 0

    def begin(self, *, remembers: bool) -> None:
        """Begin a start: a new process has forgotten all of this.

        Args:
            remembers: whether the last one came to write down how long it was to wait.
        """
        self.start += 1
        self.own_faults.clear()
        self._breaker, self._outage = Breaker(), False
        self._held_until = 0.0
        self._not_before = self._not_before if remembers else 0.0
        self._last_fault, self._news = -math.inf, 0

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
        self._news = 0

    def failed(
        self, body: bytes, error: ProviderError, departed_at: float = -math.inf
    ) -> None:
        """Count a request without, as `engine.deliver` should see it.

        After a fault of one that left after all others had come, and five such in a
        row, nobody leaves for half a second at least. When it left may not be known.
        """
        if not isinstance(error, Unavailable | Unanswered):
            self.ends[_REFUSALS[type(error)]] += 1
            self._breaker.answered()
            self._news = 0
            return
        now = self.world.now()
        is_news = self._last_fault < departed_at  # nobody was to wait when it left
        self._last_fault = now
        self._news += is_news
        if is_news and self._news >= self._breaker.straight:
            self._held_until = now + self._breaker.base / 2
        self._breaker.failed(trio.current_time(), lambda: 0.0)
        if self._breaker.is_open:
            self._outage = True
            self.ends["outage"] += 1
            return
        self.ends["fault"] += 1
        self.own_faults[body] += 1
        most = RetryPolicy().max_faults
        if not self._outage and self.own_faults[body] > most:
            self.world.violated(f"I6 more than {most} faults of one batch")


@dataclass(frozen=True, slots=True)
class Departed:
    """A request that has left, and what will befall it."""

    request: Request
    incoming: Incoming
    mood: str
    messages: int
    at: float


class SimulatedConnection:
    """See `engine.crew.Connection`.

    Attributes:
        warm: whether it is open, after an exchange that ended well.
    """

    def __init__(
        self, world: World, service: Service, traffic: Traffic, scenario: Scenario
    ) -> None:
        self._world = world
        self._service = service
        self._traffic = traffic
        self._latency, self._tick = scenario.latency, scenario.tick
        self.warm = False

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
        return await self.carry(self.depart(request), sent=sent)

    def depart(self, request: Request, how: str = "departs") -> Departed:
        """Send a request off."""
        incoming = Incoming(request.body, self.key(request))
        mood = self._service.mood(incoming)
        messages = len(incoming.mails())
        self._world.event(f"{how}: {messages} messages; {mood or 'well'}")
        self._traffic.depart(messages, request.body)
        return Departed(request, incoming, mood, messages, self._world.now())

    async def carry(self, departed: Departed, *, sent: Callable[[], None]) -> Response:
        """Bring a request that has departed to its end, and return the answer."""
        self.warm = False
        try:
            response = await self._carry(departed, sent)
        except ProviderError as error:
            self._traffic.failed(departed.request.body, error, departed.at)
            raise
        self.warm = True
        return response

    async def _carry(self, departed: Departed, sent: Callable[[], None]) -> Response:
        world, service = self._world, self._service
        incoming, mood = departed.incoming, departed.mood
        await world.pause(self._latency)
        if mood == "refused":
            raise Unavailable("not sent", reason="not_sent")
        if mood == "reset_before":
            raise Unavailable("not sent whole", reason="not_processed")
        processed = False
        try:
            world.event("sent")
            self._traffic.arrivals.append(self._traffic.passing(departed.messages))
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
        if self._tick:
            ticks = trio.current_time() // self._tick
            await trio.sleep_until((ticks + 1) * self._tick)
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


class SimulatedFlight:
    """See `engine.crew.Flight`: what is under way lives in a nursery.

    What has ended is told in the order in which it ended, all that there is at once.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._over: list[tuple[Thrown, Response | ProviderError]] = []
        self._news = trio.Event()

    def warm(self, wires: Iterable[SimulatedConnection], most: int) -> int:
        """Count the connections, from the first to one that is not, that are open."""
        return sum(1 for _ in islice(takewhile(lambda wire: wire.warm, wires), most))

    def begin(
        self,
        tag: Thrown,
        wire: SimulatedConnection,
        request: Request,
        sent: Callable[[], None],
    ) -> None:
        """Send a request."""
        if not wire.warm:
            raise LookupError("it is not open")
        wire.warm = False
        departed = wire.depart(request, "flies")
        self._nursery.start_soon(self._carry, tag, wire, departed, sent)

    def leave(self, wire: SimulatedConnection) -> None:
        """Let go of a connection: nothing holds it."""

    def look(self) -> list[tuple[Thrown, Response | ProviderError]]:
        """Return what has ended, without a wait."""
        over, self._over = self._over, []
        return over

    async def ended(self) -> list[tuple[Thrown, Response | ProviderError]]:
        """Wait until something has ended, and return all that has."""
        while not self._over:
            self._news = trio.Event()
            await self._news.wait()
        return self.look()

    def close(self) -> None:
        """Hang up on what is under way."""
        self._nursery.cancel_scope.cancel()

    async def _carry(
        self,
        tag: Thrown,
        wire: SimulatedConnection,
        departed: Departed,
        sent: Callable[[], None],
    ) -> None:
        try:
            came: Response | ProviderError = await wire.carry(departed, sent=sent)
        except ProviderError as error:
            came = error
        self._over.append((tag, came))
        self._news.set()
