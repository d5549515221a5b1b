"""One worker: render, pace, intent, POST, classify, settle.

For every batch, in this order and no other:

    pace.turn ─▶ journal.intend ─▶ depart ─▶ POST ─▶ what came of it
                 (on the disk)     (sent      ├ an answer: one outcome per message
                                    at once)  ├ surely not accepted: released; again
                                              ├ perhaps accepted: in doubt, not again
                                              └ refused for good: settled, or a stop

Rules: no byte leaves without a durable intent. What has been received is recorded even
while the run is being cancelled. A wait can be ended by `Stop`; an exchange under way
cannot, except by cancelling the nursery, and then its batch is in doubt.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import polars as pl
import trio

from engine.batch import batches
from engine.errors import ProviderError, Throttled, Unanswered, Unavailable
from engine.journal import Journal
from engine.message import Batch, Request
from engine.outcome import Outcomes, Status
from engine.pace import Pace, Turn
from engine.providers.base import Provider
from engine.record import Attempt, RowOutcome
from engine.render import Failure, Renderer
from engine.retry import Decision, GiveUp, Retry, RetryPolicy, StopRun
from engine.wire import Wire

#: Bytes of a batch that are not its messages: brackets, keys, commas.
FRAME = 256


class Stop:
    """The wish that the run end: nothing new departs, what is under way may finish.

    Attributes:
        requested: whether anybody has asked.
        cause: the first error that asked, or None where it was the user.
    """

    def __init__(self) -> None:
        self.requested = False
        self.cause: ProviderError | None = None
        self._waits: set[trio.CancelScope] = set()
        self._asked = trio.Event()

    def request(self, cause: ProviderError | None = None) -> None:
        """Ask for the end of the run. Asking again changes nothing."""
        if not self.requested:
            self.requested, self.cause = True, cause
            self._asked.set()
        for scope in tuple(self._waits):
            scope.cancel()

    async def wait_requested(self) -> None:
        """Wait until somebody asks."""
        await self._asked.wait()

    @contextmanager
    def ends(self) -> Iterator[trio.CancelScope]:
        """Let a stop end what waits inside, until `unstoppable` is called."""
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            if self.requested:
                scope.cancel()
            try:
                yield scope
            finally:
                self._waits.discard(scope)

    def unstoppable(self, scope: trio.CancelScope) -> None:
        """From here on a stop lets this scope finish."""
        self._waits.discard(scope)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the workers of a run share.

    Attributes:
        campaign: the campaign's name.
        generation: 1 for its first sending, 2 for the next.
        batch_size: messages of one request at most.
        settled: one byte per input row: not 0 where an earlier attempt at this run
            left nothing to do.
        stop: ends the run early.
        on_progress: called after every batch, with the messages it settled.
    """

    campaign: str
    generation: int
    batch_size: int
    provider: Provider
    renderer: Renderer
    journal: Journal
    pace: Pace
    settled: bytearray
    stop: Stop
    on_progress: Callable[[int], None]
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    random: Callable[[], float] = random.random

    async def work(
        self, wire: Wire, chunks: trio.MemoryReceiveChannel[pl.DataFrame]
    ) -> None:
        """Deliver chunks until there are none left or the run is to end."""
        async with wire:
            async for chunk in chunks:
                await self._chunk(wire, chunk)
                if self.stop.requested:
                    return

    async def _chunk(self, wire: Wire, chunk: pl.DataFrame) -> None:
        rendered = self.renderer.render(chunk)
        await self._skip(rendered.failures)
        parts = self.provider.encode(rendered.messages)
        for batch in batches(
            rendered.messages,
            parts,
            campaign=self.campaign,
            generation=self.generation,
            max_count=self.batch_size,
            max_bytes=self.provider.capabilities.max_batch_bytes - FRAME,
        ):
            if self.stop.requested:
                return
            if not self.settled[batch.rows[0]]:
                await self._batch(wire, batch)

    async def _skip(self, failures: list[Failure]) -> None:
        new = [failure for failure in failures if not self.settled[failure.row]]
        if not new:
            return
        now = datetime.now(UTC)
        await self.journal.skip(
            [
                RowOutcome(f.row, Status.RENDER_FAILED, f.reason, f.detail, now)
                for f in new
            ]
        )
        self.on_progress(len(new))

    async def _batch(self, wire: Wire, batch: Batch) -> None:
        """Deliver a batch: one outcome per message, or the run is to end."""
        request = self.provider.request(batch)
        faults = 0
        while not self.stop.requested:
            error = await self._attempt(wire, batch, request, faults)
            if error is None:
                return
            faults += not isinstance(error, Throttled)

    async def _attempt(
        self, wire: Wire, batch: Batch, request: Request, faults: int
    ) -> ProviderError | None:
        """Send a batch once, when its turn comes.

        Args:
            wire: the worker's connection.
            batch: the batch.
            request: what carries it.
            faults: attempts of this batch so far that were no throttles.

        Returns:
            The error after which it is to be sent again, the wait being over; or None:
            nothing more is to be done for it now.
        """
        with self.stop.ends() as scope:
            async with self.pace.turn(len(batch)) as turn:
                number = await self._depart(turn, batch, request)
                self.stop.unstoppable(scope)
                error, attempt = await self._exchange(wire, batch, request, number)
                if error is None:
                    return None
                decision = self.policy.after(
                    error,
                    faults=faults,
                    throttles=self.pace.storms_in_a_row,
                    random=self.random,
                )
                self._tell_others(turn, error, decision)
            with trio.CancelScope(shield=True):
                await self._record(batch, attempt, error, decision)
            if isinstance(decision, Retry):
                if not decision.pause_all:
                    await self._rest(decision.wait)
                return error
        return None

    async def _depart(self, turn: Turn, batch: Batch, request: Request) -> int:
        """Write the intent and wait for the moment to send. Returns the attempt."""
        with trio.CancelScope(shield=True):  # an fsync: milliseconds
            number = await self.journal.intend(
                batch.id,
                batch.rows,
                body_sha256=hashlib.sha256(request.body).digest(),
                body_bytes=len(request.body),
            )
        try:
            await turn.depart()
        except trio.Cancelled:
            attempt = Attempt(number, datetime.now(UTC), 0.0, "not_sent", None, None)
            with trio.CancelScope(shield=True):
                await self.journal.release(batch.id, attempt)
            raise
        return number

    async def _exchange(
        self, wire: Wire, batch: Batch, request: Request, number: int
    ) -> tuple[ProviderError | None, Attempt]:
        """POST, and record an answer. An error is for the caller to judge."""
        began, clock = datetime.now(UTC), trio.current_time()

        def attempt(result: str, status: int | None, detail: str | None) -> Attempt:
            seconds = trio.current_time() - clock
            return Attempt(number, began, seconds, result, status, detail)

        try:
            response = await wire.exchange(request)
            outcomes = self.provider.outcomes(batch, response)
        except ProviderError as error:
            return error, attempt(error.reason, error.http_status, str(error))
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self.journal.doubt(batch.id, attempt("cut", None, None))
            raise
        ended = attempt("answered", response.status, None)
        with trio.CancelScope(shield=True):
            await self.journal.settle(batch.id, outcomes, ended)
        self.on_progress(len(batch))
        return None, ended

    def _tell_others(
        self, turn: Turn, error: ProviderError, decision: Decision
    ) -> None:
        """Let the other workers know, before this turn ends and one of them departs."""
        if isinstance(decision, StopRun):
            self.stop.request(error)
        elif isinstance(decision, Retry) and isinstance(error, Throttled):
            turn.throttled(decision.wait)
        elif isinstance(error, Unavailable | Unanswered):
            turn.unanswered()
            if isinstance(decision, Retry) and decision.pause_all:
                self.pace.pause(decision.wait)

    async def _record(
        self, batch: Batch, attempt: Attempt, error: ProviderError, decision: Decision
    ) -> None:
        """Write down what a failed attempt means for the batch."""
        match decision:
            case Retry() | StopRun():
                await self.journal.release(batch.id, attempt)
            case GiveUp(status=Status.IN_DOUBT):
                await self.journal.doubt(batch.id, attempt)
                self.on_progress(len(batch))
            case GiveUp(status=status):
                outcomes = Outcomes.uniform(
                    len(batch), status, reason=error.reason, detail=str(error)
                )
                await self.journal.settle(batch.id, outcomes, attempt)
                self.on_progress(len(batch))

    async def _rest(self, seconds: float) -> None:
        """Wait before the next attempt of one batch; a stop ends the wait."""
        with self.stop.ends():
            await trio.sleep(seconds)
