"""The processes of a run, seen from the one that owns it.

How it works: a process sits in a seat. Each worker has its hand in one of the seats,
and asks it for one thing at a time over the pipe that all hands of a seat share. When a
process is gone, the next hand that needs the seat puts another one there and has its
chunk made anew: with the same ids, for it is made of the same rows.

Rules: what a lost process had been told to send is in doubt, since nobody knows how far
it came; unless the order itself had not left whole. A process that has said nothing for
`PATIENCE` while it was asked for something is ended: no request takes as long.
"""

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import polars as pl
import trio

from engine import memory, wire
from engine.crew.hand import (
    PROCESS_LOST,
    Answer,
    Hand,
    Made,
    NotSent,
    Parcel,
)
from engine.crew.pipe import Begin, Order, Pipe, Report, unpacked
from engine.errors import BrokenPromise, HandsLost, ProviderError, Unanswered

#: So many processes may be lost within so many seconds; the run stops at the next.
MOST_LOST, LOST_WITHIN = 5, 600.0
#: Seconds: two exchanges, and then some.
PATIENCE = 2 * wire.DEADLINE + 30.0
#: Seconds that a process gets to hang up at the end of a run.
GRACE = 2.0
#: What a process runs. It imports from where this one does: `-m` would also look into
#: the folder that it is started in. What is imported is never garbage, and the garbage
#: collector is kept off it.
_CODE = (
    "import gc, sys; gc.disable(); sys.path[:] = {path!r}; "
    "from engine.crew.child import main; gc.freeze(); gc.enable(); main()"
)


@asynccontextmanager
async def hired(
    begin: Begin, *, processes: int, workers: int
) -> AsyncIterator[list[Hand]]:
    """Start processes, and give each worker its hand in one of them.

    They end with the block, however it ends: then nothing of them is under way.

    Args:
        begin: what they work for.
        processes: how many.
        workers: how many hands; they are spread evenly.
    """
    async with trio.open_nursery() as nursery:
        losses = _Losses()
        seats = [_Seat(begin, nursery, losses) for _ in range(processes)]
        try:
            for seat in seats:
                seat.process()
            yield [Remote(seats[n % processes], n) for n in range(workers)]
        finally:
            for seat in seats:
                seat.leave()
            with trio.move_on_after(GRACE, shield=True):
                for seat in seats:
                    await seat.gone()
            for seat in seats:
                seat.end()
        nursery.cancel_scope.cancel()


class _Losses:
    """The processes that were lost of late: a few are bad luck, many have a reason."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MOST_LOST + 1)
        self._last = ""

    def add(self, how: str) -> None:
        """Count one."""
        self._times.append(trio.current_time())
        self._last = how

    def expect_few(self) -> None:
        """Refuse to go on where they are too many.

        Raises:
            HandsLost: they are.
        """
        times = self._times
        if len(times) > MOST_LOST and times[-1] - times[0] <= LOST_WITHIN:
            raise HandsLost(
                f"{len(times)} worker processes have ended before their work did, the "
                f"last {self._last}",
                hint="look for what ends them (the kernel's log, if memory is short); "
                "--processes 1 works without any",
            )


class _Seat:
    """A place for a process, and for the next one when it is lost."""

    def __init__(self, begin: Begin, nursery: trio.Nursery, losses: _Losses) -> None:
        self._begin = begin
        self._nursery = nursery
        self._losses = losses
        self._process: _Process | None = None

    def process(self) -> "_Process":
        """Return the process in the seat; start one if there is none that lives.

        Raises:
            HandsLost: too many were lost.
        """
        if self._process is None or not self._process.lives:
            self._losses.expect_few()
            self._process = _Process(self._begin, self._losses)
            self._nursery.start_soon(self._process.run)
        return self._process

    def leave(self) -> None:
        """Ask the process to hang up and end."""
        if self._process is not None:
            self._process.leave()

    async def gone(self) -> None:
        """Wait until the process has ended."""
        if self._process is not None:
            wait = self._process.popen.wait
            await trio.to_thread.run_sync(wait, abandon_on_cancel=True)

    def end(self) -> None:
        """End the process, if it has not ended."""
        if self._process is not None:
            self._process.end()


class _Question:
    """What one hand waits for.

    Attributes:
        left_at: what the pipe's `left` must be for the order to have left whole.
        report: the answer; None: the process is gone.
    """

    __slots__ = ("_answered", "left_at", "report", "sent")

    def __init__(self, left_at: int, sent: Callable[[], None] | None) -> None:
        self.left_at = left_at
        self.sent = sent
        self.report: Report | None = None
        self._answered = trio.Event()

    def answer(self, report: Report | None) -> None:
        """Let the hand go on."""
        self.report = report
        self._answered.set()

    async def wait(self) -> None:
        """Wait for the answer."""
        await self._answered.wait()


class _Process:
    """One process and the pipe to it.

    Attributes:
        popen: the process.
        ended: set once it cannot be asked any more.
        how: how it ended.
    """

    def __init__(self, begin: Begin, losses: _Losses) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # From the thread that stays: on Linux it ends with the thread it is from.
            self.popen = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-P", "-c", _CODE.format(path=sys.path)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # One thread reads a chunk as fast as many; each has memory of its own.
                env={**memory.POLARS, **os.environ, "POLARS_MAX_THREADS": "1"},
                process_group=0,  # Ctrl-C is for us
            )
        self._pipe = Pipe(ours)
        self._pipe.put(begin)
        self._losses = losses
        self._questions: dict[int, _Question] = {}
        self._asked_at = trio.current_time()
        self._leaving = False
        self.ended = trio.Event()
        self.how = ""

    @property
    def lives(self) -> bool:
        """Whether it can be asked."""
        return not self.ended.is_set()

    async def ask(
        self, order: Order, sent: Callable[[], None] | None = None
    ) -> tuple[Report | None, bool]:
        """Have something done.

        Returns:
            What came of it, None if the process is gone; and whether it can have heard.
        """
        question = _Question(self._pipe.put(order), sent)
        self._asked_at = trio.current_time()
        self._questions[order[1]] = question
        await question.wait()
        return question.report, self._pipe.left >= question.left_at

    async def run(self) -> None:
        """Talk to the process until it is gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pipe.run)
            while reports := await self._listen():
                for report in reports:
                    self._heard(report)
            nursery.cancel_scope.cancel()
        if not self._leaving:
            self.end()

    async def _listen(self) -> list[Report]:
        while True:
            with trio.move_on_after(PATIENCE):
                return await self._pipe.listen()
            if self._questions and trio.current_time() - self._asked_at >= PATIENCE:
                return []

    def _heard(self, report: Report) -> None:
        if report[0] == "sent":
            question = self._questions[report[1]]
            if question.sent is not None:
                question.sent()
        else:
            self._questions.pop(report[1]).answer(report)

    def leave(self) -> None:
        """Ask it to end: it does so when the pipe does."""
        self._leaving = True
        self._pipe.close()

    def end(self) -> None:
        """End it, now, and let go whoever waits for it."""
        if not self.lives:
            return
        self.ended.set()
        self._pipe.close()
        self.popen.kill()
        self.how = _told(self.popen.wait())
        if not self._leaving:
            self._losses.add(self.how)
        for question in self._questions.values():
            question.answer(None)
        self._questions.clear()


def _told(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    return f"by signal {-code} ({signal.strsignal(-code)})"


class Remote:
    """A hand in another process. See `engine.crew.hand.Hand`."""

    lanes = 1
    wings = None

    def __init__(self, seat: _Seat, number: int) -> None:
        self._seat = seat
        self._number = number
        self._process: _Process | None = None
        self._chunk = b""
        self._known: dict[str, Parcel] = {}
        self._parents: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    async def make(self, chunk: pl.DataFrame) -> Made:
        """Make batches of a chunk."""
        self._chunk = _encoded(chunk)
        self._parents = {}
        while (made := await self._make()) is None:
            pass
        return made

    async def ready(self, parcel: Parcel) -> Parcel:
        """Have a batch's bytes in a process that lives."""
        while self._process is None or not self._process.lives:
            if await self._make() is not None:
                await self._halve_again(parcel.id)
        if parcel.id not in self._known:
            raise HandsLost(
                "a chunk that was made anew is cut otherwise than before: a file that "
                "its messages are made from has changed"
            )
        return self._known[parcel.id]

    def drop(self, parcel: Parcel) -> None:
        """Do nothing: the process forgets a chunk when it makes the next."""

    async def halves(self, parcel: Parcel) -> tuple[Parcel, Parcel]:
        """Cut a batch in the middle."""
        while True:
            await self.ready(parcel)
            if (both := await self._halve(parcel.id)) is not None:
                return both

    async def exchange(self, parcel: Parcel, *, sent: Callable[[], None]) -> Answer:
        """Send a batch and read its answer, or say how far it got."""
        process = self._process
        if process is None or not process.lives:
            raise NotSent
        order: Order = ("send", self._number, parcel.id)
        report, heard = await process.ask(order, sent)
        if report is None and not heard:
            raise NotSent
        if report is None:
            raise Unanswered(
                f"sent, perhaps, by a process that ended {process.how}",
                reason=PROCESS_LOST,
            )
        _, status, outcomes = _told_well("answered", report)
        return Answer(status, outcomes)

    async def _make(self) -> Made | None:
        """Have the chunk made; None if the process was lost over it."""
        process = self._seat.process()
        self._process, self._known = process, {}
        report, _ = await process.ask(("make", self._number, self._chunk))
        if report is None:
            return None
        _, columns, *more = _told_well("made", report)
        made = Made([Parcel(*column) for column in columns], *more)
        self._known = {parcel.id: parcel for parcel in made.parcels}
        return made

    async def _halve_again(self, name: str) -> None:
        """Cut what a batch was cut out of, from the first on."""
        line: list[str] = []
        while (parent := self._parents.get(name)) is not None:
            line.append(parent)
            name = parent
        for ancestor in reversed(line):
            if ancestor not in self._known or await self._halve(ancestor) is None:
                return  # `ready` sees what is missing

    async def _halve(self, name: str) -> tuple[Parcel, Parcel] | None:
        """Have a batch cut; None if the process was lost over it."""
        process = self._process
        if process is None or not process.lives:
            return None
        report, _ = await process.ask(("halve", self._number, name))
        if report is None:
            return None
        _, columns, *_ = _told_well("made", report)
        first, second = (Parcel(*column) for column in columns)
        for half in (first, second):
            self._known[half.id] = half
            self._parents[half.id] = name
        return first, second


def _encoded(chunk: pl.DataFrame) -> bytes:
    """Return a chunk as Arrow IPC.

    In the older form of text: in the newer one a slice brings along all that it is a
    slice of (polars 2.1).
    """
    stream = chunk.write_ipc_stream(
        None, compression="uncompressed", compat_level=pl.CompatLevel.oldest()
    )
    return stream.getvalue()


def _told_well(kind: str, report: Report) -> tuple[Any, ...]:
    """Return what a report says, without its kind; or raise what went wrong.

    Raises:
        ProviderError: the provider, or the way to it.
        HandsLost: the process cannot do its work.
        BrokenPromise: a bug of ours.
    """
    match report:
        case ("failed", _, told):
            error = unpacked(told)
            if isinstance(error, ProviderError | BrokenPromise):
                raise error
            raise HandsLost(str(error), hint=error.hint)
        case ("broken", _, traceback):
            raise BrokenPromise(f"in a worker process:\n{traceback}")
        case (said, *_) if said == kind:
            return report[1:]
        case _:
            raise BrokenPromise(f"a worker process said {report[0]}, not {kind}")
