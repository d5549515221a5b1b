"""`PYTHONPATH=tests python -m simulation`: play worlds, many or one.

    --seeds 0-100000        the worlds of these seeds, the last not included
    --seed 7 --trace        one world, and all that happens in it
    --exhaustive            a small world, crashed at each of its events
    --world NAME --trace    one of those
    --mutant NAME           with any of these: make that mistake

It ends with 1 if a promise was broken, and says how to play that world again.
"""

# ruff: noqa: T201  it talks to a terminal

import argparse
import os
import sys
import time

from simulation import exhaustive
from simulation.many import World, command, play_all, replay, scenario_of
from simulation.mutants import MUTANTS

#: Broken worlds that are told of in full.
_SHOWN = 20


def main() -> int:
    """Play what the command line asks for; return the exit code."""
    asked = _arguments()
    more = ["--mutant", asked.mutant] if asked.mutant else []
    if asked.seed is not None:
        return _one(["--seed", str(asked.seed), *more], trace=asked.trace)
    if asked.world is not None:
        return _one(["--world", asked.world, *more], trace=asked.trace)
    if asked.exhaustive:
        names = [exhaustive.name(world) for world in exhaustive.all_worlds()]
        return _all([["--world", name, *more] for name in names], asked.jobs)
    first, _, last = asked.seeds.partition("-")
    seeds = range(int(first), int(last))
    return _all([["--seed", str(seed), *more] for seed in seeds], asked.jobs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", metavar="A-B")
    what.add_argument("--seed", type=int, metavar="N")
    what.add_argument("--exhaustive", action="store_true")
    what.add_argument("--world", metavar="NAME")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--mutant", choices=MUTANTS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    return parser.parse_args()


def _one(world: World, *, trace: bool) -> int:
    played = replay(world)
    if trace:
        print(scenario_of(world), *played.trace, sep="\n")
    counts = {status.value: rows for status, rows in played.counts.items() if rows}
    print(
        f"{played.starts} starts, {played.deaths} deaths, {played.requests} requests, "
        f"{played.seconds:.0f} s of its time: {counts}"
    )
    for violation in played.violations:
        print(f"BROKEN {violation}")
    if played.violations and not trace:
        print(command(world))
    return int(bool(played.violations))


def _all(worlds: list[World], jobs: int) -> int:
    began, done, broken = time.monotonic(), 0, 0
    for played, failures in play_all(worlds, jobs):
        done += played
        for world, violations in failures:
            broken += 1
            if broken <= _SHOWN:
                print("", *violations[:3], command(world), sep="\n", flush=True)
        seconds = time.monotonic() - began
        print(
            f"\r{done} of {len(worlds)} worlds, {broken} broken, "
            f"{done / seconds:.0f} a second ",
            end="\n" if done == len(worlds) else "",
            file=sys.stderr,
            flush=True,
        )
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
