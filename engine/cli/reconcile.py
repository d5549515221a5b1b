"""`mailvolley reconcile`: end doubts by what the provider reports."""

from pathlib import Path
from typing import Any

import click
import trio

from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.outcome import Status
from engine.reconcile import Contradiction, Reconciled, reconcile
from engine.rundir import RunDirectory


@click.command("reconcile", short_help="End doubts by what the provider reports.")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@click.option(
    "--events",
    type=options.FILE,
    required=True,
    metavar="FILE",
    help="What the provider posted: one post a line, or a JSON array of them.",
)
@options.as_json
def command(*, run: Path, events: Path, as_json: bool) -> ExitCode:
    """Settle the rows of a run that are in doubt, by the provider's events.

    RUN is the run's directory, as `send` printed it. Rows of which the file tells
    nothing stay in doubt; no other row is changed.
    """
    with exits.told(as_json=as_json):
        told = trio.run(reconcile, RunDirectory(run), events)
        code = ExitCode.SOME_IN_DOUBT if told.counts[Status.IN_DOUBT] else ExitCode.DONE
        _show(told, run, events)
        if as_json:
            output.data(_facts(told, code))
        return code


def _facts(told: Reconciled, code: ExitCode) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "campaign": told.campaign,
        "run": told.run,
        "status": "reconciled",
        "exit": int(code),
        "events": told.events,
        "events_of_this_run": told.ours,
        "settled": {
            status.value: told.settled[status]
            for status in (Status.ACCEPTED, Status.REJECTED)
        },
        "by_address": told.by_address,
        "contradictions": {
            "count": told.contradictions,
            "examples": [_contradiction(example) for example in told.examples],
        },
        "counts": {status.value: count for status, count in told.counts.items()},
        "rows": sum(told.counts.values()),
        "results": str(told.results),
    }


def _contradiction(example: Contradiction) -> dict[str, Any]:
    event = example.event
    return {
        "row": example.row,
        "held": example.held,
        "event": event.raw,
        "message_id": event.message_id,
        "provider_id": event.provider_id,
        "recipient": event.recipient,
    }


def _show(told: Reconciled, run: Path, events: Path) -> None:
    """Tell a person what came of it, and what to type next."""
    output.line("events", f"{told.events:,}, {told.ours:,} of them of this run")
    settled = ", ".join(f"{count:,} {status}" for status, count in told.settled.items())
    output.line("settled", settled or "nothing")
    if told.by_address:
        alone = f"{told.by_address:,} of them known by their address alone"
        output.line("warning", alone, colour="yellow")
    if told.contradictions:
        output.line(
            "warning",
            f"{told.contradictions:,} contradict what we hold; nothing was changed "
            "for them",
            colour="yellow",
        )
        for example in told.examples:
            output.line("", _sentence(example))
    output.show_counts({s.value: count for s, count in told.counts.items()})
    output.line("results", output.shown(told.results))
    shown = output.shown(run)
    steps = [output.command("verify", shown, "--events", output.shown(events))]
    if told.counts[Status.PENDING]:
        steps.insert(0, output.command("resume", shown))
    elif told.counts[Status.IN_DOUBT]:
        look = output.command("status", shown)
        steps.insert(0, f"{look}   # who is still in doubt")
    for place, step in enumerate(steps):
        output.line("" if place else "next", step)


def _sentence(example: Contradiction) -> str:
    event = example.event
    who = event.recipient or event.message_id or "somebody"
    id_ = "" if event.provider_id is None else f" as {event.provider_id}"
    if example.row is None:
        return f"{event.raw}: {who}{id_}, who is not in this run"
    return f"{event.raw}: row {example.row} {who}{id_}, which we hold as {example.held}"
