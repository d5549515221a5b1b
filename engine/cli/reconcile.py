"""`mailvolley reconcile`: end doubts by what the provider reports."""

import signal
from pathlib import Path
from typing import Any

import click
import trio

from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.lookup import LookedUp, Lookup
from engine.outcome import Status
from engine.reconcile import Contradiction, Reconciled, reconcile
from engine.rundir import RunDirectory


@click.command("reconcile", short_help="End doubts by what the provider reports.")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@click.option(
    "--events",
    type=options.FILE,
    metavar="FILE",
    help="What the provider posted: one post a line, or a JSON array of them.",
)
@click.option(
    "--lookup", is_flag=True, help="Ask the provider about each row in doubt, instead."
)
@click.option(
    "--requests-per-second",
    type=click.FloatRange(min=0, min_open=True, max=10_000),
    metavar="N",
    help="How fast to ask; else what the provider's documents allow.",
)
@click.option("--base-url", metavar="URL", help="In place of the provider's address.")
@options.as_json
def command(
    *,
    run: Path,
    events: Path | None,
    lookup: bool,
    requests_per_second: float | None,
    base_url: str | None,
    as_json: bool,
) -> ExitCode:
    """Settle the rows of a run that are in doubt, by what the provider tells.

    RUN is the run's directory, as `send` printed it. Rows of which nothing is told stay
    in doubt; no other row is changed.

    CloudMailin and MailerLogic can be asked, with the variables that `track` reads.
    """
    if (events is None) is not lookup:
        raise click.UsageError("name a file of events, --events FILE, or --lookup")
    if events is not None and (requests_per_second or base_url):
        raise click.UsageError("nobody is asked where there is a file")
    with exits.told(as_json=as_json):
        directory = RunDirectory(run)
        if events is not None:
            told = trio.run(reconcile, directory, events)
            code = _code(told)
            _show(told, run, events)
            facts = _facts(told, code)
        else:
            asking = Lookup(
                directory, base_url=base_url, requests_per_second=requests_per_second
            )
            code, facts = _look_up(asking, run)
        if as_json:
            output.data(facts)
        return code


def _code(told: Reconciled) -> ExitCode:
    return ExitCode.SOME_IN_DOUBT if told.counts[Status.IN_DOUBT] else ExitCode.DONE


def _look_up(asking: Lookup, run: Path) -> tuple[ExitCode, dict[str, Any]]:
    """Ask, tell a person what came of it, and return what `--json` prints."""
    rows, takes = output.count(asking.doubts, "row"), output.duration(asking.seconds)
    output.line("asking", f"about {rows}, {asking.base_url}: {takes} at least")
    told = trio.run(_run, asking)
    settled = told.reconciled
    code = ExitCode.SOME_IN_DOUBT if settled is None else _code(settled)
    if told.cause is not None or told.interrupted:
        code = ExitCode.ACCOUNT if told.account else ExitCode.STOPPED
    silent = told.asked - told.found - told.failed
    output.line("asked", f"{told.asked:,}: {told.found:,} found, {silent:,} not")
    if told.failed:
        failed = f"{told.failed:,} without an answer: {told.failure}"
        output.line("error", failed, colour="red")
    if told.cause is not None:
        output.line("stopped", str(told.cause), colour="red")
    hint = "" if told.cause is None else told.cause.hint
    if settled is not None:
        _show(settled, run, None)
    elif code is ExitCode.SOME_IN_DOUBT:
        output.line("settled", "nothing: silence proves nothing; ask again later")
    if code in (ExitCode.ACCOUNT, ExitCode.STOPPED):
        again = output.command("reconcile", output.shown(run), "--lookup")
        output.line("next", f"{hint}; then {again}" if hint else again)
    facts = {"run": run.name, "status": exits.WORDS.get(code, "reconciled")}
    facts |= {} if settled is None else _facts(settled, code)
    looked = {"asked": told.asked, "found": told.found, "failed": told.failed}
    end = facts | {"exit": int(code), "lookup": looked}
    if told.cause is not None:
        end["error"] = {"message": str(told.cause), "next": hint}
    return code, end


async def _run(asking: Lookup) -> LookedUp:
    """Ask; the first SIGINT or SIGTERM ends it, and what was found is settled."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, asking)
        told = await asking.run()
        nursery.cancel_scope.cancel()
    return told


async def _watch_signals(
    asking: Lookup, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            asking.stop()
            output.line("stopping", "what was found is settled")


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


def _show(told: Reconciled, run: Path, events: Path | None) -> None:
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
    of = () if events is None else ("--events", output.shown(events))
    steps = [output.command("verify", shown, *of)]
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
