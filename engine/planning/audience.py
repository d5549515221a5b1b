"""Who the [audience] section leaves out, for what else they are or have got.

How it works: lists and earlier runs are read once, as hashes; then each group of the
campaign's own list is asked of them as it is frozen.

Rules:
- A run counts whom it has written to, and whom it perhaps has, by its journal: its
  results may be from before the last start.
- People are known by their addresses there: a key is a matter of one list.
- A receipt is no campaign to its reader. Transactional mail takes nobody's place under
  `not_mailed_within`, unless `counting = "all"` asks for it.
- Whom a run that is under way writes to cannot be known: its end is waited for.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from engine import history, recipients, rundir
from engine.address import normalised
from engine.campaign import Audience, Campaign, ExcludeList
from engine.errors import CampaignError
from engine.history import Run
from engine.members import Members
from engine.parquet import GROUP
from engine.planning.plan import Occasion
from engine.snapshot import Split, text

EXCLUDED, IN_CAMPAIGN, MAILED_RECENTLY = "excluded", "in_campaign", "mailed_recently"


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


def reached(campaign: Campaign, occasion: Occasion, moment: datetime) -> list[Absent]:
    """Find who has been written to too often, or by a campaign that is named.

    Args:
        campaign: the campaign.
        occasion: which sending of it this is, with the folder of the runs.
        moment: when it is planned, UTC.

    Raises:
        CampaignError: a campaign that is named was never sent.
        RunLocked: a campaign is being sent at this moment.
        RunError: a run cannot be read: nobody knows to whom it wrote.
    """
    section, runs = campaign.audience, occasion.runs
    if section is None or runs is None:
        return []
    look = _Look(runs, campaign.name if occasion.owned else "", occasion.base_url)
    found = []
    for name in section.not_in:
        earlier = look.runs(name)
        if not earlier:
            raise CampaignError(
                f"{campaign.file}: [audience] not_in: {name} has no run in {runs} that "
                "went where this campaign goes",
                hint="look which there are: mailvolley status",
            )
        told = f"the campaign {name} has written to them, or perhaps has"
        members = Members.of(look.addresses(earlier))
        found.append(Absent(members, "mail", IN_CAMPAIGN, told))
    if section.not_mailed_within is not None:
        found.append(_recently(section, look, moment))
    return found


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
        for piece in wanted.collect_batches(chunk_size=GROUP, lazy=True):
            yield piece.to_series()


def _recently(section: Audience, look: "_Look", moment: datetime) -> Absent:
    """Find who has got enough of late."""
    since = moment - timedelta(seconds=section.not_mailed_within or 0)
    earlier = [
        run
        for name in look.campaigns()
        for run in look.runs(name)
        if section.counting == "all" or run[1].definition["kind"] == "marketing"
    ]
    members = Members.of(look.addresses(earlier, since), most=section.most)
    messages = "a message" if section.most == 1 else f"{section.most} messages"
    told = f"has got {messages} or more since {since:%Y-%m-%d %H:%M} UTC"
    return Absent(members, "mail", MAILED_RECENTLY, told)


@dataclass(frozen=True, slots=True)
class _Look:
    """Looks into the earlier runs of a folder.

    Attributes:
        folder: the runs of all campaigns.
        owned: the campaign that the caller owns, or "".
        base_url: where this campaign goes: only runs to the same place count.
    """

    folder: Path
    owned: str
    base_url: str

    def campaigns(self) -> list[str]:
        """Return the names of those that have runs; trials are none."""
        found = [p.name for p in self.folder.iterdir() if p.is_dir()]
        return sorted(name for name in found if "." not in name)

    def runs(self, campaign: str) -> list[Run]:
        """Return the runs of a campaign."""
        return history.runs(self.folder / campaign, self.base_url)

    def addresses(
        self, runs: list[Run], since: datetime | None = None
    ) -> Iterator[pl.Series]:
        """Yield to whom runs have written, normalised; once for each message."""
        for run in runs:
            is_ours = run[1].campaign == self.owned
            with nullcontext() if is_ours else rundir.looked_at(run[0]):
                for found in history.addresses(run, since=since, only_look=not is_ours):
                    yield pl.select(normalised(pl.lit(found))).to_series()
