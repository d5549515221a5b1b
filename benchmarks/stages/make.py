"""Making: rows of the frozen list as the bodies of requests, batches of 1000.

What a run does between reading a row and sending it: the templates are filled and the
JSON is written, with the facts that come back in events, which the others leave out.
"""

import json
from collections.abc import Callable
from pathlib import Path

import orjson

from benchmarks import mail
from benchmarks.stages.material import as_dict, draw_plan, read_chunks
from benchmarks.stages.render import f_strings
from engine.crew.maker import Maker


def contestants(rows: int, folder: Path, _: str) -> dict[str, Callable[[], object]]:
    """Return ours, f-strings with orjson, and Jinja's front page with json."""
    plan = draw_plan(rows, folder)
    chunks = read_chunks(plan)
    maker, fill = Maker.of(plan), f_strings()

    def ours() -> None:
        for chunk in chunks:
            batches, failures = maker.encode(maker.render(chunk))
            if failures:
                raise AssertionError("a row of the benchmark could not be made")
            for batch in batches:
                plan.provider.request(batch)

    def at_least() -> None:
        for chunk in chunks:
            each = zip(chunk["address"].to_list(), chunk["data"].to_list(), strict=True)
            made = [as_dict(to, *fill(row)) for to, row in each]
            orjson.dumps({"messages": made})

    def by_hand() -> None:
        for chunk in chunks:
            made = [mail.build_message(row) for row in chunk["data"].to_list()]
            json.dumps({"messages": made}).encode()

    return {
        "mailvolley": ours,
        "f-strings and orjson": at_least,
        "Template.render and json": by_hand,
    }
