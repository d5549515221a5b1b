"""Messages that are joined once and cut out again."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.listed import Listed, gather, sizes
from engine.providers.form import Form, listed

#: Of all lengths: fewer than are joined in one go, as many, more.
MESSAGES = st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=9)))
MANY = st.integers(30, 70).map(lambda count: [{"n": str(n)} for n in range(count)])
ENOUGH = 1 << 20


@given(MESSAGES.filter(bool) | MANY)
def test_what_was_joined_is_cut_out_again(messages: list[dict[str, Any]]) -> None:
    """The whole is the JSON of all, and each is as it was before."""
    parts = [json.dumps(message).encode() for message in messages]
    made = gather("a list", iter(parts), most=ENOUGH)
    assert isinstance(made, Listed)
    assert json.loads(made.whole) == {"a list": messages}
    assert len(made) == len(parts)
    assert [*made] == parts == made
    assert [made[place] for place in range(-len(parts), len(parts))] == 2 * parts
    assert made[1:] == parts[1:]
    assert made[::-2] == parts[::-2]
    assert sizes(made) == sizes(parts) == [*map(len, parts)]
    with pytest.raises(IndexError):
        made[len(parts)]


@given(MESSAGES.filter(bool) | MANY, st.integers(0, 300))
def test_what_no_request_has_room_for_is_left_apart(
    messages: list[dict[str, Any]], most: int
) -> None:
    """Wherever it is found out: nothing is lost, doubled or moved."""
    parts = [json.dumps(message).encode() for message in messages]
    made = gather("a list", iter(parts), most=most)
    assert [*made] == parts
    assert isinstance(made, Listed) == (sum(map(len, parts)) <= most)


def test_messages_that_are_left_apart_are_in_memory_once() -> None:
    """But for what was joined before it was found out."""
    kilobytes = 10
    tracemalloc.start()
    made = gather("m", (b"x" * (kilobytes << 10) for _ in range(1000)), most=ENOUGH)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(made, list)
    assert peak < 1000 * (kilobytes << 10) + 4 * ENOUGH


def test_they_are_joined_once() -> None:
    """What stands in the right list already is taken as it is, and nothing else."""
    made = gather("messages", [b"1", b"2"], most=ENOUGH)
    assert isinstance(made, Listed)
    assert listed("messages", made) is made.whole
    assert listed("emails", made) == b'{"emails":[1,2]}'
    assert listed("emails", made[1:]) == b'{"emails":[2]}'


def test_they_are_what_they_hold() -> None:
    """Equal to a list of the same, to no other, and not to a text."""
    made = gather("messages", [b"1", b"2"], most=ENOUGH)
    assert made == gather("emails", [b"1", b"2"], most=ENOUGH)
    assert made != [b"1"]
    assert made != 12


def test_a_form_lists_what_one_request_takes() -> None:
    """No more messages than that, and no more bytes; and not one alone."""
    form = Form(2)
    form.text("to", ["ann", "bo"])
    joined = form.listed("messages", most=2, most_bytes=99)
    assert isinstance(joined, Listed)
    assert joined == form.rows() == [b'{"to":"ann"}', b'{"to":"bo"}']
    for most, most_bytes in ((1, 99), (2, 9)):
        apart = form.listed("messages", most=most, most_bytes=most_bytes)
        assert isinstance(apart, list)
        assert apart == joined
    assert Form(0).listed("messages", most=2, most_bytes=99) == []
