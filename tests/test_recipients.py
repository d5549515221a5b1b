"""Any source becomes one typed lazy frame, or an error that names the place."""

import csv
import ctypes
import hashlib
import io
import os
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RecipientsError
from engine.recipients import Source, delimited, fingerprint, load, translating


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder, and make it the current one: names in errors stay short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _write(name: str, content: str | bytes) -> str:
    data = content.encode() if isinstance(content, str) else content
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(data)
    return name


def _refusal(source: Source, **types: str) -> str:
    with pytest.raises(RecipientsError) as caught:
        load(source, types=types)
    return str(caught.value)


def _rows(frame: pl.LazyFrame) -> list[tuple[object, ...]]:
    """Collect with both engines of polars, and hold them to one answer."""
    rows = frame.collect(engine="streaming").rows()
    assert rows == frame.collect(engine="in-memory").rows()
    return rows


def _as_csv_reads(content: str, separator: str) -> list[tuple[str, ...]]:
    lines = io.StringIO(content.removeprefix("\ufeff"), newline="")
    reader = csv.reader(lines, delimiter=separator, strict=True)
    return [tuple(record) for record in reader if record]


# --- formats ---

_FRAME = pl.DataFrame({"email": ["a@x.de", "b@x.de"], "n": [1, 2]})


@pytest.mark.parametrize("suffix", ["parquet", "pq", "arrow", "ipc", "feather"])
def test_columnar_files_keep_their_types(folder: Path, suffix: str) -> None:
    """What Parquet and Arrow know of a column is not lost."""
    path = folder / f"list.{suffix}"
    if suffix in {"parquet", "pq"}:
        _FRAME.write_parquet(path)
    else:
        _FRAME.write_ipc(path)
    assert _FRAME.rows() == _rows(load(path))
    assert _FRAME.schema == load(path).collect_schema()


_PIECES = pl.DataFrame({"n": range(150_000)}).with_columns(
    email=pl.format("reader{}@x.de", "n"), odd=pl.col("n") % 2 == 1
)


def _write_in_one_group(suffix: str) -> str:
    name = f"list.{suffix}"
    if suffix == "parquet":
        _PIECES.write_parquet(name, row_group_size=_PIECES.height)
    else:
        _PIECES.write_ipc(name)
    return name


def _expect_changed(frame: pl.LazyFrame, name: str) -> None:
    with (
        pytest.raises(RecipientsError, match="changed while it was read"),
        translating(name),
    ):
        frame.collect()


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.usefixtures("folder")
def test_columnar_files_of_many_pieces_are_read_whole_and_in_order(suffix: str) -> None:
    """However a query asks for them: columns, first rows, rows by another column."""
    frame = load(_write_in_one_group(suffix))
    assert _PIECES.equals(frame.collect())
    assert _PIECES.select("email").equals(frame.select("email").collect())
    assert _PIECES.head(70_000).equals(frame.head(70_000).collect())
    odd = frame.filter("odd").select("n").head(40_000).collect()
    assert odd["n"].to_list() == list(range(1, 80_000, 2))
    batches = list(frame.collect_batches(chunk_size=10_000, lazy=True))
    assert _PIECES.equals(pl.concat(batches))


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.usefixtures("folder")
def test_a_columnar_file_that_is_replaced_under_the_reader_is_noticed(
    suffix: str,
) -> None:
    """Not even by one of as many rows: a list would be half of each."""
    name = _write_in_one_group(suffix)
    frame = load(name)
    Path(name).rename("before")
    _write_in_one_group(suffix)
    _expect_changed(frame, name)


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.usefixtures("folder")
def test_a_columnar_file_that_is_cut_under_the_reader_is_called_changed(
    suffix: str,
) -> None:
    """Not damaged: whoever writes to it is to be waited for."""
    name = _write_in_one_group(suffix)
    frame = load(name)
    Path("cut").write_bytes(Path(name).read_bytes()[:1000])
    Path("cut").replace(name)
    _expect_changed(frame, name)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_that_may_not_be_read_is_told_as_that(folder: Path, suffix: str) -> None:
    """It may be whole, and in the right format."""
    path = folder / f"list.{suffix}"
    path.touch(mode=0o000)
    assert "see to its permissions" in _refusal(path)


_PEAK = """
import re, sys
from pathlib import Path
from engine.recipients import load
def peak():  # not ru_maxrss: it begins with what the parent had
    return int(re.search("VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
frame = load(sys.argv[1])
before = peak()
"""
_THROUGH = f"""{_PEAK}
rows = 0
for batch in frame.collect_batches(chunk_size=10_000, lazy=True):
    rows += batch.height
print(rows, (peak() - before) * 1024)
"""


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_columnar_file_is_not_read_ahead(folder: Path, suffix: str) -> None:
    """However its writer has grouped the rows, a part of it stands in memory."""
    numbers = pl.DataFrame({"n": pl.Series(range(2_000_000))})
    frame = numbers.select(
        pl.format("{}@x.de", pl.col("n").hash(seed)).alias(f"c{seed}")
        for seed in range(3)
    )
    path = folder / f"list.{suffix}"
    if suffix == "parquet":
        frame.write_parquet(path, row_group_size=frame.height)
    else:
        frame.write_ipc(path)
    command = [sys.executable, "-c", _THROUGH, path]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows, more = map(int, told.split())
    assert frame.height == rows
    assert more < frame.estimated_size()


_BUSY = f"""{_PEAK}
import time
from engine.parquet import GROUP
from engine.piecewise import collect
for piece in collect(frame, GROUP):
    time.sleep(0.03)
print((peak() - before) * 1024)
"""


def test_a_list_does_not_gather_while_its_reader_is_busy(folder: Path) -> None:
    """Of ten million rows, a hundred megabytes more than of one million did."""
    place = pl.int_range(2_000_000, eager=True).alias("n")
    frame = place.to_frame().select(
        pl.format("a cell of some letters {}", (pl.col("n") + c) % 997).alias(f"c{c}")
        for c in range(6)
    )
    path = folder / "list.parquet"
    frame.write_parquet(path)
    command = [sys.executable, "-c", _BUSY, path]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(told) < 0.45 * frame.estimated_size()


@pytest.mark.parametrize("suffix", ["ndjson", "jsonl"])
@pytest.mark.usefixtures("folder")
def test_json_lines_keep_nested_values_and_late_fields(suffix: str) -> None:
    """Lists and objects reach the template; a field of the last line alone is there."""
    lines = ['{"email": "a@x.de", "tags": ["x"], "home": {"city": "Oslo"}}'] * 300
    lines += ["", '{"email": "b@x.de", "late": 1.5}', ""]
    rows = _rows(load(_write(f"list.{suffix}", "\n".join(lines))))
    assert len(rows) == 301
    assert rows[0] == ("a@x.de", ["x"], {"city": "Oslo"}, None)
    assert rows[-1] == ("b@x.de", None, None, 1.5)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", "email,n\na@x.de,1\n"),
        ("list.CSV", "email,n\r\na@x.de,1"),
        ("list.csv", "email;n\na@x.de;1\n"),
        ("list.csv", "email\tn\na@x.de\t1\n"),
        ("list.tsv", "email\tn\na@x.de\t1\n"),
        ("list.tab", 'email\t"n"\n"a@x.de"\t1\n'),
        ("list.csv", "\ufeffemail,n\na@x.de,1\n"),
        ("list.csv", '\ufeff"email","n"\r\n"a@x.de","1"\r\n'),
        ("list.csv", "\nemail,n\n\na@x.de,1\n\n\n"),
        ("list.csv", "\r\n\r\nemail,n\r\na@x.de,1\r\n"),
        ("list.csv", "\ufeff\n\nemail,n\na@x.de,1\n"),
        ("list.csv", "email,n\ra@x.de,1\r"),
        ("odd[1]*.csv", "email,n\na@x.de,1\n"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_text_files_mean_the_same_however_written(name: str, content: str) -> None:
    """Separator, byte order mark, line ends and blank lines are not data."""
    frame = load(_write(name, content))
    assert frame.collect_schema().names() == ["email", "n"]
    assert _rows(frame) == [("a@x.de", "1")]


@pytest.mark.usefixtures("folder")
def test_a_json_file_may_be_named_like_a_glob() -> None:
    """A path that exists is that file, whatever brackets its name has."""
    assert _rows(load(_write("odd[1]*.jsonl", '{"n": 1}\n'))) == [(1,)]


@pytest.mark.usefixtures("folder")
def test_cells_are_text_and_empty_ones_stay_empty() -> None:
    """Leading zeros survive, and an empty cell is not null."""
    content = 'email,zip,note\na@x.de,00123,""\nb@x.de,,1e5\n'
    expected = [("a@x.de", "00123", ""), ("b@x.de", "", "1e5")]
    assert expected == _rows(load(_write("list.csv", content)))


@pytest.mark.usefixtures("folder")
def test_a_file_can_be_collected_again_in_part() -> None:
    """A frame over a file can be filtered, cut and collected any number of times."""
    plain = load(_write("plain.csv", "a,b\n1,x\n2,y\n3,z\n"))
    blank = load(_write("blank.csv", "a,b\n1,x\n\n2,y\n3,z\n"))
    for frame in (plain, blank):
        above_one = pl.col("a") > "1"
        assert _rows(frame.head(2).filter(above_one).select("b")) == [("y",)]
        assert _rows(frame.filter(above_one).select("b")) == [("y",), ("z",)]
        assert _rows(frame.filter(above_one).head(1).select("a")) == [("2",)]
        assert _rows(frame.select(pl.len())) == [(3,)]


# --- what csv and polars read otherwise ---

_cells = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.sampled_from(
        ["", "007", 'say "hi"', "a,b", "a;b", "x\ny", "x\r\ny", "Zoë 👩‍🚀"]
    ),
)
_tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(_cells, min_size=width, max_size=width), min_size=1, max_size=5
    )
)


@given(_tables, st.sampled_from(["\n", "\r\n"]), st.sampled_from(",;\t"))
def test_what_csv_writes_comes_back_cell_for_cell(
    table: list[list[str]], newline: str, separator: str
) -> None:
    """Any script, quote, comma, line break and emoji survives its way in a file."""
    header = list(string.ascii_lowercase[: len(table[0])])
    with TemporaryDirectory() as folder:
        path = Path(folder, "list.csv" if len(header) > 1 else "list.tsv")
        if len(header) == 1:
            separator = "\t"
        with path.open("w", encoding="utf-8", newline="") as file:
            # Unless told, the writer leaves a lone return unquoted before "\n".
            quoting = csv.QUOTE_ALL if newline == "\n" else csv.QUOTE_MINIMAL
            writer = csv.writer(
                file, delimiter=separator, lineterminator=newline, quoting=quoting
            )
            writer.writerows([header, *table])
        frame = load(path)
        assert header == frame.collect_schema().names()
        assert list(map(tuple, table)) == _rows(frame)


_proper = ["", "a", "é", " ", '"x"', '""', '"a""b"', '"p\nq"', '"\r"', '"""q"""', '","']
_odd = ['x"y', 'x"', 'x""y', 'x"",', '"x"y', ' "x"', '"x']
_raw_cells = st.sampled_from(_proper * 4 + _odd)
_headers = st.sampled_from(["a", '"a ""b"""', "a,b", '"a\nb",c', "a,b,c", '"a","b",c'])
_line_ends = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r\n", "\r", "\n\n", "\r\r\n"])


@given(
    st.data(),
    st.sampled_from(["", "", "\ufeff", "\n"]),
    _headers,
    st.sampled_from(["", "", "\r", '"', "x"]),
)
def test_an_odd_file_is_read_as_csv_reads_it_or_refused(
    data: st.DataObject, start: str, header: str, end: str
) -> None:
    """Where polars and the csv module differ, the latter is right or nobody is."""
    width = 1 + header.count(",")
    row = st.lists(_raw_cells, min_size=width, max_size=width).map(",".join)
    lines = data.draw(st.lists(st.builds(add, row, _line_ends), max_size=5))
    content = f"{start}{header}\n{''.join(lines)}".rstrip("\r\n") + end
    with TemporaryDirectory() as folder:
        path = Path(folder, "list.csv")
        path.write_bytes(content.encode())
        try:
            frame = load(path)
        except RecipientsError:
            return
        names = tuple(frame.collect_schema().names())
        assert _as_csv_reads(content, ",") == [names, *_rows(frame)]


@pytest.mark.usefixtures("folder")
def test_a_quote_inside_an_unquoted_cell_is_a_character() -> None:
    """Inches are not the start of a quoted cell that swallows the next rows."""
    content = 'a,b\n5" pipe,x\n6" pipe,y\n"7"" pipe",z\n'
    expected = [('5" pipe', "x"), ('6" pipe', "y"), ('7" pipe', "z")]
    assert expected == _rows(load(_write("list.csv", content)))


@pytest.mark.usefixtures("folder")
def test_cells_with_line_breaks_survive_a_file_of_many_blocks() -> None:
    """Blocks of the check and chunks of polars may end inside a quoted cell."""
    rows = [(f"{n}", f'line "{n}"\nand, {"more " * (n % 7)}') for n in range(30_000)]
    with Path("list.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("a", "b"), *rows])
    assert delimited._is_plain(Path("list.csv"), ",")
    assert rows == load("list.csv").collect(engine="streaming").rows()


@pytest.mark.usefixtures("folder")
def test_one_odd_row_of_a_large_file_is_enough_to_leave_polars() -> None:
    """A lone return in the first block is not forgotten for the plain ones after it."""
    plain = "x,y\n" * 100_000
    frame = load(_write("list.csv", f"a,b\n1,2\r3,4\n{plain}"))
    assert frame.head(2).collect().rows() == [("1", "2"), ("3", "4")]


@pytest.mark.usefixtures("folder")
def test_a_return_before_a_quoted_cell_ends_the_row() -> None:
    """The newline behind the quotes does not make the return in front harmless."""
    frame = load(_write("list.csv", 'a\nx\r"y\n"\nz\n'))
    assert _rows(frame) == [("x",), ("y\n",), ("z",)]


# --- what is refused ---


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ("a,b,a\n1,2,3\n", ":1: ", '2 columns are named "a"'),
        ("\n\na,a\n1,2\n", ":3: ", '2 columns are named "a"'),
        ("a,,c\n1,2,3\n", ":1: ", "column 2 has no name"),
        ("a, ,c\n1,2,3\n", ":1: ", "column 2 has no name"),
        ("a,b\n1,2\n3\n", ":3: ", "cells in this row: 1, in the header: 2"),
        ("a,b\n1,2\n\n3,4,5\n", ":4: ", "cells in this row: 3, in the header: 2"),
        ('a,b\n"1\n1",2\n3\n', ":4: ", "cells in this row: 1, in the header: 2"),
        ("a;b\n1;2\n3;4;5\n", ":3: ", "separated by semicolon"),
        ('a,b\n1,2\n3,"4\n5,6\n', ":3: ", "opened and never closed"),
        ('a,b\n1,2\n"3"x,4\n', ":3: ", "text follows a closing quote"),
        ('a,"b\n1,2\n', ":1: ", "opened and never closed"),
        ("a,b\n1," + "x" * 200_000 + "\n", ":2: ", "longer than 131072 characters"),
        (b"a,b\n1,2\nJos\xe9,3\n", ":3: ", "byte 0xE9 is not UTF-8"),
        (b"a,b\xff\n1,2\n", ":1: ", "byte 0xFF is not UTF-8"),
        (b"a,b\n1,2\n3,\xed\xa0\x80\n", ":3: ", "byte 0xED is not UTF-8"),
        (b"a,b\n1,2\n3,\0\n", ":3: ", "NUL"),
        (b'a,b\nx"y,2\n3,\0\n', ":3: ", "NUL"),
        (b'a,b\n1,2\n3,"\n\0"\n', ":4: ", "NUL"),
        ("a,b\n1,2\n".encode("utf-16"), ": ", "is UTF-16; save it as UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-be"), ":1: ", "NUL"),
        ("", ": ", "is empty"),
        ("\ufeff", ": ", "is empty"),
        ("\n\r\n\n", ": ", "is empty"),
        ("a,b", ": ", "no recipients"),
        ("a,b\n\n\n", ": ", "no recipients"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_what_polars_would_mend_in_silence_is_refused_by_line(
    content: str | bytes, place: str, words: str
) -> None:
    """A text file that could mean two things is not read; its line is named."""
    refusal = _refusal(_write("list.csv", content))
    assert refusal.startswith(f"list.csv{place}")
    assert words in refusal


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ('{"a": 1}\n\n{"a":\n{"a": 2}\n', ":3: ", "is not JSON"),
        ('{"a": 1}\n{"a": 2', ":2: ", "is not JSON"),
        ('{"a": 1}\n{"a": 2} {"a": 3}\n', ":2: ", "is not JSON"),
        (b'{"a": "x"}\n{"a": "\xff"}\n', ":2: ", "is not JSON in UTF-8"),
        ('{"a": "x"}\n{"a": "\\ud800"}\n', ":2: ", "is not JSON in UTF-8"),
        ('\ufeff{"a": "x"}\n', ":1: ", "no byte order mark"),
        ('{"a": 1}\n[1]\n', ":2: ", "is not an object"),
        ('{"a": 1}\nnull\n', ":2: ", "is not an object"),
        ('{"a": 1}\n{"b": 1}\n{"a": "x"}\n', ":3: ", '"a" is text, but a number at l'),
        ('{"a": true}\n{"a": 1}\n', ":2: ", "is a number, but true or false at list"),
        ('{"a": {}}\n{"a": null}\n{"a": []}\n', ":3: ", "a list, but an object at "),
        ('{"": 1}\n', ": ", "column 1 has no name"),
        ("{}\n", ": ", "no columns"),
        ("", ": ", "is empty"),
        ("\n \n", ": ", "no recipients"),
        ('{"a": 1}\n'.encode("utf-16"), ": ", "is UTF-16"),
        ('{"a": "' + "x" * (16 << 20) + '"}', ":1: ", "longer than 16 MiB"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_broken_json_line_is_refused_by_line(
    content: str | bytes, place: str, words: str
) -> None:
    """What is not one object of one shape a line is not read; its line is named."""
    refusal = _refusal(_write("list.jsonl", content))
    assert refusal.startswith(f"list.jsonl{place}")
    assert words in refusal


@pytest.mark.usefixtures("folder")
def test_a_source_that_is_no_list_is_refused_by_name() -> None:
    """What is missing, packed, unknown, remote or a pipe is named with what to do."""
    os.mkfifo("pipe.csv")
    Path("empty").mkdir()
    assert "nowhere.csv: there is no such file" in _refusal("nowhere.csv")
    assert "*.csv.x: there is no such file" in _refusal("*.csv.x")
    assert "s3://b/list.csv: there is no such file" in _refusal("s3://b/list.csv")
    assert "empty: holds no list" in _refusal("empty")
    assert 'unknown suffix ".xlsx"' in _refusal(_write("list.xlsx", "x"))
    assert "unpack it first" in _refusal(_write("list.csv.gz", "x"))
    assert "is not a regular file" in _refusal("pipe.csv")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_truncated_columnar_file_is_refused(folder: Path, suffix: str) -> None:
    """No error of polars leaves, even for a file without its end."""
    path = folder / f"list.{suffix}"
    (_FRAME.write_parquet if suffix == "parquet" else _FRAME.write_ipc)(path)
    for kept in (0, 5, path.stat().st_size - 3):
        path.write_bytes(path.read_bytes()[:kept])
        assert f"list.{suffix}: cannot be read: " in _refusal(path)


def test_damage_found_late_is_translated(folder: Path) -> None:
    """What only collecting shows becomes an error about the file too."""
    path = folder / "list.parquet"
    _FRAME.write_parquet(path, compression="uncompressed")
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 30 + content[34:])
    frame = load(path)
    with pytest.raises(RecipientsError, match=r"list.parquet: cannot be read"):  # noqa: SIM117 - the inner block is the claim
        with translating(path):
            frame.collect()


@pytest.mark.usefixtures("folder")
def test_a_file_that_changes_under_the_reader_is_noticed() -> None:
    """The lines that `csv` reads again are checked again."""
    frame = load(_write("list.csv", "a,b\n1,2\n\n3,4\n"))
    _write("list.csv", "a,b\n1,2\n\n3\n")
    with pytest.raises(RecipientsError, match="changed while it was read"):
        frame.collect()


@pytest.mark.usefixtures("folder")
def test_the_global_cell_limit_of_csv_is_left_alone() -> None:
    """Reading a list changes nothing for the rest of the program."""
    before = csv.field_size_limit()
    load(_write("list.csv", "a\n1\n"))
    assert before == csv.field_size_limit()


# --- many files ---


@pytest.mark.usefixtures("folder")
def test_files_of_a_folder_or_glob_follow_their_names() -> None:
    """All known files in order; hidden ones, folders and other files do not count."""
    for name, content in {
        "lists/2.csv": "a,b\n3,x\n",
        "lists/1.csv": "a,b\n1,x\n\n2,x\n",
        "lists/3.csv": "a,b\n",
        "lists/.4.csv": "a,b\n5,x\n",
        "lists/_6.csv": "a,b\n7,x\n",
        "lists/README.md": "x",
        "lists/more.csv/8.csv": "a,b\n9,x\n",
    }.items():
        _write(name, content)
    expected = [("1", "x"), ("2", "x"), ("3", "x")]
    assert expected == _rows(load("lists"))
    assert expected == _rows(load(Path("lists/?.csv")))
    assert _rows(load("lists/**/8.*")) == [("9", "x")]


@pytest.mark.usefixtures("folder")
def test_unlike_files_are_refused_by_both_names() -> None:
    """Other columns, another order, another type or another format is not one list."""
    _write("names/1.csv", "a,b\n1,2\n")
    _write("names/2.csv", "b,a\n1,2\n")
    _write("formats/1.csv", "a\n1\n")
    _write("formats/2.tsv", "a\n1\n")
    _write("packed/1.csv", "a\n1\n")
    _write("packed/2.csv.gz", "x")
    Path("types").mkdir()
    pl.DataFrame({"a": [1]}).write_parquet("types/1.parquet")
    pl.DataFrame({"a": ["1"]}).write_parquet("types/2.parquet")
    _write("kinds/1.jsonl", '{"a": 1}')
    _write("kinds/2.jsonl", '{"a": "x"}')
    assert 'names/1.csv has the columns "a" String, "b" String, but' in _refusal(
        "names"
    )
    assert "1.csv is CSV" in _refusal("formats")
    assert "2.tsv is TSV" in _refusal("formats")
    assert "packed/2.csv.gz: is packed" in _refusal("packed")
    assert 'types/2.parquet has "a" String' in _refusal("types")
    assert 'kinds/2.jsonl:1: "a" is text, but a number at kinds/1' in _refusal("kinds")


@pytest.mark.usefixtures("folder")
def test_a_field_may_be_missing_from_all_lines_of_a_json_file() -> None:
    """What one file lacks is null, as in a line that lacks it."""
    _write("lists/1.jsonl", '{"a": 1, "o": {"x": 1}}\n')
    _write("lists/2.jsonl", '{"b": "y", "o": {"z": 2}}\n')
    expected = [(1, {"x": 1, "z": None}, None), (None, {"x": None, "z": 2}, "y")]
    assert expected == _rows(load("lists"))


def test_an_order_of_many_files_holds(folder: Path) -> None:
    """Rows of many files stay in order, on every engine."""
    for part in range(8):
        start = part * 20_000
        rows = "\n".join(map(str, range(start, start + 20_000)))
        (folder / f"{part}.csv").write_text(f"n\n{rows}\n")
    numbers = load(folder).select(pl.col("n").cast(pl.Int64))
    assert list(range(160_000)) == [number for (number,) in _rows(numbers)]


# --- declared types ---

_TYPED = """\
t,i,n,b,d,m
007,-12,12.5,Yes,2026-12-24,2026-12-24T18:00:00Z
 x , +3 ,1e3,0,2024-02-29,2026-12-24 18:00
,,,,,
y,0,.5,TRUE,0001-01-01,2026-12-24T18:00:00.25+0200
z,9,-0,no,9999-12-31,2026-12-24T18:00-05:30
"""
_TYPES = {
    "t": "text",
    "i": "integer",
    "n": "number",
    "b": "boolean",
    "d": "date",
    "m": "datetime",
}


@pytest.mark.usefixtures("folder")
def test_declared_columns_are_parsed_and_empty_cells_null() -> None:
    """Each type reads its forms; moments come out in UTC."""
    frame = load(_write("list.csv", _TYPED), types=_TYPES)
    noon = datetime(2026, 12, 24, 12, tzinfo=UTC)
    expected = [
        ("007", -12, 12.5, True, date(2026, 12, 24), noon.replace(hour=18)),
        (" x ", 3, 1000.0, False, date(2024, 2, 29), noon.replace(hour=18)),
        ("", None, None, None, None, None),
        ("y", 0, 0.5, True, date.min, noon.replace(hour=16, microsecond=250_000)),
        ("z", 9, 0.0, False, date.max, noon.replace(hour=23, minute=30)),
    ]
    assert expected == _rows(frame)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("integer", "1.0"),
        ("integer", "1_000"),
        ("integer", "9223372036854775808"),
        ("integer", "x"),
        ("number", "1,5"),
        ("number", "nan"),
        ("number", "inf"),
        ("number", "1e999"),
        ("boolean", "maybe"),
        ("date", "24.12.2026"),
        ("date", "26-12-24"),
        ("date", "2026-1-2"),
        ("date", "2026-02-30"),
        ("date", "2026-12-24T00:00"),
        ("datetime", "2026-12-24"),
        ("datetime", "2026-12-24T25:00"),
        ("datetime", "2026-12-24T18:00 CET"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_cell_of_another_type_is_refused_by_line(kind: str, cell: str) -> None:
    """Line, column and value are named, behind cells of two lines and blank lines."""
    content = f'a,c\n"1\n1",\n\n2,\n3,"{cell}"\n4,worse\n'
    refusal = _refusal(_write("list.csv", content), c=kind)
    assert refusal.startswith(f"list.csv:6: c = '{cell}' is not ")


@pytest.mark.usefixtures("folder")
def test_a_bad_cell_is_found_in_the_right_file() -> None:
    """Lines count from the beginning of their own file."""
    _write("lists/1.csv", "a\n1\n2\n")
    _write("lists/2.csv", "a\n3\nx\n")
    _write("lists/1.jsonl", '{"a": "1"}\n\n{"a": "x"}\n')
    pl.DataFrame({"a": ["1", None, "x"]}).write_parquet("list.parquet")
    assert "lists/2.csv:3: a = 'x'" in _refusal("lists/*.csv", a="integer")
    assert "lists/1.jsonl:3: a = 'x'" in _refusal("lists/*.jsonl", a="integer")
    assert "list.parquet: row 3: a = 'x'" in _refusal("list.parquet", a="integer")


def test_a_declaration_that_does_not_fit_is_refused() -> None:
    """Columns that are not there, types that disagree, types that do not exist."""
    frame = pl.DataFrame({"a": ["1"], "n": [1.5], "z": [None]})
    refusal = _refusal(frame, b="integer")
    assert 'declared for "b", which the list does not have; it has "a", "n"' in refusal
    assert '"n" is declared integer, but the list has it as Float64' in _refusal(
        frame, n="integer"
    )
    assert _refusal(frame, n="text").startswith("the list: ")
    assert _rows(load(frame, types={"a": "integer", "n": "number", "z": "date"})) == [
        (1, 1.5, None)
    ]
    with pytest.raises(ValueError, match="int"):
        load(frame, types={"a": "int"})


# --- frames and Arrow ---


class _Stream:
    """An Arrow stream as another library would hand it over."""

    def __init__(self, *frames: pl.DataFrame) -> None:
        self._frame = pl.concat(frames, rechunk=False)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


class _Array:
    """One Arrow record batch as another library would hand it over, by the C ABI."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._stream = frame.__arrow_c_stream__()
        # Room for the structs ArrowSchema (72 bytes) and ArrowArray (80 bytes).
        self._structs = (
            ctypes.create_string_buffer(72),
            ctypes.create_string_buffer(80),
        )

    def __arrow_c_array__(
        self, requested_schema: object | None = None
    ) -> tuple[object, object]:
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = (
            ctypes.c_void_p,
            [ctypes.py_object, ctypes.c_char_p],
        )
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = (
            ctypes.py_object,
            [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
        )
        stream = pointer(self._stream, b"arrow_array_stream")
        # ArrowArrayStream begins with the functions get_schema and get_next.
        functions = (ctypes.c_void_p * 2).from_address(stream)
        call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        for function, struct in zip(functions, self._structs, strict=True):
            assert call(function)(stream, ctypes.addressof(struct)) == 0
        schema, array = map(ctypes.addressof, self._structs)
        return new(schema, b"arrow_schema", None), new(array, b"arrow_array", None)


def test_an_arrow_batch_is_a_frame() -> None:
    """One record batch stands in memory already, and can be collected again."""
    frame = load(_Array(_FRAME), types={"n": "integer"})
    assert _FRAME.rows() == _rows(frame)


def test_frames_are_taken_as_they_are() -> None:
    """A frame of a pipeline keeps its rows and types, and refuses to be empty."""
    assert _FRAME.rows() == _rows(load(_FRAME))
    assert _FRAME.rows() == _rows(load(_FRAME.lazy()))
    assert "no recipients" in _refusal(_FRAME.clear())
    assert "column 1 has no name" in _refusal(pl.DataFrame({"": [1]}))
    missing = pl.scan_parquet("nowhere.parquet")
    assert "the list: cannot be read: " in _refusal(missing)
    with pytest.raises(TypeError, match="dict"):
        load({"a": [1]})  # the claim is about what the type forbids


def test_an_arrow_stream_is_read_once() -> None:
    """Rows come batch by batch in order; a second reading is refused, not empty."""
    frame = load(_Stream(_FRAME, _FRAME))
    rows = frame.collect(engine="streaming").rows()
    assert _FRAME.rows() * 2 == rows
    with pytest.raises(RecipientsError, match="only once"):
        frame.collect()


def test_an_arrow_stream_can_be_asked_for_a_part() -> None:
    """The first rows are cut before they are filtered."""
    frame = load(_Stream(_FRAME, _FRAME, _FRAME)).head(3)
    assert frame.filter(pl.col("n") > 1).select("email").collect().rows() == [
        ("b@x.de",)
    ]


def test_a_bad_cell_of_a_stream_is_named_when_it_comes() -> None:
    """A stream cannot be read beforehand, so its cells are checked on the way."""
    cells = pl.DataFrame({"a": ["1", "", None, "2", "x"]})
    good = load(_Stream(cells.head(4)), types={"a": "integer"})
    assert {"a": pl.Int64} == dict(good.collect_schema())
    assert good.collect()["a"].to_list() == [1, None, None, 2]
    many = pl.DataFrame({"a": ["1"] * 300_000})
    bad = load(_Stream(many, cells), types={"a": "integer"})
    with pytest.raises(RecipientsError, match="row 300005: a = 'x' is not an integer"):
        bad.collect()


# --- fingerprints ---


@pytest.mark.usefixtures("folder")
def test_a_fingerprint_tells_lists_apart() -> None:
    """Bytes, order and names count; what reading could use up is not read."""
    _write("lists/1.csv", "a\n1\n")
    _write("lists/2.csv", "a\n2\n")
    files = fingerprint("lists")["files"]
    assert isinstance(files, list)
    assert [(file["path"], file["bytes"]) for file in files] == [
        ("lists/1.csv", 4),
        ("lists/2.csv", 4),
    ]
    digests = [
        hashlib.sha256(content).hexdigest() for content in (b"a\n1\n", b"a\n2\n")
    ]
    assert digests == [file["sha256"] for file in files]
    assert fingerprint(_FRAME) == fingerprint(_FRAME.clone())
    assert fingerprint(_FRAME) != fingerprint(_FRAME.reverse())
    assert fingerprint(_FRAME) != fingerprint(_FRAME.rename({"n": "m"}))
    assert fingerprint(_FRAME.lazy()) == {}
    assert fingerprint(_Stream(_FRAME)) == {}
    with pytest.raises(RecipientsError, match="no such file"):
        fingerprint("nowhere.csv")


# --- size ---


def _lines(count: int) -> Iterator[str]:
    yield "email,name,id,city,score,joined\n"
    for n in range(count):
        yield f'user{n}@example.com,"Lee, ""{n}""",{n:08},Oslo,{n % 100},2026-01-02\n'


@pytest.mark.slow
def test_checking_a_list_costs_microseconds_a_row(folder: Path) -> None:
    """A check of a row takes less than 4 µs of processor time, the slow runs too."""
    path = folder / "list.csv"
    with path.open("w") as file:
        file.writelines(_lines(200_000))
    start = time.process_time()
    load(path)
    seconds = time.process_time() - start
    assert seconds < 200_000 * 4e-6
