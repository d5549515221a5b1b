"""A stand-in for the providers in a process of its own, as cheap as it can be.

It reads a request by its Content-Length, counts its messages, answers as the API would
that accepts everything, and that is all: no limits, no faults. What it costs is not
charged to the sender, but a slow one would hold the sender back.

    POST /send, /send/batch                         CloudMails
    POST /accounts/…/email/sending/send_raw         Cloudflare Email Sending
    POST /v3/smtp/email                             Brevo, for those who speak that
    SMTP                                            on the second port

How it works: the messages of a batch are counted by the key `"to":`, which cannot occur
inside a JSON string, where its quotes are escaped (0.6 ms/MB; orjson takes 1.7).
Answers to batches are built once per count. With `--strict` every message is parsed
instead, and added up: see `benchmarks.tally`. A line on standard input is answered with
what came, as JSON on one line, and if it says `forget` that is then forgotten; the end
of standard input stops the sink.
"""

import argparse
import os
import re
import socket
import ssl
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import trio

from benchmarks import smtp
from benchmarks.sockets import receive_into, send_all, shake_hands
from benchmarks.tally import Mail, Tally, read_brevo, read_cloudmails, read_mime

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
#: Cloudflare names the recipients in its answer; every sender here writes them last.
RECIPIENT = re.compile(rb'"recipients": ?\["([^"]+)"\]\}\Z')
TAIL = 400


def build_answer(value: Any, status: bytes = b"200 OK") -> bytes:
    """Build a whole HTTP answer with `value` as its JSON body."""
    body = orjson.dumps(value)
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    ) % (status, len(body), body)


NOT_FOUND = build_answer({"error": "no such endpoint"}, b"404 Not Found")
ONE = build_answer({"message_id": "msg_000000", "status": "queued"})
BREVO = build_answer({"messageId": "<202611201200.1@bench.example>"}, b"201 Created")


class Sink:
    """Answers requests over any number of connections."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._batches: dict[int, bytes] = {}

    async def serve(self, sock: socket.socket) -> None:
        """Answer the requests of one connection until it closes."""
        buffer, filled = bytearray(1 << 16), 0
        with sock:
            while True:
                while (head_size := buffer.find(HEAD_END, 0, filled) + 4) < 4:
                    came = await receive_into(sock, memoryview(buffer)[filled:])
                    if not came:
                        return
                    filled += came
                length = LENGTH.search(buffer, 0, head_size)
                size = head_size + (int(length[1]) if length else 0)
                if size > len(buffer):
                    larger = bytearray(max(size, 2 * len(buffer)))
                    larger[:filled] = buffer[:filled]
                    buffer = larger
                while filled < size:
                    came = await receive_into(sock, memoryview(buffer)[filled:])
                    if not came:
                        return
                    filled += came
                await send_all(sock, self._answer(buffer, head_size, size))
                filled -= size
                if filled:
                    buffer[:filled] = buffer[size : size + filled]

    def _answer(self, buffer: bytearray, start: int, end: int) -> bytes:
        path = buffer[: buffer.find(b" ", 5)]
        kind = bytes(path[path.rfind(b"/") + 1 :])
        if self._tally.strict:
            self._tally.add(_read(kind, orjson.loads(memoryview(buffer)[start:end])))
        count, answer = 1, ONE
        match kind:
            case b"send":
                pass
            case b"batch":
                count = buffer.count(b'"to":', start, end)
                answer = self._batch_answer(count)
            case b"send_raw":
                to = RECIPIENT.search(buffer, max(start, end - TAIL), end)
                if to is None:
                    return NOT_FOUND
                answer = _cloudflare_answer(to[1].decode())
            case b"email":
                answer = BREVO
            case _:
                return NOT_FOUND
        self._tally.count(count, end - start)
        return answer

    def _batch_answer(self, count: int) -> bytes:
        if count not in self._batches:
            results = [
                {"message_id": f"msg_{place:06}", "status": "queued"}
                for place in range(count)
            ]
            self._batches[count] = build_answer({"results": results})
        return self._batches[count]


def _read(kind: bytes, content: Any) -> Iterable[Mail]:
    """Read the mails of a request."""
    match kind:
        case b"batch":
            return read_cloudmails(content["messages"])
        case b"send_raw":
            return [read_mime(content["mime_message"].encode())]
        case b"email":
            return [read_brevo(content)]
        case _:
            return read_cloudmails([content])


def _cloudflare_answer(address: str) -> bytes:
    result = {"delivered": [], "permanent_bounces": [], "queued": [address]}
    return build_answer(
        {"success": True, "errors": [], "messages": [], "result": result}
    )


async def _listen(
    listener: socket.socket, sink: Sink, context: ssl.SSLContext | None
) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            nursery.start_soon(_serve, sink, sock, context)


async def _serve(
    sink: Sink, sock: socket.socket, context: ssl.SSLContext | None
) -> None:
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = await shake_hands(sock, context, None)
        await sink.serve(sock)
    except OSError:  # a sender that dies must not take the sink along
        sock.close()


async def _tell(tally: Tally) -> None:
    """Answer the lines of standard input until its end."""
    while True:
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        line = os.read(sys.stdin.fileno(), 1 << 10)
        if not line:
            return
        print(orjson.dumps(tally.stats()).decode(), flush=True)
        if line.startswith(b"forget"):
            tally.forget()


async def run(tally: Tally, context: ssl.SSLContext | None) -> None:
    """Listen on two free ports of 127.0.0.1, print them, and serve.

    Args:
        tally: counts.
        context: settings of TLS for HTTP; None: there is none.
    """
    where = ("127.0.0.1", 0)
    with (
        socket.create_server(where, backlog=1024) as web,
        socket.create_server(where, backlog=1024) as post,
    ):
        for listener in (web, post):
            listener.settimeout(0)
        print(web.getsockname()[1], post.getsockname()[1], flush=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, web, Sink(tally), context)
            nursery.start_soon(smtp.listen, post, tally)
            await _tell(tally)
            nursery.cancel_scope.cancel()


def main() -> None:
    """Read the command line and serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink")
    parser.add_argument("--strict", action="store_true", help="parse every message")
    parser.add_argument("--cpu", type=int, help="run on this CPU alone")
    parser.add_argument("--tls", type=Path, help="certificate and key, in one file")
    options = parser.parse_args()
    if options.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.cpu})
    context = None
    if options.tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.tls)
    trio.run(partial(run, Tally(strict=options.strict), context))


if __name__ == "__main__":
    main()
