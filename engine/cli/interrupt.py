"""SIGTERM as an interrupt: leftovers are cleared, and something is said.

By default it ends a process without a word, between any two steps. What has more to
lose than its own steps, a run or a server, takes both signals over while it lasts.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

#: The exit code of what was refused before anything was sent.
_REFUSED: Final = 2
_BOTH: Final = (signal.SIGINT, signal.SIGTERM)
#: Seconds; by then the callback is over.
_SOON: Final = 0.01


@contextmanager
def by_sigterm() -> Iterator[None]:
    """Let SIGTERM do what SIGINT does while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to who called us
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:  # see `ignore`
            signal.signal(signal.SIGTERM, before)


@contextmanager
def never_lost() -> Iterator[None]:
    """Let an interrupt come again, soon, where Python has let its exception pass.

    It does so in a `__del__` and in the callbacks of weak references, which are many
    where modules are loaded: the command would go on, and send.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    hook, before = sys.unraisablehook, signal.signal(signal.SIGALRM, _terminate)

    def hear(lost: "sys.UnraisableHookArgs") -> None:
        if issubclass(lost.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, _SOON)  # raised here, it were lost too
        else:
            hook(lost)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def restored() -> Iterator[None]:
    """Have both signals do after the block what they did before it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.getsignal(number) for number in _BOTH]
    try:
        yield
    finally:
        for number, handler in zip(_BOTH, before, strict=True):
            signal.signal(number, handler)


def ignore() -> None:
    """Let neither signal do anything, from here to the end of the command.

    For what has begun, and for the telling of it, which is soon done: a signal then
    would have it say that nothing was sent, or end without its exit code.
    """
    if threading.current_thread() is threading.main_thread():
        for number in _BOTH:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def at_once() -> Iterator[None]:
    """Let an interrupt end the process at once: while code is loaded.

    Nothing has begun that could be left half done, and Python loses an interrupt that
    comes while it lets go of the lock of a module: the command would go on.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # a run under way has its own way, and so has who called us
        return
    before = signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.stderr.write("\nstopped    nothing was sent\n")
    sys.stderr.flush()
    os._exit(_REFUSED)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    # SIGTERM, for whoever may have taken it over meanwhile: SIGINT may be ignored.
    signal.raise_signal(signal.SIGTERM)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):  # trio's own waits until its inner workings are done
        handler(signal.SIGINT, frame)
    else:  # ignored, as in a shell's background
        raise KeyboardInterrupt
