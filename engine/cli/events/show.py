"""`mailvolley events show`: what became of the messages of a run."""

import json
from pathlib import Path

import click
import polars as pl

from engine import export
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.manifest import Manifest
from engine.report import deliveries, reported
from engine.rundir import RunDirectory


@click.command("show")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@click.option(
    "--out",
    type=options.FILE,
    metavar="FILE",
    help="Write the results with the last event of each row: .parquet, .csv, .ndjson.",
)
@options.as_json
def command(*, run: Path, out: Path | None, as_json: bool) -> ExitCode:
    """Show the last event of each row of a run, counted.

    Where a campaign has variants: for each of them how many rows were accepted, and of
    how many an event was reported, each once.
    """
    with exits.told(as_json=as_json):
        directory = RunDirectory(run)
        manifest = Manifest.read(directory)
        rows = deliveries(directory)
        if out is not None:
            export.write(rows, out)
        counted = (
            rows.group_by(pl.col("event").fill_null("nothing reported"))
            .agg(pl.len(), pl.col("reject_reason").drop_nulls().n_unique())
            .sort("len", descending=True)
            .collect()
        )
        counts = dict(counted.select("event", "len").iter_rows())
        for event, number in counts.items():
            output.line(event, f"{number:,}")
        variants = reported(directory)
        output.show_variants(variants)
        output.line("events", output.shown(directory.events))
        if out is not None:
            output.exported(out)
        if as_json:
            facts: dict[str, object] = {
                "campaign": manifest.campaign,
                "run": manifest.run,
            }
            facts |= {"deliveries": counts, "variants": variants}
            facts |= {"events": str(directory.events)}
            click.echo(json.dumps(facts))
    return ExitCode.DONE
