"""Polars: a list of recipients from any source, as one typed lazy frame.

How it works: a list is read with the polars scan of its format, so that it never stands
in memory as a whole. But polars mends what a list should be asked about: it fills short
rows, renames columns of the same name, takes numbers for text and null for empty, and
gives an unclosed quote the rest of the file. So every text file is read once before, by
a parser that mends nothing, and whatever could mean two things is refused with its file
and line.

Rules:
- A cell of a CSV file is text unless its column is declared; an empty cell is "".
- Rows keep the order of the input; files of a folder or glob, that of their names.
- A list is read to its end or not at all: who goes through one in pieces takes them
  from `engine.piecewise`.
- No error of polars leaves: what shows only when the frame is collected is translated
  by `translating`, which every collector wraps around its work.

    source.py     any source to one frame: files, frames, Arrow streams
    files.py      which files a source means; one file of a list
    delimited.py  CSV and TSV
    ndjson.py     NDJSON
    columnar.py   Parquet and Arrow IPC
    typed.py      declared types: text cells to numbers, dates and so on
"""

from engine.recipients.files import changed, translating
from engine.recipients.source import Source, fingerprint, load, state

__all__ = ["Source", "changed", "fingerprint", "load", "state", "translating"]
