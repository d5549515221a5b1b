"""A wire whose small requests leave by a flight, so that it is held to what all are."""

from collections.abc import Callable
from typing import Any

import trio

from engine.errors import ProviderError
from engine.message import Request, Response
from engine.wire import LARGEST, Flight, Wire
from engine.wire.connection import open_connection
from engine.wire.url import place


class FlyingWire(Wire):
    """Opens a connection where it has none, and sends over it by a flight."""

    def __init__(self, base_url: str, credentials: Any, **more: Any) -> None:
        super().__init__(base_url, credentials, **more)
        self._origin = place(base_url).origin
        self._context = more["context"]
        self._flight = Flight[int](deadline=self._deadline)

    async def exchange(
        self, request: Request, *, sent: Callable[[], None] = lambda: None
    ) -> Response:
        """Send a request and read its answer whole."""
        if len(request.body) > LARGEST or not await self.warm():
            self._flight.leave(self)
            return await super().exchange(request, sent=sent)
        try:
            self._flight.look()
            if not await self.warm():  # the server had hung up
                return await super().exchange(request, sent=sent)
            self._flight.begin(1, self, request, sent)
            ((_, came),) = await self._flight.ended()
        except BaseException:
            self._flight.close()
            self._flight = Flight[int](deadline=self._deadline)
            raise
        if isinstance(came, ProviderError):
            raise came
        return came

    async def warm(self) -> bool:
        """Have a connection; say whether there is one."""
        if self._flight.warm([self], 1):
            return True
        keeper = self.direct.keeper
        if keeper.kept is not None:
            return False  # too old: the other way's to replace
        try:
            opened = await open_connection(self._origin, self._context, patience=5.0)
        except OSError:
            return False
        opened._idle_since = trio.current_time()
        keeper.kept = opened
        return True
