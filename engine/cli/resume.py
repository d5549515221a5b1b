"""`mailvolley resume`: finish a run exactly as it was planned."""

from pathlib import Path

import click

from engine.cli import exits, machine, options
from engine.cli.exits import ExitCode
from engine.cli.options import Processes
from engine.outcome import InDoubt
from engine.rundir import RunDirectory


@click.command("resume")
@click.argument("run", type=options.FOLDER, metavar="RUN")
@options.max_recipients
@options.sending
def command(
    *,
    run: Path,
    max_recipients: int | None,
    out: Path | None,
    base_url: str | None,
    yes: bool,
    in_doubt: InDoubt,
    drain: float,
    processes: Processes,
    as_json: bool,
) -> ExitCode:
    """Finish a run exactly as it was planned: same list, templates and batches.

    RUN is the run's directory, as `send` printed it. What was accepted is never sent
    again. What a crash left in doubt stays so, unless --in-doubt says otherwise.
    """
    with exits.told(as_json=as_json):
        job = machine.job.OldRun(
            RunDirectory(run), out, base_url, in_doubt, max_recipients
        )
        how = machine.job.Options(in_doubt=in_doubt, drain=drain, processes=processes)
        return machine.sending.run(job, how, ask=not yes, as_json=as_json)
