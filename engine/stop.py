"""The wish that a run end: waits end at once, what is under way may finish."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from engine.errors import EngineError


class Stop:
    """The wish that the run end: nothing new departs, what is under way may finish.

    Attributes:
        requested: whether anybody has asked.
        cause: the first error that asked, or None where it was the user.
    """

    def __init__(self) -> None:
        self.requested = False
        self.cause: EngineError | None = None
        self._waits: set[trio.CancelScope] = set()
        self._told: list[Callable[[], None]] = []
        self._asked = trio.Event()

    def request(self, cause: EngineError | None = None) -> None:
        """Ask for the end of the run. Asking again changes nothing."""
        if not self.requested:
            self.requested, self.cause = True, cause
            self._asked.set()
            for tell in self._told:
                tell()
        for scope in tuple(self._waits):
            scope.cancel()

    async def wait_requested(self) -> None:
        """Wait until somebody asks."""
        await self._asked.wait()

    def tells(self, whom: Callable[[], None]) -> None:
        """Have somebody called when the end is asked for; at once if it has been."""
        self._told.append(whom)
        if self.requested:
            whom()

    @contextmanager
    def ends(self) -> Iterator[None]:
        """Let a stop end what waits inside."""
        with trio.CancelScope() as scope:
            self._waits.add(scope)
            if self.requested:
                scope.cancel()
            try:
                yield
            finally:
                self._waits.discard(scope)
