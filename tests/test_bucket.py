"""Claims about `engine.bucket`: the same today and in ten years, and fair."""

import pytest

from engine import bucket

NAMES = [f"reader{n}" for n in range(20_000)]


def test_a_name_has_its_place_for_ever() -> None:
    """Whoever is held out stays so with the next version, too."""
    found = bucket.places("spring", ["ann", "bob", ""]).to_list()
    assert [0.0016827766418305856, 0.7407504026628979, 0.35242293677376146] == found


def test_places_are_spread_evenly() -> None:
    """A tenth of the names in each tenth, give or take four deviations."""
    tenths = (bucket.places("spring", NAMES) * 10).cast(int).value_counts()
    assert set(range(10)) == set(tenths["place"])
    assert all(abs(n - 2000) < 170 for n in tenths["count"])


def test_two_salts_have_nothing_to_do_with_each_other() -> None:
    """Half of those whom one takes, the other takes as well."""
    one, other = (bucket.places(salt, NAMES) < 0.5 for salt in ("a", "b"))
    assert 4800 < (one & other).sum() < 5200


@pytest.mark.parametrize("rest", ["base", None])
def test_shares_are_taken_in_their_order(rest: str | None) -> None:
    """Each gets what it asks for, and the rest what is left."""
    places = bucket.places("spring", NAMES)
    found = bucket.chosen(places, {"a": 0.1, "b": 0.3}, rest)
    counts = {name: found.eq_missing(name).sum() for name in ("a", "b", rest)}
    assert sum(counts.values()) == len(NAMES)
    assert abs(counts["a"] - 2000) < 170
    assert abs(counts["b"] - 6000) < 260
    assert set(found.filter(places < 0.1)) == {"a"}


def test_a_larger_share_keeps_those_of_a_smaller_one() -> None:
    """Who was held out at 5 % is held out at 10 %, too."""
    places = bucket.places("spring", NAMES)
    small = bucket.chosen(places, {"out": 0.05}, None).is_not_null()
    large = bucket.chosen(places, {"out": 0.1}, None).is_not_null()
    assert (large | ~small).all()
