"""Claims about the table of rules."""

import ast
import re
from pathlib import Path

from engine.lint import RULES, Example, Finding, Severity, overridden, refusals

TESTS = Path(__file__).parent


def test_every_rule_has_a_test_that_names_it() -> None:
    """A rule that nothing would miss is no rule."""
    names = [
        node.name
        for file in TESTS.glob("test_*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    found = (number for name in names for number in re.findall(r"_l(\d\d)(?=_)", name))
    tested = {f"L{number}" for number in found}
    assert set() == set(RULES) - tested
    assert set() == tested - set(RULES)


def test_every_rule_says_what_to_do() -> None:
    """Each has an id, a title, a fix, and they are in order."""
    assert list(RULES) == sorted(RULES)
    for name, rule in RULES.items():
        assert name == rule.id
        assert re.fullmatch(r"L[0-9]{2}", name)
        assert rule.title
        assert rule.fix
        assert not rule.title.endswith(".")


def test_an_error_refuses_unless_its_rule_is_allowed() -> None:
    """Warnings and rows refuse nobody; what was allowed is known."""
    found = [
        Finding.of("L25", "no address"),
        Finding.of("L20", "no headers", severity=Severity.WARNING),
        Finding.of("L02", "3 rows"),
        Finding.of("L28", "braces"),
    ]
    assert ["L25", "L28"] == [f.id for f in refusals(found, [])]
    assert ["L28"] == [f.id for f in refusals(found, ["L25", "L02"])]
    assert ["L25"] == overridden(found, ["L25", "L02", "L20"])


def test_a_finding_shows_three_rows_and_says_what_to_do() -> None:
    """A person sees which rows, and not all of them."""
    examples = [Example(row, f"k{row}", "told"[:row]) for row in range(5)]
    finding = Finding.of("L28", "braces", examples, rows=5)
    assert str(finding) == "L28 braces: row 0 (k0), row 1 (k1): t, row 2 (k2): to"
    assert finding.fix == RULES["L28"].fix
    assert Finding.of("L28", "braces", remedy="wait").fix == "wait"
