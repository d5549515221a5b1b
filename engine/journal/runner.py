"""How a transaction is run: at once, in a thread, or as suits the disk.

A thread keeps the loop going while the disk is busy. Where that answers within a tenth
of a millisecond there is nothing to keep going meanwhile: at once, messages one by one
took 6 to 13 % less of a core with 64 in flight, and a fifth less with 8 (2026-11-29).
"""

import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

#: Calls what writes one transaction, once, and waits for it. Is told of how many rows
#: the transaction speaks.
Runner = Callable[[Callable[[], None], int], Awaitable[None]]

#: Rows that are packed at once; to pack more is work that another core can do.
_LIGHT: Final = 100
#: Seconds that the loop may wait for the disk.
_QUICK: Final = 0.0005
#: One that waited longer may have waited for the core; so many in a row, for the disk.
_SURE: Final = 4
#: So many are run in a thread then, before it is tried without one again.
_PATIENCE: Final = 64


async def in_thread(write: Callable[[], None], _rows: int) -> None:
    """Write in a worker thread: the loop goes on while the disk is busy."""
    # A limiter of its own: name lookups must not keep the journal waiting.
    await trio.to_thread.run_sync(write, limiter=trio.CapacityLimiter(1))


async def inline(write: Callable[[], None], _rows: int) -> None:
    """Write at once, without a thread: the same order on every run."""
    write()


class Adaptive:
    """Writes little at once while the disk is quick; else in a thread."""

    def __init__(self) -> None:
        self._in_thread = 0
        self._slow = 0

    async def __call__(self, write: Callable[[], None], rows: int) -> None:
        """Run a transaction."""
        if self._in_thread or rows > _LIGHT:
            self._in_thread = max(0, self._in_thread - 1)
            await in_thread(write, rows)
        elif self._is_quick(write):
            self._slow = 0
        else:
            self._slow += 1
            if self._slow == _SURE:
                self._in_thread, self._slow = _PATIENCE, 0

    # No interrupt comes in the midst of what a thread does; nor may one here.
    @trio.lowlevel.enable_ki_protection
    def _is_quick(self, write: Callable[[], None]) -> bool:
        """Write, and say whether there was next to no wait."""
        began, worked = time.perf_counter(), time.thread_time()
        write()
        worked = time.thread_time() - worked
        return time.perf_counter() - began - worked <= _QUICK
