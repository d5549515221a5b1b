"""Stream sockets on trio with nothing around them: one wait, one system call.

`trio.SocketStream` takes locks and yields on every call, some 20 us together. What is
to be a ceiling, and the far end of a measurement, cannot afford that. Each function
waits first: on loopback the answer is hardly ever there already. Sockets with TLS are
the standard library's, which may hold what has come and needs no wait.
"""

import socket
import ssl

import trio

Buffer = bytes | bytearray | memoryview


async def receive_into(sock: socket.socket, into: Buffer) -> int:
    """Wait for bytes, put them at the start of `into`, say how many; 0 at the end."""
    while True:
        if not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv_into(into)
        except (BlockingIOError, ssl.SSLWantReadError):
            continue


async def send_all(sock: socket.socket, data: Buffer) -> None:
    """Send all of `data`, waiting only when the kernel's buffer is full."""
    view = memoryview(data)
    while view:
        try:
            view = view[sock.send(view) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            await trio.lowlevel.wait_writable(sock)


async def shake_hands(
    sock: socket.socket, context: ssl.SSLContext, host: str | None
) -> ssl.SSLSocket:
    """Put TLS over a connected socket that does not block.

    Args:
        sock: the connection.
        context: its settings.
        host: whose certificate it must be; None on the server's side.
    """
    secure = context.wrap_socket(
        sock,
        server_side=host is None,
        server_hostname=host,
        do_handshake_on_connect=False,
    )
    while True:
        try:
            secure.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(secure)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(secure)
        else:
            return secure
