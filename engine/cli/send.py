"""`mailvolley send`: send a campaign, or continue its unfinished run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import exits, machine, options
from engine.cli.exits import ExitCode
from engine.cli.options import Processes
from engine.cli.plan import show
from engine.errors import CampaignError
from engine.outcome import InDoubt

if TYPE_CHECKING:
    from engine.sandbox import Faults

#: `\b` keeps the lines of a paragraph as they are.
HELP = """Send a campaign in batches, one outcome per row of its list.

\b
  mailvolley send welcome.toml --sandbox      rehearse on this machine
  mailvolley send welcome.toml                send; asks first
  mailvolley send letter.toml --again --yes   next week's letter, by cron

A campaign whose run is unfinished is continued. One that is finished is not sent again
without --again; --new-run sends to those of its list whom it has not reached.

Exit codes: 0 all accepted or left out for a reason, 1 some rejected or failed, 2
refused before sending, 3 stopped, 4 some in doubt, 5 already running, 6 stopped by the
account, 70 our own fault.
"""


@click.command("send", help=HELP)
@options.campaign
@click.option(
    "--runs-dir",
    type=options.FOLDER,
    metavar="DIR",
    help="Where runs are kept; else runs/ beside the templates.",
)
@click.option("--dry-run", is_flag=True, help="Plan only, like `mailvolley plan`.")
@click.option("--sandbox", is_flag=True, help="Send to a provider of our own: no mail.")
@click.option("--again", is_flag=True, help="Send a finished campaign once more.")
@click.option(
    "--new-run",
    is_flag=True,
    help="Plan anew, and leave out whom this sending has reached.",
)
@click.option(
    "--max-exposure",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most N messages under way at once, so in doubt after a crash.",
)
@options.fault
@options.rules
@options.sending
def command(
    *,
    campaign: Path,
    recipients: str | None,
    limit: int | None,
    overrides: tuple[str, ...],
    runs_dir: Path | None,
    dry_run: bool,
    sandbox: bool,
    again: bool,
    new_run: bool,
    max_exposure: int | None,
    faults: tuple[str, ...],
    allow: tuple[str, ...],
    max_recipients: int | None,
    out: Path | None,
    base_url: str | None,
    yes: bool,
    in_doubt: InDoubt,
    drain: float,
    processes: Processes,
    as_json: bool,
) -> ExitCode:
    """Send a campaign; see HELP."""
    if faults and not sandbox:
        raise click.UsageError("--fault goes with --sandbox")
    if dry_run and out is not None:
        raise click.UsageError("--dry-run has no results to copy to --out")
    if max_exposure is not None:
        overrides = (*overrides, f"limits.max_exposure={max_exposure}")
    with exits.told(as_json=as_json):
        loaded = machine.api.load(
            campaign, overrides=overrides, needs_list=recipients is None
        )
        if base_url is not None:
            loaded = machine.campaign.rebased(loaded, base_url)
        loaded = machine.campaign.allowing(loaded, allow)
        source = recipients or loaded.list()
        if dry_run:
            plan = machine.api.plan(
                source,
                loaded,
                limit=limit,
                max_recipients=max_recipients,
                runs_dir=runs_dir,
                sandbox=sandbox,
            )
            return show(plan, as_json=as_json)
        job = machine.job.NewRun(
            campaign=loaded,
            source=source,
            out=out,
            runs_dir=runs_dir,
            again=again,
            new_run=new_run,
            limit=limit,
            sandbox=sandbox,
            max_recipients=max_recipients,
        )
        how = machine.job.Options(
            in_doubt=in_doubt,
            drain=drain,
            processes=processes,
            faults=parsed_faults(faults) if sandbox else None,
        )
        ask = not (yes or sandbox)
        return machine.sending.run(job, how, ask=ask, as_json=as_json)


def parsed_faults(given: tuple[str, ...]) -> "Faults":
    """Read `name=value` faults.

    Raises:
        CampaignError: a fault that the sandbox does not know.
    """
    pairs: dict[str, Any] = {}
    for fault in given:
        name, equals, value = fault.partition("=")
        if not equals:
            raise CampaignError(f"--fault {fault}: write name=value")
        pairs[name] = value
    try:
        return machine.sandbox.Faults.parse(pairs)
    except ValueError as error:
        raise CampaignError(f"--fault: {error}") from None
