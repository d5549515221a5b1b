"""Claims about `engine.pace`: no window above the limit, and one gate for all.

Time is trio's MockClock: hours pass at once, and every instant is exact.
"""

import itertools
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
from aiolimiter import AsyncLimiter
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, assert_no_checkpoints

from engine.pace import Closed, Pace, TrioLimiter, Turn, largest_batch

Departures = list[tuple[float, int]]


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    """Run on a clock that jumps to the next deadline whenever all tasks wait."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


def most_in_any_window(departures: Departures, seconds: float) -> int:
    """Find the largest sum that any closed window of that length holds."""
    most = total = 0
    window: deque[tuple[float, int]] = deque()
    for at, amount in departures:
        window.append((at, amount))
        total += amount
        while at - window[0][0] > seconds:
            total -= window.popleft()[1]
        most = max(most, total)
    return most


@dataclass
class Load:
    """Workers that take turns for jobs: (messages, intent s, answer s, patience s)."""

    pace: Pace
    departures: Departures = field(default_factory=list)

    async def work(self, jobs: list[tuple[int, float, float, float]]) -> None:
        """Do these jobs one after the other, each within its patience."""
        for messages, intent, answer, patience in jobs:
            with trio.move_on_after(patience):
                async with self.pace.turn(messages) as turn:
                    await trio.sleep(intent)
                    await turn.depart()
                    turn.sent()
                    self.departures.append((trio.current_time(), messages))
                    await trio.sleep(answer)


async def use(
    pace: Pace, messages: int, *, requests: int, workers: int, intent: float = 0.008
) -> Departures:
    """Send that many full requests, each 8 ms on disk and 50 ms on the wire."""
    load = Load(pace)
    share = [(messages, intent, 0.05, math.inf)] * (requests // workers)
    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(load.work, share)
    return load.departures


def steady_rate(departures: Departures) -> float:
    """Measure messages/s from the first departure to the last, the last left out."""
    first, last = departures[0][0], departures[-1][0]
    return sum(amount for _, amount in departures[:-1]) / (last - first)


async def open_gate(pace: Pace) -> None:
    """Let one answered probe through."""
    async with pace.turn(1) as turn:
        await turn.depart()
        turn.sent()


# --- the rate -----------------------------------------------------------------------

limits = st.one_of(st.integers(1, 3000), st.floats(0.05, 3000))
moments = st.sampled_from([0.0, 0.0003, 0.004, 0.03, 0.3])


@st.composite
def loads(draw: st.DrawFn, largest: int) -> list[list[tuple[int, float, float, float]]]:
    """Draw the jobs of up to five workers; some are too impatient to be served."""
    patience = st.sampled_from([math.inf, math.inf, math.inf, 2.0, 0.01])
    sizes = st.one_of(st.integers(1, largest), st.just(largest))
    job = st.tuples(sizes, moments, moments, patience)
    return draw(st.lists(st.lists(job, max_size=12), min_size=1, max_size=5))


async def send_and_storm(
    pace: Pace,
    jobs: list[list[tuple[int, float, float, float]]],
    pauses: list[float],
) -> Departures:
    """Work through the jobs while pauses fall at odd moments."""
    load = Load(pace)
    async with trio.open_nursery() as nursery:
        for share in jobs:
            nursery.start_soon(load.work, share)
        for seconds in pauses:
            await trio.sleep(0.37)
            pace.pause(seconds)
    return load.departures


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.data(), limits, st.integers(1, 2000))
def test_no_window_of_a_second_holds_more_than_the_limit(
    data: st.DataObject, limit: float, maximum: int
) -> None:
    """Whatever the sizes, delays, cancellations and pauses, no window exceeds it."""
    largest = largest_batch(maximum, messages_per_second=limit, burst=None)
    jobs = data.draw(loads(largest))
    pauses = data.draw(st.lists(moments, max_size=3))

    async def main() -> None:
        pace = Pace(
            messages_per_second=limit, requests_per_second=None, batch_size=largest
        )
        departures = await send_and_storm(pace, jobs, pauses)
        most = most_in_any_window(departures, max(1.0, 1 / limit))
        assert most <= max(1, limit)

    in_virtual_time(main)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.data(), st.floats(0.05, 40))
def test_no_window_of_a_second_holds_more_requests_than_the_limit(
    data: st.DataObject, limit: float
) -> None:
    """The same promise, for requests; a burst of messages does not widen it."""
    jobs = data.draw(loads(500))

    async def main() -> None:
        pace = Pace(
            messages_per_second=5000,
            requests_per_second=limit,
            burst=9000,
            batch_size=500,
        )
        departures = await send_and_storm(pace, jobs, [])
        requests = [(at, 1) for at, _ in departures]
        assert most_in_any_window(requests, max(1.0, 1 / limit)) <= max(1, limit)

    in_virtual_time(main)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.data(), st.floats(0.5, 3000), st.integers(1, 2000))
def test_burst_bounds_every_window_of_any_length(
    data: st.DataObject, limit: float, burst: int
) -> None:
    """With a burst, any window of W seconds holds at most limit * W + burst."""
    jobs = data.draw(loads(burst))
    pauses = data.draw(st.lists(moments, max_size=3))

    async def main() -> None:
        pace = Pace(
            messages_per_second=limit,
            requests_per_second=None,
            burst=burst,
            batch_size=burst,
        )
        departures = await send_and_storm(pace, jobs, pauses)
        for first, (since, _) in enumerate(departures):
            total = 0
            for until, amount in departures[first:]:
                total += amount
                assert total <= limit * (until - since) + burst + 1e-6

    in_virtual_time(main)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "maximum", "workers"),
    [(500, 1000, 4), (1500, 1000, 4), (500, 1, 64), (20_000, 1000, 8), (3, 1, 2)],
)
def test_full_batches_use_98_percent_of_the_limit(
    limit: int, maximum: int, workers: int
) -> None:
    """Full batches, with 8 ms to write each intent, fill the limit and not more."""
    batch = largest_batch(maximum, messages_per_second=limit, burst=None)

    async def main() -> None:
        pace = Pace(
            messages_per_second=limit, requests_per_second=None, batch_size=batch
        )
        requests = 8 * limit // batch
        departures = await use(pace, batch, requests=requests, workers=workers)
        assert most_in_any_window(departures, 1) <= limit
        # What the first windows catch up is no steady state: the later half counts.
        assert 0.98 * limit <= steady_rate(departures[len(departures) // 2 :])

    in_virtual_time(main)


@pytest.mark.slow
@pytest.mark.parametrize(("burst", "batch"), [(1, 1), (1000, 1000), (3000, 500)])
def test_named_burst_uses_98_percent_of_the_limit(burst: int, batch: int) -> None:
    """A bucket as small as one batch loses nothing to the time an intent takes."""

    async def main() -> None:
        pace = Pace(
            messages_per_second=200 * batch,
            requests_per_second=None,
            burst=burst,
            batch_size=batch,
        )
        departures = await use(pace, batch, requests=1000, workers=20)
        assert 0.98 * 200 * batch <= steady_rate(departures[500:])

    in_virtual_time(main)


def test_requests_per_second_use_98_percent_of_the_limit() -> None:
    """Ten requests a second are ten in every full second, and never eleven."""

    async def main() -> None:
        pace = Pace(messages_per_second=None, requests_per_second=10, batch_size=1000)
        departures = await use(pace, 1000, requests=200, workers=4)
        requests = [(at, 1) for at, _ in departures]
        assert most_in_any_window(requests, 1) == 10
        assert steady_rate(requests[100:]) >= 9.8

    in_virtual_time(main)


def test_departures_are_spread_over_the_second() -> None:
    """Five batches a second leave 0.2 s apart, give or take 50 ms of slack."""

    async def main() -> None:
        pace = Pace(messages_per_second=500, requests_per_second=None, batch_size=100)
        departures = await use(pace, 100, requests=40, workers=4, intent=0)
        gaps = [
            later - earlier
            for (earlier, _), (later, _) in itertools.pairwise(departures[5:])
        ]
        assert min(gaps) >= 0.149

    in_virtual_time(main)


@pytest.mark.slow
async def test_limit_holds_on_the_real_clock() -> None:
    """On trio's own clock, where sleeps overrun, the promise is the same."""
    pace = Pace(messages_per_second=400, requests_per_second=None, batch_size=1)
    departures = await use(pace, 1, requests=520, workers=40, intent=0.002)
    # The stamps are this test's own, and late where the machine is busy.
    assert most_in_any_window(departures, 0.9) <= 400


def test_wait_to_write_an_intent_does_not_let_two_batches_leave_together() -> None:
    """The stamp is the departure: a batch that was slow to leave delays the next."""

    async def main() -> None:
        pace = Pace(messages_per_second=100, requests_per_second=None, batch_size=100)
        await open_gate(pace)
        load = Load(pace)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.work, [(100, 5.0, 0, math.inf)])
            await trio.sleep(3)
            nursery.start_soon(load.work, [(100, 0.0, 0, math.inf)])
        (slow, _), (next_one, _) = load.departures
        assert next_one - slow > 1

    in_virtual_time(main)


async def test_entry_stays_shut_until_departure_is_near(
    autojump_clock: MockClock,
) -> None:
    """No intent is written a second early: what is about to depart counts as used."""
    pace = Pace(messages_per_second=100, requests_per_second=None, batch_size=100)
    await open_gate(pace)
    await trio.sleep(2)
    load = Load(pace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.work, [(100, 5.0, 0, math.inf)])
        await trio.testing.wait_all_tasks_blocked()
        async with pace.turn(3):
            entered_at = trio.current_time()
    assert pytest.approx(load.departures[0][0] + 1, abs=0.06) == entered_at


async def test_start_after_a_crash_waits_for_the_window_of_the_dead(
    autojump_clock: MockClock,
) -> None:
    """With `start_empty` nothing departs for one window; without, at once."""
    for start_empty, earliest in ((True, 1.0), (False, 0.0)):
        for burst in (None, 1000):
            pace = Pace(
                messages_per_second=500,
                requests_per_second=None,
                burst=burst,
                batch_size=10,
                start_empty=start_empty,
            )
            began = trio.current_time()
            await open_gate(pace)
            waited = trio.current_time() - began
            assert earliest <= waited <= earliest * 1.02


async def test_burst_is_used_up_after_a_crash(autojump_clock: MockClock) -> None:
    """The bucket of a dead process is full, not only its last window."""
    pace = Pace(
        messages_per_second=100,
        requests_per_second=None,
        burst=1000,
        batch_size=1000,
        start_empty=True,
    )
    async with pace.turn(1000) as turn:
        await turn.depart()
        turn.sent()
    assert trio.current_time() >= 10


# --- the line -----------------------------------------------------------------------


async def test_small_batches_do_not_overtake_a_large_one(
    autojump_clock: MockClock,
) -> None:
    """Turns are served in the order in which they were asked for."""
    pace = Pace(messages_per_second=100, requests_per_second=None, batch_size=100)
    await open_gate(pace)
    load = Load(pace)
    sizes = [60, 100, 1, 40, 1, 99]
    async with trio.open_nursery() as nursery:
        for size in sizes:
            nursery.start_soon(load.work, [(size, 0, 0, math.inf)])
            await trio.testing.wait_all_tasks_blocked()
    assert sizes == [amount for _, amount in load.departures]


async def test_cancelled_waiter_takes_nothing_and_lets_the_next_through(
    autojump_clock: MockClock,
) -> None:
    """The next turn departs as if the cancelled one had never asked."""
    pace = Pace(messages_per_second=100, requests_per_second=None, batch_size=100)
    await open_gate(pace)
    load = Load(pace)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load.work, [(99, 0, 0, math.inf)])
        await trio.testing.wait_all_tasks_blocked()
        # Cancelled while first in line, and after the entry.
        nursery.start_soon(load.work, [(100, 0, 0, 0.5)])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(load.work, [(100, 9, 0, 2)])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(load.work, [(100, 0, 0, math.inf)])
    assert [amount for _, amount in load.departures] == [99, 100]
    assert pace.statistics().messages == 1 + 99 + 100
    # 1 s after the first departures, the second cancelled turn held its place till 2 s.
    assert pytest.approx(2, abs=0.02) == load.departures[1][0]


async def test_free_way_is_no_checkpoint(autojump_clock: MockClock) -> None:
    """With room and an open gate, depart() returns in the same step of the task."""
    pace = Pace(messages_per_second=100, requests_per_second=10, batch_size=10)
    await open_gate(pace)
    async with pace.turn(1) as turn:
        with assert_no_checkpoints():
            await turn.depart()
            turn.sent()


async def test_without_limits_nothing_waits(autojump_clock: MockClock) -> None:
    """No limits, no waits: ten thousand turns take no time at all."""
    pace = Pace(messages_per_second=None, requests_per_second=None, batch_size=1000)
    for _ in range(10_000):
        async with pace.turn(1000) as turn:
            await turn.depart()
            turn.sent()
    assert trio.current_time() == 0
    assert pace.statistics().messages == 10_000_000


# --- the gate -----------------------------------------------------------------------


async def flood(
    pace: Pace, answer: Callable[[int], Awaitable[float | None]], *, workers: int = 8
) -> Departures:
    """Let workers send 1 message each; `answer` waits and says how long to pause."""
    departures: Departures = []

    async def work() -> None:
        async with pace.turn(1) as turn:
            await trio.sleep(0.005)
            await turn.depart()
            turn.sent()
            departures.append((trio.current_time(), 1))
            seconds = await answer(len(departures))
            if seconds is not None:
                turn.throttled(seconds)

    async with trio.open_nursery() as nursery:
        for _ in range(workers):
            nursery.start_soon(work)
    return departures


def free_pace() -> Pace:
    """Build a pace that only its gate holds up."""
    return Pace(messages_per_second=None, requests_per_second=None, batch_size=10)


async def test_first_request_goes_alone(autojump_clock: MockClock) -> None:
    """At the start one request leaves, and the others wait for its answer."""

    async def answer(_number: int) -> None:
        await trio.sleep(3)

    departures = await flood(free_pace(), answer)
    assert pytest.approx([0.005] + [3.01] * 7) == [at for at, _ in departures]


async def test_nobody_departs_within_retry_after(autojump_clock: MockClock) -> None:
    """A 429 to the first request holds all for its 2 s; then one leaves, then all."""

    async def answer(number: int) -> float | None:
        await trio.sleep(0.1)
        return 2.0 if number == 1 else None

    pace = free_pace()
    times = [at for at, _ in await flood(pace, answer)]
    assert times[0] + 0.1 + 2.0 <= times[1]
    assert times[1] + 0.1 <= times[2]
    assert pytest.approx([times[2]] * 6) == times[2:]
    assert pace.statistics().throttles == 1


async def test_throttle_stops_turns_that_wait_to_depart(
    autojump_clock: MockClock,
) -> None:
    """Turns past the entry when another gets a 429 stay until the pause is over."""
    pace = free_pace()
    await open_gate(pace)
    load = Load(pace)
    async with trio.open_nursery() as nursery:
        async with pace.turn(1) as turn:
            await turn.depart()
            turn.sent()
            for _ in range(4):
                nursery.start_soon(load.work, [(1, 0.5, 1.0, math.inf)])
            await trio.sleep(0.2)
            turn.throttled(7.0)
        # These come later, so they wait behind those whose intent is written.
        for _ in range(2):
            nursery.start_soon(load.work, [(2, 0.5, 1.0, math.inf)])
    assert [amount for _, amount in load.departures] == [1, 1, 1, 1, 2, 2]
    times = [at for at, _ in load.departures]
    assert pytest.approx([7.2, 8.2, 8.2, 8.2, 8.7, 8.7], abs=1e-4) == times


async def test_429s_in_flight_together_are_one_storm(
    autojump_clock: MockClock,
) -> None:
    """Late 429s extend the pause, never shorten it, and count once."""
    pace = free_pace()
    await open_gate(pace)

    async def answer(number: int) -> float | None:
        await trio.sleep(0.1 * number)
        return {1: 2.0, 2: 5.0, 3: 0.5}.get(number)

    await flood(pace, answer, workers=3)
    began = trio.current_time()
    await open_gate(pace)
    # The second came 0.1 s before the third and asked for 5 s.
    assert pytest.approx(4.9, abs=1e-4) == trio.current_time() - began
    statistics = pace.statistics()
    assert statistics.throttles == 1
    assert pytest.approx(5.1) == statistics.waited_for_pauses
    assert statistics.waited_for_throttles == statistics.waited_for_pauses


async def test_probe_that_is_throttled_pauses_again(
    autojump_clock: MockClock,
) -> None:
    """While every probe gets a 429, one request leaves per pause."""

    async def answer(number: int) -> float | None:
        return 1.0 if number <= 5 else None

    pace = free_pace()
    departures = await flood(pace, answer)
    times = [at for at, _ in departures]
    assert all(b - a >= 1 for a, b in itertools.pairwise(times[:6]))
    assert pace.statistics().throttles == 5
    assert pace.storms_in_a_row == 0


async def test_storms_in_a_row_grow_until_a_probe_is_answered(
    autojump_clock: MockClock,
) -> None:
    """The count rises with each throttled probe and falls to 0 with an answer."""
    pace = free_pace()
    seen = []
    for throttled in (True, True, True, False):
        async with pace.turn(1) as turn:
            await turn.depart()
            turn.sent()
            if throttled:
                turn.throttled(1.0)
        seen.append(pace.storms_in_a_row)
    assert seen == [1, 2, 3, 0]


@pytest.mark.parametrize("departs", [True, False])
async def test_probe_without_an_answer_leaves_the_next_as_probe(
    autojump_clock: MockClock, *, departs: bool
) -> None:
    """A probe that failed or was cancelled opens nothing: again one goes alone."""
    pace = free_pace()
    load = Load(pace)
    async with trio.open_nursery() as nursery:
        intent, answer = (0.0, 9.0) if departs else (9.0, 0.0)
        nursery.start_soon(load.work, [(1, intent, answer, 1.0)])
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(load.work, [(2, 0, 1.0, math.inf)])
    times = [at for at, amount in load.departures if amount == 2]
    assert pytest.approx([1, 2, 2]) == times


async def test_answer_from_before_the_storm_does_not_open_the_gate(
    autojump_clock: MockClock,
) -> None:
    """A straggler's good answer, or an old probe's, is no news about the storm."""
    pace = free_pace()
    load = Load(pace)
    async with trio.open_nursery() as nursery:
        async with pace.turn(1) as probe:
            await probe.depart()
            probe.sent()
            pace.pause(2.0)
        for _ in range(3):
            nursery.start_soon(load.work, [(1, 0, 1.0, math.inf)])
    assert pytest.approx([2, 3, 3], abs=1e-4) == [at for at, _ in load.departures]


async def test_shorter_pause_does_not_shorten_a_longer_one(
    autojump_clock: MockClock,
) -> None:
    """Pauses only extend, and time for which two overlap counts once."""
    pace = free_pace()
    pace.pause(10)
    pace.pause(3)
    await open_gate(pace)
    assert 10 <= trio.current_time() < 10.001
    assert pace.statistics().waited_for_pauses == 10


async def test_statistics_tell_rate_waits_from_pauses(
    autojump_clock: MockClock,
) -> None:
    """Waits for room are counted apart, and only once for everybody in line."""
    pace = Pace(messages_per_second=100, requests_per_second=None, batch_size=100)
    pace.pause(5)
    await use(pace, 100, requests=8, workers=4, intent=0)
    statistics = pace.statistics()
    assert pytest.approx(7, abs=0.1) == statistics.waited_for_rate
    assert statistics.waited_for_pauses == 5
    assert statistics.waited_for_throttles == 0, "no 429 has come"
    assert (statistics.messages, statistics.requests) == (800, 8)


# --- after a storm ------------------------------------------------------------------


@dataclass
class Storm:
    """Requests of one message that depart as the pace allows, and how it goes on.

    Attributes:
        full: requests/s above which the provider says 429, in any of its seconds.
        departures: all of them.
        factors: the pace's factor at each departure.
    """

    pace: Pace
    full: float = math.inf
    retry_after: float = 1.0
    departures: Departures = field(default_factory=list)
    factors: list[float] = field(default_factory=list)

    async def run(self, seconds: float, *, workers: int = 64) -> None:
        """Send for that long."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                for _ in range(workers):
                    nursery.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            async with self.pace.turn(1) as turn:
                await turn.depart()
                turn.sent()
                self.departures.append((trio.current_time(), 1))
                self.factors.append(self.pace.statistics().factor)
                throttled = self._too_many()
                await trio.sleep(0.1)
                if throttled:
                    turn.throttled(self.retry_after)

    def _too_many(self) -> bool:
        if len(self.departures) <= self.full:
            return False
        earlier, _ = self.departures[-1 - math.floor(self.full)]
        return trio.current_time() - earlier < 1

    def rate(self, since: float) -> float:
        """Count the departures per second from then on."""
        after = [at for at, _ in self.departures if at >= since]
        return len(after) / (trio.current_time() - since)


def requests_pace(limit: float | None) -> Pace:
    """Build a pace that a limit of requests holds up, if there is one."""
    return Pace(messages_per_second=None, requests_per_second=limit, batch_size=10)


async def storm_of(pace: Pace, throttled: int) -> None:
    """Let that many requests be in flight together and all get a 429."""
    await open_gate(pace)

    async def work() -> None:
        async with pace.turn(1) as turn:
            await turn.depart()
            turn.sent()
            await trio.sleep(2)
            turn.throttled(1.0)

    async with trio.open_nursery() as nursery:
        for _ in range(throttled):
            nursery.start_soon(work)


@pytest.mark.parametrize("throttled", [1, 64])
async def test_storm_cuts_the_rate_once(
    autojump_clock: MockClock, throttled: int
) -> None:
    """64 429s to requests in flight together cut to 0.7, as one does; it then holds."""
    pace = requests_pace(100)
    await storm_of(pace, throttled)
    statistics = pace.statistics()
    assert (statistics.throttles, statistics.factor) == (1, 0.7)
    await trio.sleep(5)
    storm = Storm(pace)
    await storm.run(2)
    assert 71 <= most_in_any_window(storm.departures, 1) <= 76


async def test_limits_of_messages_are_cut_as_those_of_requests(
    autojump_clock: MockClock,
) -> None:
    """A batch as large as the limit departs every 1/0.7 s after a storm, not never."""
    pace = Pace(messages_per_second=100, requests_per_second=None, batch_size=100)
    await storm_of(pace, 1)
    departures = await use(pace, 100, requests=4, workers=2, intent=0)
    gaps = [later - at for (at, _), (later, _) in itertools.pairwise(departures)]
    assert pytest.approx([1.01 / 0.7, 1.01 / 0.73, 1.01 / 0.76], abs=0.001) == gaps


@pytest.mark.slow
async def test_rate_rises_to_the_limit_again_and_no_further(
    autojump_clock: MockClock,
) -> None:
    """In use, the factor grows by 0.03 a second, from 0.7 to 1.0 in about ten."""
    storm = Storm(requests_pace(100))
    await storm_of(storm.pace, 64)
    began = trio.current_time()
    await storm.run(30)
    steps = sorted(set(storm.factors))
    assert pytest.approx([0.7 + 0.03 * step for step in range(11)]) == steps
    assert storm.factors == sorted(storm.factors)
    whole = storm.departures[storm.factors.index(1.0)][0]
    assert 10 <= whole - began <= 13
    assert storm.rate(trio.current_time() - 10) >= 98


async def test_rate_that_nobody_uses_does_not_rise(autojump_clock: MockClock) -> None:
    """A second in which less than half of the rate departs tells nothing about it."""
    pace = requests_pace(100)
    await storm_of(pace, 64)
    for _ in range(300):
        await open_gate(pace)
        await trio.sleep(0.1)
    assert pace.statistics().factor == 0.7


async def test_probe_that_is_throttled_cuts_nothing(autojump_clock: MockClock) -> None:
    """A request that was alone was not too fast: five 429s to probes after one cut."""
    pace = requests_pace(100)
    await storm_of(pace, 64)
    for _ in range(5):
        async with pace.turn(1) as turn:
            await turn.depart()
            turn.sent()
            turn.throttled(20.0)
    statistics = pace.statistics()
    assert (statistics.throttles, statistics.factor) == (6, 0.7)


@pytest.mark.parametrize("limit", [100, None])
async def test_pause_for_another_reason_cuts_nothing(
    autojump_clock: MockClock, limit: float | None
) -> None:
    """The Retry-After of a 503 shuts the gate and leaves the rate."""
    storm = Storm(requests_pace(limit))
    await storm.run(3)
    storm.pace.pause(5.0)
    assert storm.pace.statistics().factor == 1.0
    resumed = trio.current_time() + 6
    await storm.run(9)
    assert 99 <= most_in_any_window(storm.departures, 1)
    assert storm.rate(resumed) >= 98


@pytest.mark.slow
async def test_rate_settles_below_what_the_provider_takes(
    autojump_clock: MockClock,
) -> None:
    """With a limit that is twice too high, one storm in six seconds is what remains."""
    storm = Storm(requests_pace(100), full=50)
    await storm.run(60)
    settled, before = trio.current_time(), storm.pace.statistics().throttles
    await storm.run(60)
    assert storm.pace.statistics().throttles - before <= 10
    assert storm.rate(settled) >= 30
    assert min(storm.factors) >= 0.3


async def test_storms_never_cut_below_a_tenth(autojump_clock: MockClock) -> None:
    """However often it is too fast, a tenth of the limits stays."""
    pace = requests_pace(100)
    for _ in range(20):
        await storm_of(pace, 2)
    assert pace.statistics().factor == 0.1


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.5, 200),
    st.sampled_from([None, 1, 30]),
    st.floats(0.2, 400),
    st.sampled_from([0.05, 0.5, 2.0]),
)
def test_no_storm_makes_the_rate_exceed_the_limit(
    limit: float, burst: int | None, full: float, retry_after: float
) -> None:
    """Cut, rising or back at the top, every window keeps what the user was promised."""

    async def main() -> None:
        pace = Pace(
            messages_per_second=limit,
            requests_per_second=None,
            burst=burst,
            batch_size=1,
        )
        storm = Storm(pace, full=full, retry_after=retry_after)
        await storm.run(20, workers=8)
        departures = storm.departures
        assert max(storm.factors) <= 1.0
        if burst is None:
            assert most_in_any_window(departures, max(1, 1 / limit)) <= max(1, limit)
            return
        bucket = 0.0
        for (earlier, _), (at, amount) in itertools.pairwise([(0.0, 1), *departures]):
            bucket = max(0.0, bucket - (at - earlier) * limit) + amount
            assert bucket <= burst + 1e-6

    in_virtual_time(main)


async def test_without_a_limit_a_storm_makes_one_of_what_departed(
    autojump_clock: MockClock,
) -> None:
    """Of 160 requests/s there are 112 after the storm."""
    storm = Storm(requests_pace(None), full=159)
    await storm.run(2, workers=16)
    assert storm.pace.statistics().factor == 0.7
    await open_gate(storm.pace)
    began = trio.current_time()
    await storm.run(1, workers=16)
    assert pytest.approx(112, abs=8) == storm.rate(began)


@pytest.mark.slow
async def test_limit_that_a_storm_made_is_lifted_once_it_binds_nobody(
    autojump_clock: MockClock,
) -> None:
    """A provider that throttled once is used in full again, and nothing remains."""
    storm = Storm(requests_pace(None))
    await storm.run(3, workers=8)
    await storm_of(storm.pace, 8)
    await storm.run(30, workers=8)
    assert storm.rate(trio.current_time() - 5) >= 79
    assert storm.pace.statistics().factor > 1.0
    await storm.run(60, workers=8)
    assert storm.pace.statistics().factor == 1.0
    await storm.run(3, workers=32)
    assert storm.rate(trio.current_time() - 2) >= 310


@pytest.mark.slow
async def test_without_a_limit_the_rate_settles_at_what_the_provider_takes(
    autojump_clock: MockClock,
) -> None:
    """Where 640 could leave and 100 are taken, storms get rare and 70 or more leave."""
    storm = Storm(requests_pace(None), full=100)
    await storm.run(30)
    settled, before = trio.current_time(), storm.pace.statistics().throttles
    await storm.run(50)
    assert storm.pace.statistics().throttles - before <= 8
    assert storm.rate(settled) >= 60


# --- misuse -------------------------------------------------------------------------


async def test_turn_used_out_of_order_is_a_mistake(autojump_clock: MockClock) -> None:
    """depart() is for once and within the block; throttled() is for what departed."""
    pace = free_pace()
    async with pace.turn(1) as turn:
        with pytest.raises(RuntimeError, match="departed"):
            turn.throttled(1.0)
        await turn.depart()
        turn.sent()
        with pytest.raises(RuntimeError, match="once"):
            await turn.depart()
    with pytest.raises(RuntimeError, match="until end"):
        turn.throttled(1.0)


@pytest.mark.parametrize("messages", [0, 11])
async def test_batch_that_could_never_depart_is_refused(messages: int) -> None:
    """A batch above the batch size would wait for ever, so it is refused."""
    with pytest.raises(ValueError, match=f"messages = {messages}"):
        free_pace().turn(messages)


@pytest.mark.parametrize("seconds", [-1.0, math.nan, math.inf])
async def test_pause_that_is_no_time_is_refused(seconds: float) -> None:
    """A pause below 0 or without end is refused."""
    with pytest.raises(ValueError, match="seconds"):
        free_pace().pause(seconds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages_per_second": 0},
        {"requests_per_second": -1},
        {"messages_per_second": 100, "burst": 0},
        {"messages_per_second": 9},
        {"messages_per_second": 100, "burst": 9},
    ],
)
def test_limits_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    """A limit of nothing, or below one batch, is refused where it is named."""
    limits = {"messages_per_second": None, "requests_per_second": None, **wrong}
    with pytest.raises(ValueError, match=" = "):
        Pace(**limits, batch_size=10)


def test_pace_of_another_run_is_refused() -> None:
    """Another trio.run has another clock, so a used pace is refused there."""
    pace = free_pace()

    async def main() -> None:
        await open_gate(pace)

    trio.run(main)
    with pytest.raises(RuntimeError, match=r"one trio\.run"):
        trio.run(main)


# --- the batch size -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("maximum", "limit", "burst", "expected"),
    [
        (1000, None, None, 1000),
        (1000, None, 10, 1000),
        (1000, 500, None, 500),
        (1000, 1500, None, 750),
        (1000, 1000, None, 1000),
        (1000, 1001, None, 500),
        (1000, 0.2, None, 1),
        (1, 14, None, 1),
        (1000, 500, 100, 100),
        (1000, 500, 5000, 1000),
    ],
)
def test_batch_size_fills_the_second(
    maximum: int, limit: float | None, burst: int | None, expected: int
) -> None:
    """Full batches add up to the limit, within what the provider and burst allow."""
    size = largest_batch(maximum, messages_per_second=limit, burst=burst)
    assert expected == size


@given(st.integers(1, 5000), limits)
def test_batch_size_wastes_less_than_one_message_per_batch(
    maximum: int, limit: float
) -> None:
    """The fewest batches a second leave less than one message each unused."""
    size = largest_batch(maximum, messages_per_second=limit, burst=None)
    assert 1 <= size <= maximum
    batches = math.ceil(limit / maximum)
    assert size * batches > limit - batches


# --- the bucket ---------------------------------------------------------------------


async def test_bucket_keeps_the_private_names_this_rests_on() -> None:
    """The parent reads the time from `_loop` and keeps its fill in `_level`."""
    assert isinstance(AsyncLimiter.__dict__["_loop"], property)
    bucket = TrioLimiter(10, 1)
    await bucket.acquire(4)
    assert bucket._level == 4
    bucket._level = 10
    assert not bucket.has_capacity(1)


async def test_bucket_never_passes_more_than_its_rate_and_itself(
    autojump_clock: MockClock,
) -> None:
    """Twenty tasks asking for odd amounts get max_rate at once, then the rate."""
    bucket = TrioLimiter(10, 2)
    passed: Departures = []

    async def ask(amount: int) -> None:
        await bucket.acquire(amount)
        passed.append((trio.current_time(), amount))

    amounts = [1 + 7 * n % 10 for n in range(20)]
    async with trio.open_nursery() as nursery:
        for amount in amounts:
            nursery.start_soon(ask, amount)
            await trio.testing.wait_all_tasks_blocked()
    assert amounts == [amount for _, amount in passed]
    total = 0
    for at, amount in passed:
        total += amount
        assert total <= 10 + 5 * at + 1e-6
    assert pytest.approx((sum(amounts) - 10) / 5, abs=1e-3) == passed[-1][0]


async def test_bucket_refuses_what_never_fits() -> None:
    """An amount above the bucket would wait for ever, so it is refused."""
    with pytest.raises(ValueError, match="amount = 11"):
        await TrioLimiter(10, 1).acquire(11)


@settings(max_examples=40, deadline=None)
@given(
    limit=st.sampled_from([20.0, 500.0, 3000.0]),
    transits=st.lists(
        st.tuples(st.sampled_from([0.0, 0.03, 0.2, 0.7]), st.booleans()),
        min_size=12,
        max_size=40,
    ),
)
def test_limit_holds_wherever_between_departure_and_wire_a_request_arrives(
    limit: float, transits: list[tuple[float, bool]]
) -> None:
    """A connection to be made, a busy thread: the provider sees no more for it."""
    size = largest_batch(1000, messages_per_second=limit, burst=None)
    arrivals: Departures = []

    async def main() -> None:
        pace = Pace(
            messages_per_second=limit, requests_per_second=None, batch_size=size
        )
        jobs = iter(transits)

        async def work() -> None:
            for transit, early in jobs:
                async with pace.turn(size) as turn:
                    await turn.depart()
                    if early:
                        arrivals.append((trio.current_time(), size))
                    await trio.sleep(transit)
                    if not early:
                        arrivals.append((trio.current_time(), size))
                    turn.sent()
                    await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(work)

    in_virtual_time(main)
    assert most_in_any_window(sorted(arrivals), 1.0) <= limit


# --- the end ------------------------------------------------------------------------


async def test_closed_pace_ends_every_wait_and_lets_nobody_depart(
    autojump_clock: MockClock,
) -> None:
    """At the limit, at the gate, in either queue, and who comes later: all are told."""
    limited = Pace(messages_per_second=1, requests_per_second=None, batch_size=1)
    gated = free_pace()
    gated.pause(3600)
    ends: list[tuple[str, float]] = []

    async def ask(pace: Pace, name: str) -> None:
        try:
            async with pace.turn(1) as turn:
                await turn.depart()
                turn.sent()
                await trio.sleep_forever()
        except Closed:
            ends.append((name, trio.current_time() - began))

    began = trio.current_time()
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ask, limited, f"limited {number}")
                nursery.start_soon(ask, gated, f"gated {number}")
            await trio.sleep(5)
            for pace in (limited, gated):
                pace.close()
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, gated, "late")
    # One has departed within the limit, whichever came first.
    names = sorted(name.split()[0] for name, _ in ends)
    assert [*["gated"] * 3, "late", *["limited"] * 2] == names
    assert all(at == pytest.approx(5) for _, at in ends)


async def test_pace_closed_between_intent_and_departure_sends_nothing() -> None:
    """A stop that comes while the intent is written is in time."""
    pace = free_pace()
    async with pace.turn(1) as turn:
        pace.close()
        with pytest.raises(Closed):
            await turn.depart()
    assert pace.statistics().messages == 0


# --- many turns at once -------------------------------------------------------------


async def admitted(pace: Pace, sizes: list[int]) -> list[Turn]:
    """Return the turns of those that need not wait."""
    with trio.move_on_after(0):
        return await pace.admit(sizes)
    return []


async def admitted_each(pace: Pace, sizes: list[int]) -> list[Turn]:
    """Likewise, one by one, up to the first that has to wait."""
    turns: list[Turn] = []
    for size in sizes:
        turn = await admitted(pace, [size])
        if not turn:
            break
        turns += turn
    return turns


async def depart_each(pace: Pace, turns: list[Turn]) -> int:
    """Let turns depart, one by one, up to the first that has to wait."""
    for count, turn in enumerate(turns):
        if not await pace.depart_now([turn]):
            return count
    return len(turns)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from([None, 3.0, 20.0, 150.0]),
    st.sampled_from([None, 2.5, 60.0, 200.0]),
    st.sampled_from([None, 5, 12]),
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 3), min_size=1, max_size=12),
            st.sampled_from([0.0, 0.01, 0.2, 1.02]),
            st.sampled_from([0.0, 0.0, 0.01]),
            st.booleans(),
        ),
        min_size=2,
        max_size=12,
    ),
)
def test_as_many_turns_pass_together_as_would_one_by_one(
    messages_per_second: float | None,
    requests_per_second: float | None,
    burst: int | None,
    rounds: list[tuple[list[int], float, float, bool]],
) -> None:
    """At the entry and at the exit, whatever the limits and the gate."""

    def pace() -> Pace:
        return Pace(
            messages_per_second=messages_per_second,
            requests_per_second=requests_per_second,
            burst=burst,
            batch_size=3,
        )

    async def main() -> None:
        together, alone = pace(), pace()
        for sizes, wait, pause, answered in rounds:
            turns = await admitted(together, sizes)
            each = await admitted_each(alone, sizes)
            assert len(each) == len(turns)
            if pause:
                together.pause(pause)
                alone.pause(pause)
            await trio.sleep(wait)  # the intents are written
            left = await together.depart_now(turns)
            assert await depart_each(alone, each) == left
            await trio.sleep(wait)
            for turn in [*turns, *each]:
                if not answered:
                    turn.unanswered()
                turn.end()

    in_virtual_time(main)
