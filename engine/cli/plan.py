"""`mailvolley plan`: check a campaign against its list, and send nothing."""

import json
from pathlib import Path

import click

from engine import api
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.planning import Plan


@click.command("plan")
@options.campaign
@options.as_json
def command(
    *,
    campaign: Path,
    recipients: str | None,
    limit: int | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> ExitCode:
    """Check a campaign, its templates and its list; show what would be sent.

    No network, no account needed, nothing is kept.
    """
    with exits.told(as_json=as_json):
        plan = api.plan(recipients, campaign, limit=limit, overrides=overrides)
        return show(plan, as_json=as_json)


def show(plan: Plan, *, as_json: bool) -> ExitCode:
    """Show a plan to a person, or to a program."""
    output.show_plan(plan)
    good = output.show_sample(plan)
    output.say()
    campaign = output.shown(plan.campaign.file)
    if good:
        output.line("next", output.command("send", campaign, "--sandbox"))
    else:
        output.line(
            "next", f"mend the templates, then: {output.command('plan', campaign)}"
        )
    if as_json:
        click.echo(
            json.dumps(
                {
                    "campaign": plan.manifest.campaign,
                    "status": "planned",
                    "counts": plan.counts,
                    "rows": plan.manifest.rows,
                    "requests": plan.requests,
                    "batch_size": plan.manifest.batch_size,
                    "seconds": plan.seconds,
                    "warnings": plan.warnings,
                }
            )
        )
    return ExitCode.DONE if good else ExitCode.REFUSED
