"""`mailvolley cloudmailin sending-domains`: what may be sent from, and its records."""

from collections.abc import Mapping

import click

from engine.cli import output
from engine.cli.cloudmailin import access, page
from engine.cli.cloudmailin.access import ID, Access
from engine.cli.cloudmailin.page import Column
from engine.cli.exits import ExitCode
from engine.cloudmailin import SendingDomain

COLUMNS = (
    Column("id", rigid=True),
    Column("domain"),
    Column("found in the DNS", rigid=True),
)
#: What CloudMailin says of a record, as people say it, and in which colour.
_WORDS: Mapping[bool | None, tuple[str, str]] = {
    True: ("found", "green"),
    False: ("missing", "red"),
    None: ("not looked for yet", "yellow"),
}

_domain = click.argument("domain_id", type=ID, metavar="ID")


@click.group("sending-domains")
def group() -> None:
    """Domains to send from, and the DNS records that they need."""


@group.command("list")
@access.query("A domain, or a part of one.")
@access.limit
@access.account
def list_(asked: Access, *, query: str | None, limit: int) -> ExitCode:
    """List the domains to send from."""
    found = asked.find(lambda client: client.sending_domains(query=query), limit)
    asked.show_list("sending_domains", found, COLUMNS, _row)
    return ExitCode.DONE


@group.command("show")
@_domain
@access.account
def show(asked: Access, *, domain_id: str) -> ExitCode:
    """Show a domain to send from, and its DNS records."""
    found = asked.ask(lambda client: client.sending_domain(domain_id))
    asked.tell("shown", _facts(found))
    if not asked.as_json:
        _show(found)
    return ExitCode.DONE


@group.command("create")
@click.argument("domain", metavar="DOMAIN")
@access.account
def create(asked: Access, *, domain: str) -> ExitCode:
    """Add DOMAIN to send from; shows the DNS records to set."""
    made = asked.ask(
        lambda client: client.create_sending_domain(domain),
        changing=f"create sending domain {domain}",
    )
    asked.tell("created", _facts(made))
    if not asked.as_json:
        _show(made)
    output.say()
    _show_next(made)
    return ExitCode.DONE


@group.command("verify")
@_domain
@access.account
def verify(asked: Access, *, domain_id: str) -> ExitCode:
    """Have CloudMailin look for the DNS records of a domain; exits 1 if some miss."""
    found = asked.ask(lambda client: client.verify_sending_domain(domain_id))
    code = ExitCode.DONE if found.passed else ExitCode.SOME_FAILED
    word = "verified" if found.passed else "unverified"
    asked.tell(word, {**_facts(found.domain), "verified": found.passed}, code)
    if not asked.as_json:
        _show(found.domain)
    name = page.clean(found.domain.domain)
    output.say()
    if found.passed:
        output.line("verified", f"{name} may be sent from", colour="green")
    else:
        output.line("unverified", _found(found.domain), colour="red")
        _show_next(found.domain)
    return code


@group.command("delete")
@_domain
@access.yes
@access.account
def delete(asked: Access, *, domain_id: str, yes: bool) -> ExitCode:
    """Delete a domain to send from; asks first."""
    if not yes:
        access.refuse_unasked()
        was = asked.ask(lambda client: client.sending_domain(domain_id))
        access.confirm(f"Delete sending domain {was.domain} ({domain_id})?")
    gone = asked.ask(
        lambda client: client.delete_sending_domain(domain_id),
        changing=f"delete sending domain {domain_id}",
    )
    asked.tell("deleting", {"sending_domain": None if gone is None else gone.raw})
    told = f"sending domain {domain_id}; it may take CloudMailin a while"
    output.line("deleting", told)
    return ExitCode.DONE


def _row(domain: SendingDomain) -> tuple[str, ...]:
    return domain.id, domain.domain, _found(domain)


def _facts(domain: SendingDomain) -> dict[str, object]:
    """Return what `--json` prints."""
    return {"sending_domain": domain.raw, "verified": domain.is_verified}


def _found(domain: SendingDomain) -> str:
    """Say what was found: `all`, or what was not."""
    if domain.is_verified:
        return "all"
    told = []
    for found in (False, None):
        names = [name for name, value in domain.checks.items() if value is found]
        if names:
            told.append(f"{', '.join(names)} {_WORDS[found][0]}")
    return "; ".join(told)


def _show(domain: SendingDomain) -> None:
    """Show a domain, and the records that it needs: to be copied, so never folded."""
    click.echo(f"{page.clean(domain.domain)}  {page.clean(domain.id)}")
    for record in domain.records:
        click.echo()
        click.secho(f"{record.type:<7}", nl=False, bold=True)
        click.echo(page.clean(record.name))
        click.echo(f"{'':7}{page.clean(record.value)}")
        click.echo(f"{'':7}", nl=False)
        for place, (name, found) in enumerate(record.checks.items()):
            word, colour = _WORDS[found]
            click.echo(f"{', ' if place else ''}{name}: ", nl=False)
            click.secho(word, nl=False, fg=colour)
        click.echo()


def _show_next(domain: SendingDomain) -> None:
    verify = output.command("cloudmailin", "sending-domains", "verify", domain.id)
    output.line("next", f"{verify}   # once the records are set")
