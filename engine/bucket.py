"""Chance that is always the same: where a name falls between 0 and 1.

A name and a salt give one place, today and in ten years, whatever the list around them
is. So who is held out stays so from run to run, and who gets which variant, too; and
what two salts choose has nothing to do with each other.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Final

import polars as pl

#: Bits of a place: as many as a float64 holds exactly.
_BITS: Final = 53


def places(salt: str, names: Sequence[str]) -> pl.Series:
    """Return the place of each name: float64, from 0 to below 1, as good as random."""
    root = hashlib.blake2b(salt.encode() + b"\0", digest_size=8)
    hashes = []
    for name in names:
        hashed = root.copy()
        hashed.update(name.encode())
        hashes.append(hashed.digest())
    numbers = struct.unpack(f">{len(hashes)}Q", b"".join(hashes))
    whole = pl.lit(pl.Series("place", numbers, dtype=pl.UInt64))
    exact = (whole // 2 ** (64 - _BITS)).cast(pl.Float64)
    return pl.select(exact / 2.0**_BITS).to_series()


def chosen(
    places: pl.Series, shares: Mapping[str, float], rest: str | None
) -> pl.Series:
    """Return whose share each place falls into: str|null.

    Args:
        places: as `places` gives them.
        shares: in their order.
        rest: behind the last.
    """
    found = pl.lit(rest, dtype=pl.String)
    ends = list(accumulate(shares.values()))
    for name, end in reversed(list(zip(shares, ends, strict=True))):
        found = pl.when(pl.col("place") < end).then(pl.lit(name)).otherwise(found)
    return places.to_frame("place").with_columns(chosen=found)["chosen"]
