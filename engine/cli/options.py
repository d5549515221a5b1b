"""Options that several commands take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import click
from click.core import ParameterSource

from engine.outcome import InDoubt, Status

Command = TypeVar("Command", bound=Callable[..., Any])

#: What --processes says; as `engine.crew.Asked`, which is slow to load.
Processes = int | Literal["auto"]
#: More than any machine has cores for.
MOST_PROCESSES = 1024

FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def _named(
    ctx: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,
    value: str | None,
) -> str | None:
    if value == "":
        raise click.BadParameter("names nothing", param=parameter)
    return value


class _Processes(click.ParamType[Processes]):
    """A number of processes, or `auto`."""

    name = "processes"

    def convert(
        self,
        value: Processes | str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Processes:
        """Read `4`, or `auto`."""
        if value == "auto":
            return "auto"
        if isinstance(value, int):
            return value
        if not value.isdecimal() or not 1 <= int(value) <= MOST_PROCESSES:
            self.fail(f"{value!r}: write 1 to {MOST_PROCESSES}, or auto", param, ctx)
        return int(value)


class Statuses(click.ParamType[tuple[Status, ...]]):
    """Statuses, with commas between them.

    Args:
        known: those that may be named.
    """

    name = "statuses"

    def __init__(self, known: tuple[Status, ...]) -> None:
        self._known = {status.value: status for status in known}

    def convert(
        self,
        value: str | tuple[Status, ...],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[Status, ...]:
        """Read `failed,rejected`."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in value.split(",")]
        if wrong := [word for word in words if word not in self._known]:
            self.fail(
                f"{wrong[0]!r}: write some of {', '.join(self._known)}", param, ctx
            )
        return tuple(self._known[word] for word in words)


def campaign(command: Command) -> Command:
    """Take a campaign file, a list, and what is laid over the file."""
    for decorate in (
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY.PATH=VALUE",
            help="Lay a value over the campaign file, as in limits.workers=16.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(1, 10**12),
            metavar="N",
            help="Take only the first N rows of the list.",
        ),
        click.option(
            "--recipients",
            metavar="FILE",
            callback=_named,
            help="The list, in place of the campaign's: a path, glob or folder.",
        ),
        click.argument("campaign", type=FILE, metavar="CAMPAIGN.toml"),
    ):
        command = decorate(command)
    return command


#: What decides who gets what, by parameter: the next command is to mean the same.
_DECIDING = {
    "recipients": "--recipients",
    "limit": "--limit",
    "overrides": "--set",
    "allow": "--allow",
    "max_recipients": "--max-recipients",
    "runs_dir": "--runs-dir",
}


def carried() -> list[str]:
    """Return the options of this command that its next step has to be given, too.

    Without them it would take another list, or other limits, than were looked at.
    """
    words: list[str] = []
    context = click.get_current_context(silent=True)
    for name, option in _DECIDING.items():
        source = context and context.get_parameter_source(name)
        if context and source is ParameterSource.COMMANDLINE:
            value = context.params[name]
            for one in value if isinstance(value, tuple) else (value,):
                words += [option, str(one)]
    return words


def rules(command: Command) -> Command:
    """Take which rules may be broken, and how many may be mailed."""
    for decorate in (
        max_recipients,
        click.option(
            "--allow",
            multiple=True,
            metavar="RULE",
            help="Send though this rule is broken, as in --allow L25.",
        ),
    ):
        command = decorate(command)
    return command


def _kept(
    ctx: click.Context,
    parameter: click.Parameter,
    value: Path,
) -> Path:
    """Refuse the usual folder where there is none: these are the runs of nobody.

    What is entered in a folder beside no campaign protects nobody, and does so unseen.
    """
    named = ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT
    if not (named or value.is_dir()):
        raise click.UsageError(
            f"{value}: there are no runs here; go where those of your campaigns are, "
            "or name the folder: --runs-dir DIR (one that you name is made)",
            ctx,
        )
    return value


def max_recipients(command: Command) -> Command:
    """Take how many may be mailed."""
    return click.option(
        "--max-recipients",
        type=click.IntRange(min=0),
        metavar="N",
        help="Refuse to mail more than N.",
    )(command)


def runs_dir(command: Command) -> Command:
    """Take where the runs are kept."""
    return click.option(
        "--runs-dir",
        type=FOLDER,
        default=Path("runs"),
        show_default=True,
        metavar="DIR",
        callback=_kept,
        help="Where the runs are kept; else here, if they are.",
    )(command)


def as_json(command: Command) -> Command:
    """Take --json."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on stdout."
    )(command)


def sending(command: Command) -> Command:
    """Take how a run is sent."""
    for decorate in (
        as_json,
        click.option(
            "--drain",
            type=click.FloatRange(min=0),
            default=20.0,
            show_default=True,
            metavar="SECONDS",
            help="After a stop, how long requests under way may take.",
        ),
        click.option(
            "--processes",
            type=_Processes(),
            default="auto",
            show_default=True,
            metavar="N|auto",
            help="Make and send in N processes; auto: as many as the run can use.",
        ),
        click.option(
            "--in-doubt",
            type=click.Choice(get_args(InDoubt)),
            default="hold",
            show_default=True,
            help="What becomes of messages that a crash left in doubt.",
        ),
        click.option("--yes", is_flag=True, help="Do not ask before sending."),
        click.option(
            "--base-url", metavar="URL", help="In place of the provider's address."
        ),
        click.option(
            "--out", type=FILE, metavar="FILE", help="Copy the results to this file."
        ),
    ):
        command = decorate(command)
    return command


def fault(command: Command) -> Command:
    """Take what goes wrong in the sandbox."""
    return click.option(
        "--fault",
        "faults",
        multiple=True,
        metavar="NAME=VALUE",
        help="Let the sandbox misbehave; `mailvolley sandbox --help` lists how.",
    )(command)


def chosen(command: Command) -> Command:
    """Take which rows of the list are meant."""
    for decorate in (
        click.option("--worst", is_flag=True, help="The worst row; renders them all."),
        click.option(
            "--key", "keys", multiple=True, metavar="KEY", help="By id or address."
        ),
        click.option(
            "--row",
            "rows",
            type=click.IntRange(min=0),
            multiple=True,
            metavar="N",
            help="By position, from 0.",
        ),
    ):
        command = decorate(command)
    return command
