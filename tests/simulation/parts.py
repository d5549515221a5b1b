"""The real parts of a run, bound to a simulated world.

Everything that decides is the product's own: `Run`, `Delivery`, `Journal`, `Pace`,
`RetryPolicy`, `Breaker`, the provider, the renderer, the snapshot and the results. Only
what they stand on is simulated: clock, disk, wire. A mutant replaces one part.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import ClassVar

import trio
from simulation.connection import SimulatedConnection, SimulatedFlight, Traffic
from simulation.disk import Disk, home
from simulation.lists import ENVELOPE
from simulation.scenario import Scenario
from simulation.service import KEY, KEY_SECONDS, Service
from simulation.told import Words, by_file, by_journal
from simulation.world import World

from engine.crew import Connection, Flight, Hand
from engine.errors import ProviderError
from engine.guard import Guard
from engine.journal import Journal
from engine.message import Batch, Request, Response
from engine.outcome import Outcomes, Status
from engine.planning import Plan
from engine.providers.base import Capabilities
from engine.providers.cloudmails import CloudMails
from engine.record import BatchState
from engine.run import Ended, Run
from engine.secret import Secret


class Keyless(CloudMails):
    """CloudMails as it is, and how its answers are read goes on record."""

    def __init__(self, traffic: Traffic, *, batch_size: int) -> None:
        super().__init__(ENVELOPE, batch_size=batch_size)
        self.traffic = traffic

    def outcomes(self, batch: Batch, response: Response) -> Outcomes:
        """Read an answer."""
        try:
            outcomes = super().outcomes(batch, response)
        except ProviderError as error:
            self.traffic.failed(self.request(batch).body, error)
            raise
        self.traffic.answered()
        return outcomes


class Keyed(Keyless):
    """The same, if it knew keys: no built-in provider does yet."""

    capabilities: ClassVar[Capabilities] = replace(
        CloudMails.capabilities, idempotency="key", key_seconds=KEY_SECONDS
    )

    def request(self, batch: Batch) -> Request:
        """Join the parts of a batch, and name it."""
        request = super().request(batch)
        return replace(request, headers={**request.headers, KEY: batch.id})


@dataclass(slots=True)
class Places:
    """What the parts of one start share.

    Attributes:
        interrupted: rows that were under way when the last start died.
        words: what the last start that came to its end said about each row.
    """

    world: World
    scenario: Scenario
    service: Service
    traffic: Traffic
    disk: Disk
    interrupted: int = 0
    journal: Journal | None = None
    words: Words = field(default_factory=list)


class SimulatedRun(Run):
    """The real run on a simulated clock, disk and wire."""

    journal_class: ClassVar[type[Journal]] = Journal
    connection_class: ClassVar[type[SimulatedConnection]] = SimulatedConnection

    def __init__(self, plan: Plan, places: Places) -> None:
        super().__init__(plan, base_url="", secret=Secret("simulated"))
        self.places = places
        places.world.stop = self._signal

    def connect(self) -> Connection:
        """Return one worker's way to the provider."""
        at = self.places
        return self.connection_class(at.world, at.service, at.traffic, at.scenario)

    @asynccontextmanager
    async def _hands(self) -> AsyncIterator[list[Hand]]:
        async with trio.open_nursery() as air:
            self._air = air
            async with super()._hands() as hands:
                yield hands
            air.cancel_scope.cancel()

    def flight(self) -> Flight | None:
        """Return what many requests at once leave with; None: each by itself."""
        return SimulatedFlight(self._air) if self.places.scenario.flies else None

    def open_journal(self) -> tuple[Journal, bool]:
        """Open the run's journal, or make it; without threads, and by the clock."""
        at, path = self.places, self._plan.directory.journal
        resumed = path.exists()
        if not resumed:
            path.write_bytes(_empty_journal())
        at.journal = journal = self.journal_class.open(
            path,
            runner=at.disk.write,
            clock=at.world.utc,
            ballast=0,  # eight megabytes to write at every start
            allow_network=True,  # the table of mounts to read
        )
        if resumed:
            at.interrupted = _interrupted(journal)
            at.world.event("replays")
            journal.replay()
            at.world.event("replayed")
        at.disk.attach(journal)
        return journal, resumed

    async def _show_progress(self, guard: Guard) -> None:
        await trio.sleep_forever()  # a file each half second of virtual weeks

    def _conclude(self, journal: Journal, seconds: float) -> Ended:
        at = self.places
        at.world.event("writes results")
        at.words = by_journal(journal, at.scenario.rows)
        if at.scenario.files:
            ended = super()._conclude(journal, seconds)
            if by_file(ended.results) != at.words:
                at.world.violated("I1 the results say something else than the journal")
        else:
            ended = self._end()
        at.world.event("wrote results")
        return ended

    def _end(self) -> Ended:
        counted = Counter(one.status for words in self.places.words for one in words)
        return Ended(
            finished=counted[Status.PENDING] == 0,
            counts={status: counted[status] for status in Status},
            results=self._plan.directory.results,
            seconds=0.0,
            sent=self._sent,
            cause=self.stop.cause,
            spent=self.spent,
            bound=None,
        )

    def _signal(self, second: bool) -> None:  # noqa: FBT001 - as `World.stop` calls it
        self.stop.request()
        if second:
            self.cut()


@cache
def _empty_journal() -> bytes:
    """Make a journal once; a copy of it is as good as another one."""
    path = home() / "empty.db"
    Journal.create(path, {}, ballast=0).close()
    return path.read_bytes()


def _interrupted(journal: Journal) -> int:
    """Count the rows that were under way when the journal was last written."""
    return sum(
        len(batch.rows)
        for batch in journal.batches()
        if batch.state is BatchState.INTENT
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """Which parts a world is made of.

    Attributes:
        keyed: force a provider with keys, or one without; None: as the seed has it.
    """

    run: type[SimulatedRun] = SimulatedRun
    keyless: type[Keyless] = Keyless
    keyed_provider: type[Keyless] = Keyed
    keyed: bool | None = None

    def provider(self, scenario: Scenario, traffic: Traffic) -> Keyless:
        """Make the provider of a world."""
        kind = self.keyed_provider if scenario.keyed else self.keyless
        return kind(traffic, batch_size=scenario.batch_size)
