"""What a worker needs done: batches made of rows, and batches carried to the provider.

A worker decides; its hand does what costs time of a processor. It renders, encodes and
cuts rows into batches, keeps their bytes, sends them and reads the answers. The worker
sees of a batch who is in it and the hash of its bytes: a `Parcel`.

A hand has lanes: as many requests may be under way by it. One with many may be able to
fly: to throw many small batches at once and to catch their answers as they come, which
costs a third of as many exchanges.

Rules: what a hand has made stays with it until it is dropped, or was answered well. It
never sends on its own account, and never twice what it was told to send once. One with
a single lane does one thing at a time.
"""

from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import polars as pl

from engine.errors import ProviderError
from engine.outcome import Outcomes
from engine.render import Failure

#: Why a request is in doubt whose process ended: it says nothing of the provider.
PROCESS_LOST = "process_lost"


class Parcel(NamedTuple):
    """A batch that was made, as its worker knows it.

    Attributes:
        id: see `engine.message.Batch`.
        rows: 0-based input positions, ascending.
        digest: BLAKE3 of its request's body, 32 bytes.
        size: bytes of that body.
    """

    id: str
    rows: list[int]
    digest: bytes
    size: int


class Made(NamedTuple):
    """What became of a chunk.

    Attributes:
        parcels: its batches in input order.
        failures: rows that failed.
        rendering: seconds of a core that this took.
        encoding: seconds that the rest took.
    """

    parcels: list[Parcel]
    failures: list[Failure]
    rendering: float = 0.0
    encoding: float = 0.0


class Answer(NamedTuple):
    """An answer that was read: its status, and one outcome per message."""

    status: int
    outcomes: Outcomes


class NotSent(Exception):
    """The batch's bytes were lost before any of them left. `Hand.ready` renews them."""


class Wings(Protocol):
    """What a hand has that can fly."""

    def room(self, wanted: int) -> int:
        """Return how many batches can be thrown now, at most as many as are wanted.

        What has ended meanwhile is caught first, for `caught` to tell.
        """
        ...

    def can_carry(self, parcel: Parcel) -> bool:
        """Whether a batch is small enough to be thrown."""
        ...

    def throw(self, parcel: Parcel, *, sent: Callable[[], None]) -> None:
        """Send a batch, for which there is room; `catch` tells what came of it.

        `sent` is called when all of it is on the wire.
        """
        ...

    def caught(self) -> "list[tuple[Parcel, Answer | ProviderError]]":
        """Return what has come of batches that were thrown, without a wait."""
        ...

    async def catch(self) -> "list[tuple[Parcel, Answer | ProviderError]]":
        """Wait until there is such, and return it; all that is there."""
        ...


class Hand(Protocol):
    """One worker's hand. Also an async context manager.

    Attributes:
        lanes: requests that may be under way at once.
        wings: what it flies with; None: it cannot.
    """

    @property
    def lanes(self) -> int: ...  # noqa: D102 - see the class
    @property
    def wings(self) -> Wings | None: ...  # noqa: D102

    async def __aenter__(self) -> Self:
        """Be ready."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hang up, and forget everything."""

    async def make(self, chunk: pl.DataFrame) -> Made:
        """Make batches of a chunk of the list; see `engine.snapshot.chunks`.

        The same chunk gives the same batches with the same bytes.

        Raises:
            HandsLost: there is no hand any more.
        """
        ...

    async def ready(self, parcel: Parcel) -> Parcel:
        """Have a batch's bytes at hand; make them anew where they were lost.

        Returns:
            The same batch. Its bytes may be others if a file changed meanwhile.

        Raises:
            HandsLost: there is no hand any more, or it is not the same batch.
        """
        ...

    def drop(self, parcel: Parcel) -> None:
        """Forget a batch: nothing more is to be done with it."""
        ...

    async def halves(self, parcel: Parcel) -> tuple[Parcel, Parcel]:
        """Cut a batch in the middle; see `engine.batch.halves`.

        Raises:
            HandsLost: as `make`.
        """
        ...

    async def exchange(self, parcel: Parcel, *, sent: Callable[[], None]) -> Answer:
        """Send a batch and read its answer, or say how far it got.

        `sent` is called when all of it is on the wire.

        Raises:
            NotSent: surely nothing of it has left, for a reason of our own.
            ProviderError: as `engine.wire` and the provider say.
        """
        ...
