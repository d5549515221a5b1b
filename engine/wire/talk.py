"""One request of httpx's over a connection, told of in httpx's words."""

import math
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

import httpx
import trio

from engine.wire.answer import BadAnswer
from engine.wire.connection import Connection
from engine.wire.head import is_field
from engine.wire.progress import words

_LAST_CHUNK: Final = b"0\r\n\r\n"


class Limits:
    """The times that a request allows for each of its phases; see `httpx.Timeout`."""

    def __init__(self, request: httpx.Request) -> None:
        self._seconds: dict[str, float | None] = request.extensions.get("timeout", {})

    @contextmanager
    def phase(
        self,
        name: str,
        slow: type[httpx.TimeoutException],
        broken: type[httpx.NetworkError] | type[httpx.PoolTimeout],
    ) -> Iterator[None]:
        """Bound a phase, and tell of its failures in httpx's words."""
        seconds = self._seconds.get(name)
        try:
            with trio.move_on_after(math.inf if seconds is None else seconds) as scope:
                yield
        except (OSError, trio.ClosedResourceError) as error:
            raise broken(words(error)) from error
        except BadAnswer as error:
            raise httpx.RemoteProtocolError(words(error)) from error
        if scope.cancelled_caught:
            raise slow(f"{name}: no end within {seconds:g} s")


class Talk(httpx.AsyncByteStream):
    """One request, and the body of its answer.

    Args:
        end: called once, with whether the request left whole.
    """

    def __init__(
        self, connection: Connection, limits: Limits, end: Callable[[bool], None]
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._end: Callable[[bool], None] | None = end
        self._whole = False

    async def send(self, request: httpx.Request) -> None:
        """Send a request, its head in one piece with what comes first of its body."""
        self._connection.reader.begin(head_only=request.method == "HEAD")
        framing = _Framing(request.headers)
        waiting = _head(request)
        pieces = aiter(_stream(request))
        try:
            async for piece in pieces:
                await self._send(waiting + framing.frame(piece))
                waiting = b""
            await self._send(waiting + framing.end())
        except httpx.WriteError:
            return  # a server may refuse and hang up before it has all of it
        finally:
            if isinstance(pieces, AsyncGenerator):
                with trio.CancelScope(shield=True):
                    await pieces.aclose()
        self._whole = True

    async def _send(self, data: bytes) -> None:
        if data:
            with self._limits.phase("write", httpx.WriteTimeout, httpx.WriteError):
                await self._connection.send(data)

    async def answer(self) -> httpx.Response:
        """Read the head of the answer."""
        reader = self._connection.reader
        while not reader.status:
            await self._read()
        return httpx.Response(
            reader.status,
            headers=reader.headers,
            stream=self,
            extensions={
                "http_version": b"HTTP/" + reader.http_version.encode(),
                "reason_phrase": reader.reason,
            },
        )

    async def _read(self) -> None:
        with self._limits.phase("read", httpx.ReadTimeout, httpx.ReadError):
            await self._connection.read()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return what comes next of the body."""
        reader = self._connection.reader
        while not (piece := reader.take()):
            if reader.complete:
                raise StopAsyncIteration
            await self._read()
        return piece

    async def aclose(self) -> None:
        """End it: the connection is kept, or closed if something of it is left."""
        end, self._end = self._end, None
        if end is not None:
            end(self._whole)


class _Framing:
    """Where a request's body ends: told the server, and held to what was announced."""

    def __init__(self, headers: httpx.Headers) -> None:
        self._is_chunked = "transfer-encoding" in headers
        self._left = int(headers.get("content-length", 0))

    def frame(self, piece: bytes) -> bytes:
        """Return a piece of a body as it goes on the wire."""
        if self._is_chunked:
            return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        self._left -= len(piece)
        if self._left < 0:
            raise httpx.LocalProtocolError("Too much data for declared Content-Length")
        return piece

    def end(self) -> bytes:
        """Return what follows the last piece."""
        if self._is_chunked:
            return _LAST_CHUNK
        if self._left:
            raise httpx.LocalProtocolError(
                "Too little data for declared Content-Length"
            )
        return b""


def _stream(request: httpx.Request) -> httpx.AsyncByteStream:
    if not isinstance(request.stream, httpx.AsyncByteStream):
        raise TypeError("an asynchronous transport needs an asynchronous stream")
    return request.stream


def _head(request: httpx.Request) -> bytes:
    target = request.extensions.get("target", request.url.raw_path)
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), target)]
    for name, value in request.headers.raw:
        if not is_field(name, value):
            raise httpx.LocalProtocolError(f"Illegal header {name!r}")
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"\r\n")
    return b"".join(lines)
