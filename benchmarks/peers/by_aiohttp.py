"""The same script on asyncio: one session of aiohttp, and tasks that share a queue.

As its documents show: `session.post(url, json=…)`, and the answer read with `json()`.
The list is read with `csv`, the answers are written with it.
"""

import argparse
import asyncio
import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import aiohttp

from benchmarks.mail import APIS, build_message, build_request, read_answer

Row = dict[str, str]


def read_chunks(recipients: Path, size: int) -> Iterator[list[Row]]:
    """Read the list in chunks."""
    with recipients.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        while chunk := list(islice(rows, size)):
            yield chunk


async def post(
    session: aiohttp.ClientSession,
    chunks: Iterator[list[Row]],
    results: list[list[str]],
    *,
    api: str,
    batch: int,
) -> None:
    """Post one chunk after the other and keep the answers in `results`."""
    for chunk in chunks:
        messages = [build_message(row) for row in chunk]
        path, content = build_request(api, messages, batch=batch)
        async with session.post(path, json=content) as response:
            response.raise_for_status()
            answers = read_answer(api, await response.json(), batch=batch)
        for message, answer in zip(messages, answers, strict=True):
            results.append([message["to"], *map(str, answer.values())])


async def send(
    recipients: Path, out: Path, *, base_url: str, api: str, batch: int, workers: int
) -> None:
    """Send to every row of `recipients` and write one line each to `out`."""
    results: list[list[str]] = []
    headers = {"Authorization": "Bearer bench"}
    chunks = read_chunks(recipients, batch)
    async with (
        aiohttp.ClientSession(base_url, headers=headers) as session,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(workers):
            work = post(session, chunks, results, api=api, batch=batch)
            tasks.create_task(work)
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(results)


def main() -> None:
    """Read the command line and send."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.by_aiohttp")
    parser.add_argument("recipients", type=Path, help="a CSV file")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--api", choices=APIS, default="cloudmails")
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=8)
    options = vars(parser.parse_args())
    asyncio.run(send(options.pop("recipients"), options.pop("out"), **options))


if __name__ == "__main__":
    main()
