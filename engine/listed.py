"""Encoded messages that travel in one list: joined once, cut out again when asked for.

    parts = Listed("messages", [b'{"to":"ann@a.example"}', b'{"to":"bo@b.example"}'])

    parts.whole         b'{"messages":[{"to":"ann@a.example"},{"to":"bo@b.example"}]}'
    parts[1]            b'{"to":"bo@b.example"}'

A thousand messages and the request that carries them are one piece of memory. To hold
each beside the request took a tenth more of the processor time of a whole send (500,000
messages, 2026-11-29): what is written twice is no longer near when it is read back.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, islice
from typing import overload

#: Messages that are joined before the next are made.
_RUN = 32


class Listed(Sequence[bytes]):
    """The messages of one request, in its bytes.

    Args:
        name: the only field of the JSON object whose list they stand in.
        parts: JSON each; one or more.

    Attributes:
        name: as given.
        whole: the object.
        sizes: bytes of each message.
    """

    def __init__(self, name: str, parts: Iterable[bytes]) -> None:
        self.name = name
        self.sizes: list[int] = []
        self._opening = b'{"%b":[' % name.encode()
        runs: list[bytes] = []
        following = iter(parts)
        while run := [*islice(following, _RUN)]:
            self.sizes += map(len, run)
            runs.append(b",".join(run))
        # Added to the small ones: added to the whole, all of it would be copied again.
        runs[0] = self._opening + runs[0]
        runs[-1] += b"]}"
        self.whole = b",".join(runs)

    @cached_property
    def _starts(self) -> list[int]:
        steps = (size + 1 for size in self.sizes)
        return [*accumulate(steps, initial=len(self._opening))]

    def __len__(self) -> int:
        return len(self.sizes)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        places = range(len(self.sizes))[place]
        if isinstance(places, range):
            return [*map(self._at, places)]
        return self._at(places)

    def __iter__(self) -> Iterator[bytes]:
        return map(self._at, range(len(self.sizes)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return [*self] == [*other]

    __hash__ = None  # type: ignore[assignment]  # as a list has none

    def _at(self, place: int) -> bytes:
        start = self._starts[place]
        return self.whole[start : start + self.sizes[place]]


def sizes(parts: Sequence[bytes]) -> list[int]:
    """Return the bytes of each message."""
    return parts.sizes if isinstance(parts, Listed) else [*map(len, parts)]
