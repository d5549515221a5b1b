"""Ask the provider about the rows of a run that are in doubt, and settle what is found.

    rows in doubt ─▶ questions ─▶ provider ─▶ events ─▶ reconcile
                     (paced)

What an API can be asked for is in its `Capabilities.lookup`, how in `engine.tracking`:
CloudMailin by the run's tag and the recipient, MailerLogic by recipient and time.

Rules: nothing is concluded from silence: what is not found stays in doubt. Nobody is
kept from sending while it is asked; what was found is settled afterwards, at once, as
if it had come in a file. To ask again does no harm.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parseaddr
from functools import partial
from typing import Final

import polars as pl
import trio

from engine import history, pace, planning, rundir, tracking, wire
from engine.campaign import Campaign, rebased
from engine.errors import (
    AccountRejected,
    CampaignError,
    EngineError,
    RunError,
    ungrouped,
)
from engine.event import Event
from engine.manifest import Manifest
from engine.message import Request, Response
from engine.outcome import Status
from engine.reconcile import Reconciled, reconcile
from engine.rundir import RunDirectory
from engine.stop import Stop
from engine.track.asking import Asking, Told
from engine.track.due import Question
from engine.track.track import DEADLINE, RATE, WORKERS, account_of, token_of
from engine.tracking.base import Doubt, Finder

#: How far a provider's clock may be behind ours: see `engine.events`.
_SKEW: Final = timedelta(minutes=2)
#: The username to ask with where the campaign names none.
USERNAME: Final = "CLOUDMAILIN_USERNAME"


@dataclass(slots=True)
class LookedUp:
    """What came of it.

    Attributes:
        asked: rows that were asked about to the end.
        found: rows of which the provider has something.
        failed: rows without an answer, after several attempts.
        failure: the first reason of those; empty without any.
        reconciled: what became of the doubts; None if nothing was found.
        cause: what stopped it early, or None.
        interrupted: whether somebody stopped it.
    """

    asked: int = 0
    found: int = 0
    failed: int = 0
    failure: str = ""
    reconciled: Reconciled | None = None
    cause: EngineError | None = None
    interrupted: bool = False

    @property
    def account(self) -> bool:
        """Whether it was the account that stopped it."""
        return isinstance(self.cause, AccountRejected)


class Lookup:
    """Asks about the rows of one run that are in doubt; may run once.

    Args:
        directory: the run's.
        base_url: in place of the address that the run was sent to.
        requests_per_second: None: what the provider's documents allow, or
            `engine.track.RATE`.

    Attributes:
        base_url: where it asks.
        rate: requests/s.
        doubts: how many rows are in doubt.

    Raises:
        RunError: there is no such run, or nobody is in doubt; RunLocked: it is sent.
        EventsError: the provider lets no such message be found.
        CampaignError: the credentials are not there.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        base_url: str | None = None,
        requests_per_second: float | None = None,
    ) -> None:
        manifest = Manifest.read(directory)
        campaign = planning.as_planned(manifest)
        if base_url is not None:
            campaign = rebased(campaign, base_url)
        kind = tracking.finder(campaign.provider.name)
        doubts = list(_doubts(directory, manifest, campaign))
        if not doubts:
            raise RunError(
                f"{directory.path}: nobody is in doubt",
                hint=f"look at it: mailvolley status {directory.path}",
            )
        finder = kind(account=account_of(kind), username=_username(campaign))
        self._secret = token_of(kind, campaign)
        self._finder: Finder = finder
        self._search = _Search(finder, doubts, _known(directory, doubts))
        self._directory = directory
        self._stop = Stop()
        self._told = LookedUp()
        self._events: list[Event] = []
        self.base_url = planning.base_url_of(campaign)
        self.rate = requests_per_second or kind.requests_per_second or RATE
        self.doubts = len(doubts)

    @property
    def seconds(self) -> float:
        """Seconds that it takes at the least."""
        return self.doubts / self.rate

    def stop(self) -> None:
        """End it early: what was found is settled."""
        self._told.interrupted = True
        self._stop.request()

    async def run(self) -> LookedUp:
        """Ask, and settle what is found.

        Raises:
            RunError: as `reconcile`; likewise the others.
        """
        with ungrouped(EngineError):
            await self._ask()
        self._told.cause = self._stop.cause
        if self._events:
            with trio.CancelScope(shield=True):
                self._told.reconciled = await reconcile(self._directory, self._events)
        return self._told

    async def _ask(self) -> None:
        paced = pace.Pace(
            messages_per_second=None, requests_per_second=self.rate, batch_size=1
        )
        asking = Asking(self._search, paced, self._stop)
        questions = self._search.questions()
        credentials = self._finder.credentials(self._secret.reveal())
        connect = partial(
            wire.Wire,
            self.base_url + credentials.path,
            credentials.headers,
            context=wire.tls_context(self.base_url),
            deadline=DEADLINE,
        )
        with self._stop.ends():
            async with trio.open_nursery() as nursery:
                for _ in range(min(WORKERS, self.doubts)):
                    nursery.start_soon(self._work, asking, connect(), questions)

    async def _work(
        self, asking: Asking, connection: wire.Wire, questions: Iterator[Question]
    ) -> None:
        async with connection:
            for question in questions:
                self._note(await asking.ask(connection, question))

    def _note(self, told: Told) -> None:
        now = self._told
        now.asked += 1
        if told.error is not None:
            now.failed += 1
            now.failure = now.failure or str(told.error)
        elif told.events:
            now.found += 1
            self._events += told.events


@dataclass(frozen=True, slots=True)
class _Search:
    """Questions about messages without an id: they go by the number of their row.

    Attributes:
        known: the provider's ids of other messages to the same people.
    """

    finder: Finder
    doubts: list[Doubt]
    known: frozenset[str]
    _by_row: dict[str, Doubt] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_row.update({str(doubt.row): doubt for doubt in self.doubts})

    def questions(self) -> Iterator[Question]:
        """Go through the doubts, once for all who ask."""
        return (Question(d.row, str(d.row), d.address) for d in self.doubts)

    def request(self, provider_id: str) -> Request:
        """Return the question about a row."""
        return self.finder.search(self._by_row[provider_id])

    def events(self, provider_id: str, response: Response) -> list[Event]:
        """Read the answer about a row."""
        found = self.finder.found(self._by_row[provider_id], response)
        return [event for event in found if event.provider_id not in self.known]


def _known(directory: RunDirectory, doubts: list[Doubt]) -> frozenset[str]:
    """Return the ids of what other runs have sent to those in doubt.

    Where an API is asked by the recipient, it tells of such mail, too.
    """
    addresses = pl.Series([doubt.address for doubt in doubts])
    known: set[str] = set()
    for path in directory.path.parent.parent.glob("*/*/results.parquet"):
        if path.parent == directory.path:
            continue
        with suppress(pl.exceptions.PolarsError, OSError):
            others = pl.scan_parquet(path).filter(
                pl.col("address").is_in(addresses.implode()),
                pl.col("provider_id").is_not_null(),
            )
            known.update(others.select("provider_id").collect()["provider_id"])
    return frozenset(known)


def _doubts(
    directory: RunDirectory, manifest: Manifest, campaign: Campaign
) -> Iterator[Doubt]:
    """Go through the rows in doubt, by the journal."""
    manifest.check_snapshot(directory)
    since = datetime.fromisoformat(manifest.created_at) - _SKEW
    _, sender = parseaddr(campaign.message.sender)
    with (
        rundir.looked_at(directory),
        history.opened(directory, manifest, only_look=True) as journal,
    ):
        if journal is None:
            return
        for rows in history.projected(directory, manifest, journal):
            doubtful = rows.filter(pl.col("status") == Status.IN_DOUBT)
            known = doubtful.select("row", "address", "message_id")
            for row, address, message_id in known.iter_rows():
                yield Doubt(row, address, message_id, manifest.run, sender, since)


def _username(campaign: Campaign) -> str:
    """Return the name of the account that sent, where one is asked for by it."""
    if campaign.provider.name != "cloudmailin":
        return ""
    username = campaign.provider.username or os.environ.get(USERNAME, "").strip()
    if not username:
        raise CampaignError(
            "CloudMailin is asked by the username that sent, and the campaign has none",
            hint=f"export {USERNAME}=…",
        )
    return username
