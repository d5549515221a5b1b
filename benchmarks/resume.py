"""How long a run that was killed takes to send again, from the command to the wire.

A run is killed half way, as a power cut would, and resumed.
Both processes and the sink share one monotonic clock.
"""

import os
import shutil
import subprocess
import time
from typing import Any

from benchmarks.job import JOBS
from benchmarks.measure import OUT, ROOT, SenderFailed, Sink, running_sink
from benchmarks.sender import build_command, mailvolley, prepare

#: Seconds for the first half.
PATIENCE = 600.0


def measure_resume(rows: int) -> dict[str, Any]:
    """Kill a run of `rows` rows half way and resume it.

    Returns:
        rows; sent_before: messages before the kill; seconds: from the start of the
        command to its first request; messages: sent after it. Those that were under way
        at the kill are in doubt, and not sent again.
    """
    job = JOBS["million"]
    material = prepare(job, "ours", rows)
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    variables = {**os.environ, "CLOUDMAILS_API_KEY": "bench"}
    with running_sink() as sink, (OUT / "resume.log").open("wb") as log:
        command = build_command("ours", job, material, sink)
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=log, stderr=log
        )
        try:
            _wait_for_half(process, sink, rows)
        finally:
            process.kill()
            process.wait()
        before = sink.stats(forget=True)["messages"]
        (run,) = (OUT / "runs").glob("bench/2*")
        words = ["resume", str(run), "--yes", "--json"]
        began = time.monotonic()
        subprocess.run(
            mailvolley(*words),
            cwd=ROOT,
            env=variables,
            stdout=log,
            stderr=log,
            check=False,  # those in doubt are no good end
        )
        stats = sink.stats()
    if not stats["messages"]:
        raise SenderFailed(f"nothing was resumed: {OUT / 'resume.log'}")
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    return {
        "rows": rows,
        "sent_before": before,
        "seconds": stats["first_at"] - began,
        "messages": stats["messages"],
    }


def _wait_for_half(process: "subprocess.Popen[bytes]", sink: Sink, rows: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if sink.stats()["messages"] >= rows // 2:
            return
        time.sleep(0.05)
    raise SenderFailed(f"the run ended before it was killed: {OUT / 'resume.log'}")
