"""Claims about what is taken for an id."""

from hypothesis import example, given
from hypothesis import strategies as st

from engine.providers.answers import LONGEST_ID, are_identities, identity

TEXT = st.text(st.sampled_from("a1-\n \t\x00\x7f\xa0\u202eé🐟"), max_size=4)


@given(st.lists(TEXT, max_size=4))
@example(["x" * LONGEST_ID])
@example(["x" * (LONGEST_ID + 1), "y"])
@example(["a", " "])
@example(["a", ""])
def test_ids_are_judged_together_as_each_is(texts: list[str]) -> None:
    """The short way takes no id that the long way would not."""
    assert (None not in map(identity, texts)) == are_identities(texts)
