"""CSV and TSV: read as text, with nothing mended.

How it works: the standard `csv` module, strict, counts the cells of every row; it is
the judge of what the file says. Polars is several times as fast, but not always alike:
it makes rows of blank lines, ends no line at a lone carriage return, and lets a quote
inside an unquoted cell swallow what follows. So `_is_plain` proves that a file holds
nothing on which the two could differ. A plain file is scanned by polars; any other is
read by `csv`.

Only when something is wrong does a slow pass look for its line.

Limits: a cell has at most `csv.field_size_limit()` characters (131 072 unless the
program changed it), so that an unclosed quote does not load the rest of the file.
"""

import csv
import re
from codecs import BOM_UTF8
from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import polars as pl
from polars.io.plugins import register_io_source

from engine.errors import RecipientsError
from engine.recipients.files import (
    Part,
    changed,
    narrowed,
    refuse_beginning,
    refuse_names,
    undecodable,
)

_BLOCK: Final = 1 << 18  # bytes: a few thousand rows at a time
_BATCH: Final = 10_000  # rows of a frame, where `csv` reads
_HEADER: Final = 1 << 20  # characters in which the separator is looked for
_CELL_LINES: Final = 10_000  # of one cell; more are left to `csv`
_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab"}


def read(path: Path) -> Part:
    """Check a file and scan it: every cell text, an empty one "".

    A `.csv` file is separated by what cuts its header line into the most cells: comma,
    semicolon (Excel, where the comma is decimal) or tab. TSV is separated by tabs.

    Raises:
        RecipientsError: it is not UTF-8, has a NUL, rows of different widths, an
            unclosed quote, or columns without a name or with the same one.
    """
    refuse_beginning(path)
    try:
        separator = _separator(path) if path.suffix.lower() == ".csv" else "\t"
        header, widths = _survey(path, separator)
    except UnicodeDecodeError as err:
        raise undecodable(path) from err
    if not header:
        raise RecipientsError(f"{path}: is empty; there are no recipients")
    blank_lines = widths.pop(0, 0)
    if set(widths) - {len(header)}:
        raise _odd_row(path, separator, len(header))
    first_line, _ = next(_records(path, separator))
    refuse_names(header, f"{path}:{first_line}")
    plain = _is_plain(path, separator) and not blank_lines
    scan = _scan if plain else _reread
    return Part(
        path,
        scan(path, separator, header),
        widths[len(header)],
        lambda row: _line_of(path, separator, row),
    )


def _text(path: Path) -> TextIO:
    return path.open(encoding="utf-8-sig", newline="")


def _separator(path: Path) -> str:
    with _text(path) as text:
        lines = iter(lambda: text.readline(_HEADER), "")
        header = next(filter(str.strip, lines), "")
    # The first of equals: a header of one cell is a comma's.
    return max(_NAMES, key=lambda mark: _cells(header, mark))


def _cells(header: str, mark: str) -> int:
    """Count the cells of a header that is cut at a mark; 0 where one is too long."""
    try:
        return len(next(csv.reader([header], delimiter=mark)))
    except csv.Error:
        return 0


def _survey(path: Path, separator: str) -> tuple[list[str], Counter[int]]:
    """Read a file once: its header, and how many rows have how many cells."""
    with _text(path) as text:
        records = csv.reader(text, delimiter=separator, strict=True)
        try:
            header = next(filter(None, records), [])
            return header, Counter(map(len, records))
        except csv.Error as err:
            # The slow pass meets the same error, and knows its line.
            deque(_records(path, separator), maxlen=0)
            raise changed(path) from err


def _records(path: Path, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank, after the line on which it begins."""
    with _text(path) as text:
        records = csv.reader(text, delimiter=separator, strict=True)
        line = 1
        try:
            for record in records:
                if record:
                    yield line, record
                line = records.line_num + 1
        except csv.Error as err:
            raise RecipientsError(f"{path}:{line}: {_meaning(err)}") from err


def _meaning(err: csv.Error) -> str:
    """Say in the user's words what `csv` found in the row that begins here."""
    match str(err).split()[0]:
        case "unexpected":
            return 'a quote is opened and never closed; close it, or write "" for it'
        case "field":
            return (
                f"a cell is longer than {csv.field_size_limit()} characters, or a quote"
                " is opened and never closed"
            )
        case _:
            return (
                'text follows a closing quote; write a quote inside a cell as "", and'
                " quote the whole cell"
            )


def _odd_row(path: Path, separator: str, width: int) -> RecipientsError:
    for line, record in _records(path, separator):
        if len(record) != width:
            return RecipientsError(
                f"{path}:{line}: cells in this row: {len(record)}, in the header:"
                f" {width} (separated by {_NAMES[separator]}); quote a cell that holds"
                " the separator, and write the empty cells too"
            )
    return changed(path)


def _line_of(path: Path, separator: str, row: int) -> int:
    records = islice(_records(path, separator), row + 1, None)
    return next(line for line, _ in records)


def _is_plain(path: Path, separator: str) -> bool:
    """Tell whether `csv` and polars surely agree on a file without blank lines.

    They do if every quote belongs to a cell that is quoted whole, and every carriage
    return outside of quotes to a line end.

    Raises:
        RecipientsError: the file has a NUL byte.
    """
    mark = re.escape(separator).encode()
    quoted = re.compile(
        rb'"(?<=[' + mark + rb'\r\n]")[^"]*+(?:""[^"]*+)*+"(?=[' + mark + rb"\r\n]|\Z)"
    )
    plain = True
    for block in _blocks(path):
        if b"\0" in block:
            raise _nul(path)
        if plain:
            # A letter for each: a return and a newline around one must not meet.
            bare = quoted.sub(b"q", b"\n" + block) if b'"' in block else block
            plain = b'"' not in bare and bare.count(b"\r") == bare.count(b"\r\n")
    return plain


def _blocks(path: Path) -> Iterator[bytes]:
    """Cut a file at line ends, not within a quoted cell if its quotes pair."""
    with path.open("rb") as file:
        file.seek(len(BOM_UTF8) if file.read(len(BOM_UTF8)) == BOM_UTF8 else 0)
        while lines := [line for line in (file.read(_BLOCK), file.readline()) if line]:
            quotes = sum(line.count(b'"') for line in lines)
            while quotes % 2 and len(lines) < _CELL_LINES and (line := file.readline()):
                lines.append(line)
                quotes += line.count(b'"')
            yield b"".join(lines)


def _nul(path: Path) -> RecipientsError:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if b"\0" in line:
                return RecipientsError(
                    f"{path}:{number}: a NUL byte; save the file as UTF-8 text"
                )
    return changed(path)


def _scan(path: Path, separator: str, header: list[str]) -> pl.LazyFrame:
    # With the names given, for polars leaves a doubled quote in a name as it stands.
    return pl.scan_csv(
        path,
        separator=separator,
        new_columns=header,
        infer_schema=False,
        empty_string_is_null=False,
        glob=False,
    )


def _reread(path: Path, separator: str, header: list[str]) -> pl.LazyFrame:
    """Read with `csv` what polars might read otherwise; batch by batch, at any time."""
    schema = dict.fromkeys(header, pl.String)

    def batches(
        columns: list[str] | None,
        predicate: pl.Expr | None,
        rows: int | None,
        _size: int | None,
    ) -> Iterator[pl.DataFrame]:
        for cells in _columns(path, separator, len(header), rows):
            frame = pl.DataFrame(cells, schema=schema, orient="col")
            yield narrowed(frame, columns, predicate)

    return register_io_source(batches, schema=schema)


def _columns(
    path: Path, separator: str, width: int, rows: int | None
) -> Iterator[list[tuple[str, ...]]]:
    """Yield the columns of every batch of rows; of `rows` at most if given."""
    records = islice(_records(path, separator), 1, None if rows is None else rows + 1)
    try:
        while batch := [record for _, record in islice(records, _BATCH)]:
            columns = list(zip(*batch, strict=True))
            if len(columns) != width:
                raise changed(path)
            yield columns
    except ValueError as err:  # a row of another width, or a byte that is not UTF-8
        raise changed(path) from err
