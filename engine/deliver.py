"""One worker: render, pace, intent, POST, classify, settle.

For every request, in this order and no other:

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
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

import polars as pl
import trio

from engine.batch import batches, halves
from engine.errors import (
    JournalError,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.journal import Journal
from engine.message import Batch, Messages, Request, Response
from engine.outcome import Outcomes, Status
from engine.pace import Pace, Turn
from engine.providers.base import TOO_LARGE, Provider
from engine.record import Attempt, RowOutcome
from engine.render import Failure, Renderer
from engine.retry import Breaker, Decision, GiveUp, Retry, RetryPolicy, StopRun
from engine.stop import Stop

#: Bytes of a batch that are not its messages: brackets, keys, commas.
FRAME = 256
#: Splits of one batch at most, for each halving that it has room for. One bad message
#: among 1000 takes ten; if all are bad, the rest is rejected after forty.
SPLITS_PER_HALVING = 4
#: Seconds before a key expires from which it is no longer relied on: a request may be
#: under way for a minute, and a provider may work on one that we have given up for
#: minutes more (seed 36015 of the simulation: accepted again 131 s after it had left).
KEY_MARGIN = 300.0


class Connection(Protocol):
    """What a worker needs of its way to the provider. Also an async context manager."""

    async def __aenter__(self) -> Self:
        """Be ready."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hang up."""

    async def exchange(self, request: Request, *, sent: Callable[[], None]) -> Response:
        """Send a request and read its answer whole, or say how far it got.

        `sent` is called when all of it is on the wire.
        """
        ...


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
    breaker: Breaker = field(default_factory=Breaker)
    random: Callable[[], float] = random.random

    async def work(
        self, wire: Connection, chunks: trio.MemoryReceiveChannel[pl.DataFrame]
    ) -> None:
        """Deliver chunks until there are none left or the run is to end."""
        async with wire:
            async for chunk in chunks:
                await self._chunk(wire, chunk)
                if self.stop.requested:
                    return

    async def _chunk(self, wire: Connection, chunk: pl.DataFrame) -> None:
        rendered = self.renderer.render(chunk)
        most = self.provider.capabilities.max_batch_bytes - FRAME
        messages, parts, too_large = self._encoded(rendered.messages, most)
        await self._skip([*rendered.failures, *too_large])
        for batch in batches(
            messages,
            parts,
            campaign=self.campaign,
            generation=self.generation,
            max_count=self.batch_size,
            max_bytes=most,
        ):
            budget = SPLITS_PER_HALVING * len(batch).bit_length()
            await self._batch(wire, batch, Splits(budget))

    def _encoded(
        self, messages: Messages, most: int
    ) -> tuple[Messages, list[bytes], list[Failure]]:
        """Encode messages, and set those aside that no request has room for."""
        parts = self.provider.encode(messages)
        large = [place for place, part in enumerate(parts) if len(part) > most]
        if not large:
            return messages, parts, []
        failures = [
            Failure(
                messages.rows[place],
                "message_too_large",
                f"the message has {len(parts[place]):,} bytes; at most {most:,} can "
                f"be sent through {self.provider.name}",
            )
            for place in large
        ]
        kept = [place for place, part in enumerate(parts) if len(part) <= most]
        return messages.at(kept), [parts[place] for place in kept], failures

    async def _skip(self, failures: list[Failure]) -> None:
        new = [failure for failure in failures if not self.settled[failure.row]]
        if not new:
            return
        new.sort(key=lambda failure: failure.row)
        now = self.journal.now()
        await self.journal.skip(
            [
                RowOutcome(f.row, Status.RENDER_FAILED, f.reason, f.detail, now)
                for f in new
            ]
        )
        self.on_progress(len(new))

    async def _batch(
        self,
        wire: Connection,
        batch: Batch,
        splits: "Splits",
        parent: str | None = None,
    ) -> None:
        """Deliver a batch: one outcome per message, or the run is to end."""
        if self.journal.is_split(batch.id) or await self._whole(
            wire, batch, splits, parent
        ):
            for half in halves(batch):
                await self._batch(wire, half, splits, parent=batch.id)

    async def _whole(
        self, wire: Connection, batch: Batch, splits: "Splits", parent: str | None
    ) -> bool:
        """Deliver a batch in one request, as often as it takes.

        Returns:
            Whether it was refused as a whole and has been split.
        """
        if self.stop.requested or self.settled[batch.rows[0]]:
            return False
        request = self.provider.request(batch)
        sending = Sending(batch, request, parent, splits)
        if not self._may_begin(sending):
            return False
        while True:
            error = await self._attempt(wire, sending)
            if error is None or self.stop.requested:
                return self.journal.is_split(batch.id)
            if not (isinstance(error, Throttled) or self.breaker.is_open):
                sending.faults += 1

    def _may_begin(self, sending: "Sending") -> bool:
        """Leave a batch in doubt unless the same bytes and a fresh key are at hand."""
        age = 0.0
        if (doubt := self.journal.doubt_of(sending.batch.id)) is not None:
            sha256, intended_at = doubt
            age = (self.journal.now() - intended_at).total_seconds()
            if sha256 != sending.sha256 or age < 0:
                return False
            sending.in_doubt = True
        known = self.provider.capabilities.key_seconds - KEY_MARGIN
        sending.known_until = trio.current_time() + known - age
        return not sending.is_stale()

    async def _attempt(
        self, wire: Connection, sending: "Sending"
    ) -> ProviderError | None:
        """Send a batch once, when its turn comes.

        Returns:
            The error after which it is to be sent again, the wait being over; or None:
            nothing more is to be done for it as a whole.
        """
        with self.stop.ends() as scope:
            async with self.pace.turn(len(sending.batch)) as turn:
                number = await self._depart(turn, sending)
                if sending.is_stale():  # the wait was too long
                    turn.unanswered()
                    await self._take_back(sending, number)
                    return None
                self.stop.unstoppable(scope)
                error, attempt = await self._exchange(wire, turn, sending, number)
                if error is None:
                    return None
                decision = self._judge(turn, sending, error)
            with trio.CancelScope(shield=True):
                await self._record(sending, attempt, error, decision)
            if isinstance(decision, Retry):
                if not decision.pause_all:
                    await self._rest(decision.wait)
                return error
        return None

    async def _depart(self, turn: Turn, sending: "Sending") -> int:
        """Write the intent and wait for the moment to send. Returns the attempt."""
        batch = sending.batch
        keyed = self.provider.capabilities.idempotency == "key"
        try:
            with trio.CancelScope(shield=True):  # an fsync: milliseconds
                number = await self.journal.intend(
                    batch.id,
                    batch.rows,
                    body_sha256=sending.sha256,
                    body_bytes=len(sending.request.body),
                    parent=sending.parent,
                    idempotency_key=batch.id if keyed else None,
                )
        except JournalError as error:
            if not self.journal.is_closing():
                raise
            # The disk is full, but has room for the answers that are under way.
            self.stop.request(error)
            await trio.sleep_forever()  # the stop has ended this wait already
        try:
            await turn.depart()
            await trio.lowlevel.checkpoint_if_cancelled()  # came during the fsync
        except trio.Cancelled:
            await self._take_back(sending, number)
            raise
        return number

    async def _take_back(self, sending: "Sending", number: int) -> None:
        """Take an intent back: nothing has left in this attempt."""
        attempt = Attempt(number, self.journal.now(), 0.0, "not_sent", None, None)
        with trio.CancelScope(shield=True):
            if sending.in_doubt:
                await self.journal.doubt(sending.batch.id, attempt)
            else:
                await self.journal.release(sending.batch.id, attempt)

    async def _exchange(
        self, wire: Connection, turn: Turn, sending: "Sending", number: int
    ) -> tuple[ProviderError | None, Attempt]:
        """POST, and record an answer. An error is for the caller to judge."""
        batch = sending.batch
        began, clock = self.journal.now(), trio.current_time()

        def attempt(result: str, status: int | None, detail: str | None) -> Attempt:
            seconds = trio.current_time() - clock
            return Attempt(number, began, seconds, result, status, detail)

        try:
            response = await wire.exchange(sending.request, sent=turn.sent)
            outcomes = self.provider.outcomes(batch, response)
        except ProviderError as error:
            return error, attempt(error.reason, error.http_status, str(error))
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self.journal.doubt(batch.id, attempt("cut", None, None))
            raise
        ended = attempt("answered", response.status, None)
        self.breaker.answered()
        with trio.CancelScope(shield=True):
            await self.journal.settle(batch.id, outcomes, ended)
        self.on_progress(len(batch))
        return None, ended

    def _judge(self, turn: Turn, sending: "Sending", error: ProviderError) -> Decision:
        """Decide what a failure means for the batch.

        The other workers are told before this turn ends and one of them departs.
        """
        hold = None
        if isinstance(error, Unavailable | Unanswered):
            turn.unanswered()
            hold = self.breaker.failed(trio.current_time(), self.random)
        else:
            self.breaker.answered()
        decision = self.policy.after(
            error,
            faults=0 if self.breaker.is_open else sending.faults,
            throttles=self.pace.storms_in_a_row,
            random=self.random,
            keyed=self.provider.capabilities.idempotency == "key",
        )
        if isinstance(decision, StopRun) and decision.retry_after is not None:
            moment = self.journal.now() + timedelta(seconds=decision.retry_after)
            error.hint = f"not before {moment:%Y-%m-%d %H:%M} UTC, by its Retry-After:"
        if isinstance(decision, StopRun) or hold == math.inf:
            self.stop.request(error)
        elif isinstance(decision, Retry) and isinstance(error, Throttled):
            turn.throttled(decision.wait)
        elif isinstance(decision, Retry) and decision.pause_all:
            self.pace.pause(decision.wait)
        elif isinstance(error, Unavailable) and error.retry_after:
            self.pace.pause(error.retry_after)  # the batch is given up, not the service
        if hold is not None and hold < math.inf:
            self.pace.pause(hold)
        return decision

    async def _record(
        self,
        sending: "Sending",
        attempt: Attempt,
        error: ProviderError,
        decision: Decision,
    ) -> None:
        """Write down what a failed attempt means for the batch."""
        batch = sending.batch
        # What is surely not accepted now may have been before.
        sending.in_doubt |= isinstance(error, Unanswered)
        match decision:
            case _ if sending.in_doubt:
                await self.journal.doubt(batch.id, attempt)
                if isinstance(decision, GiveUp):
                    self.on_progress(len(batch))
            case Retry() | StopRun():
                await self.journal.release(batch.id, attempt)
            case GiveUp(status=Status.REJECTED) if self._may_split(sending, error):
                sending.splits.left -= 1
                await self.journal.split(batch.id, attempt)
            case GiveUp(status=status):
                outcomes = Outcomes.uniform(
                    len(batch), status, reason=error.reason, detail=str(error)
                )
                await self.journal.settle(batch.id, outcomes, attempt)
                self.on_progress(len(batch))

    def _may_split(self, sending: "Sending", error: ProviderError) -> bool:
        """Whether the halves of a refused batch may fare better, and nobody was mailed.

        A request that is too large was refused whole by its nature.
        """
        whole = self.provider.capabilities.all_or_nothing or error.reason == TOO_LARGE
        return whole and len(sending.batch) > 1 and sending.splits.left > 0

    async def _rest(self, seconds: float) -> None:
        """Wait before the next attempt of one batch; a stop ends the wait."""
        with self.stop.ends():
            await trio.sleep(seconds)


@dataclass(slots=True)
class Splits:
    """How often the pieces of one batch may still be split."""

    left: int


@dataclass(slots=True)
class Sending:
    """One batch on its way.

    Attributes:
        parent: the batch that was split into it, or None.
        splits: shared with all pieces of the same batch.
        faults: attempts so far that were its own: no throttles, no outage.
        in_doubt: whether an attempt was perhaps accepted. Then an answer alone settles
            the batch: a refusal of the next attempt says nothing about that one.
        known_until: seconds on trio's clock, which nobody sets back, until which the
            provider is sure to know its key.
    """

    batch: Batch
    request: Request
    parent: str | None
    splits: Splits
    faults: int = 0
    in_doubt: bool = False
    known_until: float = -math.inf
    sha256: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.sha256 = hashlib.sha256(self.request.body).digest()

    def is_stale(self) -> bool:
        """Whether sending it again could mail its members twice."""
        return self.in_doubt and trio.current_time() >= self.known_until
