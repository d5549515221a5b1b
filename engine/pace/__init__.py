"""When may the next request leave? A rate limit that means what it says, and one gate.

The promise, measured at the instant in which a request departs:

    no `burst` named   in any window of one second (of 1/limit seconds when the limit is
                       below 1/s) at most `limit` messages depart, whatever the sizes of
                       the batches; and the full batches that fit use 98 % of their
                       share or more. A limit above 1/s that is no whole number counts
                       as the whole number below it.
    `burst` named      in any window of W seconds at most limit * W + burst messages.
    requests/s         as messages without `burst`; `burst` never widens it.

How it works: a turn passes two queues, each first come, first served. At the *entry* it
waits until it is about to be allowed to depart. Then the caller writes its intent to
disk. At the *exit* it waits for what is left, and its departure goes on record.

Two records keep the promise, both written at departure. aiolimiter's bucket alone lets
2 * limit - 1 through in a window, and run slower to make up for that, it wastes what
large batches would need. So the bucket gives even spacing, and a log of the
departures of the last window gives strictness. With `burst` the bucket is the promise.

The *gate* is shut at the start and by every 429. Once its pause is over one turn leaves
alone, the probe; its answer opens the gate for all. A wrong password or a storm of 429s
costs one request, not one for each worker. A storm also multiplies the limits by 0.7;
they rise again by a little in every clean second in which they are used.

    rate.py       one limit: what has departed, and when the next may
    allowance.py  all limits, and how much of them is in use after a storm
    line.py       the queues and the gate
    pace.py       what others call
"""

from engine.pace.line import Closed, Turn
from engine.pace.pace import Pace, PaceStatistics, largest_batch
from engine.pace.rate import TrioLimiter

__all__ = [
    "Closed",
    "Pace",
    "PaceStatistics",
    "TrioLimiter",
    "Turn",
    "largest_batch",
]
