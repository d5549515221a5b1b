"""What the commands share: the account, one question at a time, and how errors end."""

import functools
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

import click
import trio

from engine import secret
from engine.campaign import Token
from engine.cli import exits, options, output
from engine.cli.cloudmailin import page
from engine.cli.exits import ExitCode
from engine.cloudmailin import BASE_URL, CloudMailin, CloudMailinError, Listing, is_id
from engine.cloudmailin.listing import Item
from engine.errors import CampaignError, ungrouped

T = TypeVar("T")
I = TypeVar("I", bound=Item)  # noqa: E741 - the usual name beside T
Command = Callable[..., ExitCode]

TOKEN_VARIABLE: Final = "CLOUDMAILIN_API_TOKEN"  # noqa: S105 - its name


class _Id(click.ParamType[str]):
    """What CloudMailin calls something by."""

    name = "id"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Refuse what cannot be one."""
        if not is_id(value):
            self.fail(f"{value!r} is no id", param, ctx)
        return value


ID: Final = _Id()


@dataclass(frozen=True, slots=True)
class Found(Generic[I]):
    """What was found of a list.

    Attributes:
        complete: whether that is all.
    """

    items: list[I]
    complete: bool = True


class Access:
    """An account, and who listens: a person or a program."""

    def __init__(
        self, account: str, token_file: Path | None, base_url: str, *, as_json: bool
    ) -> None:
        self.as_json = as_json
        self._account = account
        self._token = _token(token_file)
        self._base_url = base_url

    def ask(
        self, work: Callable[[CloudMailin], Awaitable[T]], *, changing: str = ""
    ) -> T:
        """Ask something.

        Args:
            work: asks.
            changing: what it changes, for whoever interrupts it.

        Raises:
            CloudMailinError: it failed, or was interrupted while it changed something.
            KeyboardInterrupt: it was interrupted, and changed nothing.
        """
        try:
            with ungrouped(KeyboardInterrupt):
                return trio.run(self._session, work)
        except KeyboardInterrupt:
            if not changing:
                raise
        raise CloudMailinError(
            f"cannot {changing}: interrupted before the answer came",
            asked=changing,
            kind="in_doubt",
            reason="interrupted",
            hint="perhaps it was done: list what there is before you ask again",
        )

    def find(
        self, listing: Callable[[CloudMailin], Listing[I]], limit: int
    ) -> Found[I]:
        """Ask for the first items of a list."""
        found = self.ask(lambda client: listing(client).take(limit + 1))
        return Found(found[:limit], len(found) <= limit)

    def show_list(
        self,
        name: str,
        found: Found[I],
        columns: Sequence[page.Column],
        row: Callable[[I], Sequence[str]],
    ) -> None:
        """Show a list; `name` is CloudMailin's for it."""
        items = [item.raw for item in found.items]
        self.tell("listed", {name: items, "complete": found.complete})
        if not self.as_json:
            page.show_table(columns, [row(item) for item in found.items])
        if not found.items:
            output.line("found", "nothing")
        if not found.complete:
            count = len(found.items)
            output.line("more", f"these are the first {count:,}: see --limit")

    def tell(
        self,
        word: str,
        facts: Mapping[str, object],
        code: ExitCode = ExitCode.DONE,
    ) -> None:
        """Tell a program how it ended, where one listens."""
        if self.as_json:
            click.echo(json.dumps({"status": word, "exit": int(code), **facts}))

    async def _session(self, work: Callable[[CloudMailin], Awaitable[T]]) -> T:
        async with CloudMailin(
            self._account,
            self._token.reveal(),
            base_url=self._base_url,
            on_wait=_tell_wait,
        ) as client:
            return await work(client)


def account(command: Command) -> Command:
    """Give a command an `Access`, made of its options, and tell of its errors."""

    @functools.wraps(command)
    def asking(
        *,
        account: str,
        token_file: Path | None,
        base_url: str,
        as_json: bool,
        **rest: object,
    ) -> ExitCode:
        with exits.told(as_json=as_json):
            access = Access(account, token_file, base_url, as_json=as_json)
            return command(access, **rest)

    for decorate in (
        options.as_json,
        click.option(
            "--base-url",
            default=BASE_URL,
            metavar="URL",
            help="In place of CloudMailin's address.",
        ),
        click.option(
            "--token-file",
            type=options.FILE,
            metavar="FILE",
            help=f"What holds the API token; else ${TOKEN_VARIABLE} does.",
        ),
        click.option(
            "--account",
            type=ID,
            envvar="CLOUDMAILIN_ACCOUNT_ID",
            show_envvar=True,
            required=True,
            metavar="ID",
            help="The account.",
        ),
    ):
        asking = decorate(asking)
    return asking


#: Takes --limit.
limit = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Show the first N.",
)


def query(words: str) -> Callable[[Command], Command]:
    """Take --query; `words` say of what."""
    return click.option("--query", metavar="WORDS", help=words)


#: Takes --yes, to be followed by `confirm`.
yes = click.option("--yes", is_flag=True, help="Do not ask before deleting.")


def refuse_unasked() -> None:
    """Refuse to delete where nobody can be asked.

    Raises:
        CampaignError: nobody can.
    """
    if not sys.stdin.isatty():
        raise CampaignError(
            "this would delete something, and nobody is here to say yes",
            hint="add --yes to delete",
        )


def confirm(question: str) -> None:
    """Ask.

    Raises:
        CampaignError: the answer is no.
    """
    if not click.confirm(page.clean(question), err=True):
        raise CampaignError("nothing was deleted")


def _token(file: Path | None) -> secret.Secret:
    kept = Token(env=TOKEN_VARIABLE) if file is None else Token(file=str(file))
    try:
        return secret.read(kept, folder=Path(), place="CloudMailin's API token")
    except CampaignError as error:
        if file is None:
            error.hint = f"{error.hint}, or add --token-file FILE"
        raise


def _tell_wait(seconds: float, cause: str) -> None:
    output.line("waits", f"{seconds:.0f} s, for {cause}", colour="yellow")
