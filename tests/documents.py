"""What the tables of faults and of threats name, and whether it is there."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def functions_of(file: str) -> set[str]:
    """Return the names of the tests of a file, by its path below this folder."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.parse((TESTS / file).read_text(encoding="utf-8")).body
    return {node.name for node in nodes if isinstance(node, functions)}
