"""`mailvolley events`: what providers report later, received, read in and shown.

serve      a server that providers post to
read_in    a file of posts
show       what became of the messages of a run
"""

import click

from engine.cli.events import read_in, serve, show


@click.group("events")
def command() -> None:
    """Take in what providers report of your messages, and show it.

    Events are kept once, in events.db beside the runs. Hard bounces, complaints and
    unsubscribes enter the suppressions: who said no is not mailed again.
    """


command.add_command(serve.command)
command.add_command(read_in.command)
command.add_command(show.command)
