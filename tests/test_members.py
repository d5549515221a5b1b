"""Claims about `engine.members`: exactly those who are named, however many."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from engine.members import Members

NAMES = st.lists(st.text(alphabet="abé@", max_size=3), max_size=30)


@given(NAMES, NAMES, st.integers(1, 3))
def test_who_is_named_often_enough_is_a_member(
    named: list[str], asked: list[str], most: int
) -> None:
    """As counting them one by one would say, in any pieces."""
    pieces = [
        pl.Series(named[::2], dtype=pl.String),
        pl.Series(named[1::2], dtype=pl.String),
    ]
    members = Members.of(pieces, most=most)
    found = members.have(pl.Series(asked, dtype=pl.String))
    assert [named.count(name) >= most for name in asked] == found.to_list()


def test_nobody_is_a_member_of_nothing() -> None:
    """Without a single piece, too."""
    assert [False, False] == Members.of([]).have(pl.Series(["a", ""])).to_list()
