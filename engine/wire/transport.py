"""A transport for httpx on trio: one connection, kept alive, and no pool around it.

It has two doors. `handle_async_request` is httpx's: through it `httpx.AsyncClient`
behaves as documented, over one connection. `exchange` is the short way for the requests
of a run: it makes none of httpx's objects, and it knows how far each request got.
"""

import math
import ssl
from functools import partial
from typing import Final

import httpx
import trio

from engine.wire.answer import Reader
from engine.wire.channel import Origin
from engine.wire.connection import Connection, open_connection
from engine.wire.head import origin_of
from engine.wire.progress import Progress
from engine.wire.talk import Limits, Talk

#: Seconds for a connection; TLS has as many again.
CONNECT: Final = 5.0


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 over one connection at a time.

    Args:
        context: TLS settings.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._kept: Connection | None = None
        self._turns = trio.Semaphore(1)

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
        self._give_back(connection, whole=progress.whole)
        return connection.reader

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of its answer is read as it is asked for.

        A second request waits until the first one's answer is closed.

        Raises:
            httpx.TransportError: as httpx documents.
        """
        if request.url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"{request.url.scheme!r} is not spoken")
        origin, limits = origin_of(request.url), Limits(request)
        with limits.phase("pool", httpx.PoolTimeout, httpx.PoolTimeout):
            await self._turns.acquire()
        try:
            with limits.phase("connect", httpx.ConnectTimeout, httpx.ConnectError):
                connection = self._fresh(origin) or await open_connection(
                    origin, self._context, patience=math.inf
                )
        except BaseException:
            self._turns.release()
            raise
        talk = Talk(connection, limits, partial(self._end_turn, connection))
        try:
            await talk.send(request)
            return await talk.answer()
        except BaseException:
            await talk.aclose()
            raise

    def _end_turn(self, connection: Connection, whole: bool) -> None:  # noqa: FBT001  the one argument of a callback
        self._give_back(connection, whole=whole)
        self._turns.release()

    def _fresh(self, origin: Origin) -> Connection | None:
        """Take the connection that was kept, if it is still good."""
        kept, self._kept = self._kept, None
        if kept is None or (kept.origin == origin and kept.is_fresh()):
            return kept
        kept.close()
        return None

    def _give_back(self, connection: Connection, *, whole: bool) -> None:
        """Keep a connection for the next request, if this one left whole."""
        if whole and connection.release():
            self._kept = connection
        else:
            connection.close()

    async def aclose(self) -> None:
        """Hang up."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
