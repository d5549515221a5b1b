"""What is freed is kept for the next request."""

import os
import subprocess
import sys

import pytest

#: Makes and frees what a hundred requests are made of; tells the pages it took anew.
REQUESTS = """
import resource, sys
from engine import memory
if sys.argv[1] == "settled":
    memory.settle()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    parts = [bytes(2300) for _ in range(1000)]
    whole = b",".join(parts)
    del parts, whole
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _pages(setting: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", REQUESTS, setting],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_what_a_request_took_is_taken_once() -> None:
    """Without the setting, the system gives and takes the same pages each time."""
    assert _pages("settled") * 2 < _pages("as it is")


#: Calls a command, and tells what polars was told when it was first imported.
FIRST_SEEN = """
import builtins, os, sys
import_it, seen = builtins.__import__, []
def look(name, *rest):
    if name == "polars" and not seen:
        seen.append(os.environ.get("_RJEM_MALLOC_CONF"))
    return import_it(name, *rest)
builtins.__import__ = look
from engine.cli import main
try:
    main()
finally:
    print(*seen)
"""


@pytest.mark.parametrize("command", ["send", "verify", "erase", "status"])
def test_polars_is_told_before_it_is_loaded(command: str) -> None:
    """In each command, however early it loads polars; what the user says stays."""
    for user, expected in ((None, "narenas:1"), ("narenas:2", "narenas:2")):
        unset = {k: v for k, v in os.environ.items() if k != "_RJEM_MALLOC_CONF"}
        done = subprocess.run(
            [sys.executable, "-c", FIRST_SEEN, command, "no-such-thing"],
            env=unset | ({"_RJEM_MALLOC_CONF": user} if user else {}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split("\n")[-2] == expected, done.stderr
