"""The bytes of one connection: a socket, plain or under TLS, and what left through it.

Not trio's streams, for what they do not tell. A `trio.SSLStream` may have read beyond
an answer, and would serve what it has as the beginning of the next one. Nor does it
tell how much of a write that failed has left. They also yield several times for each
call: 20 us, where a request costs 25 in all.

Rules: to send never yields after its last byte, so that who is cancelled knows how far
he came. To receive waits first, since an answer is hardly ever there already. To close
is no wait: a goodbye under TLS is sent if there is room for it.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple, Protocol

import trio

#: Bytes that are received at once, at most.
RECEIVE: Final = 1 << 16
#: Bytes that are encrypted at once. Of a large body no second copy lies in memory.
_ENCRYPT: Final = 1 << 18

_HUNG_UP: Final = "we hung up"


#: What is left of something that was sent in part.
Rest = bytes | memoryview


class Origin(NamedTuple):
    """Where a connection leads to; the host as DNS and certificates have it."""

    secure: bool
    host: str
    port: int


class Channel(Protocol):
    """The bytes of one connection."""

    @property
    def left(self) -> int:
        """How many bytes the kernel has taken, those of TLS included."""
        ...

    async def send(self, data: Rest) -> None:
        """Send all of it.

        Raises:
            OSError: the connection broke before all of it had left.
        """
        ...

    async def receive(self) -> bytes:
        """Return what comes next; empty at the end.

        Raises:
            OSError: the connection broke.
        """
        ...

    def offer(self, data: bytes) -> Rest:
        """Send what there is room for, without a wait; `push` has to send the rest.

        Returns:
            What is left, as it travels; empty as a rule.

        Raises:
            OSError: as `send`.
        """
        ...

    def push(self, rest: Rest) -> Rest:
        """Send what there is room for of a rest, and return what is left.

        Raises:
            OSError: as `send`.
        """
        ...

    def take(self) -> bytes | None:
        """Return what has come, without a wait; None if nothing, empty at the end.

        Raises:
            OSError: the connection broke.
        """
        ...

    def fileno(self) -> int:
        """Return the socket's number; -1 once it is closed."""
        ...

    def is_quiet(self) -> bool:
        """Whether nothing has come that was not received, and no end either."""
        ...

    def close(self) -> None:
        """Hang up. May be called again."""
        ...


class Plain:
    """A connected socket, not blocking; see `Channel`."""

    __slots__ = ("_socket", "left")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self.left = 0

    async def send(self, data: Rest) -> None:
        """Send all of it, in one system call if there is room."""
        rest = self.offer(data)
        while rest:
            try:
                await trio.lowlevel.wait_writable(self._socket)
            except trio.ClosedResourceError:
                raise ConnectionAbortedError(_HUNG_UP) from None
            rest = self.push(rest)

    def offer(self, data: Rest) -> Rest:
        """Send what there is room for, without a wait; return what is left."""
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return data
        self.left += sent
        return b"" if sent == len(data) else memoryview(data)[sent:]

    push = offer

    def send_now(self, data: bytes) -> None:
        """Send what there is room for, for what does not matter."""
        with suppress(OSError):
            self._socket.send(data)

    async def receive(self) -> bytes:
        """Return what comes next; empty at the end."""
        while True:
            try:
                await trio.lowlevel.wait_readable(self._socket)
            except trio.ClosedResourceError:
                raise ConnectionAbortedError(_HUNG_UP) from None
            if (data := self.take()) is not None:  # else woken for nothing
                return data

    def take(self) -> bytes | None:
        """Return what has come, without a wait; None if nothing, empty at the end."""
        try:
            return self._socket.recv(RECEIVE)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        """Return the socket's number; -1 once it is closed."""
        return self._socket.fileno()

    def is_quiet(self) -> bool:
        """Whether nothing has come that was not received, and no end either."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Hang up; who is waiting for it is told."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class Secure:
    """TLS over a plain channel; see `Channel`."""

    __slots__ = ("_came", "_goes", "_is_torn", "_plain", "_tls")

    def __init__(self, plain: Plain, context: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self._is_torn = False
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=host)

    @property
    def left(self) -> int:
        """How many bytes the kernel has taken, those of TLS included."""
        return self._plain.left

    async def shake_hands(self) -> None:
        """Agree on the keys, and verify who the server is.

        Raises:
            OSError: it failed; an `ssl.SSLCertVerificationError` if the server is not
                who it should be.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._plain.send(self._goes.read())
                await self._take()
            except ssl.SSLError:
                self._plain.send_now(self._goes.read())  # the alert: why
                raise
            else:
                await self._plain.send(self._goes.read())
                return

    async def send(self, data: Rest) -> None:
        """Encrypt and send all of it."""
        rest = memoryview(data)
        self._is_torn = True
        while rest:
            rest = rest[self._tls.write(rest[:_ENCRYPT]) :]
            await self._plain.send(self._goes.read())
        self._is_torn = False

    async def receive(self) -> bytes:
        """Return what comes next, decrypted; empty at the end."""
        while True:
            try:
                return self._tls.read(RECEIVE)
            except ssl.SSLWantReadError:
                # New keys, which the server has asked for. While a request leaves, they
                # leave with what is next of it.
                if self._goes.pending and not self._is_torn:
                    await self._plain.send(self._goes.read())
                await self._take()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""  # many servers end without a goodbye

    def offer(self, data: bytes) -> Rest:
        """Encrypt all of it, and send what there is room for; return what is left."""
        self._is_torn = True
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        return self.push(self._goes.read())

    def push(self, rest: Rest) -> Rest:
        """Send what there is room for of what is encrypted; return what is left."""
        rest = self._plain.push(rest)
        self._is_torn = bool(rest)
        return rest

    def take(self) -> bytes | None:
        """Return what has come, decrypted; None if nothing, empty at the end."""
        while True:
            try:
                return self._tls.read(RECEIVE)
            except ssl.SSLWantReadError:
                if self._goes.pending and not self._is_torn:  # new keys, as above
                    self._is_torn = bool(self._plain.offer(self._goes.read()))
                    if self._is_torn:  # which hardly ever happens: 50 bytes
                        raise ConnectionAbortedError("no room for new keys") from None
                if (data := self._plain.take()) is None:
                    return None
                self._have_come(data)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""

    async def _take(self) -> None:
        self._have_come(await self._plain.receive())

    def _have_come(self, data: bytes) -> None:
        if data:
            self._came.write(data)
        else:
            self._came.write_eof()

    def fileno(self) -> int:
        """Return the socket's number; -1 once it is closed."""
        return self._plain.fileno()

    def is_quiet(self) -> bool:
        """Whether nothing has come that was not received, and no end either."""
        decrypted, encrypted = self._tls.pending(), self._came.pending
        return not decrypted and not encrypted and self._plain.is_quiet()

    def close(self) -> None:
        """Say goodbye, but not into the middle of something, and hang up."""
        if not self._is_torn:
            with suppress(ssl.SSLError):  # the server's goodbye is not waited for
                self._tls.unwrap()
            self._plain.send_now(self._goes.read())
        self._plain.close()


async def connect(
    origin: Origin, context: ssl.SSLContext, *, patience: float
) -> Channel:
    """Connect to a server.

    Args:
        origin: the server.
        context: TLS settings.
        patience: seconds for the connection, and again for TLS; may be infinite.

    Raises:
        TimeoutError: it took longer.
        OSError: it failed.
    """
    plain = await _connect(origin, patience)
    if not origin.secure:
        return plain
    try:
        secure = Secure(plain, context, origin.host)
        with _at_most(patience, "TLS was not agreed on"):
            await secure.shake_hands()
    except BaseException:
        plain.close()
        raise
    return secure


async def _connect(origin: Origin, patience: float) -> Plain:
    with _at_most(patience, "not connected"):
        stream = await trio.open_tcp_stream(origin.host, origin.port)
    connected = socket.socket(fileno=stream.socket.detach())
    connected.settimeout(0)
    return Plain(connected)


@contextmanager
def _at_most(seconds: float, failure: str) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise TimeoutError(f"{failure} within {seconds:g} s")
