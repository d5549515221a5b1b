"""What a process that renders rows for a proof may take.

A template is counted while it is filled, see `engine.render.budget`. This is for what
no count foresees: the kernel ends a process that stays too long within one row, however
deep it is in it, and gives it no more memory than is reasonable.
"""

import resource
import signal
from typing import Final

from engine.proof.watching import Trail

#: Seconds of the processor for a part of a row; the count ends it after half of one.
SECONDS: Final = 20.0
#: Bytes that a process may have for its own.
MEMORY: Final = 4 << 30


def hold_memory() -> None:
    """Let this process have `MEMORY`, and a row fail that wants more."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    held = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    resource.setrlimit(resource.RLIMIT_DATA, (held, most))


class TimedTrail(Trail):
    """A trail of rows, none of which may take `SECONDS`: else the process is ended."""

    def begin(self, place: int) -> None:
        """Note that a row of the chunk begins, and set its end."""
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        super().begin(place)
