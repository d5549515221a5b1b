"""Many worlds: each named by its arguments, played in portions, in some processes."""

import itertools
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from simulation import exhaustive
from simulation.mutants import MUTANTS
from simulation.play import Played, play
from simulation.scenario import Scenario, draw

#: Worlds that a process plays before it tells of them.
_PORTION = 50

#: The arguments that name a world.
World = list[str]
#: How many worlds were played, and which broke what.
Report = tuple[int, list[tuple[World, list[str]]]]


def command(world: World) -> str:
    """Return what to type to play a world again."""
    return " ".join(["PYTHONPATH=tests python -m simulation", *world, "--trace"])


def scenario_of(world: World) -> Scenario:
    """Return what is settled beforehand in a world."""
    named = _named(world)
    if "--seed" in named:
        return draw(int(named["--seed"]))
    return exhaustive.find(named["--world"])


def replay(world: World) -> Played:
    """Play one world."""
    mutant = _named(world).get("--mutant")
    return play(scenario_of(world), None if mutant is None else MUTANTS[mutant])


def play_all(worlds: Iterable[World], jobs: int) -> Iterator[Report]:
    """Play worlds in so many processes, and report portion by portion."""
    rest = iter(worlds)
    portions = iter(lambda: list(itertools.islice(rest, _PORTION)), [])
    if jobs == 1:
        yield from map(_portion, portions)
        return
    # Not forked: polars has threads, and they would be missing there.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        for done in as_completed([pool.submit(_portion, p) for p in portions]):
            yield done.result()


def _portion(worlds: list[World]) -> Report:
    played = ((world, replay(world).violations) for world in worlds)
    return len(worlds), [one for one in played if one[1]]


def _named(world: World) -> dict[str, str]:
    return dict(zip(world[::2], world[1::2], strict=True))
