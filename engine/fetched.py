"""When the suppression list that a provider keeps was fetched last: a small database.

    <runs>/fetched.db

The copies themselves are in the suppressions, each in a scope of its own: what a
provider takes off its list again must leave no trace, and must not hide that somebody
has unsubscribed, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from engine.campaign import Campaign, is_loopback
from engine.database import Database, Layout
from engine.providers import suppressed

#: The file in the runs folder.
DATABASE: Final = "fetched.db"

_LAYOUT: Final = Layout(
    what="when lists were fetched",
    mark=0x6D76_6674,  # "mvft"
    tables="""
    CREATE TABLE fetched (
        scope      TEXT PRIMARY KEY,
        fetched_at TEXT NOT NULL
    ) STRICT;
    """,
)


def scope_of(campaign: Campaign, base_url: str) -> str | None:
    """Return the scope of the copy of the list that a campaign's provider keeps.

    One account's list says nothing of another's, and a rehearsal's on this machine
    says nothing of the real one.

    Args:
        campaign: the campaign.
        base_url: where it goes.

    Returns:
        `provider:NAME:ACCOUNT`, with the address if that is of this machine; None: the
        provider gives no list out, or the campaign names no account.
    """
    provider = campaign.provider
    if provider.name not in suppressed.NAMES or provider.account_id is None:
        return None
    scope = f"provider:{provider.name}:{provider.account_id}"
    parts = urlsplit(base_url)
    return f"{scope}@{parts.netloc}" if is_loopback(parts.hostname or "") else scope


def scopes_of(campaign: Campaign, base_url: str) -> set[str]:
    """Return the scopes that hold for a campaign, beside everything.

    Args:
        campaign: the campaign.
        base_url: where it goes; empty for the sandbox, of which there is no copy.
    """
    copy = scope_of(campaign, base_url) if base_url else None
    own = {f"campaign:{campaign.name}", f"list:{campaign.unsubscribe_list}"}
    return own if copy is None else {*own, copy}


def fetched_at(runs: Path, scope: str) -> datetime | None:
    """Return when a list was fetched last, UTC; None: never. Makes no file.

    Raises:
        StoreError: it cannot be read.
    """
    if not (runs / DATABASE).exists():
        return None
    with Fetched.open(runs) as fetched:
        return fetched.at(scope)


@dataclass(frozen=True, slots=True)
class Fetched:
    """When lists were fetched. Made by `Fetched.open`."""

    _database: Database

    @classmethod
    @contextmanager
    def open(cls, runs: Path) -> Iterator["Fetched"]:
        """Open what is known of a runs folder; it is made where there is nothing yet.

        Raises:
            StoreError: it cannot be opened.
        """
        with Database.open(runs / DATABASE, _LAYOUT) as database:
            yield cls(database)

    def note(self, scope: str, at: datetime) -> None:
        """Write down, durably, that a list was fetched.

        Args:
            scope: of its copy.
            at: when it was asked for, UTC.

        Raises:
            StoreError: it cannot be written.
        """
        said = at.astimezone(UTC).isoformat(timespec="seconds")
        note = "INSERT OR REPLACE INTO fetched VALUES (?, ?)"
        self._database.write(note, [(scope, said)])

    def at(self, scope: str) -> datetime | None:
        """Return when a list was fetched last, UTC; None: never.

        Raises:
            StoreError: it cannot be read.
        """
        query = "SELECT fetched_at FROM fetched WHERE scope = ?"
        found = next(self._database.read(query, (scope,)), None)
        return None if found is None else datetime.fromisoformat(found[0])
