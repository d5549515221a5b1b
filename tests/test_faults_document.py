"""The table of faults cannot lie: each test that it names is there."""

import re
from collections import Counter

import pytest
from documents import TESTS, functions_of

DOCUMENT = (TESTS / "FAULTS.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([KDNHPI]\d+b?) \|(.*)\|$", DOCUMENT, re.MULTILINE)
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT)

#: How many faults there are of each kind, and those that were put between two.
KINDS = {"K": 19, "D": 9, "N": 14, "H": 20, "P": 11, "I": 7}
BETWEEN = ["H1b", "H7b", "H15b"]


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_named_tests_exist(file: str) -> None:
    """A test that was renamed or deleted holds nothing any more."""
    named = {name for where, name in NAMED if where == file}
    assert set() == named - functions_of(file)


@pytest.mark.parametrize(("fault", "row"), ROWS, ids=[fault for fault, _ in ROWS])
def test_fault_is_held_by_a_test_or_said_to_be_not_covered(
    fault: str, row: str
) -> None:
    """No row leaves open whether anybody has looked."""
    *_, held = row.split("|")
    assert "::test_" in held or re.search(r"not covered.*: \w+", held)


def test_no_fault_is_left_out() -> None:
    """Every number of every kind is there, once."""
    wanted = [f"{kind}{n}" for kind, most in KINDS.items() for n in range(1, most + 1)]
    found = Counter(fault for fault, _ in ROWS)
    assert Counter([*wanted, *BETWEEN]) == found


def test_names_are_read_as_they_are_written() -> None:
    """Whatever stands in backticks with two colons is one of the names checked."""
    assert len(re.findall(r"`[^`\n]*::[^`\n]*`", DOCUMENT)) == len(NAMED) > 100
