"""A raw server on trio's sockets: every byte, close and reset of it is chosen."""

import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

#: Bytes that a server takes while it does not read.
RECEIVE_BUFFER = 1 << 18


@dataclass(frozen=True)
class Seen:
    """A request as it came; the names of its headers in lower case."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Talk:
    """The server's side of one connection."""

    stream: trio.abc.HalfCloseableStream
    socket: trio.socket.SocketType
    seen: list[Seen]
    buffer: bytearray = field(default_factory=bytearray)

    async def head(self) -> Seen:
        """Read a request's head and leave its body where it is."""
        while b"\r\n\r\n" not in self.buffer:
            await self._more()
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        line, *fields = head.decode().split("\r\n")
        pairs = (name_value.split(": ", 1) for name_value in fields)
        found = Seen(line, {name.lower(): value for name, value in pairs}, b"")
        self.seen.append(found)
        return found

    async def request(self) -> Seen:
        """Read a whole request."""
        head = await self.head()
        length = int(head.headers["content-length"])
        while len(self.buffer) < length:
            await self._more()
        body = bytes(self.buffer[:length])
        del self.buffer[:length]
        self.seen[-1] = Seen(head.line, head.headers, body)
        return self.seen[-1]

    async def say(self, data: bytes) -> None:
        """Send bytes."""
        await self.stream.send_all(data)

    async def drip(self, data: bytes, seconds: float) -> None:
        """Send bytes one by one, each a segment of its own."""
        for place in range(len(data)):
            await self.say(data[place : place + 1])
            await trio.sleep(seconds)

    def reset(self) -> None:
        """Close with RST, not FIN."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    async def _more(self) -> None:
        data = await self.stream.receive_some(1 << 20)
        if not data:
            raise trio.BrokenResourceError("the client is gone")
        self.buffer += data


Script = Callable[[Talk], Awaitable[None]]


@dataclass
class Server:
    """A server that plays one script per connection, the last one over and over.

    Attributes:
        url: its base URL.
        seen: the requests that came, in order, of all connections.
        connections: how many connections were accepted.
        room: bytes that it takes while it does not read.
    """

    scripts: tuple[Script, ...]
    context: ssl.SSLContext | None
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    room: int = RECEIVE_BUFFER

    async def serve(
        self, *, task_status: trio.TaskStatus["Server"] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen on a free port of 127.0.0.1 until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.room)
        port = listener.socket.getsockname()[1]
        scheme = "http" if self.context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{port}"
        async with trio.open_nursery() as nursery:
            task_status.started(self)
            await trio.serve_listeners(self._play, [listener], handler_nursery=nursery)

    async def _play(self, plain: trio.SocketStream) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            stream: trio.abc.HalfCloseableStream = plain
            if self.context is not None:
                secured = trio.SSLStream(
                    plain, self.context, server_side=True, https_compatible=True
                )
                await secured.do_handshake()
                stream = secured  # type: ignore[assignment]
            async with plain:
                await script(Talk(stream, plain.socket, self.seen))


async def serving(
    nursery: trio.Nursery,
    *scripts: Script,
    context: ssl.SSLContext | None = None,
    room: int = RECEIVE_BUFFER,
) -> Server:
    """Start a server that lives as long as the test."""
    return await nursery.start(Server(scripts, context, room=room).serve)


async def start(
    nursery: trio.Nursery, certificate: "Certificate | None", *scripts: Script
) -> Server:
    """Start a server with or without TLS."""
    context = None if certificate is None else certificate.server()
    return await serving(nursery, *scripts, context=context)


@dataclass(frozen=True)
class Certificate:
    """A certificate that is its own authority, and its key, as files."""

    file: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """Return the settings of a server that shows it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.file, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        """Return the settings of a client that trusts it and nothing else."""
        return ssl.create_default_context(cafile=self.file)


def make_certificate(folders: pytest.TempPathFactory, name: str) -> Certificate:
    """Make a certificate for a name such as `IP:127.0.0.1`."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("certificates are made with the openssl command, which is not here")
    folder = folders.mktemp("certificate")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-nodes", *curve, "-days", "1"),
            *("-subj", "/CN=x", "-addext", f"subjectAltName={name}"),
            *("-keyout", str(made.key), "-out", str(made.file)),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return made


#: What `openssl ca` has to know to sign a certificate for a time of one's own choice.
_AUTHORITY = """
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
"""


def expired(folder: Path, valid: Certificate) -> Certificate:
    """Make a certificate of a good one that was good for a day, years ago."""
    (folder / "ca.conf").write_text(_AUTHORITY)
    (folder / "index").touch()
    made = Certificate(folder / "expired.pem", valid.key)
    request = ["x509", "-x509toreq", "-copy_extensions", "copy"]
    signing = ["ca", "-batch", "-selfsign", "-notext", "-config", "ca.conf"]
    times = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    for words in (
        [*request, "-in", valid.file, "-key", valid.key, "-out", "request"],
        [*signing, *times, "-in", "request", "-keyfile", valid.key, "-out", made.file],
    ):
        subprocess.run(
            ["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=20
        )
    return made
