"""Doubts that are found in part and sent again by order, in worlds that crash.

After a rough run somebody looks up a part of those in doubt, and has the rest sent
again; the start that does so may die at any event, and it all happens again. Who was
found is never mailed after that, and every row keeps exactly one truthful word.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import trio
from simulation.disk import compared_once
from simulation.lists import frozen, remembered
from simulation.parts import Parts, SimulatedRun
from simulation.play import _Operator
from simulation.scenario import Scenario, draw
from simulation.told import Words
from simulation.world import Crash, How, determined

from engine.journal import Journal, inline
from engine.outcome import Status
from engine.record import BatchState, RowFinding

#: Seeds in one test, and how often doubts are looked up and sent again in each.
SEEDS, ROUNDS = 25, 3
_HOWS: tuple[How, ...] = ("kill", "power", "stop", "cut")


class ResendingRun(SimulatedRun):
    """A run that is told to send again what an earlier start left in doubt."""

    def __init__(self, *what: object) -> None:
        super().__init__(*what)
        self._in_doubt = "resend"


class Owner(_Operator):
    """Whoever looks up a part of the doubts, and has the others sent again.

    Attributes:
        known: of each message that was found, how often it had been accepted by then.
        partly: batches that were found in part before they were sent again.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario, Parts())
        self.known: dict[str, int] = {}
        self.partly = 0
        self._lots = random.Random(f"owner {scenario.seed}")

    def live(self) -> Iterator[str]:
        """Run, look up and send again, and yield what is broken in the end."""
        self.play()
        yield from self._played.violations
        for _ in range(ROUNDS):
            self._look_up()
            self._places.service._calm = False
            self._parts = replace(self._parts, run=ResendingRun)
            how = self._lots.choice(_HOWS)
            crash = Crash(self._lots.randint(1, 60), how)
            self._start(self._lots.choice((crash, crash, None)), calm=False)
            self._places.service.mend()
        self._parts = replace(self._parts, run=SimulatedRun)
        self._places.service.calm()
        ended = self._start(None, calm=True)
        yield from self._played.violations
        if ended is None or not ended.finished:
            yield "I7 unfinished in calm weather"
        yield from self._broken(self._places.words)

    def _look_up(self) -> None:
        """Write down of some rows in doubt what became of them."""
        self._places.service.catch_up(math.inf)
        path = self._plan.directory.journal
        world = self._world
        how = {"ballast": 0, "allow_network": True, "clock": world.utc}
        with Journal.open(path, runner=inline, **how) as journal:
            journal.replay()
            trio.run(self._find, journal, clock=world.begin(None, after=0.0))

    async def _find(self, journal: Journal) -> None:
        listed = {row: name for name, row in frozen(self._scenario.rows).rows.items()}
        had = self._places.service.accepted
        before = {finding.row for finding in journal.findings()}
        found = []
        for batch in journal.batches():
            if batch.state is not BatchState.IN_DOUBT:
                continue
            new = [
                row
                for row in batch.rows
                if row not in before
                and self._lots.random() < 1 / 3
                # Of nobody who was not mailed there is anything to find.
                and had.get(listed[row])
            ]
            self.partly += 0 < len(new) < len(batch.rows)
            for row in new:
                times = had[listed[row]]
                self.known[listed[row]] = len(times)
                found.append((row, times[0][1]))
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            now = journal.now()
            await journal.find(
                [
                    RowFinding(row, Status.ACCEPTED, "found", None, given, now)
                    for row, given in sorted(found)
                ]
            )
            await journal.flush()
            nursery.cancel_scope.cancel()

    def _broken(self, words: Words) -> Iterator[str]:
        had = self._places.service.accepted
        for name, row in frozen(self._scenario.rows).rows.items():
            times = len(had.get(name, ()))
            if times > self.known.get(name, math.inf):
                yield f"row {row} was found, and mailed after that"
            if times > 1 + ROUNDS:
                yield f"row {row} was mailed {times} times"
            if len(words[row]) != 1:
                yield f"I1 row {row}: {words[row]}"
                continue
            status = words[row][0].status
            if status is Status.PENDING:
                yield f"I1 row {row} has no outcome"
            elif status is Status.ACCEPTED and not times:
                yield f"I3 row {row} is accepted, and the provider never had it"


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 5 * SEEDS, SEEDS))
def test_who_was_found_is_never_mailed_again_whatever_crashes(first: int) -> None:
    """And those alone go again of whom nothing is known; everyone has one word."""
    broken, partly = [], 0
    for seed in range(first, first + SEEDS):
        scenario = draw(seed)
        with determined(seed), remembered(), compared_once():
            owner = Owner(scenario)
            broken += [f"seed {seed}: {told}" for told in owner.live()]
            partly += owner.partly
    assert broken == []
    assert partly > SEEDS / 10
