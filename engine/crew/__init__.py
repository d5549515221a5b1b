"""Who makes and sends: each worker's hand, in this process or in several.

hand.py      what a worker asks of its hand, and what it sees of a batch
maker.py     rows to batches: pure
inline.py    a hand in this process
winged.py    one that sends many small batches at once
processes.py hands in other processes, which are started and replaced here
pipe.py      what is said between them
child.py     such a process
count.py     how many a run needs

The process that owns the run keeps everything that decides: reader, journal, pace,
retries, stop. What costs time of a processor is behind the hands.
"""

from engine.crew.count import AUTO, INLINE, Asked, Processes, choose
from engine.crew.hand import (
    PROCESS_LOST,
    Answer,
    Hand,
    Made,
    NotSent,
    Parcel,
    Wings,
)
from engine.crew.inline import Connection, Inline
from engine.crew.maker import Maker
from engine.crew.pipe import Begin
from engine.crew.processes import hired
from engine.crew.winged import Flight, Thrown, Winged

__all__ = [
    "AUTO",
    "INLINE",
    "PROCESS_LOST",
    "Answer",
    "Asked",
    "Begin",
    "Connection",
    "Flight",
    "Hand",
    "Inline",
    "Made",
    "Maker",
    "NotSent",
    "Parcel",
    "Processes",
    "Thrown",
    "Winged",
    "Wings",
    "choose",
    "hired",
]
