"""`mailvolley events import`: take in a file of posts."""

import itertools
import json
from pathlib import Path

import click

from engine import events, intake, webhooks
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.events import EventStore
from engine.intake import Taken
from engine.suppression import Suppressions

#: Events kept in one transaction.
AT_ONCE = 10_000


@click.command("import")
@click.argument("file", type=options.FILE, metavar="FILE")
@click.option(
    "--provider",
    type=click.Choice(webhooks.NAMES),
    required=True,
    help="Whose posts they are.",
)
@options.runs_dir
@options.as_json
def command(*, file: Path, provider: str, runs_dir: Path, as_json: bool) -> ExitCode:
    """Take in a file of events: one post a line, each as it came, or a JSON array.

    Events that are known already are passed over, so a file may be read in again. What
    comes before an error in the file has been taken in.
    """
    with exits.told(as_json=as_json):
        told = Taken(0, 0, 0)
        with EventStore.open(runs_dir) as store, Suppressions.open(runs_dir) as no:
            coming = iter(events.read(file, webhooks.load(provider)))
            while some := list(itertools.islice(coming, AT_ONCE)):
                told += intake.take(some, "file", store=store, suppressions=no)
        output.line("events", f"{told.events:,}, {told.new:,} of them new")
        output.line("suppressed", output.count(told.suppressed, "address", "es"))
        run = Path("RUN")
        output.line("next", output.command("events", "show", run))
        if as_json:
            facts = {"events": told.events, "new": told.new}
            click.echo(json.dumps({**facts, "suppressed": told.suppressed}))
    return ExitCode.DONE
