"""Claims about `engine.batch`: who travels together, and the ids that are kept."""

import hashlib
import re
import uuid
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.batch import NAMESPACE, batch_id, batches, cut, halves, message_ids
from engine.message import Batch, Messages

SIZES = st.lists(st.integers(0, 50), max_size=60)
COUNTS = st.integers(1, 12)
BYTES = st.integers(1, 120)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
IDS = st.lists(st.uuids(version=5).map(str), max_size=6)


@given(SIZES, COUNTS, BYTES)
@example([], 1, 1)
@example([5], 1, 1)
@example([1, 50, 1], 3, 10)
def test_cut_loses_doubles_and_reorders_nothing(
    sizes: list[int], max_count: int, max_bytes: int
) -> None:
    """The pieces laid end to end are the messages, and none of them is empty."""
    spans = list(cut(sizes, max_count=max_count, max_bytes=max_bytes))
    places = [place for span in spans for place in range(len(sizes))[span]]
    assert list(range(len(sizes))) == places
    assert all(span.stop > span.start for span in spans)


@given(SIZES, COUNTS, BYTES)
@example([11], 5, 10)
def test_cut_keeps_both_limits_but_for_a_message_that_breaks_them_alone(
    sizes: list[int], max_count: int, max_bytes: int
) -> None:
    """More than the bytes allowed is in a batch only where it is one message."""
    for span in cut(sizes, max_count=max_count, max_bytes=max_bytes):
        batch = sizes[span]
        assert len(batch) <= max_count
        assert sum(batch) <= max_bytes or 1 == len(batch)


@given(SIZES, COUNTS, BYTES)
def test_cut_fills_each_batch(sizes: list[int], max_count: int, max_bytes: int) -> None:
    """The first message of a batch had no room in the one before."""
    spans = spans_of(sizes, max_count, max_bytes)
    for before, span in pairwise(spans):
        full = before.stop - before.start == max_count
        assert full or sum(sizes[before]) + sizes[span.start] > max_bytes


def spans_of(sizes: list[int], max_count: int, max_bytes: int) -> list[slice]:
    """Cut, whole."""
    return list(cut(sizes, max_count=max_count, max_bytes=max_bytes))


@pytest.mark.parametrize(
    ("sizes", "max_count", "max_bytes", "wanted"),
    [
        ([], 3, 10, []),
        ([1] * 7, 3, 10, [3, 3, 1]),
        ([1] * 6, 3, 10, [3, 3]),
        ([5, 5, 5], 9, 10, [2, 1]),
        ([6, 5, 5], 9, 10, [1, 2]),
        ([99, 1, 99, 99, 1], 9, 10, [1, 1, 1, 1, 1]),
        ([1, 99, 1], 9, 10, [1, 1, 1]),
        ([10], 1, 10, [1]),
        ([0, 0, 0], 9, 1, [3]),
    ],
)
def test_cut_by_example(
    sizes: list[int], max_count: int, max_bytes: int, wanted: list[int]
) -> None:
    """The limits themselves are still allowed."""
    spans = spans_of(sizes, max_count, max_bytes)
    assert wanted == [span.stop - span.start for span in spans]


@given(TEXT, st.lists(TEXT, max_size=20))
@example("spring", ["", "a@a.example", "Ä\0\n", "x" * 500])
def test_message_id_is_uuid5_of_campaign_and_key(
    campaign: str, keys: list[str]
) -> None:
    """What is written out for speed is what the standard library gives."""
    root = uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "mailvolley"), campaign)
    wanted = [str(uuid.uuid5(root, key)) for key in keys]
    assert wanted == message_ids(campaign, keys).to_list()


def test_message_ids_stay_what_they_were() -> None:
    """A later version gives a run that is taken up the ids that it began with."""
    assert uuid.UUID("a1b481b3-c33b-591b-82e9-b5dafd3d3cb8") == NAMESPACE
    wanted = "d310f9c5-3745-5125-b42f-b41c4ca12bed"
    assert [wanted] == message_ids("welcome", ["a@a.example"]).to_list()
    wanted = "48757533a3ba78a196731d3971c6c4be"
    assert wanted == batch_id("welcome", 1, ["m1", "m2"])


MADE_OF = st.tuples(TEXT, st.integers(1, 9), IDS)


@given(MADE_OF, MADE_OF)
def test_batch_id_is_of_members_campaign_and_generation_alone(
    here: tuple[str, int, list[str]], there: tuple[str, int, list[str]]
) -> None:
    """Equal for equal, and different as soon as one of the three is."""
    assert (here == there) == (batch_id(*here) == batch_id(*there))
    campaign, generation, members = here
    again = batch_id(campaign, generation, tuple(members))
    assert batch_id(*here) == again
    assert re.fullmatch("[0-9a-f]{32}", again)


@given(st.lists(st.uuids(version=5).map(str), min_size=2, max_size=6, unique=True))
def test_batch_id_knows_the_order_and_the_number_of_members(members: list[str]) -> None:
    """Fewer, more, or others in front are another batch."""
    variants = [members, members[::-1], members[:-1], [*members, members[0]]]
    assert len(variants) == len({batch_id("spring", 1, one) for one in variants})


@given(st.lists(st.binary(max_size=30), max_size=40), COUNTS, BYTES)
def test_batches_keep_rows_addresses_and_parts_together(
    parts: list[bytes], max_count: int, max_bytes: int
) -> None:
    """Each message is in one batch, with its own row, address and bytes."""
    numbers = range(len(parts))
    messages = Messages(
        rows=[n * 3 for n in numbers],
        addresses=[f"a{n}@a.example" for n in numbers],
        names=[""] * len(parts),
        message_ids=[hashlib.md5(str(n).encode()).hexdigest() for n in numbers],
        subjects=["S"] * len(parts),
        htmls=None,
        texts=None,
    )
    made = list(
        batches(
            messages,
            parts,
            campaign="spring",
            generation=2,
            max_count=max_count,
            max_bytes=max_bytes,
        )
    )
    assert messages.rows == [row for batch in made for row in batch.rows]
    assert messages.addresses == [a for batch in made for a in batch.addresses]
    assert parts == [part for batch in made for part in batch.parts]
    for batch in made:
        assert len(batch) == len(batch.addresses) == len(batch.parts) <= max_count
        joined = b",".join(batch.parts) + b","
        assert len(joined) <= max_bytes or 1 == len(batch)
        members = [messages.message_ids[row // 3] for row in batch.rows]
        assert batch_id("spring", 2, members) == batch.id
    assert len(made) == len({batch.id for batch in made})


def batch_of(size: int, batch: str = "b1") -> Batch:
    """Make a batch whose messages can be told apart."""
    return Batch(
        id=batch,
        rows=[3 * n for n in range(size)],
        addresses=[f"a{n}@a.example" for n in range(size)],
        parts=[b"%d" % n for n in range(size)],
    )


@given(st.integers(2, 1000))
@example(2)
@example(3)
def test_halves_laid_end_to_end_are_the_batch(size: int) -> None:
    """Nothing is lost, doubled or moved, and both are as small as they can be."""
    batch = batch_of(size)
    first, second = halves(batch)
    assert batch.rows == first.rows + second.rows
    assert batch.addresses == first.addresses + second.addresses
    assert batch.parts == first.parts + second.parts
    assert 0 <= len(second) - len(first) <= 1


def test_all_pieces_of_a_batch_have_ids_of_their_own() -> None:
    """Down to single messages, each is another request with another key."""
    pieces = [batch_of(64)]
    for piece in pieces:
        if len(piece) > 1:
            pieces += halves(piece)
    assert 127 == len(pieces) == len({piece.id for piece in pieces})
    assert all(re.fullmatch("[0-9a-f]{32}", piece.id) for piece in pieces[1:])


def test_halves_are_the_same_after_a_crash() -> None:
    """Their ids follow from the batch's id, in this version and in later ones."""
    first, second = halves(batch_of(4))
    assert (first, second) == halves(batch_of(4))
    assert halves(batch_of(4, "b2"))[0].id != first.id
    assert "447583f600a80acd2ec5fcdd5f6e348e" == first.id
    assert "b10f3c3845a883d9c367ce4ab6ae55fa" == second.id
