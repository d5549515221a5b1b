"""Who must not be mailed: entered once, found by any spelling, forgotten on request."""

from pathlib import Path

import polars as pl
import pytest

from engine.suppression import Entry, Suppressions, marked


def found(runs: Path, campaign: str, *addresses: str | None) -> list[str | None]:
    """Return the reason of each address, null where it may be mailed."""
    with Suppressions.open(runs) as entries:
        searched = entries.filter({f"campaign:{campaign}"}).find(
            pl.Series("a", addresses, pl.String())
        )
    assert searched.height == len(addresses)
    return searched["suppressed"].to_list()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Make a folder with some entries."""
    with Suppressions.open(tmp_path) as entries:
        entries.add(
            [
                Entry("Ann@Example.com", "complained", "cloudmails: complained"),
                Entry("bob@bücher.de", "manual", "by hand"),
                Entry("cy@c.example", "unsubscribed", "x", "campaign:welcome"),
            ]
        )
    return tmp_path


def test_addresses_are_found_by_their_normal_form(runs: Path) -> None:
    """As snapshots have them: encoded, lower case; rows keep their order."""
    asked = ("nobody@x.de", "ann@example.com", None, "bob@xn--bcher-kva.de")
    assert found(runs, "welcome", *asked) == [None, "complained", None, "manual"]


def test_a_scope_holds_for_its_campaign_alone(runs: Path) -> None:
    """Who left one letter still gets the others."""
    assert found(runs, "welcome", "cy@c.example") == ["unsubscribed"]
    assert found(runs, "other", "cy@c.example") == [None]


def test_who_is_erased_is_not_there_and_never_mailed_again(runs: Path) -> None:
    """Only a keyed hash stays, and it finds the address on a later list."""
    with Suppressions.open(runs) as others, Suppressions.open(runs) as entries:
        others.add([Entry("dan@d.example", "manual", "by hand")])
        assert entries.erase([" ANN@example.com", "dan@d.example"]) == 2
        assert not others.all()["address"].str.contains("ann").any()
        assert others.of("ann@example.com").height == 1
        # What another process has open keeps its log.
        for path in runs.iterdir():
            assert b"ann@example.com" not in path.read_bytes()
            assert b"dan@d.example" not in path.read_bytes()
            assert path.stat().st_mode & 0o077 == 0
    asked = ("bob@xn--bcher-kva.de", "ann@example.com", None, "ann@example.org")
    assert found(runs, "any", *asked) == ["manual", "erased", None, None]


def test_who_is_erased_is_not_written_down_again(runs: Path) -> None:
    """Nor by a list that a provider or a file gives; until somebody removes them."""
    with Suppressions.open(runs) as entries:
        entries.erase(["ann@example.com"])
        again = [
            Entry("ANN@example.com", "bounced", "x"),
            Entry("dan@d.example", "b", "x"),
        ]
        assert entries.add(again) == 1
        assert entries.are_erased([None, "Ann@Example.com", "dan@d.example"]) == [
            False,
            True,
            False,
        ]
        assert entries.remove("ann@example.com") == 1
        assert entries.add(again) == 1


def test_a_hash_tells_nothing_without_its_key(runs: Path) -> None:
    """Two folders that erased the same person have nothing in common."""
    assert marked(b"one", "a@b.c") != marked(b"two", "a@b.c")
    with Suppressions.open(runs) as entries:
        entries.erase(["a@b.c"])
    first = (runs / "suppressions.key").read_bytes()
    with Suppressions.open(runs) as entries:
        entries.erase(["d@b.c"])
        assert entries.remove("a@b.c") == 1
    assert (runs / "suppressions.key").read_bytes() == first
    assert found(runs, "any", "a@b.c", "d@b.c") == [None, "erased"]


def test_an_empty_list_finds_nobody(tmp_path: Path) -> None:
    """A new folder has no entries, and no key."""
    assert found(tmp_path, "any", "a@b.c") == [None]
    assert not (tmp_path / "suppressions.key").exists()
