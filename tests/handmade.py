"""Runs made by hand: planned as always, with a journal that says what a test wants."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import trio

from engine import api, planning, results, rundir
from engine.journal import Journal
from engine.manifest import Manifest
from engine.outcome import Outcomes, Status
from engine.record import Attempt, RowOutcome
from engine.rundir import RunDirectory

CAMPAIGN = """\
name = "letter"
kind = "transactional"
[recipients]
source = "list.csv"
key = "id"
[message]
from = "Shop <shop@harbour.example>"
subject = "subject.txt.j2"
html = "body.html.j2"
[provider]
name = "cloudmails"
token = { env = "SHOP_KEY" }
"""
#: What a stroke makes of its rows; each is one batch, but for `skipped`.
STROKES = ("accepted", "rejected", "doubt", "intent", "retryable", "skipped")

Stroke = tuple[str, list[int]]


@dataclass(frozen=True)
class Handmade:
    """One run."""

    directory: RunDirectory
    manifest: Manifest

    def frozen(self) -> pl.DataFrame:
        """Return the snapshot."""
        return pl.read_parquet(self.directory.recipients)

    def results(self) -> pl.DataFrame:
        """Return the results."""
        return pl.read_parquet(self.directory.results)

    def statuses(self) -> list[str]:
        """Return what the results say of each row, in order."""
        return self.results()["status"].to_list()

    def post(self, row: int, event: str = "delivered", **changes: object) -> dict:
        """Make what a webhook posts of a row; `None` leaves a field out."""
        address, message_id = self.frozen().select("address", "message_id").row(row)
        whole: dict[str, object] = {
            "event": event,
            "message_id": f"msg_{row}",
            "timestamp": datetime.now(UTC).isoformat(),
            "recipient": address,
            "custom_args": {"message_id": message_id, "run": self.manifest.run},
        }
        whole |= changes
        return {name: value for name, value in whole.items() if value is not None}

    def events(self, *posts: object) -> Path:
        """Write a file of posts, a line each."""
        path = self.directory.path.parent.parent / "events.jsonl"
        path.write_text("".join(json.dumps(post) + "\n" for post in posts))
        return path

    def project(self) -> None:
        """Write the results, as a run does that ends."""
        with Journal.open(self.directory.journal) as journal:
            results.write(
                self.directory.results,
                self.directory.recipients,
                journal.batches(),
                journal.row_outcomes(),
                results.Header.of(self.manifest),
                findings=journal.findings(),
            )


def make(
    folder: Path,
    strokes: Iterable[Stroke],
    *,
    emails: Iterable[str] = tuple(f"reader{n}@inbox.example" for n in range(10)),
    finished: bool = True,
) -> Handmade:
    """Make a run and tell its journal what was sent.

    Args:
        folder: empty.
        strokes: of `STROKES`, each with its rows.
        emails: the list.
        finished: whether the run has ended, and so has its results.
    """
    (folder / "templates").mkdir()
    (folder / "templates" / "subject.txt.j2").write_text("Hello {{ id }}")
    (folder / "templates" / "body.html.j2").write_text("<p>{{ id }}</p>")
    lines = [f"k{n},{email}\n" for n, email in enumerate(emails)]
    (folder / "list.csv").write_text("id,email\n" + "".join(lines))
    (folder / "letter.toml").write_text(
        CAMPAIGN.replace('key = "id"', 'key = "id"\naddress = "email"')
    )
    campaign = api.load(folder / "letter.toml")
    runs = folder / "runs" / "letter"
    runs.mkdir(parents=True)
    directory = rundir.create(runs, rehearsal=False)
    plan = planning.draw_up(campaign, campaign.list(), directory)
    plan.manifest.write(directory)
    made = Handmade(directory, plan.manifest)
    trio.run(_tell, made, list(strokes), finished)
    if finished:
        made.project()
    return made


async def _tell(made: Handmade, strokes: list[Stroke], finished: bool) -> None:  # noqa: FBT001 - trio.run passes no keywords
    facts = {"manifest": made.manifest.sha256}
    with Journal.create(made.directory.journal, facts) as journal:
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            for place, (stroke, rows) in enumerate(strokes):
                await _strike(journal, f"{place:032x}", stroke, rows)
            if finished:
                await journal.note("finished_at", rundir.now())
            await journal.flush()
            nursery.cancel_scope.cancel()


async def _strike(journal: Journal, id_: str, stroke: str, rows: list[int]) -> None:
    now = datetime.now(UTC)
    attempt = Attempt(1, now, 0.1, "answered", 200, None)
    if stroke == "skipped":
        await journal.skip(
            [RowOutcome(row, Status.RENDER_FAILED, "x", None, now) for row in rows]
        )
        return
    await journal.intend(id_, rows, body_sha256=bytes(32), body_bytes=1)
    if stroke == "accepted":
        nothing: list[str | None] = [None] * len(rows)
        ids: list[str | None] = [f"msg_{row}" for row in rows]
        outcomes = Outcomes([Status.ACCEPTED] * len(rows), nothing, nothing, ids)
        await journal.settle(id_, outcomes, attempt)
    elif stroke == "rejected":
        refused = Outcomes.uniform(len(rows), Status.REJECTED, reason="refused")
        await journal.settle(id_, refused, attempt)
    elif stroke == "doubt":
        await journal.doubt(id_, Attempt(1, now, 0.1, "timeout", None, None))
    elif stroke == "retryable":
        await journal.release(id_, attempt)
    else:
        assert stroke == "intent"
