"""What a person reads: on stderr, aligned, with the next command to type."""

import json
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.outcome import Status

if TYPE_CHECKING:  # both load polars, and `--help` is to be quick
    from engine.message import Messages
    from engine.planning import Plan
    from engine.report import Report

#: Columns of the labels.
MARGIN = 11
#: Labels of sentences, which may be folded.
FOLDED = frozenset(
    {"allowed", "error", "fails", "left out", "note", "stopped", "warning"}
)

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


def say(text: str = "", *, newline: bool = True, **style: Any) -> None:
    """Write to stderr; a run does not end because nobody can read it."""
    with suppress(OSError, ValueError):
        click.secho(text, err=True, nl=newline, **style)


def data(facts: object) -> None:
    """Print one JSON object on stdout; nothing ends because nobody reads it."""
    try:
        click.echo(json.dumps(facts))
    except (OSError, ValueError) as error:
        # What is left in the buffer must not fail once more when Python exits.
        with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        line("warning", f"stdout cannot be written: {error}", colour="yellow")


def line(label: str, text: str, *, colour: str | None = None) -> None:
    """Write a line with its label in the margin, folded to the terminal's width.

    Commands and addresses are not folded: they are there to be copied.
    """
    width = shutil.get_terminal_size().columns - MARGIN if _is_terminal() else 0
    folded = [text]
    if width > MARGIN and label in FOLDED:
        folded = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    for place, piece in enumerate(folded):
        margin = "" if place else f"{label} " if len(label) >= MARGIN else label
        say(f"{margin:<{MARGIN}}", newline=False, bold=True, fg=colour)
        say(piece)


def exported(file: Path) -> None:
    """Tell where something was written to, and what is peculiar about CSV."""
    from engine import export  # noqa: PLC0415 - loads polars; only where it is loaded

    line("file", shown(file))
    if file.suffix == ".csv":
        line("note", export.GUARDED)


def command(*words: object) -> str:
    """Return a command line that can be pasted as it is."""
    return f"{_program()} {shlex.join(map(str, words))}"


def _program() -> str:
    """Return how this program can be called from here."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m engine"
    found = shutil.which("mailvolley")
    if found and Path(found).resolve() == called.resolve():
        return "mailvolley"
    return shlex.quote(shown(called)) if called.name == "mailvolley" else "mailvolley"


def count(number: int, noun: str, plural: str = "s") -> str:
    """Say how many there are."""
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


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


def moment(when: datetime) -> str:
    """Say a moment, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def show_canary(messages: int, until: datetime) -> None:
    """Tell that a few went first, and until when the others wait."""
    told = f"{messages:,} went first; the others wait until {moment(until)}"
    line("canary", told)


def show_plan(plan: "Plan", *, begun: bool = False) -> None:
    """Tell what would be sent, to how many and how fast.

    Args:
        plan: the plan.
        begun: whether it is taken up: its canary may be over.
    """
    manifest = plan.manifest
    way = f"by {plan.provider.name}"
    if manifest.rehearsal:
        way += " in a sandbox: nothing is mailed"
    elif manifest.base_url:
        way += f", {manifest.base_url}"
    line("campaign", f"{manifest.campaign} ({plan.campaign.kind}), {way}")
    left_out = [
        f"{rows:,} {status}"
        for status, rows in plan.counts.items()
        if rows and status != "mailable"
    ]
    told = f"; left out: {', '.join(left_out)}" if left_out else ""
    rows = count(manifest.rows, "row")
    line("list", f"{rows}, {manifest.mailable:,} to be mailed{told}")
    if not manifest.mailable:
        line("warning", "nobody on this list is to be mailed", colour="yellow")
        show_findings(plan)
        return
    most = count(manifest.batch_size, "message")
    requests = f"{plan.requests:,} of up to {most}"
    if plan.seconds is None:
        line("requests", f"{requests}, as fast as the provider answers")
    else:
        line("requests", f"{requests}; {duration(plan.seconds)} at {plan.limits}")
    if (canary := plan.campaign.canary) is not None and not begun:
        first = canary.count(manifest.mailable)
        wait = f"the others {duration(canary.wait)} later"
        if manifest.rehearsal:
            wait = "the others at once, for a rehearsal does not wait"
        line("canary", f"{first:,} first, {wait}")
    for part, why in plan.renderer.uncut.items():
        line("note", f"the {part} is filled row by row, which takes longer: {why}")
    for warning in plan.warnings:
        line("warning", warning, colour="yellow")
    show_findings(plan)


def show_findings(plan: "Plan") -> None:
    """Tell what the rules found: rows left out, warnings, and errors allowed.

    Others refuse the plan, and are told as that.
    """
    labels = {"row": "left out", "warning": "warning", "error": "allowed"}
    allowed = plan.campaign.lint.allow
    for finding in plan.findings:
        if finding.severity == "error" and finding.id not in allowed:
            continue
        told = f"{finding}"
        if finding.severity == "warning":
            told += f"; {finding.fix}"
        colour = None if finding.severity == "row" else "yellow"
        line(labels[finding.severity], told, colour=colour)


def show_sample(plan: "Plan") -> bool:
    """Show the first messages as they would be sent; tell whether any could be."""
    variants = plan.variants
    if not variants:
        return _show_messages(*plan.sample())
    good = []
    for name, rows in variants.items():
        say()
        line("variant", f"{name}, {count(rows, 'row')}")
        good.append(_show_messages(*plan.sample(1, variant=name)))
    return all(good)


def _show_messages(messages: "Messages", failures: list[str]) -> bool:
    for place, address in enumerate(messages.addresses):
        say()
        line("to", address)
        line("subject", messages.subjects[place])
        bodies = messages.texts or messages.htmls
        if bodies is not None and place == 0:
            lines = bodies[0].strip().splitlines()
            for text in lines:
                line("", text)
    for failure in failures:
        line("fails", failure, colour="red")
    return bool(messages) or not failures


def show_counts(counts: dict[str, int]) -> None:
    """Show the outcomes: a line per status that occurs, and their sum."""
    total = sum(counts.values())
    width = max(len(f"{total:,}"), 5)
    say()
    for status in Status:
        if rows := counts.get(status, 0):
            say(f"  {status:<14}", newline=False, fg=COLOURS.get(status))
            say(f"{rows:>{width},}")
    say(f"  {'─' * (14 + width)}")
    say(f"  {'rows':<14}{total:>{width},}")
    say()


def show_left_out(left_out: dict[str, dict[str, int]]) -> None:
    """Show why rows were left out by the plan, a line per reason."""
    for status, reasons in left_out.items():
        for reason, rows in reasons.items():
            line("left out", f"{count(rows, 'row')}: {status}, {reason}")


def show_variants(variants: dict[str, dict[str, int]]) -> None:
    """Show what became of each variant, a line each: of results, or of events."""
    for name, counts in variants.items():
        told = ", ".join(f"{rows:,} {what}" for what, rows in counts.items())
        line("variant", f"{name}: {told}")


def show_report(report: "Report", *, next_steps: list[str]) -> None:
    """Tell how a run ended, where its results are, and what to type next."""
    show_counts(report.counts)
    show_variants(report.variants)
    if report.cause:
        line("stopped", report.cause, colour="red")
    if report.seconds:
        line(
            "took",
            f"{duration(report.seconds)}, {report.messages_per_second:,.0f} messages/s",
        )
        stages = (f"{name} {took:.1f}" for name, took in report.stages.items())
        line("stages", f"{' · '.join(stages)} s")
    if report.bound:
        line("bound by", report.bound)
    line("results", shown(report.path))
    for place, step in enumerate(next_steps):
        line("" if place else "next", step)


@contextmanager
def progress(
    total: int, what: str = "sending", *, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, where somebody is looking on.

    Args:
        total: where it ends.
        what: what is done.
        done: where it begins.
    """
    if not _is_terminal():
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
        TextColumn(f"{what:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=total, completed=done, rate="")

        def advance(messages: int) -> None:
            bar.advance(task, messages)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            if speed:
                bar.update(task, rate=f"{speed:,.0f}/s")

        yield advance
