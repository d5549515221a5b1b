"""One run of one sender at one job, against a fresh sink."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.job import PEERS, Job
from benchmarks.measure import CAMPAIGN, OUT, ROOT, Cost, SenderFailed, Sink
from benchmarks.peers import environment
from benchmarks.peers.by_mailmerge import build_command as mailmerge

#: Bodies made for the ceiling; a longer run goes round (20 000 are 44 MB).
BODY_ROWS = 20_000
PATHS = {
    ("cloudmails", False): "/send/batch",
    ("cloudmails", True): "/send",
    ("cloudflare", True): "/accounts/bench/email/sending/send_raw",
}


@dataclass(frozen=True, slots=True)
class Material:
    """The files of a job: the list in both forms, and the ceiling's bodies."""

    rows: int
    parquet: Path
    csv: Path
    bodies: Path


_made: set[Path] = set()


def prepare(job: Job, sender: str, rows: int) -> Material:
    """Make what one sender needs, in processes of their own: this one stays small."""
    few = min(rows, BODY_ROWS)
    listed_rows = few if sender == "ceiling" else rows
    material = Material(
        rows,
        OUT / f"recipients-{listed_rows}.parquet",
        OUT / f"recipients-{listed_rows}.csv",
        OUT / f"bodies-{few}-by-{job.batch}-{job.api}.jsonl",
    )
    listed = material.csv if sender in PEERS else material.parquet
    if sender == "ceiling":
        _make(
            material.parquet, "benchmarks.recipients", str(few), str(material.parquet)
        )
        sizes = ["--rows", str(few), "--batch", str(job.batch)]
        files = [str(material.parquet), str(material.bodies)]
        words = [*sizes, "prepare", *files, "--api", job.api]
        _make(material.bodies, "benchmarks.ceiling", *words)
    else:
        _make(listed, "benchmarks.recipients", str(rows), str(listed))
    return material


def _make(file: Path, module: str, *words: str) -> None:
    """Make a file, unless this process has."""
    if file not in _made:
        command = [sys.executable, "-m", module, *words]
        subprocess.run(command, cwd=ROOT, check=True)
        _made.add(file)


def build_command(sender: str, job: Job, material: Material, sink: Sink) -> list[str]:
    """Build the command line of one sender."""
    how = ["--batch", str(job.batch), "--workers", str(job.workers)]
    results, where = str(OUT / f"{sender}.results"), ["--base-url", sink.url]
    match sender:
        case "ours":
            return _ours(job, material, sink)
        case "obvious":
            command = [sys.executable, "-m", "benchmarks.obvious"]
            command += [str(material.parquet), results, *where, *how]
            return [*command, "--api", job.api]
        case "aiohttp":
            command = [str(environment.PYTHON), "-m", "benchmarks.peers.by_aiohttp"]
            command += [str(material.csv), results, *where, *how]
            return [*command, "--api", job.api]
        case "anymail":
            command = [str(environment.PYTHON), "-m", "benchmarks.peers.by_anymail"]
            return [*command, str(material.csv), results, *where]
        case "mailmerge":
            return mailmerge(environment.PYTHON, OUT, material.csv, sink.smtp_port)
        case _:
            command = [sys.executable, "-m", "benchmarks.ceiling"]
            command += ["--rows", str(material.rows), "--batch", str(job.batch)]
            command += ["post", str(material.bodies), "--port", str(sink.port)]
            command += ["--path", PATHS[job.api, job.batch == 1]]
            command += ["--workers", str(job.workers)]
            return [*command, *(["--tls"] if job.tls else [])]


def _ours(job: Job, material: Material, sink: Sink) -> list[str]:
    settings = [f"limits.workers={job.workers}"]
    if job.api == "cloudflare":
        # It allows 4 requests/s; what is measured is us.
        settings += ["provider.name=cloudflare", "provider.account_id=bench"]
        settings += ["limits.requests_per_second=1000000"]
    elif job.batch != 1000:
        settings += [f"limits.batch_size={job.batch}"]
    return [
        *mailvolley("send", str(CAMPAIGN)),
        *("--recipients", str(material.parquet), "--base-url", sink.url),
        *("--runs-dir", str(OUT / "runs"), "--yes", "--json"),
        *("--processes", str(job.processes)),
        *(word for setting in settings for word in ("--set", setting)),
    ]


def mailvolley(*words: str) -> list[str]:
    """Return a command line of ours."""
    return [str(Path(sys.executable).with_name("mailvolley")), *words]


def run_once(
    sender: str, job: Job, rows: int, *, strict: bool = False
) -> tuple[Cost, dict[str, Any]]:
    """Run one sender against a fresh sink.

    Returns:
        What it cost, and the sink's own figures.

    Raises:
        SenderFailed: it failed, or the sink did not get every message once.
    """
    if sender in PEERS:
        environment.ensure()
    material = prepare(job, sender, rows)
    certificate = OUT / "certificate.pem" if job.tls else None
    if certificate is not None:
        measure.make_certificate(certificate)
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    with measure.running_sink(strict=strict, certificate=certificate) as sink:
        command = build_command(sender, job, material, sink)
        variables = {"CLOUDMAILS_API_KEY": "bench", **sink.trust}
        log = OUT / f"{sender}.log"
        cpu, wall, peak = measure.run_sender(command, variables, log)
        stats = sink.stats()
    shutil.rmtree(OUT / "runs", ignore_errors=True)
    if stats["messages"] != rows:
        raise SenderFailed(f"the sink got {stats['messages']} messages, not {rows}")
    cost = Cost(
        messages=stats["messages"],
        requests=stats["requests"],
        body_bytes=stats["body_bytes"],
        cpu_seconds=cpu,
        wall_seconds=wall,
        wire_seconds=stats["last_at"] - stats["first_at"],
        peak_bytes=peak,
    )
    return cost, stats
