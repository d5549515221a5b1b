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
               │         ├──▶ SPLIT              likewise, and some rows were found
               │         └──▶ HELD               stays in doubt for good
               └ a crash is an arrow to IN_DOUBT

Batches of one row that leave together are written down together, and so is what is
answered together: an arrow from INTENT to DONE, and no other, for many at once.

Rules: a record may be lazily durable only if losing it moves a batch towards IN_DOUBT.
So `intend` waits for the disk and the rest need not. The database itself refuses
impossible moves, so that no bug above can write a contradiction. Once a request for a
batch was perhaps accepted, nothing but an answer or the user ends the doubt: what
becomes of a later request does not.

    codec.py    columns of a batch as bytes and back; seals that show damage
    entry.py    an open batch in memory, and the moves it may make
    schema.py   the tables, the triggers that refuse
    store.py    the statements: words to columns and back
    volley.py   likewise for batches of one row that leave together
    ground.py   where a journal may lie
    ballast.py  room on the disk for the last answers
    file.py     making, opening and checking the file
    runner.py   how a transaction is run: at once, or in a thread
    commit.py   group commit: many records, one fsync
    pages.py    all batches in their order
    reader.py   the reading half of the journal
    rows.py     what is told of rows and of the run
    batches.py  what is told of batches
    journal.py  the journal
"""

from engine.journal.batches import Intent
from engine.journal.commit import Statistics
from engine.journal.journal import Journal
from engine.journal.runner import in_thread, inline

__all__ = ["Intent", "Journal", "Statistics", "in_thread", "inline"]
