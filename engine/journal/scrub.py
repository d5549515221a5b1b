"""A copy of a journal in which some people are not named any more.

How it works: the copy is made by SQLite into a new file, so that no page of it holds
what was deleted before. There the triggers make way while texts are replaced, each
record under a new seal; then the file is compacted once more. The journal itself is
not changed.

Rules: only words for people change: the details of rows and of attempts. What was sent,
when, to which row and what came of it stays as it is.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from engine.journal import pages, store, volley
from engine.journal.codec import pack_attempt, pack_ended, pack_texts, seal, seal_bytes
from engine.journal.file import connect, looking, open_file, trouble
from engine.outcome import Outcomes

#: The columns of a row of `store.BATCHES` that matter here.
_FIXED: Final = slice(0, 6)
_MEMBERS, _HISTORY, _TEXTS = 6, 9, 16
_CHANGING: Final = slice(7, 16)
_UPDATE_LANDING: Final = (
    "UPDATE landing SET ended = ?, texts = ?, seal = ? WHERE volley = ? AND mask = ?"
)
_WHOLE: Final = 1 << 62  # rows, or batches, of any journal


@dataclass(frozen=True, slots=True)
class Cleaner:
    """What is not to be read any more.

    Attributes:
        rows: whose outcomes say nothing but their codes.
        word: what stands in the place of their details.
        text: cleans any other text.
        own: likewise a text about a batch that one of these rows is in.
    """

    rows: Collection[int]
    word: str
    text: Callable[[str], str]
    own: Callable[[str], str]

    def detail(self, row: int, detail: str | None) -> str | None:
        """Return what is left of a row's detail."""
        if detail is None:
            return None
        return self.word if row in self.rows else self.text(detail)


def is_needed(path: Path, cleaner: Cleaner) -> bool:
    """Whether a journal, which nobody has open, has words that would be taken out.

    Raises:
        JournalError: it cannot be trusted.
    """
    with (
        TemporaryDirectory(prefix="mailvolley-look-") as aside,
        trouble(path, "read it"),
        closing(looking(path, Path(aside))(path)) as db,
    ):
        return any(True for _ in _changes(db, cleaner))


def copy(path: Path, target: Path) -> None:
    """Copy a journal, whole and compact, for its owner alone.

    Args:
        path: the journal; nobody else may have it.
        target: where to; nothing may be there.

    Raises:
        JournalError: it cannot be trusted, or the copy not be written.
    """
    with trouble(target, "copy it"):
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        opened = open_file(
            path, synchronous="FULL", connect=connect, allow_network=True
        )
        with closing(opened) as db:
            db.execute("VACUUM INTO ?", (str(target),))


def scrub(path: Path, cleaner: Cleaner, facts: Mapping[str, str]) -> None:
    """Take words out of a copy of a journal, and write some facts anew, durably.

    Raises:
        JournalError: a record is damaged, or it cannot be written.
    """
    with trouble(path, "change it"), closing(connect(path)) as db:
        # A crash leaves a copy that nobody uses: it needs no journal of its own.
        db.execute("PRAGMA journal_mode = MEMORY")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("BEGIN")
        triggers = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        for statement, values in _changes(db, cleaner):
            db.execute(statement, values)
        for name, value in facts.items():
            store.upsert_fact(db, name, value)
        for _, sql in triggers:
            db.execute(sql)
        db.execute("COMMIT")
        db.execute("VACUUM")


def _changes(
    db: sqlite3.Connection, cleaner: Cleaner
) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield what is to be changed, as statements."""
    for row in db.execute(store.BATCHES, (-1, pages.LAST, _WHOLE)):
        if (changed := _batch(row, cleaner)) is not None:
            yield (
                "UPDATE batch SET history = ?, texts = ?, seal = ? WHERE place = ?",
                (*changed, row[0]),
            )
    for row in db.execute(volley.VOLLEYS, (-1, _WHOLE)):
        rows = volley.volley(row).rows
        for landing in db.execute(volley.LANDINGS, (rows[0], rows[0])):
            anew = _landing(landing, rows, cleaner)
            if anew != landing:
                yield _UPDATE_LANDING, (*anew[4:], *anew[:2])
    for row in db.execute(store.ROWS, (-1, _WHOLE)):
        outcome = store.row_outcome(row)
        detail = cleaner.detail(outcome.row, outcome.detail)
        if detail != outcome.detail:
            columns = (*row[:3], detail, row[4])
            yield (
                "UPDATE settled_row SET detail = ?, seal = ? WHERE row = ?",
                (detail, seal(*columns), outcome.row),
            )
    for row in db.execute(store.FOUND, (-1, _WHOLE)):
        finding = store.row_finding(row)
        detail = cleaner.detail(finding.row, finding.detail)
        if detail != finding.detail:
            columns = (*row[:3], detail, *row[4:6])
            yield (
                "UPDATE found SET detail = ?, seal = ? WHERE row = ?",
                (detail, seal(*columns), finding.row),
            )


def _batch(row: store.Row, cleaner: Cleaner) -> tuple[str, bytes | None, int] | None:
    """Return history, texts and seal of a batch; None if they stay."""
    record = store.batch(row)
    own = not set(cleaner.rows).isdisjoint(record.rows)
    text = cleaner.own if own else cleaner.text
    history = "".join(
        pack_attempt(replace(a, detail=None if a.detail is None else text(a.detail)))
        for a in store.past_attempts(row[_HISTORY])
    )
    texts = row[_TEXTS]
    if texts is not None and record.outcomes is not None:
        texts = _texts(record.rows, record.outcomes, cleaner) or texts
    if (history, texts) == (row[_HISTORY], row[_TEXTS]):
        return None
    changed = [*row]
    changed[_HISTORY] = history
    fixed = seal_bytes(row[_MEMBERS], after=seal(*row[_FIXED]))
    after = seal(*changed[_CHANGING], after=fixed)
    return history, texts, seal_bytes(texts, after=after)


def _landing(row: store.Row, members: list[int], cleaner: Cleaner) -> store.Row:
    """Return the record of a landing anew; the same if nothing is to be changed."""
    _, places, outcomes, ends = volley.landing(row)
    rows = [members[place] for place in places]
    own = not set(cleaner.rows).isdisjoint(rows)
    text = cleaner.own if own else cleaner.text
    ended = [*ends.each()]
    told = [
        end if end.detail is None else end._replace(detail=text(end.detail))
        for end in ended
    ]
    texts = row[5]
    if texts is not None:
        texts = _texts(rows, outcomes, cleaner) or texts
    if told == ended and texts == row[5]:
        return row
    return volley.sealed_landing((*row[:4], pack_ended(told)), texts)


def _texts(rows: list[int], outcomes: Outcomes, cleaner: Cleaner) -> bytes | None:
    """Return the texts of a batch's outcomes anew; None if they stay."""
    details = list(map(cleaner.detail, rows, outcomes.details))
    if details == outcomes.details:
        return None
    return pack_texts(
        Outcomes(outcomes.statuses, outcomes.reasons, details, outcomes.provider_ids)
    )
