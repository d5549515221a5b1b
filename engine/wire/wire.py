"""One worker's way to the provider; see the package."""

import os
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import trio

from engine.campaign import is_loopback
from engine.message import Request, Response
from engine.wire.answer import AnswerTooLong, BadAnswer
from engine.wire.direct import Direct
from engine.wire.progress import Progress

USER_AGENT: Final = "mailvolley/0.1"
#: Seconds for a whole exchange. A batch of 1000 is answered in seconds.
DEADLINE: Final = 60.0
#: Bytes. An answer to 1000 messages has about 100 kB.
ANSWER_CAP: Final = 8 * 1024 * 1024


class Way(Protocol):
    """What takes a request to the provider and brings its answer."""

    async def exchange(
        self, request: Request, progress: Progress, *, deadline: float, cap: int
    ) -> Response:
        """Send a request and read its answer whole, noting how far it gets.

        Args:
            request: what to send.
            progress: told how far it gets.
            deadline: in seconds of trio's clock.
            cap: bytes that the answer's body may have.

        Raises:
            OSError, BadAnswer: it failed.
            ProviderError: likewise, in our words already.
            AnswerTooLong: the body is longer than `cap`.
            trio.TooSlowError: the deadline came first.
        """
        ...

    async def aclose(self) -> None:
        """Hang up."""
        ...


class Wire:
    """One keep-alive connection to a provider. Use it as an async context manager.

    A worker owns one, so that no request waits for a connection or looks for one.

    Args:
        base_url: where the paths of requests are appended.
        credentials: headers added to every request as it is sent.
        context: TLS settings, shared by all workers; it is slow to make.
        deadline: seconds for a whole exchange.
        http2: offer HTTP/2, which the library speaks.
        library: go through the library in any case; otherwise it is taken for HTTP/2,
            and where the environment names a proxy.

    Attributes:
        direct: its connection of our own; None: it goes through the library.

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
        http2: bool = False,
        library: bool = False,
    ) -> None:
        # The library would say so too, but quote the secret.
        for name, value in credentials.items():
            if not (value.isascii() and value.isprintable() and value == value.strip()):
                raise ValueError(f"the credential {name} cannot stand in a header")
        self._deadline = deadline
        headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **credentials,
        }
        proxied = _is_proxied(base_url)
        self.direct: Direct | None = None
        self._way: Way
        if library or http2 or proxied:
            from engine.wire.through_httpx import Library  # noqa: PLC0415 - slow

            self._way = Library(
                base_url, headers, context, http2=http2, trust_env=proxied
            )
        else:
            self._way = self.direct = Direct(base_url, headers, context)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._way.aclose()

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
        progress = Progress(sent)
        deadline = trio.current_time() + self._deadline
        try:
            return await self._way.exchange(
                request, progress, deadline=deadline, cap=ANSWER_CAP
            )
        except trio.TooSlowError:
            raise progress.late(self._deadline) from None
        except AnswerTooLong as error:
            raise progress.broken(error) from None
        except (OSError, BadAnswer) as error:
            raise progress.broken(error) from error


def tls_context(base_url: str) -> ssl.SSLContext:
    """Make the TLS settings for a server: certificates are always verified.

    Whom to trust, the environment says as for OpenSSL, else certifi; as for httpx. That
    takes long to read. Where no TLS is spoken, nobody is trusted.
    """
    if urlsplit(base_url).scheme == "http" and not _is_proxied(base_url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if file := os.environ.get("SSL_CERT_FILE"):
        return ssl.create_default_context(cafile=file)
    if folder := os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(capath=folder)
    return ssl.create_default_context(cafile=certifi.where())


def _is_proxied(base_url: str) -> bool:
    """Whether the environment names a proxy for this address; none is for our own."""
    url = urlsplit(base_url)
    host = url.hostname or ""
    if is_loopback(host) or not getproxies().keys() & {url.scheme, "all"}:
        return False
    return not proxy_bypass(host)
