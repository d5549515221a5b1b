"""`mailvolley providers`: what each API can do, as the code that speaks it has it.

Rules: nothing here knows a provider by its name, and no cell is empty. What is not
there reads "no", and what the documents leave open "none documented".
"""

import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date
from typing import Any, Final

import click

from engine import providers, tracking
from engine.cli import options, output
from engine.cli.exits import ExitCode
from engine.message import Feature
from engine.providers.base import Capabilities, Provider

#: What the documents leave open.
OPEN: Final = "none documented"
#: Columns of a terminal that the matrix needs at most.
WIDEST: Final = 100
_HOUR, _MINUTE = 3600, 60
_ANSWERS: Final = {
    "ordered": "in order",
    "keyed": "by key",
    "tolerant": "undocumented",
    "none": "no",
}
_LOOKUPS: Final = {
    "none": "no",
    "message_id": "by message id",
    "metadata": "by metadata",
    "tag": "by tag",
    "recipient": "by recipient",
}

Row = tuple[str, Callable[[type[Provider]], str]]


def _yes(*, is_so: bool) -> str:
    return "yes" if is_so else "no"


def _number(value: float | None) -> str:
    """Write a limit: whole numbers whole."""
    return OPEN if value is None else f"{value:,.10g}"


def _idempotency(can: Capabilities) -> str:
    if can.idempotency == "none":
        return "no"
    long = can.key_seconds >= _HOUR
    unit, name = (_HOUR, "h") if long else (_MINUTE, "min")
    return f"by key, for {can.key_seconds / unit:g} {name}"


#: A row for every field of `Capabilities` but the features: its label and its words.
CAPABILITIES: Final[Mapping[str, tuple[str, Callable[[Capabilities], str]]]] = {
    "max_batch": ("messages/request", lambda can: _number(can.max_batch)),
    "max_batch_bytes": ("bytes/request", lambda can: _number(can.max_batch_bytes)),
    "max_recipients": ("recipients/message", lambda can: _number(can.max_recipients)),
    "per_item_results": (
        "answer per message",
        lambda can: _ANSWERS[can.per_item_results],
    ),
    "all_or_nothing": ("all or nothing", lambda can: _yes(is_so=can.all_or_nothing)),
    "idempotency": ("safe to repeat", _idempotency),
    "lookup": ("lost answer found", lambda can: _LOOKUPS[can.lookup]),
    "raw_mime": ("raw MIME", lambda can: _yes(is_so=can.raw_mime)),
    "test_mode": ("test mode", lambda can: _yes(is_so=can.test_mode)),
    "requires_html": ("HTML required", lambda can: _yes(is_so=can.requires_html)),
    "bulk_allowed": ("marketing allowed", lambda can: _yes(is_so=can.bulk_allowed)),
    "messages_per_second": (
        "messages/s",
        lambda can: _number(can.messages_per_second),
    ),
    "requests_per_second": (
        "requests/s",
        lambda can: _number(can.requests_per_second),
    ),
    "rate_headers": ("rate headers", lambda can: ", ".join(can.rate_headers) or OPEN),
}
#: Fields that stand in the row of another one, or in several rows.
ELSEWHERE: Final = frozenset({"key_seconds", "features", "read_on"})


def rows() -> list[Row]:
    """Return the rows of the matrix: a label, and what stands in each column."""

    def capability(words: Callable[[Capabilities], str]) -> Callable[..., str]:
        return lambda kind: words(kind.capabilities)

    def feature(one: Feature) -> Callable[..., str]:
        return lambda kind: _yes(is_so=one in kind.capabilities.features)

    return [
        *((label, capability(words)) for label, words in CAPABILITIES.values()),
        *((one.value.replace("_", " "), feature(one)) for one in Feature),
        ("status endpoint", lambda kind: _yes(is_so=kind.name in tracking.NAMES)),
        ("read on", lambda kind: kind.capabilities.read_on.isoformat()),
    ]


@click.command("providers")
@click.argument(
    "name", type=click.Choice(providers.NAMES), required=False, metavar="[NAME]"
)
@options.as_json
def command(*, name: str | None, as_json: bool) -> ExitCode:
    """Show what each provider's API can do, or all that is known of one.

    NAME is a provider's name, as [provider] name in a campaign file has it.
    """
    kinds = [providers.load(one) for one in (name and [name]) or providers.NAMES]
    if as_json:
        told = {kind.name: _facts(kind) for kind in kinds}
        click.echo(json.dumps(told[name] if name else {"providers": told}))
    elif name:
        _show_one(kinds[0])
    else:
        _show_matrix(kinds)
    return ExitCode.DONE


def _facts(kind: type[Provider]) -> dict[str, Any]:
    """Return what `--json` prints of a provider; null is what is not documented."""
    can = kind.capabilities
    facts = {field.name: _plain(getattr(can, field.name)) for field in fields(can)}
    return {
        "name": kind.name,
        "title": kind.title,
        "base_url": kind.default_base_url,
        "settings": dict(kind.settings),
        "variables": _variables(kind),
        "capabilities": facts,
        "status_endpoint": _status(kind),
        "traps": list(kind.traps),
        "sources": list(_sources(kind)),
    }


def _plain(value: object) -> object:
    if isinstance(value, frozenset | tuple):
        return sorted(map(str, value))
    return value.isoformat() if isinstance(value, date) else value


def _status(kind: type[Provider]) -> str | None:
    if kind.name not in tracking.NAMES:
        return None
    return tracking.load(kind.name).endpoint


def _variables(kind: type[Provider]) -> dict[str, str]:
    """Return the environment variables of sending, and of asking."""
    found = dict(kind.variables)
    if kind.name in tracking.NAMES:
        asks = tracking.load(kind.name)
        for variable, what in ((asks.token, "token"), (asks.account, "account's id")):
            if variable:
                found.setdefault(variable, f"the {what} for the status endpoint")
    return found


def _sources(kind: type[Provider]) -> tuple[str, ...]:
    asked = tracking.load(kind.name).sources if kind.name in tracking.NAMES else ()
    return tuple(dict.fromkeys((*kind.sources, *asked)))


def _show_matrix(kinds: list[type[Provider]]) -> None:
    head = ["", *(kind.name for kind in kinds)]
    cells = [[label, *map(words, kinds)] for label, words in rows()]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
        for line in (head, *cells):
            pairs = zip(line, widths, strict=True)
            click.echo("  ".join(f"{cell:<{width}}" for cell, width in pairs).rstrip())
        return
    from rich import box  # noqa: PLC0415 - slow; only with a terminal
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for title in head:
        table.add_column(
            title, header_style="bold cyan", overflow="fold", no_wrap=not title
        )
    for label, *words in cells:
        table.add_row(Text(label, "bold"), *(_coloured(Text, word) for word in words))
    width = min(shutil.get_terminal_size().columns, WIDEST)
    Console(width=width, highlight=False).print(table)
    output.line("more", output.command("providers", "NAME"))


def _coloured(text: Any, word: str) -> Any:
    colours = {"yes": "green", "no": "yellow", OPEN: "dim"}
    return text(word, colours.get(word, ""))


def _show_one(kind: type[Provider]) -> None:
    """Show all that is known of a provider."""
    can = kind.capabilities
    facts = {
        "name": kind.name,
        "base URL": kind.default_base_url,
        "status endpoint": _status(kind) or "no",
    }
    facts |= {label: words(can) for label, words in CAPABILITIES.values()}
    has = [one.value for one in Feature if one in can.features]
    lacks = [one.value for one in Feature if one not in can.features]
    facts["carries"] = ", ".join(has) or "no features"
    facts["does not carry"] = ", ".join(lacks) or "nothing: it has them all"
    click.secho(kind.title, bold=True)
    _show_pairs(facts)
    _show_part("[provider] in a campaign file", kind.settings or {"": "name and token"})
    _show_part("environment variables", _variables(kind))
    _show_list("known traps", kind.traps)
    _show_list(f"written from, read {can.read_on.isoformat()}", _sources(kind))


def _show_part(title: str, pairs: Mapping[str, str]) -> None:
    click.echo()
    click.secho(title, bold=True)
    _show_pairs(pairs)


def _show_pairs(pairs: Mapping[str, str]) -> None:
    width = max(map(len, pairs))
    for name, text in pairs.items():
        click.secho(f"  {name:<{width}}  ", nl=False, fg="cyan")
        _show_folded(text, width + 4)


def _show_list(title: str, sentences: tuple[str, ...]) -> None:
    click.echo()
    click.secho(title, bold=True)
    for sentence in sentences:
        click.echo("  - ", nl=False)
        _show_folded(sentence, 4)


def _show_folded(text: str, margin: int) -> None:
    """Write a text, on a terminal folded to its width behind a margin."""
    width = min(shutil.get_terminal_size().columns, WIDEST) - margin
    if not sys.stdout.isatty() or width < margin:
        click.echo(text)
        return
    folded = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    click.echo(f"\n{' ' * margin}".join(folded))
