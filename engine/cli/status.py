"""`mailvolley status`: what became of a run, or of all runs of a campaign."""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import polars as pl

from engine import history, results, rundir
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.errors import JournalError, RunError, RunLocked
from engine.journal import Journal
from engine.manifest import Manifest
from engine.outcome import TROUBLE, Status
from engine.overtaken import OVERTAKEN_BY
from engine.record import BatchState
from engine.rundir import RunDirectory

#: Rows shown per status and reason.
EXAMPLES = 3


@click.command("status")
@click.argument("run", type=options.FOLDER, default=Path("runs"), metavar="[RUN]")
@options.as_json
def command(*, run: Path, as_json: bool) -> ExitCode:
    """Show what became of a run: how many of each outcome, and why.

    RUN is a run's directory, or a folder of runs (runs/ by default), which lists them.
    """
    with exits.told(as_json=as_json):
        directory = RunDirectory(run)
        runs = [_facts(each) for each in _runs(run)]
        if as_json:
            told = runs[0] if directory.exists() else {"runs": runs}
            output.data(told)
        elif directory.exists():
            _show(directory, runs[0])
        else:
            for facts in runs:
                _list(facts)
        return ExitCode.DONE


def _runs(path: Path) -> list[RunDirectory]:
    """Return the run at a path, or all runs below it, the oldest first."""
    if RunDirectory(path).exists():
        return [RunDirectory(path)]
    folders = {file.parent.parent for file in path.glob("**/manifest.json")}
    found = [run for folder in sorted(folders) for run in rundir.find(folder)[::-1]]
    if not found:
        raise RunError(
            f"{path}: there is no run here",
            hint="name a run's directory, as `mailvolley send` printed it",
        )
    return found


def _facts(directory: RunDirectory) -> dict[str, Any]:
    """Gather what is known of a run, whatever state it is in."""
    facts: dict[str, Any] = {"run": directory.run, "directory": str(directory.path)}
    try:
        manifest = Manifest.read(directory)
    except RunError as error:
        return {**facts, "status": "unreadable", "error": str(error)}
    facts |= {
        "campaign": manifest.campaign,
        "created_at": manifest.created_at,
        "rows": manifest.rows,
        "mailable": manifest.mailable,
        "rehearsal": manifest.rehearsal,
    }
    try:
        with rundir.looked_at(directory):
            facts |= _settled(directory, manifest)
            if facts["status"] == "unfinished" and not manifest.rehearsal:
                facts |= _overtaken(directory, manifest)
    except RunLocked:
        # Perhaps by another run of the campaign: the progress tells of this one.
        facts["status"] = "in use"
        with suppress(OSError, ValueError):  # a power cut may have emptied it
            facts["progress"] = json.loads(directory.progress.read_bytes())
    except (JournalError, RunError) as error:
        facts |= {"status": "unreadable", "error": str(error)}
    return facts


def _settled(directory: RunDirectory, manifest: Manifest) -> dict[str, Any]:
    """Tell what became of a run that nobody is sending."""
    with history.opened(directory, manifest, only_look=True) as journal:
        if journal is None:
            return {"status": "unfinished", "counts": _with_plan({}, manifest)}
        finished = journal.fact("finished_at")
        overtaken_by = journal.fact(OVERTAKEN_BY)
        counts = _counted(journal)
    facts: dict[str, Any] = {
        "status": "finished" if finished else "unfinished",
        "finished_at": finished,
        "counts": _with_plan(counts, manifest),
    }
    if overtaken_by:
        facts["overtaken_by"] = overtaken_by
    if directory.results.exists():
        facts["results"] = str(directory.results)
        with suppress(pl.exceptions.PolarsError, OSError):  # damaged: told by `_show`
            facts["left_out"] = results.left_out(directory.results)
            facts["variants"] = results.by_variant(directory.results)
    elif finished:
        told = f"{output.shown(directory.results)}: is gone"
        facts |= {"error": told, "next": results.anew(directory.path)}
    return facts


def _overtaken(directory: RunDirectory, manifest: Manifest) -> dict[str, Any]:
    """Tell whether an unfinished run cannot be taken up, and how it goes on.

    That is so once another run has written to those who wait in it.
    """
    reached = history.reached((directory, manifest), only_look=True)
    if not reached.height:
        return {}
    folder = directory.path.parent
    (later,) = [run for run in rundir.find(folder) if run.run == reached["run"][0]]
    finished = history.finished_at(later, Manifest.read(later), only_look=True)
    send = output.command("send", output.shown(Path(manifest.file)))
    return {
        "status": "overtaken",
        "overtaken_by": later.run,
        "reached": reached.height,
        "next": f"{send} --new-run   # to those whom no run has reached"
        if finished
        else output.command("resume", output.shown(later.path)),
    }


def _counted(journal: Journal) -> Counter[str]:
    """Count the rows that have an outcome, or are in doubt, by what is known of them.

    A finding counts as long as the row's batch leaves it in doubt, as in the results.
    """
    counts = Counter({s.value: n for s, n in journal.counts().items()})
    found = {finding.row: finding.status for finding in journal.findings()}
    for batch in journal.batches():
        is_open = batch.state in (BatchState.INTENT, BatchState.IN_DOUBT)
        if is_open:
            counts[Status.IN_DOUBT.value] += len(batch.rows)
        if found.keys().isdisjoint(batch.rows):
            continue
        for place, row in enumerate(batch.rows):
            told = None if batch.outcomes is None else batch.outcomes.statuses[place]
            if row in found and (is_open or told is Status.IN_DOUBT):
                counts[found[row].value] += 1
                counts[Status.IN_DOUBT.value] -= 1
    return counts


def _with_plan(counts: Mapping[str, int], manifest: Manifest) -> dict[str, int]:
    """Add the rows that were left out by the plan, and those that still wait."""
    settled = sum(counts.values())
    planned = {k: n for k, n in manifest.planned.items() if k != "mailable"}
    told = {s.value: counts.get(s, 0) + planned.get(s, 0) for s in Status}
    return {**told, Status.PENDING.value: manifest.mailable - settled}


def _list(facts: dict[str, Any]) -> None:
    counts = facts.get("counts", {})
    told = ", ".join(f"{rows:,} {status}" for status, rows in counts.items() if rows)
    if progress := facts.get("progress"):
        told = f"{progress['settled']:,} of {progress['mailable']:,} settled"
        if canary := progress.get("canary"):
            until = datetime.fromisoformat(canary["until"])
            told += f"; the canary is out until {output.moment(until)}"
    run = output.shown(Path(facts["directory"]))
    output.line(facts["status"], f"{run}   {facts.get('error', told)}")


def _show(directory: RunDirectory, facts: dict[str, Any]) -> None:
    output.line("run", f"{output.shown(directory.path)}, {facts['status']}")
    if error := facts.get("error"):
        output.line("error", error, colour="red")
    if later := facts.get("overtaken_by"):
        told = f"the run {later} took the place of this one"
        if reached := facts.get("reached"):
            told = f"the run {later} has written to {reached:,} of those who wait here"
        output.line("overtaken", told, colour="yellow")
    if progress := facts.get("progress"):
        _show_progress(progress)
    if counts := facts.get("counts"):
        output.show_counts(counts)
    output.show_left_out(facts.get("left_out", {}))
    output.show_variants(facts.get("variants", {}))
    if "results" in facts:
        try:
            _show_trouble(directory)
        except (pl.exceptions.PolarsError, OSError):
            error = results.damaged(directory.results)
            output.line("error", str(error), colour="red")
            output.line("next", error.hint)
            return
        output.line("results", output.shown(directory.results))
    if facts["status"] == "unfinished" and not facts["rehearsal"]:
        run = output.shown(directory.path)
        output.line("next", output.command("resume", run))
    if step := facts.get("next"):
        output.line("next", step)


def _show_progress(progress: dict[str, Any]) -> None:
    """Show how far a run is that somebody is sending."""
    settled, mailable = progress["settled"], progress["mailable"]
    output.line("progress", f"{settled:,} of {mailable:,} settled")
    if canary := progress.get("canary"):
        until = datetime.fromisoformat(canary["until"])
        output.show_canary(canary["messages"], until)


def _show_trouble(directory: RunDirectory) -> None:
    """Show the reasons why rows were not accepted, with some of the rows."""
    reasons = (
        pl.scan_parquet(directory.results)
        .filter(pl.col("status").is_in([s.value for s in TROUBLE]))
        .group_by("status", "reason")
        .agg(
            pl.len().alias("rows"),
            pl.col("detail").drop_nulls().first(),
            pl.col("row").head(EXAMPLES),
            pl.col("address").head(EXAMPLES),
        )
        .sort("status", "reason")
        .collect()
    )
    for status, reason, rows, detail, places, addresses in reasons.iter_rows():
        colour = output.COLOURS.get(Status(status))
        output.line(status, f"{rows:,}  {reason or ''}: {detail or ''}", colour=colour)
        examples = zip(places, addresses, strict=True)
        for place, address in examples:
            output.line("", f"row {place}  {address}")
        if rows > len(places):
            output.line("", "…")
    if reasons.height:
        output.say()
