"""Claims about `engine.history`: what is read of earlier runs, and what it disturbs."""

from pathlib import Path

import polars as pl
import pytest
from handmade import Handmade, make

from engine import history, rundir
from engine.errors import RunError


@pytest.fixture
def run(tmp_path: Path) -> Handmade:
    """Make a finished run."""
    return make(tmp_path, [("accepted", [0, 1, 2]), ("doubt", [3])])


def test_a_plan_compares_with_a_run_that_others_read_and_changes_nothing(
    run: Handmade,
) -> None:
    """Who only plans owns nothing, and is in nobody's way."""
    files = {f: f.read_bytes() for f in run.directory.path.iterdir() if f.is_file()}
    folder, base_url = run.directory.path.parent, run.manifest.base_url
    with history.opened(run.directory, run.manifest, only_look=True):
        known = history.before(folder, base_url)
    assert known is not None
    assert (10, True) == (known.rows, known.ended_at is not None)
    assert files == {
        f: f.read_bytes() for f in run.directory.path.iterdir() if f.is_file()
    }


def test_a_plan_does_not_look_into_what_is_being_sent(run: Handmade) -> None:
    """Its files are moving; who owns the campaign may look all the same."""
    folder, base_url = run.directory.path.parent, run.manifest.base_url
    with rundir.owned(folder):
        known = history.before(folder, base_url)
        assert known is not None
        assert known.ended_at is None
        known = history.before(folder, base_url, owned=True)
        assert known is not None
        assert known.ended_at is not None


def test_results_of_an_earlier_stop_are_refused_once_the_run_has_gone_on(
    tmp_path: Path,
) -> None:
    """Who would mail those who wait by them would mail somebody twice."""
    run = make(tmp_path, [("accepted", [0, 1]), ("intent", [2])], finished=False)
    run.project()
    history.expect_current(run.directory, run.manifest)
    older = run.results().with_columns(
        status=pl.when(pl.col("row") == 1)
        .then(pl.lit("pending"))
        .otherwise(pl.col("status"))
    )
    older.write_parquet(run.directory.results)
    with pytest.raises(RunError, match="has gone on since") as refused:
        history.expect_current(run.directory, run.manifest)
    assert "reconcile" in str(refused.value.hint)
