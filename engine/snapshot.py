"""The frozen list: written once, read in the same pieces ever after.

`recipients.parquet` has one row per input row, in input order:

    row u64         0-based input position
    key str         the recipient's own id, else the address; "" where it is missing
    address str     bare address without white space around it; "" where it is missing
    name str        display name; "" where there is none
    message_id str  ours
    status str|null null: to be mailed; else `invalid`, `suppressed` or `duplicate`
    reason str|null short code, where there is a status
    detail str|null a sentence, where there is a status
    data struct     the columns that the templates read

The list is read once, even where it could be read again: a query may not give the same
rows twice. Memory holds one hash per row while duplicates are found, else one group of
rows at a time.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from engine import address, batch, parquet
from engine.outcome import Status
from engine.parquet import GROUP

NO_KEY = "the recipient's own id is missing"

#: Finds who must not be mailed: normalised addresses to `suppressed`, the reason, and
#: `source`, both str, null for who may be.
Suppressed = Callable[[pl.Series], pl.DataFrame]
#: Nobody is left out by their address.
_NOBODY: Final = {"suppressed": pl.String(), "source": pl.String()}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """Who is left out beside those who cannot be mailed.

    Attributes:
        sent: who has been written to: message_id str, unique, and run str, which wrote
            to them.
        suppressed: finds who must not be mailed.
        special_use: whether addresses that no mail can reach are invalid.
    """

    sent: pl.DataFrame | None = None
    suppressed: Suppressed | None = None
    special_use: bool = False


def write(
    frame: pl.LazyFrame,
    path: Path,
    *,
    campaign: str,
    columns: Columns,
    limit: int | None = None,
    leaving: Leaving | None = None,
    look: Callable[[pl.DataFrame], None] = lambda _group: None,
) -> dict[Status | None, int]:
    """Freeze a list.

    Args:
        frame: the list, in input order.
        path: the file to write; beside it a second one exists for a while.
        campaign: the campaign's name, for the message ids.
        columns: which columns of the list mean what.
        limit: take only so many rows, from the first.
        leaving: who is left out; None: only those who cannot be mailed.
        look: is shown every group of the frozen list as it is written.

    Returns:
        Rows by what was planned for them; None: to be mailed. Empty if the list is,
        and then there is no file.

    Raises:
        polars.exceptions.PolarsError: the list cannot be read.
    """
    aside = path.with_name(f".{path.name}.checked")
    wanted = frame if limit is None else frame.head(limit)
    hashes: list[pl.DataFrame] = []
    counts: Counter[Status | None] = Counter()
    leaving = leaving or Leaving()
    try:
        checked = _checked(wanted, columns, leaving, first_row=0)
        schema = pl.Schema({**checked.collect_schema(), **_NOBODY})
        parquet.write(aside, _pieces(wanted, columns, leaving, hashes), schema)
        if not parquet.rows(aside):
            return {}
        twins = _duplicates(aside, hashes)
        final = _final(aside, twins, campaign, leaving.sent)
        first = next(final)
        pieces = _counted(itertools.chain([first], final), counts, look)
        parquet.write(path, pieces, first.schema)
    finally:
        aside.unlink(missing_ok=True)
    return dict(counts)


def chunks(path: Path, size: int) -> Iterator[pl.DataFrame]:
    """Read the rows to be mailed in chunks of `size`; only the last may be shorter.

    The cut depends on the list and `size` alone: it is the same on every reading.
    """
    rest = pl.DataFrame()
    for group in parquet.groups(path):
        mailable = group.filter(pl.col("status").is_null())
        rest = pl.concat([rest, mailable]) if rest.height else mailable
        whole = rest.height - rest.height % size
        yield from rest.head(whole).iter_slices(size)
        rest = rest.tail(rest.height - whole)
    if rest.height:
        yield rest


def _checked(
    frame: pl.LazyFrame, columns: Columns, leaving: Leaving, *, first_row: int
) -> pl.LazyFrame:
    """One row per input row, with the reason why it cannot be mailed."""
    to_mail = address.encoded(pl.col(columns.address).cast(pl.String))
    key = to_mail if columns.key is None else pl.col(columns.key).cast(pl.String)
    name = pl.lit("") if columns.name is None else pl.col(columns.name).cast(pl.String)
    known = frame.select(
        key=key.fill_null("").str.strip_chars(),
        address=to_mail.fill_null(""),
        name=name.fill_null("").str.strip_chars(),
        data=pl.struct(sorted({columns.address, *columns.data})),
    )
    no_key = pl.when(pl.col("key") == "").then(pl.lit("key_missing"))
    nowhere = pl.when(
        pl.lit(leaving.special_use) & address.is_special_use(pl.col("mail"))
    )
    unreachable = nowhere.then(pl.lit("address_special_use"))
    return (
        known.with_row_index("row", offset=first_row)
        .with_columns(
            pl.col("row").cast(pl.UInt64),
            mail=address.normalised(pl.col("address")),
        )
        .with_columns(
            reason=pl.coalesce(address.problem(pl.col("address")), unreachable, no_key)
        )
        .with_columns(identity="mail" if columns.key is None else "key")
    )


def _pieces(
    frame: pl.LazyFrame,
    columns: Columns,
    leaving: Leaving,
    hashes: list[pl.DataFrame],
) -> Iterator[pl.DataFrame]:
    """Check the list piece by piece, and keep a hash of each row's identity.

    The query engine only reads: with the checks in the query, it reads far ahead.
    """
    first_row = 0
    for piece in frame.collect_batches(chunk_size=GROUP, lazy=True):
        checked = _checked(
            piece.lazy(), columns, leaving, first_row=first_row
        ).collect()
        if leaving.suppressed is None:
            nobody = pl.lit(None, dtype=pl.String())
            checked = checked.with_columns(suppressed=nobody, source=nobody)
        else:
            checked = checked.hstack(leaving.suppressed(checked["mail"]))
        good = checked.filter(
            pl.col("reason").is_null() & pl.col("suppressed").is_null()
        )
        hashes.append(good.select("row", pl.col("mail", "identity").hash()))
        first_row += piece.height
        yield checked


def _duplicates(aside: Path, hashes: list[pl.DataFrame]) -> pl.DataFrame:
    """Find the rows whose address or key an earlier row has.

    First the hashes of all rows tell who may be one; then those few are gone through
    in order, exactly: a row that is left out does not make a later one a duplicate.
    """
    known = pl.concat(hashes)
    hashes.clear()
    suspects = known.select("row").filter(
        _repeated(known["mail"]) | _repeated(known["identity"])
    )
    del known
    first_with_address: dict[str, int] = {}
    first_with_key: dict[str, int] = {}
    found: list[tuple[int, str, str]] = []
    for group in parquet.groups(aside):
        looked_at = group.join(suspects, on="row", how="semi", maintain_order="left")
        for row, mail, key in looked_at.select("row", "mail", "identity").iter_rows():
            if (first := first_with_address.get(mail)) is not None:
                found.append((row, "same_address", f"row {first} has the same address"))
            elif (first := first_with_key.get(key)) is not None:
                found.append((row, "same_key", f"row {first} has the same key"))
            else:
                first_with_address[mail] = first_with_key[key] = row
    schema = {"row": pl.UInt64, "twin": pl.String, "where": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


def _repeated(hashes: pl.Series) -> pl.Series:
    """Mark what occurs more than once, by sorting: a hash table takes more memory."""
    ordered = hashes.sort()
    return hashes.is_in(ordered.filter(ordered == ordered.shift()).unique().implode())


def _final(
    aside: Path, duplicates: pl.DataFrame, campaign: str, sent: pl.DataFrame | None
) -> Iterator[pl.DataFrame]:
    """Give each row of the list its id, and its status if it is not to be mailed."""
    invalid, refused, twin, before = (
        pl.col(name).is_not_null() for name in ("reason", "suppressed", "twin", "run")
    )
    sentences = {**address.SENTENCES, "key_missing": NO_KEY}
    if sent is None:
        sent = pl.DataFrame(schema={"message_id": pl.String, "run": pl.String})
    for group in parquet.groups(aside):
        ids = batch.message_ids(campaign, group["identity"].to_list())
        joined = (
            group.with_columns(message_id=pl.Series(ids, dtype=pl.String))
            .join(duplicates, on="row", how="left", maintain_order="left")
            .join(sent, on="message_id", how="left", maintain_order="left")
        )
        yield joined.select(
            "row",
            "key",
            "address",
            "name",
            "message_id",
            status=pl.when(invalid)
            .then(pl.lit(Status.INVALID))
            .when(refused)
            .then(pl.lit(Status.SUPPRESSED))
            .when(twin | before)
            .then(pl.lit(Status.DUPLICATE)),
            reason=pl.coalesce(
                "reason",
                "suppressed",
                "twin",
                pl.when(before).then(pl.lit("sent_before")),
            ),
            detail=pl.coalesce(
                pl.col("reason").replace_strict(
                    sentences, default=None, return_dtype=pl.String
                ),
                pl.when(refused).then("source"),
                "where",
                pl.format("the run {} has written to them", "run"),
            ),
            data="data",
        )


def _counted(
    frames: Iterator[pl.DataFrame],
    counts: Counter[Status | None],
    look: Callable[[pl.DataFrame], None],
) -> Iterator[pl.DataFrame]:
    for frame in frames:
        for status, rows in frame["status"].value_counts().iter_rows():
            counts[Status(status) if status else None] += rows
        look(frame)
        yield frame
