"""How a process takes memory, and what of it is kept for the next that is asked for.

For processes that are ours alone: a program that imports the engine sees to its own.
"""

import ctypes
import os
import sys
from typing import Final

#: polars' allocator keeps for a while what was freed, once for each of its arenas, of
#: which it has four for each core. One is enough for what polars does here: a plan of
#: ten million rows took 297 MB at its peak, not 355, for no more time (2026-11-29).
POLARS: Final = {"_RJEM_MALLOC_CONF": "narenas:1"}
#: Each request is some megabytes that are freed when it is answered: given back to the
#: system, they have to be cleared for the next. A send in batches of 1000 took some 3 %
#: less of the processor's time (2026-11-29). Of larger ones there are few, and with
#: them in the heap, a send of texts of 200 kB took 60 MB more.
#: Variable to number, of malloc.h, and bytes. Source: mallopt(3), of glibc.
_GLIBC: Final = {
    # What may be free at the end of the heap.
    "MALLOC_TRIM_THRESHOLD_": (-1, 64 << 20),
    # From here on, memory is apart from the heap.
    "MALLOC_MMAP_THRESHOLD_": (-3, 8 << 20),
}


def settle() -> None:
    """Set the allocators, where nobody else has, before polars reads its setting."""
    for variable, value in POLARS.items():
        os.environ.setdefault(variable, value)
    settle_python()


def settle_python() -> None:
    """Set the allocator of Python and its extensions alone."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none
        for variable, (number, value) in _GLIBC.items():
            if variable not in os.environ:
                mallopt(number, value)
