"""`mailvolley suppress` as it is typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def typed(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "engine", "suppress", *words],
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )


def test_a_list_goes_out_and_comes_in_again(tmp_path: Path) -> None:
    """What is exported here is entered there, with its reasons."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert typed(here, "add", "Ann@Example.com", "--reason", "asked").returncode == 0
    assert typed(here, "export", "../list.csv").returncode == 0
    told = typed(there, "import", "../list.csv", "--json")
    assert json.loads(told.stdout) == {"entered": 1}
    (entry,) = json.loads(typed(there, "list", "--json").stdout)["entries"]
    assert (entry["address"], entry["reason"]) == ("ann@example.com", "asked")
    assert json.loads(typed(there, "import", "../list.csv", "--json").stdout) == {
        "entered": 0
    }
    assert typed(there, "remove", "ANN@example.com").returncode == 0
    assert json.loads(typed(there, "list", "--json").stdout) == {"entries": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "nobody"), "nobody: is no address"),
        (("remove", "nobody@example.com"), "is not on the list"),
        (("import", "missing.csv"), "missing.csv"),
        (("import", "odd.csv"), "--column NAME"),
        (("import", "odd.csv", "--column", "gone"), "name, town"),
    ],
)
def test_bad_input_is_refused_by_name(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """One clear error, and nothing entered."""
    (tmp_path / "odd.csv").write_text("name,town\nAnn,Ulm\n")
    told = typed(tmp_path, *words)
    assert told.returncode == 2
    assert said in told.stderr
    assert "Traceback" not in told.stderr
