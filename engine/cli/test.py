"""`mailvolley test`: send messages of chosen rows to yourself."""

from pathlib import Path

import click

from engine.cli import exits, machine, options, output
from engine.cli.exits import ExitCode

#: `\b` keeps the lines of a paragraph as they are.
HELP = """Send messages of chosen rows to yourself, marked as tests.

\b
  mailvolley test welcome.toml --to me@example.org              the first row
  mailvolley test welcome.toml --to me@example.org --worst      the worst
  mailvolley test welcome.toml --to me@example.org --key 000123

The subject begins with "[Test] ", and a header says so where the provider takes
headers. Copies are left out. The campaign does not know of it: whoever the rows belong
to will still be written to. What a row's own link to unsubscribe would be is made for
your address.
"""


@click.command("test", help=HELP)
@options.campaign
@options.chosen
@click.option(
    "--to",
    "addresses",
    required=True,
    multiple=True,
    metavar="ADDRESS",
    help="Who gets it; several times for several.",
)
@click.option("--runs-dir", type=options.FOLDER, metavar="DIR", help="See `send`.")
@click.option("--sandbox", is_flag=True, help="Send to a provider of our own: no mail.")
@click.option("--base-url", metavar="URL", help="In place of the provider's address.")
@click.option("--yes", is_flag=True, help="Do not ask before sending.")
@options.as_json
def command(
    *,
    campaign: Path,
    recipients: str | None,
    limit: int | None,
    overrides: tuple[str, ...],
    rows: tuple[int, ...],
    keys: tuple[str, ...],
    worst: bool,
    addresses: tuple[str, ...],
    runs_dir: Path | None,
    sandbox: bool,
    base_url: str | None,
    yes: bool,
    as_json: bool,
) -> ExitCode:
    """Send a test; see HELP."""
    with exits.told(as_json=as_json):
        loaded = machine.api.load(
            campaign, overrides=overrides, needs_list=recipients is None
        )
        if base_url is not None:
            loaded = machine.campaign.rebased(loaded, base_url)
        job = machine.trial.Trial(
            campaign=loaded,
            source=recipients or loaded.list(),
            addresses=addresses,
            wanted=machine.proof.Wanted(rows, keys, worst),
            runs_dir=runs_dir,
            limit=limit,
            sandbox=sandbox,
            on_chosen=_tell,
        )
        how, ask = machine.job.Options(), not (yes or sandbox)
        return machine.sending.run(job, how, ask=ask, as_json=as_json)


def _tell(rows: list[tuple[int, str]], addresses: list[str]) -> None:
    """Tell which rows were chosen, and who gets them."""
    chosen = ", ".join(f"row {row} ({key})" for row, key in rows)
    output.line("test", f"{chosen}, to {', '.join(addresses)}")
