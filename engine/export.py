"""A frame as a file for people: CSV, Parquet or NDJSON, whole or not at all.

Spreadsheets take a cell of CSV that begins with = + - @ for a formula, and run it. So
these cells, and those that begin with a tab or a line end, get an apostrophe before
them, which a spreadsheet shows as text. Parquet and NDJSON have the cells as they are.

Source:
    OWASP, CSV Injection: these characters, and their full-width forms.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import polars as pl

from engine import rundir
from engine.errors import RunError, cause_of, is_full

_FORMULA: Final = r"^[=+\-@\t\r\n＝＋－＠]"  # noqa: RUF001 - full-width on purpose
_GUARDED: Final = r"^'([=+\-@\t\r\n＝＋－＠])"  # noqa: RUF001

#: How a file is written, by the end of its name.
_WRITERS: Final[dict[str, Callable[[pl.LazyFrame, Path], None]]] = {
    ".csv": lambda rows, path: guarded(rows).sink_csv(path),
    ".parquet": lambda rows, path: rows.sink_parquet(path),
    ".ndjson": lambda rows, path: rows.sink_ndjson(path),
}
FORMATS: Final = tuple(_WRITERS)
#: What is to be said of a CSV file.
GUARDED: Final = (
    "a cell that begins with = + - @, a tab or a line end has a ' before it: no "
    "spreadsheet takes it for a formula"
)


def write(rows: pl.LazyFrame, out: Path, *, never: Iterable[Path] = ()) -> None:
    """Write a frame to a file of the user's, for its owner alone.

    Args:
        rows: the frame.
        out: the file; its name says in which of `FORMATS`.
        never: files that must not be overwritten.

    Raises:
        RunError: it cannot be written there, or the name says no format.
    """
    if (writer := _WRITERS.get(out.suffix)) is None:
        raise RunError(
            f"{out}: is neither {', '.join(FORMATS)}",
            hint=f"name it so: {out.with_suffix('.parquet')}",
        )
    rundir.check_target(out, never=never)
    aside = out.with_name(f".{out.name}.inprogress")
    try:
        aside.touch(mode=0o600)
        writer(rows, aside)
        rundir.publish_file(aside, out)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {cause_of(error)}") from error
    except pl.exceptions.PolarsError as error:
        if not is_full(error, aside.parent):  # then it is the rows that cannot be read
            raise
        raise RunError(f"{out}: cannot be written: the disk is full") from error
    finally:
        aside.unlink(missing_ok=True)


def guarded(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Put an apostrophe before the texts that a spreadsheet would run."""
    text = pl.col(pl.String)
    return rows.with_columns(
        pl.when(text.str.contains(_FORMULA))
        .then(pl.format("'{}", text))
        .otherwise(text)
        .name.keep()
    )


def unguarded(text: pl.Expr) -> pl.Expr:
    """Undo `guarded` for a column of a file that was written so."""
    return text.str.replace(_GUARDED, "${1}")
