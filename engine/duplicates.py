"""Which rows of a long list repeat an earlier one, in little memory.

How it works: of the address and the key of each row a hash of 32 bits is kept, 40 MB of
each for ten million rows. Hashes that occur twice tell which rows may be duplicates;
those few are compared as they are. So a collision costs a moment, and nobody the mail.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import polars as pl

from engine.spool import Spool

#: Hashes are compared so many parts at a time, by their beginnings: a table of all
#: would take more memory than they do.
_PARTS: Final = 16

#: Of what `found` returns.
SCHEMA: Final = {
    "row": pl.UInt64(),
    "first": pl.UInt64(),
    "same": pl.Enum(["address", "key"]),
}


class Duplicates:
    """Finds the rows whose address or key an earlier row has.

    Args:
        address: the column of the addresses as they are compared.
        key: the column of the keys; the same one where the address is the key.
    """

    def __init__(self, address: str, key: str) -> None:
        self._columns = [address, key]
        self._hashes: dict[str, list[pl.Series]] = {address: [], key: []}

    def add(self, group: pl.DataFrame, good: pl.Expr) -> None:
        """Take the next rows of the list; only the good ones count."""
        hashed = group.select(
            pl.when(good).then(pl.col(name).hash().cast(pl.UInt32, wrap_numerical=True))
            for name in self._hashes
        )
        for name, kept in self._hashes.items():
            kept.append(hashed[name])

    def found(self, groups: Spool) -> pl.DataFrame:
        """Go through who may be a duplicate, in order, exactly.

        A row that is left out does not make a later one a duplicate.

        Args:
            groups: what `add` was given, in the same pieces.

        Returns:
            row u64, ascending; first u64, the earlier row; same, what of it this row
            repeats.
        """
        first_with_address: dict[str, int] = {}
        address, key = self._columns
        first_with_key = first_with_address if address == key else {}
        found = [pl.DataFrame(schema=SCHEMA)]
        for suspects in self._suspects(groups):
            repeats: list[tuple[int, int, str]] = []
            for row, mail, own in suspects:
                if (first := first_with_address.get(mail)) is not None:
                    repeats.append((row, first, "address"))
                elif (first := first_with_key.get(own)) is not None:
                    repeats.append((row, first, "key"))
                else:
                    first_with_address[mail] = first_with_key[own] = row
            found.append(pl.DataFrame(repeats, schema=SCHEMA, orient="row"))
        return pl.concat(found)

    def _suspects(self, groups: Spool) -> Iterator[Iterable[tuple[int, str, str]]]:
        """Read row, address and key of those who may be duplicates, group by group."""
        suspects = pl.concat(map(_repeated, self._hashes.values())).unique().sort()
        self._hashes.clear()
        start = 0
        for place, height in enumerate(groups.heights):
            borders = pl.Series([start, start + height])
            begin, end = suspects.search_sorted(borders)
            if begin < end:
                rows = suspects[begin:end]
                read = groups.read(place, sorted(set(self._columns)))[rows - start]
                address, key = (read[name] for name in self._columns)
                yield zip(rows, address, key, strict=True)
            start += height


def _repeated(hashes: Sequence[pl.Series]) -> pl.Series:
    """Return the rows whose hash occurs more than once, counted from 0; u64."""
    starts = [0]
    for some in hashes:
        starts.append(starts[-1] + len(some))
    width = 2**32 // _PARTS
    found = [pl.Series("row", [], dtype=pl.UInt64)]
    for part in range(_PARTS):
        inside = pl.col("hash").is_between(part * width, (part + 1) * width - 1)
        pieces = [
            some.to_frame("hash").with_row_index("row", start).filter(inside)
            for start, some in zip(starts, hashes, strict=False)
        ]
        twins = pl.concat(pieces).filter(pl.col("hash").is_duplicated())
        found.append(twins["row"].cast(pl.UInt64))
    return pl.concat(found)
