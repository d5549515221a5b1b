"""The journal's tables, the triggers that refuse, and opening and checking a file.

How it works: a batch's key is its *place*: its lowest row times 64, plus how often it
was split off. Batches of one depth never overlap, so the nearest one below is the only
one to compare with, and no other index is needed. The file is nearly in input order.

Rules: the schema is compared letter by letter at every open. Change `VERSION` with it.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Literal

from engine.errors import JournalError
from engine.journal.codec import LETTERS, Damage
from engine.journal.entry import MOVES
from engine.outcome import Status

#: "mvly": `file` and SQLite show it as the database's owner.
APPLICATION_ID: Final = 0x6D766C79
VERSION: Final = 1

_TABLES: Final = f"""
CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    seal  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
    place           INTEGER PRIMARY KEY CHECK (place >= 0),
    low             INTEGER AS (place >> 6) VIRTUAL,
    depth           INTEGER AS (place & 63) VIRTUAL,
    id              BLOB NOT NULL,
    parent          INTEGER CHECK ((parent IS NULL) = (place & 63 = 0)),
    high            INTEGER NOT NULL,
    size            INTEGER NOT NULL CHECK (size BETWEEN 1 AND high - low + 1),
    members         BLOB CHECK ((members IS NULL) = (size = high - low + 1)),
    intended_at     INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN
                    ('intent', 'retryable', 'in_doubt', 'done', 'held', 'split')),
    attempts        INTEGER NOT NULL CHECK (attempts >= 1),
    history         TEXT NOT NULL,
    body_sha256     BLOB NOT NULL CHECK (length(body_sha256) = 32),
    body_bytes      INTEGER NOT NULL CHECK (body_bytes >= 0),
    idempotency_key TEXT,
    settled_at      INTEGER,
    statuses        TEXT CHECK (length(statuses) IN (1, size)
                                AND statuses NOT GLOB '*[^{LETTERS}]*'),
    texts           BLOB CHECK (texts IS NULL OR statuses IS NOT NULL),
    seal            INTEGER NOT NULL,
    CHECK ((statuses IS NULL) OR state IN ('done', 'split')),
    CHECK ((statuses IS NOT NULL) OR state <> 'done'),
    CHECK ((settled_at IS NULL) = (statuses IS NULL AND state <> 'held'))
) STRICT;

CREATE TABLE settled_row (
    row        INTEGER PRIMARY KEY CHECK (row >= 0),
    status     TEXT NOT NULL CHECK (status IN {tuple(s.value for s in Status)}),
    reason     TEXT,
    detail     TEXT,
    settled_at INTEGER NOT NULL,
    seal       INTEGER NOT NULL
) STRICT;
"""

#: Name, event, what is wrong, and the condition (or a query that finds it).
_REFUSALS: Final = (
    (
        "batch_begins",
        "INSERT ON batch",
        "a batch begins as an intent",
        "NEW.state <> 'intent' OR NEW.attempts <> 1 OR NEW.history <> ''",
    ),
    (
        "batch_apart",
        "INSERT ON batch",
        "a row is in another batch",
        # >= with no neighbour at all is NULL, which refuses nothing.
        """(SELECT high FROM batch
            WHERE place <= NEW.high * 64 + 63 AND depth = NEW.place & 63
            ORDER BY place DESC LIMIT 1) >= NEW.place >> 6""",
    ),
    (
        "batch_within",
        "INSERT ON batch",
        "the parent is not a split batch around it",
        """NEW.parent IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM batch WHERE place = NEW.parent AND state = 'split'
            AND place & 63 = (NEW.place & 63) - 1
            AND low <= NEW.place >> 6 AND high >= NEW.high)""",
    ),
    (
        "batch_unsettled",
        "INSERT ON batch",
        "a row is settled already",
        """EXISTS (
            SELECT 1 FROM settled_row WHERE row BETWEEN NEW.place >> 6 AND NEW.high
            AND (NEW.members IS NULL
                 OR substr(NEW.members, row - (NEW.place >> 6) + 1, 1) = x'01'))""",
    ),
    (
        "batch_moves",
        "UPDATE ON batch",
        "a batch cannot move so",
        f"OLD.state || ' ' || NEW.state NOT IN {tuple(map(' '.join, MOVES))!r}",
    ),
    (
        "batch_is",
        "UPDATE ON batch",
        "what a batch is never changes",
        """OLD.place <> NEW.place OR OLD.id <> NEW.id OR OLD.high <> NEW.high
           OR OLD.size <> NEW.size OR OLD.parent IS NOT NEW.parent
           OR OLD.members IS NOT NEW.members OR OLD.intended_at <> NEW.intended_at""",
    ),
    (
        "batch_counts",
        "UPDATE ON batch",
        "attempts are counted one by one",
        "NEW.attempts <> OLD.attempts + (NEW.state = 'intent')",
    ),
    (
        "batch_remembers",
        "UPDATE ON batch",
        "how an attempt ended never changes",
        "substr(NEW.history, 1, length(OLD.history)) <> OLD.history",
    ),
    (
        "batch_repeats",
        "UPDATE ON batch",
        "other bytes or another key than before",
        # Surely not accepted: new bytes are harmless unless they meet an old key.
        """(OLD.body_sha256 <> NEW.body_sha256 OR OLD.body_bytes <> NEW.body_bytes
            OR OLD.idempotency_key IS NOT NEW.idempotency_key)
           AND NOT (OLD.state = 'retryable' AND NEW.state = 'intent'
                    AND (OLD.idempotency_key IS NOT NEW.idempotency_key
                         OR NEW.idempotency_key IS NULL))""",
    ),
    ("batch_stays", "DELETE ON batch", "a batch is never forgotten", "1"),
    (
        "row_apart",
        "INSERT ON settled_row",
        "the row is in a batch",
        # From the batch without a parent around it down through what it was split to.
        """EXISTS (
            SELECT 1 FROM batch WHERE place <= NEW.row * 64 + 63
            AND place >= (SELECT place FROM batch
                          WHERE place <= NEW.row * 64 + 63 AND depth = 0
                          ORDER BY place DESC LIMIT 1)
            AND high >= NEW.row AND state <> 'split'
            AND (members IS NULL OR substr(members, NEW.row - low + 1, 1) = x'01'))""",
    ),
    (
        "row_once",
        "INSERT ON settled_row",
        "the row is settled already",
        "EXISTS (SELECT 1 FROM settled_row WHERE row = NEW.row)",
    ),
    ("row_is", "UPDATE ON settled_row", "an outcome never changes", "1"),
    ("row_stays", "DELETE ON settled_row", "an outcome is never forgotten", "1"),
)

SCHEMA: Final = _TABLES + "".join(
    f"CREATE TRIGGER {name} BEFORE {event} WHEN {condition}\n"
    f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END;\n"
    for name, event, refusal, condition in _REFUSALS
)

_NOT_OURS: Final = (
    "If it is a copy, go back to the original. Never send from a journal that cannot "
    "be trusted: start a new run and leave out those who may have been mailed."
)


@contextmanager
def trouble(path: Path, what: str) -> Iterator[None]:
    """Turn damage, errors of SQLite and of the file system into JournalError.

    Args:
        path: the journal, for the message.
        what: what could not be done, as the end of "cannot …".
    """
    try:
        yield
    except (Damage, UnicodeDecodeError) as error:
        # SQLite quotes damaged names in its messages as they are.
        raise JournalError(f"{path}: damaged: {error}", hint=_NOT_OURS) from error
    except (sqlite3.Error, OSError) as error:
        raise _translated(path, what, error) from error


def _translated(path: Path, what: str, error: Exception) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_BUSY:
        return JournalError(
            f"{path}: another process has it",
            hint="Wait for the other run to end, or stop it.",
        )
    if code in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return JournalError(f"{path}: damaged: {error}", hint=_NOT_OURS)
    if code == sqlite3.SQLITE_FULL:
        return JournalError(
            f"{path}: cannot {what}: the disk is full",
            hint="Free some space, then resume.",
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return JournalError(
            f"{path}: refused a contradiction: {error}",
            hint="This is a mistake in mailvolley, not yours. The journal is intact.",
        )
    return JournalError(
        f"{path}: cannot {what}: {error}",
        hint="See to the disk and the permissions, then resume.",
    )


def create_file(path: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Make a journal, complete or not at all.

    Args:
        path: where; nothing may be there.
        fill: writes what it begins with.

    Raises:
        JournalError: the file exists, or cannot be made.
    """
    aside = path.with_name(f"{path.name}.inprogress")
    with trouble(path, "create it"):
        aside.unlink(missing_ok=True)
        os.close(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(_connect(aside)) as db:
            db.executescript(f"BEGIN; {SCHEMA}")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            fill(db)
            db.execute("COMMIT")
        try:
            # Not a rename: that would replace a journal made in the meantime.
            os.link(aside, path)
        except FileExistsError:
            raise JournalError(
                f"{path}: a journal is there already",
                hint="Resume that run, or start another one in its own folder.",
            ) from None
        finally:
            aside.unlink()
        _sync_directory(path.parent)


def open_file(
    path: Path, *, synchronous: Literal["FULL", "NORMAL", "OFF"]
) -> sqlite3.Connection:
    """Take hold of a journal and check all of its structure.

    EXCLUSIVE comes first: then WAL needs no shared memory, nobody else can open the
    file, and it still opens on a full disk. SQLite's locks go when *any* descriptor of
    this file is closed in this process: nothing here may open it a second time.

    Raises:
        JournalError: it is missing, foreign, damaged, or another process has it.

    Source:
        https://www.sqlite.org/wal.html section 7, use of WAL without shared memory;
        https://www.sqlite.org/howtocorrupt.html section 2.2, POSIX locks.
    """
    with trouble(path, "open it"):
        _expect_regular(path)
        db = _connect(path)
        try:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            _expect_ours(path, db)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {synchronous}")
            db.execute("PRAGMA fullfsync = ON")  # macOS: fsync leaves it in the drive
            db.execute("PRAGMA checkpoint_fullfsync = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            _expect_sound(db)
        except BaseException:
            db.close()
            raise
    return db


def _connect(path: Path) -> sqlite3.Connection:
    """Open an existing file; transactions are ours to begin and end."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=0,
        isolation_level=None,
        check_same_thread=False,
    )


def _expect_regular(path: Path) -> None:
    """Refuse what is not a plain file. A link could lead to another run's journal."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise JournalError(
            f"{path}: there is no journal",
            hint="Look for the run with `mailvolley status`.",
        ) from None
    if not stat.S_ISREG(mode):
        raise JournalError(f"{path}: not a plain file", hint=_NOT_OURS)


def _expect_ours(path: Path, db: sqlite3.Connection) -> None:
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        raise JournalError(f"{path}: not a journal of mailvolley", hint=_NOT_OURS)
    if version != VERSION:
        raise JournalError(
            f"{path}: a journal of version {version}, and this program reads {VERSION}",
            hint="Resume with the version of mailvolley that began the run.",
        )


def _expect_sound(db: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(SCHEMA)
        expected = _schema_of(fresh)
    if _schema_of(db) != expected:
        raise Damage("its tables are not those of this version")
    ((verdict,),) = db.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise Damage(verdict)


def _schema_of(db: sqlite3.Connection) -> list[tuple[str, str]]:
    return db.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


def _sync_directory(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
