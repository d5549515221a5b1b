"""What is freed is kept for the next request."""

import subprocess
import sys

import pytest

#: Makes and frees what a hundred requests are made of; tells the pages it took anew.
REQUESTS = """
import ctypes, resource, sys
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
