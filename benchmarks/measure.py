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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
#: Lists, logs and runs; gigabytes after the 10 million rows.
OUT = Path(os.environ.get("BENCHMARKS_OUT", ROOT / "benchmarks" / "out")).absolute()
CAMPAIGN = ROOT / "benchmarks" / "material" / "bench.toml"
#: Seconds after which a sender counts as hung and is killed.
PATIENCE = 7200.0
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

    process: "subprocess.Popen[bytes]"
    port: int
    smtp_port: int
    certificate: Path | None

    @property
    def url(self) -> str:
        """The base URL of its API."""
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def trust(self) -> dict[str, str]:
        """Variables with which a sender trusts its certificate."""
        if self.certificate is None:
            return {}
        return {"SSL_CERT_FILE": str(self.certificate)}

    def stats(self, *, forget: bool = False) -> dict[str, Any]:
        """Ask what came, and let it be forgotten; see `benchmarks.tally.Tally`."""
        told, tell = self.process.stdin, self.process.stdout
        if told is None or tell is None:
            raise SenderFailed("the sink has no pipes")
        told.write(b"forget\n" if forget else b"\n")
        told.flush()
        stats: dict[str, Any] = json.loads(tell.readline())
        return stats


@contextmanager
def running_sink(
    *, strict: bool = False, certificate: Path | None = None
) -> Iterator[Sink]:
    """Start a sink on the last CPU, if there are several, and stop it afterwards.

    Args:
        strict: parse and add up every mail.
        certificate: speak TLS with this one, key included.
    """
    command = [sys.executable, "-m", "benchmarks.sink"]
    cores = os.cpu_count() or 1
    if cores > 1:
        command += ["--cpu", str(cores - 1)]
    if strict:
        command.append("--strict")
    if certificate is not None:
        command += ["--tls", str(certificate)]
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
            port, smtp_port = map(int, line.split())
            yield Sink(process, port, smtp_port, certificate)
        finally:
            process.terminate()


def make_certificate(path: Path) -> None:
    """Make a certificate for 127.0.0.1, its key in the same file.

    Raises:
        SenderFailed: there is no openssl to make it with.
    """
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=sink"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", f"{path}.key", "-out", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SenderFailed(f"no certificate could be made: {error}") from error
    key = Path(f"{path}.key")
    path.write_bytes(path.read_bytes() + key.read_bytes())
    key.unlink()


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
        raise SenderFailed(f"exit status {process.returncode}: {last} ({log})")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * MAXRSS_UNIT
