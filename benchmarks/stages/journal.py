"""The journal: an intent that is on the disk, then outcomes, batch after batch."""

import itertools
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path

import trio

from engine.journal import Journal
from engine.outcome import Outcomes, Status
from engine.record import Attempt

#: Requests in flight, by messages of one.
WORKERS = {1000: 8, 1: 64}
HASH = bytes(32)


def contestants(rows: int, folder: Path, size: str) -> dict[str, Callable[[], object]]:
    """Return ours, bare writes that reach the disk, and a table of messages."""
    batch, names = int(size), itertools.count()

    def ours() -> None:
        path = folder / f"journal-{next(names)}" / "journal.db"
        path.parent.mkdir(mode=0o700)
        write_journal(path, rows, batch)

    def ceiling() -> None:
        # As many records in one fdatasync as there are requests in flight.
        together = 1 if batch > 1 else WORKERS[batch]
        records = -(-rows // batch)
        file = os.open(folder / f"bare-{next(names)}", os.O_CREAT | os.O_WRONLY, 0o600)
        record = struct.pack("<QQ", 0, 0) + bytes(batch) + 12 * bytes(batch)
        for _ in range(0, records, together):
            os.write(file, record * together)
            os.fdatasync(file)
        os.close(file)

    def by_hand() -> None:
        db = sqlite3.connect(folder / f"by-hand-{next(names)}.db")
        db.execute("pragma journal_mode = wal")
        db.execute("create table sent (row integer primary key, id text, status text)")
        for first in range(0, rows, batch):
            members = range(first, min(first + batch, rows))
            values = [(row, f"msg_{row:06}", "accepted") for row in members]
            db.executemany("insert into sent values (?, ?, ?)", values)
            db.commit()
        db.close()

    return {
        "mailvolley": ours,
        "the ceiling: write and fdatasync": ceiling,
        "a row each in sqlite3": by_hand,
    }


def write_journal(path: Path, rows: int, batch: int) -> None:
    """Write the journal of a run in which every message was accepted."""
    with Journal.create(path, {}) as journal:
        trio.run(_write, journal, rows, batch)


async def _write(journal: Journal, rows: int, batch: int) -> None:
    firsts = iter(range(0, rows, batch))
    async with trio.open_nursery() as keeping:
        await keeping.start(journal.run)
        async with trio.open_nursery() as working:
            for _ in range(WORKERS[batch]):
                working.start_soon(_work, journal, firsts, batch, rows)
        await journal.aclose()


async def _work(journal: Journal, firsts: Iterator[int], batch: int, rows: int) -> None:
    for first in firsts:
        members = list(range(first, min(first + batch, rows)))
        name = blake2b(str(first).encode(), digest_size=16).hexdigest()
        number = await journal.intend(name, members, body_digest=HASH, body_bytes=1)
        count = len(members)
        outcomes = Outcomes(
            statuses=[Status.ACCEPTED] * count,
            reasons=[None] * count,
            details=[None] * count,
            provider_ids=[f"msg_{place:06}" for place in members],
        )
        ended = Attempt(number, journal.now(), 0.01, "answered", 200, None)
        await journal.settle(name, outcomes, ended)
