"""One run, from its plan to its results.

    journal ◀── writer task, outlives the others
    reader ──▶ [channel of size 0] ──▶ workers ──▶ provider
    stop, or the drain's end ──▶ everything winds up, and what is known is written down

A run ends in one of two ways: *finished*, every row has its outcome; or *stopped*, and
then it can be taken up again from its directory. Either way the results are written.
"""

import gc
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import process_time

import polars as pl
import trio

from engine import results, rundir, snapshot, wire
from engine.crew import (
    INLINE,
    Begin,
    Connection,
    Flight,
    Hand,
    Inline,
    Maker,
    Processes,
    Winged,
    hired,
)
from engine.deliver import NOT_BEFORE, Delivery, not_before
from engine.errors import EngineError, JournalError, Throttled, ungrouped
from engine.guard import Guard, Waiting
from engine.journal import Journal
from engine.outcome import InDoubt, Outcomes, Status
from engine.pace import Pace
from engine.planning import Plan, left_since
from engine.record import BatchState
from engine.retry import Breaker, RetryPolicy
from engine.secret import Secret
from engine.stages import Bound, Sending, Spent, Stage, bound
from engine.stop import Stop
from engine.worker import Worker

#: Seconds between two looks that progress.json gives.
PROGRESS_EVERY = 0.5
#: New objects after which Python looks for cycles; its own choice is 700.
OBJECTS_BETWEEN = 50_000
#: Messages of a batch that is small: one task sends many of them at once.
SMALL = 8
#: States of a batch with which there is nothing left to do. One in doubt is not among
#: them: delivery leaves it alone unless a key makes it harmless to ask again.
LEFT_ALONE = frozenset({BatchState.DONE, BatchState.HELD})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        finished: whether every row has its outcome; if not, the run can be resumed.
        counts: rows by status; every status is there.
        results: the results file.
        seconds: from the first worker's start to the last one's end.
        sent: messages that were settled in this time.
        cause: the error that stopped it, or None.
        spent: where the time went.
        bound: what took most of it; None if it did not come to sending.
    """

    finished: bool
    counts: dict[Status, int]
    results: Path
    seconds: float
    sent: int
    cause: EngineError | None
    spent: Spent
    bound: Bound | None

    @property
    def messages_per_second(self) -> float:
        """Messages settled per second of sending."""
        return self.sent / self.seconds if self.seconds else 0.0


class Run:
    """A planned run, ready to be sent or taken up again.

    Args:
        plan: what to send.
        base_url: where to.
        secret: the account's token.
        in_doubt: what becomes of batches that an earlier start left in doubt: they
            stay so, are sent again (perhaps twice), or are taken for accepted.
        drain: seconds that requests under way get after a stop.
        processes: in how many processes messages are made and sent.
        spent: where the time went until now.
        on_progress: called with the messages settled since the last call.

    Attributes:
        on_begin: called before the first message leaves, with those settled earlier.
        on_wait: called when the wait for a canary begins.
        on_hold: called with the moment, UTC, before which nothing is sent, because the
            provider has asked an earlier start for it.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        base_url: str,
        secret: Secret,
        in_doubt: InDoubt = "hold",
        drain: float = 20.0,
        processes: Processes = INLINE,
        spent: Spent | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.stop = Stop()
        self._plan = plan
        self._base_url = base_url
        self._secret = secret
        self._in_doubt = in_doubt
        self._drain = drain
        self.processes = processes
        self.on_progress = on_progress
        self.on_begin: Callable[[int], None] = lambda _: None
        self.on_wait: Callable[[Waiting], None] = lambda _: None
        self.on_hold: Callable[[datetime], None] = lambda _: None
        self.spent = spent or Spent()
        self._sending: Sending | None = None
        self._before = 0
        self._sent = 0
        self._look: Callable[[], None] = lambda: None
        self._cut = trio.Event()
        self._context: ssl.SSLContext | None = None

    def connect(self) -> Connection:
        """Return one worker's way to the provider. A simulation has ways of its own."""
        if self._context is None:
            self._context = wire.tls_context(self._base_url)
        credentials = self._plan.provider.credentials(self._secret.reveal())
        base_url = self._base_url + credentials.path
        return wire.Wire(base_url, credentials.headers, context=self._context)

    def flight(self) -> Flight | None:
        """Return what many small requests at once leave with; None: each by itself."""
        small = self._plan.manifest.batch_size <= SMALL
        return wire.Flight() if small and wire.CAN_FLY else None

    def open_journal(self) -> tuple[Journal, bool]:
        """Open the run's journal; make it where there is none yet.

        Returns:
            The journal, and whether an earlier start may have sent something.

        Raises:
            JournalError: it cannot be trusted, or belongs to another plan.
        """
        path, manifest = self._plan.directory.journal, self._plan.manifest
        if not path.exists():
            return Journal.create(path, {"manifest": manifest.sha256}), False
        journal = Journal.open(path)
        if journal.fact("manifest") != manifest.sha256:
            journal.close()
            raise JournalError(
                f"{path}: belongs to another plan than the manifest beside it",
                hint="restore the run directory from a backup, or start a new run",
            )
        journal.replay()
        return journal, True

    def cut(self) -> None:
        """Do not wait for the drain's end: what is under way is in doubt."""
        self._cut.set()

    async def send(self) -> Ended:
        """Send everything that is still to be sent, then write the results.

        If cancelled, what is under way is in doubt, what was answered is recorded, and
        the results are written all the same.

        Raises:
            JournalError: the journal failed; nothing was sent after that.
            BrokenPromise: the results do not have one row per input row.
        """
        journal, resumed = self.open_journal()
        keeper, kept = trio.CancelScope(shield=True), trio.Event()
        with journal, ungrouped(EngineError):
            async with trio.open_nursery() as keeping:
                # Not by `start`: broken off there, it would wait for the keeper's end.
                keeping.start_soon(_keep, journal, keeper, kept)
                try:
                    await kept.wait()
                    return await self._with_journal(journal, resumed=resumed)
                finally:
                    keeper.cancel()
        raise AssertionError("a nursery ends by returning or raising")

    async def _with_journal(self, journal: Journal, *, resumed: bool) -> Ended:
        """Send, then write the results; these also if the sending was cancelled.

        The run is finished when the journal says so, and it does that last: a crash
        in between makes the next start write the results again.
        """
        began = trio.current_time()
        try:
            if resumed:
                await self._resolve(journal)
                await journal.note("finished_at", "")
                await journal.flush()
            await self._deliver(journal, resumed=resumed)
        finally:
            seconds = trio.current_time() - began
            with trio.CancelScope(shield=True):
                await journal.flush()
                ended = self._conclude(journal, seconds)
                if ended.finished:
                    await journal.note("finished_at", rundir.now())
                    await journal.flush()
        return ended

    async def _deliver(self, journal: Journal, *, resumed: bool) -> None:
        plan, limits = self._plan, self._plan.campaign.limits
        pace = Pace.of(limits, plan.manifest.batch_size, resumed=resumed)
        self._heed(journal, pace)
        settled = journal.marks(plan.manifest.rows, LEFT_ALONE)
        self._before = len(settled) - settled.count(0)
        self.on_begin(self._before)
        delivery = Delivery(
            can=plan.provider.capabilities,
            journal=journal,
            pace=pace,
            settled=settled,
            stop=self.stop,
            on_progress=self._count,
            breaker=Breaker(patience=limits.patience),
            left=left_since(plan),
            spent=self.spent,
        )
        guard = self._guard(journal)
        self._look = guard.look
        with self._measured(journal, pace, guard), _rare_collections():
            await self._work(delivery, guard)

    def _heed(self, journal: Journal, pace: Pace) -> None:
        """Keep to a wait for which the provider has asked an earlier start.

        One that is longer than a run waits by itself stops it, as it stopped that one.
        """
        if (asked := journal.fact(NOT_BEFORE)) is None:
            return
        until = datetime.fromisoformat(asked)
        seconds = (until - journal.now()).total_seconds()
        if seconds > RetryPolicy().max_wait:
            error = Throttled("the provider has asked to wait", retry_after=seconds)
            error.hint = not_before(until)
            self.stop.request(error)
        elif seconds > 0:
            pace.pause(seconds, throttled=True)
            self.on_hold(until)

    async def _work(self, delivery: Delivery, guard: Guard) -> None:
        send, receive = trio.open_memory_channel[pl.DataFrame](0)
        async with trio.open_nursery() as watching:
            watching.start_soon(self._show_progress, guard)
            async with self._hands() as hands, trio.open_nursery() as working:
                watching.start_soon(self._end_drain, working.cancel_scope)
                working.start_soon(self._read, delivery.settled, send, guard)
                for hand in hands:
                    worker = Worker(delivery, hand)
                    working.start_soon(worker.work, receive.clone())
                receive.close()
            watching.cancel_scope.cancel()

    @contextmanager
    def _measured(self, journal: Journal, pace: Pace, guard: Guard) -> Iterator[None]:
        """Note where the time goes that passes inside."""
        began, cpu = trio.current_time(), process_time()
        try:
            yield
        finally:
            told = pace.statistics()
            seconds = trio.current_time() - began
            workers = self._workers()
            # Seconds of workers so far: what one of them waited on average.
            self.spent.seconds[Stage.PROVIDER] /= workers
            self.spent.add(Stage.JOURNAL, journal.statistics().seconds)
            paced = told.waited_for_rate + told.waited_for_pauses
            self.spent.add(Stage.PACE, min(seconds, paced))  # a stop ends no pause
            self._sending = Sending(
                seconds=seconds,
                cpu=process_time() - cpu,
                workers=workers,
                processes=self.processes.count,
                requests=told.requests,
                limited=told.waited_for_rate,
                throttled=min(seconds, told.waited_for_throttles),
                failing=min(
                    seconds, told.waited_for_pauses - told.waited_for_throttles
                ),
                canary=guard.waited,
                limits=self._plan.limits,
            )

    def _guard(self, journal: Journal) -> Guard:
        """Make what ends the run by itself. A rehearsal waits for nobody's events."""
        manifest, campaign = self._plan.manifest, self._plan.campaign
        canary = campaign.canary
        if canary is not None and manifest.rehearsal:
            canary = canary.model_copy(update={"wait": 0.0})
        return Guard(
            rules=campaign.stop,
            canary=canary,
            journal=journal,
            stop=self.stop,
            run=manifest.run,
            runs=self._plan.directory.path.parent.parent,
            mailable=manifest.mailable,
            on_wait=self.on_wait,
        )

    @asynccontextmanager
    async def _hands(self) -> AsyncIterator[list[Hand]]:
        """Give each worker its hand, in this process or in several."""
        workers = self._workers()
        if self.processes.count == 1:
            maker = Maker.of(self._plan)
            wires = [self.connect() for _ in range(workers)]
            if (flight := self.flight()) is not None:
                yield [Winged(maker, flight, *wires)]
            else:
                yield [Inline(maker, wire) for wire in wires]
            return
        token = self._secret.reveal()
        self._plan.provider.credentials(token)  # better refused here than over there
        begin = Begin(
            directory=str(self._plan.directory.path.resolve()),
            manifest=self._plan.manifest.sha256,
            base_url=self._base_url,
            token=token,
            parent=os.getpid(),
        )
        count = min(self.processes.count, workers)
        async with hired(begin, processes=count, workers=workers) as hands:
            yield hands

    def _workers(self) -> int:
        """Requests in flight: no more than there are, or than may be in doubt."""
        limits, size = self._plan.campaign.limits, self._plan.manifest.batch_size
        wanted = min(limits.workers, self._plan.requests or 1)
        if limits.max_exposure is None:
            return wanted
        return max(1, min(wanted, limits.max_exposure // size))

    async def _read(
        self,
        settled: bytearray,
        send: trio.MemorySendChannel[pl.DataFrame],
        guard: Guard,
    ) -> None:
        """Hand out the rows that still need something, chunk by chunk."""
        handed_out = 0
        with send, self.stop.ends():
            for chunk in self._chunks():
                if guard.is_canary_out(handed_out):
                    await guard.listen()
                guard.note(chunk["message_id"])
                handed_out += chunk.height
                if all(settled[row] for row in chunk["row"].to_list()):
                    continue
                try:
                    await send.send(chunk)
                except trio.BrokenResourceError:
                    return  # every worker has left: the run is to end

    def _chunks(self) -> Iterator[pl.DataFrame]:
        """Read the frozen list, chunk by chunk."""
        plan = self._plan
        manifest = plan.manifest
        chunks = snapshot.chunks(
            plan.directory.recipients, manifest.chunk, first=manifest.canary or 0
        )
        while True:
            with self.spent.on(Stage.READ):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    async def _resolve(self, journal: Journal) -> None:
        """Settle what an earlier start left in doubt, as the user chose."""
        if self._in_doubt == "hold":
            return
        doubtful = [b for b in journal.batches() if b.state is BatchState.IN_DOUBT]
        for batch in doubtful:
            if self._in_doubt == "resend":
                await journal.resolve(batch.id, resend=True)
            else:
                outcomes = Outcomes.uniform(
                    len(batch.rows), Status.ACCEPTED, reason="assumed_sent"
                )
                await journal.resolve(batch.id, outcomes)

    async def _end_drain(self, scope: trio.CancelScope) -> None:
        """Cut what is under way, when a stop's time is over."""
        await self.stop.wait_requested()
        with trio.move_on_after(self._drain):
            await self._cut.wait()
        scope.cancel()

    async def _show_progress(self, guard: Guard) -> None:
        """Tell who looks on, now and then."""
        manifest = self._plan.manifest
        while True:
            facts: dict[str, object] = {
                "rows": manifest.rows,
                "mailable": manifest.mailable,
                "settled": self._before + self._sent,
                "at": rundir.now(),
            }
            if (out := guard.waiting) is not None:
                until = out.until.isoformat(timespec="seconds")
                facts["canary"] = {"messages": out.messages, "until": until}
            rundir.show_progress(self._plan.directory, facts)
            await trio.sleep(PROGRESS_EVERY)

    def _count(self, messages: int) -> None:
        self._sent += messages
        self.on_progress(messages)
        self._look()

    def _conclude(self, journal: Journal, seconds: float) -> Ended:
        """Write the results, and say how the run ended."""
        plan = self._plan
        manifest, directory = plan.manifest, plan.directory
        with self.spent.on(Stage.RESULTS):
            counted = results.write(
                directory.results,
                directory.recipients,
                journal.records(),
                journal.row_outcomes(),
                results.Header.of(manifest),
                findings=journal.findings(),
            )
        counts = {status: counted.get(status, 0) for status in Status}
        return Ended(
            finished=counts[Status.PENDING] == 0,
            counts=counts,
            results=directory.results,
            seconds=seconds,
            sent=self._sent,
            cause=self.stop.cause,
            spent=self.spent,
            bound=bound(self.spent, self._sending) if self._sending else None,
        )


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for cycles less often: requests make many objects and few cycles.

    One by one, it took 7 % of all time (`perf`, November 2026). It is a setting of the
    process, which may be somebody else's: it is put back.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], OBJECTS_BETWEEN) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _keep(journal: Journal, scope: trio.CancelScope, kept: trio.Event) -> None:
    """Run the journal's writer until the scope is cancelled, and not before.

    It is shielded: the workers, when they are cancelled, have something to record.
    """
    with scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            kept.set()
