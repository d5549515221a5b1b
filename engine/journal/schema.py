"""The journal's tables, and the triggers that refuse.

How it works: a batch's key is its *place*: its lowest row times 64, plus how often it
was split off. Batches of one depth never overlap, so the nearest one below is the only
one to compare with, and no other index is needed. The file is nearly in input order.

Batches of one row each that leave together are a *volley*: one record of their intents.
Those of them that were answered together are a *landing* of it: one record likewise,
each a bit of its mask, the lowest row the lowest bit. To which anything else happens,
that goes on by itself: it becomes a `batch` as it was in its volley.

Rules: the schema is compared letter by letter at every open. Change `VERSION` with it.
"""

# ruff: noqa: S608  the statements are made of constants of this file alone

from collections.abc import Iterable
from typing import Final

from engine.journal.codec import ID_BYTES, LETTERS, pack_statuses
from engine.journal.entry import MOVES
from engine.outcome import Status
from engine.record import FINDABLE, BatchState

#: "mvly": `file` and SQLite show it as the database's owner.
APPLICATION_ID: Final = 0x6D766C79
VERSION: Final = 6
#: Batches of a volley at most: a mask of them is an integer of SQLite above 0.
MOST_ALOFT: Final = 62


def _among(expression: str, texts: Iterable[str]) -> str:
    """Return the condition that an expression is one of some texts.

    Not `IN`, for which SQLite makes a table each time it is asked: that took half of
    the 45 us of an intent and its outcome (`python -m benchmarks --only
    journal-single`, 2026-11-28).
    """
    cases = " ".join(f"WHEN '{text}' THEN 1" for text in texts)
    return f"CASE {expression} {cases} ELSE 0 END"


#: What a landing may tell: a row that is in doubt after all goes on by itself.
_CERTAIN: Final = LETTERS.translate(
    dict.fromkeys(map(ord, pack_statuses([Status.IN_DOUBT, Status.PENDING])))
)

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
    state           TEXT NOT NULL CHECK ({_among("state", BatchState)}),
    attempts        INTEGER NOT NULL CHECK (attempts >= 1),
    history         TEXT NOT NULL,
    doubted         INTEGER NOT NULL CHECK (doubted IN (0, 1)),
    body_digest     BLOB NOT NULL CHECK (length(body_digest) = 32),
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

CREATE TABLE volley (
    low         INTEGER PRIMARY KEY CHECK (low >= 0),
    high        INTEGER NOT NULL,
    size        INTEGER NOT NULL CHECK (size BETWEEN 1 AND {MOST_ALOFT}),
    members     BLOB CHECK ((members IS NULL) = (size = high - low + 1)),
    intended_at INTEGER NOT NULL,
    ids         BLOB NOT NULL CHECK (length(ids) = size * {ID_BYTES}),
    digests     BLOB NOT NULL CHECK (length(digests) = size * 32),
    lengths     TEXT NOT NULL,
    keyed       INTEGER NOT NULL CHECK (keyed IN (0, 1)),
    seal        INTEGER NOT NULL
) STRICT;

CREATE TABLE landing (
    volley   INTEGER NOT NULL,
    mask     INTEGER NOT NULL CHECK (mask > 0),
    size     INTEGER NOT NULL CHECK (size BETWEEN 1 AND {MOST_ALOFT}),
    statuses TEXT NOT NULL CHECK (length(statuses) IN (1, size)
                                  AND statuses NOT GLOB '*[^{_CERTAIN}]*'),
    texts    BLOB,
    ended    TEXT NOT NULL,
    seal     INTEGER NOT NULL,
    PRIMARY KEY (volley, mask)
) STRICT, WITHOUT ROWID;

CREATE TABLE settled_row (
    row        INTEGER PRIMARY KEY CHECK (row >= 0),
    status     TEXT NOT NULL CHECK ({_among("status", Status)}),
    reason     TEXT,
    detail     TEXT,
    settled_at INTEGER NOT NULL,
    seal       INTEGER NOT NULL
) STRICT;

CREATE TABLE found (
    row         INTEGER PRIMARY KEY,
    status      TEXT NOT NULL CHECK ({_among("status", FINDABLE)}),
    reason      TEXT,
    detail      TEXT,
    provider_id TEXT,
    found_at    INTEGER NOT NULL,
    seal        INTEGER NOT NULL
) STRICT;
"""

_DOUBT: Final = pack_statuses([Status.IN_DOUBT])
#: The lowest row of the batch NEW.
_LOW: Final = "(NEW.place >> 6)"


def doubtful(row: str) -> str:
    """Return the condition that a batch leaves `row`, an expression, in doubt."""
    return f"""EXISTS (
        SELECT 1 FROM batch WHERE {_around(row)}
        AND (state IN ('in_doubt', 'held') OR substr(statuses, CASE
            WHEN length(statuses) = 1 THEN 1
            WHEN members IS NULL THEN {row} - low + 1
            -- Its place among the members: how many there are up to it.
            ELSE length(replace(hex(substr(members, 1, {row} - low + 1)), '0', ''))
            END, 1) = '{_DOUBT}'))"""


def _around(row: str) -> str:
    """Return the condition on `batch` that `row` is a member.

    From the batch without a parent around it down through what it was split to.
    """
    return f"""place <= {row} * 64 + 63
            AND place >= (SELECT place FROM batch
                          WHERE place <= {row} * 64 + 63 AND depth = 0
                          ORDER BY place DESC LIMIT 1)
            AND high >= {row}
            AND (members IS NULL OR substr(members, {row} - low + 1, 1) = x'01')"""


def _members(condition: str, low: str = _LOW) -> str:
    """Return the condition that `row` is a member of the batch NEW, and another one."""
    return f"""row BETWEEN {low} AND NEW.high
            AND (NEW.members IS NULL
                 OR substr(NEW.members, row - {low} + 1, 1) = x'01')
            AND {condition}"""


def _within(table: str, condition: str, low: str = _LOW) -> str:
    """Return the condition that `table` tells of a member of the batch NEW."""
    return f"""EXISTS (
            SELECT 1 FROM {table} WHERE {_members(condition, low)})"""


def _bit(row: str) -> str:
    """Return which bit of the masks of `v`, a volley, its member `row` is."""
    return f"""CASE WHEN v.members IS NULL THEN {row} - v.low
            ELSE length(replace(
                hex(substr(v.members, 1, {row} - v.low + 1)), '0', '')) - 1 END"""


def _aloft(rows: tuple[str, str], condition: str) -> str:
    """Return the condition that a volley, `v`, has rows in a range, and another one."""
    low, high = rows
    return f"""EXISTS (
            SELECT 1 FROM (SELECT * FROM volley WHERE low <= {high}
                           ORDER BY low DESC LIMIT 1) AS v
            WHERE v.high >= {low} AND {condition})"""


def _is_aloft(row: str) -> str:
    """Return the condition that `row` is a member of `v`, a volley that reaches it."""
    return f"(v.members IS NULL OR substr(v.members, {row} - v.low + 1, 1) = x'01')"


def _letter(row: str) -> str:
    """Return what the statuses of the batch NEW say of its member `row`."""
    return f"""substr(NEW.statuses, CASE
                WHEN NEW.members IS NULL THEN {row} - {_LOW} + 1
                ELSE length(replace(
                    hex(substr(NEW.members, 1, {row} - {_LOW} + 1)), '0', ''))
                END, 1)"""


#: What was found of a row, as a letter.
_FOUND_LETTER: Final = "CASE status {} END".format(
    " ".join(f"WHEN '{s.value}' THEN '{pack_statuses([s])}'" for s in FINDABLE)
)

_MOVE: Final = _among("OLD.state || ' ' || NEW.state", map(" ".join, MOVES))

#: Name, event, what is wrong, and the condition (or a query that finds it).
_REFUSALS: Final = (
    (
        "batch_begins",
        "INSERT ON batch",
        "a batch begins as an intent",
        """NEW.state <> 'intent' OR NEW.attempts <> 1 OR NEW.history <> ''
           OR NEW.doubted""",
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
        "batch_aloft",
        "INSERT ON batch",
        "it is not what it was in its volley, or has landed",
        # Of a batch that goes on by itself high is its only row.
        _aloft(
            (_LOW, "NEW.high"),
            f"""NOT (
                NEW.size = 1 AND NEW.parent IS NULL AND {_is_aloft("NEW.high")}
                AND NEW.intended_at = v.intended_at
                AND NEW.idempotency_key IS iif(v.keyed, lower(hex(NEW.id)), NULL)
                AND NEW.id =
                    substr(v.ids, ({_bit("NEW.high")}) * {ID_BYTES} + 1, {ID_BYTES})
                AND NEW.body_digest =
                    substr(v.digests, ({_bit("NEW.high")}) * 32 + 1, 32)
                AND NOT EXISTS (SELECT 1 FROM landing WHERE volley = v.low
                                AND mask >> ({_bit("NEW.high")}) & 1))""",
        ),
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
        _within("settled_row", "1"),
    ),
    (
        "batch_unfound",
        "INSERT ON batch",
        "it is known what became of a row",
        _within("found", "1"),
    ),
    (
        "batch_moves",
        "UPDATE ON batch",
        "a batch cannot move so",
        f"NOT {_MOVE}",
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
        """(OLD.body_digest <> NEW.body_digest OR OLD.body_bytes <> NEW.body_bytes
            OR OLD.idempotency_key IS NOT NEW.idempotency_key)
           AND NOT (OLD.state = 'retryable' AND NEW.state = 'intent'
                    AND (OLD.idempotency_key IS NOT NEW.idempotency_key
                         OR NEW.idempotency_key IS NULL))""",
    ),
    (
        "batch_doubts",
        "UPDATE ON batch",
        "an earlier request is in doubt",
        """OLD.doubted AND OLD.state = 'intent' AND NEW.state = 'retryable'
           OR NEW.doubted <> CASE NEW.state WHEN 'in_doubt' THEN 1
                             WHEN 'retryable' THEN 0 ELSE OLD.doubted END""",
    ),
    (
        "batch_found",
        "UPDATE ON batch",
        "it is known what became of a row",
        f"""OLD.state = 'in_doubt' AND NEW.state = 'retryable'
           AND {_within("found", "1")}""",
    ),
    (
        "batch_parts",
        "UPDATE ON batch",
        "a row goes on that was found, or does not that was not",
        # Each row that was found says so, and as many others as there are go on.
        f"""OLD.state = 'in_doubt' AND NEW.state = 'split'
           AND (NEW.statuses IS NULL OR length(NEW.statuses) <> NEW.size
            OR length(replace(NEW.statuses, '{pack_statuses([Status.PENDING])}', ''))
               <> (SELECT count(*) FROM found WHERE {_members("1")})
            OR NOT {_within("found", "1")}
            OR {_within("found", f"{_letter('row')} <> {_FOUND_LETTER}")})""",
    ),
    ("batch_stays", "DELETE ON batch", "a batch is never forgotten", "1"),
    (
        "volley_apart",
        "INSERT ON volley",
        "a row is in another batch",
        """(SELECT high FROM volley
            WHERE low <= NEW.high ORDER BY low DESC LIMIT 1) >= NEW.low
           OR (SELECT high FROM batch
               WHERE place <= NEW.high * 64 + 63 AND depth = 0
               ORDER BY place DESC LIMIT 1) >= NEW.low""",
    ),
    (
        "volley_unsettled",
        "INSERT ON volley",
        "a row is settled already",
        _within("settled_row", "1", "NEW.low"),
    ),
    (
        "volley_unfound",
        "INSERT ON volley",
        "it is known what became of a row",
        _within("found", "1", "NEW.low"),
    ),
    ("volley_is", "UPDATE ON volley", "what a batch is never changes", "1"),
    ("volley_stays", "DELETE ON volley", "a batch is never forgotten", "1"),
    (
        "landing_left",
        "INSERT ON landing",
        "no volley has such batches",
        """NOT EXISTS (SELECT 1 FROM volley
                       WHERE low = NEW.volley AND NEW.mask >> size = 0)""",
    ),
    (
        "landing_once",
        "INSERT ON landing",
        "a batch has landed already",
        """EXISTS (SELECT 1 FROM landing
                   WHERE volley = NEW.volley AND mask & NEW.mask)""",
    ),
    (
        "landing_apart",
        "INSERT ON landing",
        "a batch goes on by itself",
        f"""EXISTS (
            SELECT 1 FROM volley AS v CROSS JOIN batch AS b
            ON b.place BETWEEN v.low * 64 AND v.high * 64 + 63
            WHERE v.low = NEW.volley AND NEW.mask >> ({_bit("b.high")}) & 1)""",
    ),
    ("landing_is", "UPDATE ON landing", "an outcome never changes", "1"),
    ("landing_stays", "DELETE ON landing", "an outcome is never forgotten", "1"),
    (
        "row_apart",
        "INSERT ON settled_row",
        "the row is in a batch",
        f"""EXISTS (
            SELECT 1 FROM batch WHERE {_around("NEW.row")} AND state <> 'split')
           OR {_aloft(("NEW.row", "NEW.row"), _is_aloft("NEW.row"))}""",
    ),
    (
        "row_once",
        "INSERT ON settled_row",
        "the row is settled already",
        "EXISTS (SELECT 1 FROM settled_row WHERE row = NEW.row)",
    ),
    ("row_is", "UPDATE ON settled_row", "an outcome never changes", "1"),
    ("row_stays", "DELETE ON settled_row", "an outcome is never forgotten", "1"),
    (
        "found_doubted",
        "INSERT ON found",
        "the row is not in doubt",
        f"NOT {doubtful('NEW.row')}",
    ),
    (
        "found_once",
        "INSERT ON found",
        "the row is found already",
        "EXISTS (SELECT 1 FROM found WHERE row = NEW.row)",
    ),
    ("found_is", "UPDATE ON found", "a finding never changes", "1"),
    ("found_stays", "DELETE ON found", "a finding is never forgotten", "1"),
)

SCHEMA: Final = _TABLES + "".join(
    f"CREATE TRIGGER {name} BEFORE {event} WHEN {condition}\n"
    f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END;\n"
    for name, event, refusal, condition in _REFUSALS
)
