"""`mailvolley status`: what became of a run, or of all runs of a campaign."""

import json
from pathlib import Path
from typing import Any

import click
import polars as pl

from engine import rundir
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.errors import RunError, RunLocked
from engine.job import finished_at
from engine.manifest import Manifest
from engine.outcome import Status
from engine.rundir import RunDirectory

#: Rows shown per status and reason.
EXAMPLES = 3
#: What a person looks for in a run that has ended.
TROUBLE = (Status.REJECTED, Status.FAILED, Status.RENDER_FAILED, Status.IN_DOUBT)


@click.command("status", short_help="Show what became of a run.")
@click.argument("run", type=options.FOLDER, default=Path("runs"), metavar="[RUN]")
@options.as_json
def command(*, run: Path, as_json: bool) -> ExitCode:
    """Show what became of a run: how many of each outcome, and why.

    RUN is a run's directory, or a folder of runs (runs/ by default), which lists them.
    """
    with exits.told(as_json=as_json):
        directory = RunDirectory(run)
        facts = [_facts(each) for each in _runs(run)]
        if as_json:
            click.echo(json.dumps(facts[0] if directory.exists() else facts))
        elif directory.exists():
            _show(directory, facts[0])
        else:
            for fact in facts:
                _list(fact)
        return ExitCode.DONE


def _runs(path: Path) -> list[RunDirectory]:
    """Return the run at a path, or all runs below it."""
    if RunDirectory(path).exists():
        return [RunDirectory(path)]
    found = [path.parent for path in sorted(path.glob("**/manifest.json"))]
    if not found:
        raise RunError(
            f"{path}: there is no run here",
            hint="name a run's directory, as `mailvolley send` printed it",
        )
    return [RunDirectory(path) for path in found]


def _facts(directory: RunDirectory) -> dict[str, Any]:
    """Gather what is known of a run."""
    manifest = Manifest.read(directory)
    facts: dict[str, Any] = {
        "campaign": manifest.campaign,
        "run": manifest.run,
        "directory": str(directory.path),
        "created_at": manifest.created_at,
        "rows": manifest.rows,
    }
    try:
        with rundir.owned(directory.path.parent):
            state = "finished" if finished_at(directory) else "unfinished"
    except RunLocked:
        # Another run of the campaign may be the one; this one's progress tells.
        state = "campaign in use"
        if directory.progress.exists():
            facts["progress"] = json.loads(directory.progress.read_bytes())
    facts["status"] = state
    if directory.results.exists():
        facts["counts"] = _counts(directory)
        facts["results"] = str(directory.results)
    return facts


def _counts(directory: RunDirectory) -> dict[str, int]:
    rows = pl.scan_parquet(directory.results).group_by("status").len().collect()
    counted = dict(rows.iter_rows())
    return {status.value: counted.get(status, 0) for status in Status}


def _list(facts: dict[str, Any]) -> None:
    counts = facts.get("counts", {})
    told = ", ".join(f"{rows:,} {status}" for status, rows in counts.items() if rows)
    run = output.shown(Path(facts["directory"]))
    output.line(facts["status"], f"{run}   {told or 'nothing settled'}")


def _show(directory: RunDirectory, facts: dict[str, Any]) -> None:
    output.line("campaign", facts["campaign"])
    output.line("run", f"{facts['run']}, {facts['status']}")
    if progress := facts.get("progress"):
        output.line(
            "progress", f"{progress['settled']:,} of {progress['mailable']:,} settled"
        )
    if "counts" not in facts:
        output.line("results", "none yet")
    else:
        output.show_counts(facts["counts"])
        _show_trouble(directory)
        output.line("results", output.shown(directory.results))
    if facts["status"] == "unfinished":
        run = output.shown(directory.path)
        output.line("next", output.command("resume", run))


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
        click.echo(err=True)
