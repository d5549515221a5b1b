"""Who makes and sends: each worker's hand, in this process or in several.

hand.py      what a worker asks of its hand, and what it sees of a batch
maker.py     rows to batches: pure
inline.py    a hand in this process

The process that owns the run keeps everything that decides: reader, journal, pace,
retries, stop. What costs time of a processor is behind the hands.
"""

from engine.crew.hand import (
    PROCESS_LOST,
    Answer,
    Hand,
    HandsLost,
    Made,
    NotSent,
    Parcel,
)
from engine.crew.inline import Connection, Inline
from engine.crew.maker import Maker

__all__ = [
    "PROCESS_LOST",
    "Answer",
    "Connection",
    "Hand",
    "HandsLost",
    "Inline",
    "Made",
    "Maker",
    "NotSent",
    "Parcel",
]
