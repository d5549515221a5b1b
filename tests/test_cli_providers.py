"""Claims about `mailvolley providers`: a matrix without holes, made of the code."""

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine import providers, tracking
from engine.cli.providers import CAPABILITIES, ELSEWHERE, OPEN, command, rows
from engine.message import Feature
from engine.providers.base import Capabilities

COMMAND = Path(sys.executable).with_name("mailvolley")
ALL = [providers.load(name) for name in providers.NAMES]
every_provider = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.name)


def run(*words: str) -> str:
    """Run the command in a pipe."""
    ended = CliRunner().invoke(command, words, catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    return ended.output


def matrix() -> dict[str, list[str]]:
    """Return the cells of each row as a pipe gets them."""
    head, *lines = run().splitlines()
    starts = [head.index(name) for name in head.split()]
    ends = [*starts[1:], None]
    return {
        line[: starts[0]].strip(): [
            line[start:end].strip() for start, end in zip(starts, ends, strict=True)
        ]
        for line in lines
    }


def test_every_provider_has_a_column() -> None:
    """In the order in which they are known."""
    assert run().splitlines()[0].split() == list(providers.NAMES)


def test_no_cell_is_empty() -> None:
    """What is not there is said to be not there."""
    cells = matrix()
    assert len(cells) == len(rows())
    for label, row in cells.items():
        assert label
        assert len(row) == len(providers.NAMES)
        assert all(row), label


def test_every_capability_and_every_feature_has_its_row() -> None:
    """What the code knows of a provider cannot be forgotten here."""
    known = {field.name for field in fields(Capabilities)}
    assert CAPABILITIES.keys() | ELSEWHERE == known
    assert not CAPABILITIES.keys() & ELSEWHERE
    labels = matrix().keys()
    assert {one.value.replace("_", " ") for one in Feature} <= labels
    assert {label for label, _ in CAPABILITIES.values()} <= labels


@every_provider
def test_the_values_come_from_the_code(kind: type[providers.base.Provider]) -> None:
    """Each cell says what the class says."""
    column = providers.NAMES.index(kind.name)
    cells = {label: row[column] for label, row in matrix().items()}
    can = kind.capabilities
    assert cells["messages/request"] == f"{can.max_batch:,}"
    assert cells["bytes/request"] == f"{can.max_batch_bytes:,}"
    assert cells["read on"] == can.read_on.isoformat()
    assert (cells["requests/s"] == OPEN) is (can.requests_per_second is None)
    assert (cells["marketing allowed"] == "yes") is can.bulk_allowed
    assert (cells["safe to repeat"] == "no") is (can.idempotency == "none")
    assert (cells["status endpoint"] == "yes") is (kind.name in tracking.NAMES)
    for one in Feature:
        has = cells[one.value.replace("_", " ")]
        assert has == ("yes" if one in can.features else "no")


def test_json_has_the_values_as_they_are() -> None:
    """Numbers are numbers, and what is not documented is null."""
    told = json.loads(run("--json"))["providers"]
    assert told.keys() == set(providers.NAMES)
    can = told["cloudmails"]["capabilities"]
    assert can["max_batch"] == 1000
    assert can["requests_per_second"] is None
    assert can["bulk_allowed"] is True
    assert can["read_on"] == "2026-11-20"
    assert can.keys() == {field.name for field in fields(Capabilities)}


@every_provider
def test_what_is_known_of_one_provider_is_shown(
    kind: type[providers.base.Provider],
) -> None:
    """Settings, variables, limits, features, traps, documents and their day."""
    shown = run(kind.name)
    for text in (
        kind.title,
        kind.default_base_url,
        *kind.settings,
        *kind.settings.values(),
        *kind.variables,
        *kind.variables.values(),
        *kind.traps,
        *kind.sources,
        *kind.capabilities.features,
        kind.capabilities.read_on.isoformat(),
    ):
        assert text in shown
    assert json.loads(run(kind.name, "--json"))["title"] == kind.title


@every_provider
def test_every_provider_says_all_of_itself(
    kind: type[providers.base.Provider],
) -> None:
    """No class leaves open what `mailvolley providers NAME` is there to tell."""
    assert kind.name in providers.NAMES
    assert kind.title
    assert kind.default_base_url.startswith("https://")
    assert not kind.default_base_url.endswith("/")
    assert kind.variables
    assert kind.traps
    assert kind.sources
    words = (*kind.settings.values(), *kind.variables.values(), *kind.traps)
    assert all(word.strip() for word in (*words, *kind.sources))
    can = kind.capabilities
    assert can.max_batch >= 1
    assert can.max_batch_bytes > 0
    assert (can.key_seconds > 0) is (can.idempotency == "key")
    assert all(header == header.lower() for header in can.rate_headers)
    assert can.read_on.year >= 2026


def test_a_name_that_is_none_is_refused() -> None:
    """With those that there are."""
    ended = CliRunner().invoke(command, ["sendmail"])
    assert ended.exit_code == 2
    for name in providers.NAMES:
        assert name in ended.output


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("cloudmailin",)], ids=["matrix", "one"])
def test_a_terminal_of_a_hundred_columns_has_room(words: tuple[str, ...]) -> None:
    """No line is longer, and no word is lost."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "providers", *words],
        env={**os.environ, "COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # how Linux tells that the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = re.sub("\x1b\\[[0-9;]*m", "", shown.decode())
    lines = text.splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= 100
    for kind in ALL:
        if not words or kind.name in words:
            assert all(header in text for header in kind.capabilities.rate_headers)
