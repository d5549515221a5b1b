"""Lists that come in pages of an unknown size, newest first.

CloudMailin counts pages from the newest item, so what arrives while a list is read
moves all others on, and the end of one page comes again at the beginning of the next.
So an item is known by its id and told once, and the list ends with the first page that
has no news: an empty one, or the same one again from a server that knows no pages.

Limits: what CloudMailin removes while the list is read moves the others the other way,
and as many are passed over; and if more arrives between two questions than a page
holds, the list seems to end. Narrow the list with a query instead of reading it all.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Generic, Protocol, Self, TypeVar

from engine.cloudmailin.resources import Entry


class Item(Protocol):
    """What stands in a list.

    Attributes:
        id: empty where CloudMailin gives none.
        raw: as it came.
    """

    @property
    def id(self) -> str:
        """What it is known by."""

    @property
    def raw(self) -> Entry:
        """As it came."""


T = TypeVar("T", bound=Item)


class Listing(AsyncIterator[T], Generic[T]):
    """The items of a list; read once, with `async for`. Asks for pages as it goes.

    Args:
        page: asks for a page, counted from 1.
    """

    def __init__(self, page: Callable[[int], Awaitable[Sequence[T]]]) -> None:
        self._page = page
        self._number = 0
        self._told: set[str] = set()
        self._waiting: deque[T] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            await self._turn()
        return self._waiting.popleft()

    async def take(self, most: int) -> list[T]:
        """Return the first items that are left, `most` at most."""
        taken: list[T] = []
        while len(taken) < most:
            try:
                taken.append(await anext(self))
            except StopAsyncIteration:
                break
        return taken

    async def _turn(self) -> None:
        items = await self._page(self._number + 1)
        self._number += 1
        for item in items:
            key = item.id or repr(item)
            if key not in self._told:
                self._told.add(key)
                self._waiting.append(item)
        self._ended = not self._waiting
