"""Columns of text that only grow, packed: a million messages in some 130 MB.

A full block of the columns is packed into JSON bytes, about 100 bytes a message instead
of 400. It lies in pages of its own, not on the heap: among the bodies of requests, 2 MB
each and soon freed, blocks left holes that nothing fitted (measured with glibc: 630 kB
held per batch of 1000 messages, of which the index needs 100 kB).
"""

from bisect import bisect_right
from collections.abc import Iterator
from mmap import mmap
from typing import Any, Final, TypeAlias

import orjson

#: Messages in a block: large enough that the block's own objects (five of about 60
#: bytes) do not count, small enough to unpack for one question.
_BLOCK: Final = 4096
#: Blocks that stay unpacked while single messages are asked for, 2 MB each. Events come
#: due some seconds after acceptance, so in places near one another.
_LATELY: Final = 8

#: Lists of one length, of texts, numbers and None.
Columns: TypeAlias = list[list[Any]]


class Index:
    """Columns with one place per message, counted from 0."""

    def __init__(self, width: int) -> None:
        self._blocks: list[mmap] = []
        self._starts = [0]
        self._open: Columns = [[] for _ in range(width)]
        self._lately: dict[int, Columns] = {}

    def __len__(self) -> int:
        return self._starts[-1] + len(self._open[0])

    def extend(self, columns: Columns) -> None:
        """Append to every column."""
        for column, more in zip(self._open, columns, strict=True):
            column.extend(more)
        if len(self._open[0]) >= _BLOCK:
            self._pack()

    def at(self, place: int) -> list[Any]:
        """Return what stands at a place, of each column.

        Raises:
            IndexError: there is no such place.
        """
        block = bisect_right(self._starts, place) - 1
        columns = (
            self._open if block == len(self._blocks) else self._lately_asked(block)
        )
        return [column[place - self._starts[block]] for column in columns]

    def parts(self, start: int = 0) -> Iterator[tuple[int, Columns]]:
        """Go through the columns in parts.

        Args:
            start: the first part holds this place, or begins before it.

        Yields:
            The place of each part's first message, and its part of the columns.
        """
        for block, pages in enumerate(self._blocks):
            if self._starts[block + 1] > start:
                yield self._starts[block], orjson.loads(pages[:])
        yield self._starts[-1], self._open

    def parts_with(self, text: str) -> Iterator[tuple[int, Columns]]:
        """Go through the parts in which a text may stand somewhere."""
        needle = orjson.dumps(text)
        for block, pages in enumerate(self._blocks):
            if pages.find(needle, 0) >= 0:
                yield self._starts[block], orjson.loads(pages[:])
        yield self._starts[-1], self._open

    def _pack(self) -> None:
        packed = orjson.dumps(self._open)
        pages = mmap(-1, len(packed))
        pages.write(packed)
        self._starts.append(len(self))
        self._blocks.append(pages)
        self._open = [[] for _ in self._open]

    def _lately_asked(self, block: int) -> Columns:
        """Unpack a block, or take it from among those that were lately asked for."""
        columns = self._lately.pop(block, None)
        if columns is None:
            columns = orjson.loads(self._blocks[block][:])
        self._lately[block] = columns
        if len(self._lately) > _LATELY:
            del self._lately[next(iter(self._lately))]
        return columns
