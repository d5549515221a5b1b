"""Deadlines for exchanges, without a cancel scope for each.

A scope costs 13 us, a third of what a request does, and its deadline hardly ever comes.
So one task of the whole `trio.run` looks after all exchanges: it sleeps until the first
deadline of those under way, which has as a rule become the deadline of another by then,
and hangs up on those whose time is over. Who waits for such a connection is told.
"""

import math
from typing import Protocol

import trio


class Watched(Protocol):
    """What can be hung up on."""

    def close(self) -> None:
        """Hang up; who waits for it is told. May be called again."""
        ...


class Watch:
    """The deadlines of all exchanges under way in one `trio.run`."""

    def __init__(self) -> None:
        self._deadlines: dict[Watched, float] = {}
        self._wakes_at = math.inf
        self._sooner = trio.Event()

    def begin(self, watched: Watched, deadline: float) -> None:
        """Hang up on it at the deadline, in seconds of trio's clock."""
        self._deadlines[watched] = deadline
        if deadline < self._wakes_at:
            self._wakes_at = deadline
            self._sooner.set()

    def end(self, watched: Watched) -> bool:
        """Let it go on; returns whether that is too late."""
        return self._deadlines.pop(watched, None) is None

    async def run(self) -> None:
        """Keep watch until the run is over."""
        while True:
            self._sooner = trio.Event()
            with trio.CancelScope(deadline=self._wakes_at):
                await self._sooner.wait()
            self._hang_up()

    def _hang_up(self) -> None:
        now = trio.current_time()
        over = [w for w, deadline in self._deadlines.items() if deadline <= now]
        for watched in over:
            del self._deadlines[watched]
            watched.close()
        self._wakes_at = min(self._deadlines.values(), default=math.inf)


_watch: trio.lowlevel.RunVar[Watch] = trio.lowlevel.RunVar("mailvolley's deadlines")


def current_watch() -> Watch:
    """Return the watch of this `trio.run`, and begin it if need be."""
    try:
        return _watch.get()
    except LookupError:
        watch = Watch()
        _watch.set(watch)
        trio.lowlevel.spawn_system_task(watch.run, name="mailvolley's deadlines")
        return watch
