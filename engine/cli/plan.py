"""`mailvolley plan`: check a campaign against its list, and send nothing."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli import exits, machine, options, output
from engine.cli.exits import ExitCode
from engine.errors import CampaignError

if TYPE_CHECKING:
    from engine.planning import Plan
    from engine.proof import Proof


@click.command("plan")
@options.campaign
@click.option(
    "--runs-dir",
    type=options.FOLDER,
    metavar="DIR",
    help="Where runs and suppressions are kept; else runs/ beside the templates.",
)
@click.option("--sandbox", is_flag=True, help="For the sandbox: it takes any address.")
@options.rules
@click.option(
    "--online",
    "is_online",
    is_flag=True,
    help="Look up SPF, DKIM and DMARC of the sender, too.",
)
@click.option(
    "--dkim",
    "selectors",
    multiple=True,
    metavar="SELECTOR",
    help="With --online: a selector of the DKIM keys that your provider signs with.",
)
@click.option(
    "--resolver",
    default="",
    metavar="ADDRESS[:PORT]",
    help="With --online: the name server to ask; else those of this machine.",
)
@click.option(
    "--render-all",
    is_flag=True,
    help="Render every row: what fails, what stays empty, which branches are taken.",
)
@options.as_json
def command(
    *,
    campaign: Path,
    recipients: str | None,
    limit: int | None,
    overrides: tuple[str, ...],
    runs_dir: Path | None,
    sandbox: bool,
    allow: tuple[str, ...],
    max_recipients: int | None,
    is_online: bool,
    selectors: tuple[str, ...],
    resolver: str,
    render_all: bool,
    as_json: bool,
) -> ExitCode:
    """Check a campaign, its templates and its list; show what would be sent.

    No network but with --online, no account needed, nothing is kept. What breaks a rule
    of `mailvolley rules` is refused, or told.
    """
    if (selectors or resolver) and not is_online:
        raise click.UsageError("--dkim and --resolver go with --online")
    with exits.told(as_json=as_json):
        plan = machine.api.plan(
            recipients,
            campaign,
            limit=limit,
            overrides=overrides,
            allow=allow,
            max_recipients=max_recipients,
            runs_dir=runs_dir,
            sandbox=sandbox,
            refuse=not render_all,  # what all rows show is wanted all the more then
        )
        if is_online:
            machine.looking.look(plan, resolver, selectors)
        proof = None
        if render_all:
            proof = machine.proving.proved(plan, quiet=as_json)
        return show(plan, proof, as_json=as_json)


def _canary(plan: "Plan") -> dict[str, float] | None:
    canary = plan.campaign.canary
    if canary is None:
        return None
    return {"messages": canary.count(plan.manifest.mailable), "wait": canary.wait}


def show(plan: "Plan", proof: "Proof | None" = None, *, as_json: bool) -> ExitCode:
    """Show a plan to a person, or to a program; with what every row has shown.

    Rules that are broken and not allowed come last, and refuse it after all.
    """
    output.show_plan(plan)
    good = output.show_sample(plan)
    if proof is not None:
        machine.proving.show(proof)
    output.say()
    campaign = output.shown(plan.campaign.file)
    error = _refusal(plan)
    if error is not None:
        exits.tell(error, ExitCode.REFUSED, hint=error.hint, as_json=False)
    elif good:
        rehearse = output.command("send", campaign, *options.carried(), "--sandbox")
        output.line("next", rehearse)
    else:
        again = output.command("plan", campaign, *options.carried())
        output.line("next", f"mend the templates, then: {again}")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "campaign": plan.manifest.campaign,
                    **_end(error),
                    "counts": plan.counts,
                    "rows": plan.manifest.rows,
                    "left_out": plan.left_out,
                    "variants": plan.variants,
                    "requests": plan.requests,
                    "batch_size": plan.manifest.batch_size,
                    "seconds": plan.seconds,
                    "canary": _canary(plan),
                    "warnings": plan.warnings,
                    **({} if proof is None else {"proof": proof.to_dict()}),
                    "findings": [
                        {
                            "rule": finding.id,
                            "severity": finding.severity.value,
                            "text": finding.text,
                            "fix": finding.fix,
                            "rows": finding.rows,
                            "examples": [
                                {"row": e.row, "key": e.key, "told": e.told}
                                for e in finding.examples
                            ],
                        }
                        for finding in plan.findings
                    ],
                }
            )
        )
    if error is not None or not good:
        return ExitCode.REFUSED
    return ExitCode.SOME_FAILED if proof and proof.failed else ExitCode.DONE


def _refusal(plan: "Plan") -> CampaignError | None:
    """Return what refuses a plan that was drawn up all the same."""
    try:
        machine.planning.refuse(plan.findings, plan.campaign)
    except CampaignError as error:
        return error
    return None


def _end(error: CampaignError | None) -> dict[str, object]:
    """Return how it ended, for a program."""
    if error is None:
        return {"status": "planned"}
    told = {"message": str(error), "next": error.hint}
    return {"status": "refused", "exit": int(ExitCode.REFUSED), "error": told}
