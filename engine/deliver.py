"""One batch: pace, intent, POST, classify, settle; as often as it takes.

A worker's hand carries it (`engine.crew`); what is to become of it is decided here. For
every request, in this order and no other:

    pace.turn ─▶ journal.intend ─▶ depart ─▶ POST ─▶ what came of it
                 (on the disk)     (sent      ├ an answer: one outcome per message
                                    at once)  ├ surely not accepted: released; again
                                              ├ perhaps accepted: in doubt, not again
                                              └ refused for good: settled, or a stop

Rules: no byte leaves without a durable intent. What has been received is recorded even
while the run is being cancelled. A wait can be ended by `Stop`, which closes the pace;
an exchange under way cannot, except by cancelling the nursery, and then its batch is in
doubt. A cancel scope costs as much as a third of a request (8 us), so there is none on
the way of a request to which nothing happens.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import trio

from engine.crew import PROCESS_LOST, Hand, NotSent, Parcel
from engine.errors import (
    JournalError,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.journal import Intent, Journal
from engine.outcome import Outcomes, Status
from engine.pace import Closed, Pace, Turn
from engine.planning import Left
from engine.providers.base import TOO_LARGE, Capabilities
from engine.record import Attempt
from engine.retry import Breaker, Decision, GiveUp, Retry, RetryPolicy, StopRun
from engine.stages import Spent, Stage
from engine.stop import Stop

#: Splits of one batch at most, for each halving that it has room for. One bad message
#: among 1000 takes ten; if all are bad, the rest is rejected after forty.
_SPLITS_PER_HALVING = 4
#: Seconds before a key expires from which it is no longer relied on: a request may be
#: under way for a minute, and a provider may work on one that we have given up for
#: minutes more (seed 36015 of the simulation: accepted again 131 s after it had left).
KEY_MARGIN = 300.0
#: The journal's fact that tells before when the provider has asked to be left alone.
NOT_BEFORE = "not_before"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the workers of a run share.

    Attributes:
        can: what the provider can do.
        settled: one byte per input row: not 0 where an earlier attempt at this run
            left nothing to do.
        stop: ends the run early.
        on_progress: called after every batch, with the messages it settled.
        left: rows that must not be mailed any more, and why.
        spent: where the time goes: seconds of all workers together.
    """

    can: Capabilities
    journal: Journal
    pace: Pace
    settled: bytearray
    stop: Stop
    on_progress: Callable[[int], None]
    left: Mapping[int, Left] = field(default_factory=dict)
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    breaker: Breaker = field(default_factory=Breaker)
    random: Callable[[], float] = random.random
    spent: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        """Let a stop end the wait for a turn."""
        self.stop.tells(self.pace.close)

    async def deliver(
        self,
        hand: Hand,
        parcel: Parcel,
        splits: "Splits",
        parent: str | None = None,
    ) -> None:
        """Deliver a batch: one outcome per message, or the run is to end."""
        if (rest := self.journal.handed_on(parcel.id)) is not None:
            splits.rests.append((parcel.id, rest))
        elif self._has_left(parcel):
            await self._let_go(parcel, splits, parent)
        elif self.journal.is_split(parcel.id) or await self._whole(
            hand, parcel, splits, parent
        ):
            await self._in_halves(hand, parcel, splits)

    async def _in_halves(self, hand: Hand, parcel: Parcel, splits: "Splits") -> None:
        for half in await hand.halves(parcel):
            await self.deliver(hand, half, splits, parent=parcel.id)

    def is_new(self, parcel: Parcel) -> bool:
        """Whether nothing is known of a batch, and all of it is to be mailed."""
        if self.settled[parcel.rows[0]] or self.journal.knows(parcel.id):
            return False
        return not self.left or self.left.keys().isdisjoint(parcel.rows)

    async def go_on(
        self,
        hand: Hand,
        sending: "Sending",
        attempt: Attempt,
        error: ProviderError,
        decision: Decision,
    ) -> None:
        """Deliver a batch whose first request has failed, which was judged."""
        again = await self._after(sending, attempt, error, decision)
        if await self._persist(hand, sending, again):
            await self._in_halves(hand, sending.parcel, sending.splits)

    def _has_left(self, parcel: Parcel) -> bool:
        """Whether a batch that may still be sent holds somebody who has left."""
        if not self.left or self.stop.requested or self.settled[parcel.rows[0]]:
            return False
        known = self.journal.is_split(parcel.id) or self.journal.doubt_of(parcel.id)
        return not known and not self.left.keys().isdisjoint(parcel.rows)

    async def _let_go(
        self, parcel: Parcel, splits: "Splits", parent: str | None
    ) -> None:
        """Settle those of a batch who have left; the others go on in one of their own.

        The batch is written down like one that was about to leave, so that the next
        start finds the same batches.
        """
        try:
            (number,) = await self.intend([parcel], parent)
        except Closed:
            return
        attempt = self._not_sent(number)
        left = [self.left.get(row) for row in parcel.rows]
        outcomes = Outcomes(
            [Status.PENDING if one is None else Status.SUPPRESSED for one in left],
            [one and one.reason for one in left],
            [one and one.source for one in left],
            [None] * len(left),
        )
        with trio.CancelScope(shield=True):
            if all(left):
                await self.journal.settle(parcel.id, outcomes, attempt)
            else:
                await self.journal.split(parcel.id, attempt, outcomes)
                rest = self.journal.handed_on(parcel.id) or []
                splits.rests.append((parcel.id, rest))
        self.on_progress(len(left) - left.count(None))

    async def _whole(
        self, hand: Hand, parcel: Parcel, splits: "Splits", parent: str | None
    ) -> bool:
        """Deliver a batch in one request, as often as it takes.

        Returns:
            Whether it was refused as a whole and has been split.
        """
        if self.stop.requested or self.settled[parcel.rows[0]]:
            return False
        sending = Sending(parcel, parent, splits)
        if not self._may_begin(sending):
            return False
        return await self._persist(hand, sending, await self._attempt(hand, sending))

    async def _persist(
        self, hand: Hand, sending: "Sending", error: ProviderError | NotSent | None
    ) -> bool:
        """Send a batch again and again, as long as that is what its errors ask for.

        Returns:
            Whether it was refused as a whole and has been split.
        """
        while error is not None and not self.stop.requested:
            if not (isinstance(error, Throttled | NotSent) or self.breaker.is_open):
                sending.faults += 1
            if not await self._is_ready(hand, sending):
                return False
            error = await self._attempt(hand, sending)
        return self.journal.is_split(sending.parcel.id)

    async def _is_ready(self, hand: Hand, sending: "Sending") -> bool:
        """Have the bytes at hand. In doubt, others than before must not go."""
        before, sending.parcel = sending.parcel, await hand.ready(sending.parcel)
        return not sending.in_doubt or before.digest == sending.parcel.digest

    def _may_begin(self, sending: "Sending") -> bool:
        """Leave a batch in doubt unless the same bytes and a fresh key are at hand."""
        age = 0.0
        if (doubt := self.journal.doubt_of(sending.parcel.id)) is not None:
            digest, intended_at = doubt
            if not self.left.keys().isdisjoint(sending.parcel.rows):
                return False
            age = (self.journal.now() - intended_at).total_seconds()
            if digest != sending.parcel.digest or age < 0:
                return False
            sending.in_doubt = True
        self._key_is_known(sending, trio.current_time() - age)
        return not sending.is_stale()

    def sending(self, parcel: Parcel, splits: "Splits", *, since: float) -> "Sending":
        """Describe a new batch whose first request left at that moment of trio's."""
        sending = Sending(parcel, None, splits)
        self._key_is_known(sending, since)
        return sending

    def _key_is_known(self, sending: "Sending", since: float) -> None:
        if self.can.key_seconds:
            sending.known_until = since + self.can.key_seconds - KEY_MARGIN

    async def _attempt(
        self, hand: Hand, sending: "Sending"
    ) -> ProviderError | NotSent | None:
        """Send a batch once, when its turn comes.

        Returns:
            The error after which it is to be sent again, the wait being over; or None:
            nothing more is to be done for it as a whole.
        """
        try:
            async with self.pace.turn(len(sending.parcel.rows)) as turn:
                number = await self._depart(turn, sending)
                if sending.is_stale():  # the wait was too long
                    turn.unanswered()
                    await self._take_back(sending, number)
                    return None
                try:
                    error, attempt = await self._exchange(hand, turn, sending, number)
                except NotSent as lost:
                    turn.unanswered()
                    await self._take_back(sending, number)
                    return lost
                if error is None:
                    return None
                decision = self.judge(turn, sending, error)
        except Closed:
            return None
        return await self._after(sending, attempt, error, decision)

    async def _after(
        self,
        sending: "Sending",
        attempt: Attempt,
        error: ProviderError,
        decision: Decision,
    ) -> ProviderError | None:
        """Do as was decided; return the error if the batch is to be sent again now."""
        with trio.CancelScope(shield=True):
            await self._record(sending, attempt, error, decision)
        if not isinstance(decision, Retry):
            return None
        if not decision.pause_all:
            await self._rest(decision.wait)
        return error

    async def _depart(self, turn: Turn, sending: "Sending") -> int:
        """Write the intent and wait for the moment to send. Returns the attempt."""
        (number,) = await self.intend([sending.parcel], sending.parent)
        try:
            await turn.depart()
            await trio.lowlevel.checkpoint_if_cancelled()  # came during the fsync
        except (trio.Cancelled, Closed):
            await self._take_back(sending, number)
            raise
        return number

    async def intend(
        self, parcels: Sequence[Parcel], parent: str | None = None
    ) -> list[int]:
        """Write down that batches are about to leave. Returns the attempts.

        Raises:
            Closed: the disk is full, but has room for the answers under way.
        """
        keyed = self.can.idempotency == "key"
        try:
            return await self.journal.intend_all(
                [
                    Intent(
                        parcel.id,
                        parcel.rows,
                        body_digest=parcel.digest,
                        body_bytes=parcel.size,
                        parent=parent,
                        idempotency_key=parcel.id if keyed else None,
                    )
                    for parcel in parcels
                ]
            )
        except JournalError as error:
            if not self.journal.is_closing():
                raise
            self.stop.request(error)
            raise Closed from error

    async def _take_back(self, sending: "Sending", number: int) -> None:
        """Take an intent back: nothing has left in this attempt."""
        attempt = self._not_sent(number)
        with trio.CancelScope(shield=True):
            if sending.in_doubt:
                await self.journal.doubt(sending.parcel.id, attempt)
            else:
                await self.journal.release(sending.parcel.id, attempt)

    async def release(self, intents: Sequence[tuple[Parcel, int]]) -> None:
        """Take back intents of new batches, by attempt: nothing of them has left."""
        if not intents:
            return
        with trio.CancelScope(shield=True):
            for parcel, number in intents:
                await self.journal.release(parcel.id, self._not_sent(number))

    def _not_sent(self, number: int) -> Attempt:
        return Attempt(number, self.journal.now(), 0.0, "not_sent", None, None)

    async def _exchange(
        self, hand: Hand, turn: Turn, sending: "Sending", number: int
    ) -> tuple[ProviderError | None, Attempt]:
        """POST, and record an answer. An error is for the caller to judge."""
        parcel = sending.parcel
        began, clock = self.journal.now(), trio.current_time()

        def attempt(result: str, status: int | None, detail: str | None) -> Attempt:
            seconds = trio.current_time() - clock
            self.spent.add(Stage.PROVIDER, seconds)
            return Attempt(number, began, seconds, result, status, detail)

        try:
            status, outcomes = await hand.exchange(parcel, sent=turn.sent)
        except ProviderError as error:
            return error, attempt(error.reason, error.http_status, str(error))
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self.journal.doubt(parcel.id, attempt("cut", None, None))
            raise
        self.breaker.answered()
        ended = attempt("answered", status, None)
        await self.settle([(parcel.id, outcomes, ended)])
        return None, ended

    async def settle(self, answers: Sequence[tuple[str, Outcomes, Attempt]]) -> None:
        """Record what was answered, though the run be cancelled."""
        messages = sum([len(outcomes) for _, outcomes, _ in answers])
        if self.journal.has_room(messages):  # then it does not wait
            await self.journal.settle_all(answers)
        else:
            with trio.CancelScope(shield=True):
                await self.journal.settle_all(answers)
        self.on_progress(messages)

    def judge(self, turn: Turn, sending: "Sending", error: ProviderError) -> Decision:
        """Decide what a failure means for the batch.

        The other workers are told before this turn ends and one of them departs.
        """
        hold = None
        if error.reason == PROCESS_LOST:
            turn.unanswered()
        elif isinstance(error, Unavailable | Unanswered):
            turn.unanswered()
            hold = self.breaker.failed(trio.current_time(), self.random)
        else:
            self.breaker.answered()
        decision = self.policy.after(
            error,
            faults=0 if self.breaker.is_open else sending.faults,
            throttles=self.pace.storms_in_a_row,
            random=self.random,
            keyed=self.can.idempotency == "key",
        )
        if isinstance(decision, StopRun) and decision.retry_after is not None:
            wait = timedelta(seconds=decision.retry_after)
            error.hint = not_before(self.journal.now() + wait)
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
        parcel = sending.parcel
        if isinstance(error, Throttled | Unavailable) and error.retry_after:
            await self._remember(error.retry_after)
        # What is surely not accepted now may have been before.
        sending.in_doubt |= isinstance(error, Unanswered)
        match decision:
            case _ if sending.in_doubt:
                await self.journal.doubt(parcel.id, attempt)
                if isinstance(decision, GiveUp):
                    self.on_progress(len(parcel.rows))
            case Retry() | StopRun():
                await self.journal.release(parcel.id, attempt)
            case GiveUp(status=Status.REJECTED) if self._may_split(sending, error):
                sending.splits.left -= 1
                await self.journal.split(parcel.id, attempt)
            case GiveUp(status=status):
                outcomes = Outcomes.uniform(
                    len(parcel.rows), status, reason=error.reason, detail=str(error)
                )
                await self.journal.settle(parcel.id, outcomes, attempt)
                self.on_progress(len(parcel.rows))

    async def _remember(self, seconds: float) -> None:
        """Write down a wait that the provider asked for: the next start keeps to it."""
        until = self.journal.now() + timedelta(seconds=seconds)
        told = until.isoformat(timespec="microseconds")
        if told > (self.journal.fact(NOT_BEFORE) or ""):
            await self.journal.note(NOT_BEFORE, told)

    def _may_split(self, sending: "Sending", error: ProviderError) -> bool:
        """Whether the halves of a refused batch may fare better, and nobody was mailed.

        A request that is too large was refused whole by its nature.
        """
        whole = self.can.all_or_nothing or error.reason == TOO_LARGE
        return whole and len(sending.parcel.rows) > 1 and sending.splits.left > 0

    async def _rest(self, seconds: float) -> None:
        """Wait before the next attempt of one batch; a stop ends the wait."""
        with self.stop.ends():
            await trio.sleep(seconds)


def not_before(moment: datetime) -> str:
    """Say before when a run is not to be taken up; what to type follows."""
    return f"not before {moment:%Y-%m-%d %H:%M} UTC, by its Retry-After:"


@dataclass(slots=True)
class Splits:
    """How often the pieces of one batch may still be split.

    Attributes:
        left: so often.
        rests: what batches were in doubt and were found in part, and which of their
            rows are to be made into a batch of their own.
    """

    left: int
    rests: list[tuple[str, list[int]]]

    @classmethod
    def of(cls, parcel: Parcel, rests: list[tuple[str, list[int]]]) -> "Splits":
        """Allow a whole batch its splits."""
        return cls(_SPLITS_PER_HALVING * len(parcel.rows).bit_length(), rests)


@dataclass(slots=True)
class Sending:
    """One batch on its way.

    Attributes:
        parcel: the batch.
        parent: the batch that was split into it, or None.
        splits: shared with all pieces of the same batch.
        faults: attempts so far that were its own: no throttles, no outage.
        in_doubt: whether an attempt was perhaps accepted. Then an answer alone settles
            the batch: a refusal of the next attempt says nothing about that one.
        known_until: seconds on trio's clock, which nobody sets back, until which the
            provider is sure to know its key.
    """

    parcel: Parcel
    parent: str | None
    splits: Splits
    faults: int = 0
    in_doubt: bool = False
    known_until: float = -math.inf

    def is_stale(self) -> bool:
        """Whether sending it again could mail its members twice."""
        return self.in_doubt and trio.current_time() >= self.known_until
