"""`mailvolley plan`: check a campaign against its list, and send nothing."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Final

import click
import trio

from engine import api, online, planning
from engine.campaign import Campaign
from engine.cli import exits, options, output, proving
from engine.cli.exits import ExitCode
from engine.cloudmailin import BASE_URL
from engine.lint import Finding
from engine.planning import Plan
from engine.proof import Proof
from engine.resolver import Resolver

#: Where the account and token of CloudMailin's Core API are, which knows its domains,
#: and an address in place of its own.
CLOUDMAILIN: Final = ("CLOUDMAILIN_ACCOUNT_ID", "CLOUDMAILIN_API_TOKEN")
CLOUDMAILIN_URL: Final = "CLOUDMAILIN_API_BASE_URL"


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
        plan = api.plan(
            recipients,
            campaign,
            limit=limit,
            overrides=overrides,
            allow=allow,
            max_recipients=max_recipients,
            runs_dir=runs_dir,
            sandbox=sandbox,
        )
        if is_online:
            _look_online(plan, Resolver.of(resolver), selectors)
        proof = proving.proved(plan, quiet=as_json) if render_all else None
        return show(plan, proof, as_json=as_json)


def _look_online(plan: Plan, resolver: Resolver, selectors: tuple[str, ...]) -> None:
    """Add what the network says of the sender to what was found.

    Raises:
        CampaignError: an error that nobody has allowed.
    """
    found = trio.run(partial(_asked, plan.campaign, resolver, selectors))
    planning.refuse(found, plan.campaign)
    plan.findings.extend(found)


async def _asked(
    campaign: Campaign, resolver: Resolver, selectors: tuple[str, ...]
) -> list[Finding]:
    verified = None
    account, token = (os.environ.get(name, "") for name in CLOUDMAILIN)
    if campaign.provider.name == "cloudmailin" and account and token:
        own = campaign.provider.base_url
        base_url = own or os.environ.get(CLOUDMAILIN_URL, BASE_URL)
        verified = await online.verified_by_cloudmailin(
            campaign, account, token, base_url=base_url
        )
    return await online.look(campaign, resolver, selectors=selectors, verified=verified)


def show(plan: Plan, proof: Proof | None = None, *, as_json: bool) -> ExitCode:
    """Show a plan to a person, or to a program; with what every row has shown."""
    output.show_plan(plan)
    good = output.show_sample(plan)
    if proof is not None:
        proving.show(proof)
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
    if not good:
        return ExitCode.REFUSED
    return ExitCode.SOME_FAILED if proof and proof.failed else ExitCode.DONE
