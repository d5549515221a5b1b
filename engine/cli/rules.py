"""`mailvolley rules`: what `plan` looks at, how bad each is, and what to do."""

import json
import textwrap
from dataclasses import asdict

import click

from engine.cli import options
from engine.cli.exits import ExitCode
from engine.lint import RULES

WIDTH = 76


@click.command("rules")
@options.as_json
def command(*, as_json: bool) -> ExitCode:
    """List the rules that a campaign, its list and its messages are held to.

    An error refuses `plan` and `send`, unless the rule is allowed: --allow RULE, or
    [lint] allow in the campaign. A row rule leaves single rows out.
    """
    if as_json:
        click.echo(json.dumps([asdict(rule) for rule in RULES.values()]))
        return ExitCode.DONE
    for rule in RULES.values():
        click.echo(f"{rule.id}  {rule.severity:<8} {rule.title}")
        told = f"{rule.fix} (looked at: {rule.where})"
        click.echo(textwrap.indent(textwrap.fill(told, WIDTH), " " * 14))
    return ExitCode.DONE
