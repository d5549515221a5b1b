"""The obvious script: the same packages, used as their front pages show.

It is what a Python user writes in an afternoon: read the list with polars, render each
row with `Template.render`, post it with one `httpx.AsyncClient` from a few trio tasks,
and write the answers to Parquet. It has no journal, no retries, no checks and no rate:
a crash loses everything it knew.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import trio

from benchmarks.mail import APIS, build_message, build_request, read_answer


async def post(
    client: httpx.AsyncClient,
    chunks: trio.MemoryReceiveChannel[list[dict[str, str]]],
    results: list[dict[str, Any]],
    *,
    api: str,
    batch: int,
) -> None:
    """Post one chunk after the other and keep the answers in `results`."""
    async with chunks:
        async for messages in chunks:
            path, content = build_request(api, messages, batch=batch)
            response = await client.post(path, json=content)
            response.raise_for_status()
            answers = read_answer(api, response.json(), batch=batch)
            for message, answer in zip(messages, answers, strict=True):
                results.append({"email": message["to"], **answer})


async def send(
    recipients: Path, out: Path, *, base_url: str, api: str, batch: int, workers: int
) -> None:
    """Send to every row of `recipients` and write one row each to `out`."""
    frame = pl.read_parquet(recipients)
    results: list[dict[str, Any]] = []
    headers = {"Authorization": "Bearer bench"}
    async with (
        httpx.AsyncClient(base_url=base_url, headers=headers) as client,
        trio.open_nursery() as nursery,
    ):
        sender, receiver = trio.open_memory_channel[list[dict[str, str]]](0)
        work = partial(post, api=api, batch=batch)
        for _ in range(workers):
            nursery.start_soon(work, client, receiver.clone(), results)
        receiver.close()
        async with sender:
            for chunk in frame.iter_slices(batch):
                rows = chunk.iter_rows(named=True)
                await sender.send([build_message(row) for row in rows])
    pl.DataFrame(results).write_parquet(out)


def main() -> None:
    """Read the command line and send."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.obvious")
    parser.add_argument("recipients", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--api", choices=APIS, default="cloudmails")
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=8)
    options = vars(parser.parse_args())
    trio.run(lambda: send(options.pop("recipients"), options.pop("out"), **options))


if __name__ == "__main__":
    main()
