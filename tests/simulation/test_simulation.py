"""The promises of a run, in thousands of simulated worlds that crash and lie.

The long form is `PYTHONPATH=tests python -m simulation --seeds 0-100000`; what fails
says how to play that world alone.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from simulation import exhaustive
from simulation.many import command
from simulation.play import play
from simulation.scenario import FAULTS, Scenario, draw
from simulation.world import Crash, Dead, World, determined

from engine.outcome import Status

TESTS = Path(__file__).parent.parent
#: Seeds of the short form, in blocks that can run side by side.
SEEDS, BLOCK = 400, 100
#: Rare worlds in which a promise was broken once, by what had broken it.
BROKEN_ONCE = {
    "a key expired while its request was late": draw(36015),
    "others left while an answer that asked for a pause lay caught": Scenario(
        seed=23036,
        rows=40,
        batch_size=2,
        chunk=16,
        workers=4,
        keyed=True,
        refused=frozenset({16, 23, 34}),
        latency=0.2,
        faults=("503_retry_after", "500_after"),
        rate=0.2,
        crashes=(None, Crash(159, "kill"), None, None, Crash(2, "kill")),
        delays=(1.0, 1.0, 0.0, 0.0, 60.0),
        patience=60.0,
        flies=True,
    ),
    "many answers in one landing were one to the breaker": draw(56),
}


def _id(base: Scenario) -> str:
    return (
        f"{'keyed' if base.keyed else 'keyless'}-{'faults' if base.script else 'well'}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_promise_is_broken_in_a_random_world(first: int) -> None:
    """Whatever chance brings, nobody is mailed twice, lost, or told a falsehood."""
    broken = []
    for seed in range(first, first + BLOCK):
        played = play(draw(seed))
        if played.violations:
            broken += [*played.violations[:3], command(["--seed", str(seed)])]
    assert broken == [], "\n".join(broken)


@pytest.mark.slow
@pytest.mark.parametrize("world", BROKEN_ONCE.values(), ids=BROKEN_ONCE)
def test_what_was_broken_once_stays_mended(world: Scenario) -> None:
    """The worlds that found a mistake are played for good."""
    assert play(world).violations == []


@pytest.mark.slow
@pytest.mark.parametrize("base", list(exhaustive.bases()), ids=_id)
def test_no_promise_is_broken_by_a_crash_at_any_event(base: Scenario) -> None:
    """A start may die at each of its events, in each way, and nothing is broken."""
    broken, worlds = [], 0
    for scenario in exhaustive.crashes(base):
        worlds += 1
        played = play(scenario)
        if played.violations or not played.deaths:
            world = command(["--world", exhaustive.name(scenario)])
            broken += [f"{played.deaths} deaths", *played.violations[:3], world]
    assert broken == [], "\n".join(broken)
    assert worlds > 4 * 30


@pytest.mark.slow
def test_worlds_are_rough_enough_to_mean_something() -> None:
    """Among some seeds every fault, every way to die and every outcome occurs."""
    seen = set()
    for seed in range(BLOCK):
        played = play(draw(seed))
        lines = [line.split(" ", 1)[1] for line in played.trace]
        seen |= {line for line in lines if line.startswith(("dies", "wait"))}
        seen |= {line.rpartition("; ")[2] for line in lines if "departs" in line}
        seen |= {
            f"flies {line.rpartition('; ')[2]}" for line in lines if "flies" in line
        }
        seen |= {line for line in lines if line.startswith("answers")}
        seen |= {str(status) for status, rows in played.counts.items() if rows}
    answers = {f"answers {status}" for status in (200, 202, 400, 401, 413, 429, 500)}
    ends = {Status.ACCEPTED, Status.REJECTED, Status.IN_DOUBT, Status.RENDER_FAILED}
    wanted = {*FAULTS, *answers, *ends, "dies: kill", "dies: power", "wait"}
    wanted |= {f"flies {how}" for how in ("well", "timeout_before", "500_before")}
    assert wanted - seen == set()


@pytest.mark.slow
def test_same_seed_gives_the_same_trace() -> None:
    """I9: a seed is the whole world, so whatever fails can be played again."""
    for seed in range(BLOCK, BLOCK + 25):
        assert play(draw(seed)).trace == play(draw(seed)).trace


@pytest.mark.slow
def test_another_process_gives_the_same_trace() -> None:
    """I9: neither the hashes of strings nor the addresses of objects have a say."""
    seed = BLOCK + 1
    done = subprocess.run(
        [sys.executable, "-m", "simulation", "--seed", str(seed), "--trace"],
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    trace = play(draw(seed)).trace
    assert trace == done.stdout.splitlines()[1 : 1 + len(trace)]


def test_trio_takes_its_order_of_tasks_from_a_seed() -> None:
    """The private names of trio that all of this stands on do what they did."""

    async def order() -> list[int]:
        ran: list[int] = []

        async def run(number: int) -> None:
            for _ in range(20):
                await trio.lowlevel.checkpoint()
                ran.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(run, number)
        return ran

    def of(seed: int) -> list[int]:
        with determined(seed):
            return trio.run(order)

    assert of(1) == of(1)
    assert of(1) != of(2)


def test_determined_leaves_chance_as_it_was() -> None:
    """Tests that come after a simulation draw their own numbers."""
    random.seed(5)
    expected = random.random()
    random.seed(5)
    with determined(1):
        random.random()
    assert random.random() == expected


def test_death_in_a_wait_is_the_end_of_everything() -> None:
    """A process that dies while all of it sleeps does nothing when it would wake."""
    world = World(0)
    clock = world.begin(Crash(1, "kill"), after=0.0)
    did = []

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.reap)
            await trio.sleep(5)
            world.event("wakes")
            did.append("something")

    with pytest.raises(BaseExceptionGroup) as death:
        trio.run(live, clock=clock)
    assert death.group_contains(Dead)
    assert did == []
