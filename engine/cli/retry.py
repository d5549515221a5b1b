"""`mailvolley retry`: another try for the rows of a run that were refused or failed."""

from pathlib import Path

import click

from engine.cli import exits, machine, options
from engine.cli.exits import ExitCode
from engine.cli.options import Processes
from engine.outcome import InDoubt, Status
from engine.rundir import RunDirectory

#: What may be tried again: surely not accepted.
STATUSES = (Status.FAILED, Status.REJECTED, Status.RENDER_FAILED)


@click.command("retry")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@click.option(
    "--status",
    "statuses",
    type=options.Statuses(STATUSES),
    default=STATUSES,
    metavar="STATUS,…",
    help="Which rows: failed, rejected, render_failed; all three by default.",
)
@options.sending
def command(
    *,
    run: Path,
    statuses: tuple[Status, ...],
    out: Path | None,
    base_url: str | None,
    yes: bool,
    in_doubt: InDoubt,
    drain: float,
    processes: Processes,
    as_json: bool,
) -> ExitCode:
    """Try again for the rows of a finished run that were refused or failed.

    A new run for exactly those rows, with the templates as they are now. Whoever has
    been accepted since is left out.
    """
    with exits.told(as_json=as_json):
        job = machine.job.Retry(RunDirectory(run), statuses, out, base_url)
        how = machine.job.Options(in_doubt=in_doubt, drain=drain, processes=processes)
        return machine.sending.run(job, how, ask=not yes, as_json=as_json)
