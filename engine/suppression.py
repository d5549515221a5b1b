"""Who must not be mailed: one database beside the runs.

    <runs>/suppressions.db
    <runs>/suppressions.key      of the marks; made when the first is needed

An entry names an address, in the form that duplicates are found by, and a scope: `all`,
one list, or one campaign. What was entered first stays: that somebody complained after
they had unsubscribed changes nothing for them.

Of who was erased, or used a link to unsubscribe, only the *mark* is kept, a keyed hash:
it finds the address on a later list, and nobody can tell the address from it without
the key.
"""

import hmac
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import polars as pl

from engine.address import normalised
from engine.database import Database, Layout, trouble

#: An address, or null too.
A = TypeVar("A", str, str | None)

#: The file in the runs folder.
DATABASE: Final = "suppressions.db"
#: The scope of an entry that holds for every campaign.
EVERYWHERE: Final = "all"

#: What the entries begin with that hold a mark in the place of an address.
MARKED: Final = "hmac-sha256:"
#: Why they are entered who asked to be forgotten.
_ERASED: Final = "erased"
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
#: Characters of a moment down to its second.
_SECOND: Final = len("2026-11-20T12:00:00")
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
        scope: `all`, `list:NAME` or `campaign:NAME`.
    """

    address: str
    reason: str
    source: str
    scope: str = EVERYWHERE


@dataclass(frozen=True, slots=True)
class Suppressions:
    """The suppressions of a runs folder. Made by `Suppressions.open`."""

    _database: Database
    _key: Path

    @classmethod
    @contextmanager
    def open(cls, runs: Path) -> Iterator["Suppressions"]:
        """Open the suppressions of a runs folder; made where there are none.

        Raises:
            StoreError: they cannot be opened.
        """
        with Database.open(runs / DATABASE, _LAYOUT) as database:
            yield cls(database, runs / "suppressions.key")

    def add(self, entries: Iterable[Entry]) -> int:
        """Enter addresses, durably once this returns. Returns how many were new.

        Who was erased is entered for good already, and is not written down again.

        Raises:
            StoreError: they cannot be entered; none of them was.
        """
        wanted = list(entries)
        if not wanted:
            return 0
        added_at = datetime.now(UTC).isoformat(timespec="seconds")
        addresses = _normal([entry.address for entry in wanted])
        known = zip(addresses, self._are_erased(addresses), wanted, strict=True)
        rows = [
            (address, entry.scope, entry.reason, entry.source, added_at)
            for address, is_erased, entry in known
            if address and not is_erased
        ]
        insert = "INSERT OR IGNORE INTO suppression VALUES (?, ?, ?, ?, ?)"
        return self._database.write(insert, rows)

    def remove(self, address: str, scope: str | None = None) -> int:
        """Take an address out, of one scope or of all. Returns how many entries."""
        delete = (
            "DELETE FROM suppression WHERE address = ?1 AND (?2 IS NULL OR scope = ?2)"
        )
        (known,) = _normal([address])
        names = [known]
        if self._key.exists():
            names.append(self._hash(known))
        return self._database.write(delete, [(name, scope) for name in names])

    def enter(self, mark: bytes, *, reason: str, source: str, scope: str) -> int:
        """Enter somebody by their mark. Returns how many were new.

        Raises:
            StoreError: it cannot be entered.
        """
        added_at = datetime.now(UTC).isoformat(timespec="seconds")
        row = (MARKED + mark.hex(), scope, reason, source, added_at)
        insert = "INSERT OR IGNORE INTO suppression VALUES (?, ?, ?, ?, ?)"
        return self._database.write(insert, [row])

    def scopes(self, mark: bytes) -> set[str]:
        """Return where somebody is entered, by their mark.

        Raises:
            StoreError: it cannot be read.
        """
        query = "SELECT scope FROM suppression WHERE address = ?"
        return {
            scope for (scope,) in self._database.read(query, (MARKED + mark.hex(),))
        }

    def erase(self, addresses: Iterable[str]) -> int:
        """Forget addresses, and keep of each what is needed never to mail it again.

        The mark is kept before the address goes. What has been deleted is not left in
        the file, either.

        Returns:
            How many entries had held one of them.

        Raises:
            StoreError: it cannot be done; once more does no harm.
        """
        known = _normal(list(addresses))
        for address in known:
            self.enter(
                marked(self.key(), address),
                reason=_ERASED,
                source="by request",
                scope=EVERYWHERE,
            )
        delete = "DELETE FROM suppression WHERE address = ?"
        gone = self._database.write(delete, [(address,) for address in known])
        self._database.compact()
        return gone

    def are_erased(self, addresses: Sequence[str | None]) -> list[bool]:
        """Tell which addresses were erased."""
        return self._are_erased(_normal(list(addresses)))

    def _are_erased(self, known: Sequence[str | None]) -> list[bool]:
        query = "SELECT address FROM suppression WHERE scope = ? AND reason = ?"
        rows = self._database.read(query, (EVERYWHERE, _ERASED))
        marks = {mark for (mark,) in rows}
        if not marks:
            return [False] * len(known)
        key = self.key()
        return [
            address is not None and MARKED + marked(key, address).hex() in marks
            for address in known
        ]

    def of(self, address: str) -> pl.DataFrame:
        """Return the entries of one address, in the columns of `SCHEMA`."""
        (known,) = _normal([address])
        names = [known, *([self._hash(known)] if self._key.exists() else [])]
        return self.all().filter(pl.col("address").is_in(names))

    def all(self, scopes: Collection[str] | None = None) -> pl.DataFrame:
        """Return the entries, of some scopes or of all, in the columns of `SCHEMA`."""
        rows = self._database.read("SELECT * FROM suppression ORDER BY address, scope")
        frame = pl.DataFrame(list(rows), schema=SCHEMA, orient="row")
        return frame if scopes is None else frame.filter(pl.col("scope").is_in(scopes))

    def filter(self, scopes: Collection[str], since: str = "") -> "Filter":
        """Return what finds those entered for everything, or for one of the scopes.

        Args:
            scopes: beside everything.
            since: only those entered in this second or later: ISO 8601, UTC.
        """
        entries = self.all({EVERYWHERE, *scopes})
        moment = pl.col("added_at").str.slice(0, _SECOND)
        entries = entries.filter(moment >= since[:_SECOND])
        entries = entries.unique("address", keep="first", maintain_order=True)
        is_hash = pl.col("address").str.starts_with(MARKED)
        hashed = entries.filter(is_hash)
        key = self.key() if hashed.height else b""
        return Filter(entries.filter(~is_hash), hashed, key)

    def _hash(self, known: str) -> str:
        return MARKED + marked(self.key(), known).hex()

    def key(self) -> bytes:
        """Read the key of the marks; make it where there is none.

        Raises:
            StoreError: it cannot be read or made.
        """
        with trouble(self._key, _LAYOUT):
            if not self._key.exists():
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
                with os.fdopen(os.open(self._key, flags, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(32))
                    file.flush()
                    os.fsync(file.fileno())
            return self._key.read_bytes()


@dataclass(frozen=True, slots=True)
class Filter:
    """Finds those who must not be mailed.

    Attributes:
        plain: entries by address, unique.
        hashes: entries by hash, unique.
        key: of the hashes.
    """

    plain: pl.DataFrame
    hashes: pl.DataFrame
    key: bytes

    def __len__(self) -> int:
        return self.plain.height + self.hashes.height

    def find(self, addresses: pl.Series) -> pl.DataFrame:
        """Find the entry of each address.

        Args:
            addresses: str, normalised; null allowed.

        Returns:
            suppressed str|null, the reason; source str|null; as many rows as there are
            addresses, in their order.
        """
        known = pl.DataFrame({"address": addresses})
        found = self._joined(known, self.plain)
        if self.hashes.height:
            marks = [
                None if known is None else MARKED + marked(self.key, known).hex()
                for known in addresses.to_list()
            ]
            erased = self._joined(
                pl.DataFrame({"address": marks}, schema={"address": pl.String}),
                self.hashes,
            )
            found = found.select(
                pl.coalesce(pl.col(name), erased[name]) for name in found.columns
            )
        return found

    @staticmethod
    def _joined(addresses: pl.DataFrame, entries: pl.DataFrame) -> pl.DataFrame:
        return addresses.join(
            entries, on="address", how="left", maintain_order="left"
        ).select(suppressed="reason", source="source")


def marked(key: bytes, address: str) -> bytes:
    """Return the mark of a normalised address, 32 bytes."""
    return hmac.digest(key, address.encode(), "sha256")


def _normal(addresses: Sequence[A]) -> list[A]:
    """Bring addresses into the form in which they are compared; null stays."""
    frame = pl.DataFrame({"address": list(addresses)}, schema={"address": pl.String()})
    return frame.select(normalised(pl.col("address"))).to_series().to_list()
