"""A hand in this process: it makes and sends where it is asked to.

A process of the crew has hands of this kind, too: they are asked over its pipe.
"""

from collections import deque
from collections.abc import Callable, Iterable
from time import perf_counter
from types import TracebackType
from typing import Protocol, Self

import polars as pl
from blake3 import blake3

from engine.batch import halves
from engine.crew.hand import Answer, Made, Parcel, Wings
from engine.crew.maker import Maker
from engine.message import Batch, Request, Response

#: Bytes of bodies that are kept between making and sending. What is beyond is joined
#: once more when it is sent: a chunk of large attachments is not held twice.
KEPT = 16 * 1024 * 1024


class Connection(Protocol):
    """What a hand needs of its way to the provider. Also an async context manager."""

    async def __aenter__(self) -> Self:
        """Be ready."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hang up."""

    async def exchange(self, request: Request, *, sent: Callable[[], None]) -> Response:
        """Send a request and read its answer whole, or say how far it got.

        `sent` is called when all of it is on the wire.
        """
        ...


class Inline:
    """See `engine.crew.hand.Hand`.

    Args:
        maker: makes the batches.
        wires: the ways to the provider, the hand's own; each is a lane.
    """

    def __init__(self, maker: Maker, *wires: Connection) -> None:
        self._maker = maker
        self._provider = maker.provider
        self._wires = wires
        #: Those last in use at the end; those that broke, and the unused, before them.
        self._idle = deque(wires)
        self._batches: dict[str, Batch] = {}
        self._requests: dict[str, Request] = {}
        self._kept = 0

    async def __aenter__(self) -> Self:
        for wire in self._wires:
            await wire.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for wire in self._wires:
            await wire.__aexit__(kind, error, traceback)

    @property
    def lanes(self) -> int:
        """Requests that may be under way at once."""
        return len(self._wires)

    @property
    def wings(self) -> Wings | None:
        """What it flies with: nothing."""
        return None

    async def make(self, chunk: pl.DataFrame) -> Made:
        """Make batches of a chunk."""
        began = perf_counter()
        rendered = self._maker.render(chunk)
        halfway = perf_counter()
        made, failures = self._maker.encode(rendered)
        parcels = self._parcels(made)
        ended = perf_counter()
        return Made(parcels, failures, halfway - began, ended - halfway)

    async def ready(self, parcel: Parcel) -> Parcel:
        """Return the batch: nothing is lost here."""
        return parcel

    def drop(self, parcel: Parcel) -> None:
        """Forget a batch."""
        self._batches.pop(parcel.id, None)
        self._forget_request(parcel)

    def drop_all(self) -> None:
        """Forget all that was made."""
        self._batches.clear()
        self._requests.clear()
        self._kept = 0

    async def halves(self, parcel: Parcel) -> tuple[Parcel, Parcel]:
        """Cut a batch in the middle."""
        self._forget_request(parcel)
        first, second = self._parcels(halves(self._batches.pop(parcel.id)))
        return first, second

    async def exchange(self, parcel: Parcel, *, sent: Callable[[], None]) -> Answer:
        """Send a batch and read its answer."""
        wire = self._idle.pop()
        batch = self._batches[parcel.id]
        try:
            response = await wire.exchange(self._request(batch), sent=sent)
        except BaseException:
            self._idle.appendleft(wire)
            raise
        self._idle.append(wire)
        return self._read(parcel, batch, response)

    # Inner workings.

    def _request(self, batch: Batch) -> Request:
        return self._requests.get(batch.id) or self._provider.request(batch)

    def _read(self, parcel: Parcel, batch: Batch, response: Response) -> Answer:
        """Read an answer. If it is a good one, the batch is forgotten."""
        outcomes = self._provider.outcomes(batch, response)
        self.drop(parcel)
        return Answer(response.status, outcomes)

    def _parcels(self, made: Iterable[Batch]) -> list[Parcel]:
        parcels = []
        for batch in made:
            request = self._provider.request(batch)
            size = len(request.body)
            if self._kept + size <= KEPT:
                self._requests[batch.id] = request
                self._kept += size
            self._batches[batch.id] = batch
            digest = blake3(request.body).digest()
            parcels.append(Parcel(batch.id, batch.rows, digest, size))
        return parcels

    def _forget_request(self, parcel: Parcel) -> None:
        if self._requests.pop(parcel.id, None) is not None:
            self._kept -= parcel.size
