"""A hand in this process that can fly: see `engine.wire.flight`."""

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from engine.crew.hand import Answer, Parcel, Wings
from engine.crew.inline import Connection, Inline
from engine.crew.maker import Maker
from engine.errors import ProviderError
from engine.message import Batch, Request, Response
from engine.wire import LARGEST


class Thrown(NamedTuple):
    """A batch under way, and the connection that it is under way by."""

    parcel: Parcel
    batch: Batch
    wire: Connection


class Flight(Protocol):
    """What a hand flies with; see `engine.wire.Flight`."""

    def warm(self, wires: Iterable[Any], most: int) -> int:
        """Count the connections, from the first to one that is not, that are open."""
        ...

    def begin(
        self, tag: Thrown, wire: Any, request: Request, sent: Callable[[], None]
    ) -> None:
        """Send a request."""
        ...

    def leave(self, wire: Any) -> None:
        """Let go of a connection that is to be used for an exchange."""
        ...

    def look(self) -> list[tuple[Thrown, Response | ProviderError]]:
        """Return what has ended, without a wait."""
        ...

    async def ended(self) -> list[tuple[Thrown, Response | ProviderError]]:
        """Wait until something has ended, and return all that has."""
        ...

    def close(self) -> None:
        """Hang up on what is under way."""
        ...


class Winged(Inline):
    """See `engine.crew.hand.Hand` and `Wings`.

    Args:
        maker: makes the batches.
        flight: over the wires.
        wires: the ways to the provider, the hand's own; each is a lane.
    """

    def __init__(self, maker: Maker, flight: Flight, *wires: Connection) -> None:
        super().__init__(maker, *wires)
        self._flight = flight
        self._caught: list[tuple[Parcel, Answer | ProviderError]] = []

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._flight.close()
        await super().__aexit__(kind, error, traceback)

    @property
    def wings(self) -> Wings:
        """What it flies with: itself."""
        return self

    async def exchange(self, parcel: Parcel, *, sent: Callable[[], None]) -> Answer:
        """Send a batch and read its answer."""
        self._flight.leave(self._idle[-1])
        return await super().exchange(parcel, sent=sent)

    def room(self, wanted: int) -> int:
        """Return how many batches can be thrown now."""
        self._land(self._flight.look())
        return self._flight.warm(reversed(self._idle), wanted)

    def can_carry(self, parcel: Parcel) -> bool:
        """Whether a batch is small enough to be thrown."""
        return parcel.size <= LARGEST

    def throw(self, parcel: Parcel, *, sent: Callable[[], None]) -> None:
        """Send a batch, for which there is room."""
        batch, wire = self._batches[parcel.id], self._idle.pop()
        thrown = Thrown(parcel, batch, wire)
        self._flight.begin(thrown, wire, self._request(batch), sent)

    def caught(self) -> list[tuple[Parcel, Answer | ProviderError]]:
        """Return what has come of batches that were thrown, without a wait."""
        caught, self._caught = self._caught, []
        return caught

    async def catch(self) -> list[tuple[Parcel, Answer | ProviderError]]:
        """Wait until there is such, and return it; all that is there."""
        self._land(await self._flight.ended())
        return self.caught()

    def _land(self, ended: list[tuple[Thrown, Response | ProviderError]]) -> None:
        """Read what has come."""
        for (parcel, batch, wire), came in ended:
            if isinstance(came, ProviderError):
                self._idle.appendleft(wire)
                self._caught.append((parcel, came))
                continue
            self._idle.append(wire)
            try:
                answer: Answer | ProviderError = self._read(parcel, batch, came)
            except ProviderError as error:
                answer = error
            self._caught.append((parcel, answer))
