"""Two folders change places."""

from pathlib import Path

import pytest

from engine.errors import RunError
from engine.exchange import exchange


def test_each_has_what_the_other_had(tmp_path: Path) -> None:
    """Also where neither is empty, which a renaming refuses."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / folder.name).write_text("x")
    exchange(one, other)
    assert (one / "other").exists()
    assert (other / "one").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_if_it_cannot_be_nothing_changes(tmp_path: Path) -> None:
    """It says why, and what to do."""
    (one := tmp_path / "one").mkdir()
    with pytest.raises(RunError, match="No such file") as refused:
        exchange(one, tmp_path / "gone")
    assert refused.value.hint
    assert [one] == list(tmp_path.iterdir())
