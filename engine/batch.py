"""Which messages travel together, and the ids that messages and batches keep.

Both ids are functions of who is written to and nothing else: not of the run, the
attempt or the clock. A batch that is rebuilt after a crash is therefore the same batch,
and a message keeps its id in every run of its campaign.
"""

import hashlib
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import polars as pl

from engine.listed import sizes
from engine.message import Batch, Messages

#: Root of all message ids: uuid5 of the URL namespace and our name.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "mailvolley")


#: Places of a written UUID that hold a digit of the hash, and which; those of the
#: hyphens, the version and the variant aside.
_DIGITS: Final = [
    (place, place - dashes)
    for dashes, places in enumerate(
        (range(8), range(9, 13), range(15, 18), range(20, 23), range(24, 36))
    )
    for place in places
]
#: The first digit of the variant: its two highest bits are 10.
_VARIANT: Final = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)


def message_ids(campaign: str, keys: Sequence[str]) -> pl.Series:
    """Return the id of each key's message, str: uuid5 of the campaign and the key.

    Written out instead of calling `uuid.uuid5`, which takes five times as long; ten
    million rows pass here.

    Source:
        RFC 9562, section 5.5.
    """
    root = hashlib.sha1(uuid.uuid5(NAMESPACE, campaign).bytes, usedforsecurity=False)
    hashes = []
    for key in keys:
        name = root.copy()
        name.update(key.encode())
        hashes.append(name.hexdigest())
    return _uuids("".join(hashes).encode(), len(hashes))


def _uuids(hashes: bytes, count: int) -> pl.Series:
    """Write SHA-1 hashes, 40 hex digits each, as UUIDs: a digit of all at a time."""
    lines = bytearray((b"-" * 36 + b"\n") * count)
    for place, digit in _DIGITS:
        lines[place::37] = hashes[digit::40]
    lines[14::37] = b"5" * count  # the version
    lines[19::37] = hashes[16::40].translate(_VARIANT)
    # Cut by polars: as Python strings they would take three times as long.
    texts = pl.Series([lines.decode()], dtype=pl.String).str.split("\n").explode()
    return texts.head(count)


def batch_id(campaign: str, generation: int, members: Sequence[str]) -> str:
    """Return the id of a batch: 32 hex digits from its members' message ids.

    Args:
        campaign: the campaign's name.
        generation: 1 for the first sending of the campaign, 2 for the next.
        members: the message ids, in order.
    """
    told = "\0".join([campaign, str(generation), *members])
    return hashlib.blake2b(told.encode(), digest_size=16).hexdigest()


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """Cut a batch of two or more in the middle; its halves have ids of their own."""
    middle = len(batch) // 2
    first, second = (
        Batch(
            id=hashlib.blake2b(
                f"{batch.id}/{place}".encode(), digest_size=16
            ).hexdigest(),
            rows=batch.rows[half],
            addresses=batch.addresses[half],
            parts=batch.parts[half],
        )
        for place, half in enumerate((slice(None, middle), slice(middle, None)))
    )
    return first, second


def cut(steps: Sequence[int], *, max_count: int, max_bytes: int) -> Iterator[slice]:
    """Cut a row of messages into batches, in order, each as full as its limits allow.

    A message that is larger than `max_bytes` by itself travels alone: the provider
    shall say whether it is too large.

    Args:
        steps: encoded bytes of each message, with what separates it from the next.
        max_count: messages of one batch at most.
        max_bytes: bytes of one batch at most.
    """
    ends = [*accumulate(steps)]
    start, before = 0, 0
    while start < len(steps):
        fit = bisect_right(ends, before + max_bytes, lo=start)
        stop = max(min(fit, start + max_count), start + 1)
        yield slice(start, stop)
        start, before = stop, ends[stop - 1]


def batches(
    messages: Messages,
    parts: Sequence[bytes],
    *,
    campaign: str,
    generation: int,
    max_count: int,
    max_bytes: int,
) -> Iterator[Batch]:
    """Cut encoded messages into batches.

    Args:
        messages: the messages, in input order.
        parts: their encoded form, in the same order.
        campaign: the campaign's name.
        generation: see `batch_id`.
        max_count: messages of one batch at most.
        max_bytes: bytes of one batch at most.
    """
    steps = [size + 1 for size in sizes(parts)]  # and a comma
    for span in cut(steps, max_count=max_count, max_bytes=max_bytes):
        is_all = span == slice(0, len(parts))  # as they are: they may be joined already
        yield Batch(
            id=batch_id(campaign, generation, messages.message_ids[span]),
            rows=messages.rows[span],
            addresses=messages.addresses[span],
            parts=parts if is_all else parts[span],
        )
