"""The library's way: httpx as it is shipped, for proxies and HTTP/2.

httpcore 1.0.9 does not look at what came behind an answer in HTTP/1.1: it keeps it in
its parser, and takes it for the beginning of the next one. Nothing public tells whether
there is something. So a connection is used again in HTTP/2 alone, where each answer
bears the number of its request.
"""

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

import httpx
import trio

from engine.message import Request, Response
from engine.wire.answer import AnswerTooLong
from engine.wire.connection import KEEPALIVE
from engine.wire.progress import Progress, words


class Library:
    """The way through `httpx.AsyncClient`; see `engine.wire.Way`."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        context: ssl.SSLContext,
        *,
        http2: bool,
        trust_env: bool,
    ) -> None:
        self._base_url = base_url
        self._new_client = partial(
            httpx.AsyncClient,
            headers=headers,
            verify=context,
            http2=http2,
            limits=httpx.Limits(
                max_connections=1,
                max_keepalive_connections=1,
                keepalive_expiry=KEEPALIVE,
            ),
            timeout=httpx.Timeout(30.0, connect=5.0),
            follow_redirects=False,
            trust_env=trust_env,
        )
        self._client = self._new_client()

    async def exchange(
        self, request: Request, progress: Progress, *, deadline: float, cap: int
    ) -> Response:
        """Send a request and read its answer whole.

        Raises:
            ProviderError: what httpx says, in our words.
        """
        try:
            return await self._exchange(request, progress, deadline=deadline, cap=cap)
        except httpx.TimeoutException as error:
            raise progress.failure(words(error), reason="timeout") from error
        except httpx.TransportError as error:
            raise progress.broken(error) from error

    async def _exchange(
        self, request: Request, progress: Progress, *, deadline: float, cap: int
    ) -> Response:
        trace = _Trace(progress)
        reusable = False
        try:
            with trio.fail_at(deadline):
                answer, body = await self._attempt(request, trace, cap)
            reusable = answer.http_version == "HTTP/2"
        finally:
            if not reusable:
                await self._hang_up(trace)
        return Response(
            status=answer.status_code,
            headers={n.lower(): value for n, value in answer.headers.multi_items()},
            body=body,
            received_at=datetime.now(UTC),
        )

    async def _attempt(
        self, request: Request, trace: "_Trace", cap: int
    ) -> tuple[httpx.Response, bytes]:
        sent = self._client.build_request(
            request.method,
            self._base_url + request.path,
            headers={**request.headers, "Content-Length": str(len(request.body))},
            extensions={"trace": trace.note},
        )
        sent.stream = _Body(request.body)
        answer = await self._client.send(sent, stream=True)
        try:
            body = await _read(answer, cap)
        finally:
            with trio.CancelScope(shield=True):
                await answer.aclose()
        return answer, body

    async def _hang_up(self, trace: "_Trace") -> None:
        """Throw the connection away, with all that the library knows of it."""
        client, self._client = self._client, self._new_client()
        with trio.CancelScope(shield=True):
            await client.aclose()
            # The library forgets a connection that is cancelled while it is made.
            if trace.opened is not None:
                await trace.opened.aclose()

    async def aclose(self) -> None:
        """Hang up."""
        with trio.CancelScope(shield=True):
            await self._client.aclose()


async def _read(answer: httpx.Response, cap: int) -> bytes:
    """Read a body whole, or until it is too long.

    Raises:
        AnswerTooLong: it is.
    """
    body = bytearray()
    stream: Any = answer.stream  # not aiter_raw, whose end can be cancelled
    try:
        async for piece in stream:
            body += piece
            if len(body) > cap:
                # And read on, which fails at once. To leave the loop instead would
                # leave the library's nested generators to the garbage collector.
                await answer.extensions["network_stream"].aclose()
    except httpx.TransportError:
        if len(body) <= cap:
            raise
    if len(body) > cap:
        raise AnswerTooLong(cap, answer.status_code)
    return bytes(body)


class _Body(httpx.AsyncByteStream):
    """The body of a request, in one piece.

    The library's own is an async generator, which a failed write leaves unfinished to
    the garbage collector; trio warns of that.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Pieces(iter([self._body]))


class _Pieces:
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration


class _Trace:
    """Follows a request by the library's own trace of its steps.

    Attributes:
        opened: the connection that was made for this request, or None.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.opened: Any = None

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            # A proxy's CONNECT goes the same way before the request does.
            self._progress.begun = info["request"].method != b"CONNECT"
        elif event.endswith("send_request_body.complete"):
            if self._progress.begun:
                self._progress.complete()
        elif event == "connection.connect_tcp.complete":
            self.opened = info["return_value"]
