"""The shape of the house: imports run downward, and importing does nothing."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine

ROOT = Path(__file__).parent.parent
ENGINE = ROOT / "engine"

#: From the ground up. A room may import from the floors below its own and, among its
#: own walls, whatever it likes. `errors`, `outcome` are words that all may use.
FLOORS = (
    {"errors", "outcome", "message", "moment", "texts", "listed", "event", "stages"},
    {"record", "mime"},
    {
        "campaign",
        "address",
        "render",
        "batch",
        "bucket",
        "retry",
        "providers",
        "webhooks",
    },
    {"tracking", "lint"},
    {"parquet", "piecewise", "spool", "rundir", "database", "memory"},
    {"duplicates", "members", "exchange", "export"},
    {"manifest", "snapshot"},
    {"recipients", "secret", "journal", "wire", "pace", "results", "events"}
    | {"suppression", "unsubscribe", "asked", "fetched", "resolver"},
    {"stop", "cloudmailin", "history"},
    {"planning", "online", "guard", "reconcile", "verify", "intake", "erase"},
    {"crew", "proof"},
    {"deliver", "overtaken", "preview", "trial"},
    {"worker"},
    {"run", "report", "receiver", "track", "fetch"},
    {"job", "lookup"},
    {"api"},
    {"cli"},
)
#: The other side of the wire: it knows the words and nothing else of us, so that a
#: misreading of a provider's document here cannot agree with itself there.
SANDBOX = "sandbox"
SANDBOX_USERS = {"job", "api", "cli"}
TOP_LEVEL = {
    "LICENSE",
    "Makefile",
    "README.md",
    "benchmarks",
    "campaigns",
    "engine",
    "pyproject.toml",
    "requirements.lock",
    "templates",
    "tests",
}
ROOMS = sorted({p.stem for p in ENGINE.iterdir() if p.stem[:2] != "__"} - {"py"})


def _floor(room: str) -> int:
    (floor,) = [n for n, rooms in enumerate(FLOORS) if room in rooms]
    return floor


def _imports(file: Path) -> Iterator[str]:
    """Yield the rooms that a file imports from."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "engine":
            names = [f"engine.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names = [node.module or ""]
        else:
            continue
        yield from (n.split(".")[1] for n in names if n.startswith("engine."))


def _files(room: str) -> list[Path]:
    return [*ENGINE.glob(f"{room}.py"), *ENGINE.glob(f"{room}/**/*.py")]


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "py.typed"])
def test_imports_run_downward(room: str) -> None:
    """A file imports only from floors below its own."""
    wrong = []
    for file in _files(room):
        for other in set(_imports(file)) - {room, "__version__"}:
            if room == SANDBOX:
                allowed = _floor(other) == 0
            elif other == SANDBOX:
                allowed = room in SANDBOX_USERS
            else:
                allowed = _floor(other) < _floor(room)
            if not allowed:
                wrong.append(f"{file.relative_to(ROOT)} imports {other}")
    assert wrong == []


def test_the_map_names_every_room() -> None:
    """Whoever opens the package is shown all of it."""
    drawn = set(re.findall(r"[a-z_]+", engine.__doc__ or ""))
    assert set(ROOMS) - drawn == set()


def test_only_wire_knows_the_http_library() -> None:
    """Httpx stays behind one seam."""
    users = {
        file.relative_to(ENGINE).parts[0]
        for file in ENGINE.rglob("*.py")
        if "import httpx" in file.read_text(encoding="utf-8")
    }
    assert users == {"wire"}


def test_nothing_else_lies_at_the_top() -> None:
    """The top level is what the README describes."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("not a git checkout")
    names = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL


def test_importing_has_no_side_effects() -> None:
    """Import loads no package of ours or others', sets no handler, starts no thread."""
    check = (
        "import logging, signal, sys, threading\n"
        "before = signal.getsignal(signal.SIGTERM), len(logging.root.handlers)\n"
        "import engine\n"
        "heavy = {'polars', 'trio', 'httpx', 'jinja2', 'click'} & sys.modules.keys()\n"
        "import engine.api, engine.cli\n"
        "after = signal.getsignal(signal.SIGTERM), len(logging.root.handlers)\n"
        "assert not heavy, heavy\n"
        "assert before == after\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_public_names_are_there() -> None:
    """Every name in `__all__` can be had, and is documented."""
    import engine  # noqa: PLC0415 - what this test is about

    for name in engine.__all__:
        assert getattr(engine, name).__doc__, name
