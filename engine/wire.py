"""HTTP: one worker's way to the provider, and how far each request got.

What a failure means is not in its type: the same exception comes back from a request
that was never sent whole and from one that was sent and perhaps carried out. So every
request keeps a trace of what really left:

* no byte of the request left: surely not accepted (`Unavailable`, "not_sent");
* the body did not leave whole: surely not accepted, for the length was announced and
  HTTP has no half requests (`Unavailable`, "not_processed");
* the body left whole and no readable answer came: perhaps accepted (`Unanswered`).

Rules: a deadline over the whole exchange, since the library's timeouts start anew with
every byte; no redirects, which would post the recipients elsewhere; no compression and
a cap on the answer, so that no answer can fill the memory. A connection is used again
only after an exchange that ended well and left nothing behind: else the next request
could be given bytes that were meant for this one.
"""

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import trio

from engine.campaign import is_loopback
from engine.errors import AccountRejected, ProviderError, Unanswered, Unavailable
from engine.message import Request, Response

USER_AGENT = "mailvolley/0.1"
#: Seconds for a whole exchange. A batch of 1000 is answered in seconds.
DEADLINE = 60.0
#: Bytes. An answer to 1000 messages has about 100 kB.
ANSWER_CAP = 8 * 1024 * 1024
#: Seconds. Below the shortest common idle time of servers (Node.js: 5), since a request
#: on a connection that the server is just closing cannot be told from a lost one.
KEEPALIVE = 4.0


class Wire:
    """One keep-alive connection to a provider. Use it as an async context manager.

    A worker owns one, so that no request ever waits inside the library's pool, which
    looks through all of its connections and requests at every step.

    Args:
        base_url: where the paths of requests are appended.
        credentials: headers added to every request as it is sent.
        context: TLS settings, shared by all workers; it is slow to make.
        deadline: seconds for a whole exchange.

    Raises:
        ValueError: a credential has a character that no header can hold.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Mapping[str, str],
        *,
        context: ssl.SSLContext,
        deadline: float = DEADLINE,
    ) -> None:
        # The library would say so too, but quote the secret.
        for name, value in credentials.items():
            if not (value.isascii() and value.isprintable() and value == value.strip()):
                raise ValueError(f"the credential {name} cannot stand in a header")
        self._base_url = base_url
        self._deadline = deadline
        self._new_client = partial(
            httpx.AsyncClient,
            headers={
                "User-Agent": USER_AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                **credentials,
            },
            verify=context,
            limits=httpx.Limits(
                max_connections=1,
                max_keepalive_connections=1,
                keepalive_expiry=KEEPALIVE,
            ),
            timeout=httpx.Timeout(30.0, connect=5.0),
            follow_redirects=False,
            trust_env=not is_loopback(urlsplit(base_url).hostname or ""),
        )
        self._client = self._new_client()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with trio.CancelScope(shield=True):
            await self._client.aclose()

    async def exchange(
        self, request: Request, *, sent: Callable[[], None] = lambda: None
    ) -> Response:
        """Send a request and read its answer whole.

        Args:
            request: what to send.
            sent: called when all of it is on the wire.

        Raises:
            Unavailable: nothing was sent, or not all of it: surely not accepted.
            Unanswered: it was sent and no readable answer came: perhaps accepted.
            AccountRejected: the server is not who it should be (its certificate).
        """
        progress = _Progress(sent)
        reusable = False
        try:
            with trio.fail_after(self._deadline):
                answer, reusable = await self._attempt(request, progress)
                return answer
        except trio.TooSlowError:
            what = f"no answer within {self._deadline:g} s"
            raise progress.failure(what, reason="timeout") from None
        except httpx.TimeoutException as error:
            raise progress.failure(_words(error), reason="timeout") from error
        except httpx.TransportError as error:
            if _is_certificate(error):
                raise AccountRejected(
                    f"the server's certificate is not valid: {_words(error)}",
                    reason="certificate",
                ) from error
            raise progress.failure(_words(error), reason="no_answer") from error
        finally:
            if not reusable:
                await self._hang_up(progress)

    async def _attempt(
        self, request: Request, progress: "_Progress"
    ) -> tuple[Response, bool]:
        """Send a request; return its answer, and whether the connection is as new."""
        sent = self._client.build_request(
            request.method,
            self._base_url + request.path,
            headers={**request.headers, "Content-Length": str(len(request.body))},
            extensions={"trace": progress.note},
        )
        sent.stream = _Body(request.body)
        answer = await self._client.send(sent, stream=True)
        try:
            body = await _read(answer)
            # From here to the return nothing can be cancelled: an answer is an answer.
            reusable = _left_nothing(answer)
        finally:
            with trio.CancelScope(shield=True):
                await answer.aclose()
        headers = {name.lower(): value for name, value in answer.headers.multi_items()}
        return (
            Response(
                status=answer.status_code,
                headers=headers,
                body=body,
                received_at=datetime.now(UTC),
            ),
            reusable,
        )

    async def _hang_up(self, progress: "_Progress") -> None:
        """Throw the connection away, with all that the library knows of it."""
        client, self._client = self._client, self._new_client()
        with trio.CancelScope(shield=True):
            await client.aclose()
            # The library forgets a connection that is cancelled while it is made.
            if progress.opened is not None:
                await progress.opened.aclose()


async def _read(answer: httpx.Response) -> bytes:
    """Read a body whole, or until it is too long.

    Raises:
        Unanswered: it is too long.
    """
    body = bytearray()
    stream: Any = answer.stream  # not aiter_raw, whose end can be cancelled
    try:
        async for piece in stream:
            body += piece
            if len(body) > ANSWER_CAP:
                # And read on, which fails at once. To leave the loop instead would
                # leave the library's nested generators to the garbage collector.
                await answer.extensions["network_stream"].aclose()
    except httpx.TransportError:
        if len(body) <= ANSWER_CAP:
            raise
    if len(body) > ANSWER_CAP:
        raise Unanswered(
            f"the answer is longer than {ANSWER_CAP} bytes",
            reason="answer_too_long",
            http_status=answer.status_code,
        )
    return bytes(body)


def _left_nothing(answer: httpx.Response) -> bool:
    """Whether nothing came after an answer that has been read whole.

    httpcore 1.0.9 does not look: it keeps what came in its parser, and takes it for the
    beginning of the next answer. The parser is reached by private names. If those
    change, no connection is used again, which is slow but never wrong.
    """
    try:
        stream: Any = answer.stream
        connection = stream._stream._httpcore_stream._stream._connection  # noqa: SLF001 - see above
        after, _ended = connection._h11_state.trailing_data  # noqa: SLF001 - see above
    except AttributeError:
        return False
    return not after


def tls_context() -> ssl.SSLContext:
    """Make the TLS settings: certificates are always verified."""
    return httpx.create_ssl_context()


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


class _Progress:
    """How much of one request has left, by the library's own trace of its steps.

    Attributes:
        opened: the connection that was made for this request, or None.
    """

    __slots__ = ("_begun", "_sent", "_whole", "opened")

    def __init__(self, sent: Callable[[], None]) -> None:
        self._sent = sent
        self._begun = False
        self._whole = False
        self.opened: Any = None

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            # A proxy's CONNECT goes the same way before the request does.
            self._begun = info["request"].method != b"CONNECT"
        elif event.endswith("send_request_body.complete"):
            self._whole = self._begun
            if self._whole:
                self._sent()
        elif event == "connection.connect_tcp.complete":
            self.opened = info["return_value"]

    def failure(self, what: str, *, reason: str) -> ProviderError:
        """Say what a failure means for the messages of the request."""
        if not self._begun:
            return Unavailable(f"not sent: {what}", reason="not_sent")
        if not self._whole:
            return Unavailable(f"not sent whole: {what}", reason="not_processed")
        return Unanswered(f"sent, and no readable answer: {what}", reason=reason)


def _words(error: BaseException) -> str:
    """Return what is said deepest down: the layers above often say nothing."""
    said = type(error).__name__
    for cause in _causes(error):
        said = str(cause) or said
    return said


def _is_certificate(error: BaseException) -> bool:
    return any(isinstance(e, ssl.SSLCertVerificationError) for e in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
