"""Stream sockets on trio with nothing around them: one wait, one system call.

`trio.SocketStream` takes locks and yields on every call, some 20 us together. What is
to be a ceiling, and the far end of a measurement, cannot afford that. Each function
waits first: on loopback the answer is hardly ever there already.
"""

import socket

import trio

Buffer = bytes | bytearray | memoryview


async def receive_into(sock: socket.socket, into: Buffer) -> int:
    """Wait for bytes, put them at the start of `into`, say how many; 0 at the end."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv_into(into)
        except BlockingIOError:
            continue


async def send_all(sock: socket.socket, data: Buffer) -> None:
    """Send all of `data`, waiting only when the kernel's buffer is full."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
