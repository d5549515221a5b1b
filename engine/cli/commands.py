"""The commands by name, each imported when it is called: `--help` is to be quick."""

import sys
import traceback
from contextlib import nullcontext
from importlib import import_module
from typing import NoReturn

import click

from engine import __version__, memory
from engine.cli import output
from engine.cli.exits import ExitCode, tell
from engine.cli.interrupt import at_once, by_sigterm, never_lost, restored

#: Command to what it is for; `engine.cli.<command>` has it as `command`.
COMMANDS = {
    "plan": "Check a campaign against its list; send nothing.",
    "rules": "List what `plan` looks at, and what to do about it.",
    "preview": "Look at messages, in a browser.",
    "test": "Send messages to yourself.",
    "send": "Send a campaign, or continue its unfinished run.",
    "resume": "Finish a run exactly as it was planned.",
    "retry": "Try again for the rows that were refused or failed.",
    "status": "Show what became of a run.",
    "reconcile": "End doubts by what the provider reports.",
    "verify": "Check what we promise of a run.",
    "export": "Write the results of a run to a file.",
    "cloudmailin": "Look after a CloudMailin account: inbound mail, domains.",
    "track": "Ask the provider what became of a run's messages.",
    "events": "Take in what providers report later, and show it.",
    "suppress": "Say who must not be mailed.",
    "erase": "Forget people, and never write to them again.",
    "providers": "Show what each provider's API can do.",
    "sandbox": "Run a provider on this machine to rehearse against.",
    "schema": "Print the JSON Schema of the campaign file.",
}


class Commands(click.Group):
    """The commands, each imported when it is asked for."""

    # ruff: noqa: ARG002 - the signatures are click's

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        with at_once():
            found: click.Command = import_module(f"engine.cli.{cmd_name}").command
        return found

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailvolley")
def mailvolley() -> None:
    """Send a campaign in batches, with one truthful outcome for every recipient."""


def run(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit with its code."""
    words = sys.argv[1:] if arguments is None else arguments
    if arguments is None:  # the process is ours
        memory.settle()
    try:
        with (
            nullcontext() if arguments is None else restored(),
            by_sigterm(),
            never_lost(),
        ):
            code = mailvolley.main(words, prog_name="mailvolley", standalone_mode=False)
    except click.ClickException as error:
        code = ExitCode.REFUSED
        if "--json" in words:
            tell(click.ClickException(error.format_message()), code, as_json=True)
        else:
            error.show()
    except (click.Abort, KeyboardInterrupt):
        output.say()
        output.line("stopped", "nothing was sent")
        code = ExitCode.REFUSED
    except Exception:  # noqa: BLE001 - whatever else ends a command is our own fault
        traceback.print_exc()
        output.line("error", "this is a fault of mailvolley itself; please report it")
        code = ExitCode.BROKEN
    sys.exit(code)
