"""Where a transaction is run: at once on a quick disk, in a thread on a slow one."""

import threading
import time
from collections.abc import Callable

import trio

from engine.journal.runner import Adaptive


async def _at_once(
    runner: Adaptive, write: Callable[[], None], *, times: int = 1, rows: int = 1
) -> int:
    """Run a transaction so many times; return how many were run in this thread."""
    ran: list[bool] = []

    def watched() -> None:
        ran.append(threading.current_thread() is threading.main_thread())
        write()

    for _ in range(times):
        await runner(watched, rows)
    assert len(ran) == times
    return sum(ran)


def _quick() -> None:
    pass


def _slow() -> None:
    time.sleep(0.002)


async def test_a_quick_disk_needs_no_thread() -> None:
    """Nearly always: who shares the core may make one look slow."""
    assert await _at_once(Adaptive(), _quick, times=500) > 250


async def test_a_slow_disk_holds_the_loop_up_rarely() -> None:
    """Four of 68: the others wait in a thread, and tasks go on meanwhile."""
    runner, turns = Adaptive(), 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.sleep(0.0005)
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        assert await _at_once(runner, _slow, times=136) == 8
        nursery.cancel_scope.cancel()
    assert turns > 100


async def test_work_is_no_wait() -> None:
    """While the core is busy, nobody waits for the disk: four would end it else."""

    def work() -> None:
        end = time.thread_time() + 0.0007
        while time.thread_time() < end:
            pass

    assert await _at_once(Adaptive(), work, times=60) > 8


async def test_a_disk_that_is_quick_again_is_noticed() -> None:
    """What was tried without a thread, and was quick, ends the patience."""
    runner = Adaptive()
    assert await _at_once(runner, _slow, times=4) == 4
    assert await _at_once(runner, _quick, times=64) == 0
    assert await _at_once(runner, _quick, times=100) > 50


async def test_many_rows_are_packed_in_a_thread() -> None:
    """Whatever the disk: it is work that another core can do."""
    assert await _at_once(Adaptive(), _quick, times=20, rows=1000) == 0
