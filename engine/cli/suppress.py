"""`mailvolley suppress`: who must not be mailed."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click
import polars as pl
import trio

from engine import api, piecewise, recipients
from engine import export as export_
from engine.address import bare
from engine.campaign import PLAIN_NAME, rebased
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.errors import RecipientsError
from engine.fetch import Copied, Fetch
from engine.suppression import (
    DATABASE,
    EVERYWHERE,
    MARKED,
    SCHEMA,
    Entry,
    Suppressions,
)

#: Rows of a file entered in one transaction.
AT_ONCE = 50_000
#: Entries that `list` shows on a terminal.
SHOWN = 50
#: A scope as `suppress export` writes it.
_SCOPED = r"^(all$|(list|campaign|provider):.)"
#: Columns that lists of providers keep the address in, written in any case.
USUAL = ("email", "address", "recipient", "email_address", "email address", "e-mail")

_scope = click.option(
    "--campaign",
    metavar="NAME",
    help="For one campaign alone; else for all of them.",
)


@click.group("suppress")
def command() -> None:
    """Enter, remove and list those who must not be mailed.

    They are kept in suppressions.db beside the runs, and left out of every plan. Hard
    bounces, complaints and unsubscribes enter by themselves: see `mailvolley events`.
    """


@command.command("add")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS...")
@click.option("--reason", default="manual", show_default=True, metavar="WORD")
@_scope
@options.runs_dir
@options.as_json
def add(
    *,
    addresses: tuple[str, ...],
    reason: str,
    campaign: str | None,
    runs_dir: Path,
    as_json: bool,
) -> ExitCode:
    """Enter addresses. What is entered already stays as it is."""
    with exits.told(as_json=as_json):
        for address in addresses:
            if "@" not in address:
                raise RecipientsError(f"{address}: is no address")
        with Suppressions.open(runs_dir) as entries:
            new = entries.add(
                Entry(address, reason, "by hand", _scope_of(campaign))
                for address in addresses
            )
        _tell("entered", new, runs_dir, as_json=as_json)
    return ExitCode.DONE


@command.command("remove")
@click.argument("address", metavar="ADDRESS")
@_scope
@options.runs_dir
@options.as_json
def remove(
    *, address: str, campaign: str | None, runs_dir: Path, as_json: bool
) -> ExitCode:
    """Take an address out: it may be mailed again."""
    with exits.told(as_json=as_json):
        scope = None if campaign is None else _scope_of(campaign)
        with Suppressions.open(runs_dir) as entries:
            gone = entries.remove(address, scope)
        if not gone:
            raise RecipientsError(f"{address}: is not on the list")
        _tell("removed", gone, runs_dir, as_json=as_json)
    return ExitCode.DONE


@command.command("list")
@click.argument("address", required=False, metavar="[ADDRESS]")
@options.runs_dir
@options.as_json
def list_(*, address: str | None, runs_dir: Path, as_json: bool) -> ExitCode:
    """List the entries, or those of one address."""
    with exits.told(as_json=as_json):
        with Suppressions.open(runs_dir) as entries:
            found = entries.of(address) if address else entries.all()
        if as_json:
            click.echo(json.dumps({"entries": found.to_dicts()}))
            return ExitCode.DONE
        for name, scope, reason, source, added_at in found.head(SHOWN).iter_rows():
            click.echo(f"{name}  {scope}  {reason}  {added_at[:10]}  {source}")
        if found.height > SHOWN:
            left = f"and {found.height - SHOWN:,} more: mailvolley suppress export FILE"
            output.line("", left)
        output.line("entries", f"{found.height:,}")
    return ExitCode.DONE


@command.command("import")
@click.argument("file", metavar="FILE")
@click.option("--column", metavar="NAME", help="The column of the addresses.")
@click.option("--reason", default="imported", show_default=True, metavar="WORD")
@_scope
@options.runs_dir
@options.as_json
def import_(
    *,
    file: str,
    column: str | None,
    reason: str,
    campaign: str | None,
    runs_dir: Path,
    as_json: bool,
) -> ExitCode:
    """Enter the addresses of a file: CSV, TSV, NDJSON, Parquet or Arrow.

    As a provider exports its list, or as `mailvolley suppress export` wrote it. A
    column `reason` in the file goes before --reason, and `scope` says where an entry
    holds, unless --campaign does. Rows without an address are counted and passed over.
    """
    with exits.told(as_json=as_json), recipients.translating(file):
        frame = addresses_of(file, column)
        names = frame.collect_schema().names()
        said = pl.col("reason") if "reason" in names else pl.lit(None, pl.String)
        scope: pl.Expr = pl.lit(_scope_of(campaign))
        if campaign is None and "scope" in names:
            # A column of that name in somebody else's file may mean anything.
            kept = pl.col("scope").cast(pl.String)
            scope = pl.when(kept.str.contains(_SCOPED)).then(kept).otherwise(scope)
        wanted = frame.select(
            address="address",
            reason=said.cast(pl.String).fill_null(reason),
            scope=scope,
        )
        names_somebody = pl.col("address").str.contains("@", literal=True)
        names_somebody |= pl.col("address").str.starts_with(MARKED)
        source, new, rows, without = Path(file).name, 0, 0, 0
        with Suppressions.open(runs_dir) as entries:
            for piece in piecewise.collect(wanted, AT_ONCE):
                known = piece.filter(names_somebody)
                new += entries.add(_entries(known, source))
                rows += piece.height
                without += piece.height - known.height
        output.line("rows", f"{rows:,}")
        if without:
            told = f"{output.count(without, 'row')} without an address"
            output.line("warning", told, colour="yellow")
        _tell("entered", new, runs_dir, as_json=as_json)
    return ExitCode.DONE


def addresses_of(file: str, column: str | None) -> pl.LazyFrame:
    """Scan a file of addresses.

    Args:
        file: see `recipients.load`.
        column: of the addresses; None: the one that is usually called so.

    Returns:
        The columns of the file, and `address` str, "" where there is none.

    Raises:
        RecipientsError: it cannot be read, or which column is meant is not known.
    """
    frame = recipients.load(file)
    names = frame.collect_schema().names()
    usual = {name.strip().lower(): name for name in reversed(names)}
    column = column or next((usual[name] for name in USUAL if name in usual), None)
    if column is None or column not in names:
        raise RecipientsError(
            f"{file}: which column holds the addresses? There are {', '.join(names)}",
            hint="name it: --column NAME",
        )
    if names == SCHEMA.names() and Path(file).suffix == ".csv":  # one of ours
        frame = frame.with_columns(export_.unguarded(pl.col(pl.String)))
    return frame.with_columns(
        address=bare(pl.col(column).cast(pl.String)).fill_null("")
    )


def _entries(piece: pl.DataFrame, source: str) -> Iterable[Entry]:
    return (
        Entry(address, reason, source, scope)
        for address, reason, scope in piece.iter_rows()
    )


@command.command("fetch")
@click.argument("campaign", type=options.FILE, metavar="CAMPAIGN.toml")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY.PATH=VALUE",
    help="Lay a value over the campaign file, as in provider.account_id=….",
)
@click.option("--base-url", metavar="URL", help="In place of the provider's address.")
@click.option(
    "--runs-dir",
    type=options.FOLDER,
    metavar="DIR",
    help="Where the runs are kept; else runs/ beside the templates.",
)
@options.as_json
def fetch(
    *,
    campaign: Path,
    overrides: tuple[str, ...],
    base_url: str | None,
    runs_dir: Path | None,
    as_json: bool,
) -> ExitCode:
    """Fetch the list that the campaign's provider keeps itself, and keep a copy.

    Cloudflare gives it out: there, one recipient on it fails a whole message. The copy
    holds for that account, and is made anew each time: who is off the list may be
    mailed again. What was entered here in other ways stays.
    """
    with exits.told(as_json=as_json):
        loaded = api.load(campaign, overrides=overrides, needs_list=False)
        if base_url is not None:
            loaded = rebased(loaded, base_url)
        runs = runs_dir or loaded.home / "runs"
        work = Fetch(loaded, runs, on_wait=_tell_wait)
        output.line("asking", f"{work.title}, account {work.account}, {work.base_url}")
        told = trio.run(work.run)
        _tell_copied(told)
        if as_json:
            facts = {"status": "fetched", "exit": int(ExitCode.DONE), **asdict(told)}
            output.data({**facts, "at": told.at.isoformat(timespec="seconds")})
    return ExitCode.DONE


def _tell_wait(seconds: float, cause: str) -> None:
    output.line("waits", f"{output.duration(seconds)}, for {cause}", colour="yellow")


def _tell_copied(told: Copied) -> None:
    each = ", ".join(f"{number:,} {reason}" for reason, number in told.reasons.items())
    listed = output.count(told.listed, "address", "es")
    output.line("listed", f"{listed}: {each}" if each else listed)
    output.line("entered", f"{told.entered:,}")
    output.line("removed", f"{told.removed:,}")


@command.command("export")
@click.argument("file", type=options.FILE, metavar="FILE")
@options.runs_dir
def export(*, file: Path, runs_dir: Path) -> ExitCode:
    """Write the entries to a file: .csv, .parquet or .ndjson."""
    with exits.told(as_json=False):
        with Suppressions.open(runs_dir) as entries:
            found = entries.all()
        export_.write(found.lazy(), file)
        output.line("entries", f"{found.height:,}")
        output.exported(file)
    return ExitCode.DONE


def _scope_of(campaign: str | None) -> str:
    if campaign is not None and not re.fullmatch(PLAIN_NAME, campaign):
        raise RecipientsError(
            f"--campaign {campaign}: is no name of a campaign: letters, digits, - and _"
        )
    return EVERYWHERE if campaign is None else f"campaign:{campaign}"


def _tell(what: str, number: int, runs_dir: Path, *, as_json: bool) -> None:
    """Tell how many, and in which file: there may be another beside other campaigns."""
    output.line(what, output.count(number, "address", "es"))
    output.line("file", output.shown(runs_dir / DATABASE))
    if as_json:
        click.echo(json.dumps({what: number}))
