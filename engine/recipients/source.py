"""Any source to one frame: files, a glob, a folder, a frame, an Arrow stream."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final, Protocol, cast

import polars as pl
from polars.io.plugins import register_io_source

from engine import piecewise
from engine.errors import RecipientsError
from engine.recipients import columnar, delimited, ndjson, typed
from engine.recipients.files import (
    Part,
    changed,
    find,
    format_of,
    narrowed,
    refuse_names,
    state_of,
    translating,
)


class ArrowStream(Protocol):
    """Gives tables by the Arrow PyCapsule interface: pyarrow, duckdb, pandas."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class ArrowArray(Protocol):
    """Gives one record batch by the Arrow PyCapsule interface."""

    def __arrow_c_array__(
        self, requested_schema: object | None = None
    ) -> tuple[object, object]: ...


Source = str | os.PathLike[str] | pl.LazyFrame | pl.DataFrame | ArrowStream | ArrowArray

_THE_LIST: Final = "the list"
_BATCH: Final = 50_000  # rows of a stream that are checked at a time


def load(source: Source, *, types: Mapping[str, str] = {}) -> pl.LazyFrame:
    """Scan a list of recipients: all rows in input order, all columns.

    CSV and TSV cells are text unless declared, other formats have their own types. Text
    files, and columns with a declared type, are read once here, to refuse by place what
    cannot be trusted. Nothing is held in memory as a whole.

    Args:
        source: a path, a glob or a folder of one format (`.csv .tsv .tab .ndjson .jsonl
            .parquet .pq .arrow .ipc .feather`); a polars frame; or anything that gives
            Arrow data.
        types: column to `text`, `integer`, `number`, `boolean`, `date` or `datetime`.

    Returns:
        One row per recipient. Can be collected any number of times, but only once if
        `source` is an Arrow stream. Collect it inside `translating(source)`.

    Raises:
        RecipientsError: there is no list, it has no rows, or it cannot be trusted as it
            stands: the file, the line or row, and what to do.
        TypeError: `source` is none of these.
    """
    with translating(source):
        if isinstance(source, str | os.PathLike):
            return _of_files(source, types)
        if isinstance(source, pl.LazyFrame | pl.DataFrame):
            return _of_frame(source, types)
        if hasattr(source, "__arrow_c_array__"):
            return _of_frame(pl.DataFrame(source), types)
        if hasattr(source, "__arrow_c_stream__"):
            return _of_stream(source, types)
    raise TypeError(f"a list cannot be a {type(source).__name__}")


def fingerprint(source: Source) -> dict[str, object]:
    """Tell a list from another, as JSON can hold it, to notice a changed one.

    Returns:
        For files `{"files": [{"path", "bytes", "sha256"}, ...]}`, in the order in which
        they are read. For a frame in memory `{"rows", "columns", "hash"}`; another
        version of polars may hash the same rows otherwise. For a lazy frame and Arrow
        data, which looking at might use up, `{}`.

    Raises:
        RecipientsError: there are no such files, or they cannot be read.
    """
    with translating(source):
        if isinstance(source, str | os.PathLike):
            return {"files": [_file_print(path) for path in find(source)]}
        if isinstance(source, pl.DataFrame):
            # With the row number in each, the hashes tell the order of the rows too.
            hashes = source.with_row_index(typed.ROW).hash_rows()
            return {
                "rows": source.height,
                "columns": source.columns,
                "hash": f"{cast('int', hashes.bitwise_xor() or 0):016x}",
            }
    return {}


def state(source: Source) -> object:
    """Tell whether files are still the same ones, without reading them.

    Returns:
        What differs as soon as one is written to or replaced; None where a list is no
        file.
    """
    if not isinstance(source, str | os.PathLike):
        return None
    with translating(source):
        return [(path, state_of(path)) for path in find(source)]


def _file_print(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"path": str(path), "bytes": file.tell(), "sha256": digest}


def _of_files(source: str | os.PathLike[str], types: Mapping[str, str]) -> pl.LazyFrame:
    paths = find(source)
    kind = format_of(paths[0])
    kinds: ndjson.Kinds = {}
    parts = [part for path in paths if (part := _part(path, kind, kinds)).rows]
    if not parts:
        raise RecipientsError(f"{source}: no recipients: the list has no rows")
    frames = [part.frame for part in parts]
    if kind == "NDJSON":
        # A field may be missing from a line, so from every line of a file too.
        frame = pl.concat(frames, how="diagonal_relaxed")
    else:
        _refuse_unlike(parts)
        frame = pl.concat(frames)
    return _typed(frame, types, str(source), partial(_place, parts))


def _part(path: Path, kind: str, kinds: ndjson.Kinds) -> Part:
    with translating(path):
        match kind:
            case "CSV" | "TSV":
                return delimited.read(path)
            case "NDJSON":
                return ndjson.read(path, kinds)
            case _:
                return columnar.read(path, kind)


def _refuse_unlike(parts: list[Part]) -> None:
    """Refuse files of one list whose columns differ, in name, order or type."""
    first, schema = parts[0], parts[0].frame.collect_schema()
    for part in parts[1:]:
        other = part.frame.collect_schema()
        if other != schema:
            raise RecipientsError(
                f"{first.path} has the columns {_listed(schema)}, but {part.path} has"
                f" {_listed(other)}; give all files of a list the same, in one order"
            )


def _listed(schema: pl.Schema) -> str:
    return ", ".join(f'"{name}" {dtype}' for name, dtype in schema.items())


def _place(parts: list[Part], row: int) -> str:
    """Say where the 0-based row of all parts together is."""
    for part in parts:
        if row < part.rows:
            return part.place(row)
        row -= part.rows
    raise changed(parts[-1].path)


def _of_frame(
    source: pl.DataFrame | pl.LazyFrame, types: Mapping[str, str]
) -> pl.LazyFrame:
    if isinstance(source, pl.DataFrame) and source.is_empty():
        raise RecipientsError("no recipients: the frame has no rows")
    frame = source.lazy()
    refuse_names(frame.collect_schema().names(), _THE_LIST)
    return _typed(frame, types, _THE_LIST, _row)


def _row(row: int, *, before: int = 0) -> str:
    return f"{_THE_LIST}: row {before + row + 1}"


def _typed(
    frame: pl.LazyFrame,
    types: Mapping[str, str],
    name: str,
    place: Callable[[int], str],
) -> pl.LazyFrame:
    columns = typed.to_parse(frame.collect_schema(), types, name)
    typed.refuse_unreadable(frame, columns, place)
    return typed.parsed(frame, columns)


def _of_stream(source: object, types: Mapping[str, str]) -> pl.LazyFrame:
    """Scan a stream batch by batch, with the checks of a file made on the way.

    A used up stream has no more batches, which would look like an empty list: a second
    scan is refused.
    """
    stream = pl.scan_arrow_c_stream(source)
    schema = stream.collect_schema()
    refuse_names(schema.names(), _THE_LIST)
    empty = pl.LazyFrame(schema=schema)
    schema = _typed(empty, types, _THE_LIST, _row).collect_schema()
    used = False

    def batches(
        names: list[str] | None,
        predicate: pl.Expr | None,
        rows: int | None,
        _size: int | None,
    ) -> Iterator[pl.DataFrame]:
        nonlocal used
        if used:
            raise RecipientsError(
                "an Arrow stream can be read only once; collect it to a frame, or write"
                " it to a Parquet file, and give that"
            )
        used = True
        start = 0
        # Not stream.head(rows): polars 2.1 filters a stream before it cuts it.
        for batch in piecewise.collect(stream, _BATCH):
            cut = batch if rows is None else batch.head(rows - start)
            checked = _typed(cut.lazy(), types, _THE_LIST, partial(_row, before=start))
            yield narrowed(checked.collect(), names, predicate)
            start += cut.height
            if start == rows:
                return

    return register_io_source(batches, schema=schema)
