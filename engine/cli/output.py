"""What a person reads: on stderr, aligned, with the next command to type."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from engine.outcome import Status
from engine.planning import Plan
from engine.report import Report

#: How each status is shown.
COLOURS = {
    Status.ACCEPTED: "green",
    Status.REJECTED: "red",
    Status.FAILED: "red",
    Status.RENDER_FAILED: "red",
    Status.IN_DOUBT: "yellow",
    Status.PENDING: "yellow",
}
MINUTE, HOUR = 60, 3600


def line(label: str, text: str, *, colour: str | None = None) -> None:
    """Write a line with its label in the margin."""
    click.secho(f"{label:<11}", bold=True, fg=colour, nl=False, err=True)
    click.echo(text, err=True)


def command(*words: object) -> str:
    """Return a command line that can be pasted."""
    return shlex.join(["mailvolley", *map(str, words)])


def shown(path: Path) -> str:
    """Return a path as short as it can be written from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def duration(seconds: float) -> str:
    """Say a duration as people do."""
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds // HOUR:.0f} h {seconds % HOUR / MINUTE:.0f} min"


def show_plan(plan: Plan) -> None:
    """Tell what would be sent, to how many and how fast."""
    manifest, limits = plan.manifest, plan.campaign.limits
    line(
        "campaign",
        f"{manifest.campaign} ({plan.campaign.kind}), by {plan.provider.name}",
    )
    left_out = [
        f"{rows:,} {status}"
        for status, rows in plan.counts.items()
        if rows and status != "mailable"
    ]
    told = f"; left out: {', '.join(left_out)}" if left_out else ""
    line("list", f"{manifest.rows:,} rows, {manifest.mailable:,} to be mailed{told}")
    rates = [
        f"{rate:g} {unit}/s"
        for rate, unit in (
            (limits.messages_per_second, "messages"),
            (limits.requests_per_second, "requests"),
        )
        if rate is not None
    ]
    requests = f"{plan.requests:,} of up to {manifest.batch_size:,} messages"
    if plan.seconds is None:
        line("requests", f"{requests}, as fast as the provider answers")
    else:
        pace = " and ".join(rates)
        line("requests", f"{requests}; {duration(plan.seconds)} at {pace}")
    for warning in plan.warnings:
        line("warning", warning, colour="yellow")


def show_sample(plan: Plan) -> None:
    """Show the first messages as they would be sent."""
    messages, failures = plan.sample()
    for place, address in enumerate(messages.addresses):
        click.echo(err=True)
        line("to", address)
        line("subject", messages.subjects[place])
        bodies = messages.texts or messages.htmls
        if bodies is not None and place == 0:
            lines = bodies[0].strip().splitlines()
            for text in lines:
                line("", text)
    for failure in failures:
        line("fails", failure, colour="red")


def show_counts(counts: dict[str, int]) -> None:
    """Show the outcomes: a line per status that occurs, and their sum."""
    total = sum(counts.values())
    width = max(len(f"{total:,}"), 5)
    click.echo(err=True)
    for status in Status:
        if rows := counts.get(status, 0):
            click.secho(f"  {status:<14}", fg=COLOURS.get(status), nl=False, err=True)
            click.echo(f"{rows:>{width},}", err=True)
    click.echo(f"  {'─' * (14 + width)}", err=True)
    click.echo(f"  {'rows':<14}{total:>{width},}", err=True)
    click.echo(err=True)


def show_report(report: Report, *, next_steps: list[str]) -> None:
    """Tell how a run ended, where its results are, and what to type next."""
    show_counts(report.counts)
    if report.cause:
        line("stopped", report.cause, colour="red")
    if report.seconds:
        line(
            "took",
            f"{duration(report.seconds)}, {report.messages_per_second:,.0f} messages/s",
        )
    line("results", shown(report.path))
    for place, step in enumerate(next_steps):
        line("" if place else "next", step)


@contextmanager
def progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, where somebody is looking on."""
    if not sys.stderr.isatty():
        yield lambda _messages: None
        return
    from rich.console import Console  # noqa: PLC0415 - slow; only with a terminal
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("sending  "),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("sending", total=total, rate="")

        def advance(messages: int) -> None:
            bar.advance(task, messages)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            if speed:
                bar.update(task, rate=f"{speed:,.0f}/s")

        yield advance
