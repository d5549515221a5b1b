"""`mailvolley cloudmailin incoming`: what an address received."""

import click

from engine.cli.cloudmailin import access, page
from engine.cli.cloudmailin.access import ID, Access
from engine.cli.cloudmailin.page import Column
from engine.cli.exits import ExitCode
from engine.cloudmailin import IncomingStatus

COLUMNS = (
    Column("received, UTC", rigid=True),
    Column("status"),
    Column("from"),
    Column("to"),
    Column("subject", below=True),
)


@click.group("incoming")
def group() -> None:
    """Mail that an inbound address received."""


@group.command("list")
@click.option(
    "--address", "address_id", type=ID, metavar="ID", required=True, help="The address."
)
@access.query("Which: 'subject:reply AND status:200', in Elasticsearch's words.")
@access.limit
@access.account
def list_(asked: Access, *, address_id: str, query: str | None, limit: int) -> ExitCode:
    """List what an address received, the newest first.

    The status is what its target answered: an HTTP status, or a word.
    """
    found = asked.find(
        lambda client: client.incoming_statuses(address_id, query=query), limit
    )
    asked.show_list("incoming_statuses", found, COLUMNS, _row)
    return ExitCode.DONE


def _row(status: IncomingStatus) -> tuple[str, ...]:
    when = page.moment(status.created_at)
    return when, status.status, status.sender, status.to, status.subject
