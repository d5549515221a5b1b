"""The frozen list: written once, read in the same pieces ever after.

`recipients.parquet` has one row per input row, in input order:

    row u64         0-based input position
    key str         the recipient's own id, else the address; "" where it is missing
    address str     bare address without white space around it; "" where it is missing
    name str        display name; "" where there is none
    message_id str  ours
    status str|null null: to be mailed; else `invalid` or `duplicate`
    reason str|null short code, where there is a status
    detail str|null a sentence, where there is a status
    data struct     the columns that the templates read

The list is read once, even where it could be read again: a query may not give the same
rows twice. Memory holds one hash per row while duplicates are found, else one group of
rows at a time.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine import address, batch
from engine.outcome import Status

#: Rows of one group of the file: 65 536 rows of 200 bytes are 13 MB in memory.
GROUP = 1 << 16

NO_KEY = "the recipient's own id is missing"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of the list mean what.

    Attributes:
        address: the addresses.
        name: the display names, if any.
        key: the recipients' own ids, if any.
        data: what the templates read.
    """

    address: str
    name: str | None
    key: str | None
    data: Collection[str]


def write(
    frame: pl.LazyFrame,
    path: Path,
    *,
    campaign: str,
    columns: Columns,
    limit: int | None = None,
) -> dict[Status | None, int]:
    """Freeze a list.

    Args:
        frame: the list, in input order.
        path: the file to write; beside it a second one exists for a while.
        campaign: the campaign's name, for the message ids.
        columns: which columns of the list mean what.
        limit: take only so many rows, from the first.

    Returns:
        Rows by what was planned for them; None: to be mailed.

    Raises:
        polars.exceptions.PolarsError: the list cannot be read.
    """
    aside = path.with_name(f".{path.name}.checked")
    checked = _checked(frame if limit is None else frame.head(limit), columns)
    for file in (aside, path):
        file.touch(mode=0o600)  # polars keeps the mode of a file that is there
    try:
        checked.sink_parquet(aside, row_group_size=GROUP)
        staged = pl.scan_parquet(aside)
        final = _final(staged, _duplicates(staged), campaign)
        final.sink_parquet(path, row_group_size=GROUP)
    finally:
        aside.unlink(missing_ok=True)
    counts = pl.scan_parquet(path).group_by("status").len().collect().iter_rows()
    return {Status(status) if status else None: rows for status, rows in counts}


def rows(path: Path) -> int:
    """Return how many rows a frozen list has."""
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def groups(path: Path) -> Iterator[pl.DataFrame]:
    """Read a frozen list, group by group, in order."""
    scan = pl.scan_parquet(path)
    for start in range(0, rows(path), GROUP):
        yield scan.slice(start, GROUP).collect()


def chunks(path: Path, size: int) -> Iterator[pl.DataFrame]:
    """Read the rows to be mailed in chunks of `size`; only the last may be shorter.

    The cut depends on the list and `size` alone: it is the same on every reading.
    """
    rest = pl.DataFrame()
    for group in groups(path):
        mailable = group.filter(pl.col("status").is_null())
        rest = pl.concat([rest, mailable]) if rest.height else mailable
        whole = rest.height - rest.height % size
        yield from rest.head(whole).iter_slices(size)
        rest = rest.tail(rest.height - whole)
    if rest.height:
        yield rest


def _checked(frame: pl.LazyFrame, columns: Columns) -> pl.LazyFrame:
    """One row per input row, with the reason why it cannot be mailed."""
    to_mail = pl.col(columns.address).cast(pl.String).str.strip_chars()
    key = to_mail if columns.key is None else pl.col(columns.key).cast(pl.String)
    name = pl.lit("") if columns.name is None else pl.col(columns.name).cast(pl.String)
    known = frame.select(
        key=key.fill_null("").str.strip_chars(),
        address=to_mail.fill_null(""),
        name=name.fill_null("").str.strip_chars(),
        data=pl.struct(sorted({columns.address, *columns.data})),
    )
    no_key = pl.when(pl.col("key") == "").then(pl.lit("key_missing"))
    return known.with_row_index("row").with_columns(
        pl.col("row").cast(pl.UInt64),
        reason=pl.coalesce(address.problem(pl.col("address")), no_key),
        identity=(
            address.normalised(pl.col("address")) if columns.key is None else "key"
        ),
    )


def _duplicates(staged: pl.LazyFrame) -> pl.DataFrame:
    """Find the rows whose address or key an earlier row has.

    First the hashes of all rows tell who may be one; then those few are gone through
    in order, exactly: a row that is left out does not make a later one a duplicate.
    """
    same_address = address.normalised(pl.col("address"))
    good = staged.filter(pl.col("reason").is_null())
    hashes = good.select(
        "row", address=same_address.hash(), key=pl.col("identity").hash()
    ).collect(engine="streaming")
    suspects = hashes.filter(
        pl.col("address").is_duplicated() | pl.col("key").is_duplicated()
    ).select("row")
    looked_at = good.join(suspects.lazy(), on="row", how="semi").select(
        "row", "identity", address=same_address
    )
    first_with_address: dict[str, int] = {}
    first_with_key: dict[str, int] = {}
    found: list[tuple[int, str, str]] = []
    for row, key, mail in looked_at.collect(engine="streaming").sort("row").iter_rows():
        if (first := first_with_address.get(mail)) is not None:
            found.append((row, "same_address", f"row {first} has the same address"))
        elif (first := first_with_key.get(key)) is not None:
            found.append((row, "same_key", f"row {first} has the same key"))
        else:
            first_with_address[mail] = first_with_key[key] = row
    schema = {"row": pl.UInt64, "twin": pl.String, "where": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


def _final(
    staged: pl.LazyFrame, duplicates: pl.DataFrame, campaign: str
) -> pl.LazyFrame:
    def ids(keys: pl.Series) -> pl.Series:
        return pl.Series(batch.message_ids(campaign, keys.to_list()), dtype=pl.String)

    def sentence(code: str) -> str:
        return NO_KEY if code == "key_missing" else address.sentence(code)

    told = pl.col("reason").map_elements(sentence, return_dtype=pl.String)
    joined = staged.join(duplicates.lazy(), on="row", how="left", maintain_order="left")
    invalid, twin = pl.col("reason").is_not_null(), pl.col("twin").is_not_null()
    return joined.select(
        "row",
        "key",
        "address",
        "name",
        message_id=pl.col("identity").map_batches(
            ids, return_dtype=pl.String, is_elementwise=True
        ),
        status=pl.when(invalid)
        .then(pl.lit(Status.INVALID))
        .when(twin)
        .then(pl.lit(Status.DUPLICATE)),
        reason=pl.coalesce("reason", "twin"),
        detail=pl.coalesce(told, "where"),
        data="data",
    )
