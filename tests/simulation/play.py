"""One world from its first start to its last: the operator, and the final account."""

import math
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import trio
from simulation.check import End, account
from simulation.connection import Traffic
from simulation.disk import Disk, compared_once, home
from simulation.lists import CAMPAIGN, frozen, remembered, renderer
from simulation.parts import Parts, Places
from simulation.scenario import Scenario
from simulation.service import Service
from simulation.world import EPOCH, Crash, Stuck, World, determined

from engine.campaign import Campaign, Limits
from engine.manifest import Manifest
from engine.outcome import Status
from engine.planning import Plan
from engine.providers.cloudmails import CloudMails
from engine.run import Ended, Run
from engine.rundir import RunDirectory

#: Seconds of virtual time that one start takes at most, in rough weather and in calm.
_ROUGH, _CALM = 400_000.0, 20_000.0
#: Starts in calm weather until every row has its outcome.
_CALM_STARTS = 2
#: One seed of so many looks whether a finished run, started again, sends anything.
_AGAIN = 8
#: Real seconds for one start: only a loop without end takes them.
_REAL = 30


@dataclass(slots=True)
class Played:
    """What came of a world.

    Attributes:
        violations: the promises that were broken; empty if all is well.
        trace: what happened, a line per event.
        counts: rows by status.
        starts: how often the run was started.
        deaths: how many of the starts died.
        requests: how many requests departed.
        seconds: virtual, from the first start to the last one's end.
        events: of the first start.
    """

    violations: list[str]
    trace: list[str]
    counts: dict[Status, int] = field(default_factory=dict)
    starts: int = 0
    deaths: int = 0
    requests: int = 0
    seconds: float = 0.0
    events: int = 0


def play(scenario: Scenario, parts: Parts | None = None) -> Played:
    """Play a world to its end, and check every promise."""
    parts = parts or Parts()
    if parts.keyed is not None:
        scenario = replace(scenario, keyed=parts.keyed)
    with determined(scenario.seed), remembered(), compared_once():
        return _Operator(scenario, parts).play()


@dataclass(frozen=True, slots=True)
class _Folder(RunDirectory):
    """A run directory whose list lies elsewhere, for many runs have the same."""

    frozen: Path

    @property
    def recipients(self) -> Path:
        """The frozen list."""
        return self.frozen


class _Operator:
    """Whoever starts the run again after each crash, until it is finished."""

    def __init__(self, scenario: Scenario, parts: Parts) -> None:
        self._scenario = scenario
        self._parts = parts
        self._world = world = World(scenario.seed)
        folder = _Folder(home() / "run", frozen(scenario.rows).path)
        shutil.rmtree(folder.path, ignore_errors=True)
        folder.path.mkdir()
        self._places = Places(
            world=world,
            scenario=scenario,
            service=Service(world, scenario),
            traffic=Traffic(world),
            disk=Disk(world, folder.journal),
        )
        provider = parts.provider(scenario, self._places.traffic)
        limits = _campaign(scenario)
        manifest = _manifest(scenario)
        self._plan = Plan(manifest, limits, folder, provider, renderer(), [])
        self._played = Played(world.violations, world.trace)
        #: Of the last start: whether it ended by itself, and for how many seconds the
        #: provider had asked.
        self._orderly, self._asked = False, 0.0

    def play(self) -> Played:
        """Start until it is finished, and settle the account."""
        scenario, played, service = self._scenario, self._played, self._places.service
        ended = None
        for number in range(len(scenario.crashes) + _CALM_STARTS):
            crash, calm = None, number >= len(scenario.crashes) > 0
            if calm:
                service.calm()
            elif scenario.crashes:
                crash = scenario.crashes[number]
            ended = self._start(crash, calm=calm)
            if played.violations or (ended is not None and ended.finished):
                break
            service.mend()
        if not played.violations:
            self._close(ended)
        return played

    def _start(self, crash: Crash | None, *, calm: bool) -> Ended | None:
        """Start the run once; None if it died."""
        played, at, world = self._played, self._places, self._world
        delays = self._scenario.delays
        after = delays[min(played.starts, len(delays)) - 1] if played.starts else 0.0
        clock = world.begin(crash, after=max(after, self._asked))
        played.starts += 1
        at.traffic.begin(remembers=self._orderly)
        at.interrupted = 0
        run = self._parts.run(self._plan, at)
        ended: Ended | None = None
        try:
            with _alarm():
                ended = trio.run(_live, run, world, calm, clock=clock)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self._bury(error)
        self._orderly = ended is not None
        # It says before when it is not to be taken up.
        self._asked = getattr(ended and ended.cause, "retry_after", None) or 0.0
        most = run._workers() * self._scenario.batch_size
        if at.interrupted > most:
            world.violated(f"I8 {at.interrupted} rows were under way: at most {most}")
        if played.starts == 1:
            played.events = world.events
        return ended

    def _bury(self, error: BaseException) -> None:
        """See whether a start died as planned, and leave its disk as it was then."""
        if self._places.journal is not None:
            self._places.journal._writer._db.close()
        if self._world.dead:
            self._played.deaths += 1
            self._places.disk.restore()
            return
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        promise = "I7" if isinstance(error, Stuck) else "a start failed:"
        self._world.violated(f"{promise} {error!r}")

    def _close(self, ended: Ended | None) -> None:
        """Check every promise."""
        played, world, at = self._played, self._world, self._places
        at.service.catch_up(math.inf)
        departed = len(at.traffic.departures)
        if self._scenario.seed % _AGAIN == 0 and ended is not None and ended.finished:
            doubts = self._scenario.keyed and ended.counts[Status.IN_DOUBT]
            ended = self._start(None, calm=True)
            if len(at.traffic.departures) > departed and not doubts:
                world.violated("I2 a finished run sent something")
        end = End(
            scenario=self._scenario,
            service=at.service,
            traffic=at.traffic,
            ended=ended,
            words=at.words,
            starts=played.starts,
        )
        for broken in account(end):
            world.violated(broken)
        played.counts = {} if ended is None else ended.counts
        played.requests, played.seconds = departed, world.now()


async def _live(run: Run, world: World, calm: bool) -> Ended:  # noqa: FBT001 - trio.run
    """Send, unless the world ends it."""
    limit = _CALM if calm else _ROUGH
    with trio.move_on_after(limit):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.reap)
            ended = await run.send()
            nursery.cancel_scope.cancel()
            return ended
    raise Stuck(f"no end within {limit:g} s")


@contextmanager
def _alarm() -> Iterator[None]:
    """Break a loop that never sleeps, which no virtual time can end."""

    def ring(*_: object) -> None:
        raise Stuck(f"no end within {_REAL} real seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(_REAL)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _manifest(scenario: Scenario) -> Manifest:
    """Say what the run is; what a run does not look at is left empty."""
    known = {
        "campaign": CAMPAIGN,
        "run": "simulated",
        "generation": 1,
        "created_at": EPOCH.isoformat(),
        "rows": scenario.rows,
        "planned": frozen(scenario.rows).planned,
        "chunk": scenario.chunk,
        "batch_size": scenario.batch_size,
        "definition": {"provider": {"name": CloudMails.name}},
        "versions": {"mailvolley": "simulated"},
    }
    return Manifest(**dict.fromkeys(f.name for f in fields(Manifest)) | known)


def _campaign(scenario: Scenario) -> Campaign:
    """Say how fast; of a campaign a run looks at its limits alone."""
    limits = Limits(
        messages_per_second=scenario.messages_per_second,
        requests_per_second=scenario.requests_per_second,
        burst=scenario.burst,
        workers=scenario.workers,
        patience=scenario.patience,
    )
    return Campaign.model_construct(name=CAMPAIGN, limits=limits)
