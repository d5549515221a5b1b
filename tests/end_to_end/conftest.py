"""A desk with a campaign, and sandboxes in processes of their own."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.desk import COMMAND, Desk, Site


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A campaign of a hundred good rows."""
    made = Desk(tmp_path)
    yield made
    made.clear()


@pytest.fixture
def start_sandbox() -> Iterator[Callable[..., Site]]:
    """Start sandboxes, each in a process of its own; they end with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(**faults: object) -> Site:
        words = [f"--fault={name}={value}" for name, value in faults.items()]
        process = subprocess.Popen(
            [COMMAND, "sandbox", "--port", "0", *words],
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stderr is not None
        greeting = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", greeting)
        assert found, greeting
        return Site(found[0])

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Site]) -> Site:
    """A sandbox without faults."""
    return start_sandbox()
