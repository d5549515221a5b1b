"""Encoded messages that travel in one list: joined once, cut out again when asked for.

    parts = gather("messages", [b'{"to":"ann@a.example"}', b'{"to":"bo@b.example"}'])

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
        runs: some messages each, with commas between; one or more.
        sizes: bytes of each message.

    Attributes:
        name: as given.
        whole: the object.
        sizes: as given.
    """

    def __init__(self, name: str, runs: list[bytes], sizes: list[int]) -> None:
        self.name = name
        self.sizes = sizes
        self.whole = enclosed(name, runs)

    @cached_property
    def _starts(self) -> list[int]:
        steps = (size + 1 for size in self.sizes)
        return [*accumulate(steps, initial=len(_opening(self.name)))]

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


def gather(name: str, parts: Iterable[bytes], *, most: int) -> Sequence[bytes]:
    """Join messages where one request has room for them; else return each for itself.

    For all of them would be in memory once more, and be cut apart at once.

    Args:
        name: the field of their list.
        parts: JSON each; one or more.
        most: bytes of a request at most.
    """
    runs: list[bytes] = []
    sizes: list[int] = []
    room = most
    following = iter(parts)
    while run := [*islice(following, _RUN)]:
        lengths = [*map(len, run)]
        room -= sum(lengths)
        if room < 0:
            joined = Listed(name, runs, sizes) if runs else ()
            return [*joined, *run, *following]
        runs.append(b",".join(run))
        sizes += lengths
    return Listed(name, runs, sizes)


def enclosed(name: str, parts: Sequence[bytes]) -> bytes:
    """Return an object whose only field is the list of the parts, one or more.

    Joined in one go: with what stands around it added to it, all of it would be copied
    twice more, which takes as long as to encode it.
    """
    pieces = [*parts]
    pieces[0] = _opening(name) + pieces[0]
    pieces[-1] += b"]}"
    return b",".join(pieces)


def _opening(name: str) -> bytes:
    return b'{"%b":[' % name.encode()


def sizes(parts: Sequence[bytes]) -> list[int]:
    """Return the bytes of each message."""
    return parts.sizes if isinstance(parts, Listed) else [*map(len, parts)]
