"""Links to unsubscribe: they name nobody, cannot be forged, and never run out."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import unsubscribe
from engine.errors import StoreError
from engine.suppression import marked
from engine.unsubscribe import Keys, Subject

OLD, NEW = Keys((b"o" * 32,)), Keys((b"n" * 32, b"o" * 32))
MARK = marked(b"key", "ann@example.com")


@given(st.binary(min_size=32, max_size=32), st.text(min_size=1, max_size=60))
def test_a_token_is_read_back(mark: bytes, name: str) -> None:
    """Whatever the list is called; the token fits a URL as it is."""
    subject = Subject(mark, name.encode(errors="ignore").decode() or "x")
    token = OLD.token(subject)
    assert OLD.read(token) == subject
    assert set(token) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    )


def test_old_links_work_after_the_key_was_changed() -> None:
    """And new ones are signed with the new key."""
    subject = Subject(MARK, "letters")
    assert NEW.read(OLD.token(subject)) == subject
    assert OLD.read(NEW.token(subject)) is None


def test_a_token_of_another_list_or_person_cannot_be_made() -> None:
    """Any other character anywhere makes it nobody's."""
    token = OLD.token(Subject(MARK, "letters"))
    for place in range(len(token)):
        for other in "Ab0-.":
            forged = token[:place] + other + token[place + 1 :]
            if forged != token:
                found = OLD.read(forged)
                # The last character of base64 has bits that mean nothing.
                assert found is None or found == Subject(MARK, "letters")


@given(st.text(max_size=90))
def test_whatever_is_no_token_is_nobodys(text: str) -> None:
    """Nothing raises, whatever stands in a link."""
    assert OLD.read(text) is None


def test_keys_are_made_once_and_for_their_owner_alone(tmp_path: Path) -> None:
    """A second start finds the first one's key; a new line on top changes it."""
    path = tmp_path / "runs" / "unsubscribe.keys"
    first = unsubscribe.keys(path)
    assert unsubscribe.keys(path) == first
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("ab" * 32 + "\n" + path.read_text())
    assert unsubscribe.keys(path).values == (b"\xab" * 32, *first.values)
    assert "ab" not in repr(unsubscribe.keys(path))


@pytest.mark.parametrize("content", ["", "short\n", "zz" * 32])
def test_a_damaged_file_of_keys_is_refused(tmp_path: Path, content: str) -> None:
    """Never replaced: the links of mails that were sent depend on it."""
    path = tmp_path / "unsubscribe.keys"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(StoreError, match="64 hex digits"):
        unsubscribe.keys(path)
    path.write_text("ab" * 32)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="others may read"):
        unsubscribe.keys(path)
