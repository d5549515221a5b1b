"""The sandbox on the wire: an HTTP/1.1 server on trio and h11 that can misbehave.

How it works: one task per connection reads a request's head, lets `faults` decide what
befalls it, reads the body, has the dialect answer, notes what was accepted, and only
then sends the answer or breaks the connection in the way that is due. Accepting comes
before the delay and before the mishap: a client that gives up early, or hears nothing,
finds afterwards that its mail was sent.

Limits: no pipelining, no TLS. Arrivals are stamped when the server gets to read the
first byte, so while it digests a large batch a stamp may be some milliseconds late.
"""

import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from email.utils import formatdate
from typing import ClassVar, Protocol, TypeAlias, runtime_checkable

import h11
import trio

from engine.sandbox.faults import Faults, Mishap
from engine.sandbox.store import Answer, Call, Happening, Store, json_answer

#: Bytes of one request's body; fifteen batches of 1000 messages of 2 kB.
MAX_BODY = 32 * 2**20
#: Seconds for a request's body to come, once its head is there; nginx allows as much
#: between two reads.
BODY_SECONDS = 60.0
#: Seconds for the next request's head to come; nginx's default for idle connections.
IDLE_SECONDS = 75.0
#: Seconds between two bytes of a slow answer.
SLOW_SECONDS = 0.3
#: Seconds to read on after refusing a request unread: closing at once would reset the
#: connection and could destroy the refusal before the client reads it.
_LINGER_SECONDS = 2.0
_CHUNK = 256 * 1024

_HTML = b"<!doctype html><title>502</title><h1>Bad gateway</h1>\n"

_BOTH_DONE = (h11.DONE, h11.DONE)
_SILENT = (
    Mishap.HANG_BEFORE,
    Mishap.RESET_AFTER,
    Mishap.CLOSE_AFTER,
    Mishap.HANG_AFTER,
)
_Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]


class Dialect(Protocol):
    """One provider's API: where it lives and how it answers.

    Attributes:
        name: the provider's name.
        prefix: of its paths; begins with `/` and does not end with it.
    """

    name: ClassVar[str]
    prefix: ClassVar[str]

    def is_sending(self, method: str, path: str) -> bool:
        """Say whether a request to `path`, below the prefix, sends mail."""

    def refuse(self, status: int, message: str) -> Answer:
        """Answer with an error in the provider's words."""

    def handle(self, call: Call, faults: Faults, store: Store) -> Answer:
        """Answer a request and say what was accepted; the server notes it."""

    def post(self, happening: Happening) -> bytes | None:
        """Write the body of a webhook's post, one line; None if there is no such event.

        It may be asked for any message that this dialect accepted, more than once and
        before its time has come.
        """


@runtime_checkable
class Signing(Protocol):
    """A dialect whose webhooks sign what they post."""

    def signature(self, body: bytes, secret: str) -> dict[str, str]:
        """Return the headers that prove where a post comes from."""


@runtime_checkable
class Adjustable(Protocol):
    """A dialect some of whose words depend on settings."""

    def adjust(self, faults: Faults) -> None:
        """Take the settings that hold from now on."""


class Site(Protocol):
    """What the server needs to know of the sandbox.

    Attributes:
        store: takes what is asked and accepted from now on.
    """

    store: Store

    @property
    def faults(self) -> Faults:
        """What goes wrong for requests that begin now."""

    def dialect(self, provider_name: str) -> Dialect:
        """Return what speaks for a provider."""

    def accepted(self) -> None:
        """Learn that the store holds more than before."""

    def dialect_of(self, path: str) -> Dialect | None:
        """Return the dialect below whose prefix a path is, if any."""

    def elapsed(self) -> float:
        """Say how many seconds have passed since the start."""

    def fault_number(self, number: int) -> int:
        """Number a request from when the faults were set; 0 stands for the latest."""

    def question(self, method: str, path: str, query: str, body: bytes) -> Answer:
        """Answer what is not for a dialect."""


async def converse(site: Site, stream: trio.SocketStream) -> None:
    """Serve one client until it leaves or its connection is spent."""
    with suppress(trio.BrokenResourceError):  # the client has gone: its own affair
        await _Connection(site, stream).run()


class _Refused(Exception):
    """The request cannot be read to its end."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Connection:
    """One client's connection."""

    def __init__(self, site: Site, stream: trio.SocketStream) -> None:
        self._site = site
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)
        self._arrived: float | None = None
        self._is_head = False

    async def run(self) -> None:
        """Serve requests until the client leaves or the connection is spent."""
        try:
            while await self._serve_one():
                if (self._http.our_state, self._http.their_state) != _BOTH_DONE:
                    return
                self._http.start_next_cycle()
        except _Refused as refusal:
            answer = json_answer(refusal.status, {"error": str(refusal)})
            await self._send(replace(answer, headers=[("connection", "close")]))
            with trio.move_on_after(_LINGER_SECONDS):
                await self._stream.send_eof()
                await self._wait_for_end()

    async def _serve_one(self) -> bool:
        """Serve a request; False when the connection must not be used again."""
        self._arrived = None
        head: _Event | None = None
        with trio.move_on_after(IDLE_SECONDS):
            head = await self._read()
        if not isinstance(head, h11.Request):
            return False
        self._is_head = head.method == b"HEAD"
        path, _, query = head.target.decode("ascii").partition("?")
        dialect = self._site.dialect_of(path)
        if dialect is not None:
            path = path.removeprefix(dialect.prefix)
            return await self._serve_mail(dialect, head, path, query)
        body = await self._read_body(head)
        method = head.method.decode("ascii")
        await self._send(self._site.question(method, path, query, body))
        return True

    async def _serve_mail(
        self, dialect: Dialect, head: h11.Request, path: str, query: str
    ) -> bool:
        store, faults = self._site.store, self._site.faults
        method = head.method.decode("ascii")
        sending = dialect.is_sending(method, path)
        arrived = self._site.elapsed() if self._arrived is None else self._arrived
        number = store.begin(arrived, dialect.name) if sending else 0
        turn = self._site.fault_number(number)
        mishap = faults.before(turn) if sending else faults.before_lookup(turn)
        if mishap is Mishap.RESET_BEFORE:
            store.befell(mishap)
            return self._reset()
        try:
            body = await self._read_body(head)
        except _Refused as refusal:
            store.answered(number, refusal.status)
            raise
        answer = Answer(200)
        if mishap is None:
            at = store.opened + timedelta(seconds=arrived)
            call = Call(number, method, path, query, _headers(head), body, at)
            answer = dialect.handle(call, faults, store)
            if answer.accepted is not None:
                store.accept(number, answer.accepted)
                self._site.accepted()
                mishap = faults.after(turn)
        if mishap is not None:
            store.befell(mishap)
            answer = _spoil(mishap, answer, dialect, faults)
        if sending and (delay := faults.delay(turn)):
            await trio.sleep(delay)
        return await self._finish(
            mishap, answer, number, store, slow=sending and faults.slow_body
        )

    async def _finish(
        self,
        mishap: Mishap | None,
        answer: Answer,
        number: int,
        store: Store,
        *,
        slow: bool,
    ) -> bool:
        """Send the answer to a request, or fail to."""
        if mishap in _SILENT:
            return await self._fall_silent(mishap)
        store.answered(number, answer.status)
        truncate = mishap is Mishap.TRUNCATE
        await self._send(answer, truncate=truncate, slow=slow)
        return not truncate

    async def _fall_silent(self, mishap: Mishap | None) -> bool:
        if mishap is Mishap.RESET_AFTER:
            return self._reset()
        if mishap is not Mishap.CLOSE_AFTER:
            await self._wait_for_end()
        return False

    def _reset(self) -> bool:
        """Have the connection end with RST instead of FIN when it is closed."""
        linger = struct.pack("ii", 1, 0)
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return False

    async def _wait_for_end(self) -> None:
        while await self._stream.receive_some(_CHUNK):
            pass

    async def _read(self) -> _Event:
        """Read the next event.

        Raises:
            _Refused: the client does not speak HTTP/1.1.
        """
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    await self._stream.send_all(self._http.send(go_on) or b"")
                data = await self._stream.receive_some(_CHUNK)
                if self._arrived is None:
                    self._arrived = self._site.elapsed()
                self._http.receive_data(bytes(data))
        except h11.RemoteProtocolError as error:
            raise _Refused(error.error_status_hint, str(error)) from error
        return event

    async def _read_body(self, head: h11.Request) -> bytes:
        """Read the body of a request.

        Raises:
            _Refused: it is too long, too slow, or breaks off.
        """
        parts: list[bytes] = []
        size = int(_headers(head).get("content-length", "0"))
        received = 0
        with trio.move_on_after(BODY_SECONDS) as patience:
            while size <= MAX_BODY:
                event = await self._read()
                if not isinstance(event, h11.Data):
                    return b"".join(parts)
                parts.append(event.data)
                received += len(event.data)
                size = max(size, received)
        if patience.cancelled_caught:
            raise _Refused(408, f"The body took over {BODY_SECONDS:g} s")
        raise _Refused(413, f"The body is over {MAX_BODY} bytes")

    async def _send(
        self, answer: Answer, *, truncate: bool = False, slow: bool = False
    ) -> None:
        """Send an answer, whole unless `truncate`, a byte at a time if `slow`."""
        if answer.stream is not None:
            await self._send_stream(answer, answer.stream)
            return
        body = answer.body[: len(answer.body) // 2] if truncate else answer.body
        if self._is_head:
            body = b""
        headers = [
            ("date", formatdate(usegmt=True)),
            ("content-type", answer.content_type),
            ("content-length", str(len(answer.body) + truncate)),
            *answer.headers,
        ]
        response = h11.Response(status_code=answer.status, headers=headers)
        head = self._http.send(response) or b""
        self._http.send(h11.Data(data=body))  # of a stated length: sent as it is
        if not truncate:
            self._http.send(h11.EndOfMessage())
        await self._stream.send_all(head if slow else head + body)
        for byte in body if slow else b"":
            await trio.sleep(SLOW_SECONDS)
            await self._stream.send_all(bytes((byte,)))

    async def _send_stream(self, answer: Answer, pieces: Iterator[bytes]) -> None:
        """Send an answer whose length nobody knows, piece by piece."""
        headers = [
            ("date", formatdate(usegmt=True)),
            ("content-type", answer.content_type),
            ("transfer-encoding", "chunked"),
            *answer.headers,
        ]
        response = h11.Response(status_code=answer.status, headers=headers)
        await self._stream.send_all(self._http.send(response) or b"")
        for piece in () if self._is_head else pieces:
            await self._stream.send_all(self._http.send(h11.Data(data=piece)) or b"")
        await self._stream.send_all(self._http.send(h11.EndOfMessage()) or b"")


def _headers(head: h11.Request) -> dict[str, str]:
    return {
        name.decode("ascii"): value.decode("latin-1") for name, value in head.headers
    }


def _spoil(mishap: Mishap, answer: Answer, dialect: Dialect, faults: Faults) -> Answer:
    """Make the answer what the mishap makes of it."""
    return {
        Mishap.REDIRECT: Answer(307, headers=[("location", faults.redirect)]),
        Mishap.CREDENTIALS: dialect.refuse(401, "Invalid or missing API key"),
        Mishap.THROTTLE: _headed(
            dialect.refuse(429, "Too many requests, slow down"),
            faults.throttle_headers(time.time()),
        ),
        Mishap.UNAVAILABLE: _headed(
            dialect.refuse(503, "Down for maintenance"),
            [("retry-after", f"{faults.retry_after:g}")],
        ),
        Mishap.ERROR_BEFORE: dialect.refuse(faults.error_status, "Internal error"),
        Mishap.ERROR_AFTER: dialect.refuse(faults.error_status, "Internal error"),
        Mishap.HTML: Answer(200, _HTML, content_type="text/html; charset=utf-8"),
        Mishap.GARBLE: Answer(200, b"OK: queued\n"),
        Mishap.EMPTY: Answer(200),
    }.get(mishap, answer)


def _headed(answer: Answer, headers: Sequence[tuple[str, str]]) -> Answer:
    """Give an answer headers beside its own; these go before those of the same name."""
    names = {name for name, _ in headers}
    own = [header for header in answer.headers if header[0].lower() not in names]
    return replace(answer, headers=[*own, *headers])
