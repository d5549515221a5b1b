"""People as hashes: is somebody on a list that is too long to be held?

How it works: of each name a hash of 128 bits is kept, sorted, 160 MB for ten million,
and those asked for are looked up by halving. A table to join with would be made anew
for each group of a long list. That two of ten million names share a hash by chance
happens once in 10^24 lists.
"""

from collections.abc import Iterable
from typing import Final, Self

import polars as pl

#: Seeds of the two halves of a hash. They stay in this process: another version of
#: polars may hash otherwise.
_SEEDS: Final = (1, 2)


class Members:
    """Names that are there often enough.

    Args:
        hashes: u128, sorted; a name that is there several times may be so here.
    """

    def __init__(self, hashes: pl.Series) -> None:
        self._hashes = hashes

    @classmethod
    def of(cls, pieces: Iterable[pl.Series], *, most: int = 1) -> Self:
        """Take those who are named so many times, or more often.

        Args:
            pieces: names, str, as they are compared.
            most: how many times.
        """
        nobody = pl.Series([], dtype=pl.UInt128)
        hashes = pl.concat([nobody, *map(_hashed, pieces)]).sort()
        # Of equals that stand side by side, the one before tells that there are more.
        return cls(
            hashes.filter((hashes == hashes.shift(1 - most)).fill_null(value=False))
        )

    def have(self, names: pl.Series) -> pl.Series:
        """Tell of each name whether it is among them: bool, in the order of `names`."""
        if self._hashes.is_empty():
            return pl.repeat(value=False, n=len(names), eager=True)
        wanted = _hashed(names)
        places = self._hashes.search_sorted(wanted, side="left")
        return self._hashes.gather(places.clip(0, len(self._hashes) - 1)) == wanted


def _hashed(names: pl.Series) -> pl.Series:
    high, low = (pl.lit(names).hash(seed).cast(pl.UInt128) for seed in _SEEDS)
    return pl.select(high * 2**64 + low).to_series()
