"""The table of threats cannot lie: each test that it names is there."""

import re

import pytest
from documents import TESTS, functions_of

from engine.lint import RULES

DOCUMENT = (TESTS / "SECURITY.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([SL]\d+) \|(.*)\|$", DOCUMENT, re.MULTILINE)
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT)
THREATS = [f"S{number}" for number in range(1, 19)]


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_named_tests_exist(file: str) -> None:
    """A test that was renamed or deleted holds nothing any more."""
    named = {name for where, name in NAMED if where == file}
    assert set() == named - functions_of(file)


@pytest.mark.parametrize(("threat", "row"), ROWS, ids=[threat for threat, _ in ROWS])
def test_threat_is_held_by_a_test_or_said_to_be_not_covered(
    threat: str, row: str
) -> None:
    """No row leaves open whether anybody has looked."""
    *_, held = row.split("|")
    assert "::test_" in held or re.search(r"not covered.*: \w?`?\w+", held)


def test_no_threat_and_no_rule_is_left_out() -> None:
    """Every threat is there, every rule, once and in order."""
    assert [*THREATS, *RULES] == [name for name, _ in ROWS]


def test_names_are_read_as_they_are_written() -> None:
    """Whatever stands in backticks with two colons is one of the names checked."""
    assert len(re.findall(r"`[^`\n]*::[^`\n]*`", DOCUMENT)) == len(NAMED) > 60
