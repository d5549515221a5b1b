"""Whose entry is it: the items of an answer, matched with the messages of a batch.

How it works: `Keys.entry` brings an item of any form into that of an object. `place`
lets position count only if there is one item per message and no item names another
message than the one at its place. Otherwise it goes by the keys in the items: `index`,
our own id given back, the address.

Rules:
- A message that is named twice, or by keys that disagree, is named by none.
- A key that can be read in two ways is no key: an address that occurs twice, an index
  that may count from 0 or from 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.providers.answers import NO, YES, Entry, identity


@dataclass(frozen=True, slots=True)
class Keys:
    """The messages of a batch by each key that an answer may use.

    Attributes:
        addresses: case-folded, in the order of the batch.
        by_address: case-folded address to the places that have it.
        by_id: our message id to its place.
        echo: the field in which the API gives back what we sent along.
    """

    addresses: list[str]
    by_address: Mapping[str, list[int]]
    by_id: Mapping[str, int]
    echo: str

    @classmethod
    def of(
        cls, addresses: Sequence[str], message_ids: Sequence[str | None], echo: str
    ) -> "Keys":
        """Index a batch; `message_ids` may be empty when no answer echoes them."""
        folded = [address.casefold() for address in addresses]
        by_address: dict[str, list[int]] = {}
        for place, address in enumerate(folded):
            by_address.setdefault(address, []).append(place)
        by_id = {name: place for place, name in enumerate(message_ids) if name}
        return cls(folded, by_address, by_id, echo)

    def entry(self, item: object) -> Entry | None:
        """Bring one item of a list into the form of an object; None if it says nothing.

        A string is an address of the batch, a status word, or else an id.
        """
        if isinstance(item, dict):
            return item
        if isinstance(item, bool):
            return {"success": item}
        if isinstance(item, str):
            if item.casefold() in self.by_address:
                return {"to": item}
            if item.lower() in YES or item.lower() in NO:
                return {"status": item}
        name = identity(item)
        return None if name is None else {"message_id": name}


class Placed(NamedTuple):
    """Entries by the place of their message.

    Attributes:
        entries: for each message the one entry that speaks of it, or None.
        doubtful: places named more than once, or by keys that disagree.
        strays: how many entries speak of no message of the batch.
        keyless: how many of these have no key at all.
    """

    entries: list[Entry | None]
    doubtful: set[int]
    strays: int
    keyless: int


#: Entries per message that are looked at. An answer with more is broken, and reading it
#: would hold up every worker.
MOST = 10


def place(entries: Sequence[Entry | None], keys: Keys, *, ordered: bool) -> Placed:
    """Find the message that each entry speaks of.

    Args:
        entries: as `Keys.entry` makes them.
        keys: of the batch.
        ordered: whether position may count.
    """
    count = len(keys.addresses)
    if len(entries) > MOST * count:
        return Placed([None] * count, set(), len(entries), 0)
    base = _base({_index(entry) for entry in entries} - {None}, count)
    spots = [_spot(entry, keys, base) for entry in entries]
    if (
        ordered
        and len(entries) == count
        and all(at in (spot.fits or (at,)) for at, spot in enumerate(spots))
        and not any(spot.torn for spot in spots)
    ):
        return Placed(list(entries), set(), 0, 0)
    found: dict[int, Entry | None] = {}
    doubtful: set[int] = set()
    strays = 0
    for entry, spot in zip(entries, spots, strict=True):
        if len(spot.fits) == 1:
            (at,) = spot.fits
            if at in found:
                doubtful.add(at)
            found[at] = entry
        else:
            doubtful |= spot.touched
            strays += not spot.touched
    kept = [None if at in doubtful else found.get(at) for at in range(count)]
    keyless = sum(not spot.torn and not spot.fits for spot in spots)
    return Placed(kept, doubtful, strays, keyless)


class _Spot(NamedTuple):
    # fits: the places that every key of an entry fits. touched: those that any fits.
    # torn: it has keys, and there is no place that all of them fit.
    fits: set[int]
    touched: set[int]
    torn: bool


def _spot(entry: Entry | None, keys: Keys, base: int | None) -> _Spot:
    if entry is None:
        return _Spot(set(), set(), torn=False)
    told: list[set[int]] = []
    index = _index(entry)
    if index is not None and base is not None:
        at = index - base
        told.append({at} if 0 <= at < len(keys.addresses) else set())
    echoed = entry.get(keys.echo)
    if isinstance(echoed, dict) and isinstance(name := echoed.get("message_id"), str):
        told.append({keys.by_id[name]} if name in keys.by_id else set())
    for field in ("to", "recipient", "email", "address"):
        if isinstance(address := entry.get(field), str):
            bare = address.rpartition("<")[2].strip("> ").casefold()
            told.append(set(keys.by_address.get(bare, ())))
            break
    fits = set.intersection(*told) if told else set()
    keyed = bool(told) or index is not None
    return _Spot(fits, set().union(*told), torn=keyed and not fits)


def _index(entry: Entry | None) -> int | None:
    value = None if entry is None else entry.get("index")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value) if len(value) <= _DIGITS else -1
    return value if isinstance(value, int) and not isinstance(value, bool) else None


#: Digits of an index that are read: a longer one is of no batch.
_DIGITS = 9


def _base(indices: set[int | None], count: int) -> int | None:
    """Return the index of a batch's first message, or None when it cannot be told."""
    if indices == set(range(1, count + 1)):
        return 1
    return None if count in indices and 0 not in indices else 0
