"""A stand-in for CloudMails in a process of its own, as cheap as it can be.

It reads a request by its Content-Length, counts its messages, answers with one id per
message, and that is all: no TLS, no limits, no faults. What it costs is not charged to
the sender, but a slow one would hold the sender back.

How it works: POST /send is one message. Of POST /send/batch the messages are counted by
the key `"to":`, which cannot occur inside a JSON string, where its quotes are escaped
(0.6 ms/MB; orjson takes 1.7). Answers are built once per count. GET /stats tells what
came.

With `--strict` it parses every message instead, refuses one that lacks a field, and
adds up a hash of each. The sum does not depend on the order or the batches: two senders
with the same sum have sent the same mails.
"""

import argparse
import hashlib
import os
import re
import socket
import sys
import time
from typing import Any

import orjson
import trio

from benchmarks.sockets import receive_into, send_all

FIELDS = ("from", "to", "subject", "html", "text")
HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


def build_answer(value: Any, status: bytes = b"200 OK") -> bytes:
    """Build a whole HTTP answer with `value` as its JSON body."""
    body = orjson.dumps(value)
    return (
        b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    ) % (status, len(body), body)


class Sink:
    """Counts what comes and answers it, over any number of connections."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._answers: dict[int, bytes] = {}
        self._one = build_answer({"message_id": "msg_000000", "status": "queued"})
        self._requests = 0
        self._messages = 0
        self._body_bytes = 0
        self._first_at: float | None = None
        self._last_at: float | None = None
        self._addresses: set[str] = set()
        self._sum = 0

    def stats(self) -> dict[str, Any]:
        """Tell what came: counts, bytes, and seconds from the first to the last."""
        first, last = self._first_at or 0.0, self._last_at or 0.0
        return {
            "requests": self._requests,
            "messages": self._messages,
            "body_bytes": self._body_bytes,
            "seconds": last - first,
            "addresses": len(self._addresses),
            "sum": f"{self._sum:032x}",
        }

    async def serve(self, sock: socket.socket) -> None:
        """Answer the requests of one connection until it closes."""
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
        if buffer.startswith(b"GET /stats "):
            return build_answer(self.stats())
        batch = buffer.startswith(b"POST /send/batch ")
        if not batch and not buffer.startswith(b"POST /send "):
            return build_answer({"error": "no such endpoint"}, b"404 Not Found")
        if self._first_at is None:
            self._first_at = time.monotonic()
        if self._strict:
            value = orjson.loads(memoryview(buffer)[start:end])
            messages = value["messages"] if batch else [value]
            if not all(self._check(message) for message in messages):
                return build_answer({"error": "missing field"}, b"400 Bad Request")
            count = len(messages)
        else:
            count = buffer.count(b'"to":', start, end) if batch else 1
        self._requests += 1
        self._messages += count
        self._body_bytes += end - start
        self._last_at = time.monotonic()
        return self._batch_answer(count) if batch else self._one

    def _check(self, message: dict[str, Any]) -> bool:
        fields = [message.get(name) for name in FIELDS]
        if not all(isinstance(field, str) for field in fields):
            return False
        self._addresses.add(message["to"])
        digest = hashlib.blake2b(orjson.dumps(fields), digest_size=16).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << 128)
        return True

    def _batch_answer(self, count: int) -> bytes:
        if count not in self._answers:
            results = [
                {"message_id": f"msg_{place:06}", "status": "queued"}
                for place in range(count)
            ]
            self._answers[count] = build_answer({"results": results})
        return self._answers[count]


async def _accept(listener: socket.socket, sink: Sink) -> None:
    async with trio.open_nursery() as nursery:
        while True:
            await trio.lowlevel.wait_readable(listener)
            sock, _ = listener.accept()
            nursery.start_soon(_serve, sink, sock)


async def _serve(sink: Sink, sock: socket.socket) -> None:
    try:
        await sink.serve(sock)
    except OSError:  # a sender that dies must not take the sink along
        sock.close()


async def run(*, strict: bool, until_eof: bool) -> None:
    """Listen on a free port of 127.0.0.1, print the port, and serve.

    Args:
        strict: parse and compare the messages instead of counting them.
        until_eof: stop at the end of standard input, a pipe, so that no sink outlives
            the process that started it.
    """
    sink = Sink(strict=strict)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.settimeout(0)
        print(listener.getsockname()[1], flush=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_accept, listener, sink)
            if until_eof:
                await trio.lowlevel.wait_readable(sys.stdin.fileno())
                nursery.cancel_scope.cancel()


def main() -> None:
    """Read the command line and serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sink")
    parser.add_argument("--strict", action="store_true", help="parse every message")
    parser.add_argument("--cpu", type=int, help="run on this CPU alone")
    parser.add_argument("--until-eof", action="store_true", help="stop at end of stdin")
    options = parser.parse_args()
    if options.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.cpu})
    trio.run(lambda: run(strict=options.strict, until_eof=options.until_eof))


if __name__ == "__main__":
    main()
