"""Texts in pieces: what is read, and what JSON takes, is what was put in."""

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markupsafe import escape

from engine.texts import Piece, Texts, inside, insides, joined

#: What JSON, HTML or the way many texts are escaped at once might trip over.
ODD = st.sampled_from(
    "\"\\/&<>'\x00\x1f\n\t\x7f\x85\xa0\u2028\u2029\ufeff\uffff🐟é\U0010ffff"
)
TEXT = st.text(ODD | st.characters(exclude_categories=["Cs"]), max_size=8)
COUNT = 3
#: A piece of a column of `COUNT` texts: what all share, or one each.
PIECE = TEXT | st.lists(TEXT, min_size=COUNT, max_size=COUNT)


@given(st.lists(TEXT, max_size=6))
@example([])
@example([""])
@example(["", ""])
@example(["\x7f", "a\x7fb"])
@example(['a","b\\', '"'])
@example(["x" * 600_000, "é" * 600_000])
def test_many_texts_are_escaped_as_each_is(texts: list[str]) -> None:
    """In one go or one by one, the bytes are those of the JSON of each."""
    assert [orjson.dumps(text) for text in texts] == [
        b'"%b"' % one for one in insides(texts)
    ]
    assert [inside(escape(text)) for text in texts] == insides(texts, escape)


@given(st.lists(PIECE, min_size=1, max_size=5))
@example([["a\x7fb", "", "c"]])
@example(["x" * 600_000, ["\x7f", "é", "\n"]])
def test_what_is_composed_is_read_and_encoded_as_if_it_were_whole(
    pieces: list[str | list[str]],
) -> None:
    """Pieces laid end to end are the text, and are its JSON."""
    whole = [
        "".join(p if isinstance(p, str) else p[at] for p in pieces)
        for at in range(COUNT)
    ]
    kept: list[Piece] = [
        inside(p) if isinstance(p, str) else insides(p) for p in pieces
    ]
    texts = Texts(COUNT, kept)
    assert whole == texts
    assert whole == [texts[at] for at in range(COUNT)]
    assert (whole[-1], whole[1:]) == (texts[-1], texts[1:])
    assert [orjson.dumps(text)[1:-1] for text in whole] == [*joined(COUNT, kept)]


def test_a_column_of_texts_is_as_long_as_it_says() -> None:
    """A piece for more or fewer is refused, and so is a place beyond the end."""
    assert [*Texts(2, [b"x"])] == ["x", "x"]
    assert not Texts(0, [b"x"])
    with pytest.raises(IndexError):
        Texts(2, [b"x"])[2]
    for column in ([b"a"], [b"a", b"b", b"c"]):
        with pytest.raises(ValueError, match="zip"):
            [*Texts(2, [b"x", column])]


def test_half_a_surrogate_pair_is_no_json() -> None:
    """Nothing that no reader of JSON could take is made."""
    with pytest.raises(orjson.JSONEncodeError):
        inside("\ud800")
    with pytest.raises(orjson.JSONEncodeError):
        insides(["a", "\udfff", "b"])
