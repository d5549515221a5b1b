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

from engine.message import Batch, Messages

#: Root of all message ids: uuid5 of the URL namespace and our name.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "mailvolley")


def message_ids(campaign: str, keys: Sequence[str]) -> list[str]:
    """Return the id of each key's message: uuid5 of the campaign and the key.

    Written out instead of calling `uuid.uuid5`, which takes three times as long; ten
    million rows pass here.

    Source:
        RFC 9562, section 5.5.
    """
    root = hashlib.sha1(uuid.uuid5(NAMESPACE, campaign).bytes, usedforsecurity=False)
    made = []
    for key in keys:
        name = root.copy()
        name.update(key.encode())
        octets = bytearray(name.digest()[:16])
        octets[6] = octets[6] & 0x0F | 0x50  # version 5
        octets[8] = octets[8] & 0x3F | 0x80  # the RFC's variant
        text = octets.hex()
        made.append(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
    return made


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


def cut(sizes: Sequence[int], *, max_count: int, max_bytes: int) -> Iterator[slice]:
    """Cut a row of messages into batches, in order, each as full as its limits allow.

    A message that is larger than `max_bytes` by itself travels alone: the provider
    shall say whether it is too large.

    Args:
        sizes: encoded bytes of each message, with what separates it from the next.
        max_count: messages of one batch at most.
        max_bytes: bytes of one batch at most.
    """
    ends = [*accumulate(sizes)]
    start, before = 0, 0
    while start < len(sizes):
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
    sizes = [len(part) + 1 for part in parts]  # and a comma
    for span in cut(sizes, max_count=max_count, max_bytes=max_bytes):
        yield Batch(
            id=batch_id(campaign, generation, messages.message_ids[span]),
            rows=messages.rows[span],
            addresses=messages.addresses[span],
            parts=list(parts[span]),
        )
