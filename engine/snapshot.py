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
    variant str|null the message they get, where a campaign has several and they get one
    data struct     the columns that the templates read

The list is read once, even where it could be read again: a query may not give the same
rows twice. Memory holds a small hash per row while duplicates are found, else one group
of rows at a time.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import polars as pl

from engine import address, batch, bucket, parquet, piecewise
from engine.duplicates import Duplicates
from engine.outcome import Status
from engine.parquet import GROUP
from engine.spool import Spool

HELD_OUT: Final = "held_out"
NO_KEY = "the recipient's own id is missing"

#: Finds who must not be mailed: of rows with `key` and `mail`, the normalised address,
#: to `suppressed`, the reason, and `source`, all str, null for who may be.
Suppressed = Callable[[pl.DataFrame], pl.DataFrame]
#: Columns that a message is made of, and whether there is to be one.
_MADE_OF: Final = ("row", "address", "name", "message_id", "status", "variant", "data")
_SENTENCES: Final = {**address.SENTENCES, "key_missing": NO_KEY}


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
class Split:
    """Who is held out, and who of the others gets which variant: by their keys.

    Attributes:
        campaign: its name, by which the variants are drawn.
        salt: by which those held out are drawn.
        held_out: their share; 0: nobody is.
        variants: the share of each, by name.
        rest: the variant of all others; None: there are no variants.
    """

    campaign: str
    salt: str
    held_out: float
    variants: Mapping[str, float]
    rest: str | None

    def of(self, names: Sequence[str]) -> pl.DataFrame:
        """Return held_out bool and variant str|null of each name, in their order."""
        held = bucket.places(f"holdout {self.salt}", names) < self.held_out
        drawn = bucket.places(f"variants {self.campaign}", names)
        variant = bucket.chosen(drawn, self.variants, self.rest)
        return pl.DataFrame({"held_out": held, "variant": variant})


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
    split: Split | None = None,
    look: Callable[[pl.DataFrame], None] = lambda _group: None,
) -> dict[Status | None, int]:
    """Freeze a list.

    Args:
        frame: the list, in input order.
        path: the file to write; beside it a folder exists for a while, several times as
            large.
        campaign: the campaign's name, for the message ids.
        columns: which columns of the list mean what.
        limit: take only so many rows, from the first.
        leaving: who is left out; None: only those who cannot be mailed.
        split: who is held out, and who gets which variant; None: all get the same.
        look: is shown every group of the frozen list as it is written.

    Returns:
        Rows by what was planned for them; None: to be mailed. Empty if the list is,
        and then there is no file.

    Raises:
        polars.exceptions.PolarsError: the list cannot be read.
    """
    wanted = frame if limit is None else frame.head(limit)
    counts: Counter[Status | None] = Counter()
    leaving = leaving or Leaving()
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        spool = Spool(Path(folder))
        identity = "mail" if columns.key is None else "key"
        duplicates = Duplicates("mail", identity)
        read = piecewise.collect(wanted, GROUP)
        checks = (_checked(piece, columns, leaving) for piece in read)
        for checked in piecewise.ahead(checks):
            duplicates.add(checked, pl.col("status").is_null())
            spool.add(checked)
        if not sum(spool.heights):
            return {}
        twins = duplicates.found(spool)
        final = _final(spool, identity, campaign, twins, sent=leaving.sent, split=split)
        first = next(final)
        frames = piecewise.ahead(itertools.chain([first], final))
        pieces = _counted(frames, counts, look)
        parquet.write(path, pieces, first.schema)
    return dict(counts)


def chunks(path: Path, size: int, *, first: int = 0) -> Iterator[pl.DataFrame]:
    """Read the rows to be mailed in chunks of `size`; only the last may be shorter.

    And the one that ends with the `first` rows, which have chunks of their own. The cut
    depends on the list and these numbers alone: it is the same on every reading.

    Without the columns that no message is made of: key, reason and detail.
    """
    rest, apart = pl.DataFrame(), first
    for group in piecewise.ahead(parquet.groups(path, _MADE_OF)):
        mailable = group.filter(pl.col("status").is_null())
        rest = pl.concat([rest, mailable]) if rest.height else mailable
        at = 0
        while rest.height - at >= (height := min(size, apart or size)):
            yield rest.slice(at, height)
            at += height
            apart = max(0, apart - height)
        rest = rest.slice(at)
    if rest.height:
        yield rest


def first(path: Path, count: int, *, variant: str | None = None) -> pl.DataFrame:
    """Read the first rows to be mailed: `count` of them, or all that there are.

    Of those who get one variant, or of all. Group by group, for a query over the whole
    list holds many of them at once.
    """
    mailed = pl.col("status").is_null()
    wanted = mailed if variant is None else mailed & (pl.col("variant") == variant)
    found = pl.DataFrame()
    for group in parquet.groups(path):
        found = pl.concat([found, group.filter(wanted).head(count - found.height)])
        if found.height == count:
            break
    return found


def begins(rank: pl.Series, size: int, *, first: int = 0) -> pl.Series:
    """Tell which rows begin one of `chunks`, by their rank among those to be mailed."""
    return (rank - first * (rank >= first).cast(pl.Int64)) % size == 0


def _checked(piece: pl.DataFrame, columns: Columns, leaving: Leaving) -> pl.DataFrame:
    """Give each row what is to be frozen of it, and the reason why it is not mailed.

    The query engine only reads: with the checks in the query, it reads far ahead.
    """
    to_mail = piece.select(
        address.encoded(pl.col(columns.address).cast(pl.String)).fill_null("")
    ).to_series()
    known = piece.select(
        key=to_mail if columns.key is None else text(columns.key),
        address=to_mail,
        name=pl.lit("") if columns.name is None else text(columns.name),
        data=pl.struct(sorted({columns.address, *columns.data})),
    ).with_columns(mail=address.folded(pl.col("address")))
    return known.hstack(_verdicts(known, leaving))


def text(column: str) -> pl.Expr:
    """Read a column as keys and names are read: trimmed text; "" where it is null."""
    return pl.col(column).cast(pl.String).fill_null("").str.strip_chars()


def _verdicts(known: pl.DataFrame, leaving: Leaving) -> pl.DataFrame:
    """Return status, reason and detail of each row, null for who may be mailed."""
    no_key = pl.when(pl.col("key") == "").then(pl.lit("key_missing"))
    reasons = [address.problem(pl.col("address"))]
    if leaving.special_use:
        nowhere = pl.when(address.is_special_use(pl.col("mail")))
        reasons.append(nowhere.then(pl.lit("address_special_use")))
    found = known.select(reason=pl.coalesce(*reasons, no_key))
    invalid = found.select(
        status=pl.when(pl.col("reason").is_not_null()).then(pl.lit(Status.INVALID)),
        reason="reason",
        detail=pl.col("reason").replace_strict(
            _SENTENCES, default=None, return_dtype=pl.String
        ),
    )
    if leaving.suppressed is None:
        return invalid
    refused = pl.col("suppressed").is_not_null()
    return invalid.hstack(leaving.suppressed(known)).select(
        status=pl.coalesce("status", pl.when(refused).then(pl.lit(Status.SUPPRESSED))),
        reason=pl.coalesce("reason", "suppressed"),
        detail=pl.coalesce("detail", pl.when(refused).then("source")),
    )


def _final(
    spool: Spool,
    identity: str,
    campaign: str,
    twins: pl.DataFrame,
    *,
    sent: pl.DataFrame | None,
    split: Split | None,
) -> Iterator[pl.DataFrame]:
    """Give each row its id and its variant; leave out duplicates and who is held out.

    Who is held out comes last: a later row of the same address is a duplicate all the
    same, else they would be mailed by it.
    """
    start = 0
    for group in spool.take():
        end = start + group.height
        names = group[identity].to_list()
        ids = batch.message_ids(campaign, names)
        numbered = group.select(
            pl.int_range(start, end, dtype=pl.UInt64).alias("row"),
            "key",
            "address",
            "name",
            ids.alias("message_id"),
            "status",
            "reason",
            "detail",
            pl.lit(None, dtype=pl.String).alias("variant"),
            "data",
        )
        later = twins.filter(pl.col("row").is_between(start, end - 1)).select(
            "row",
            why=pl.format("same_{}", "same"),
            how=pl.format("row {} has the same {}", "first", "same"),
        )
        left = _leave_out(numbered, later, by="row")
        if sent is not None:
            left = _leave_out(left, _written_to(numbered, sent), by="message_id")
        yield left if split is None else _drawn(left, split, names)
        start = end


def _drawn(group: pl.DataFrame, split: Split, names: list[str]) -> pl.DataFrame:
    """Hold out a share of those who would be mailed; give the others their variant."""
    mailed = pl.col("status").is_null()
    held = mailed & pl.col("held_out")
    told = f"of the share of {split.held_out:g} that is not mailed (salt {split.salt})"
    return (
        group.drop("variant")
        .hstack(split.of(names))
        .with_columns(
            status=pl.when(held).then(pl.lit(Status.SUPPRESSED)).otherwise("status"),
            reason=pl.when(held).then(pl.lit(HELD_OUT)).otherwise("reason"),
            detail=pl.when(held).then(pl.lit(told)).otherwise("detail"),
            variant=pl.when(mailed & ~held).then("variant"),
        )
        .select(group.columns)
    )


def _written_to(group: pl.DataFrame, sent: pl.DataFrame) -> pl.DataFrame:
    """Say of whom in a group there is mail already, in the form of `_leave_out`."""
    # The smaller side becomes the table that the join looks things up in.
    return sent.join(group.select("message_id"), on="message_id", how="semi").select(
        "message_id",
        why=pl.lit("sent_before"),
        how=pl.format("the run {} has written to them", "run"),
    )


def _leave_out(group: pl.DataFrame, found: pl.DataFrame, *, by: str) -> pl.DataFrame:
    """Make duplicates of the rows that `found` names, if they would be mailed.

    Args:
        group: of the frozen list.
        found: the column `by`, unique; why str, how str: reason and detail.
        by: names a row.
    """
    if found.is_empty():
        return group
    joined = group.join(found, on=by, how="left", maintain_order="left")
    leaves = pl.col("status").is_null() & pl.col("why").is_not_null()
    return joined.with_columns(
        status=pl.when(leaves).then(pl.lit(Status.DUPLICATE)).otherwise("status"),
        reason=pl.when(leaves).then("why").otherwise("reason"),
        detail=pl.when(leaves).then("how").otherwise("detail"),
    ).select(group.columns)


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
