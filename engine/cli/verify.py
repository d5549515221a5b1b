"""`mailvolley verify`: check what we promise of a run."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from engine import results
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.outcome import Status
from engine.rundir import RunDirectory
from engine.verify import Anomaly, Audited, Check, Verified, verify
from engine.verify.audit import Example

#: What `--json` calls each end.
WORDS = {
    ExitCode.DONE: "verified",
    ExitCode.STOPPED: "unfinished",
    ExitCode.SOME_IN_DOUBT: "in_doubt",
    ExitCode.BROKEN: "broken",
}


@click.command("verify", short_help="Check what we promise of a run.")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@click.option(
    "--events",
    type=options.FILE,
    metavar="FILE",
    help="Check it against what the provider posted: one post a line, or a JSON array.",
)
@click.option(
    "--complete",
    is_flag=True,
    help="FILE has all events of the run: accepted rows without any are lost.",
)
@options.as_json
def command(
    *, run: Path, events: Path | None, complete: bool, as_json: bool
) -> ExitCode:
    """Check a run against itself and against the provider's events; change nothing.

    RUN is the run's directory, as `send` printed it. Exits 0 if all is well, 70 if a
    promise is broken, 4 if rows are in doubt, 3 if the run is not finished.
    """
    if complete and events is None:
        raise click.UsageError("--complete is said of a file: add --events FILE")
    with exits.told(as_json=as_json):
        verified = verify(RunDirectory(run), events, complete=complete)
        code = _code(verified)
        _show(verified, run, events)
        if as_json:
            output.data(_facts(verified, code))
        return code


def _code(verified: Verified) -> ExitCode:
    counts = verified.counts
    if verified.broken:
        return ExitCode.BROKEN
    if counts[Status.PENDING] or verified.outdated:
        return ExitCode.STOPPED
    return ExitCode.SOME_IN_DOUBT if counts[Status.IN_DOUBT] else ExitCode.DONE


def _facts(verified: Verified, code: ExitCode) -> dict[str, Any]:
    """Return what `--json` prints."""
    audit = verified.audit
    return {
        "campaign": verified.campaign,
        "run": verified.run,
        "status": WORDS[code],
        "exit": int(code),
        "checks": [{**asdict(c), "holds": c.holds} for c in verified.checks],
        "counts": {s.value: count for s, count in verified.counts.items()},
        "rows": sum(verified.counts.values()),
        "outdated": verified.outdated,
        "audit": None if audit is None else asdict(audit),
    }


def _show(verified: Verified, run: Path, events: Path | None) -> None:
    """Tell a person what was found, and what to type next."""
    for check in verified.checks:
        _show_check(check)
    if verified.outdated:
        output.line(
            "outdated",
            f"{verified.outdated:,} rows of the results: the journal knows more",
            colour="yellow",
        )
    if verified.audit is not None:
        _show_audit(verified.audit)
    elif events is not None:
        output.line(
            "events", "not looked at: our own records do not hold", colour="red"
        )
    if verified.counts:
        output.show_counts({s.value: n for s, n in verified.counts.items()})
    for place, step in enumerate(_next_steps(verified, run, events)):
        output.line("" if place else "next", step)


def _show_check(check: Check) -> None:
    if check.skipped:
        output.line(check.name, f"not looked at: {check.told}", colour="yellow")
        return
    told = f": {check.told}" if check.told else ""
    if check.holds:
        output.line(check.name, f"holds{told}", colour="green")
        return
    output.line(check.name, f"does not hold{told}", colour="red")
    for sentence in check.examples:
        output.line("", sentence)
    if check.wrong > len(check.examples):
        output.line("", f"… and {check.wrong - len(check.examples):,} more")


def _show_audit(audit: Audited) -> None:
    told = f"{audit.events:,}, {audit.ours:,} of them of this run"
    output.line("events", told + (", said to be all" if audit.complete else ""))
    if audit.lost is None:
        output.line("lost", "not known: only a --complete file can tell")
    else:
        _show_anomaly("lost", audit.lost, colour="red")
    _show_anomaly("duplicated", audit.duplicated, colour="red")
    _show_anomaly("unexpected", audit.unexpected, colour="red")
    _show_anomaly("recovered", audit.recovered, colour="green")


def _show_anomaly(name: str, anomaly: Anomaly, *, colour: str) -> None:
    output.line(name, f"{anomaly.count:,}", colour=colour if anomaly.count else None)
    for example in anomaly.examples:
        output.line("", _sentence(example))
    if anomaly.count > len(anomaly.examples):
        output.line("", f"… and {anomaly.count - len(anomaly.examples):,} more")


def _sentence(example: Example) -> str:
    who = example.address or example.message_id or "somebody"
    told = f": {example.told}" if example.told else ""
    if example.row is None:
        return f"{who}, who is not in this run{told}"
    return f"row {example.row}  {who}, held {example.held}{told}"


def _mend(verified: Verified, run: Path) -> str:
    """Say what to do about a broken promise."""
    if verified.repairable and not (verified.audit and verified.audit.broken):
        return results.anew(run)
    return "restore from a backup what was changed; if nothing was, please report this"


def _next_steps(verified: Verified, run: Path, events: Path | None) -> list[str]:
    shown = output.shown(run)
    counts, audit = verified.counts, verified.audit
    file = "FILE" if events is None else output.shown(events)
    reconcile = output.command("reconcile", shown, "--events", file)
    if verified.broken:
        return [_mend(verified, run)]
    if counts[Status.PENDING]:
        return [output.command("resume", shown)]
    if verified.outdated:
        return [f"{reconcile}   # writes the results again"]
    if not counts[Status.IN_DOUBT]:
        return []
    if audit is not None and audit.unheard and not audit.recovered.count:
        again = output.command("resume", shown, "--in-doubt", "resend")
        return [f"{again}   # the provider has nothing of them"]
    return [f"{reconcile}   # what the provider posted ends the doubt"]
