"""Many small requests under way at once, and one wait for all their answers.

How it works: a wait of trio's for each answer costs 30 us (a task that stops and goes
on, a socket that is watched and let go), as much as all else that the wire does. So who
has many lanes, connections with a request each, watches their sockets with an `epoll`
of his own, which trio waits for as for a socket. What came meanwhile is read at once.

Rules: what an exchange may do and what its failure means is as with `Wire.exchange`.
A lane has been opened by an exchange of the other kind: it is `warm`. Before a request
leaves it is known of each lane whether the server has hung up: `look`.
"""

import select
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

import trio

from engine.errors import ProviderError
from engine.message import Request, Response
from engine.wire.answer import AnswerTooLong, BadAnswer
from engine.wire.channel import Rest
from engine.wire.connection import AT_ONCE, Connection
from engine.wire.direct import Direct, response
from engine.wire.progress import Progress
from engine.wire.wire import ANSWER_CAP, DEADLINE, Wire

T = TypeVar("T")

#: Whether this system has what it takes.
CAN_FLY: Final = hasattr(select, "epoll")
#: Bytes of a body that fits.
LARGEST: Final = AT_ONCE


class Flight(Generic[T]):
    """Exchanges under way over the lanes of one worker.

    Args:
        deadline: seconds for a whole exchange.
        cap: bytes that an answer's body may have.
    """

    def __init__(self, *, deadline: float = DEADLINE, cap: int = ANSWER_CAP) -> None:
        self._seconds = deadline
        self._cap = cap
        self._epoll = select.epoll()
        #: Whose socket has which number. A number is given anew once it is free.
        self._watched: dict[int, Connection] = {}
        #: By number, the oldest first.
        self._away: dict[int, _Exchange[T]] = {}
        self._over: list[tuple[T, Response | ProviderError]] = []
        self._begun = trio.Event()

    def warm(self, wires: Iterable[Wire], most: int) -> int:
        """Count the wires, from the first to one that is not, whose connection is open.

        As far as is known; see `look`.

        Args:
            wires: each with no exchange under way.
            most: so many are enough.
        """
        count, now = 0, trio.current_time()
        for wire in wires:
            if count == most or wire.direct is None or not wire.direct.is_warm(now):
                break
            count += 1
        return count

    def begin(
        self, tag: T, wire: Wire, request: Request, sent: Callable[[], None]
    ) -> None:
        """Send a request over a wire that is warm; `ended` tells what came of it.

        Args:
            tag: what the end is told by.
            wire: one that is warm, with no other exchange under way.
            request: with a body of `LARGEST` bytes at most.
            sent: called when all of it is on the wire.

        Raises:
            LookupError: the wire is not warm.
            ValueError: the request cannot be sent; see `Heads.head`.
        """
        if (lane := wire.direct) is None:
            raise LookupError("the wire is of another kind")
        data = lane.head(request) + request.body
        now = trio.current_time()
        connection = lane.keeper.lend(now)
        progress = Progress(sent)
        exchange = _Exchange(tag, lane, connection, progress, now + self._seconds)
        number = self._watch(connection)
        self._away[number] = exchange
        try:
            exchange.rest = connection.begin(data, progress, cap=self._cap)
        except OSError as error:
            exchange.trouble = error  # there may be an answer all the same
        else:
            if exchange.rest:
                self._epoll.modify(number, select.EPOLLIN | select.EPOLLOUT)
            else:
                progress.complete()
        if not self._begun.is_set():
            self._begun.set()

    def leave(self, wire: Wire) -> None:
        """Let go of a wire that is to be used the other way."""
        if wire.direct and (connection := wire.direct.keeper.kept):
            number = connection.fileno()
            if self._watched.get(number) is connection:
                del self._watched[number]
                self._epoll.unregister(number)

    def look(self) -> list[tuple[T, Response | ProviderError]]:
        """Return what has ended, without a wait; and hang up where a server has."""
        self._read()
        return self._told()

    async def ended(self) -> list[tuple[T, Response | ProviderError]]:
        """Wait until something has ended, and return all that has."""
        while True:
            while not self._away:
                self._begun = trio.Event()
                await self._begun.wait()
            oldest = next(iter(self._away.values()))
            with trio.CancelScope(deadline=oldest.deadline):
                await trio.lowlevel.wait_readable(self._epoll.fileno())
            self._read()
            self._end_late()
            if over := self._told():
                return over

    def close(self) -> None:
        """Hang up on what is under way."""
        for exchange in self._away.values():
            exchange.connection.close()
        self._away.clear()
        self._epoll.close()

    def _told(self) -> list[tuple[T, Response | ProviderError]]:
        over, self._over = self._over, []
        return over

    def _read(self) -> None:
        for number, events in self._epoll.poll(0, len(self._watched) + 1):
            exchange = self._away.get(number)
            if exchange is not None:
                self._go_on(number, exchange, events)
            elif (idle := self._watched.pop(number, None)) is not None:
                idle.close()

    def _watch(self, connection: Connection) -> int:
        number = connection.fileno()
        if self._watched.get(number) is not connection:
            self._watched[number] = connection
            self._epoll.register(number, select.EPOLLIN)
        return number

    def _go_on(self, number: int, exchange: "_Exchange[T]", events: int) -> None:
        """Send what is left of a request, and read what has come of its answer."""
        connection = exchange.connection
        try:
            if exchange.rest and events & ~select.EPOLLIN:
                self._push(number, exchange)
            if not connection.take():
                return
        except (OSError, BadAnswer, AnswerTooLong) as error:
            trouble = exchange.trouble or error
            self._fail(number, exchange, exchange.progress.broken(trouble))
            return
        del self._away[number]
        keeper, reader = exchange.lane.keeper, connection.reader
        keeper.give_back(connection, whole=exchange.progress.whole)
        if connection.fileno() == -1:
            del self._watched[number]
        self._over.append((exchange.tag, response(reader)))

    def _push(self, number: int, exchange: "_Exchange[T]") -> None:
        try:
            exchange.rest = exchange.connection.push(exchange.rest, exchange.progress)
        except OSError as error:
            exchange.rest, exchange.trouble = b"", error
        else:
            if not exchange.rest:
                exchange.progress.complete()
        if not exchange.rest:
            self._epoll.modify(number, select.EPOLLIN)

    def _end_late(self) -> None:
        """End what has had its time."""
        now = trio.current_time()
        late = [(n, e) for n, e in self._away.items() if e.deadline <= now]
        for number, exchange in late:
            self._fail(number, exchange, exchange.progress.late(self._seconds))

    def _fail(
        self, number: int, exchange: "_Exchange[T]", error: ProviderError
    ) -> None:
        del self._away[number], self._watched[number]
        exchange.connection.close()
        self._over.append((exchange.tag, error))


class _Exchange(Generic[T]):
    """One request under way.

    Attributes:
        rest: what has not left of it.
        trouble: why it could not leave whole.
    """

    __slots__ = ("connection", "deadline", "lane", "progress", "rest", "tag", "trouble")

    def __init__(
        self,
        tag: T,
        lane: Direct,
        connection: Connection,
        progress: Progress,
        deadline: float,
    ) -> None:
        self.tag = tag
        self.lane = lane
        self.connection = connection
        self.progress = progress
        self.deadline = deadline
        self.rest: Rest = b""
        self.trouble: OSError | None = None
