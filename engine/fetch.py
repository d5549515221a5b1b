"""Fetch the suppression list that a provider keeps, and keep a copy of it.

    page, page, page ─▶ the whole list ─▶ suppressions.db, in a scope of its own
                                       └▶ fetched.db: when

Rules: nothing is changed before the last page is there: half a list would let people be
mailed whom the other half names. The copy is the list as it is now: who is off it may
be mailed again. Who was entered here in another way stays as they are.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl
import trio

from engine import planning, secret, wire
from engine.address import normalised
from engine.campaign import Campaign
from engine.errors import BrokenPromise, ProviderError, Throttled, Unanswered
from engine.fetched import Fetched, scope_of
from engine.providers import suppressed
from engine.providers.suppressed import Listed, Page, SuppressionList
from engine.retry import Retry, RetryPolicy
from engine.suppression import Entry, Suppressions

#: Seconds of waiting, in all, for one page. Somebody may be looking on.
PATIENCE: Final = 600.0
#: Seconds for one answer.
DEADLINE: Final = 30.0

_POLICY: Final = RetryPolicy()
_KEYS: Final = ("address", "reason", "source")


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of it.

    Attributes:
        scope: of the copy, in the suppressions.
        listed: addresses on the list.
        reasons: how many for each reason.
        entered: how many were not known yet, or with another reason.
        removed: how many are not on the list any more, or with another reason.
        at: when it was asked for, UTC.
    """

    scope: str
    listed: int
    reasons: dict[str, int]
    entered: int
    removed: int
    at: datetime


class Fetch:
    """Fetches the list of a campaign's account.

    Args:
        campaign: names provider, account and token; see `engine.campaign.rebased` for
            another address.
        runs: the runs folder.
        on_page: called with the entries of each page that has come.
        on_wait: called before each wait, with its seconds and its cause.

    Attributes:
        base_url: where it asks.
        title: what the provider's makers call it.
        account: whose list it is.

    Raises:
        CampaignError: the provider gives no list out, an account or token is missing.
    """

    def __init__(
        self,
        campaign: Campaign,
        runs: Path,
        *,
        on_page: Callable[[int], None] = lambda _entries: None,
        on_wait: Callable[[float, str], None] = lambda _seconds, _cause: None,
    ) -> None:
        provider = campaign.provider
        kind = suppressed.load(provider.name)
        given = provider.model_dump(exclude_none=True, include={"account_id", "email"})
        self._list: SuppressionList = kind(given)
        self._secret = secret.read(provider.token, folder=campaign.file.parent)
        self._runs = runs
        self._on_page = on_page
        self._on_wait = on_wait
        self.base_url = planning.base_url_of(campaign)
        self.title = kind.title
        self.account = self._list.account
        scope = scope_of(campaign, self.base_url)
        if scope is None:
            raise BrokenPromise(f"{provider.name}: a list without a scope")
        self._scope = scope

    async def run(self) -> Copied:
        """Fetch the list and keep a copy.

        Raises:
            ProviderError: the list could not be had whole; nothing was changed.
            StoreError: the copy cannot be kept.
        """
        at = datetime.now(UTC)
        credentials = self._list.credentials(self._secret.reveal())
        connection = wire.Wire(
            self.base_url + credentials.path,
            credentials.headers,
            context=wire.tls_context(self.base_url),
            deadline=DEADLINE,
        )
        async with connection:
            listed = await self._whole(connection)
        return await trio.to_thread.run_sync(partial(self._keep, listed, at))

    async def _whole(self, connection: wire.Wire) -> list[Listed]:
        listed: list[Listed] = []
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            entries, cursor = await self._page(connection, cursor)
            listed += entries
            self._on_page(len(entries))
            if cursor is None:
                return listed
            if cursor in seen:
                told = f"{self.title}: the pages of the suppression list go in a circle"
                raise Unanswered(told, reason="unreadable_answer")
            seen.add(cursor)

    async def _page(self, connection: wire.Wire, cursor: str | None) -> Page:
        """Ask for a page until it comes: to ask again does no harm."""
        faults = throttles = 0
        waited = 0.0
        while True:
            try:
                answer = await connection.exchange(self._list.request(cursor))
                return self._list.page(answer)
            except ProviderError as error:
                decision = _POLICY.after(
                    error,
                    faults=faults,
                    throttles=throttles,
                    random=random.random,
                    keyed=True,
                )
                if not isinstance(decision, Retry):
                    raise
                waited += decision.wait
                if waited > PATIENCE:
                    error.hint = f"nothing was changed; again in {decision.wait:.0f} s"
                    raise
                throttles += isinstance(error, Throttled)
                faults += not isinstance(error, Throttled)
                self._on_wait(decision.wait, str(error))
                await trio.sleep(decision.wait)

    def _keep(self, listed: list[Listed], at: datetime) -> Copied:
        wanted = _frame(listed, self.title)
        with Suppressions.open(self._runs) as entries:
            known = entries.all({self._scope})
            gone = known.join(wanted, on=_KEYS, how="anti")
            new = wanted.join(known, on=_KEYS, how="anti")
            # Of one that changed its reason, the old entry would keep the new one out.
            for address in gone["address"]:
                entries.remove(address, self._scope)
            entries.add(
                Entry(address, reason, source, self._scope)
                for address, reason, source in new.iter_rows()
            )
        with Fetched.open(self._runs) as fetched:
            fetched.note(self._scope, at)
        reasons = Counter(wanted["reason"].to_list())
        return Copied(
            scope=self._scope,
            listed=wanted.height,
            reasons=dict(reasons.most_common()),
            entered=new.height,
            removed=gone.height,
            at=at,
        )


def _frame(listed: list[Listed], title: str) -> pl.DataFrame:
    """Return a list in the columns of `_KEYS`, each address once, as it is compared."""
    rows = [(one.address, one.reason, f"{title}: {one.told}") for one in listed]
    schema = dict.fromkeys(_KEYS, pl.String())
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return (
        frame.with_columns(normalised(pl.col("address")))
        .filter(pl.col("address") != "")
        .unique("address", keep="first", maintain_order=True)
    )
