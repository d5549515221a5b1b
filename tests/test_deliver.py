"""Claims about `engine.deliver`: what the workers do with a batch, step by step.

Journal, pace, provider and renderer are the real ones. The server is played by a
`Connection` that reads what is really sent and answers as it is told. Time is trio's
MockClock; the journal keeps the same time, and takes as long to write as it is told.
"""

import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Self

import orjson
import polars as pl
import pytest
import trio
from blake3 import blake3
from trio.testing import MockClock

from engine.batch import message_ids
from engine.crew import Inline, Maker
from engine.deliver import Delivery
from engine.errors import AccountRejected, Throttled, Unanswered, Unavailable
from engine.journal import Journal
from engine.message import Batch, Envelope, Request, Response
from engine.outcome import Status
from engine.pace import Pace
from engine.providers.base import Capabilities
from engine.providers.cloudmails import CloudMails
from engine.record import BatchRecord, BatchState
from engine.render import Renderer
from engine.retry import Breaker, RetryPolicy
from engine.stop import Stop
from engine.worker import Worker

BEGAN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DONE = frozenset({BatchState.DONE, BatchState.HELD})
ENVELOPE = Envelope(
    campaign="welcome",
    run="r1",
    sender="Harbour Books <hello@harbour.example>",
    date=datetime(2026, 11, 20, tzinfo=UTC),
    kind="marketing",
    html=True,
    text=False,
)


class Keyed(CloudMails):
    """CloudMails, if it knew keys and remembered them for half an hour."""

    capabilities: ClassVar[Capabilities] = replace(
        CloudMails.capabilities, idempotency="key", key_seconds=1800.0
    )

    def request(self, batch: Batch) -> Request:
        """Join the parts of a batch, and name it."""
        request = super().request(batch)
        return replace(request, headers={**request.headers, "Key": batch.id})


class Partial(CloudMails):
    """CloudMails, if it took the good messages of a request that it refuses."""

    capabilities: ClassVar[Capabilities] = replace(
        CloudMails.capabilities, all_or_nothing=False
    )


class Crash(BaseException):
    """The process is gone: nothing is recorded any more."""


@dataclass
class Incoming:
    """A request as it came to the server.

    Attributes:
        number: 1 for the first.
        at: seconds since the clock began.
        rows: of its messages.
        on_disk: the batches that the journal had on disk then, if that was looked at.
    """

    number: int
    at: float
    rows: list[int]
    body: bytes
    key: str | None
    on_disk: list[BatchRecord]


Answer = Callable[[Incoming], Response]


@dataclass
class Server:
    """The other end of every connection: keeps what comes, answers as it is told.

    Attributes:
        answer: says or raises what comes back.
        latency: seconds until it does.
        looks: whether each request is kept with what the journal had on disk.
        mailed: rows, as often as they were accepted.
    """

    answer: Answer
    latency: float = 0.1
    looks: bool = False
    requests: list[Incoming] = field(default_factory=list)
    mailed: list[int] = field(default_factory=list)
    journal: Journal | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def exchange(self, request: Request, *, sent: Callable[[], None]) -> Response:
        """Take a request and answer it."""
        mails = orjson.loads(request.body)["messages"]
        incoming = Incoming(
            number=len(self.requests) + 1,
            at=trio.current_time(),
            rows=[int(mail["custom_args"]["row"]) for mail in mails],
            body=request.body,
            key=request.headers.get("Key"),
            on_disk=self._on_disk(),
        )
        self.requests.append(incoming)
        sent()
        await trio.sleep(self.latency)
        response = self.answer(incoming)
        if response.status == 200:
            self.mailed += incoming.rows
        return response

    def _on_disk(self) -> list[BatchRecord]:
        return list(self.journal.batches()) if self.looks and self.journal else []


def accept(incoming: Incoming) -> Response:
    """Say yes to every message."""
    items = [{"message_id": f"srv-{row}", "status": "queued"} for row in incoming.rows]
    return answer_of(200, body=orjson.dumps({"results": items}))


def answer_of(
    status: int, headers: dict[str, str] | None = None, body: bytes = b""
) -> Response:
    """Build an answer."""
    return Response(status, headers or {}, body, now())


def always(status: int, **headers: str) -> Answer:
    """Answer everything with this status; `_` in a header's name is `-`."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: answer_of(status, fields)


def in_turn(*answers: Answer) -> Answer:
    """Give each request the next of these answers, and the last one from then on."""
    return lambda incoming: answers[min(incoming.number, len(answers)) - 1](incoming)


def refuse_rows(bad: Iterable[int], status: int = 400) -> Answer:
    """Refuse every request that has one of these rows, and take the others."""
    spoiled = set(bad)

    def answer(incoming: Incoming) -> Response:
        if spoiled.isdisjoint(incoming.rows):
            return accept(incoming)
        return answer_of(status, body=b'{"code": "bad_template"}')

    return answer


def time_out(_: Incoming) -> Response:
    """Lose the answer."""
    raise Unanswered("no answer", reason="timeout")


def hang_up(_: Incoming) -> Response:
    """Take nothing."""
    raise Unavailable("connection refused", reason="connect")


def crash(_: Incoming) -> Response:
    """End the sender's process, before anybody knows what became of the request."""
    raise Crash


def now() -> datetime:
    """Return the moment that the virtual clock stands for."""
    return BEGAN + timedelta(seconds=trio.current_time())


@dataclass
class Desk:
    """One list, one journal and one server: what a run needs, to begin it often.

    Attributes:
        rows: of the list; each is a recipient.
        bad: rows whose template fails.
        write_seconds: what one transaction of the journal takes.
        ahead: seconds by which the machine's clock is wrong.
        batches: the journal's, after the last start.
        outcomes: of the rows that have one, after the last start.
        reasons: likewise.
        progress: messages settled, as they were told.
    """

    folder: Path
    server: Server
    rows: int = 8
    batch_size: int = 4
    workers: int = 1
    bad: frozenset[int] = frozenset()
    provider: type[CloudMails] = CloudMails
    write_seconds: float = 0.0
    ahead: float = 0.0
    word: str = "welcome"
    breaker: Breaker = field(default_factory=Breaker)
    pace: Pace = field(init=False)
    stop: Stop = field(init=False)
    scope: trio.CancelScope = field(init=False)
    batches: list[BatchRecord] = field(default_factory=list)
    outcomes: dict[int, Status] = field(default_factory=dict)
    reasons: dict[int, str | None] = field(default_factory=dict)
    progress: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._new_start()

    def _new_start(self) -> None:
        self.pace = Pace(
            messages_per_second=None,
            requests_per_second=None,
            batch_size=self.batch_size,
        )
        self.stop, self.scope = Stop(), trio.CancelScope()

    async def start(self, **changes: object) -> None:
        """Begin, or take up, the run; return when it has ended, well or badly."""
        for name, value in changes.items():
            setattr(self, name, value)
        self._new_start()
        async with self._journal() as journal:
            self.server.journal = journal
            try:
                with self.scope:
                    await self._deliver(journal)
            except* Crash:
                pass
        self._read()

    def states(self) -> list[BatchState]:
        """Return the batches' states, in the order of their rows."""
        return [batch.state for batch in self.batches]

    def rows_that(self, status: Status) -> list[int]:
        """Return the rows with this outcome."""
        return [row for row, found in self.outcomes.items() if found is status]

    async def _deliver(self, journal: Journal) -> None:
        provider = self.provider(ENVELOPE, batch_size=self.batch_size)
        maker = Maker("welcome", 1, self.batch_size, provider, self._renderer())
        delivery = Delivery(
            can=provider.capabilities,
            journal=journal,
            pace=self.pace,
            settled=journal.marks(self.rows, DONE),
            stop=self.stop,
            on_progress=self.progress.append,
            breaker=self.breaker,
            random=lambda: 0.5,
        )
        send, receive = trio.open_memory_channel[pl.DataFrame](math.inf)
        for chunk in self._list().iter_slices(self.batch_size):
            send.send_nowait(chunk)
        send.close()
        async with trio.open_nursery() as nursery:
            for _ in range(self.workers):
                hand = Inline(maker, self.server)
                worker = Worker(delivery, hand)
                nursery.start_soon(worker.work, receive.clone())
            receive.close()

    def _list(self) -> pl.DataFrame:
        rows = range(self.rows)
        addresses = [f"reader{row}@example.org" for row in rows]
        shares = [{"share": 0 if row in self.bad else 1} for row in rows]
        return pl.DataFrame(
            {
                "row": pl.Series(rows, dtype=pl.UInt64),
                "address": addresses,
                "name": [""] * self.rows,
                "message_id": message_ids("welcome", addresses),
                "data": shares,
            }
        )

    def _renderer(self) -> Renderer:
        (self.folder / "subject.j2").write_text(self.word)
        (self.folder / "body.j2").write_text("<p>Share {{ 12 // share }}</p>")
        parts = {"subject": "subject.j2", "html": "body.j2"}
        return Renderer(self.folder, parts, {"name": "welcome", "tags": []})

    @asynccontextmanager
    async def _journal(self) -> AsyncIterator[Journal]:
        path = self.folder / "journal.db"
        if not path.exists():
            Journal.create(path, {}).close()
        with Journal.open(path, runner=self._write, clock=self._time) as journal:
            journal.replay()
            async with trio.open_nursery() as nursery:
                await nursery.start(journal.run)
                try:
                    yield journal
                finally:
                    nursery.cancel_scope.cancel()

    async def _write(self, write: Callable[[], None], _rows: int) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(self.write_seconds)
        write()

    def _time(self) -> datetime:
        return now() + timedelta(seconds=self.ahead)

    def _read(self) -> None:
        with Journal.open(self.folder / "journal.db") as journal:
            self.batches = list(journal.batches())
            settled = list(journal.row_outcomes())
        self.outcomes = {one.row: one.status for one in settled}
        self.reasons = {one.row: one.reason for one in settled}
        for batch in self.batches:
            if batch.outcomes is not None:
                self.outcomes |= zip(batch.rows, batch.outcomes.statuses, strict=True)
                self.reasons |= zip(batch.rows, batch.outcomes.reasons, strict=True)


@pytest.fixture
def clock() -> MockClock:
    """Give a clock that jumps to the next deadline whenever all tasks wait."""
    return MockClock(autojump_threshold=0)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Give a desk whose server accepts everything."""
    return Desk(tmp_path, Server(accept))


# --- the order of steps --------------------------------------------------------------


async def test_no_request_leaves_before_its_intent_is_on_disk(
    desk: Desk, clock: MockClock
) -> None:
    """Each request finds its own batch on the disk, with its rows and its bytes."""
    desk.server.looks = True
    await desk.start(rows=40, workers=4, write_seconds=0.3)
    assert len(desk.server.requests) == 10
    for incoming in desk.server.requests:
        (intent,) = (one for one in incoming.on_disk if one.rows == incoming.rows)
        assert intent.state is BatchState.INTENT
        assert blake3(incoming.body).digest() == intent.body_digest
        assert len(incoming.body) == intent.body_bytes
    assert list(range(40)) == sorted(desk.server.mailed)
    assert desk.states() == [BatchState.DONE] * 10


async def test_request_leaves_as_soon_as_its_intent_is_written(
    desk: Desk, clock: MockClock
) -> None:
    """Nothing but the disk and the answer stands between one request and the next."""
    await desk.start(rows=12, write_seconds=0.3)
    times = [incoming.at for incoming in desk.server.requests]
    assert pytest.approx(0.3) == times[0]
    # An intent shares its transaction with the settlement before, or comes after it.
    assert all(0.39 < later - at < 0.71 for at, later in pairwise(times))


async def test_progress_tells_of_every_row_that_was_settled(
    desk: Desk, clock: MockClock
) -> None:
    """What is told adds up to the list: accepted, rejected, in doubt, not rendered."""
    answers = in_turn(accept, time_out, refuse_rows([9]))
    desk.server.answer = answers
    await desk.start(rows=16, bad=frozenset({2}))
    assert len(desk.outcomes) == sum(desk.progress) == 16


async def test_row_that_does_not_render_is_settled_and_the_others_leave(
    desk: Desk,
    clock: MockClock,
) -> None:
    """It is in no request, and its outcome says why."""
    await desk.start(rows=8, bad=frozenset({1, 6}))
    assert [[0, 2, 3], [4, 5, 7]] == [one.rows for one in desk.server.requests]
    assert [1, 6] == desk.rows_that(Status.RENDER_FAILED)
    assert [0, 2, 3, 4, 5, 7] == desk.rows_that(Status.ACCEPTED)


async def test_second_start_sends_what_the_first_left_and_nothing_else(
    desk: Desk,
    clock: MockClock,
) -> None:
    """Batches that are done are not touched again, in doubt neither without a key."""
    desk.server.answer = in_turn(accept, time_out, always(401))
    await desk.start(rows=16)
    assert [0, 1, 2, 3] == desk.rows_that(Status.ACCEPTED)
    desk.server.answer = accept
    before = len(desk.server.requests)
    await desk.start()
    assert [[8, 9, 10, 11], [12, 13, 14, 15]] == [
        one.rows for one in desk.server.requests[before:]
    ]
    assert [4, 5, 6, 7] == desk.rows_that(Status.IN_DOUBT)


# --- cut short -----------------------------------------------------------------------


async def end_at(desk: Desk, seconds: float, how: str) -> None:
    """End a start at a moment."""
    await trio.sleep(seconds)
    if how == "cancel":
        desk.scope.cancel()
    else:
        desk.stop.request()


async def pause_at(desk: Desk, seconds: float, pause: float) -> None:
    """Pause everybody from a moment on."""
    await trio.sleep(seconds)
    desk.pace.pause(pause)


@pytest.mark.parametrize(
    ("how", "moment", "state"),
    [
        ("cancel", 0.25, BatchState.RETRYABLE),
        ("cancel", 1.0, BatchState.RETRYABLE),
        ("cancel", 2.5, BatchState.IN_DOUBT),
        ("stop", 0.25, BatchState.RETRYABLE),
        ("stop", 1.0, BatchState.RETRYABLE),
        ("stop", 2.5, BatchState.DONE),
    ],
)
async def test_end_at_any_moment_leaves_the_truth(
    desk: Desk, clock: MockClock, *, how: str, moment: float, state: BatchState
) -> None:
    """What has not left is sent again; what has is in doubt, or finished by a stop."""
    desk.server.latency = 1.0
    async with trio.open_nursery() as nursery:
        # The intent is written until 0.5, the pause holds it until 2.1, and then the
        # request is on the wire until 3.1.
        nursery.start_soon(pause_at, desk, 0.1, 2.0)
        nursery.start_soon(end_at, desk, moment, how)
        await desk.start(rows=4, write_seconds=0.5)
    assert desk.states() == [state]
    left = state is not BatchState.RETRYABLE
    assert len(desk.server.requests) == left
    await desk.start()
    assert len(desk.server.requests) == 1
    mailed = [] if state is BatchState.IN_DOUBT else [0, 1, 2, 3]
    assert mailed == desk.server.mailed


@pytest.mark.parametrize("how", ["cancel", "stop"])
async def test_stop_while_an_intent_is_written_sends_nothing(
    desk: Desk, clock: MockClock, how: str
) -> None:
    """Even where the way is free once the intent is on the disk."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_at, desk, 0.25, how)
        await desk.start(rows=4, write_seconds=0.5)
    assert desk.states() == [BatchState.RETRYABLE]
    assert [] == desk.server.requests


@pytest.mark.parametrize("how", ["cancel", "stop"])
@pytest.mark.parametrize("status", [408, 429])
async def test_end_during_the_wait_for_another_attempt_loses_nothing(
    desk: Desk, clock: MockClock, how: str, status: int
) -> None:
    """A batch that waits to be sent again is surely not accepted, and stays so."""
    desk.server.answer = in_turn(always(status, retry_after="60"), accept)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_at, desk, 30, how)
        await desk.start(rows=4)
    assert trio.current_time() == 30
    assert desk.states() == [BatchState.RETRYABLE]
    await desk.start()
    assert [0, 1, 2, 3] == desk.server.mailed


async def test_stop_lets_what_is_under_way_finish_and_begins_nothing(
    desk: Desk,
    clock: MockClock,
) -> None:
    """Three requests are on the wire when it comes: they are answered and recorded."""
    desk.server.latency = 1.0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end_at, desk, 1.5, "stop")
        await desk.start(rows=40, workers=3)
    assert len(desk.server.requests) == 4
    assert desk.states() == [BatchState.DONE] * 4
    assert list(range(16)) == sorted(desk.outcomes)


async def test_stop_remembers_its_first_cause() -> None:
    """The error that began it is told, not the ones that followed."""
    stop = Stop()
    first = AccountRejected("no", reason="forbidden")
    stop.request(first)
    stop.request(AccountRejected("neither", reason="forbidden"))
    stop.request()
    await stop.wait_requested()
    assert first is stop.cause


# --- batches that are refused --------------------------------------------------------


@pytest.mark.parametrize("bad", range(0, 64, 9))
async def test_one_bad_row_is_found_and_all_others_are_accepted(
    desk: Desk, clock: MockClock, bad: int
) -> None:
    """Of 64 it takes at most two requests for each of six halvings to find it."""
    desk.server.answer = refuse_rows([bad])
    await desk.start(rows=64, batch_size=64)
    assert [bad] == desk.rows_that(Status.REJECTED)
    assert "bad_template" == desk.reasons[bad]
    assert [row for row in range(64) if row != bad] == sorted(desk.server.mailed)
    assert len(desk.server.requests) == 1 + 2 * 6


async def test_batch_that_is_all_bad_costs_a_bounded_number_of_requests(
    desk: Desk,
    clock: MockClock,
) -> None:
    """Each of 256 rows is rejected, after 36 splits and not after 255."""
    desk.server.answer = always(400)
    await desk.start(rows=256, batch_size=256)
    assert list(range(256)) == sorted(desk.rows_that(Status.REJECTED))
    assert len(desk.server.requests) == 1 + 2 * 36


async def test_each_batch_may_be_split_anew(desk: Desk, clock: MockClock) -> None:
    """One that is all bad uses up nothing that the next one needs."""
    desk.server.answer = refuse_rows([*range(64), 100])
    await desk.start(rows=128, batch_size=64)
    assert [*range(64), 100] == sorted(desk.rows_that(Status.REJECTED))


@pytest.mark.parametrize("provider", [CloudMails, Partial])
async def test_too_large_a_request_is_cut_until_it_fits(
    desk: Desk, clock: MockClock, provider: type[CloudMails]
) -> None:
    """A 413 is refused whole by its nature, whatever the provider does otherwise."""

    def answer(incoming: Incoming) -> Response:
        return accept(incoming) if len(incoming.rows) <= 3 else answer_of(413)

    desk.server.answer = answer
    await desk.start(rows=16, batch_size=16, provider=provider)
    assert list(range(16)) == sorted(desk.server.mailed)
    assert [16, 8, 4, 2, 2, 4, 2, 2, 8, 4, 2, 2, 4, 2, 2] == [
        len(incoming.rows) for incoming in desk.server.requests
    ]


async def test_message_that_is_too_large_alone_is_rejected(
    desk: Desk, clock: MockClock
) -> None:
    """There is nothing left to cut, so that is its outcome; the others are accepted."""
    desk.server.answer = refuse_rows([5], status=413)
    await desk.start(rows=8, batch_size=8)
    assert [5] == desk.rows_that(Status.REJECTED)
    assert "too_large" == desk.reasons[5]
    assert [0, 1, 2, 3, 4, 6, 7] == sorted(desk.server.mailed)


async def test_request_that_may_have_been_taken_in_part_is_not_split(
    desk: Desk,
    clock: MockClock,
) -> None:
    """Where a refusal is not of the whole, sending halves could mail some twice."""
    desk.server.answer = refuse_rows([5])
    await desk.start(rows=8, batch_size=8, provider=Partial)
    assert len(desk.server.requests) == 1
    assert list(range(8)) == desk.rows_that(Status.REJECTED)


async def test_crash_amid_the_splitting_sends_no_half_twice(
    desk: Desk, clock: MockClock
) -> None:
    """The halves that were answered stay; the one on the wire is in doubt."""
    refuse = refuse_rows([13])
    desk.server.answer = in_turn(refuse, refuse, refuse, refuse, crash)
    await desk.start(rows=16, batch_size=16)
    assert [8, 9, 10, 11] == desk.server.requests[3].rows
    desk.server.answer = refuse
    await desk.start()
    assert [12, 13, 14, 15] == desk.rows_that(Status.IN_DOUBT)
    assert list(range(12)) == desk.server.mailed
    assert len(desk.outcomes) == 16


# --- keys ----------------------------------------------------------------------------


async def test_unanswered_request_goes_again_with_the_same_key_and_bytes(
    desk: Desk,
    clock: MockClock,
) -> None:
    """With a key the provider knows it again, so nobody is left in doubt."""
    desk.server.answer = in_turn(time_out, time_out, accept)
    await desk.start(rows=4, provider=Keyed)
    first, *others = desk.server.requests
    assert len(others) == 2
    assert {(first.key, first.body)} == {(one.key, one.body) for one in others}
    (batch,) = desk.batches
    assert (first.key, 3) == (batch.idempotency_key, batch.attempts)
    assert [0, 1, 2, 3] == desk.rows_that(Status.ACCEPTED)


async def test_unanswered_request_without_a_key_never_goes_again(
    desk: Desk, clock: MockClock
) -> None:
    """It is in doubt, and the next start does not touch it either."""
    desk.server.answer = in_turn(time_out, accept)
    await desk.start(rows=8)
    await desk.start()
    assert [0, 1, 2, 3] == desk.rows_that(Status.IN_DOUBT)
    assert [4, 5, 6, 7] == desk.server.mailed


@pytest.mark.parametrize(
    ("seconds", "word", "replayed"),
    [
        (0, "welcome", True),
        (1490, "welcome", True),
        (1510, "welcome", False),
        (90_000, "welcome", False),
        (60, "farewell", False),
    ],
)
async def test_crash_is_replayed_while_its_key_is_fresh_and_its_bytes_the_same(
    desk: Desk, clock: MockClock, seconds: float, word: str, *, replayed: bool
) -> None:
    """With an old key or other bytes it would be another request: it stays in doubt."""
    desk.server.answer = in_turn(crash, accept)
    await desk.start(rows=4, provider=Keyed)
    await trio.sleep(seconds)
    await desk.start(word=word)
    assert 1 + replayed == len(desk.server.requests)
    status = Status.ACCEPTED if replayed else Status.IN_DOUBT
    assert [0, 1, 2, 3] == desk.rows_that(status)
    assert [1 + replayed] == [batch.attempts for batch in desk.batches]


async def test_clock_that_was_set_back_makes_no_key_fresh(
    desk: Desk, clock: MockClock
) -> None:
    """Nobody knows how old a key is that was made in the future: it stays in doubt."""
    desk.server.answer = in_turn(crash, accept)
    await desk.start(rows=4, provider=Keyed, ahead=86_400.0)
    await desk.start(ahead=0.0)
    assert len(desk.server.requests) == 1
    assert [0, 1, 2, 3] == desk.rows_that(Status.IN_DOUBT)


async def test_clock_that_is_set_back_amid_a_run_makes_no_key_fresh(
    desk: Desk, clock: MockClock
) -> None:
    """While the process lives, a key's age is told by a clock that nobody sets."""

    def answer(incoming: Incoming) -> Response:
        desk.ahead = -86_400.0
        return time_out(incoming)

    desk.server.answer = in_turn(accept, answer)
    await desk.start(rows=8, provider=Keyed, breaker=Breaker(patience=20_000))
    sent = [one.at for one in desk.server.requests[1:]]
    assert len(sent) > 5
    assert sent[-1] - sent[0] < 1740


async def test_no_request_goes_again_after_its_key_has_expired(
    desk: Desk, clock: MockClock
) -> None:
    """However long an outage lasts, a key is used for half an hour less a minute."""
    desk.server.answer = in_turn(accept, time_out)
    await desk.start(rows=24, provider=Keyed, breaker=Breaker(patience=20_000))
    sent: dict[str | None, list[float]] = {}
    for incoming in desk.server.requests:
        sent.setdefault(incoming.key, []).append(incoming.at)
    assert len(desk.server.requests) > 10
    assert max(times[-1] - times[0] for times in sent.values()) < 1740


ENDS = {
    "throttled": always(429, retry_after="86400"),
    "account": always(401),
    "refused": always(400),
    "still in progress": always(409),
    "other bytes": always(422),
    "too large": always(413),
    "never taken": hang_up,
}


@pytest.mark.parametrize("end", ENDS)
async def test_doubt_stays_whatever_becomes_of_the_next_attempt(
    desk: Desk, clock: MockClock, end: str
) -> None:
    """A refusal of the second request says nothing about the first."""
    desk.server.answer = in_turn(time_out, ENDS[end])
    await desk.start(rows=4, provider=Keyed)
    assert [0, 1, 2, 3] == desk.rows_that(Status.IN_DOUBT)
    assert desk.states() == [BatchState.IN_DOUBT]


@pytest.mark.parametrize("how", ["cancel", "stop"])
async def test_doubt_stays_if_the_next_attempt_is_taken_back(
    desk: Desk, clock: MockClock, how: str
) -> None:
    """An intent that is withdrawn before it leaves ends no doubt."""
    desk.server.answer = in_turn(time_out, accept)
    async with trio.open_nursery() as nursery:
        # It rests for 0.125 s from 1.1 on; the second intent is written until 2.
        nursery.start_soon(end_at, desk, 1.5, how)
        await desk.start(rows=4, provider=Keyed, write_seconds=0.5)
    assert len(desk.server.requests) == 1
    assert desk.states() == [BatchState.IN_DOUBT]


# --- the account, and outages --------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_refused_account_costs_one_request(
    desk: Desk, clock: MockClock, status: int
) -> None:
    """The first request goes alone; eight workers stop, and every row waits."""
    desk.server.answer = always(status)
    await desk.start(rows=80, workers=8)
    assert len(desk.server.requests) == 1
    assert isinstance(desk.stop.cause, AccountRejected)
    assert {} == desk.outcomes
    assert set(desk.states()) == {BatchState.RETRYABLE}
    desk.server.answer = accept
    await desk.start()
    assert list(range(80)) == sorted(desk.server.mailed)


@pytest.mark.parametrize("status", [429, 503])
async def test_everybody_waits_for_as_long_as_was_asked(
    desk: Desk, clock: MockClock, status: int
) -> None:
    """After the Retry-After one goes alone; a 503 leaves the rate as it was."""
    desk.server.answer = in_turn(
        accept, accept, accept, always(status, retry_after="7"), accept
    )
    await desk.start(rows=80, workers=4)
    refused = desk.server.requests[3].at + desk.server.latency
    later = [one.at for one in desk.server.requests if one.at >= refused]
    assert refused + 7 <= later[0]
    assert later[0] + desk.server.latency <= later[1]
    assert list(range(80)) == sorted(desk.server.mailed)
    assert (status == 429) == desk.pace.statistics().throttles


@pytest.mark.parametrize("status", [429, 503])
async def test_wait_beyond_patience_stops_the_run(
    desk: Desk, clock: MockClock, status: int
) -> None:
    """Asked to come back tomorrow, the run ends at once, says so, and can go on."""
    desk.server.answer = always(status, retry_after="86400")
    await desk.start(rows=40, workers=4)
    assert len(desk.server.requests) == 1
    assert isinstance(desk.stop.cause, Throttled | Unavailable)
    assert desk.stop.cause.retry_after == 86400
    assert "2026-11-21 12:00 UTC" in desk.stop.cause.hint
    assert {} == desk.outcomes
    desk.server.answer = accept
    await desk.start()
    assert list(range(40)) == sorted(desk.server.mailed)


async def test_storm_of_minutes_costs_no_batch_its_attempts(
    desk: Desk, clock: MockClock
) -> None:
    """429s are waited out, however many; then everything is accepted."""
    desk.server.answer = in_turn(*[always(429)] * 60, accept)
    await desk.start(rows=16, workers=4)
    assert list(range(16)) == sorted(desk.server.mailed)
    assert trio.current_time() >= 55 * 10


async def test_outage_stops_the_run_with_every_row_waiting(
    desk: Desk, clock: MockClock
) -> None:
    """After an hour without an answer; few requests were spent, and no row was."""
    desk.server.answer = in_turn(accept, hang_up)
    await desk.start(rows=400, workers=8)
    assert isinstance(desk.stop.cause, Unavailable)
    assert pytest.approx(3600, abs=300) == trio.current_time()
    assert len(desk.server.requests) < 50
    assert len(desk.outcomes) == len(desk.rows_that(Status.ACCEPTED)) == 4
    desk.server.answer = accept
    await desk.start()
    assert list(range(400)) == sorted(desk.server.mailed)


async def test_address_that_nobody_answers_stops_the_run_soon(
    desk: Desk, clock: MockClock
) -> None:
    """Before the first answer ever, half a minute is enough."""
    desk.server.answer = hang_up
    await desk.start(rows=400, workers=8)
    assert 30 <= trio.current_time() <= 60
    assert {} == desk.outcomes
    assert len(desk.server.requests) < 20


async def test_request_without_an_answer_opens_no_gate(
    desk: Desk, clock: MockClock
) -> None:
    """While nobody has answered, one request leaves at a time."""
    desk.server.answer = in_turn(hang_up, time_out, accept)
    await desk.start(rows=40, workers=4)
    times = [incoming.at for incoming in desk.server.requests[:4]]
    assert all(later - at >= 0.1 for at, later in pairwise(times))


@pytest.mark.slow
async def test_attempts_of_an_outage_are_not_those_of_a_batch(
    desk: Desk, clock: MockClock
) -> None:
    """A batch that was sent in vain fifteen times then may still fail six by itself."""
    outage = [hang_up] * 15
    answers = [accept] * 200 + outage + [always(429), hang_up, accept]
    desk.server.answer = in_turn(*answers)
    await desk.start(rows=804, breaker=Breaker(patience=math.inf))
    assert list(range(804)) == desk.rows_that(Status.ACCEPTED)


async def test_outage_that_ends_has_cost_nobody_anything(
    desk: Desk, clock: MockClock
) -> None:
    """Ten minutes without a connection, then everything is accepted."""

    def answer(incoming: Incoming) -> Response:
        down = 1 < incoming.at < 600
        return hang_up(incoming) if down else accept(incoming)

    desk.server.answer, desk.server.latency = answer, 0.5
    await desk.start(rows=100, workers=4)
    assert list(range(100)) == sorted(desk.server.mailed)
    assert list(range(100)) == sorted(desk.rows_that(Status.ACCEPTED))


@pytest.mark.slow
async def test_batch_that_alone_is_never_taken_fails_after_six_attempts(
    desk: Desk,
    clock: MockClock,
) -> None:
    """While others are answered it is the batch's fault, so it ends, and alone."""

    def answer(incoming: Incoming) -> Response:
        return hang_up(incoming) if 100 in incoming.rows else accept(incoming)

    desk.server.answer = answer
    await desk.start(rows=800, workers=4)
    assert [100, 101, 102, 103] == desk.rows_that(Status.FAILED)
    assert len(desk.rows_that(Status.ACCEPTED)) == 796
    attempts = [one for one in desk.server.requests if 100 in one.rows]
    assert len(attempts) == RetryPolicy().max_faults
