"""Who has said no since a run was planned, and is still on its list.

The plan left out everyone who had by then. Between the plan and the last message lie
minutes, or with a stop in between days; whoever is entered meanwhile is not mailed.
"""

from typing import NamedTuple

import polars as pl

from engine import parquet
from engine.address import normalised
from engine.fetched import scopes_of
from engine.planning.plan import Plan
from engine.suppression import DATABASE, Suppressions


class Left(NamedTuple):
    """Why somebody is not mailed.

    Attributes:
        reason: a short code.
        source: where it comes from, in words.
    """

    reason: str
    source: str


def left_since(plan: Plan) -> dict[int, Left]:
    """Return the rows that were to be mailed and must not be any more.

    The list is gone through only if anybody was entered since.

    Raises:
        StoreError: the suppressions cannot be read.
    """
    runs = plan.directory.path.parent.parent
    if not (runs / DATABASE).exists():
        return {}
    campaign = plan.campaign
    scopes = scopes_of(campaign, plan.manifest.base_url)
    with Suppressions.open(runs) as suppressions:
        entered = suppressions.filter(scopes, since=plan.manifest.created_at)
    left: dict[int, Left] = {}
    if not len(entered):
        return left
    for group in parquet.groups(plan.directory.recipients):
        rows = group.filter(pl.col("status").is_null())
        names = rows.select(normalised(pl.col("address"))).to_series()
        found = entered.find(names).with_columns(rows["row"])
        gone = found.filter(pl.col("suppressed").is_not_null())
        for row, reason, source in gone.select("row", "suppressed", "source").rows():
            left[row] = Left(reason, source)
    return left
