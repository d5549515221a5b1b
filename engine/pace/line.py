"""Where turns wait: two queues, the gate, and what is in flight.

Rules: state changes only where nothing awaits, so a cancelled waiter has taken nothing.
Nothing sleeps for a computed time without `DUST` more: what remains of a wait in
floating point can be too small to move the clock, and a loop around it never ends.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from itertools import accumulate
from types import TracebackType
from typing import Self

import trio

from engine.pace.allowance import Allowance
from engine.pace.rate import DUST, Sent, same_run

#: Seconds by which a turn may pass the entry early, at most. It passes as early as
#: the intent lately took to write, else every window would lose that time.
_MOST_LEAD = 0.05


class Closed(Exception):
    """Nobody is to depart any more."""


class Turn(AbstractAsyncContextManager["Turn"]):
    """One request's place in the line, from `Pace.turn`.

    Leaving the block ends the turn. Leaving it after `depart()` and without an
    exception says that an answer came, whatever it was, unless `unanswered` was called;
    an answer that must stop the run has to stop it before the block is left, or others
    take it for a good sign.

    Attributes:
        messages: how many the request carries.
    """

    __slots__ = ("_answered", "_line", "messages")

    def __init__(self, line: "Line", messages: int) -> None:
        self._line = line
        self._answered = True
        self.messages = messages

    async def __aenter__(self) -> Self:
        await self._line.admit(self)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._line.end(self, answered=self._answered and exc_type is None)

    async def depart(self) -> None:
        """Wait for the last word, and record that the request leaves now.

        Call it once the intent is durable, and send at once when it returns, with no
        checkpoint between. It is no checkpoint itself unless it has to wait.

        Raises:
            RuntimeError: called twice, or outside the turn's block.
            Closed: nobody is to depart any more.
        """
        await self._line.depart(self)

    def sent(self) -> None:
        """Say that the request is on the wire, as a whole.

        Until then, or the end of the turn, it counts as departing now: between
        `depart()` and the wire a connection may have to be made, and other tasks may
        hold the thread.
        """
        self._line.sent(self)

    def end(self) -> None:
        """End a turn that has no block; see `Pace.admit`."""
        self._line.end(self, answered=self._answered)

    def unanswered(self) -> None:
        """Say that no answer came: if this was the probe, the next turn is one too."""
        self._answered = False

    def throttled(self, seconds: float) -> None:
        """Pause everybody, for the provider said 429 to this turn.

        429s to requests that were in flight together extend one pause and count as one
        storm. A storm slows the run down; a probe's 429 says no more than that the
        pause was too short.

        Args:
            seconds: from now; a longer pause that is under way stays.

        Raises:
            ValueError: `seconds` is below 0 or not finite.
            RuntimeError: the turn has not departed or has ended.
        """
        self._line.shut(seconds, by=self)


class Gate:
    """Shut, then ajar for one probe, then open: who may depart at all."""

    def __init__(self) -> None:
        self.storms = 0
        self.storms_in_a_row = 0
        self.paused = 0.0
        self.throttled = 0.0
        self._open = False
        self._probe: Turn | None = None
        self._not_before = -math.inf

    @property
    def is_open(self) -> bool:
        """Whether all may depart now."""
        past = self._not_before == -math.inf
        return self._open and (past or trio.current_time() >= self._not_before)

    def seconds_until(self, *, crowded: bool) -> float:
        """Say how long the gate stays shut; infinite if until a turn has ended.

        Args:
            crowded: whether somebody else would be the probe, if there is to be one.
        """
        now = trio.current_time()
        if now < self._not_before:
            return self._not_before - now + DUST
        if self._open or not (crowded or self._probe):
            return 0.0
        return math.inf

    def depart(self, turn: Turn) -> None:
        """Make the turn the probe, if there is to be one."""
        if not self._open:
            self._probe = turn

    def end(self, turn: Turn, *, answered: bool) -> None:
        """Open for all if the probe was answered; else the next turn is the probe."""
        if turn is self._probe:
            self._probe = None
            if answered:
                self._open = True
                self.storms_in_a_row = 0

    def hold(self, seconds: float) -> None:
        """Let nobody depart for that long; a longer pause that is under way stays."""
        now = trio.current_time()
        self._not_before = max(self._not_before, now + seconds)

    def shut(self, seconds: float, *, throttled: bool) -> None:
        """Pause, and probe afterwards."""
        before = max(self._not_before, trio.current_time())
        self.hold(seconds)
        longer = max(0.0, self._not_before - before)
        self.paused += longer
        self.throttled += longer if throttled else 0.0
        self._open = False
        # A probe in flight was sent before this pause and says nothing about its end.
        self._probe = None

    def storm(self, turn: Turn, seen: int) -> bool:
        """Count a 429 to a turn that departed after `seen` storms.

        Returns:
            Whether it is the first to tell that we are too fast.
        """
        if seen != self.storms:
            return False
        self.storms += 1
        self.storms_in_a_row += 1
        return turn is not self._probe


class Line:
    """Both queues, the gate between them and the limits: where turns wait."""

    def __init__(self, allowance: Allowance, *, start_empty: bool) -> None:
        self.gate = Gate()
        self.allowance = allowance
        self.waited = 0.0
        self.departed_messages = 0
        self.departed_requests = 0
        self._start_empty = start_empty
        self._run: trio.lowlevel.TrioToken | None = None
        self._entry = trio.StrictFIFOLock()
        self._exit = trio.StrictFIFOLock()
        self._news = trio.lowlevel.ParkingLot()
        self._parked = 0
        self._closed = trio.Event()
        # Turns past the entry, and when they passed it; their messages; and turns past
        # the exit, and how many storms there had been.
        self._pending: dict[Turn, float] = {}
        self._pending_messages = 0
        self._in_flight: dict[Turn, int] = {}
        self._leaving: dict[Turn, tuple[Sent, ...]] = {}
        self._lead = 0.0
        # Heads of queues that wait for a limit, and since when one of them does.
        self._heads = 0
        self._waits_since = 0.0

    def begin(self) -> None:
        """Bind to this `trio.run`, whose clock alone the times here belong to."""
        if self._run is None and self._start_empty:
            self._run = same_run(None)
            self.gate.hold(self.allowance.fill())
        self._run = same_run(self._run)

    def close(self) -> None:
        """Let nobody pass any more."""
        self._closed.set()
        self._tell()

    async def admit(self, turn: Turn) -> None:
        """Wait at the entry."""
        self.begin()
        free = self._is_clear(self._entry)
        if not free:
            await self._pass(self._entry, turn.messages, ahead=True)
        self._admitted(turn, learns=not free)

    def admit_now(self, turns: Sequence[Turn]) -> int:
        """Let turns pass the entry in their order; return how many need not wait."""
        self.begin()
        free = self._is_clear(self._entry)
        sizes = [turn.messages for turn in turns]
        count = len(turns) if free else self._free(self._entry, sizes, ahead=True)
        for turn in turns[:count]:
            self._admitted(turn, learns=not free)
        return count

    async def depart(self, turn: Turn) -> None:
        """Wait at the exit, and put the departure on record."""
        if turn not in self._pending:
            raise RuntimeError("depart() is for once, within `async with` of its turn")
        self._learn(turn)
        if not self._is_clear(self._exit):
            await self._pass(self._exit, turn.messages, ahead=False)
        await self._departed([turn])
        self._tell()

    async def wait(self, turn: Turn) -> None:
        """Wait at the exit until a turn may depart, and put nothing on record."""
        await self._pass(self._exit, turn.messages, ahead=False)

    async def depart_now(self, turns: Sequence[Turn]) -> int:
        """Put departures on record, in order; return how many need not wait.

        No checkpoint.
        """
        free = self._is_clear(self._exit)
        sizes = [turn.messages for turn in turns]
        count = len(turns) if free else self._free(self._exit, sizes, ahead=False)
        for turn in turns[:count]:
            self._learn(turn)
        if count:
            await self._departed(turns[:count])
        self._tell()
        return count

    def _admitted(self, turn: Turn, *, learns: bool) -> None:
        """Count a turn among those that have passed the entry.

        With no limit there is no lead to learn.
        """
        self._pending[turn] = trio.current_time() if learns else math.inf
        self._pending_messages += turn.messages

    def _learn(self, turn: Turn) -> None:
        """Learn how long an intent takes to write."""
        if self._pending[turn] < math.inf:
            took = trio.current_time() - self._pending[turn]
            self._lead += (min(took, _MOST_LEAD) - self._lead) / 8

    async def _departed(self, turns: Sequence[Turn]) -> None:
        messages = [turn.messages for turn in turns]
        if leaving := await self.allowance.depart(messages):
            self._leaving.update(zip(turns, leaving, strict=True))
        for turn in turns:
            self._leave_pending(turn)
            self._in_flight[turn] = self.gate.storms
            self.gate.depart(turn)
        self.departed_messages += sum(messages)
        self.departed_requests += len(turns)

    def sent(self, turn: Turn) -> None:
        """The request is on the wire: its second begins."""
        if (leaving := self._leaving.pop(turn, None)) is not None:
            for sent in leaving:
                sent()
            self._tell()

    def end(self, turn: Turn, *, answered: bool) -> None:
        """Forget the turn, wherever it stands."""
        self.sent(turn)
        if turn in self._pending:
            self._leave_pending(turn)
        self._in_flight.pop(turn, None)
        self.gate.end(turn, answered=answered)
        self._tell()

    def shut(
        self, seconds: float, *, by: Turn | None = None, throttled: bool = False
    ) -> None:
        """Pause everybody; `by` is the turn that got the 429, if one of these did."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds = {seconds}: must be finite and not below 0")
        if by is not None:
            if by not in self._in_flight:
                raise RuntimeError("throttled() is for a turn that departed, until end")
            if self.gate.storm(by, self._in_flight[by]):
                self.allowance.storm()
        self.begin()
        self.gate.shut(seconds, throttled=throttled or by is not None)
        self._tell()

    async def _pass(
        self, queue: trio.StrictFIFOLock, messages: int, *, ahead: bool
    ) -> None:
        """Wait for this queue, the gate and room; with none of it, no checkpoint.

        A scope for each wait would cost as much as all else here (8 us): so those who
        wait are told of the end by an event of the line's.

        Nothing runs between the last look and the caller's next line: neither giving
        the lock back nor returning is a checkpoint.
        """
        self._expect_open()
        if self._free(queue, [messages], ahead=ahead):
            return
        async with queue:
            while True:
                self._expect_open()
                if seconds := self._shut(ahead=ahead):
                    await self._nap(seconds)
                elif seconds := self._full(messages, ahead=ahead):
                    await self._wait_for_room(seconds)
                else:
                    return

    async def _wait_for_room(self, seconds: float) -> None:
        """Nap, as the head of a queue; what both heads wait at once counts once."""
        if not self._heads:
            self._waits_since = trio.current_time()
        self._heads += 1
        try:
            await self._nap(seconds)
        finally:
            self._heads -= 1
            if not self._heads:
                self.waited += trio.current_time() - self._waits_since

    async def _nap(self, seconds: float) -> None:
        """Sleep that long; if it is infinite, until a turn moves or the gate does.

        Or until the line is closed.
        """
        if seconds < math.inf:
            with trio.move_on_after(seconds):
                await self._closed.wait()
        else:
            self._parked += 1
            try:
                await self._news.park()
            finally:
                self._parked -= 1

    def _is_clear(self, queue: trio.StrictFIFOLock) -> bool:
        """Whether there is nothing to wait for: as most runs know no limit."""
        free = not (self._closed.is_set() or queue.locked())
        return free and self.allowance.is_unlimited and self.gate.is_open

    def _free(
        self, queue: trio.StrictFIFOLock, messages: Sequence[int], *, ahead: bool
    ) -> int:
        """Count the turns, from the first, for which there is nothing to wait for.

        None, if somebody stands in the queue. If one may pass behind all before it,
        these may, too: so few are looked at.
        """
        if queue.locked() or self._closed.is_set() or self._shut(ahead=ahead):
            return 0
        if not self.gate.is_open:
            messages = messages[:1]  # the probe
        before = [0, *accumulate(messages)]

        def waits(place: int) -> bool:
            behind = before[place], place
            return bool(self._full(messages[place], ahead=ahead, behind=behind))

        return bisect_left(range(len(messages)), x=True, key=waits)

    def _expect_open(self) -> None:
        if self._closed.is_set():
            raise Closed

    def _tell(self) -> None:
        """Wake those who wait for a turn to move."""
        if self._parked:
            self._news.unpark_all()

    def _shut(self, *, ahead: bool) -> float:
        # Turns past the entry go first: their intents are written already.
        return self.gate.seconds_until(crowded=ahead and bool(self._pending))

    def _full(
        self, messages: int, *, ahead: bool, behind: tuple[int, int] = (0, 0)
    ) -> float:
        """Say how long the limits hold a turn.

        At the entry those that have passed it count as departing now. At the exit
        nobody else is before a turn, nor is there a lead: that look keeps the promise.

        Args:
            messages: of the turn.
            ahead: whether it stands at the entry.
            behind: messages and turns that pass at once with it, before it.
        """
        if not ahead:
            return self.allowance.seconds_until(messages, pending=behind)
        pending = (self._pending_messages + behind[0], len(self._pending) + behind[1])
        return self.allowance.seconds_until(messages, pending=pending, lead=self._lead)

    def _leave_pending(self, turn: Turn) -> None:
        del self._pending[turn]
        self._pending_messages -= turn.messages
