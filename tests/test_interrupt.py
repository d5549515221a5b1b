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


LOADING = """
import os, signal, sys, weakref
from engine.cli.interrupt import at_once

class Lock:
    pass

def interrupt(_):  # where Python would lose it: in the callback of a weak reference
    os.kill(os.getpid(), signal.SIGINT)

lock = Lock()
kept = weakref.ref(lock, interrupt)
with at_once():
    del lock
print("went on")
"""


def test_interrupt_while_code_is_loaded_ends_the_command() -> None:
    """Python lets an exception in a callback pass, and would go on to send."""
    done = subprocess.run(
        [sys.executable, "-c", LOADING], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "went on" not in done.stdout
    assert "nothing was sent" in done.stderr
