"""Messages that are joined once and cut out again."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.listed import Listed, sizes
from engine.providers.form import Form, listed

#: Of all lengths: fewer than are joined in one go, as many, more.
MESSAGES = st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=9)))
MANY = st.integers(30, 70).map(lambda count: [{"n": str(n)} for n in range(count)])


@given(MESSAGES.filter(bool) | MANY)
def test_what_was_joined_is_cut_out_again(messages: list[dict[str, Any]]) -> None:
    """The whole is the JSON of all, and each is as it was before."""
    parts = [json.dumps(message).encode() for message in messages]
    made = Listed("a list", iter(parts))
    assert json.loads(made.whole) == {"a list": messages}
    assert len(made) == len(parts)
    assert [*made] == parts == made
    assert [made[place] for place in range(-len(parts), len(parts))] == 2 * parts
    assert made[1:] == parts[1:]
    assert made[::-2] == parts[::-2]
    assert sizes(made) == sizes(parts) == [*map(len, parts)]
    with pytest.raises(IndexError):
        made[len(parts)]


def test_they_are_joined_once() -> None:
    """What stands in the right list already is taken as it is, and nothing else."""
    made = Listed("messages", [b"1", b"2"])
    assert listed("messages", made) is made.whole
    assert listed("emails", made) == b'{"emails":[1,2]}'
    assert listed("emails", made[1:]) == b'{"emails":[2]}'


def test_they_are_what_they_hold() -> None:
    """Equal to a list of the same, to no other, and not to a text."""
    made = Listed("messages", [b"1", b"2"])
    assert made == Listed("emails", [b"1", b"2"])
    assert made != [b"1"]
    assert made != 12


def _form() -> Form:
    form = Form(2)
    form.text("to", ["ann", "bo"])
    return form


def test_what_a_request_may_not_hold_is_not_joined() -> None:
    """Files, and what is too much for one request, are in memory once."""
    expected = [b'{"to":"ann"}', b'{"to":"bo"}']
    made = _form().listed("messages", most=99)
    assert isinstance(made, Listed)
    assert made == expected
    assert _form().listed("messages", most=9) == expected
    assert isinstance(_form().listed("messages", most=9), list)
    with_files = _form()
    with_files.column("file", iter("ab"))
    assert isinstance(with_files.listed("messages", most=99), list)
    assert Form(0).listed("messages", most=99) == []
