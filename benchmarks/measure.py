"""Runs one sender as a child process and says what it cost.

CPU is user plus system of the child and of the children it has waited for, from
`os.wait4`: of all figures the one that noise disturbs least. It counts everything from
the start of Python to the exit, and so does the wall time.

Peak memory is the child's `ru_maxrss`. A child inherits the mark of the process that
starts it, so what imports this module must stay small: no polars here.
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
#: Seconds after which a sender counts as hung and is killed.
PATIENCE = 1800.0
#: `ru_maxrss` is in KiB, on macOS in bytes.
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class SenderFailed(Exception):
    """A sender did not do its job, so its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a sender cost.

    Attributes:
        messages: as the sink counted them.
        requests: likewise.
        body_bytes: bytes of all request bodies.
        cpu_seconds: user and system time of the sender.
        wall_seconds: from start to exit.
        wire_seconds: from the first request to the last.
        peak_bytes: the largest resident set.
    """

    messages: int
    requests: int
    body_bytes: int
    cpu_seconds: float
    wall_seconds: float
    wire_seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Sink:
    """A running sink: where it listens, and what it has seen."""

    port: int

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"http://127.0.0.1:{self.port}"

    def stats(self) -> dict[str, Any]:
        """Ask what came."""
        with urllib.request.urlopen(f"{self.url}/stats", timeout=30) as answer:
            stats: dict[str, Any] = json.load(answer)
        return stats


@contextmanager
def running_sink(*, strict: bool = False) -> Iterator[Sink]:
    """Start a sink on the last CPU, if there are several, and stop it afterwards."""
    command = [sys.executable, "-m", "benchmarks.sink", "--until-eof"]
    cores = os.cpu_count() or 1
    if cores > 1:
        command += ["--cpu", str(cores - 1)]
    if strict:
        command.append("--strict")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=pipe,
        stdout=pipe,
        process_group=0,  # Ctrl-C is for us: we stop it ourselves
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise SenderFailed("the sink did not start")
            yield Sink(int(line))
        finally:
            process.terminate()


def run_sender(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> tuple[float, float, int]:
    """Run a sender to its end.

    Args:
        command: its words.
        environment: variables to add to ours.
        log: takes all its output.

    Returns:
        CPU seconds, wall seconds, peak bytes.

    Raises:
        SenderFailed: it ended with another status than 0, or never.
    """
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        alarm = threading.Timer(PATIENCE, os.kill, (process.pid, 9))
        alarm.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            alarm.cancel()
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        words = [line.strip(" |") for line in lines if any(map(str.isalpha, line))]
        last = words[-1] if words else "no output"
        where = log.relative_to(ROOT)
        raise SenderFailed(f"exit status {process.returncode}: {last} ({where})")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * MAXRSS_UNIT
