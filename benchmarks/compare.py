"""One job end to end: every sender, in turns, after a comparison of what they send."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.job import JOBS, Job
from benchmarks.measure import Cost, SenderFailed
from benchmarks.sender import run_once

#: Rows of the comparison before each job. The last batch is a short one.
CHECK_ROWS = 1050
#: What the sink must say of every sender alike; `sum` covers every field of each mail.
SAME = ("addresses", "sum")


def compare_mails(job: Job, senders: Sequence[str]) -> dict[str, str]:
    """Let each sender do the job on a short list, and compare what they sent.

    The yardstick is the obvious script, also when it is not to be measured.

    Returns:
        The senders that cannot be measured, and why.
    """
    failures: dict[str, str] = {}
    try:
        _, wanted = run_once("obvious", job, CHECK_ROWS, strict=True)
    except SenderFailed as error:
        return dict.fromkeys(senders, f"the yardstick failed: {error}")
    for sender in senders:
        if sender == "obvious":
            continue
        try:
            _, stats = run_once(sender, job, CHECK_ROWS, strict=True)
        except (SenderFailed, OSError) as error:
            failures[sender] = str(error)
            continue
        differs = [name for name in SAME if stats[name] != wanted[name]]
        if stats["requests"] != -(-CHECK_ROWS // job.batch):
            differs.append("requests")
        if differs:
            failures[sender] = f"not the obvious script's {', '.join(differs)}"
    return failures


def measure_job(
    name: str, senders: Sequence[str], *, rows: int, repeat: int
) -> dict[str, Any]:
    """Measure one job.

    The senders take turns, so that a slow minute of the machine hits all of them.

    Returns:
        title, rows, main; runs: the costs of each sender's runs; figures: their
        medians; failures: why senders are missing.
    """
    job = JOBS[name]
    failures = compare_mails(job, senders)
    runs: dict[str, list[Cost]] = {s: [] for s in senders if s not in failures}
    for _ in range(1 if job.once else repeat):
        for sender in list(runs):
            print(f"{name}: {sender} ...", file=sys.stderr, flush=True)
            try:
                cost, _ = run_once(sender, job, job.rows_of(sender, rows))
            except SenderFailed as error:
                failures[sender] = str(error)
                del runs[sender]
            else:
                runs[sender].append(cost)
    return {
        "title": job.title.format(f"{rows:,}".replace(",", " ")),
        "rows": rows,
        "main": job.main,
        "runs": {sender: [asdict(c) for c in costs] for sender, costs in runs.items()},
        "figures": {sender: summarise(costs) for sender, costs in runs.items()},
        "failures": failures,
    }


def summarise(costs: Sequence[Cost]) -> dict[str, float]:
    """Take the median of each figure over the runs of one sender.

    Returns:
        speed: messages/s of the whole process; wire: messages/s from the first request
        to the last; cpu: microseconds per message; wall: seconds; peak: MB; messages.
    """

    def median(*values: float) -> float:
        return statistics.median(values)

    return {
        "speed": median(*(c.messages / c.wall_seconds for c in costs)),
        "wire": median(*(c.messages / max(c.wire_seconds, 1e-3) for c in costs)),
        "cpu": median(*(c.cpu_seconds / c.messages * 1e6 for c in costs)),
        "wall": median(*(c.wall_seconds for c in costs)),
        "peak": median(*(c.peak_bytes / 1e6 for c in costs)),
        "messages": costs[0].messages,
    }
