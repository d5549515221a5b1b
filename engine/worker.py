"""One worker: chunks become batches, and each batch is seen through, in a lane.

A batch has a task of its own for that, which stays in its lane until the batch is done
(`engine.deliver`). New, small batches are thrown instead, as many at a time as the pace
lets go, and one task catches all answers that are there:

    chunk ─▶ make ─┬▶ a lane each: pace, intent, POST, …
                   └▶ pace ─▶ intents ─▶ throw … catch ─▶ outcomes
                                                   └▶ an error: goes on in its lane

Rules: those of `engine.deliver`. What is thrown has a durable intent, as all else; and
if it cannot leave after all (a stop, a server that hung up), that is taken back.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import polars as pl
import trio

from engine.crew import Answer, Hand, Parcel, Wings
from engine.deliver import Delivery, Sending, Splits
from engine.errors import HandsLost, ProviderError
from engine.outcome import Outcomes, Status
from engine.pace import Closed, Turn
from engine.record import Attempt, RowOutcome
from engine.render import Failure
from engine.retry import Decision
from engine.stages import Stage


class Worker:
    """Takes chunks until there are none left or the run is to end.

    Args:
        delivery: what it shares with the other workers.
        hand: its own.
    """

    def __init__(self, delivery: Delivery, hand: Hand) -> None:
        self._delivery = delivery
        self._hand = hand
        self._free = hand.lanes
        self._freed = trio.lowlevel.ParkingLot()
        self._thrown: dict[str, _Thrown] = {}

    async def work(self, chunks: trio.MemoryReceiveChannel[pl.DataFrame]) -> None:
        """Deliver chunks."""
        async with self._hand, trio.open_nursery() as nursery:
            self._nursery = nursery
            if (wings := self._hand.wings) is not None:
                nursery.start_soon(self._catch, wings)
            while not self._delivery.stop.requested:
                await self._lane()
                try:
                    chunk = await chunks.receive()
                except trio.EndOfChannel:
                    break
                with self._hands_may_be_lost():
                    await self._chunk(_Chunk(chunk))
            while self._free < self._hand.lanes:
                await self._freed.park()
            nursery.cancel_scope.cancel()

    # Lanes.

    async def _lane(self) -> None:
        """Wait until a lane is free."""
        while not self._free:
            await self._freed.park()

    def _leave(self, lanes: int = 1) -> None:
        """Give lanes back."""
        self._free += lanes
        self._freed.unpark_all()

    # A chunk.

    async def _chunk(self, chunk: "_Chunk") -> None:
        """Have a chunk made, and see to it that each of its batches is under way."""
        queue = deque(await self._made(chunk.rows))
        while queue:
            await self._lane()
            if self._delivery.stop.requested:
                break
            wings = self._hand.wings
            if wings is None or not await self._throw(wings, queue, chunk):
                self._start(queue.popleft(), chunk)
        if chunk.open == 1 and chunk.rests:
            await self._lane()
        self._free -= self._was_last(chunk)

    async def _made(self, rows: pl.DataFrame) -> list[Parcel]:
        made = await self._hand.make(rows)
        self._delivery.spent.add(Stage.RENDER, made.rendering)
        self._delivery.spent.add(Stage.ENCODE, made.encoding)
        await self._skip(made.failures)
        return made.parcels

    async def _skip(self, failures: list[Failure]) -> None:
        delivery = self._delivery
        new = [failure for failure in failures if not delivery.settled[failure.row]]
        if not new:
            return
        new.sort(key=lambda failure: failure.row)
        now = delivery.journal.now()
        await delivery.journal.skip(
            [
                RowOutcome(f.row, Status.RENDER_FAILED, f.reason, f.detail, now)
                for f in new
            ]
        )
        delivery.on_progress(len(new))

    # One batch, in a lane.

    def _start(self, parcel: Parcel, chunk: "_Chunk") -> None:
        """Give a batch a lane that is free."""
        self._free -= 1
        chunk.open += 1
        self._nursery.start_soon(self._see_through, parcel, chunk)

    async def _see_through(self, parcel: Parcel, chunk: "_Chunk") -> None:
        with self._hands_may_be_lost():
            splits = Splits.of(parcel, chunk.rests)
            await self._delivery.deliver(self._hand, parcel, splits)
        self._done(parcel, chunk)

    def _done(self, parcel: Parcel, chunk: "_Chunk") -> None:
        self._hand.drop(parcel)
        if not self._was_last(chunk):
            self._leave()

    def _was_last(self, chunk: "_Chunk") -> bool:
        """Count off a batch; if it was a chunk's last, its lane may have more to do."""
        chunk.open -= 1
        if chunk.open or not chunk.rests:
            return False
        self._nursery.start_soon(self._finish, chunk)
        return True

    async def _finish(self, chunk: "_Chunk") -> None:
        """Deliver what batches of a chunk have handed on, and leave the lane."""
        with self._hands_may_be_lost():
            for split, rows in chunk.rests:
                await self._rest(chunk.rows.filter(pl.col("row").is_in(rows)), split)
        self._leave()

    async def _rest(self, rows: pl.DataFrame, parent: str) -> None:
        """Deliver what one batch has handed on."""
        rests: list[tuple[str, list[int]]] = []
        for parcel in await self._made(rows):
            splits = Splits.of(parcel, rests)
            await self._delivery.deliver(self._hand, parcel, splits, parent)
        for split, numbers in rests:
            await self._rest(rows.filter(pl.col("row").is_in(numbers)), split)

    # Many batches at once.

    async def _throw(self, wings: Wings, queue: deque[Parcel], chunk: "_Chunk") -> bool:
        """Send the next batches of a queue together, as many as can fly.

        Returns:
            Whether any has left the queue.
        """
        delivery = self._delivery
        fit = self._fit(wings, queue)
        await self._land(wings.caught())
        if not fit:
            return False
        try:
            turns = await delivery.pace.admit([len(p.rows) for p in fit])
        except Closed:
            return False
        parcels = [queue.popleft() for _ in turns]
        self._free -= len(parcels)
        chunk.open += len(parcels)
        try:
            numbers = await delivery.intend(parcels)
        except Closed:
            _end(turns)
            self._ground(parcels, chunk)
            return True
        ready = deque(map(_Ready, parcels, turns, numbers))
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # came during the fsync
            with suppress(Closed):
                await self._send(wings, ready, chunk)
        finally:
            _end([one.turn for one in ready])
            await delivery.release([(one.parcel, one.number) for one in ready])
        self._ground([one.parcel for one in ready], chunk)
        return True

    def _fit(self, wings: Wings, queue: deque[Parcel]) -> list[Parcel]:
        """Return the next batches of a queue that can be thrown now."""
        fit: list[Parcel] = []
        for parcel in islice(queue, wings.room(self._free)):
            if not (wings.can_carry(parcel) and self._delivery.is_new(parcel)):
                break
            fit.append(parcel)
        return fit

    async def _send(
        self, wings: Wings, ready: "deque[_Ready]", chunk: "_Chunk"
    ) -> None:
        """Send batches as they may leave; those stay for which no lane is open."""
        pace, journal = self._delivery.pace, self._delivery.journal
        while ready:
            room = wings.room(len(ready))
            if caught := wings.caught():
                await self._land(caught)  # first: one may ask for a pause
                continue
            if not room:
                return
            count = await pace.depart_now([one.turn for one in islice(ready, room)])
            if not count:
                await pace.wait(ready[0].turn)
                continue
            began, clock = journal.now(), trio.current_time()
            for _ in range(count):
                parcel, turn, number = ready.popleft()
                self._thrown[parcel.id] = _Thrown(chunk, turn, number, began, clock)
                wings.throw(parcel, sent=turn.sent)

    def _ground(self, parcels: Sequence[Parcel], chunk: "_Chunk") -> None:
        """Have batches go by themselves, each in its lane."""
        for parcel in parcels:
            self._nursery.start_soon(self._see_through, parcel, chunk)

    async def _catch(self, wings: Wings) -> None:
        """Take in answers as they come. Cut short, what is still out is in doubt."""
        try:
            while True:
                await self._land(await wings.catch())
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._land(wings.caught())
                await self._lose()
            raise

    async def _land(self, caught: list[tuple[Parcel, Answer | ProviderError]]) -> None:
        """Record what came of batches."""
        if not caught:
            return
        now, spent = trio.current_time(), self._delivery.spent
        answers: list[tuple[str, Outcomes, Attempt]] = []
        answered: list[_Thrown] = []
        for parcel, came in caught:
            thrown = self._thrown.pop(parcel.id)
            seconds = now - thrown.clock
            spent.add(Stage.PROVIDER, seconds)
            if isinstance(came, ProviderError):
                attempt = thrown.attempt(
                    seconds, came.reason, came.http_status, str(came)
                )
                self._go_on(parcel, thrown, attempt, came)
            else:
                self._delivery.breaker.answered()
                attempt = thrown.attempt(seconds, "answered", came.status, None)
                answers.append((parcel.id, came.outcomes, attempt))
                answered.append(thrown)
        if answers:
            await self._delivery.settle(answers)
        free = 0
        for thrown in answered:
            thrown.turn.end()
            free += not self._was_last(thrown.chunk)
        self._leave(free)

    def _go_on(
        self, parcel: Parcel, thrown: "_Thrown", attempt: Attempt, error: ProviderError
    ) -> None:
        """Have a batch go on by itself whose request has failed."""
        splits = Splits.of(parcel, thrown.chunk.rests)
        sending = self._delivery.sending(parcel, splits, since=thrown.clock)
        decision = self._delivery.judge(thrown.turn, sending, error)
        thrown.turn.end()
        self._nursery.start_soon(
            self._persist, thrown.chunk, sending, attempt, error, decision
        )

    async def _persist(
        self,
        chunk: "_Chunk",
        sending: Sending,
        attempt: Attempt,
        error: ProviderError,
        decision: Decision,
    ) -> None:
        with self._hands_may_be_lost():
            await self._delivery.go_on(self._hand, sending, attempt, error, decision)
        self._done(sending.parcel, chunk)

    async def _lose(self) -> None:
        """Write down that nobody will read what comes of what is still out."""
        now = trio.current_time()
        for batch_id, thrown in self._thrown.items():
            attempt = thrown.attempt(now - thrown.clock, "cut", None, None)
            await self._delivery.journal.doubt(batch_id, attempt)
        self._thrown.clear()

    @contextmanager
    def _hands_may_be_lost(self) -> Iterator[None]:
        """End the run if the hands are: there is nobody to send by."""
        try:
            yield
        except HandsLost as error:
            self._delivery.stop.request(error)


@dataclass(slots=True, eq=False)
class _Chunk:
    """Rows of the list that are being delivered.

    Attributes:
        open: its batches that are not done, and one more until all are under way.
        rests: see `Splits`; they are made into batches once all others are done.
    """

    rows: pl.DataFrame
    open: int = 1
    rests: list[tuple[str, list[int]]] = field(default_factory=list)


class _Ready(NamedTuple):
    """A batch whose intent is written."""

    parcel: Parcel
    turn: Turn
    number: int


def _end(turns: Iterable[Turn]) -> None:
    """End turns that came to nothing."""
    for turn in turns:
        turn.unanswered()
        turn.end()


class _Thrown(NamedTuple):
    """A batch that is out.

    Attributes:
        began: when it left, by the journal's clock.
        clock: likewise, by trio's.
    """

    chunk: _Chunk
    turn: Turn
    number: int
    began: datetime
    clock: float

    def attempt(
        self, seconds: float, result: str, status: int | None, detail: str | None
    ) -> Attempt:
        """Say how the request ended."""
        return Attempt(self.number, self.began, seconds, result, status, detail)
