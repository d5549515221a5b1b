"""Claims about `engine.crew`: hands in other processes do what one in this does.

The processes are real, and so are the run's directory, the pipe and the sandbox.
"""

import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import trio
from end_to_end.desk import TOKEN, Desk

from engine import api, planning, rundir, snapshot, wire
from engine.campaign import Campaign
from engine.crew import (
    PROCESS_LOST,
    Begin,
    Hand,
    Inline,
    Maker,
    NotSent,
    Parcel,
    choose,
    hired,
)
from engine.crew import count as counting
from engine.crew.pipe import Pipe, packed, unpacked
from engine.crew.processes import MOST_LOST, Remote
from engine.errors import (
    AccountRejected,
    HandsLost,
    RunError,
    Throttled,
    Unanswered,
)
from engine.outcome import Status
from engine.planning import Plan
from engine.sandbox import Faults, serve

#: Rows of the list, in batches of ten.
ROWS = 40


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """A run that is planned and has not begun."""
    desk = Desk(tmp_path)
    desk.list(ROWS)
    campaign = api.load(desk.campaign)
    folder = tmp_path / "runs" / "letter"
    folder.mkdir(parents=True)
    directory = rundir.create(folder, rehearsal=False)
    drawn = planning.draw_up(campaign, campaign.list(), directory)
    drawn.manifest.write(directory)
    return drawn


def chunk_of(plan: Plan, rows: int = ROWS) -> pl.DataFrame:
    """Return the first rows, as a worker gets them."""
    return next(iter(snapshot.chunks(plan.directory.recipients, rows)))


def here(plan: Plan, base_url: str = "http://127.0.0.1:9") -> Inline:
    """Return a hand in this process."""
    way = wire.Wire(base_url, {}, context=wire.tls_context(base_url))
    return Inline(Maker.of(plan), way)


@asynccontextmanager
async def there(
    plan: Plan, base_url: str = "http://127.0.0.1:9", *, workers: int = 1
) -> AsyncIterator[list[Hand]]:
    """Give hands in one other process."""
    begin = Begin(
        directory=str(plan.directory.path),
        manifest=plan.manifest.sha256,
        base_url=base_url,
        token=TOKEN,
        parent=os.getpid(),
    )
    async with hired(begin, processes=1, workers=workers) as hands:
        yield hands


@asynccontextmanager
async def provider(**faults: object) -> AsyncIterator[str]:
    """Give the address of a sandbox in this process."""
    async with trio.open_nursery() as nursery:
        site = await nursery.start(partial(serve, faults=Faults.parse(faults)))
        yield site.base_url("cloudmails")
        nursery.cancel_scope.cancel()


def process_of(hand: Hand) -> int:
    """Return the id of a hand's process."""
    assert isinstance(hand, Remote)
    return hand._seat.process().popen.pid


async def kill(hand: Hand) -> None:
    """Kill a hand's process, and wait until that is known."""
    assert isinstance(hand, Remote)
    process = hand._seat.process()
    os.kill(process.popen.pid, signal.SIGKILL)
    await process.ended.wait()


def ignore() -> None:
    """Take no notice."""


# --- the same as here ----------------------------------------------------------------


@pytest.mark.slow
async def test_other_process_makes_the_same_batches(plan: Plan) -> None:
    """Ids, rows and the hashes of all bodies are those of this process, halves too."""
    chunk = chunk_of(plan)
    async with here(plan) as ours, there(plan) as (theirs,):
        expected, made = await ours.make(chunk), await theirs.make(chunk)
        assert len(expected.parcels) == 4
        assert expected[:2] == made[:2]
        halves = await ours.halves(expected.parcels[1])
        assert halves == await theirs.halves(made.parcels[1])


@pytest.mark.slow
async def test_answer_comes_back_with_an_outcome_for_each_message(plan: Plan) -> None:
    """The request is told of when it is on the wire, and the answer is read there."""
    told: list[str] = []
    async with provider() as url, there(plan, url) as (hand,):
        made = await hand.make(chunk_of(plan))
        answer = await hand.exchange(made.parcels[0], sent=lambda: told.append("sent"))
    assert answer.status in {200, 202}
    assert [Status.ACCEPTED] * 10 == answer.outcomes.statuses
    assert ["sent"] == told


@pytest.mark.slow
async def test_error_comes_back_as_what_it_was(plan: Plan) -> None:
    """A 429 there is a `Throttled` here, with the seconds that were asked for."""
    faults = provider(throttle_first=1, retry_after=7)
    async with faults as url, there(plan, url) as (hand,):
        made = await hand.make(chunk_of(plan))
        with pytest.raises(Throttled) as caught:
            await hand.exchange(made.parcels[0], sent=ignore)
        assert caught.value.retry_after == 7
        assert caught.value.http_status == 429
        await hand.exchange(made.parcels[0], sent=ignore)  # its bytes were kept


@pytest.mark.slow
async def test_hands_of_one_process_do_not_wait_for_each_other(plan: Plan) -> None:
    """Four requests of half a second are under way together."""
    chunk = chunk_of(plan)
    async with provider(latency=0.5) as url, there(plan, url, workers=4) as hands:
        made = [await hand.make(chunk) for hand in hands]
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for place, hand in enumerate(hands):
                parcel = made[place].parcels[place]
                nursery.start_soon(partial(hand.exchange, parcel, sent=ignore))
        assert trio.current_time() - began < 1.5


@pytest.mark.slow
async def test_row_that_fails_there_is_told_here(plan: Plan) -> None:
    """With row, reason and place in the template, as in this process."""
    template = plan.directory.templates / "letter" / "body.txt.j2"
    chunk = chunk_of(plan).with_columns(data=pl.struct(other=pl.lit(1)))
    async with here(plan) as ours, there(plan) as (theirs,):
        expected, made = await ours.make(chunk), await theirs.make(chunk)
    assert template.exists()
    assert len(made.failures) == ROWS
    assert expected[:2] == made[:2]


# --- a process that is lost ----------------------------------------------------------


@pytest.mark.slow
async def test_batch_that_was_not_sent_is_made_anew_with_the_same_bytes(
    plan: Plan,
) -> None:
    """Its process is killed: nothing has left; the next one has it, and sends it."""
    async with provider() as url, there(plan, url) as (hand,):
        made = await hand.make(chunk_of(plan))
        await kill(hand)
        with pytest.raises(NotSent):
            await hand.exchange(made.parcels[2], sent=ignore)
        assert made.parcels[2] == await hand.ready(made.parcels[2])
        answer = await hand.exchange(made.parcels[2], sent=ignore)
    assert len(answer.outcomes) == 10


@pytest.mark.slow
async def test_half_of_a_half_is_cut_again_where_its_process_was_lost(
    plan: Plan,
) -> None:
    """With the same id and bytes, and its other half as well."""
    async with provider() as url, there(plan, url) as (hand,):
        made = await hand.make(chunk_of(plan))
        _, half = await hand.halves(made.parcels[3])
        first, second = await hand.halves(half)
        await kill(hand)
        assert first == await hand.ready(first)
        await hand.exchange(first, sent=ignore)
        answer = await hand.exchange(await hand.ready(second), sent=ignore)
    assert len(answer.outcomes) == len(second.rows)


@pytest.mark.slow
async def test_request_of_a_killed_process_is_in_doubt(plan: Plan) -> None:
    """Nobody knows whether it was accepted, and it is not the provider's fault."""
    async with provider(latency=30) as url, there(plan, url) as (hand,):
        made = await hand.make(chunk_of(plan))
        pid = process_of(hand)
        with pytest.raises(Unanswered) as caught:
            await hand.exchange(
                made.parcels[0], sent=partial(os.kill, pid, signal.SIGKILL)
            )
    assert PROCESS_LOST == caught.value.reason
    assert "signal 9" in str(caught.value)


@pytest.mark.slow
async def test_making_survives_the_loss_of_its_process(plan: Plan) -> None:
    """A process that is killed before it is ready is replaced without a word."""
    async with here(plan) as ours, there(plan) as (hand,):
        os.kill(process_of(hand), signal.SIGKILL)
        expected = await ours.make(chunk_of(plan))
        assert expected[:2] == (await hand.make(chunk_of(plan)))[:2]


@pytest.mark.slow
async def test_too_many_losses_end_it(plan: Plan) -> None:
    """After five in a row there is a reason, and it has to be looked for."""
    async with there(plan) as (hand,):
        for _ in range(MOST_LOST + 1):
            await kill(hand)
        with pytest.raises(HandsLost, match="6 worker processes have ended"):
            await hand.make(chunk_of(plan))


@pytest.mark.slow
async def test_bytes_that_changed_meanwhile_are_told_as_others(plan: Plan) -> None:
    """A chunk whose cut has changed is no longer the same: the run has to stop."""
    async with there(plan) as (hand,):
        made = await hand.make(chunk_of(plan))
        stranger = Parcel("00" * 16, made.parcels[0].rows, b"\0" * 32, 1)
        with pytest.raises(HandsLost, match="has changed"):
            await hand.ready(stranger)


@pytest.mark.slow
async def test_run_directory_that_changed_is_refused(plan: Plan) -> None:
    """A process checks what it works from, as a resume does."""
    (plan.directory.templates / "letter" / "body.txt.j2").write_text("Other words")
    async with there(plan) as (hand,):
        with pytest.raises(HandsLost, match="changed since the run was planned"):
            await hand.make(chunk_of(plan))


@pytest.mark.slow
async def test_signals_for_the_group_are_left_to_the_parent(plan: Plan) -> None:
    """SIGINT and SIGTERM end no process: the parent drains."""
    async with there(plan) as (hand,):
        await hand.make(chunk_of(plan))
        os.kill(process_of(hand), signal.SIGINT)
        os.kill(process_of(hand), signal.SIGTERM)
        before = process_of(hand)
        await hand.make(chunk_of(plan))
        assert before == process_of(hand)


@pytest.mark.slow
async def test_nothing_is_left_of_a_process_after_the_block(plan: Plan) -> None:
    """It has ended, and is no zombie either."""
    async with there(plan) as (hand,):
        await hand.make(chunk_of(plan))
        pid = process_of(hand)
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(not Path("/proc").exists(), reason="Linux tells it in /proc")
@pytest.mark.slow
async def test_secret_is_in_no_command_line_and_no_environment(plan: Plan) -> None:
    """It crosses the pipe, where nobody else can read."""
    async with there(plan) as (hand,):
        await hand.make(chunk_of(plan))
        seen = Path(f"/proc/{process_of(hand)}")
        for name in ("cmdline", "environ"):
            assert TOKEN.encode() not in (seen / name).read_bytes()


# --- the pipe ------------------------------------------------------------------------


async def test_pipe_brings_what_was_put_whole_and_in_order() -> None:
    """Small and large messages, more than the socket holds at once."""
    left, right = socket.socketpair()
    one, other = Pipe(left), Pipe(right)
    messages = [("make", place, b"x" * place * 7001) for place in range(120)]
    got: list[object] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        for message in messages:
            one.put(message)
        while len(got) < len(messages):
            got += await other.listen()
        nursery.cancel_scope.cancel()
    assert messages == got
    one.close()
    assert [] == await other.listen()
    other.close()


async def test_pipe_knows_what_has_not_left() -> None:
    """What the other end has no room for counts as not heard."""
    left, right = socket.socketpair()
    one = Pipe(left)
    first = one.put("short")
    second = one.put(b"x" * 10_000_000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert first <= one.left < second
        right.close()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert one.left < second
        nursery.cancel_scope.cancel()
    one.close()


def test_errors_cross_the_pipe_with_all_they_have() -> None:
    """Class, words, and every attribute, the hint included."""
    throttled = Throttled("slow down", http_status=429, retry_after=2.5)
    account = AccountRejected("no", reason="credentials", http_status=401)
    refused = RunError("changed", hint="start a new run")
    account.hint = "check the token"
    for error in (throttled, account, refused):
        again = unpacked(packed(error))
        assert type(error) is type(again)
        assert str(error) == str(again)
        assert vars(error) == vars(again)


# --- how many ------------------------------------------------------------------------


def with_(plan: Plan, rows: int, *, size: int = 1000, **limits: object) -> Plan:
    """Return the plan as if it had so many rows, such batches, and these limits."""
    manifest = replace(
        plan.manifest,
        planned={**plan.manifest.planned, "mailable": rows},
        batch_size=size,
    )
    changed = plan.campaign.limits.model_copy(update=limits)
    campaign: Campaign = plan.campaign.model_copy(update={"limits": changed})
    return replace(plan, manifest=manifest, campaign=campaign)


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight cores."""
    monkeypatch.setattr(counting.os, "sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("rows", "limits", "expected"),
    [
        (100, {}, (1, "the list takes 1 s of a core")),
        (10**7, {}, (3, "there are 8 cores, and work for 3")),
        (10**7, {"workers": 64}, (3, "there are 8 cores, and work for 3")),
        (10**7, {"workers": 1}, (1, "there is one request in flight")),
        (10**7, {"size": 1}, (1, "with 1 message a request another process would")),
        (10**7, {"size": 10}, (1, "with 10 messages a request another process")),
        (10**7, {"messages_per_second": 500.0}, (1, "500 messages/s take ")),
        (10**7, {"requests_per_second": 10.0}, (1, "10 requests/s take 16 % of a")),
        (10**7, {"messages_per_second": 60000.0}, (2, "work for 2")),
    ],
)
def test_auto_takes_what_the_run_can_use(
    plan: Plan,
    eight_cores: None,
    rows: int,
    limits: dict[str, object],
    expected: tuple[int, str],
) -> None:
    """Low limits, one worker and short lists need no second process."""
    chosen = choose("auto", with_(plan, rows, **limits))
    count, why = expected
    assert count == chosen.count
    assert why in chosen.why


def test_number_is_taken_as_it_is(plan: Plan) -> None:
    """Whoever names one has a reason; below one there is none."""
    assert choose(3, plan).count == 3
    with pytest.raises(ValueError, match="processes = 0"):
        choose(0, plan)
