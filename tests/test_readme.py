"""The README cannot lie: what it shows runs, and what there is stands in it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl
import pytest

from engine.campaign import schema
from engine.cli.commands import COMMANDS, mailvolley
from engine.cli.exits import ExitCode
from engine.outcome import Status
from engine.results import COLUMNS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = Path(sys.executable).with_name("mailvolley")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def _shown_commands() -> list[str]:
    """Return the `mailvolley` commands of all shell blocks, without their remarks."""
    lines = [line for block in _blocks("sh") for line in block.splitlines()]
    return [line.partition("  #")[0].strip() for line in lines if "mailvolley" in line]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the README's commands work on."""
    for folder in ("campaigns", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "runs").mkdir(mode=0o700)  # something was sent before
    return tmp_path


@pytest.fixture
def sandbox() -> Iterator[str]:
    """The base URL of a sandbox, for the commands that would reach a provider."""
    process = subprocess.Popen(
        [COMMAND, "sandbox", "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    port = re.search(r":(\d+)/", process.stderr.readline())
    assert port is not None
    yield f"http://127.0.0.1:{port[1]}/cloudmails/v1"
    process.terminate()
    process.communicate(timeout=10)


@pytest.mark.parametrize("shown", _shown_commands())
def test_every_command_runs(project: Path, sandbox: str, shown: str) -> None:
    """Each command of a shell block does what it says, on a copy of the samples."""
    words = shlex.split(shown)
    assert words[0] == "mailvolley"
    if words[1] == "send" and "--sandbox" not in words:
        words += ["--base-url", sandbox, "--yes"]
    done = subprocess.run(
        [COMMAND, *words[1:]],
        cwd=project,
        env={**os.environ, "CLOUDMAILS_API_KEY": "readme"},
        capture_output=True,
        text=True,
        check=False,
    )
    # The sample list has addresses that the sandbox refuses: 1 is its good end.
    # And each is run on a campaign of its own: nothing has been sent before.
    assert done.returncode in {ExitCode.DONE, ExitCode.SOME_FAILED}, done.stderr


def test_every_python_example_runs(project: Path) -> None:
    """Each Python block runs as it stands."""
    for block in _blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "'render_failed': 0" in done.stdout
        assert "'accepted': 0" not in done.stdout


def test_every_command_and_option_is_in_it() -> None:
    """A command or an option of `send` that the README does not name is a secret."""
    for name in COMMANDS:
        assert f"`mailvolley {name}" in README
    send = mailvolley.get_command(click.Context(mailvolley), "send")
    assert send is not None
    for parameter in send.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.opts[0] in README


def test_every_key_status_column_and_exit_code_is_in_it() -> None:
    """The tables are complete."""
    document = schema()
    sections = [document, *document["$defs"].values()]
    keys = {key for section in sections for key in section["properties"]}
    tables = {"recipients", "message", "provider", "limits", "unsubscribe", "expect"}
    tables |= {
        "audience",
        "holdout",
        "variants",
        "stop",
        "canary",
        "lint",
        "attachments",
        "calendar",
    }
    for key in keys - {"env", "file"}:
        wanted = rf"\[[a-z.]*{key}\]" if key in tables else f"`{key}`"
        assert re.search(wanted, README), key
    for status in Status:
        assert f"`{status}`" in README
    for column, kind in COLUMNS.items():
        assert f"`{column}`" in README
        assert isinstance(kind, pl.DataType)
    for code in ExitCode:
        assert f"| {code.value} |" in README


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench"])
def test_the_makefile_has_the_targets(target: str) -> None:
    """`make` knows what the README and the continuous checks call."""
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0
