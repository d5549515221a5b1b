"""From a run's directory to what came of asking about its messages."""

import os
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import polars as pl
import trio

from engine import intake, pace, planning, secret, tracking, wire
from engine.asked import Asked
from engine.campaign import Campaign, Token, rebased
from engine.errors import (
    AccountRejected,
    CampaignError,
    EngineError,
    RunError,
    ungrouped,
)
from engine.events import EventStore
from engine.intake import Taken
from engine.manifest import Manifest
from engine.rundir import RunDirectory
from engine.secret import Secret
from engine.stop import Stop
from engine.suppression import Suppressions
from engine.track.asking import Asking, Told
from engine.track.due import Due, Question
from engine.tracking.base import Tracker

#: Requests/s where the documents name no limit: what no provider minds.
RATE: Final = 5.0
#: Questions under way at once.
WORKERS: Final = 8
#: Minutes for which an answer is taken to hold.
FRESH: Final = 15.0
#: Seconds for one answer; a question is small.
DEADLINE: Final = 30.0
#: Answers kept in one transaction, and seconds for which the first of them waits.
_AT_ONCE: Final = 500
_SOON: Final = 1.0
#: Unknown messages, and not one known, after which the address must be a wrong one.
_ALL_UNKNOWN: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to ask.

    Attributes:
        base_url: in place of the address that the run was sent to.
        requests_per_second: None: what the provider's documents allow, or `RATE`.
        workers: questions under way at once, at least 1.
        opens: whether messages that have arrived are asked about, too.
        fresh: minutes; rows with an answer since then are left out.
    """

    base_url: str | None = None
    requests_per_second: float | None = None
    workers: int = WORKERS
    opens: bool = False
    fresh: float = FRESH


@dataclass(slots=True)
class Tracked:
    """What came of it.

    Attributes:
        campaign: the campaign's name.
        run: the run's id.
        events: the file of the run's events.
        due: messages there were to ask about.
        settled: left out, for nothing is to come of them.
        fresh: left out, for there was an answer a short while ago.
        nameless: left out, for the provider gave them no id.
        answered: messages that the provider told of.
        unknown: messages that it says it does not have.
        failed: messages without an answer, after several attempts.
        failure: the first reason of those; empty without any.
        taken: the events that were told, those that were new, addresses suppressed.
        types: the new events about this run, by type.
        open: messages of which something is still to come.
        cause: what stopped it early, or None.
        interrupted: whether somebody stopped it.
    """

    campaign: str
    run: str
    events: Path
    due: int
    settled: int
    fresh: int
    nameless: int
    answered: int = 0
    unknown: int = 0
    failed: int = 0
    failure: str = ""
    taken: Taken = field(default_factory=partial(Taken, 0, 0, 0))
    types: dict[str, int] = field(default_factory=dict)
    open: int = 0
    cause: EngineError | None = None
    interrupted: bool = False

    @property
    def asked(self) -> int:
        """Messages that were asked about to the end."""
        return self.answered + self.unknown + self.failed

    @property
    def account(self) -> bool:
        """Whether it was the account that stopped it."""
        return isinstance(self.cause, AccountRejected)


class Track:
    """Asks about the messages of one run; may run once.

    Attributes:
        base_url: where it asks.
        rate: requests/s.
        due: what there is to ask about.

    Raises:
        RunError: there is no such run, it was a rehearsal, or has no results yet.
        EventsError: the provider cannot be asked.
        CampaignError: the credentials are not there.
        StoreError: what is kept cannot be read.
    """

    def __init__(self, directory: RunDirectory, options: Options) -> None:
        manifest = Manifest.read(directory)
        if manifest.rehearsal:
            raise RunError(
                f"{directory.path}: is a rehearsal; its sandbox is gone",
                hint=f"send it: mailvolley send {manifest.file}",
            )
        campaign = planning.as_planned(manifest)
        if options.base_url is not None:
            campaign = rebased(campaign, options.base_url)
        kind = tracking.load(campaign.provider.name)
        self._tracker: Tracker = kind(account=account_of(kind))
        self._secret = token_of(kind, campaign)
        self._directory = directory
        self._options = options
        self._runs = directory.path.parent.parent
        self._stop = Stop()
        self.base_url = planning.base_url_of(campaign)
        self.rate = options.requests_per_second or kind.requests_per_second or RATE
        self.due = self._find_due()
        self._told = Tracked(
            campaign=manifest.campaign,
            run=manifest.run,
            events=directory.events,
            due=len(self.due),
            settled=self.due.settled,
            fresh=self.due.fresh,
            nameless=self.due.nameless,
        )

    def _find_due(self) -> Due:
        before = datetime.now(UTC) - timedelta(minutes=self._options.fresh)
        return Due.of(self._directory, opens=self._options.opens, before=before)

    @property
    def seconds(self) -> float:
        """Seconds that it takes at the least."""
        return len(self.due) / self.rate

    def stop(self) -> None:
        """End it early: what was answered is kept."""
        self._told.interrupted = True
        self._stop.request()

    async def run(
        self, on_progress: Callable[[int], None] = lambda _messages: None
    ) -> Tracked:
        """Ask, keep what is told, and lay it beside the results.

        Args:
            on_progress: called with the messages asked about since the last call.

        Raises:
            StoreError: what is told cannot be kept.
        """
        began = datetime.now(UTC)
        if len(self.due):
            with ungrouped(EngineError):
                await self._ask(on_progress)
        self._told.cause = self._stop.cause
        if isinstance(self._stop.cause, AccountRejected):
            self._stop.cause.hint = self._hint(self._stop.cause)
        left = await trio.to_thread.run_sync(self._find_due)
        self._told.open = len(left) + left.fresh
        self._told.types = _new(self._directory.events, began)
        return self._told

    def _hint(self, refused: AccountRejected) -> str:
        """Say what to do where the account may not ask."""
        if refused.http_status == HTTPStatus.FORBIDDEN:
            return "its webhooks tell the same: mailvolley events serve"
        name = self._tracker.token
        if refused.http_status == HTTPStatus.UNAUTHORIZED and name:
            if os.environ.get(name):
                return f"look at the token in {name}"
            return f"it may want a token of its own: export {name}=…"
        return refused.hint

    async def _ask(self, on_progress: Callable[[int], None]) -> None:
        asking = Asking(
            self._tracker,
            pace.Pace(
                messages_per_second=None,
                requests_per_second=self.rate,
                batch_size=1,
            ),
            self._stop,
        )
        context = wire.tls_context(self.base_url)
        out, questions = trio.open_memory_channel[Question](0)
        told, answers = trio.open_memory_channel[Told](_AT_ONCE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, answers, on_progress)
            async with told:
                with self._stop.ends():
                    async with trio.open_nursery() as workers:
                        for _ in range(min(self._options.workers, len(self.due))):
                            work = partial(self._work, asking, self._wire(context))
                            workers.start_soon(work, questions.clone(), told)
                        questions.close()
                        await self._hand_out(out)

    def _wire(self, context: ssl.SSLContext) -> wire.Wire:
        credentials = self._tracker.credentials(self._secret.reveal())
        return wire.Wire(
            self.base_url + credentials.path,
            credentials.headers,
            context=context,
            deadline=DEADLINE,
        )

    async def _hand_out(self, out: trio.MemorySendChannel[Question]) -> None:
        async with out:
            for question in self.due.questions():
                await out.send(question)

    async def _work(
        self,
        asking: Asking,
        connection: wire.Wire,
        questions: trio.MemoryReceiveChannel[Question],
        told: trio.MemorySendChannel[Told],
    ) -> None:
        async with connection, questions:
            async for question in questions:
                await told.send(await asking.ask(connection, question))

    async def _keep(
        self,
        answers: trio.MemoryReceiveChannel[Told],
        on_progress: Callable[[int], None],
    ) -> None:
        """Keep answers as they come, some in one transaction."""
        with ExitStack() as stores:
            store = stores.enter_context(EventStore.open(self._runs))
            suppressions = stores.enter_context(Suppressions.open(self._runs))
            asked = stores.enter_context(Asked.open(self._directory))
            async with answers:
                while some := await _gathered(answers):
                    self._count(some)
                    take = partial(_take, some, store, suppressions, asked)
                    self._told.taken += await trio.to_thread.run_sync(take)
                    on_progress(len(some))

    def _count(self, some: list[Told]) -> None:
        now = self._told
        for _, events, error in some:
            if error is not None:
                now.failed += 1
                now.failure = now.failure or str(error)
            elif events is None:
                now.unknown += 1
            else:
                now.answered += 1
        if now.unknown >= _ALL_UNKNOWN and not now.answered:
            self._stop.request(_nobody_known(now.unknown, self.base_url))


async def _gathered(answers: trio.MemoryReceiveChannel[Told]) -> list[Told]:
    """Wait for an answer, and a moment for more; nothing is left if it is empty."""
    some: list[Told] = []
    try:
        some.append(await answers.receive())
        with trio.move_on_after(_SOON):
            while len(some) < _AT_ONCE:
                some.append(await answers.receive())
    except trio.EndOfChannel:
        pass
    return some


def _take(
    some: list[Told], store: EventStore, suppressions: Suppressions, asked: Asked
) -> Taken:
    """Keep what was told, and only then that it was asked."""
    events = [
        # Where the provider does not say to whom it went, we know.
        event
        if event.recipient is not None
        else replace(event, recipient=told.question.address)
        for told in some
        for event in told.events or ()
    ]
    taken = intake.take(events, "status", store=store, suppressions=suppressions)
    rows = [told.question.row for told in some if told.error is None]
    asked.note(rows, datetime.now(UTC))
    return taken


def _new(events: Path, since: datetime) -> dict[str, int]:
    """Count the events of a run that were told since then, by type."""
    counted = (
        pl.scan_parquet(events)
        .filter(pl.col("via") == "status", pl.col("received_at") >= since)
        .group_by("event")
        .len()
        .sort("event")
        .collect()
    )
    return dict(counted.iter_rows())


def _nobody_known(unknown: int, base_url: str) -> RunError:
    return RunError(
        f"{base_url} knows none of the first {unknown} messages",
        hint="look at the address (--base-url) and at whose token it is; providers "
        "also forget messages after some weeks",
    )


def account_of(kind: type[Tracker]) -> str:
    """Read the account's id, where one is needed."""
    if not kind.account:
        return ""
    account = os.environ.get(kind.account, "").strip()
    if not account.isprintable() or not account:
        raise CampaignError(
            f"the environment variable {kind.account} holds no account id",
            hint=f"export {kind.account}=…",
        )
    return account


def token_of(kind: type[Tracker], campaign: Campaign) -> Secret:
    """Read the token to ask with: the endpoint's own, or the one that sends."""
    if not (kind.token_required or os.environ.get(kind.token)):
        return secret.read(campaign.provider.token, folder=campaign.file.parent)
    named = Token(env=kind.token)
    return secret.read(named, folder=campaign.file.parent, place=kind.endpoint)
