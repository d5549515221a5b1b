"""`mailvolley track`: ask the provider what became of a run's messages."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import trio

from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.rundir import RunDirectory
from engine.track import FRESH, RATE, WORKERS, Options, Track, Tracked

#: What `--json` calls each end.
WORDS = {
    ExitCode.DONE: "tracked",
    ExitCode.SOME_FAILED: "tracked",
    ExitCode.STOPPED: "stopped",
    ExitCode.ACCOUNT: "account",
}


@click.command("track", short_help="Ask the provider what became of a run's messages.")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@click.option(
    "--requests-per-second",
    type=click.FloatRange(min=0, min_open=True, max=10_000),
    metavar="N",
    help=f"How fast to ask; else what the provider's documents allow, or {RATE:g}.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 100),
    default=WORKERS,
    show_default=True,
    metavar="N",
    help="Questions under way at once.",
)
@click.option(
    "--opens",
    is_flag=True,
    help="Ask about messages that have arrived, too: for opens and clicks.",
)
@click.option(
    "--fresh",
    type=click.FloatRange(min=0, max=60 * 24 * 365),
    default=FRESH,
    show_default=True,
    metavar="MINUTES",
    help="Do not ask again about what was answered so shortly ago.",
)
@click.option("--base-url", metavar="URL", help="In place of the provider's address.")
@options.as_json
def command(*, run: Path, as_json: bool, **how: Any) -> ExitCode:
    """Ask the provider what became of each message of a run, and keep what it tells.

    RUN is the run's directory, as `send` printed it. What is told becomes events, kept
    once beside the runs and laid out in events.parquet beside the results; hard bounces
    enter the suppressions. Stopped or killed, it goes on when it is started again.

    CloudMailin is asked with its API token: set CLOUDMAILIN_API_TOKEN and
    CLOUDMAILIN_ACCOUNT_ID. MailerLogic's Events API may have a token of its own: set
    MAILERLOGIC_EVENTS_TOKEN. Cloudflare cannot be asked.
    """
    with exits.told(as_json=as_json):
        track = Track(RunDirectory(run), Options(**how))
        _show_due(track)
        told = trio.run(_run, track, as_json)
        code = _code(told)
        _show(told, code, again=_again(run, how))
        if as_json:
            click.echo(json.dumps(_facts(told, code)))
        return code


async def _run(track: Track, quiet: bool) -> Tracked:  # noqa: FBT001 - trio.run passes no keywords
    """Ask; the first SIGINT or SIGTERM ends it, and what was answered is kept."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, track)
        with _progress(0 if quiet else len(track.due)) as advance:
            told = await track.run(advance)
        nursery.cancel_scope.cancel()
    return told


async def _watch_signals(
    track: Track, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            track.stop()
            output.line("stopping", "what was answered is kept")


def _code(told: Tracked) -> ExitCode:
    if told.account:
        return ExitCode.ACCOUNT
    if told.interrupted or told.cause is not None:
        return ExitCode.STOPPED
    if told.failed or (told.unknown and not told.answered):
        return ExitCode.SOME_FAILED
    return ExitCode.DONE


def _facts(told: Tracked, code: ExitCode) -> dict[str, Any]:
    """Return what `--json` prints."""
    facts: dict[str, Any] = {
        "campaign": told.campaign,
        "run": told.run,
        "status": WORDS[code],
        "exit": int(code),
        "due": told.due,
        "left_out": {
            "settled": told.settled,
            "fresh": told.fresh,
            "without_id": told.nameless,
        },
        "asked": told.asked,
        "answered": told.answered,
        "unknown": told.unknown,
        "failed": told.failed,
        "events": {"told": told.taken.events, "new": told.taken.new},
        "by_type": told.types,
        "suppressed": told.taken.suppressed,
        "open": told.open,
        "file": str(told.events),
    }
    if told.cause is not None:
        facts["error"] = {"message": str(told.cause), "next": told.cause.hint}
    return facts


def _show_due(track: Track) -> None:
    """Tell what is asked about, how fast, and what is left out."""
    due = track.due
    pace = f"{track.rate:g} requests/s" if track.rate >= 1 else _by_minute(track.rate)
    takes = output.duration(track.seconds)
    messages = output.count(len(due), "message")
    output.line("asking", f"{messages}, {track.base_url}, {pace}: {takes} at least")
    for number, why in (
        (due.settled, "nothing more is to come of them"),
        (due.fresh, "answered a short while ago (--fresh)"),
        (due.nameless, "the provider gave them no id"),
    ):
        if number:
            output.line("left out", f"{number:,}: {why}")


def _by_minute(rate: float) -> str:
    return f"{rate * 60:g} requests/min"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, where somebody is looking on."""
    if not total or not sys.stderr.isatty():
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
        TextColumn("asking   "),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        task = bar.add_task("asking", total=total)
        yield lambda messages: bar.advance(task, messages)


def _again(run: Path, how: Mapping[str, Any]) -> str:
    """Return the command line that asks again in the same way."""
    words = ["track", output.shown(run)]
    for name in ("base_url", "requests_per_second", "opens"):
        if value := how[name]:
            words.append(f"--{name.replace('_', '-')}")
            words += (
                [] if value is True else [f"{value:g}" if name[0] == "r" else value]
            )
    return output.command(*words)


def _show(told: Tracked, code: ExitCode, *, again: str) -> None:
    """Tell a person what came of it, and what to type next."""
    if told.asked:
        _show_counts(told)
    if told.failure:
        output.line("error", told.failure, colour="red")
    if told.unknown and told.cause is None:
        text = f"{told.unknown:,} messages are not known to the provider (any more)"
        output.line("warning", text, colour="yellow")
    steps = _next_steps(told, code, again)
    if told.cause is not None:
        output.line("stopped", str(told.cause), colour="red")
        if told.cause.hint:
            steps.insert(0, told.cause.hint)
    output.line("events", output.shown(told.events))
    for place, step in enumerate(steps):
        output.line("" if place else "next", step)


def _show_counts(told: Tracked) -> None:
    output.say()
    for label, number, colour in (
        ("asked", told.asked, None),
        ("  answered", told.answered, "green"),
        ("  unknown", told.unknown, "yellow"),
        ("  no answer", told.failed, "red"),
        ("new events", told.taken.new, None),
        *((f"  {kind}", number, None) for kind, number in told.types.items()),
        ("suppressed", told.taken.suppressed, None),
        ("still open", told.open, None),
    ):
        output.say(f"  {label:<16}", newline=False, fg=colour if number else None)
        output.say(f"{number:>9,}")
    output.say()


def _next_steps(told: Tracked, code: ExitCode, again: str) -> list[str]:
    if code is not ExitCode.DONE:
        return [f"{again}   # goes on where it stopped"]
    show = output.command("events", "show", output.shown(told.events.parent))
    steps = [f"{show}   # what became of each row"]
    if told.open:
        steps.append(f"{again}   # later: of {told.open:,} there is more to come")
    return steps
