"""The ceiling: the same bodies, made beforehand, as fast as this machine posts them.

Nothing is read, rendered, encoded, recorded or checked: what remains is the kernel, the
loop of trio, and one `send` and one `recv` per request (and OpenSSL's work with TLS).
Nobody can be faster in Python on trio; the distance to it is what the rest costs.

`prepare` renders the bodies into a file, and is not measured. `post` sends them, round
and round when there are more messages to send than bodies, so that a long run needs no
more memory than a short one.
"""

import argparse
import json
import socket
import ssl
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import trio

from benchmarks.sockets import receive_into, send_all, shake_hands


def prepare(recipients: Path, out: Path, *, api: str, rows: int, batch: int) -> None:
    """Write the requests for the first `rows` recipients, one JSON text per line.

    Args:
        recipients: a Parquet list.
        out: the file to write.
        api: which API they are for.
        rows: messages in all.
        batch: messages per request.
    """
    import polars as pl  # noqa: PLC0415  # `post` must not pay for these two

    from benchmarks.mail import build_message, build_request  # noqa: PLC0415

    with out.open("w", encoding="utf-8") as file:
        for chunk in pl.read_parquet(recipients, n_rows=rows).iter_slices(batch):
            messages = [build_message(row) for row in chunk.iter_rows(named=True)]
            _, content = build_request(api, messages, batch=batch)
            json.dump(content, file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")


def load_requests(bodies: Path, path: str) -> list[bytes]:
    """Read the bodies and put a head before each."""
    head = (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer bench\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    )
    with bodies.open("rb") as file:
        lines = (line.rstrip(b"\n") for line in file)
        return [head % (path.encode(), len(line), line) for line in lines]


async def _post(
    port: int, requests: Iterator[bytes], context: ssl.SSLContext | None
) -> None:
    answer = bytearray(1 << 17)
    plain = socket.create_connection(("127.0.0.1", port))
    plain.settimeout(0)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with await shake_hands(plain, context, "127.0.0.1") if context else plain as sock:
        for request in requests:
            await send_all(sock, request)
            filled = size = 0
            while not size or filled < size:
                came = await receive_into(sock, memoryview(answer)[filled:])
                filled += came
                if not came or not answer.startswith(b"HTTP/1.1 200 "):
                    raise SystemExit(f"refused: {bytes(answer[:filled])!r}")
                if not size and (head_end := answer.find(b"\r\n\r\n", 0, filled)) > 0:
                    digits = answer[answer.rfind(b" ", 0, head_end) : head_end]
                    size = head_end + 4 + int(digits)


async def post(
    port: int, requests: list[bytes], *, count: int, workers: int, tls: bool
) -> None:
    """Post `count` requests over `workers` connections that share one queue."""
    context = ssl.create_default_context() if tls else None
    queue = islice(cycle(requests), count)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(_post, port, queue, context)


def main() -> None:
    """Read the command line; prepare or post."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ceiling")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1000)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="render the bodies")
    command.add_argument("recipients", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--api", default="cloudmails")
    command = commands.add_parser("post", help="send them")
    command.add_argument("bodies", type=Path)
    command.add_argument("--path", required=True)
    command.add_argument("--port", type=int, required=True)
    command.add_argument("--workers", type=int, default=8)
    command.add_argument("--tls", action="store_true")
    options = vars(parser.parse_args())
    if options.pop("command") == "prepare":
        prepare(options.pop("recipients"), options.pop("out"), **options)
        return
    requests = load_requests(options.pop("bodies"), options.pop("path"))
    count = -(-options.pop("rows") // options.pop("batch"))
    port = options.pop("port")
    trio.run(lambda: post(port, requests, count=count, **options))


if __name__ == "__main__":
    main()
