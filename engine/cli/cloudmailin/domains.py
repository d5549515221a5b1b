"""`mailvolley cloudmailin domains`: one's own domains at which an address receives."""

import click

from engine.cli import output
from engine.cli.cloudmailin import access, page
from engine.cli.cloudmailin.access import ID, Access
from engine.cli.cloudmailin.page import Column
from engine.cli.exits import ExitCode
from engine.cloudmailin import CustomDomain

COLUMNS = (
    Column("id", rigid=True),
    Column("domain"),
    Column("accepts", below=True),
    Column("target", below=True),
)

_address = click.option(
    "--address", "address_id", type=ID, metavar="ID", required=True, help="The address."
)
_domain = click.argument("domain_id", type=ID, metavar="ID")


@click.group("domains")
def group() -> None:
    """Custom domains: where an inbound address receives mail."""


@group.command("list")
@_address
@access.query("A domain, or a part of one.")
@access.limit
@access.account
def list_(asked: Access, *, address_id: str, query: str | None, limit: int) -> ExitCode:
    """List the domains of an address."""
    found = asked.find(
        lambda client: client.custom_domains(address_id, query=query), limit
    )
    asked.show_list("custom_domains", found, COLUMNS, _row)
    return ExitCode.DONE


@group.command("show")
@_domain
@_address
@access.account
def show(asked: Access, *, domain_id: str, address_id: str) -> ExitCode:
    """Show a domain of an address."""
    found = asked.ask(
        lambda client: client.custom_domain(domain_id, address_id=address_id)
    )
    _show(asked, "shown", found)
    return ExitCode.DONE


@group.command("create")
@click.argument("domain", metavar="DOMAIN")
@_address
@click.option(
    "--auth-regex", metavar="REGEX", help="Which addresses of the domain are taken."
)
@click.option(
    "--domain-target",
    metavar="URL",
    help="Where its mail is posted, in place of the address's; not for all accounts.",
)
@access.account
def create(
    asked: Access,
    *,
    domain: str,
    address_id: str,
    auth_regex: str | None,
    domain_target: str | None,
) -> ExitCode:
    """Let an address receive at DOMAIN, whose MX records must be set already."""
    made = asked.ask(
        lambda client: client.create_custom_domain(
            domain,
            address_id=address_id,
            auth_regex=auth_regex,
            domain_target=domain_target,
        ),
        changing=f"create domain {domain} of address {address_id}",
    )
    _show(asked, "created", made)
    return ExitCode.DONE


@group.command("delete")
@_domain
@_address
@access.yes
@access.account
def delete(asked: Access, *, domain_id: str, address_id: str, yes: bool) -> ExitCode:
    """Delete a domain of an address; asks first."""
    if not yes:
        access.refuse_unasked()
        was = asked.ask(
            lambda client: client.custom_domain(domain_id, address_id=address_id)
        )
        access.confirm(f"Delete domain {was.domain} ({domain_id}) of {address_id}?")
    gone = asked.ask(
        lambda client: client.delete_custom_domain(domain_id, address_id=address_id),
        changing=f"delete domain {domain_id} of address {address_id}",
    )
    asked.tell("deleting", {"custom_domain": None if gone is None else gone.raw})
    output.line("deleting", f"domain {domain_id}; it may take CloudMailin a while")
    return ExitCode.DONE


def _row(domain: CustomDomain) -> tuple[str, ...]:
    accepts, target = domain.auth_regex or "", domain.domain_target or ""
    return domain.id, domain.domain, accepts, target


def _show(asked: Access, word: str, domain: CustomDomain) -> None:
    asked.tell(word, {"custom_domain": domain.raw})
    if not asked.as_json:
        page.show_details(domain.raw)
