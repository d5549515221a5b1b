"""A campaign on disk with the command to send it, and a sandbox to ask."""

import io
import json
import os
import subprocess
import sys
import urllib.request
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import trio

from engine.cli import main

COMMAND = Path(sys.executable).with_name("mailvolley")
TOKEN = "canary-3f9c1b"
#: Commands that look, or take in what they are given: to load the machine would be most
#: of their work, so they are run where it is loaded. Who sends has their own process.
LOOKING = frozenset(
    {"erase", "events", "export", "plan", "reconcile", "status", "suppress", "verify"}
)
CAMPAIGN = """
name = "letter"
kind = "transactional"

[recipients]
source = "list.csv"
key = "id"

[message]
from = "Shop <shop@harbour.example>"
subject = "letter/subject.txt.j2"
html = "letter/body.html.j2"
text = "letter/body.txt.j2"

[provider]
name = "cloudmails"
token = { env = "LETTER_TOKEN" }

[limits]
batch_size = 10
workers = 4
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        answer: dict[str, Any] = json.loads(self.out)
        return answer


def looked(folder: Path, *words: object) -> Ended:
    """Run a command in a folder, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        Path(os.devnull).open(encoding="utf-8") as nobody,
        chdir(folder),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patch.setenv("LETTER_TOKEN", TOKEN)
        patch.setattr(sys, "stdin", nobody)
        patch.setattr(sys, "argv", [str(COMMAND)])
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


class Desk:
    """A folder with a campaign, its templates and a list; and the command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self._started: list[subprocess.Popen[str]] = []
        templates = folder / "templates" / "letter"
        templates.mkdir(parents=True)
        (templates / "subject.txt.j2").write_text("Hello {{ name }}\n")
        (templates / "body.html.j2").write_text("<p>Dear {{ name }}, no. {{ id }}</p>")
        (templates / "body.txt.j2").write_text("Dear {{ name }}, no. {{ id }}")
        self.campaign = folder / "letter.toml"
        self.campaign.write_text(CAMPAIGN)
        self.list(100)

    def list(self, rows: int, **changes: str) -> None:
        """Write a list of good rows, but for the addresses given by row number."""
        lines = ["id,email,name"]
        for row in range(rows):
            address = changes.get(f"row{row}", f"reader{row}@inbox.example")
            lines.append(f"{row:05},{address},Reader {row}")
        (self.folder / "list.csv").write_text("\n".join(lines) + "\n")

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Start the command."""
        process = subprocess.Popen(
            [COMMAND, *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "LETTER_TOKEN": TOKEN},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def clear(self) -> None:
        """End what a test has left running: the next would be blamed for it."""
        for process in self._started:
            with process:
                process.kill()

    def run(self, *words: object) -> Ended:
        """Run the command to its end."""
        if str(words[0]) in LOOKING and not trio.lowlevel.in_trio_run():
            return looked(self.folder, *words)
        process = self.start(*words)
        out, err = process.communicate(timeout=600)
        return Ended(process.returncode, out, err)

    def send(self, url: str, *words: object) -> Ended:
        """Send the letter to a provider at `url`, without being asked."""
        return self.run("send", "letter.toml", "--base-url", url, "--yes", *words)

    def run_directory(self) -> Path:
        """Return the only run there is."""
        (manifest,) = self.runs.glob("letter/*/manifest.json")
        return manifest.parent

    def results(self) -> pl.DataFrame:
        """Return the results of the only run there is."""
        return pl.read_parquet(self.run_directory() / "results.parquet")


@dataclass(frozen=True)
class Site:
    """A sandbox in a process of its own."""

    root: str

    @property
    def url(self) -> str:
        """What --base-url takes."""
        return f"{self.root}/cloudmails/v1"

    def ask(self, question: str) -> Any:
        """Ask what it knows: stats, messages, requests."""
        return json.loads(self.read(question))

    def read(self, question: str) -> bytes:
        """Ask for an answer as it is sent."""
        with urllib.request.urlopen(f"{self.root}/_sandbox/{question}") as answer:
            body: bytes = answer.read()
        return body

    def accepted(self) -> list[str]:
        """Return the addresses of all accepted messages, sorted."""
        messages = self.ask("messages?limit=1000000")["messages"]
        return sorted(message["to"] for message in messages)

    def fault(self, **faults: object) -> None:
        """Replace the faults."""
        request = urllib.request.Request(
            f"{self.root}/_sandbox/faults", data=json.dumps(faults).encode()
        )
        urllib.request.urlopen(request).close()
