"""The one connection of a worker, kept alive from one request to the next."""

import ssl
from typing import Final

import trio

from engine.wire.answer import Reader
from engine.wire.channel import Origin
from engine.wire.connection import Connection, open_connection
from engine.wire.progress import Progress

#: Seconds for a connection; TLS has as many again.
CONNECT: Final = 5.0


class Keeper:
    """HTTP/1.1 over one connection at a time, knowing how far each request got.

    Args:
        context: TLS settings.

    Attributes:
        kept: the connection, while no exchange is under way by it.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.kept: Connection | None = None

    async def exchange(
        self,
        origin: Origin,
        head: bytes,
        body: bytes,
        progress: Progress,
        *,
        deadline: float,
        cap: int,
    ) -> Reader:
        """Send a request and read its answer whole. Not for two tasks at once.

        Args:
            origin: the server.
            head: the request's, its empty line included.
            body: the request's.
            progress: told how far it gets.
            deadline: in seconds of trio's clock.
            cap: bytes that the answer's body may have.

        Returns:
            The answer; it is good until the next call.

        Raises:
            OSError: the connection failed.
            BadAnswer: what came is no answer, or not all of one.
            AnswerTooLong: the body is longer than `cap`.
            trio.TooSlowError: the deadline came first.
        """
        connection = self._fresh(origin)
        if connection is None:
            with trio.fail_at(deadline):
                connection = await open_connection(
                    origin, self._context, patience=CONNECT
                )
        try:
            await connection.exchange(head, body, progress, deadline=deadline, cap=cap)
        except BaseException:
            connection.close()
            raise
        self.give_back(connection, whole=progress.whole)
        return connection.reader

    def lend(self, now: float) -> Connection:
        """Give out the connection that is kept; `give_back` returns it.

        Args:
            now: this moment, in seconds of trio's clock.

        Raises:
            LookupError: none is, or it may be closed.
        """
        if (kept := self.kept) is None or not kept.is_recent(now):
            raise LookupError("no connection is open")
        self.kept = None
        return kept

    def _fresh(self, origin: Origin) -> Connection | None:
        """Take the connection that was kept, if it is still good."""
        kept, self.kept = self.kept, None
        if kept is None or (kept.origin == origin and kept.is_fresh()):
            return kept
        kept.close()
        return None

    def give_back(self, connection: Connection, *, whole: bool) -> None:
        """Keep a connection for the next request, if this one left whole."""
        if whole and connection.release():
            self.kept = connection
        else:
            connection.close()

    async def aclose(self) -> None:
        """Hang up."""
        kept, self.kept = self.kept, None
        if kept is not None:
            kept.close()
