"""Who the campaign itself leaves out, and which message the others get.

How it works: lists, and earlier runs (see `earlier`), are read once, as hashes; then
each group of the campaign's own list is asked of them as it is frozen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import polars as pl

from engine import piecewise, recipients
from engine.address import normalised
from engine.campaign import Campaign, ExcludeList
from engine.errors import CampaignError
from engine.members import Members
from engine.parquet import GROUP
from engine.snapshot import Split, text

EXCLUDED: Final = "excluded"


@dataclass(frozen=True, slots=True)
class Absent:
    """Some who are left out for one reason.

    Attributes:
        members: who they are.
        by: what they are known by: `key`, or `mail`, the normalised address.
        reason: a short code.
        detail: a sentence.
    """

    members: Members
    by: str
    reason: str
    detail: str


def excluded(campaign: Campaign) -> list[Absent]:
    """Read the lists of people who are left out.

    Raises:
        CampaignError: with every list that cannot be read, or has not the column.
    """
    found, problems = [], []
    for one in campaign.audience.exclude if campaign.audience else ():
        try:
            members = Members.of(_names(campaign, one))
        except CampaignError as error:
            problems += [f"[audience] exclude: {told}" for told in error.problems]
        else:
            by = "mail" if one.by == "address" else "key"
            found.append(Absent(members, by, EXCLUDED, f"on the list {one.source}"))
    if problems:
        raise CampaignError(*(f"{campaign.file}: {problem}" for problem in problems))
    return found


def fingerprints(campaign: Campaign) -> list[dict[str, object]]:
    """Tell the lists of people who are left out from others: see the manifest."""
    lists = campaign.audience.exclude if campaign.audience else ()
    return [recipients.fingerprint(campaign.beside(one.source)) for one in lists]


def split(campaign: Campaign) -> Split | None:
    """Say who is held out and who gets which variant; None: nobody, and all the same.

    A later sending of the campaign, another try and the rest of a list draw the same.
    """
    holdout, messages = campaign.holdout, campaign.messages
    if holdout is None and not messages:
        return None
    shares = {variant.name: variant.share for variant in campaign.variants}
    return Split(
        campaign=campaign.name,
        salt=(holdout and holdout.salt) or campaign.name,
        held_out=holdout.share if holdout else 0.0,
        variants=shares,
        rest=next(reversed(messages), None),
    )


def finder(
    absents: list[Absent], suppressed: Callable[[pl.Series], pl.DataFrame] | None
) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Make what tells of a group of the list who is left out: `Leaving.suppressed`.

    Args:
        absents: who is left out; of several reasons the first counts.
        suppressed: as `engine.suppression.Filter.find`; it comes before them.
    """

    def find(known: pl.DataFrame) -> pl.DataFrame:
        frames = [] if suppressed is None else [suppressed(known["mail"])]
        for absent in absents:
            there = pl.lit(absent.members.have(known[absent.by]))
            frames.append(
                pl.select(
                    suppressed=pl.when(there).then(pl.lit(absent.reason)),
                    source=pl.when(there).then(pl.lit(absent.detail)),
                )
            )
        return pl.select(
            pl.coalesce(frame[name] for frame in frames)
            for name in ("suppressed", "source")
        )

    return find


def _names(campaign: Campaign, one: ExcludeList) -> Iterator[pl.Series]:
    """Read the names of a list in the form in which they are compared."""
    own = campaign.recipients
    named = own.address if one.by == "address" else own.key
    if named is None:
        raise CampaignError(
            f'"{one.source}" by = "key": [recipients] key names no column'
        )
    column = one.column or named
    types = {column: own.types[named]} if named in own.types else {}
    source = campaign.beside(one.source)
    with recipients.translating(source):
        frame = recipients.load(source, types=types)
        columns = frame.collect_schema().names()
        if column not in columns:
            raise CampaignError(
                f'{source}: the list has no column "{column}" '
                f"(columns: {', '.join(columns)})"
            )
        name = text(column)
        wanted = frame.select(normalised(name) if one.by == "address" else name)
        for piece in piecewise.collect(wanted, GROUP):
            yield piece.to_series()
