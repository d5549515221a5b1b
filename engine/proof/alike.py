"""How much of their text messages share.

Bodies that are the same to the byte are found by their hashes, of all rows. How alike
the others are is told by a sample: the share of runs of four words that two messages
have in common, at the median over pairs.

Source:
    Broder, On the resemblance and containment of documents, 1997: shingles.
"""

import re
import statistics
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

#: Words of a shingle, and messages of the sample.
_WORDS, SAMPLE = 4, 60
_TAG = re.compile(
    r"<(?:style|head)\b.*?</(?:style|head)>|<[^<>]*>", re.DOTALL | re.IGNORECASE
)
#: Groups of same bodies that are shown.
_GROUPS = 5


@dataclass(frozen=True, slots=True)
class Alike:
    """What messages have in common.

    Attributes:
        rows: rows whose body another row has, too.
        groups: the largest groups of such rows: how many, and the first of them.
        share: of four-word runs that two messages share, at the median over the pairs
            of a sample, from 0 to 1; None where there are not two.
        least: likewise, of the two that share the least.
        sample: messages that were compared.
    """

    rows: int
    groups: list[tuple[int, int]]
    share: float | None
    least: float | None
    sample: int


@dataclass(slots=True)
class Likeness:
    """Gathers what is needed to tell; 12 bytes a row."""

    hashes: list[pl.DataFrame] = field(default_factory=list)
    sample: list[tuple[str, frozenset[int]]] = field(default_factory=list)

    def add(
        self, rows: Sequence[int], message_ids: Sequence[str], bodies: Sequence[str]
    ) -> None:
        """Take notice of messages."""
        self.hashes.append(
            pl.DataFrame(
                {
                    "row": pl.Series(rows, dtype=pl.UInt32),
                    "body": pl.Series(bodies, dtype=pl.String).hash(),
                }
            )
        )
        # An id is as good as random and the same in every run: the smallest are a
        # sample of all rows, in whatever pieces they come.
        least = self.sample[-1][0] if len(self.sample) >= SAMPLE else "~"
        found = [
            (message_id, _shingles(body))
            for message_id, body in zip(message_ids, bodies, strict=True)
            if message_id < least
        ]
        if found:
            self._keep(found)

    def merge(self, other: "Likeness") -> None:
        """Take in what others have gathered."""
        self.hashes += other.hashes
        self._keep(other.sample)

    def packed(self) -> "Likeness":
        """Return the same in few frames, to be sent to another process."""
        return Likeness([pl.concat(self.hashes)] if self.hashes else [], self.sample)

    def _keep(self, found: list[tuple[str, frozenset[int]]]) -> None:
        self.sample = sorted([*self.sample, *found], key=lambda pair: pair[0])[:SAMPLE]

    def told(self) -> Alike:
        """Say what messages have in common."""
        if not self.hashes:
            return Alike(0, [], None, None, 0)
        known = pl.concat(self.hashes)
        groups = (
            known.group_by("body")
            .agg(rows=pl.len(), first=pl.col("row").min())
            .filter(pl.col("rows") > 1)
        )
        largest = groups.sort("rows", "first", descending=[True, False]).head(_GROUPS)
        shares = self._shares()
        return Alike(
            rows=int(groups["rows"].sum()),
            groups=list(largest.select("rows", "first").iter_rows()),
            share=statistics.median(shares) if shares else None,
            least=min(shares, default=None),
            sample=len(self.sample),
        )

    def _shares(self) -> list[float]:
        sets = [shingles for _, shingles in self.sample]
        return [
            len(one & other) / len(one | other) if one | other else 1.0
            for place, one in enumerate(sets)
            for other in sets[:place]
        ]


def _shingles(body: str) -> frozenset[int]:
    words = _TAG.sub(" ", body).split()
    runs = (words[at : at + _WORDS] for at in range(max(1, len(words) - _WORDS + 1)))
    # Not `hash`, which is another in every process.
    return frozenset(zlib.crc32(" ".join(run).encode()) for run in runs)
