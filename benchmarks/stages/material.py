"""What the stages work on: the benchmark's campaign, planned, and its parts."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from benchmarks.mail import SENDER
from benchmarks.measure import CAMPAIGN
from benchmarks.recipients import write_recipients
from engine import api, planning, snapshot
from engine.message import Messages
from engine.planning import Plan
from engine.rundir import RunDirectory

#: What has to be set for a provider to be planned for.
SETTINGS = {
    "cloudmails": (),
    "mailerlogic": (),
    "cloudmailin": ("provider.username=bench",),
    "cloudflare": ("provider.account_id=bench",),
}


def draw_plan(
    rows: int, folder: Path, provider: str = "cloudmails", settings: Sequence[str] = ()
) -> Plan:
    """Plan the campaign for a list of so many rows."""
    recipients = folder / "recipients.parquet"
    write_recipients(rows, recipients)
    overrides = [f"provider.name={provider}", *SETTINGS[provider], *settings]
    campaign = api.load(CAMPAIGN, overrides=overrides, needs_list=False)
    run = folder / f"run-{provider}"
    run.mkdir()
    return planning.draw_up(campaign, recipients, RunDirectory(run))


def read_chunks(plan: Plan, size: int = 1000) -> list[pl.DataFrame]:
    """Read the frozen list, as a run's reader does."""
    return list(snapshot.chunks(plan.directory.recipients, size))


def render(plan: Plan, chunks: Sequence[pl.DataFrame]) -> list[Messages]:
    """Render chunks, none of whose rows may fail."""
    rendered = [plan.renderer.render(chunk) for chunk in chunks]
    if any(each.failures for each in rendered):
        raise AssertionError("a row of the benchmark could not be rendered")
    return [each.messages for each in rendered]


def texts_of(messages: Messages) -> list[tuple[str, str, str]]:
    """Return subject, HTML and text of each message."""
    htmls, texts = messages.htmls, messages.texts
    if htmls is None or texts is None:
        raise AssertionError("a body is missing")
    return list(zip(messages.subjects, htmls, texts, strict=True))


def as_dict(to: str, subject: str, html: str, text: str) -> dict[str, str]:
    """Return a message as the senders by hand make it."""
    return {"from": SENDER, "to": to, "subject": subject, "html": html, "text": text}


def as_dicts(messages: Messages) -> list[dict[str, str]]:
    """Return messages as the senders by hand make them."""
    each = zip(messages.addresses, texts_of(messages), strict=True)
    return [as_dict(to, *texts) for to, texts in each]
