"""The obvious script: the same packages, used as their front pages show.

It is what a Python user writes in an afternoon: read the list with polars, render each
row with `Template.render`, post it with one `httpx.AsyncClient` from a few trio tasks,
and write the answers to Parquet. It has no journal, no retries, no checks and no rate:
a crash loses everything it knew.
"""

import argparse
from pathlib import Path
from typing import Any

import httpx
import jinja2
import polars as pl
import trio

SENDER = "Harbour Books <hello@harbour.example>"
TEMPLATES = Path(__file__).parent / "material" / "templates" / "bench"

environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES),
    autoescape=jinja2.select_autoescape(["html.j2"]),
    undefined=jinja2.StrictUndefined,
)
subject = environment.get_template("subject.txt.j2")
html = environment.get_template("body.html.j2")
text = environment.get_template("body.txt.j2")


def build_message(row: dict[str, Any]) -> dict[str, str]:
    """Render one recipient's mail, in the words of CloudMails."""
    return {
        "from": SENDER,
        "to": row["email"],
        "subject": subject.render(row),
        "html": html.render(row),
        "text": text.render(row),
    }


async def post(
    client: httpx.AsyncClient,
    chunks: trio.MemoryReceiveChannel[list[dict[str, str]]],
    results: list[dict[str, Any]],
) -> None:
    """Post one chunk after the other and keep the answers in `results`."""
    async with chunks:
        async for messages in chunks:
            if len(messages) == 1:
                response = await client.post("/send", json=messages[0])
                response.raise_for_status()
                answers = [response.json()]
            else:
                response = await client.post("/send/batch", json={"messages": messages})
                response.raise_for_status()
                answers = response.json()["results"]
            for message, answer in zip(messages, answers, strict=True):
                results.append({"email": message["to"], **answer})


async def send(
    recipients: Path, out: Path, *, base_url: str, token: str, batch: int, workers: int
) -> None:
    """Send to every row of `recipients` and write one row each to `out`."""
    frame = pl.read_parquet(recipients)
    results: list[dict[str, Any]] = []
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx.AsyncClient(base_url=base_url, headers=headers) as client,
        trio.open_nursery() as nursery,
    ):
        sender, receiver = trio.open_memory_channel[list[dict[str, str]]](0)
        for _ in range(workers):
            nursery.start_soon(post, client, receiver.clone(), results)
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
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    trio.run(
        lambda: send(
            options.recipients,
            options.out,
            base_url=options.base_url,
            token="bench",
            batch=options.batch,
            workers=options.workers,
        )
    )


if __name__ == "__main__":
    main()
