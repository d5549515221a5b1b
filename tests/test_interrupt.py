"""Claims about `engine.cli.interrupt`: what the two signals do to a command."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import trio

from engine.cli.interrupt import at_once, by_sigterm, ignore, restored

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """Start from Python's own handlers, and put back what was there."""
    before = [signal.getsignal(number) for number in BOTH]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in zip(BOTH, before, strict=True):
        signal.signal(number, handler)


def raised(number: signal.Signals) -> Callable[[], None]:
    """Return what sends this process a signal."""
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", BOTH)
def test_either_signal_interrupts(number: signal.Signals) -> None:
    """What runs is unwound and clears up after itself; then all is as before."""
    with pytest.raises(KeyboardInterrupt), by_sigterm():
        raised(number)()
    assert signal.SIG_DFL == signal.getsignal(signal.SIGTERM)


def test_sigterm_interrupts_though_sigint_is_ignored() -> None:
    """A shell starts what it puts in the background so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with pytest.raises(KeyboardInterrupt), by_sigterm():
        raised(signal.SIGTERM)()


def test_trio_is_interrupted_where_it_can_bear_it() -> None:
    """Its tasks are unwound in their order."""
    cleared = []

    async def work() -> None:
        try:
            trio.lowlevel.spawn_system_task(trio.to_thread.run_sync, kill)
            await trio.sleep_forever()
        finally:
            cleared.append("leftovers")

    kill = raised(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), by_sigterm():
        trio.run(work)
    assert ["leftovers"] == cleared


@pytest.mark.parametrize("number", BOTH)
def test_what_is_told_at_the_end_is_told_whole(number: signal.Signals) -> None:
    """It says what was sent; a signal then would make it say the opposite."""
    told = []
    with by_sigterm():
        with restored():
            ignore()
            raised(number)()
            told.append("all")
        with pytest.raises(KeyboardInterrupt):
            raised(number)()
    assert ["all"] == told


def test_another_thread_leaves_the_signals_alone() -> None:
    """They belong to the program that called us."""
    seen = []

    def call() -> None:
        with by_sigterm(), at_once(), restored():
            ignore()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert [signal.SIG_DFL] == seen


#: Interrupts where Python would lose it: in the callback of a weak reference.
LOSE = """
import os, signal, sys, weakref

class Lock:
    pass

def lose():
    lock = Lock()
    kept = weakref.ref(lock, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del lock
"""
LOADING = """
from engine.cli.interrupt import at_once

with at_once():
    lose()
print("went on")
"""
#: The first that the command loads beside what hears interrupts.
STARTING = """
class Finder:
    def find_spec(self, name, *_):
        if name == "click":
            lose()

sys.meta_path.insert(0, Finder())
from engine.cli import main

main(["--version"])
"""


def ended(code: str) -> "subprocess.CompletedProcess[str]":
    """Run what loses an interrupt."""
    return subprocess.run(
        [sys.executable, "-c", LOSE + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("code", [LOADING, STARTING])
def test_interrupt_while_code_is_loaded_ends_the_command(code: str) -> None:
    """Python lets an exception in a callback pass, and would go on to send."""
    done = ended(code)
    assert (2, "") == (done.returncode, done.stdout)
    assert "nothing was sent" in done.stderr


LATER = """
import trio
from engine.cli.interrupt import by_sigterm, never_lost

def work():
    lose()
    while True:
        pass

async def task():
    work()

try:
    with by_sigterm(), never_lost():
        WORK
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("work", ["work()", "trio.run(task)"])
def test_an_interrupt_that_python_lets_pass_comes_again(work: str) -> None:
    """Whatever runs then; and nothing is said of the first."""
    done = ended(LATER.replace("WORK", work))
    assert (0, "interrupted\n", "") == (done.returncode, done.stdout, done.stderr)


IGNORED = """
import time
from engine.cli.interrupt import by_sigterm, ignore, never_lost

with by_sigterm(), never_lost():
    lose()
    ignore()
    time.sleep(0.1)
print("told")
"""


def test_what_is_told_at_the_end_is_told_though_one_was_let_pass() -> None:
    """It comes again as a signal, which is ignored by then."""
    done = ended(IGNORED)
    assert (0, "told\n") == (done.returncode, done.stdout)
