"""The durable truth of a run: one SQLite file that knows what was sent and what came.

How it works: a batch is written down as an intent before the first byte of its request
leaves, and as done together with all its outcomes once the answer has been read. What a
crash leaves as an intent was perhaps sent; `Journal.replay` calls it in doubt before
anything else is sent. Everything else, the results file included, is a projection.

    (new) ─▶ INTENT ─▶ DONE                      an answer for every row
               │ ├──▶ RETRYABLE ─▶ INTENT        surely not accepted: again
               │ │        └──────▶ SPLIT
               │ ├──▶ SPLIT ─▶ children          its rows go on in smaller batches
               │ └──▶ IN_DOUBT ─▶ INTENT         the same bytes and key again
               │         ├──▶ DONE               found out by other means
               │         ├──▶ RETRYABLE          the user said to send again
               │         └──▶ HELD               stays in doubt for good
               └ a crash is an arrow to IN_DOUBT

Rules: a record may be lazily durable only if losing it moves a batch towards IN_DOUBT.
So `intend` waits for the disk and the rest need not. The database itself refuses
impossible moves, so that no bug above can write a contradiction.

    codec.py    columns of a batch as bytes and back; seals that show damage
    entry.py    an open batch in memory, and the moves it may make
    schema.py   the tables, the triggers that refuse, opening and checking a file
    store.py    the statements: words to columns and back
    commit.py   group commit: many records, one fsync
    reader.py   the reading half of the journal
    journal.py  the journal
"""

from engine.journal.commit import Statistics, in_thread, inline
from engine.journal.journal import Journal

__all__ = ["Journal", "Statistics", "in_thread", "inline"]
