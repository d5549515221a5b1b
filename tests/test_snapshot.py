"""Claims about `engine.snapshot`: every row is there, once judged and never recut."""

import stat
import tempfile
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.io.plugins import register_io_source

from engine import parquet, recipients, snapshot
from engine.snapshot import Columns

SCHEMA = {
    "row": pl.UInt64(),
    "key": pl.String(),
    "address": pl.String(),
    "name": pl.String(),
    "message_id": pl.String(),
    "status": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "variant": pl.String(),
}
INVALID = "invalid"
DUPLICATE = "duplicate"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where a frozen list goes."""
    return tmp_path / "recipients.parquet"


def freeze(
    frame: pl.DataFrame | pl.LazyFrame,
    file: Path,
    *,
    name: str | None = None,
    key: str | None = None,
    data: Collection[str] = (),
    limit: int | None = None,
) -> pl.DataFrame:
    """Freeze a list and read it back; what was counted must be what is there."""
    columns = Columns("email", name, key, data)
    counts = snapshot.write(
        frame.lazy(), file, campaign="welcome", columns=columns, limit=limit
    )
    frozen = pl.read_parquet(file)
    assert dict(frozen["status"].value_counts().iter_rows()) == counts
    return frozen


def verdicts(frozen: pl.DataFrame) -> list[tuple[str | None, str | None]]:
    """Return status and reason of each row."""
    return frozen.select("status", "reason").rows()


# ---- columns


def test_each_row_is_frozen_in_its_place(file: Path) -> None:
    """Key, address and name are trimmed text, and rows keep the order of the input."""
    frame = pl.DataFrame(
        {
            "email": [" b@x.example\t", "Ann@X.example"],
            "who": [" Bea ", None],
            "id": [" 7", "2 "],
        }
    )
    frozen = freeze(frame, file, name="who", key="id", data=["who"])
    assert frozen.select("row", "key", "address", "name").rows() == [
        (0, "7", "b@x.example", "Bea"),
        (1, "2", "Ann@X.example", ""),
    ]
    assert verdicts(frozen) == [(None, None)] * 2


def test_the_columns_have_exactly_these_types(file: Path) -> None:
    """The schema is the documented one; `data` has what the templates read."""
    frame = pl.DataFrame({"email": ["a@x.example"], "n": [1], "other": [2]})
    frozen = freeze(frame, file, data=["n"])
    data = pl.Struct({"email": pl.String(), "n": pl.Int64()})
    assert dict(frozen.schema) == {**SCHEMA, "data": data}


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ([1, 2**63 - 1], ["1", "9223372036854775807"]),
        ([True, False], ["true", "false"]),
        ([1.5, -0.25], ["1.5", "-0.25"]),
        ([date(2026, 11, 20), date(2026, 1, 2)], ["2026-11-20", "2026-01-02"]),
        ([Decimal("1.50"), Decimal("2.00")], ["1.50", "2.00"]),
    ],
    ids=lambda value: type(value[0]).__name__,
)
def test_a_key_of_any_type_becomes_text(
    file: Path, values: list[object], keys: list[str]
) -> None:
    """A recipient's own id need not be text in the list."""
    frame = pl.DataFrame({"email": ["a@x.example", "b@x.example"], "id": values})
    frozen = freeze(frame, file, key="id")
    assert frozen["key"].to_list() == keys
    assert verdicts(frozen) == [(None, None)] * 2


def test_any_column_reaches_the_templates_as_it_is(file: Path) -> None:
    """Lists, structs, times and nulls are in `data` as they are in the list."""
    values = {
        "items": ["tea", None],
        "home": {"town": "Bath", "rooms": [1, 2]},
        "since": datetime(2026, 11, 20, 12, tzinfo=UTC),
        "price": Decimal("9.90"),
        "nothing": None,
    }
    frame = pl.DataFrame([{"email": "a@x.example", **values}])
    frozen = freeze(frame, file, data=list(values))
    assert frozen["data"].to_list() == [{"email": "a@x.example", **values}]


def test_the_message_id_depends_on_campaign_and_key_alone(file: Path) -> None:
    """It is the uuid5 of both, as RFC 9562 has it, wherever the row stands."""
    campaign = uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "mailvolley"), "welcome")
    frame = pl.DataFrame({"email": ["b@x.example", "a@x.example"], "id": ["é", "1"]})
    expected = [str(uuid.uuid5(campaign, key)) for key in ("é", "1")]
    assert freeze(frame, file, key="id")["message_id"].to_list() == expected


def test_without_a_key_the_address_gives_the_message_id(file: Path) -> None:
    """An address that is written otherwise next time is the same recipient."""
    campaign = uuid.uuid5(uuid.uuid5(uuid.NAMESPACE_URL, "mailvolley"), "welcome")
    frame = pl.DataFrame({"email": [" Ann@X.example"]})
    expected = [str(uuid.uuid5(campaign, "ann@x.example"))]
    assert freeze(frame, file)["message_id"].to_list() == expected


def test_nobody_else_can_read_it(file: Path) -> None:
    """The file is its owner's alone."""
    freeze(pl.DataFrame({"email": ["a@x.example"]}), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


# ---- who is mailed


@pytest.mark.parametrize(
    ("email", "key", "reason", "says"),
    [
        (None, "1", "address_missing", "has no address"),
        ("  ", "1", "address_missing", "has no address"),
        ("nobody", "1", "address_syntax", "name@example.com"),
        ("a\u200bb@x.example", "1", "address_control", "invisible"),
        ("a" * 65 + "@x.example", "1", "address_too_long", "too long"),
        ("bücher@x.example", "1", "address_not_ascii", "ASCII"),
        ("a@x.example", None, "key_missing", "own id is missing"),
        ("a@x.example", " ", "key_missing", "own id is missing"),
        (None, None, "address_missing", "has no address"),
    ],
)
def test_a_row_that_cannot_be_mailed_says_why(
    file: Path, email: str | None, key: str | None, reason: str, says: str
) -> None:
    """An invalid row stays in the list, with a code and a sentence."""
    rows = {"email": [email, "good@x.example"], "id": [key, "2"]}
    schema = {"email": pl.String, "id": pl.String}
    frozen = freeze(pl.DataFrame(rows, schema=schema), file, key="id")
    assert verdicts(frozen) == [(INVALID, reason), (None, None)]
    assert says in frozen["detail"][0]
    assert frozen["detail"][1] is None


def test_a_column_of_nothing_is_a_list_of_invalid_rows(file: Path) -> None:
    """A column that is null throughout has no type, and breaks nothing."""
    frozen = freeze(pl.DataFrame({"email": [None, None], "who": None}), file)
    assert verdicts(frozen) == [(INVALID, "address_missing")] * 2


def test_the_first_to_come_is_mailed(file: Path) -> None:
    """A later row of the same address or key says which row it repeats."""
    frame = pl.DataFrame(
        {
            "email": ["a@x.example", "b@x.example", " A@X.EXAMPLE", "c@x.example"],
            "id": ["1", "2", "3", "2"],
        }
    )
    frozen = freeze(frame, file, key="id")
    assert verdicts(frozen) == [
        (None, None),
        (None, None),
        (DUPLICATE, "same_address"),
        (DUPLICATE, "same_key"),
    ]
    assert frozen["detail"].to_list() == [
        None,
        None,
        "row 0 has the same address",
        "row 1 has the same key",
    ]


Row = tuple[str | None, str | None]
ADDRESSES = ("a@x.example", "A@x.Example ", "b@x.example", "c@x.example", "bad", None)
VALID = {"a@x.example", "b@x.example", "c@x.example"}


def judged(rows: list[Row]) -> list[tuple[str | None, str | None]]:
    """Say in plain Python what becomes of each row: who is left out, holds no place."""
    addresses: set[str] = set()
    keys: set[str] = set()
    found: list[tuple[str | None, str | None]] = []
    for email, id_ in rows:
        address, key = (email or "").strip().lower(), (id_ or "").strip()
        if address not in VALID:
            found.append((INVALID, "address_syntax" if address else "address_missing"))
        elif not key:
            found.append((INVALID, "key_missing"))
        elif address in addresses:
            found.append((DUPLICATE, "same_address"))
        elif key in keys:
            found.append((DUPLICATE, "same_key"))
        else:
            found.append((None, None))
            addresses.add(address)
            keys.add(key)
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ADDRESSES), st.sampled_from(("1", "2", " 1", "3", "", None))
        ),
        min_size=1,
        max_size=12,
    )
)
@example([("a@x.example", "1"), ("b@x.example", "1"), ("b@x.example", "2")])
@example([(None, "1"), ("a@x.example", "1"), ("a@x.example", None)])
@settings(max_examples=60, deadline=None)
def test_duplicates_are_found_as_if_one_by_one(rows: list[Row]) -> None:
    """Over any list the columns say what going through it row by row would say."""
    frame = pl.DataFrame(
        rows, schema={"email": pl.String, "id": pl.String}, orient="row"
    )
    with tempfile.TemporaryDirectory() as folder:
        frozen = freeze(frame, Path(folder) / "list.parquet", key="id")
    assert verdicts(frozen) == judged(rows)


@given(st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_without_a_key_the_address_alone_decides(emails: list[str | None]) -> None:
    """Where the list has no ids, the address is the key."""
    frame = pl.DataFrame({"email": emails}, schema={"email": pl.String})
    with tempfile.TemporaryDirectory() as folder:
        frozen = freeze(frame, Path(folder) / "list.parquet")
    assert verdicts(frozen) == judged([(email, email or "x") for email in emails])


# ---- reading once, and only so much


class Stream:
    """An Arrow stream that can be asked for once, and counts."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        self.asked = 0

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        self.asked += 1
        return self._frame.__arrow_c_stream__(requested_schema)


def test_a_stream_is_read_once(file: Path) -> None:
    """An Arrow stream is taken whole at the first reading, duplicates found."""
    frame = pl.DataFrame({"email": ["a@x.example", "b@x.example", "a@x.example"]})
    stream = Stream(frame)
    frozen = freeze(recipients.load(stream), file)
    assert stream.asked == 1
    assert frozen["address"].to_list() == frame["email"].to_list()
    assert frozen["status"].to_list() == [None, None, DUPLICATE]


def counting(frames: list[pl.DataFrame], readings: list[int]) -> pl.LazyFrame:
    """Return a list that notes each of its readings, and how many rows it gave."""

    def read(*_: object) -> Iterator[pl.DataFrame]:
        readings.append(0)
        for frame in frames:
            readings[-1] += frame.height
            yield frame

    return register_io_source(read, schema=frames[0].schema)


def test_a_query_is_run_once(file: Path) -> None:
    """A query need not give the same rows twice, so it is asked only once."""
    readings: list[int] = []
    frames = [pl.DataFrame({"email": [f"{n}@x.example"]}) for n in range(5)]
    frozen = freeze(counting(frames, readings), file)
    assert frozen.height == 5
    assert readings == [5]


@pytest.mark.parametrize(("limit", "rows"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_a_limit_takes_the_first_rows(file: Path, limit: int, rows: int) -> None:
    """It counts input rows, whatever becomes of them."""
    frame = pl.DataFrame(
        {"email": ["bad", "a@x.example", "a@x.example", "b@x.example"]}
    )
    frozen = freeze(frame, file, limit=limit)
    assert frozen["row"].to_list() == list(range(rows))
    whole = freeze(frame, file)
    assert frozen.rows() == whole.head(rows).rows()


def test_an_empty_list_gives_nothing(file: Path) -> None:
    """A query without rows is counted as none, for the planner to refuse."""
    empty = pl.LazyFrame(schema={"email": pl.String})
    columns = Columns("email", None, None, ())
    assert snapshot.write(empty, file, campaign="welcome", columns=columns) == {}


def test_a_failure_leaves_no_copy_behind(file: Path) -> None:
    """An error in the list comes through, and the rows seen so far are removed."""

    def read(*_: object) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"email": ["a@x.example"]})
        raise OSError("the disk is gone")

    frame = register_io_source(read, schema={"email": pl.String})
    columns = Columns("email", None, None, ())
    with pytest.raises(Exception, match="the disk is gone"):
        snapshot.write(frame, file, campaign="welcome", columns=columns)
    assert [path.name for path in file.parent.glob(".*")] == []


# ---- the same cut on every reading


def cut(file: Path, size: int, first: int = 0) -> list[list[int]]:
    """Return the rows of each chunk."""
    chunks = snapshot.chunks(file, size, first=first)
    return [chunk["row"].to_list() for chunk in chunks]


def sliced(rows: list[int], size: int) -> list[list[int]]:
    """Slice a list into pieces of a size."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


@given(
    mailable=st.lists(st.booleans(), min_size=1, max_size=30), size=st.integers(1, 32)
)
@settings(max_examples=40, deadline=None)
def test_chunks_are_slices_of_who_is_mailed(*, mailable: list[bool], size: int) -> None:
    """However rows are left out between them, chunks are full but for the last."""
    emails = [f"{n}@x.example" if good else "bad" for n, good in enumerate(mailable)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "list.parquet"
        freeze(pl.DataFrame({"email": emails}), file)
        chunks = cut(file, size)
    rows = [row for row, good in enumerate(mailable) if good]
    assert chunks == sliced(rows, size)


@pytest.mark.parametrize("first", [1, 3, 7, 8, 14, 20])
def test_the_first_have_chunks_of_their_own(tmp_path: Path, first: int) -> None:
    """No chunk reaches beyond them, and `begins` knows where each begins."""
    emails = ["bad", *(f"{n}@x.example" for n in range(9)), "worse"]
    file = tmp_path / "list.parquet"
    freeze(
        pl.DataFrame({"email": emails + [f"more{n}@x.example" for n in range(11)]}),
        file,
    )
    frozen = pl.read_parquet(file)
    rows = frozen.filter(pl.col("status").is_null())["row"].to_list()
    chunks = cut(file, 7, first)
    assert chunks == sliced(rows[:first], 7) + sliced(rows[first:], 7)
    ranks = pl.Series(range(len(rows)), dtype=pl.Int64)
    begins = snapshot.begins(ranks, 7, first=first)
    assert pl.Series(rows).filter(begins).to_list() == [chunk[0] for chunk in chunks]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Freeze a list of two groups and a piece, with gaps around the borders.

    Its last row repeats the first, so that duplicates lie in different groups.
    """
    height = 2 * parquet.GROUP + 1000
    row = pl.int_range(height)
    near_border = row.is_between(parquet.GROUP - 3, parquet.GROUP + 1)
    emails = (
        pl.when((row % 7 == 3) | near_border)
        .then(pl.lit("bad"))
        .when(row == height - 1)
        .then(pl.lit("0@x.example"))
        .otherwise(row.cast(pl.String) + "@x.example")
    )
    file = tmp_path_factory.mktemp("long") / "list.parquet"
    freeze(pl.select(email=emails), file)
    return file


def test_a_long_list_is_numbered_and_judged_throughout(long: Path) -> None:
    """Rows count on from piece to piece, and a twin is found in whatever group."""
    frozen = pl.read_parquet(long)
    assert frozen["row"].equals(pl.Series("row", range(frozen.height), dtype=pl.UInt64))
    assert frozen["row"].to_list()[-1] == 2 * parquet.GROUP + 999
    assert frozen.row(-1, named=True)["detail"] == "row 0 has the same address"
    duplicates = frozen.filter(pl.col("status") == DUPLICATE)
    assert duplicates.height == 1


@pytest.mark.parametrize(
    "size",
    [977, parquet.GROUP - 1, parquet.GROUP, parquet.GROUP + 1, 3 * parquet.GROUP],
)
def test_chunks_reach_across_groups(long: Path, size: int) -> None:
    """The cut knows nothing of how the file is grouped, and is the same every time."""
    mailable = pl.read_parquet(long).filter(pl.col("status").is_null())["row"].to_list()
    chunks = cut(long, size)
    assert chunks == sliced(mailable, size)
    assert chunks == cut(long, size)
    first = size + 5
    apart = sliced(mailable[:first], size) + sliced(mailable[first:], size)
    assert cut(long, size, first) == apart
