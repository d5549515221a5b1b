"""Tables and details on stdout, as wide as the terminal.

Rules: in a pipe nothing is cut and a row is a line. On a terminal that is too narrow,
the last columns stand below the others, and what is still too wide is cut: but never an
id, which is there to be copied. What CloudMailin tells was written by strangers: it
never reaches the terminal as it is.
"""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import click
from rich.cells import cell_len, set_cell_size

#: Cells to which a column is cut at the least.
_NARROWEST = 12
_GAP = "  "
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        rigid: it is never cut.
        below: on a narrow terminal it stands below the others.
    """

    title: str
    rigid: bool = False
    below: bool = False


def show_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Show a table, without the columns in which nothing stands."""
    cells = [[clean(cell) for cell in row] for row in rows]
    used = [place for place in range(len(columns)) if any(row[place] for row in cells)]
    if not used:
        return
    room = _room()
    upper, lower = used, []
    if room is not None and _wide(_widths(columns, cells, used)) > room:
        upper = [place for place in used if not columns[place].below]
        lower = [place for place in used if columns[place].below]
    widths = _cut(columns, _widths(columns, cells, upper), room)
    _line([columns[place].title for place in upper], widths, bold=True)
    # One column below explains itself; of several each says what it is.
    names = {place: f"{columns[place].title}: " if lower[1:] else "" for place in lower}
    for row in cells:
        _line([row[place] for place in upper], widths)
        for place, name in names.items():
            if row[place]:
                click.echo(f"{_GAP}{name}{row[place]}")


def show_details(entry: Mapping[str, object]) -> None:
    """Show what something has: a line each, under CloudMailin's own names."""
    width = max((len(clean(name)) for name in entry), default=0)
    for name, value in entry.items():
        click.secho(f"{clean(name):<{width}}{_GAP}", nl=False, bold=True)
        click.echo(_written(value))


def clean(text: str) -> str:
    """Return a text without what steers a terminal, and without a URL's password."""
    printable = "".join(one if one.isprintable() else " " for one in text)
    return _PASSWORD.sub(r"\1:…@", printable)


def moment(when: datetime | None) -> str:
    """Write a moment, UTC."""
    return "" if when is None else f"{when:%Y-%m-%d %H:%M:%S}"


def _written(value: object) -> str:
    match value:
        case None | "" | [] | {}:
            return "-"
        case str():
            return clean(value)
        case bool():
            return "yes" if value else "no"
        case list() if all(isinstance(one, str) for one in value):
            return clean(", ".join(value))
        case _:
            return clean(json.dumps(value, ensure_ascii=False))


def _room() -> int | None:
    """Return the cells of a line, or None where there is no end to it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _widths(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], places: Sequence[int]
) -> dict[int, int]:
    return {
        place: max(len(columns[place].title), *(cell_len(row[place]) for row in rows))
        for place in places
    }


def _wide(widths: Mapping[int, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _cut(
    columns: Sequence[Column], widths: dict[int, int], room: int | None
) -> list[int]:
    """Take cells from the widest column, one after another, until all is narrow."""
    soft = [place for place in widths if not columns[place].rigid]
    while room is not None and soft and _wide(widths) > room:
        widest = max(soft, key=lambda place: widths[place])
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return list(widths.values())


def _line(
    cells: Sequence[str], widths: Sequence[int], *, bold: bool | None = None
) -> None:
    placed = [
        set_cell_size(cell, width)
        if cell_len(cell) <= width
        else f"{set_cell_size(cell, width - 1)}…"
        for cell, width in zip(cells, widths, strict=True)
    ]
    click.secho(_GAP.join(placed).rstrip(), bold=bold)
