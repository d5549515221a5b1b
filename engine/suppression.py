"""Who must not be mailed: one database beside the runs.

    <runs>/suppressions.db

An entry names an address, in the form that duplicates are found by, and a scope: `all`,
or one campaign. What was entered first stays: that somebody complained after they had
unsubscribed changes nothing for them.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from engine.address import normalised
from engine.database import Database, Layout

#: The scope of an entry that holds for every campaign.
EVERYWHERE: Final = "all"

_LAYOUT: Final = Layout(
    what="the suppressions",
    mark=0x6D76_7375,  # "mvsu"
    tables="""
    CREATE TABLE suppression (
        address  TEXT NOT NULL,
        scope    TEXT NOT NULL,
        reason   TEXT NOT NULL,
        source   TEXT NOT NULL,
        added_at TEXT NOT NULL,
        PRIMARY KEY (address, scope)
    ) STRICT, WITHOUT ROWID;
    """,
)
SCHEMA: Final = pl.Schema(
    {
        "address": pl.String(),
        "scope": pl.String(),
        "reason": pl.String(),
        "source": pl.String(),
        "added_at": pl.String(),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        address: bare.
        reason: a short code: `unsubscribed`, `complained`, `bounced`, `manual`.
        source: where it comes from, in words.
        scope: `all`, or `campaign:NAME`.
    """

    address: str
    reason: str
    source: str
    scope: str = EVERYWHERE


@dataclass(frozen=True, slots=True)
class Suppressions:
    """The suppressions of a runs folder. Made by `Suppressions.open`."""

    _database: Database

    @classmethod
    @contextmanager
    def open(cls, runs: Path) -> Iterator["Suppressions"]:
        """Open the suppressions of a runs folder; made where there are none.

        Raises:
            StoreError: they cannot be opened.
        """
        with Database.open(runs / "suppressions.db", _LAYOUT) as database:
            yield cls(database)

    def add(self, entries: Iterable[Entry]) -> int:
        """Enter addresses, durably once this returns. Returns how many were new.

        Raises:
            StoreError: they cannot be entered; none of them was.
        """
        wanted = list(entries)
        if not wanted:
            return 0
        added_at = datetime.now(UTC).isoformat(timespec="seconds")
        addresses = _normal([entry.address for entry in wanted])
        rows = [
            (address, entry.scope, entry.reason, entry.source, added_at)
            for address, entry in zip(addresses, wanted, strict=True)
            if address
        ]
        insert = "INSERT OR IGNORE INTO suppression VALUES (?, ?, ?, ?, ?)"
        return self._database.write(insert, rows)

    def remove(self, address: str, scope: str | None = None) -> int:
        """Take an address out, of one scope or of all. Returns how many entries."""
        delete = (
            "DELETE FROM suppression WHERE address = ?1 AND (?2 IS NULL OR scope = ?2)"
        )
        return self._database.write(delete, [(*_normal([address]), scope)])

    def all(self, scopes: Collection[str] | None = None) -> pl.DataFrame:
        """Return the entries, of some scopes or of all, in the columns of `SCHEMA`."""
        rows = self._database.read("SELECT * FROM suppression ORDER BY address, scope")
        frame = pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
        return frame if scopes is None else frame.filter(pl.col("scope").is_in(scopes))


def _normal(addresses: list[str]) -> list[str]:
    """Bring addresses into the form in which they are compared."""
    frame = pl.DataFrame({"address": addresses}, schema={"address": pl.String()})
    return frame.select(normalised(pl.col("address"))).to_series().to_list()
