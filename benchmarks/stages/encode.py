"""Encoding: rendered messages as the requests of one provider."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from benchmarks import mail
from benchmarks.stages.material import as_dicts, draw_plan, read_chunks, render
from engine.batch import batches
from engine.message import Messages
from engine.planning import Plan


def contestants(
    rows: int, folder: Path, provider: str
) -> dict[str, Callable[[], object]]:
    """Return ours, orjson over dicts that are there already, and the library's json."""
    plan = draw_plan(rows, folder, provider)
    every = render(plan, read_chunks(plan))
    dicts = [as_dicts(messages) for messages in every]
    if provider == "cloudflare":
        made = [orjson.dumps([mail.build_raw(one) for one in some]) for some in dicts]
        ready = [orjson.loads(one) for one in made]

        def by_hand() -> None:
            for some in dicts:
                for one in some:
                    json.dumps(mail.build_raw(one)).encode()

        return {
            "mailvolley": partial(_encode, plan, every),
            "the ceiling: orjson, MIME made before": partial(_dump, ready),
            "EmailMessage and json": by_hand,
        }
    return {
        "mailvolley": partial(_encode, plan, every),
        "the ceiling: orjson, dicts made before": partial(_dump, dicts),
        "dicts and json": lambda: [
            json.dumps({"messages": as_dicts(messages)}).encode() for messages in every
        ],
    }


def _encode(plan: Plan, every: list[Messages]) -> None:
    most = plan.provider.capabilities.max_batch_bytes
    for messages in every:
        parts = plan.provider.encode(messages)
        for batch in batches(
            messages,
            parts,
            campaign="bench",
            generation=1,
            max_count=plan.manifest.batch_size,
            max_bytes=most,
        ):
            plan.provider.request(batch)


def _dump(every: list[list[dict[str, Any]]]) -> None:
    for some in every:
        orjson.dumps({"messages": some})
