"""`mailvolley export`: the results of a run as a file, all of them or some."""

from pathlib import Path

import click
import polars as pl

from engine import export, history, results
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.manifest import Manifest
from engine.outcome import Status
from engine.rundir import RunDirectory


@click.command("export")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@click.option(
    "--out",
    type=options.FILE,
    required=True,
    metavar="FILE",
    help="The file to write: .csv, .parquet, .ndjson.",
)
@click.option(
    "--status",
    "statuses",
    type=options.Statuses(tuple(Status)),
    default=tuple(Status),
    metavar="STATUS,…",
    help="Only rows that ended so, as in rejected,failed.",
)
@options.as_json
def command(
    *, run: Path, out: Path, statuses: tuple[Status, ...], as_json: bool
) -> ExitCode:
    """Write the results of a run to a file: for a spreadsheet, or another program.

    A row each, with the columns of results.parquet, in input order. What became of the
    messages later is written by `mailvolley events show RUN --out FILE`.
    """
    with exits.told(as_json=as_json):
        directory = RunDirectory(run)
        manifest = Manifest.read(directory)
        history.expect_results(directory)
        history.expect_current(directory, manifest)
        wanted = pl.scan_parquet(directory.results).filter(
            pl.col("status").is_in([status.value for status in statuses])
        )
        files = (directory.results, directory.recipients, directory.journal)
        try:
            rows = wanted.select(pl.len()).collect().item()
            export.write(wanted, out, never=files)
        except pl.exceptions.PolarsError as error:
            raise results.damaged(directory.results) from error
        output.line("rows", f"{rows:,}")
        output.exported(out)
        if as_json:
            facts = {"campaign": manifest.campaign, "run": manifest.run, "rows": rows}
            end = {"status": "exported", "exit": int(ExitCode.DONE)}
            output.data({**end, **facts, "file": str(out)})
    return ExitCode.DONE
