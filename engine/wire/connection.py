"""One connection: a request goes out, its answer comes in, and then perhaps the next.

It is used again only after an exchange that ended well and left nothing behind: else
the next request could be given bytes that were meant for this one.
"""

import math
import ssl
from typing import Final

import trio

from engine.wire.answer import AnswerTooLong, BadAnswer, Reader
from engine.wire.channel import Channel, Origin, Rest, connect
from engine.wire.progress import Progress
from engine.wire.watch import current_watch

#: Seconds. Below the shortest common idle time of servers (Node.js: 5), since a request
#: on a connection that the server is just closing cannot be told from a lost one.
KEEPALIVE: Final = 4.0
#: Bytes. A body up to this size leaves in one piece with its head. A larger one is not
#: copied for it, and the answer is looked for while it leaves.
AT_ONCE: Final = 1 << 16
#: Bytes of a large body between two looks at what else is to be done.
_PIECE: Final = 1 << 18


class Connection:
    """A connection, and what of its answer has come.

    Attributes:
        origin: where it leads to.
        reader: of the answer.
    """

    __slots__ = ("_channel", "_idle_since", "_trouble", "_watch", "origin", "reader")

    def __init__(self, origin: Origin, channel: Channel) -> None:
        self.origin = origin
        self.reader = Reader()
        self._channel = channel
        self._watch = current_watch()
        self._idle_since = 0.0
        self._trouble: Exception | None = None

    def release(self) -> bool:
        """End an exchange whose request left whole; say whether another may follow."""
        reader = self.reader
        self._idle_since = trio.current_time()
        return reader.complete and reader.keeps_alive and not reader.overrun

    def is_fresh(self) -> bool:
        """Whether the server has kept it open since, and has been silent.

        If it has hung up, this is how to know before a byte of the request has left.
        """
        return self.is_recent(trio.current_time()) and self._channel.is_quiet()

    def is_recent(self, now: float) -> bool:
        """Whether its last exchange ended so lately that no server has hung up."""
        return now - self._idle_since < KEEPALIVE

    def fileno(self) -> int:
        """Return the socket's number; -1 once it is closed."""
        return self._channel.fileno()

    def close(self) -> None:
        """Hang up. May be called again."""
        self._idle_since = -math.inf
        self._channel.close()

    # Without a wait, for who waits for many connections at once: see `flight`.

    def begin(self, request: bytes, progress: Progress, *, cap: int) -> Rest:
        """Send what there is room for of a small request, head and body.

        Args:
            request: at most `AT_ONCE` bytes and a head.
            progress: told how far it gets.
            cap: bytes that the answer's body may have.

        Returns:
            What is left, for `push`; empty as a rule.

        Raises:
            OSError: the connection broke; it may have answered all the same.
        """
        self.reader.begin(cap=cap)
        before = self._channel.left
        try:
            return self._channel.offer(request)
        finally:
            progress.begun = self._channel.left > before

    def push(self, rest: Rest, progress: Progress) -> Rest:
        """Send what there is room for of what `begin` left; return what is left."""
        left = self._channel.push(rest)
        progress.begun |= len(left) < len(rest)
        return left

    def take(self) -> bool:
        """Read what has come of the answer; say whether it is there whole.

        Raises:
            OSError, BadAnswer, AnswerTooLong: as `read`.
        """
        while not self.reader.complete:
            if (data := self._channel.take()) is None:
                return False
            if data:
                self.reader.feed(data)
            else:
                self.reader.end()
        return True

    # Each exchange with a wait of its own.

    async def exchange(
        self,
        head: bytes,
        body: bytes,
        progress: Progress,
        *,
        deadline: float,
        cap: int,
    ) -> None:
        """Send a request, and have its answer read whole.

        A server may refuse a request before it has all of it, and hang up. So one that
        could not leave whole is listened to all the same: its status decides.

        Args:
            head: the request's, its empty line included.
            body: the request's.
            progress: told how far it gets.
            deadline: in seconds of trio's clock.
            cap: bytes that the answer's body may have.

        Raises:
            OSError: the connection broke.
            BadAnswer: what came is no answer, or not all of one.
            AnswerTooLong: the body is longer than `cap`.
            trio.TooSlowError: the deadline came first.
        """
        self._watch.begin(self, deadline)
        try:
            await self._exchange(head, body, progress, cap)
        except OSError:
            if self._watch.end(self):
                raise trio.TooSlowError from None
            raise
        finally:
            self._watch.end(self)

    async def _exchange(
        self, head: bytes, body: bytes, progress: Progress, cap: int
    ) -> None:
        self.reader.begin(cap=cap)
        before = self._channel.left
        try:
            if len(body) <= AT_ONCE:
                try:
                    await self._channel.send(head + body)
                except OSError as error:
                    self._trouble = error
                else:
                    progress.complete()
            else:
                await self._send_and_listen(head, body, progress)
        finally:
            progress.begun = self._channel.left > before
        try:
            # After the answer's last byte nothing waits that could be cancelled.
            while not self.reader.complete:
                await self.read()
        except (OSError, BadAnswer) as error:
            raise self._trouble or error from None

    async def _send_and_listen(
        self, head: bytes, body: bytes, progress: Progress
    ) -> None:
        """Send a large request; stop when the server refuses what it has of it.

        Raises:
            OSError, BadAnswer, AnswerTooLong: what came instead of an answer.
        """
        heard: list[Exception] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, heard, nursery.cancel_scope)
            try:
                await self._channel.send(head)
                await self._send_in_pieces(body)
            except OSError as error:
                self._trouble = error
            else:
                progress.complete()
            nursery.cancel_scope.cancel()
        if heard:
            raise heard[0]

    async def _send_in_pieces(self, body: bytes) -> None:
        rest = memoryview(body)
        while len(rest) > _PIECE:
            await self._channel.send(rest[:_PIECE])
            rest = rest[_PIECE:]
            await trio.lowlevel.checkpoint()
        await self._channel.send(rest)

    async def _listen(self, heard: list[Exception], sending: trio.CancelScope) -> None:
        """Read what comes while a request leaves; if it is a refusal, end the sending.

        Who says yes early may still want the rest.
        """
        try:
            while not (self.reader.refuses or self.reader.complete):
                await self.read()
        except (OSError, BadAnswer, AnswerTooLong) as error:
            heard.append(error)
            sending.cancel()
        if self.reader.refuses:
            sending.cancel()

    async def send(self, data: bytes) -> None:
        """Send a piece of a request.

        Raises:
            OSError: the connection broke.
        """
        await self._channel.send(data)

    async def read(self) -> None:
        """Read what comes next of the answer.

        Raises:
            OSError: the connection broke.
            BadAnswer: what came is no answer, or its end came too early.
            AnswerTooLong: the body is too long.
        """
        if data := await self._channel.receive():
            self.reader.feed(data)
        else:
            self.reader.end()


async def open_connection(
    origin: Origin, context: ssl.SSLContext, *, patience: float
) -> Connection:
    """Connect to a server; see `channel.connect`."""
    return Connection(origin, await connect(origin, context, patience=patience))
