"""Each stage alone: against what it cannot go below, and against what one would write.

    read        a CSV list, checked and typed
    plan        checks, duplicates, the frozen list and its ids
    make        rows as requests: three templates, and the JSON of one provider
    render      three templates, their texts read
    encode-*    messages as the JSON of one provider
    mime        messages as RFC 5322 bytes
    journal     an intent and its outcomes, a batch of 1000 at a time
    journal-single  likewise, one message at a time, 64 at once
    results     the journal as Parquet
    wire        POST and answer, one message at a time, 64 at once

A stage's module has a function that is given a number of rows and a folder, and returns
its contestants: name to what is measured. Ours is called "mailvolley", comes first, and
is measured in turns with the others, in one process.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import ROOT, SenderFailed


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        title: for people.
        module: where it is, below `benchmarks.stages`.
        rows: unless the command line says otherwise.
        variant: what its function is told besides.
        unit: what is counted.
    """

    title: str
    module: str
    rows: int
    variant: str = ""
    unit: str = "message"


STAGES = {
    "read": Stage("read a CSV list", "read", 200_000, unit="row"),
    "plan": Stage("plan and freeze a Parquet list", "plan", 200_000, unit="row"),
    "make": Stage("make requests for CloudMails, 1000 at once", "make", 20_000),
    "render": Stage("render three templates", "render", 20_000),
    "encode-cloudmails": Stage(
        "encode for CloudMails, 1000 at once", "encode", 20_000, "cloudmails"
    ),
    "encode-mailerlogic": Stage(
        "encode for MailerLogic, 500 at once", "encode", 20_000, "mailerlogic"
    ),
    "encode-cloudmailin": Stage(
        "encode for CloudMailin", "encode", 20_000, "cloudmailin"
    ),
    "encode-cloudflare": Stage(
        "encode for Cloudflare, as raw MIME", "encode", 4_000, "cloudflare"
    ),
    "mime": Stage("write as RFC 5322", "mime", 4_000),
    "journal": Stage("journal, batches of 1000", "journal", 200_000, "1000"),
    "journal-single": Stage("journal, one by one", "journal", 10_000, "1"),
    "results": Stage("journal to results.parquet", "results", 1_000_000, unit="row"),
    "wire": Stage("POST one by one, 64 in flight", "wire", 10_000, unit="request"),
}
NAMES = tuple(STAGES)
#: Runs of every contestant.
REPEAT = 5


def measure(name: str, rows: int | None = None, repeat: int = REPEAT) -> dict[str, Any]:
    """Measure a stage in a process of its own.

    Returns:
        title, unit, rows, repeat; cpu and wall: microseconds per unit, the median of
        each contestant.

    Raises:
        SenderFailed: it came to nothing.
    """
    stage = STAGES[name]
    command = [sys.executable, "-m", "benchmarks.stages", name]
    command += ["--rows", str(rows or stage.rows), "--repeat", str(repeat)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SenderFailed(f"the stage {name} failed with {done.returncode}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return {"title": stage.title, "unit": stage.unit, **measured}
