"""`mailvolley schema`: the JSON Schema of the campaign file, for editors."""

import json

import click

from engine.campaign import schema
from engine.cli.exits import ExitCode


@click.command("schema")
def command() -> ExitCode:
    """Print the JSON Schema of the campaign file; editors check and complete by it."""
    click.echo(json.dumps(schema(), indent=2))
    return ExitCode.DONE
