"""SIGTERM as an interrupt: leftovers are cleared, and something is said.

By default it ends a process without a word, between any two steps. What has more to
lose than its own steps, a run or a server, takes both signals over while it lasts.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let neither signal end the block: it tells what was sent, and is soon done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):  # trio's own waits until its inner workings are done
        handler(signal.SIGINT, frame)
    else:  # ignored, as in a shell's background
        raise KeyboardInterrupt
