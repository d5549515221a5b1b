"""A transport for httpx on trio: one connection, kept alive, and no pool around it.

It has two doors. `handle_async_request` is httpx's: through it `httpx.AsyncClient`
behaves as documented, over one connection. `exchange` is the keeper's, the short way
for the requests of a run: it makes none of httpx's objects.
"""

import math
import ssl
from functools import partial

import httpx
import trio

from engine.wire.connection import Connection, open_connection
from engine.wire.keeper import Keeper
from engine.wire.talk import Limits, Talk
from engine.wire.url import place


class Transport(Keeper, httpx.AsyncBaseTransport):
    """HTTP/1.1 over one connection at a time.

    Args:
        context: TLS settings.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context)
        self._turns = trio.Semaphore(1)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the body of its answer is read as it is asked for.

        A second request waits until the first one's answer is closed.

        Raises:
            httpx.TransportError: as httpx documents.
        """
        if request.url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"{request.url.scheme!r} is not spoken")
        origin, limits = place(str(request.url)).origin, Limits(request)
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
        self.give_back(connection, whole=whole)
        self._turns.release()
