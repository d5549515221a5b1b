"""Which files a source means, and what the rest of the package says of one file."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine.errors import RecipientsError, RunError, is_full

#: Suffix, in lower case, to format.
FORMATS: Final = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".tab": "TSV",
    ".ndjson": "NDJSON",
    ".jsonl": "NDJSON",
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".arrow": "Arrow IPC",
    ".ipc": "Arrow IPC",
    ".feather": "Arrow IPC",
}

_PACKED: Final = {".gz", ".zip", ".zst", ".bz2", ".xz", ".7z"}


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a list, checked.

    Attributes:
        frame: its rows in order, all columns.
        rows: how many there are.
        line_of: the line on which a 0-based row begins, as an editor counts; None for
            a format without lines.
    """

    path: Path
    frame: pl.LazyFrame
    rows: int
    line_of: Callable[[int], int] | None = None

    def place(self, row: int) -> str:
        """Say where a 0-based row is: `file:line`, or `file: row` from 1."""
        if self.line_of is None:
            return f"{self.path}: row {row + 1}"
        return f"{self.path}:{self.line_of(row)}"


def narrowed(
    frame: pl.DataFrame, columns: list[str] | None, predicate: pl.Expr | None
) -> pl.DataFrame:
    """Leave of a batch what polars asks a source for, after its first rows are cut."""
    if predicate is not None:
        frame = frame.filter(predicate)
    return frame if columns is None else frame.select(columns)


@contextmanager
def translating(source: object) -> Iterator[None]:
    """Turn what polars or the disk raise inside into a RecipientsError.

    Args:
        source: whose frame is collected inside; a path is named in the error.

    Raises:
        RunError: there is no room for what is kept of the list.
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as err:
        if is_full(err):
            raise RunError(
                "there is no room on the disk to keep a copy of the list",
                hint="free some space, or put the runs elsewhere: --runs-dir",
            ) from err
        place = source if isinstance(source, str | os.PathLike) else "the list"
        first_line = next(iter(str(err).splitlines()), type(err).__name__)
        advice = "see that the file is whole and in the format that its name says"
        if isinstance(err, PermissionError):
            advice = "see to its permissions, and to those of its folder"
        raise RecipientsError(
            f"{place}: cannot be read: {first_line}; {advice}"
        ) from err


def find(source: str | os.PathLike[str]) -> list[Path]:
    """List the files of a path, glob or folder, in the order of their names.

    Of a folder, those of a known format; not its folders, nor names that begin with a
    dot or an underscore.

    Raises:
        RecipientsError: there is none, or they are of more than one format.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        paths = sorted(filter(_is_wanted, path.iterdir()))
    elif path.exists():
        paths = [path]
    else:
        # Path.glob takes no absolute pattern, and a list may be named by one.
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207
        paths = sorted(match for match in map(Path, found) if not match.is_dir())
    if not paths:
        kinds = " ".join(FORMATS)
        missing = (
            f"holds no list ({kinds})" if path.is_dir() else "there is no such file"
        )
        raise RecipientsError(f"{source}: {missing}; name a file, a glob or a folder")
    formats = {format_of(path): path for path in reversed(paths)}
    if len(formats) > 1:
        mixed = ", ".join(f"{path.name} is {kind}" for kind, path in formats.items())
        raise RecipientsError(f"{source}: {mixed}; keep one list in one format")
    return paths


def format_of(path: Path) -> str:
    """Tell the format of a file by its name.

    Raises:
        RecipientsError: it is packed, or of no known suffix, or no regular file.
    """
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        raise RecipientsError(f"{path}: is packed; unpack it first")
    if suffix not in FORMATS:
        raise RecipientsError(
            f'{path}: unknown suffix "{path.suffix}"; name the file after its format:'
            f" {' '.join(FORMATS)}"
        )
    # Lists are read more than once, so a pipe or a device cannot be one.
    if not path.is_file():
        raise RecipientsError(f"{path}: is not a regular file; save the list to one")
    return FORMATS[suffix]


def refuse_names(columns: Sequence[str], place: str) -> None:
    """Refuse columns that a template could not tell apart, or not name.

    Raises:
        RecipientsError: two columns have one name, or one has none.
    """
    if not columns:
        raise RecipientsError(f"{place}: no columns")
    for name, times in Counter(columns).items():
        if not name.strip():
            number = columns.index(name) + 1
            raise RecipientsError(
                f"{place}: column {number} has no name; name it in the header, or"
                " remove it"
            )
        if times > 1:
            raise RecipientsError(
                f'{place}: {times} columns are named "{name}"; rename all but one'
            )


def refuse_beginning(path: Path) -> None:
    """Refuse a text file that is empty or begins like UTF-16.

    Raises:
        RecipientsError: it is, or does.
    """
    with path.open("rb") as file:
        beginning = file.read(2)
    if not beginning:
        raise RecipientsError(f"{path}: is empty; there are no recipients")
    if beginning in (b"\xff\xfe", b"\xfe\xff"):
        raise RecipientsError(f"{path}: is UTF-16; save it as UTF-8")


def undecodable(path: Path) -> RecipientsError:
    """Find the first byte of a file that is not UTF-8, and say where it is."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as err:
                return RecipientsError(
                    f"{path}:{number}: byte 0x{line[err.start]:02X} is not UTF-8; save"
                    ' the file as UTF-8 (Excel: "CSV UTF-8")'
                )
    return changed(path)


def state_of(path: Path) -> tuple[int, int, int]:
    """Return what of a file differs once it is written to or replaced."""
    about = path.stat()
    return about.st_ino, about.st_size, about.st_mtime_ns


def changed(path: str | os.PathLike[str]) -> RecipientsError:
    """Say that a file is no longer what it was when it was checked."""
    return RecipientsError(f"{path}: changed while it was read; start again")


def _is_wanted(path: Path) -> bool:
    return (
        not path.name.startswith((".", "_"))
        and path.suffix.lower() in FORMATS.keys() | _PACKED
        and not path.is_dir()
    )
