"""The ceiling: the same bodies, made beforehand, as fast as this machine posts them.

Nothing is read, rendered, encoded, recorded or checked: what remains is the kernel, the
loop of trio, and one `send` and one `recv` per request. Nobody can be faster in Python
on trio; the distance to it is what the rest of the work costs.

`prepare` renders the bodies into a file, and is not measured. `post` sends them, round
and round when there are more messages to send than bodies, so that a long run needs no
more memory than a short one.
"""

import argparse
import json
import socket
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import trio

from benchmarks.sockets import receive_into, send_all


def prepare(recipients: Path, out: Path, *, rows: int, batch: int) -> None:
    """Write the bodies for the first `rows` recipients, one JSON text per line.

    Args:
        recipients: a Parquet list.
        out: the file to write.
        rows: messages in all.
        batch: messages per body; 1 makes bodies for /send.
    """
    import polars as pl  # noqa: PLC0415  # `post` must not pay for these two

    from benchmarks.obvious import build_message  # noqa: PLC0415

    with out.open("w", encoding="utf-8") as file:
        for chunk in pl.read_parquet(recipients, n_rows=rows).iter_slices(batch):
            messages = [build_message(row) for row in chunk.iter_rows(named=True)]
            body = messages[0] if batch == 1 else {"messages": messages}
            json.dump(body, file, ensure_ascii=False, separators=(",", ":"))
            file.write("\n")


def load_requests(bodies: Path, *, batch: int) -> list[bytes]:
    """Read the bodies and put a head before each."""
    path = b"/send" if batch == 1 else b"/send/batch"
    head = (
        b"POST %b HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer bench\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    )
    with bodies.open("rb") as file:
        lines = (line.rstrip(b"\n") for line in file)
        return [head % (path, len(line), line) for line in lines]


async def _post(port: int, requests: Iterator[bytes]) -> None:
    answer = bytearray(1 << 17)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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


async def post(port: int, requests: list[bytes], *, count: int, workers: int) -> None:
    """Post `count` requests over `workers` connections that share one queue."""
    queue = islice(cycle(requests), count)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(_post, port, queue)


def main() -> None:
    """Read the command line; prepare or post."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ceiling")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1000)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare", help="render the bodies")
    command.add_argument("recipients", type=Path)
    command.add_argument("out", type=Path)
    command = commands.add_parser("post", help="send them")
    command.add_argument("bodies", type=Path)
    command.add_argument("--port", type=int, required=True)
    command.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    if options.command == "prepare":
        prepare(options.recipients, options.out, rows=options.rows, batch=options.batch)
    else:
        requests = load_requests(options.bodies, batch=options.batch)
        count = -(-options.rows // options.batch)
        workers = options.workers
        trio.run(lambda: post(options.port, requests, count=count, workers=workers))


if __name__ == "__main__":
    main()
