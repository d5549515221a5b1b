"""The wire: one message's request and its answer, by whatever `Run.connect` gives."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import trio

from benchmarks import ceiling
from benchmarks.measure import running_sink
from benchmarks.stages.material import draw_plan, read_chunks, render
from engine.batch import batches
from engine.message import Request
from engine.run import Run
from engine.secret import Secret

WORKERS = 64
#: Requests that differ; they go round.
BODIES = 1000


def contestants(rows: int, folder: Path, _: str) -> dict[str, Callable[[], object]]:
    """Return ours, bare sockets, and one client of httpx."""
    plan = draw_plan(BODIES, folder, settings=["limits.batch_size=1"])
    (messages,) = render(plan, read_chunks(plan, BODIES))
    requests = [
        plan.provider.request(batch)
        for batch in batches(
            messages,
            plan.provider.encode(messages),
            campaign="bench",
            generation=1,
            max_count=1,
            max_bytes=plan.provider.capabilities.max_batch_bytes,
        )
    ]
    queue = [requests[place % BODIES] for place in range(rows)]
    bodies = folder / "bodies.jsonl"
    lines = (json.dumps(json.loads(r.body), ensure_ascii=False) for r in requests)
    bodies.write_text("\n".join(lines) + "\n", encoding="utf-8")
    bare = ceiling.load_requests(bodies, "/send")

    def in_trio(post: Callable[[str, int], object]) -> None:
        with running_sink() as sink:
            trio.run(post, sink.url, sink.port)
            came = sink.stats()["messages"]
        if came != rows:
            raise AssertionError(f"{came} requests came, not {rows}")

    async def ours(url: str, _: int) -> None:
        run = Run(plan, base_url=url, secret=Secret("bench"))
        each = iter(queue)
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(_exchange, run, each)

    async def by_hand(url: str, _: int) -> None:
        each = iter(queue)
        async with (
            httpx.AsyncClient(base_url=url) as client,
            trio.open_nursery() as nursery,
        ):
            for _ in range(WORKERS):
                nursery.start_soon(_post, client, each)

    async def least(_: str, port: int) -> None:
        await ceiling.post(port, bare, count=rows, workers=WORKERS, tls=False)

    return {
        "mailvolley": partial(in_trio, ours),
        "the ceiling: bare sockets": partial(in_trio, least),
        "httpx.AsyncClient": partial(in_trio, by_hand),
    }


async def _exchange(run: Run, requests: Iterator[Request]) -> None:
    async with run.connect() as wire:
        for request in requests:
            await wire.exchange(request, sent=lambda: None)


async def _post(client: httpx.AsyncClient, requests: Iterator[Request]) -> None:
    for request in requests:
        headers = {"Authorization": "Bearer bench", **request.headers}
        response = await client.post(
            request.path, content=request.body, headers=headers
        )
        response.raise_for_status()
        response.json()
