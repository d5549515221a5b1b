"""NDJSON: one JSON object a line, with nothing mended.

How it works: every line is parsed once, to name the one that is broken and to hold each
column to one kind of value. Polars alone would write 1 as "1" where another line has
text, and an unpaired surrogate as NUL, without a word. Then polars infers the schema
from all lines, not from the first hundred, so that a late field is not lost.

Rules: a field that a line lacks is null. Blank lines are not rows. A field may hold
lists and objects; they reach the template.
"""

from collections.abc import Iterator
from functools import partial
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from engine.errors import RecipientsError
from engine.recipients.files import Part, refuse_beginning, refuse_names, translating

_LINE: Final = 16 << 20  # bytes; a longer one is no recipient
_KINDS: Final = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}

#: Column to the kind of its values and where one stands.
Kinds = dict[str, tuple[str, str]]


def read(path: Path, kinds: Kinds) -> Part:
    """Check a file and scan it.

    Args:
        path: a regular file.
        kinds: what the files of this list before it have; grows.

    Raises:
        RecipientsError: a line is not a JSON object, or a field is of another kind
            than on an earlier line.
    """
    refuse_beginning(path)
    rows = 0
    for number, line in _lines(path):
        _check(line, f"{path}:{number}", kinds)
        rows += 1
    if not rows:
        return Part(path, pl.LazyFrame(), 0)
    with translating(path):
        # A path is a glob here, without a switch to say that it is none.
        pattern = escape(str(path))
        schema = pl.scan_ndjson(pattern, infer_schema_length=None).collect_schema()
        refuse_names(schema.names(), str(path))
        frame = pl.scan_ndjson(pattern, schema=schema)
    return Part(path, frame, rows, lambda row: next(islice(_lines(path), row, None))[0])


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield every line that is not blank, after its number."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, _LINE), b""), 1):
            if line.strip(b" \t\r\n"):
                yield number, line


def _check(line: bytes, place: str, kinds: Kinds) -> None:
    if len(line) == _LINE:
        raise RecipientsError(f"{place}: the line is longer than {_LINE >> 20} MiB")
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as err:
        raise RecipientsError(
            f"{place}: is not JSON in UTF-8: {err.msg}; write one object a line, and"
            " no byte order mark"
        ) from err
    if not isinstance(record, dict):
        raise RecipientsError(f"{place}: is not an object; write {{...}} on every line")
    for column, value in record.items():
        if value is None:
            continue
        kind = _KINDS[type(value)]
        known, where = kinds.setdefault(column, (kind, place))
        if known != kind:
            raise RecipientsError(
                f'{place}: "{column}" is {kind}, but {known} at {where}; write the'
                " same kind in all lines"
            )
