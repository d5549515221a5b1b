"""What one row may cost in a template.

How it works: whatever can make much out of little says what it is about to make before
it does, in characters; each turn of a loop and each call counts as some of them. What
is counted is the same on every machine, so a row that is too much fails everywhere,
alone, and tomorrow again. A clock is looked at only once in a while, for what no count
foresees: time of the processor, which a busy machine does not use up.
"""

from collections.abc import Collection
from itertools import chain
from time import thread_time
from typing import Any, Final

from jinja2 import TemplateRuntimeError
from jinja2.utils import Namespace

#: Characters that the templates of one part may make of a row, all in all: 80 times
#: what Gmail shows of a message.
WORK: Final = 8_000_000
#: Characters that a turn of a loop counts as: half a million turns take half a second.
STEP: Final = 16
#: Characters that an item of a list counts as beside its own, and a number: the comma,
#: and what it takes in memory.
ITEM: Final = 8
#: Characters after which the clock is looked at again.
STRIDE: Final = 64 * STEP
#: Seconds of the processor.
SECONDS: Final = 0.5
#: Characters that a bit of a whole number counts as: the time of a product grows
#: faster than its digits.
BIT: Final = 100


class Overspent(TemplateRuntimeError):
    """A template makes too much of a row, or takes too long over it."""


class Budget:
    """What is left to the template that is being filled."""

    __slots__ = ("_began", "_next", "_used")

    def __init__(self) -> None:
        self._used = 0
        self._next = STRIDE
        self._began = 0.0

    def renew(self) -> None:
        """Begin with another row."""
        self._used = 0
        self._next = STRIDE

    def step(self) -> None:
        """Count a turn of a loop, or a call.

        Raises:
            Overspent: it is one too many.
        """
        self._used += STEP
        if self._used > self._next:
            self._look()

    def spend(self, amount: int) -> None:
        """Count what is about to be made, or was, in characters.

        Raises:
            Overspent: it is too much.
        """
        self._used += amount + STEP
        if self._used > self._next:
            self._look()

    def check(self, value: Any) -> None:
        """Refuse what would be too long if it were written down, without counting it.

        Raises:
            Overspent: it would.
        """
        if weight(value) > WORK:
            raise _too_much()

    def _look(self) -> None:
        if self._used > WORK:
            raise _too_much()
        now = thread_time()
        if self._next == STRIDE:
            self._began = now
        elif now - self._began > SECONDS:
            raise Overspent(f"this takes more than {SECONDS:g} s for one row")
        self._next = self._used + STRIDE


def _too_much() -> Overspent:
    return Overspent(f"this makes more than {WORK:,} characters out of one row")


def weight(value: Any) -> int:
    """Return about how many characters a value has when it is written down.

    What a list holds twice counts twice, and is looked at once. Beyond `WORK` nothing
    is counted.
    """
    return len(value) if isinstance(value, str) else _weight(value, {})


def _weight(value: Any, known: dict[int, int]) -> int:
    if isinstance(value, Namespace):
        value = value._Namespace__attrs  # noqa: SLF001 - else nobody sees inside
    if isinstance(value, str | bytes | range) or not isinstance(value, Collection):
        return size(value) + ITEM
    if id(value) in known:
        return known[id(value)]
    known[id(value)] = total = ITEM  # for a list that holds itself
    items = chain(value.keys(), value.values()) if isinstance(value, dict) else value
    for item in items:
        total += _weight(item, known)
        if total > WORK:
            break
    known[id(value)] = total
    return total


def size(value: Any) -> int:
    """Return the length of a text or a list, and what a whole number counts as."""
    if isinstance(value, int):
        # No number of a list has more bits: they cost nothing.
        bits = value.bit_length()
        return bits * BIT if bits > 64 else 0  # noqa: PLR2004 - those of a machine
    return len(value) if isinstance(value, Collection) else 0
