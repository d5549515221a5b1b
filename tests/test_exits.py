"""Claims about `engine.cli.exits`: every end has a code, and every code a word."""

import json
import pkgutil
from importlib import import_module

import pytest

import engine
from engine import errors
from engine.cli import exits
from engine.cli.exits import ExitCode


def test_every_end_but_the_good_one_has_a_word() -> None:
    """A program that reads `--json` never meets a code without one."""
    assert exits.WORDS.keys() == set(ExitCode) - {ExitCode.DONE}
    assert len(set(exits.WORDS.values())) == len(exits.WORDS)


def test_all_errors_are_one_tree() -> None:
    """Each branch lives in `engine.errors` and stands in the picture at its head."""
    for module in pkgutil.walk_packages(engine.__path__, "engine."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    branches = errors.EngineError.__subclasses__()
    assert {"engine.errors"} == {kind.__module__ for kind in branches}
    assert [] == [k.__name__ for k in branches if k.__name__ not in errors.__doc__]


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [
        ("refused", 1, "failed"),
        ("account", 6, "account"),
        ("unavailable", 3, "stopped"),
        ("in_doubt", 4, "in_doubt"),
    ],
)
def test_a_question_to_an_account_ends_by_what_came_of_it(
    kind: errors.Kind, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason and the status, for programs to tell one from another."""
    with pytest.raises(SystemExit) as ended, exits.told(as_json=True):
        raise errors.CloudMailinError(
            "cannot show it", asked="show it", kind=kind, reason="gone", http_status=404
        )
    assert code == ended.value.code
    end = json.loads(capsys.readouterr().out)
    assert (code, word) == (end["exit"], end["status"])
    assert {
        "message": "cannot show it",
        "reason": "gone",
        "http_status": 404,
        "next": "",
    } == end["error"]
