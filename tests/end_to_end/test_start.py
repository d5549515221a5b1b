"""Claims about starts: a command loads what it needs, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end.desk import TOKEN, Desk, Site

from engine.outcome import Status

#: Runs the command, and writes down which modules it has loaded.
WATCHED = """
import sys
from pathlib import Path
from engine.cli import main
try:
    main(sys.argv[2:])
finally:
    Path(sys.argv[1]).write_text("\\n".join(sys.modules))
"""
#: What only those need who send.
MACHINE = {
    *("aiolimiter", "asyncio", "httptools", "httpx", "jinja2", "lxml", "orjson"),
    *("polars", "pydantic", "rich", "sqlite3", "ssl", "trio"),
    *("engine.api", "engine.campaign", "engine.job", "engine.sandbox"),
}
#: What only some campaigns or other commands need.
NEVER_ASKED_FOR = {
    *("dns", "email_validator", "h11", "httpx", "hypercorn", "icalendar"),
    *("markdown_it", "pygments", "rich", "starlette"),
    *("engine.cloudmailin", "engine.fetch", "engine.lookup", "engine.online"),
    *("engine.preview", "engine.proof", "engine.receiver", "engine.sandbox"),
    *("engine.track", "engine.trial"),
}
#: What a process that makes and sends leaves to the one that has decided.
DECISIONS = NEVER_ASKED_FOR | {
    *("click", "engine.cli", "engine.deliver", "engine.history", "engine.job"),
    *("engine.journal", "engine.overtaken", "engine.report", "engine.run"),
}


def run_code(desk: Desk, code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run Python that runs a command."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=desk.folder,
        env={**os.environ, "LETTER_TOKEN": TOKEN},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def loaded(desk: Desk, *words: object) -> set[str]:
    """Run a command, and return the modules that it has loaded."""
    kept = desk.folder / "modules.txt"
    run_code(desk, WATCHED, kept, *words).check_returncode()
    return set(kept.read_text().splitlines())


@pytest.mark.parametrize(
    "command", ["", "plan", "preview", "test", "send", "resume", "retry"]
)
def test_help_loads_no_machine(desk: Desk, command: str) -> None:
    """What a command takes is told without what it does."""
    assert loaded(desk, *command.split(), "--help") & MACHINE == set()


def test_a_send_loads_what_it_uses(desk: Desk, sandbox: Site) -> None:
    """A plain campaign to a provider pays for none of the rest."""
    words = ("send", "letter.toml", "--base-url", sandbox.url, "--yes")
    assert loaded(desk, *words) & NEVER_ASKED_FOR == set()
    assert desk.results()["status"].unique().to_list() == [Status.ACCEPTED]


def test_a_process_of_the_crew_loads_no_decisions(tmp_path: Path) -> None:
    """It makes and sends, and is started anew for every run."""
    code = "import engine.crew.child, sys; print(*sys.modules, sep='\\n')"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(told.stdout.splitlines()) & DECISIONS == set()


def test_the_collector_is_kept_off_what_is_loaded(tmp_path: Path) -> None:
    """It is on, and what was imported is none of its business any more."""
    code = (
        "import gc; from engine.cli import machine; machine.job\n"
        "print(gc.isenabled(), gc.get_freeze_count(), len(gc.get_objects()))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    is_on, frozen, watched = told.stdout.split()
    assert is_on == "True"
    assert int(frozen) > 100 * int(watched)


#: Runs the command, and tells which compiled modules it loaded beside the parts.
LATE = """
import sys
from importlib.machinery import ExtensionFileLoader
from engine.cli import commands, machine

late, parts = [], []
load, execute = machine._load, ExtensionFileLoader.exec_module

def load_part(name):
    parts.append(name)
    try:
        return load(name)
    finally:
        parts.pop()

def exec_module(self, module):
    if not parts:
        late.append(module.__name__)
    return execute(self, module)

machine._load, ExtensionFileLoader.exec_module = load_part, exec_module
try:
    commands.run(sys.argv[1:])
finally:
    print(*late)
"""


@pytest.mark.parametrize("command", ["plan", "send"])
def test_nothing_compiled_is_loaded_while_a_run_is_planned(
    desk: Desk, command: str
) -> None:
    """An interrupt that comes while C code sets itself up can be lost: it is sent."""
    more = ["--yes"] if command == "send" else []
    done = run_code(desk, LATE, command, "letter.toml", "--sandbox", *more)
    done.check_returncode()
    assert done.stdout.splitlines()[-1] == ""


#: Sends, and is interrupted where trio has the interrupt wait for a checkpoint.
WAITING = """
import signal, sys, trio
from engine.cli import main, output

show = output.show_plan

@trio.lowlevel.enable_ki_protection
def show_plan(*args, **more):
    show(*args, **more)
    signal.raise_signal(signal.SIGINT)

output.show_plan = show_plan
main(sys.argv[1:])
"""


def test_an_interrupt_that_waits_is_heard_before_the_run_begins(
    desk: Desk, sandbox: Site
) -> None:
    """Later it would break off the start of the journal's keeper, and wait for ever."""
    words = ("send", "letter.toml", "--base-url", sandbox.url, "--yes")
    done = run_code(desk, WAITING, *words)
    assert (done.returncode, "nothing was sent" in done.stderr) == (2, True)
    assert not any(desk.runs.glob("letter/*/manifest.json"))
