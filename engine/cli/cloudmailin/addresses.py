"""`mailvolley cloudmailin addresses`: what receives mail and posts it to a target."""

import json
from collections.abc import Callable
from typing import Any, cast, get_args

import click

from engine.cli import output
from engine.cli.cloudmailin import access, page
from engine.cli.cloudmailin.access import ID, Access, Command, Found
from engine.cli.cloudmailin.page import Column
from engine.cli.exits import ExitCode
from engine.cloudmailin import Address, CloudMailin, TargetFormat
from engine.errors import CampaignError

COLUMNS = (
    Column("id", rigid=True),
    Column("format", rigid=True),
    Column("nickname"),
    Column("target", below=True),
)


@click.group("addresses")
def group() -> None:
    """Inbound addresses: what each receives is posted."""


class _Object(click.ParamType[dict[str, Any]]):
    """A JSON object."""

    name = "json"

    def convert(
        self,
        value: str | dict[str, Any],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> dict[str, Any]:
        """Read it."""
        if isinstance(value, dict):
            return value
        try:
            found = json.loads(value)
        except ValueError as error:
            self.fail(f"is not JSON: {error}", param, ctx)
        if not isinstance(found, dict):
            self.fail("is not a JSON object", param, ctx)
        return found


def _fields(*, required: bool) -> Callable[[Command], Command]:
    """Take what an address has."""

    def decorated(command: Command) -> Command:
        for decorate in (
            click.option(
                "--attachments",
                type=_Object(),
                metavar="JSON",
                help="Where attachments are kept, as CloudMailin documents it.",
            ),
            click.option("--nickname", metavar="NAME", help="A short name."),
            click.option(
                "--format",
                "target_format",
                type=click.Choice(get_args(TargetFormat)),
                default="json+n" if required else None,
                show_default=required,
                help="How mail is posted.",
            ),
            click.option(
                "--target", metavar="URL", required=required, help="Where it is posted."
            ),
        ):
            command = decorate(command)
        return command

    return decorated


@group.command("list")
@access.account
def list_(asked: Access) -> ExitCode:
    """List all addresses."""
    found = asked.ask(lambda client: client.addresses())
    asked.show_list("addresses", Found(found), COLUMNS, _row)
    return ExitCode.DONE


@group.command("show")
@click.argument("address_id", type=ID, metavar="ID")
@access.account
def show(asked: Access, *, address_id: str) -> ExitCode:
    """Show an address."""
    _show(asked, "shown", asked.ask(lambda client: client.address(address_id)))
    return ExitCode.DONE


@group.command("create")
@_fields(required=True)
@access.account
def create(
    asked: Access,
    *,
    target: str,
    target_format: TargetFormat,
    nickname: str | None,
    attachments: dict[str, Any] | None,
) -> ExitCode:
    """Make an address that posts what it receives to --target."""
    made = asked.ask(
        lambda client: client.create_address(
            target=target,
            target_format=target_format,
            nickname=nickname,
            attachments=attachments,
        ),
        changing="create address",
    )
    _show(asked, "created", made)
    return ExitCode.DONE


@group.command("update")
@click.argument("address_id", type=ID, metavar="ID")
@_fields(required=False)
@access.account
def update(
    asked: Access,
    *,
    address_id: str,
    target: str | None,
    target_format: TargetFormat | None,
    nickname: str | None,
    attachments: dict[str, Any] | None,
) -> ExitCode:
    """Change what is named of an address; the rest stays. --nickname "" takes it away.

    CloudMailin wants the whole of it: what is not named is read first, and said again.
    """
    if (target, target_format, nickname, attachments) == (None,) * 4:
        raise click.UsageError("name what to change: --target, --format, --nickname, …")

    async def change(client: CloudMailin) -> Address:
        was = await client.address(address_id)
        kept = was.raw.get("attachments") if attachments is None else attachments
        if not (target or was.target):
            raise CampaignError(
                f"CloudMailin does not tell the target of {address_id}: add --target"
            )
        return await client.update_address(
            address_id,
            target=target or was.target,
            target_format=cast("TargetFormat", target_format or was.target_format),
            nickname=was.nickname if nickname is None else nickname or None,
            attachments=kept if isinstance(kept, dict) else None,
        )

    now = asked.ask(change, changing=f"update address {address_id}")
    _show(asked, "updated", now)
    return ExitCode.DONE


@group.command("delete")
@click.argument("address_id", type=ID, metavar="ID")
@access.yes
@access.account
def delete(asked: Access, *, address_id: str, yes: bool) -> ExitCode:
    """Delete an address; asks first."""
    if not yes:
        access.refuse_unasked()
        was = asked.ask(lambda client: client.address(address_id))
        name = f"{address_id} ({was.nickname})" if was.nickname else address_id
        access.confirm(f"Delete address {name}, which posts to {was.target}?")
    gone = asked.ask(
        lambda client: client.delete_address(address_id),
        changing=f"delete address {address_id}",
    )
    asked.tell("deleting", {"address": None if gone is None else gone.raw})
    output.line("deleting", f"address {address_id}; it may take CloudMailin a while")
    return ExitCode.DONE


def _row(address: Address) -> tuple[str, ...]:
    nickname = address.nickname or ""
    return address.id, address.target_format, nickname, address.target


def _show(asked: Access, word: str, address: Address) -> None:
    asked.tell(word, {"address": address.raw})
    if not asked.as_json:
        page.show_details(address.raw)
    if word == "created":
        see = output.command("cloudmailin", "incoming", "list", "--address", address.id)
        output.say()
        output.line("next", f"{see}   # what it receives")
