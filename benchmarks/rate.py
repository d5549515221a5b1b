"""How a limit is held: the worst window there was, and how much of it was used.

The sink takes the time of every request, and so sees what the provider would: the most
messages of any second, and the messages per second over the whole run. A machine that
stops the sink for a moment bunches what it sees; then the worst window says too much.
"""

import shutil
from typing import Any

from benchmarks import measure
from benchmarks.job import Job
from benchmarks.measure import OUT, SenderFailed, running_sink
from benchmarks.sender import build_command, prepare

#: Limit in messages/s, messages per request, requests in flight, seconds it takes.
CASES = ((20_000, 1000, 8, 10), (1_000, 100, 8, 10), (200, 1, 64, 10))


def measure_rates() -> list[dict[str, float]]:
    """Send with each limit.

    Returns:
        For each: limit, batch; worst: messages of the worst second, as a part of the
        limit; used: messages/s from the first request to the last, likewise.
    """
    return [_measure(*case) for case in CASES]


def _measure(limit: int, batch: int, workers: int, seconds: int) -> dict[str, float]:
    rows = limit * seconds
    job = Job(title="", rows=rows, batch=batch, workers=workers)
    material = prepare(job, "ours", rows)
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    with running_sink() as sink:
        command = build_command("ours", job, material, sink)
        command += ["--set", f"limits.messages_per_second={limit}"]
        token = {"CLOUDMAILS_API_KEY": "bench"}
        measure.run_sender(command, token, OUT / "rate.log")
        stats: dict[str, Any] = sink.stats()
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    if stats["messages"] != rows:
        raise SenderFailed(f"the sink got {stats['messages']} messages, not {rows}")
    # The last request opens a window of its own, which is not waited for.
    span = stats["last_at"] - stats["first_at"]
    used = (rows - stats["last_count"]) / span / limit
    return {
        "limit": limit,
        "batch": batch,
        "worst": stats["worst_second"] / limit,
        "used": used,
    }
