"""Who says no while a run is under way, and what it does then."""

from collections import Counter
from collections.abc import Callable

import polars as pl
import pytest
from end_to_end.desk import Desk, Site

Start = Callable[..., Site]


def suppress(desk: Desk, *rows: int) -> None:
    """Enter the addresses of rows."""
    addresses = [f"reader{row}@inbox.example" for row in rows]
    where = ("--runs-dir", desk.runs)
    done = desk.run("suppress", "add", *addresses, "--reason", "unsubscribed", *where)
    assert done.code == 0, done.err


def left(desk: Desk) -> list[int]:
    """Return the rows that ended as suppressed."""
    found = desk.results().filter(pl.col("status") == "suppressed")
    assert {("unsubscribed", "by hand")} >= set(found.select("reason", "detail").rows())
    return found["row"].to_list()


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_who_says_no_before_a_resume_is_not_mailed(
    desk: Desk, start_sandbox: Start, processes: str
) -> None:
    """Batches are as they were but for who left; nobody is mailed twice or lost.

    Rows leave from batches that were refused, that nobody has tried, a whole one among
    them, and at two stops one after the other.
    """
    site = start_sandbox(credentials_after=4)
    words = ("--processes", processes)
    stopped = desk.send(site.url, *words)
    assert stopped.code == 6, stopped.err
    had = set(site.accepted())
    waiting = [r for r in range(100) if f"reader{r}@inbox.example" not in had]
    assert 10 < len(waiting) < 100
    first = [waiting[3], *waiting[-15:-3]]
    suppress(desk, *first, 500)
    site.fault(credentials_after=7)
    stopped = desk.send(site.url, *words)
    assert stopped.code == 6, stopped.err
    had = set(site.accepted())
    waiting = [r for r in waiting if f"reader{r}@inbox.example" not in had]
    still = [row for row in waiting if row not in first]
    assert len(still) > 2
    second = [still[0], still[-1]]
    suppress(desk, *second)
    site.fault()
    done = desk.send(site.url, *words)
    assert done.code == 0, done.err
    gone = sorted({*first, *second})
    assert gone == left(desk)
    mailed = Counter(site.accepted())
    assert set(mailed.values()) == {1}
    assert sorted(mailed) == sorted(
        f"reader{row}@inbox.example" for row in range(100) if row not in gone
    )
    assert desk.run("verify", desk.run_directory()).code == 0


@pytest.mark.slow
def test_who_says_no_after_the_plan_is_suppressed_at_the_start(
    desk: Desk, sandbox: Site
) -> None:
    """An entry for another campaign, or from before, changes nothing."""
    suppress(desk, 7)
    done = desk.send(sandbox.url)
    assert done.code == 0, done.err
    assert [7] == left(desk)
    assert len(sandbox.accepted()) == 99
    suppress(desk, 8)
    again = desk.send(sandbox.url, "--again")
    assert again.code == 0, again.err
    assert len(sandbox.accepted()) == 99 + 98


@pytest.mark.slow
def test_who_is_in_doubt_and_says_no_is_not_sent_again(
    desk: Desk, start_sandbox: Start
) -> None:
    """`--in-doubt resend` sends again those of a batch who have not left."""
    site = start_sandbox(error_after_every=2)
    doubtful = desk.send(site.url)
    assert doubtful.code == 4, doubtful.err
    rows = desk.results().filter(pl.col("status") == "in_doubt")["row"].to_list()
    before = Counter(site.accepted())
    suppress(desk, rows[0], rows[-1])
    site.fault()
    done = desk.run(
        "resume", desk.run_directory(), "--in-doubt", "resend", "--yes",
        "--base-url", site.url,
    )  # fmt: skip
    assert done.code == 0, done.err
    again = Counter(site.accepted()) - before
    assert sorted(again) == sorted(f"reader{row}@inbox.example" for row in rows[1:-1])
    assert left(desk) == [rows[0], rows[-1]]
