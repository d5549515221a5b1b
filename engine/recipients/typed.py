"""Declared types: cells of text to integers, numbers, booleans, dates and moments.

How it works: a declared column is parsed by an expression that gives null for what it
cannot read. One scan looks for the first cell that is not empty and came out null, and
refuses it by place; the frame then gets the same expression, which cannot fail.

    text      as it is
    integer   -12, in 64 bits
    number    12.5, 1e3; finite
    boolean   true, yes, 1, false, no, 0, in any case
    date      2026-12-24
    datetime  2026-12-24T18:00, with or without seconds and fraction, `T` or a blank,
              offset or none: a moment in UTC; without an offset it is UTC already

Rules: blanks around a cell do not count; an empty cell is null. Only text is parsed. A
column that has a type already must have the declared one.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import polars as pl

from engine.errors import RecipientsError

ROW: Final = "\0row"  # a name that no list gives a column

_MOMENT: Final = (
    r"^(?<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?<minute>[0-9]{2}:[0-9]{2})"
    r"(?<second>:[0-9]{2}(?:\.[0-9]{1,9})?)?(?<zone>Z|[+-][0-9]{2}:?[0-9]{2})?$"
)


def _integer(cell: pl.Expr) -> pl.Expr:
    return cell.cast(pl.Int64, strict=False)


def _number(cell: pl.Expr) -> pl.Expr:
    number = cell.cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _boolean(cell: pl.Expr) -> pl.Expr:
    word = cell.str.to_lowercase()
    yes, no = word.is_in(["true", "yes", "1"]), word.is_in(["false", "no", "0"])
    return pl.when(yes | no).then(yes)


def _date(cell: pl.Expr) -> pl.Expr:
    # Alone, %Y takes the year 26 and %m the month 1.
    whole = cell.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    return pl.when(whole).then(cell.str.to_date("%Y-%m-%d", strict=False))


def _datetime(cell: pl.Expr) -> pl.Expr:
    parts = cell.str.extract_groups(_MOMENT).struct
    text = pl.concat_str(
        parts["day"],
        pl.lit("T"),
        parts["minute"],
        parts["second"].fill_null(":00"),
        parts["zone"].fill_null("Z"),
    )
    return text.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)


_PARSERS: Final[Mapping[str, Callable[[pl.Expr], pl.Expr]]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
}
_IS: Final[Mapping[str, Callable[[pl.DataType], bool]]] = {
    "text": lambda dtype: dtype in (pl.String, pl.Categorical, pl.Enum),
    "integer": lambda dtype: dtype.is_integer(),
    "number": lambda dtype: dtype.is_numeric(),
    "boolean": lambda dtype: dtype == pl.Boolean,
    "date": lambda dtype: dtype == pl.Date,
    "datetime": lambda dtype: dtype == pl.Datetime,
}
_EXAMPLES: Final = {
    "integer": "an integer such as 12",
    "number": "a number such as 12.5",
    "boolean": "true or false",
    "date": "a date such as 2026-12-24",
    "datetime": "a moment such as 2026-12-24T18:00:00Z",
}


def to_parse(schema: pl.Schema, types: Mapping[str, str], place: str) -> dict[str, str]:
    """Choose the columns of text that are declared as something else.

    Returns:
        Column to type.

    Raises:
        RecipientsError: a column does not exist, or has another type already.
        ValueError: there is no such type.
    """
    if unknown := set(types.values()) - _IS.keys():
        raise ValueError(f"unknown types {sorted(unknown)}; there are {sorted(_IS)}")
    if missing := [column for column in types if column not in schema]:
        raise RecipientsError(
            f"{place}: types are declared for {_quoted(missing)}, which the list does"
            f" not have; it has {_quoted(schema)}"
        )
    columns = {}
    for column, kind in types.items():
        if schema[column] == pl.String and kind != "text":
            columns[column] = kind
        elif schema[column] != pl.Null and not _IS[kind](schema[column]):
            raise RecipientsError(
                f'{place}: "{column}" is declared {kind}, but the list has it as'
                f" {schema[column]}; leave out the declaration, or convert the list"
            )
    return columns


def parsed(frame: pl.LazyFrame, columns: Mapping[str, str]) -> pl.LazyFrame:
    """Give the columns their types: null for an empty cell and what cannot be read."""
    return frame.with_columns(_parse(name, kind) for name, kind in columns.items())


def refuse_unreadable(
    frame: pl.LazyFrame, columns: Mapping[str, str], place: Callable[[int], str]
) -> None:
    """Scan once for the first cell that is neither empty nor of its declared type.

    Args:
        frame: rows as read, not parsed.
        columns: column to type, as `to_parse` gives them.
        place: tells where a 0-based row is.

    Raises:
        RecipientsError: there is one: its place, column and value.
    """
    if not columns:
        return
    unreadable = {
        name: (_cell(name) != "") & _parse(name, kind).is_null()
        for name, kind in columns.items()
    }
    first = (
        frame.with_row_index(ROW)
        .filter(pl.any_horizontal(unreadable.values()))
        .head(1)
        .collect(engine="streaming")
    )
    for name, is_unreadable in unreadable.items():
        for cell in first.filter(is_unreadable)[name]:
            raise RecipientsError(
                f"{place(first[ROW].item())}: {name} = {cell!r} is not"
                f" {_EXAMPLES[columns[name]]}"
            )


def _cell(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars()


def _parse(column: str, kind: str) -> pl.Expr:
    return _PARSERS[kind](_cell(column)).alias(column)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
