"""What waits to be kept: many posts, one flush of the disk.

How it works: posts that come while the disk is busy wait together; the one task that
keeps them takes all of them at once (`intake.take`), and they are all answered when
the disk has them. What cannot be kept is told to each of them, and tried anew with the
next post: a disk that was full may have room again.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from engine import intake
from engine.errors import StoreError
from engine.event import Event
from engine.events import EventStore
from engine.intake import Taken
from engine.suppression import Suppressions

#: Events that may wait; more are not taken in, and are to be posted again. One post
#: alone may have more: it would have no room later, either.
ROOM: Final = 20_000


@dataclass(slots=True, eq=False)
class _Ticket:
    """One post in the line."""

    events: list[Event]
    done: trio.Event = field(default_factory=trio.Event)
    error: StoreError | None = None


class Line:
    """The line, and who keeps what is in it.

    Args:
        runs: the runs folder, beside whose runs events are kept.
        on_taken: told after each transaction what came of it.
    """

    def __init__(self, runs: Path, on_taken: Callable[[Taken], None]) -> None:
        self._runs = runs
        self._on_taken = on_taken
        self._waiting: list[_Ticket] = []
        self._held = 0
        self._bell = trio.Event()

    async def put(self, events: list[Event]) -> None:
        """Have events kept; they are on the disk when this returns.

        Raises:
            StoreError: they could not be kept, or too many are waiting.
        """
        if self._held and self._held + len(events) > ROOM:
            raise StoreError("more events are waiting than can be kept at once")
        ticket = _Ticket(events)
        self._held += len(events)
        self._waiting.append(ticket)
        self._bell.set()
        await ticket.done.wait()
        if ticket.error is not None:
            raise ticket.error

    async def run(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep what is put in line, until cancelled.

        Raises:
            StoreError: nothing can be kept at all: the stores cannot be opened.
        """
        with ExitStack() as stack:
            store = stack.enter_context(EventStore.open(self._runs))
            suppressions = stack.enter_context(Suppressions.open(self._runs))
            keep = partial(
                intake.take, via="webhook", store=store, suppressions=suppressions
            )
            task_status.started()
            while True:
                await self._bell.wait()
                self._bell = trio.Event()
                tickets, self._waiting = self._waiting, []
                with trio.CancelScope(shield=True):
                    await self._keep(tickets, keep)

    async def _keep(
        self, tickets: list[_Ticket], keep: Callable[[list[Event]], Taken]
    ) -> None:
        events = [event for ticket in tickets for event in ticket.events]
        error: StoreError | None = None
        try:
            self._on_taken(await trio.to_thread.run_sync(keep, events))
        except StoreError as raised:
            error = raised
        self._held -= len(events)
        for ticket in tickets:
            ticket.error = error
            ticket.done.set()
