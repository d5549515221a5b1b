"""Campaigns laid out in a folder, their plans, and runs made by hand.

A run is planned as always, and its journal says what a test wants.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import trio

from engine import api, planning, results, rundir
from engine.campaign import Campaign
from engine.journal import Journal
from engine.manifest import Manifest
from engine.outcome import Outcomes, Status
from engine.planning import Occasion, Plan
from engine.recipients import Source
from engine.record import Attempt, RowOutcome
from engine.rundir import RunDirectory

MESSAGE = 'subject = "subject.txt.j2"\nhtml = "body.html.j2"\n'
PROVIDER = 'name = "cloudmails"\n'
#: Values of the keys of `[provider]` that some providers need.
SETTINGS: dict[str, str | bool] = {
    "username": "user",
    "account_id": "a1",
    "email": "ops@harbour.example",
    "domain": "harbour.example",
    "stream_type": "broadcast",
    "format": "json",
    "priority": "standard",
    "test_mode": False,
    "markdown": False,
}
#: What a stroke makes of its rows; each is one batch, but for `skipped`.
STROKES = ("accepted", "rejected", "doubt", "intent", "retryable", "skipped")

Stroke = tuple[str, list[int]]


def campaign_file(
    name: str = "letter",
    *,
    source: str = "list.csv",
    message: str = MESSAGE,
    provider: str = PROVIDER,
    below: str = "",
) -> str:
    """Write a campaign file: a receipt to a list with the keys `id`.

    Args:
        name: its name.
        source: its list.
        message: what `[message]` says beside its sender, and what may follow that.
        provider: what `[provider]` says beside the token.
        below: what follows it all.
    """
    return f"""\
name = "{name}"
kind = "transactional"
[recipients]
source = "{source}"
key = "id"
[message]
from = "Shop <shop@harbour.example>"
{message}[provider]
{provider}token = {{ env = "SHOP_KEY" }}
{below}"""


def lay_out(
    folder: Path, file: str, templates: Mapping[str, str], people: Iterable[str]
) -> Path:
    """Lay out a campaign in an empty folder; returns its file.

    Args:
        folder: it has nothing of a campaign yet.
        file: what the file says.
        templates: their texts by name.
        people: the lines of the list, the names of its columns first.
    """
    (folder / "templates").mkdir()
    for name, text in templates.items():
        (folder / "templates" / name).write_text(text)
    (folder / "list.csv").write_text("".join(f"{line}\n" for line in people))
    (folder / "letter.toml").write_text(file)
    return folder / "letter.toml"


def draw_up(
    given: Campaign | Path,
    source: Source | None = None,
    *,
    limit: int | None = None,
    occasion: Occasion | None = None,
) -> Plan:
    """Plan a campaign in a run directory of its own, and let the run exist."""
    loaded = api.load(given) if isinstance(given, Path) else given
    folder = loaded.file.parent / "runs" / loaded.name
    folder.mkdir(parents=True, exist_ok=True)
    directory = rundir.create(folder, rehearsal=False)
    people = loaded.list() if source is None else source
    plan = planning.draw_up(loaded, people, directory, limit=limit, occasion=occasion)
    plan.manifest.write(directory)
    return plan


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
    starts: int = 1,
) -> Handmade:
    """Make a run and tell its journal what was sent.

    Args:
        folder: empty.
        strokes: of `STROKES`, each with its rows.
        emails: the list.
        finished: whether the run has ended, and so has its results.
        starts: how often it was begun or taken up.
    """
    texts = {"subject.txt.j2": "Hello {{ id }}", "body.html.j2": "<p>{{ id }}</p>"}
    people = [f"k{n},{email}" for n, email in enumerate(emails)]
    plan = draw_up(lay_out(folder, campaign_file(), texts, ["id,email", *people]))
    made = Handmade(plan.directory, plan.manifest)
    trio.run(_tell, made, list(strokes), finished, starts)
    if finished:
        made.project()
    return made


async def _tell(
    made: Handmade,
    strokes: list[Stroke],
    finished: bool,  # noqa: FBT001 - trio.run passes no keywords
    starts: int,
) -> None:
    facts = {"manifest": made.manifest.sha256}
    with Journal.create(made.directory.journal, facts) as journal:
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            if starts > 1:
                await journal.note("finished_at", "")
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
    await journal.intend(id_, rows, body_digest=bytes(32), body_bytes=1)
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
