"""`mailvolley cloudmailin messages`: what was sent, and what became of it."""

from collections import Counter

import click

from engine.cli.cloudmailin import access, page
from engine.cli.cloudmailin.access import ID, Access
from engine.cli.cloudmailin.page import Column
from engine.cli.exits import ExitCode
from engine.cloudmailin import MessageEvent, OutboundMessage

COLUMNS = (
    Column("id", rigid=True),
    Column("sent, UTC", rigid=True),
    Column("last events"),
    Column("to", below=True),
    Column("subject", below=True),
)
EVENTS = (
    Column("when, UTC", rigid=True),
    Column("event", rigid=True),
    Column("what was said", below=True),
)


@click.group("messages")
def group() -> None:
    """Mail that was sent, and what became of it."""


@group.command("list")
@click.option(
    "--outbound-account",
    "outbound_account_id",
    type=ID,
    metavar="ID",
    required=True,
    help="Whose: the username of its SMTP credentials.",
)
@access.query("Which, in CloudMailin's words.")
@access.limit
@access.account
def list_(
    asked: Access, *, outbound_account_id: str, query: str | None, limit: int
) -> ExitCode:
    """List what was sent, the newest first, with the last event of each recipient."""
    found = asked.find(
        lambda client: client.messages(outbound_account_id, query=query), limit
    )
    asked.show_list("outbound_messages", found, COLUMNS, _row)
    return ExitCode.DONE


@group.command("show")
@click.argument("message_id", type=ID, metavar="ID")
@access.account
def show(asked: Access, *, message_id: str) -> ExitCode:
    """Show a message, and every event of each recipient."""
    found = asked.ask(lambda client: client.message(message_id))
    asked.tell("shown", {"outbound_message": found.raw})
    if asked.as_json:
        return ExitCode.DONE
    head = {name: value for name, value in found.raw.items() if name != "recipients"}
    page.show_details(head)
    for recipient in found.recipients:
        click.echo()
        last = f": {recipient.last_event}" if recipient.last_event else ""
        click.secho(page.clean(f"{recipient.email}{last}"), bold=True)
        page.show_table(EVENTS, [_event(event) for event in recipient.events])
    return ExitCode.DONE


def _row(message: OutboundMessage) -> tuple[str, ...]:
    events = Counter(one.last_event or "none" for one in message.recipients)
    told = ", ".join(
        kind if count == 1 else f"{count:,} {kind}" for kind, count in events.items()
    )
    to = ", ".join(message.to)
    return message.id, page.moment(message.created_at), told, to, message.subject


def _event(event: MessageEvent) -> tuple[str, ...]:
    """Tell an event by the other server's words, or else by all that is known."""
    said = event.details.get("smtp_response")
    if not isinstance(said, str):
        pairs = event.details.items()
        said = ", ".join(f"{name}: {value}" for name, value in pairs)
    return page.moment(event.timestamp), event.kind, said
