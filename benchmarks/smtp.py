"""The sink's other ear: enough of SMTP for one that sends by it (RFC 5321)."""

import socket

import trio

from benchmarks.sockets import receive_into, send_all
from benchmarks.tally import Tally, read_mime

DATA_END = b"\r\n.\r\n"
ANSWERS = {
    b"EHLO": b"250-sink\r\n250-8BITMIME\r\n250 SIZE 10000000\r\n",
    b"DATA": b"354 Go on\r\n",
    b"QUIT": b"221 Bye\r\n",
}


async def converse(sock: socket.socket, tally: Tally) -> None:
    """Take the mails of one connection until it says QUIT."""
    sock.settimeout(0)
    with sock:
        await send_all(sock, b"220 sink\r\n")
        lines = _Lines(sock)
        while line := await lines.until(b"\r\n"):
            verb = line[:4].upper()
            await send_all(sock, ANSWERS.get(verb, b"250 OK\r\n"))
            if verb == b"QUIT":
                return
            if verb == b"DATA":
                octets = await lines.until(DATA_END)
                if tally.strict:
                    tally.add([read_mime(octets.replace(b"\r\n..", b"\r\n."))])
                tally.count(1, len(octets))
                await send_all(sock, b"250 OK\r\n")


class _Lines:
    """Reads up to an end, and keeps what came after it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""

    async def until(self, end: bytes) -> bytes:
        """Return what comes up to `end` and with it; empty if nothing more comes."""
        buffer = bytearray(1 << 16)
        while (place := self._rest.find(end)) < 0:
            came = await receive_into(self._sock, buffer)
            if not came:
                return b""
            self._rest += buffer[:came]
        size = place + len(end)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


async def listen(listener: socket.socket, tally: Tally) -> None:
    """Take mails on every connection that comes, for ever."""
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            nursery.start_soon(_safely, sock, tally)


async def _safely(sock: socket.socket, tally: Tally) -> None:
    try:
        await converse(sock, tally)
    except OSError:  # a sender that dies must not take the sink along
        sock.close()
