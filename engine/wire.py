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
a cap on the answer, so that no answer can fill the memory.
"""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
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
    """

    def __init__(
        self,
        base_url: str,
        credentials: Mapping[str, str],
        *,
        context: ssl.SSLContext,
        deadline: float = DEADLINE,
    ) -> None:
        self._base_url = base_url
        self._deadline = deadline
        self._client = httpx.AsyncClient(
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

    async def exchange(self, request: Request) -> Response:
        """Send a request and read its answer whole.

        Raises:
            Unavailable: nothing was sent, or not all of it: surely not accepted.
            Unanswered: it was sent and no readable answer came: perhaps accepted.
            AccountRejected: the server is not who it should be (its certificate).
        """
        progress = _Progress()
        try:
            with trio.fail_after(self._deadline):
                return await self._attempt(request, progress)
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

    async def _attempt(self, request: Request, progress: "_Progress") -> Response:
        sent = self._client.build_request(
            request.method,
            self._base_url + request.path,
            headers=dict(request.headers),
            content=request.body,
            extensions={"trace": progress.note},
        )
        answer = await self._client.send(sent, stream=True)
        try:
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > ANSWER_CAP:
                    raise Unanswered(
                        f"the answer is longer than {ANSWER_CAP} bytes",
                        reason="answer_too_long",
                        http_status=answer.status_code,
                    )
        finally:
            with trio.CancelScope(shield=True):
                await answer.aclose()
        return Response(
            status=answer.status_code,
            headers={name.lower(): value for name, value in answer.headers.items()},
            body=bytes(body),
            received_at=datetime.now(UTC),
        )


def tls_context() -> ssl.SSLContext:
    """Make the TLS settings: certificates are always verified."""
    return httpx.create_ssl_context()


class _Progress:
    """How much of one request has left, by the library's own trace of its steps."""

    __slots__ = ("_begun", "_whole")

    def __init__(self) -> None:
        self._begun = False
        self._whole = False

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            # A proxy's CONNECT goes the same way before the request does.
            self._begun = info["request"].method != b"CONNECT"
        elif event.endswith("send_request_body.complete"):
            self._whole = self._begun

    def failure(self, what: str, *, reason: str) -> ProviderError:
        """Say what a failure means for the messages of the request."""
        if not self._begun:
            return Unavailable(f"not sent: {what}", reason="not_sent")
        if not self._whole:
            return Unavailable(f"not sent whole: {what}", reason="not_processed")
        return Unanswered(f"sent, and no readable answer: {what}", reason=reason)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
