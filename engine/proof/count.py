"""Rows counted, with a few examples: small however many rows there are."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

#: Rows shown as examples.
SHOWN = 3


class Example(NamedTuple):
    """A row that shows something.

    Attributes:
        row: 0-based input position.
        key: the recipient's own id, else the address.
        told: what it shows; may be empty.
    """

    row: int
    key: str
    told: str = ""


@dataclass(slots=True)
class Count:
    """How many rows, and the first few of them."""

    rows: int = 0
    examples: list[Example] = field(default_factory=list)

    @property
    def wants_examples(self) -> bool:
        """Whether there is room for one more example."""
        return len(self.examples) < SHOWN

    def add(self, example: Example, rows: int = 1) -> None:
        """Count rows of which one is shown."""
        self.rows += rows
        if len(self.examples) < SHOWN:
            self.examples.append(example)

    def merge(self, other: "Count") -> None:
        """Take in the count of other rows; the first rows of all stay as examples."""
        self.rows += other.rows
        self.examples = sorted([*self.examples, *other.examples])[:SHOWN]


Counts = dict[K, Count]


def note(counts: Counts[K], what: K, example: Example, rows: int = 1) -> None:
    """Count rows under a heading."""
    counts.setdefault(what, Count()).add(example, rows)


def merge(counts: Counts[K], others: Mapping[K, Count], *, most: int) -> None:
    """Take in the counts of other rows, of so many headings at most.

    What there is no room for was rare where it came from; the headings that are there
    keep counting.
    """
    for what, other in others.items():
        if what in counts or len(counts) < most:
            counts.setdefault(what, Count()).merge(other)
