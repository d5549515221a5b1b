"""S13: a list made to choke its reader is refused or read, in memory that ends."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

#: Bytes that a process may have for its own while it reads 100 MB of bad input.
MEMORY = 1_500_000_000
READ = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, ({MEMORY}, {MEMORY}))
from engine import recipients
from engine.errors import RecipientsError
try:
    print(recipients.load(sys.argv[1]).collect().height)
except RecipientsError as error:
    print("refused:", str(error)[:300])
"""


def reading(file: Path) -> str:
    """Read a list in a process of its own; return what came of it."""
    done = subprocess.run(
        [sys.executable, "-c", READ, file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "ndjson"])
def test_a_cell_of_100_mb_is_refused_or_read(tmp_path: Path, suffix: str) -> None:
    """And says where it is."""
    file = tmp_path / f"list.{suffix}"
    head, tail = {"csv": ("email\n", "\n"), "ndjson": ('{"email": "', '"}\n')}[suffix]
    with file.open("w", encoding="ascii") as out:
        out.write(head)
        for _ in range(100):
            out.write("x" * 1_000_000)
        out.write(tail)
    told = reading(file)
    assert told == "1\n" or told.startswith(f"refused: {file}:"), told


@pytest.mark.slow
def test_a_million_columns_are_refused_or_read(tmp_path: Path) -> None:
    """One header line of 7 MB."""
    file = tmp_path / "list.csv"
    names = ",".join(f"c{n}" for n in range(1_000_000))
    file.write_text(f"email,{names}\n", encoding="ascii")
    told = reading(file)
    assert told == "0\n" or told.startswith(f"refused: {file}"), told


def test_what_is_packed_is_not_unpacked(tmp_path: Path) -> None:
    """A few kilobytes that would be 12 MB, by whatever name."""
    packed = gzip.compress(b"email\n" + b"a@a.example\n" * 1_000_000, 1)
    for name in ("list.csv.gz", "list.csv", "list.ndjson", "list.parquet"):
        file = tmp_path / name
        file.write_bytes(packed)
        assert reading(file).startswith(f"refused: {file}"), name
