"""The engine as a library: frames in, a report out, on any event loop or none."""

import asyncio
import inspect
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl
import pytest
import trio

import engine
from engine import planning, rundir
from engine.errors import (
    CampaignError,
    CampaignIncomplete,
    NothingSent,
    RunFinished,
)
from engine.job import NewRun, Options, perform
from engine.manifest import Manifest
from engine.run import Run
from engine.sandbox import Faults, serve

CAMPAIGN = """
name = "letter"
kind = "transactional"
[recipients]
key = "id"
[message]
from = "Shop <shop@harbour.example>"
subject = "subject.txt.j2"
html = "body.html.j2"
[provider]
name = "cloudmails"
[limits]
batch_size = 10
"""
FRAME = pl.DataFrame(
    {
        "id": range(50),
        "email": [f"reader{n}@inbox.example" for n in range(50)],
        "name": [f"Reader {n}" for n in range(50)],
    }
)


class ArrowOnly:
    """A foreign table: nothing but Arrow's C interface."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """A campaign that names no list."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "subject.txt.j2").write_text("Hello {{ name }}")
    (templates / "body.html.j2").write_text("<p>{{ name }}</p>")
    file = tmp_path / "letter.toml"
    file.write_text(CAMPAIGN)
    return file


def _faulty(campaign: Path, **faults: object) -> engine.Report:
    """Send to a sandbox with faults, in this process."""
    job = NewRun(
        campaign=engine.load(campaign, needs_list=False), source=FRAME, sandbox=True
    )
    return trio.run(perform, job, Options(faults=Faults.parse(faults)))


@pytest.mark.parametrize(
    "source",
    [FRAME, FRAME.lazy(), ArrowOnly(FRAME)],
    ids=["frame", "lazy frame", "arrow"],
)
def test_any_table_can_be_sent(campaign: Path, source: Any) -> None:
    """A frame, a query, or anything that speaks Arrow."""
    report = engine.send(source, campaign, sandbox=True)

    assert report.finished
    assert report.rows == 50
    assert report.counts["accepted"] == 50
    assert report.results.select("key").collect()["key"].to_list() == [
        str(n) for n in range(50)
    ]
    report.raise_for_failures()


def test_a_path_and_a_copy_of_the_results(campaign: Path, tmp_path: Path) -> None:
    """A list on disk goes in, a results file comes out where it was asked for."""
    FRAME.write_parquet(tmp_path / "list.parquet")
    out = tmp_path / "deep" / "results.parquet"
    report = engine.send(tmp_path / "list.parquet", campaign, sandbox=True, out=out)

    assert report.path == out
    assert pl.read_parquet(out).height == 50


def test_trouble_is_rows_and_an_error_only_when_asked(campaign: Path) -> None:
    """Rejected rows are in the report; `raise_for_failures` names their number."""
    bad = FRAME.with_columns(
        email=pl.when(pl.col("id") < 3)
        .then(pl.format("reject{}@inbox.example", "id"))
        .otherwise("email")
    )
    report = engine.send(bad, campaign, sandbox=True)

    assert report.counts["rejected"] == 3
    with pytest.raises(CampaignIncomplete, match="3 rejected"):
        report.raise_for_failures()


def test_a_row_that_cannot_be_rendered_fails_alone(campaign: Path) -> None:
    """Its outcome names template, line and what is wrong; the others go on."""
    template = campaign.parent / "templates" / "body.html.j2"
    template.write_text("<p>\n{{ 100 // (id - 7) }}</p>")
    report = engine.send(FRAME, campaign, sandbox=True)
    (failed,) = report.results.filter(status="render_failed").collect().to_dicts()

    assert report.counts["accepted"] == 49
    assert failed["row"] == 7
    assert failed["reason"] == "template_error"
    assert failed["detail"].startswith("body.html.j2:2: ZeroDivisionError")
    assert failed["attempts"] == 0
    assert failed["settled_at"] is not None


def test_a_line_break_never_reaches_a_subject(campaign: Path) -> None:
    """A cell with a line break makes its row fail; it is not mailed without it."""
    split = FRAME.with_columns(
        name=pl.when(pl.col("id") == 9)
        .then(pl.lit("A\nBcc: x@y.example"))
        .otherwise("name")
    )
    report = engine.send(split, campaign, sandbox=True)
    (failed,) = report.results.filter(status="render_failed").collect().to_dicts()

    assert (failed["row"], failed["reason"]) == (9, "header_unsafe")


def test_a_message_that_no_request_has_room_for_fails_alone(campaign: Path) -> None:
    """It is not sent; its outcome says how large it is; the others go on."""
    template = campaign.parent / "templates" / "body.html.j2"
    template.write_text("<p>{{ book }}</p>")
    book = (
        pl.when(pl.col("id") == 7).then(pl.lit("a" * 11_000_000)).otherwise(pl.lit(""))
    )
    report = engine.send(FRAME.with_columns(book=book), campaign, sandbox=True)
    (failed,) = report.results.filter(status="render_failed").collect().to_dicts()

    assert report.counts["accepted"] == 49
    assert failed["row"] == 7
    assert failed["reason"] == "message_too_large"
    assert "22,000," in failed["detail"]


def test_a_plan_counts_and_sends_nothing(campaign: Path) -> None:
    """`plan` checks, estimates and renders a sample."""
    plan = engine.plan(
        FRAME, campaign, overrides=["limits.messages_per_second=10"], sandbox=True
    )
    sample, failures = plan.sample()

    assert plan.counts["mailable"] == 50
    assert plan.requests == 5
    assert plan.seconds == 5.0
    assert sample.subjects == ["Hello Reader 0", "Hello Reader 1", "Hello Reader 2"]
    assert failures == []
    assert not (campaign.parent / "runs").exists()
    kept = plan.directory.path
    del plan
    assert not kept.exists()


def test_what_is_wrong_is_an_error_of_our_own(campaign: Path) -> None:
    """No exception of a library leaves the engine."""
    with pytest.raises(CampaignError, match='"email"'):
        engine.send(FRAME.drop("email"), campaign, sandbox=True)
    with pytest.raises(CampaignError, match="no rows"):
        engine.send(FRAME.head(0), campaign, sandbox=True)
    with pytest.raises(CampaignError, match="there is no such campaign file"):
        engine.send(FRAME, campaign.with_name("other.toml"))


async def test_send_inside_trio_says_what_to_do() -> None:
    """The blocking call cannot work there."""
    with pytest.raises(RuntimeError, match=r"await asend"):
        engine.send(FRAME, "letter.toml")


async def test_asend_on_trio(campaign: Path) -> None:
    """It runs in the caller's own event loop."""
    report = await engine.asend(FRAME, campaign, sandbox=True)
    assert report.counts["accepted"] == 50


def test_asend_on_asyncio(campaign: Path) -> None:
    """It runs on trio in a thread, and the loop goes on meanwhile."""

    async def main() -> tuple[engine.Report, int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.01)

        ticking = asyncio.create_task(tick())
        report = await engine.asend(FRAME, campaign, sandbox=True)
        ticking.cancel()
        return report, ticks

    report, ticks = asyncio.run(main())
    assert report.counts["accepted"] == 50
    assert ticks > 1


def test_a_cancellation_on_asyncio_reaches_the_run(campaign: Path) -> None:
    """The call ends soon, and what was answered is in the results."""
    slow = ["limits.messages_per_second=10", "limits.batch_size=1"]

    async def main() -> None:
        await asyncio.wait_for(
            engine.asend(FRAME, campaign, sandbox=True, overrides=slow), timeout=1.5
        )

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    (results,) = (campaign.parent / "runs").glob("letter/*/results.parquet")
    counts = dict(pl.read_parquet(results)["status"].value_counts().iter_rows())
    assert sum(counts.values()) == 50
    assert counts["accepted"] > 0
    assert counts["pending"] > 0


async def test_a_cancellation_on_trio_keeps_what_was_answered(campaign: Path) -> None:
    """The caller's own nursery is cancelled: the results are written all the same."""
    slow = ["limits.messages_per_second=10", "limits.batch_size=1"]
    with trio.move_on_after(1.5) as scope:
        await engine.asend(FRAME, campaign, sandbox=True, overrides=slow)

    assert scope.cancelled_caught
    (results,) = (campaign.parent / "runs").glob("letter/*/results.parquet")
    counts = dict(pl.read_parquet(results)["status"].value_counts().iter_rows())
    assert sum(counts.values()) == 50
    assert counts["accepted"] > 0


@pytest.mark.parametrize(
    "shape",
    [
        "results",
        "messages",
        "data",
        "emails",
        "bare",
        "ids",
        "message_ids",
        "keyed",
        "indexed",
        "errors",
        "batch_id",
        "success",
        "accepted_empty",
    ],
)
def test_every_shape_of_a_batch_answer_is_understood(
    campaign: Path, shape: str
) -> None:
    """The document does not say how a batch is answered; all sane ways are read."""
    report = _faulty(campaign, shape=shape)
    assert report.counts["accepted"] == 50


@pytest.mark.parametrize("shape", ["short", "long"])
def test_an_answer_of_another_length_is_never_zipped(
    campaign: Path, shape: str
) -> None:
    """No row is given the id of another one."""
    report = _faulty(campaign, shape=shape)
    rows = report.results.collect()
    assert report.counts["accepted"] + report.counts["in_doubt"] == 50
    assert rows["provider_id"].drop_nulls().is_unique().all()
    assert (
        rows.filter(status="in_doubt")["provider_id"].null_count()
        == (report.counts["in_doubt"])
    )


def test_a_rehearsal_never_stands_in_the_way(campaign: Path) -> None:
    """A sandbox run is always a new one; a finished real one is refused."""
    for _ in range(2):
        assert engine.send(FRAME, campaign, sandbox=True).finished
    assert len(list((campaign.parent / "runs").glob("letter/rehearsal-*"))) == 2


async def test_a_finished_campaign_is_sent_once_more_only_if_asked(
    campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RunFinished, unless `again`."""
    monkeypatch.setenv("LETTER_TOKEN", "t")
    async with trio.open_nursery() as nursery:
        site = await nursery.start(serve)
        options: dict[str, Any] = {
            "base_url": site.base_url("cloudmails"),
            "overrides": ['provider.token={env="LETTER_TOKEN"}'],
        }
        await engine.asend(FRAME, campaign, **options)
        with pytest.raises(RunFinished, match="50 messages"):
            await engine.asend(FRAME, campaign, **options)
        again = await engine.asend(FRAME, campaign, **options, again=True)
        nursery.cancel_scope.cancel()
    assert again.counts["accepted"] == 50


def test_a_run_that_ends_before_its_first_request_is_removed(campaign: Path) -> None:
    """Stopped as it starts: nothing was sent, and nothing is left to be resumed."""
    job = NewRun(
        campaign=engine.load(campaign, needs_list=False), source=FRAME, sandbox=True
    )
    options = Options(processes=1, on_start=lambda run: run.stop.request())
    with pytest.raises(NothingSent, match="nothing was sent"):
        trio.run(perform, job, options)
    assert [*job.folder.glob("rehearsal-*")] == []


@contextmanager
def _interrupted_after(step: Callable[..., object]) -> Iterator[None]:
    """Raise KeyboardInterrupt as soon as a function has returned, before its caller."""
    code = inspect.unwrap(step).__code__

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is code:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize(
    "step",
    [rundir.create, planning.draw_up, NewRun.choose, Manifest.write, Run.__init__],
    ids=lambda step: step.__qualname__,
)
def test_an_interrupt_between_any_two_steps_leaves_no_run(
    campaign: Path, step: Callable[..., object]
) -> None:
    """Also where what was made is in nobody's hands yet."""
    with pytest.raises(KeyboardInterrupt), _interrupted_after(step):
        engine.send(FRAME, campaign, sandbox=True, processes=1)
    assert [*campaign.parent.glob("runs/letter/rehearsal-*")] == []


def test_an_interrupted_plan_leaves_no_folder(
    campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is removed though the one who made it never came to know of it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with pytest.raises(KeyboardInterrupt), _interrupted_after(rundir.Passing.make):
        engine.plan(FRAME, campaign)
    assert [*temporary.iterdir()] == []


def test_a_run_with_a_request_on_record_is_kept(campaign: Path) -> None:
    """Also where nobody was reached: what is on record may have been sent."""
    runs: list[Run] = []
    job = NewRun(
        campaign=engine.load(campaign, needs_list=False), source=FRAME, sandbox=True
    )
    options = Options(
        processes=1,
        on_start=runs.append,
        on_progress=lambda _: runs[0].stop.request(),
    )
    report = trio.run(perform, job, options)
    assert not report.finished
    assert report.directory.is_dir()


PLANNER = """
import time, engine
plan = engine.plan("list.csv", "letter.toml", sandbox=True)
print(plan.directory.path, flush=True)
time.sleep(60)
"""


def test_what_a_killed_plan_has_left_goes_with_the_next(
    campaign: Path, tmp_path: Path
) -> None:
    """It holds a list of people; that of a plan which lives still stays."""
    FRAME.write_csv(tmp_path / "list.csv")
    (temporary := tmp_path / "temporary").mkdir()

    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", PLANNER],
            cwd=campaign.parent,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        os.utime(folder, (0, 0))  # as old as if it had been there for long
        return process, folder

    killed, left = start()
    killed.kill()
    killed.communicate()
    living, kept = start()
    assert not left.exists()
    other, third = start()
    assert kept.is_dir()
    assert sorted(temporary.iterdir()) == sorted([kept, third])
    for process in (living, other):
        process.terminate()
        process.communicate()
