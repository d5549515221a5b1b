"""Frozen lists and compiled templates: made once per process, used by every world.

A list of nine rows or more has what real ones have: an address that is none, one that
is there twice, and a row whose template fails.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from unittest import mock

import polars as pl
from simulation.disk import home

from engine import snapshot
from engine.message import Envelope
from engine.outcome import Status
from engine.render import Renderer

CAMPAIGN = "simulated"
SENDER = "Harbour Books <hello@harbour.example>"
#: Rows from which a list has rows that cannot be mailed.
_REAL = 9
_CHUNKS = snapshot.chunks
_INVALID, _TWIN, _UNFIT = 2, 5, 7


@dataclass(frozen=True, slots=True)
class FrozenList:
    """A list, checked and frozen by the real `snapshot`.

    Attributes:
        path: the file.
        planned: rows by planned status; "mailable" are to be mailed.
        rows: the row of each message id of those to be mailed.
        never: the status of each row that is not to be mailed.
        unfit: rows whose template fails.
    """

    path: Path
    planned: dict[str, int]
    rows: dict[str, int]
    never: dict[int, Status]
    unfit: frozenset[int]


@cache
def frozen(count: int) -> FrozenList:
    """Freeze a list of `count` rows."""
    emails = [f"reader{row}@example.org" for row in range(count)]
    shares = [1] * count
    if count >= _REAL:
        emails[_INVALID] = "nobody"
        emails[_TWIN] = emails[1]
        shares[_UNFIT] = 0
    path = home() / f"list-{count}.parquet"
    columns = snapshot.Columns(address="email", name=None, key=None, data=["share"])
    counts = snapshot.write(
        pl.LazyFrame({"email": emails, "share": shares}),
        path,
        campaign=CAMPAIGN,
        columns=columns,
    )
    frame = pl.read_parquet(path)
    mailable = frame.filter(pl.col("status").is_null())
    never = frame.filter(pl.col("status").is_not_null())
    return FrozenList(
        path=path,
        planned={status or "mailable": rows for status, rows in counts.items()},
        rows=dict(zip(mailable["message_id"], mailable["row"], strict=True)),
        never=dict(zip(never["row"], map(Status, never["status"]), strict=True)),
        unfit=frozenset({_UNFIT} if count >= _REAL else ()),
    )


@cache
def renderer() -> Renderer:
    """Compile the templates."""
    folder = home() / "templates"
    folder.mkdir()
    (folder / "subject.txt.j2").write_text("For {{ email }}")
    (folder / "body.html.j2").write_text("<p>Your share is {{ 12 // share }}</p>")
    parts = {"subject": "subject.txt.j2", "html": "body.html.j2"}
    return Renderer(folder, parts, {"name": CAMPAIGN, "tags": []})


@cache
def _pieces(path: Path, size: int, first: int) -> list[pl.DataFrame]:
    return list(_CHUNKS(path, size, first=first))


def _chunks(path: Path, size: int, *, first: int) -> Iterator[pl.DataFrame]:
    return iter(_pieces(path, size, first))


@contextmanager
def remembered() -> Iterator[None]:
    """Read each frozen list once: reading it again would take longer than a run."""
    with mock.patch.object(snapshot, "chunks", _chunks):
        yield


ENVELOPE = Envelope(
    campaign=CAMPAIGN,
    run="simulated",
    sender=SENDER,
    date=datetime(2026, 11, 20, tzinfo=UTC),
    kind="marketing",
    html=True,
    text=False,
)
