"""One thing that was looked at: what it was, and what of it is wrong."""

from dataclasses import dataclass, field
from typing import Final

#: What is told one by one; of the rest only the number.
EXAMPLES: Final = 10


@dataclass(slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: of what.
        told: what was seen, or why it was left out.
        skipped: whether it was left out, because its ground is gone.
        wrong: how many things are wrong with it.
        examples: the first of these, a sentence each.
    """

    name: str
    told: str = ""
    skipped: bool = False
    wrong: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether it was looked at and nothing is wrong."""
        return not self.wrong and not self.skipped

    def fault(self, sentence: str) -> None:
        """Note something that is wrong."""
        self.wrong += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(sentence)

    def skip(self, why: str) -> None:
        """Leave it out."""
        self.skipped, self.told = True, why
