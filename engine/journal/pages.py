"""All batches in their order: those of volleys, and those that go by themselves.

How it works: page by page. Each is read between two transactions and has whole volleys
alone, so that a batch which leaves its volley meanwhile is neither missed nor told
twice.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from engine.journal import store, volley
from engine.journal.commit import Fetch
from engine.journal.entry import DEPTHS
from engine.journal.store import Row
from engine.journal.volley import Landing, Volley
from engine.record import BatchRecord, LandingRecord

#: Batches, or volleys, read at a time: 64 of 1000 rows are about 1.5 MB. More than a
#: volley has members: so a page that ends before one has something in it.
PAGE: Final = 64
#: Beyond the place of any batch.
LAST: Final = (1 << 63) - 1


class Page(NamedTuple):
    """Rows of `store.BATCHES` and of `volley.VOLLEYS`, with all that have landed.

    Attributes:
        last: the place up to which nothing is missing.
    """

    batches: list[Row]
    volleys: list[Row]
    landings: list[Row]
    last: int


def page(fetch: Fetch, after: int) -> Page:
    """Read what comes after a place; `LAST` is the last page."""
    volleys = fetch(volley.VOLLEYS, after // DEPTHS, PAGE)
    last = _end(volleys[-1]) if len(volleys) == PAGE else LAST
    batches = fetch(store.BATCHES, after, last, PAGE)
    if len(batches) == PAGE:
        last = batches[-1][0]
        volleys = [row for row in volleys if row[0] * DEPTHS <= last]
        if volleys and _end(volleys[-1]) > last:
            last = volleys.pop()[0] * DEPTHS - 1
            batches = [row for row in batches if row[0] <= last]
    landings = fetch(volley.LANDINGS, volleys[0][0], volleys[-1][0]) if volleys else []
    return Page(batches, volleys, landings, last)


def _end(row: Row) -> int:
    """Return the last place of a volley."""
    return int(row[1]) * DEPTHS + DEPTHS - 1


def batches(page: Page) -> list[BatchRecord]:
    """Return the batches of a page by their lowest row, a split one before its parts.

    Raises:
        Damage: a record is not as it was written.
    """
    alone = store.batches(page.batches)
    if not page.volleys:
        return alone
    apart = {row[3] for row in page.batches}
    for found, landings in _volleys(page):
        alone += volley.records(found, landings, apart)
    return sorted(alone, key=_lowest)


def records(page: Page) -> list[BatchRecord | LandingRecord]:
    """Return the same, but for what has landed: that is a record for all together.

    Raises:
        Damage: a record is not as it was written.
    """
    found: list[BatchRecord | LandingRecord] = [*store.batches(page.batches)]
    if not page.volleys:
        return found
    apart = {row[3] for row in page.batches}
    for flown, landings in _volleys(page):
        landed = [volley.landed(flown, landing) for landing in landings]
        found += landed
        if sum(len(record.rows) for record in landed) < len(flown.rows):
            told = apart.union(*[record.rows for record in landed])
            found += volley.records(flown, (), told)
    return sorted(found, key=_lowest)


def _volleys(page: Page) -> Iterator[tuple[Volley, list[Landing]]]:
    """Yield each volley of a page, with its landings."""
    landings = defaultdict(list)
    for landing in map(volley.landing, page.landings):
        landings[landing.volley].append(landing)
    for found in map(volley.volley, page.volleys):
        yield found, landings[found.low]


def _lowest(record: BatchRecord | LandingRecord) -> int:
    return record.rows[0]
