"""Whom earlier runs have written to: asked by `not_in` and `not_mailed_within`.

Rules:
- A run counts whom it has written to, and whom it perhaps has, by its journal: its
  results may be from before the last start.
- People are known by their addresses there: a key is a matter of one list.
- A receipt is no campaign to its reader. Transactional mail takes nobody's place under
  `not_mailed_within`, unless `counting = "all"` asks for it.
- Whom a run that is under way writes to cannot be known: its end is waited for.
- Loaded by a plan that asks: a process of the crew has no business with journals.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from engine import history, rundir
from engine.address import normalised
from engine.campaign import Audience, Campaign
from engine.errors import CampaignError
from engine.history import Run
from engine.members import Members
from engine.planning.audience import Absent

IN_CAMPAIGN: Final = "in_campaign"
MAILED_RECENTLY: Final = "mailed_recently"


@dataclass(frozen=True, slots=True)
class Look:
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


def reached(
    campaign: Campaign, section: Audience, look: Look, moment: datetime
) -> list[Absent]:
    """Find who has been written to too often, or by a campaign that is named.

    Args:
        campaign: the campaign.
        section: what it asks.
        look: looks into the earlier runs.
        moment: when it is planned, UTC.

    Raises:
        CampaignError: a campaign that is named was never sent.
        RunLocked: a campaign is being sent at this moment.
        RunError: a run cannot be read: nobody knows to whom it wrote.
    """
    found = []
    for name in section.not_in:
        earlier = look.runs(name)
        if not earlier:
            raise CampaignError(
                f"{campaign.file}: [audience] not_in: {name} has no run in "
                f"{look.folder} that went where this campaign goes",
                hint="look which there are: mailvolley status",
            )
        told = f"the campaign {name} has written to them, or perhaps has"
        members = Members.of(look.addresses(earlier))
        found.append(Absent(members, "mail", IN_CAMPAIGN, told))
    if section.not_mailed_within is not None:
        found.append(_recently(section, look, moment))
    return found


def _recently(section: Audience, look: Look, moment: datetime) -> Absent:
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
