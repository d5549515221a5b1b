"""Claims about `engine.retry`: who is asked again, when, and who never is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import (
    AccountRejected,
    BatchRejected,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.outcome import Status
from engine.retry import Breaker, Decision, GiveUp, Retry, RetryPolicy, StopRun

POLICY = RetryPolicy()

counts = st.integers(0, 5000)
chances = st.floats(0, 1, exclude_max=True)
asked_seconds = st.floats(0, POLICY.max_wait)


def decide(
    error: ProviderError, *, faults: int = 0, throttles: int = 0, chance: float = 0.5
) -> Decision:
    """Ask the default policy."""
    return POLICY.after(
        error, faults=faults, throttles=throttles, random=lambda: chance
    )


def throttled(retry_after: float | None = None) -> Throttled:
    """Build a 429."""
    return Throttled("slow down", http_status=429, retry_after=retry_after)


def unavailable(retry_after: float | None = None) -> Unavailable:
    """Build a 503."""
    return Unavailable(
        "later", reason="unavailable", http_status=503, retry_after=retry_after
    )


@given(asked_seconds, counts, chances)
def test_wait_after_throttle_never_undercuts_retry_after(
    seconds: float, throttles: int, chance: float
) -> None:
    """A 429's Retry-After is a lower bound, and chance adds 5 % at most."""
    decision = decide(throttled(seconds), throttles=throttles, chance=chance)
    assert isinstance(decision, Retry)
    assert seconds <= decision.wait <= max(seconds, POLICY.base / 2) * 1.05
    assert decision.pause_all


@given(asked_seconds, st.integers(0, POLICY.max_faults - 2), chances)
def test_wait_after_fault_never_undercuts_retry_after(
    seconds: float, faults: int, chance: float
) -> None:
    """A 503's Retry-After is a lower bound, and holds for everybody."""
    decision = decide(unavailable(seconds), faults=faults, chance=chance)
    assert isinstance(decision, Retry)
    assert seconds <= decision.wait <= max(seconds, POLICY.transient_base / 2) * 1.05
    assert decision.pause_all


@given(counts, chances)
def test_throttle_that_names_no_time_waits_between_half_the_base_and_the_cap(
    throttles: int, chance: float
) -> None:
    """However many throttles, the next wait exists, is not near 0 and is capped."""
    decision = decide(throttled(), throttles=throttles, chance=chance)
    assert isinstance(decision, Retry)
    most = min(POLICY.cap, POLICY.base * 2 ** min(throttles, 10))
    assert POLICY.base / 2 <= decision.wait <= most
    assert decision.pause_all


def test_throttle_waits_double_up_to_the_cap() -> None:
    """The longest wait after throttles in a row is 1, 2, 4, 8, 16, 20, 20 s."""
    almost_one = math.nextafter(1, 0)
    waits = [
        decision.wait
        for throttles in range(7)
        if isinstance(
            decision := decide(throttled(), throttles=throttles, chance=almost_one),
            Retry,
        )
    ]
    assert pytest.approx([1, 2, 4, 8, 16, 20, 20]) == waits


@given(st.none() | asked_seconds, chances)
def test_faults_of_a_batch_are_bounded(
    retry_after: float | None, chance: float
) -> None:
    """A provider that is never available sees one batch six times and no more."""
    attempts = 0
    while True:
        attempts += 1
        decision = decide(unavailable(retry_after), faults=attempts - 1, chance=chance)
        if not isinstance(decision, Retry):
            break
    assert GiveUp(Status.FAILED) == decision
    assert POLICY.max_faults == attempts


@given(st.integers(0, POLICY.max_faults - 2), chances)
def test_fault_waits_alone_with_full_jitter(faults: int, chance: float) -> None:
    """A fault without Retry-After delays its batch alone, by a share of the ceiling."""
    decision = decide(unavailable(), faults=faults, chance=chance)
    assert Retry(chance * (0.25 * 2**faults), pause_all=False) == decision


@given(counts, counts, chances)
def test_unanswered_is_never_sent_again(
    faults: int, throttles: int, chance: float
) -> None:
    """A request that may have been accepted is in doubt, whatever came before."""
    error = Unanswered("no answer", reason="timeout")
    decision = decide(error, faults=faults, throttles=throttles, chance=chance)
    assert GiveUp(Status.IN_DOUBT) == decision


@given(st.integers(0, POLICY.max_faults - 2), chances)
def test_unanswered_with_a_key_is_asked_again_a_little_later(
    faults: int, chance: float
) -> None:
    """The provider knows the request again, so asking for its answer is harmless."""
    error = Unanswered("no answer", reason="timeout")
    decision = POLICY.after(
        error, faults=faults, throttles=0, random=lambda: chance, keyed=True
    )
    assert Retry(chance * (0.25 * 2**faults), pause_all=False) == decision


@given(st.integers(POLICY.max_faults - 1, 5000), chances)
def test_unanswered_with_a_key_is_in_doubt_at_last(faults: int, chance: float) -> None:
    """Six attempts without an answer are enough; it may have been accepted."""
    error = Unanswered("no answer", reason="timeout")
    decision = POLICY.after(
        error, faults=faults, throttles=0, random=lambda: chance, keyed=True
    )
    assert GiveUp(Status.IN_DOUBT) == decision


@given(st.sampled_from([0, POLICY.max_faults - 1]), chances)
def test_wait_beyond_patience_stops_the_run_whatever_the_batch_has_left(
    faults: int, chance: float
) -> None:
    """A Retry-After of a day is about the provider, also with the last attempt."""
    decision = decide(unavailable(86_400), faults=faults, chance=chance)
    assert StopRun(86_400) == decision


def test_rejected_batch_is_rejected() -> None:
    """A batch refused for its contents is not sent again."""
    error = BatchRejected("bad sender", reason="invalid_sender", http_status=422)
    assert GiveUp(Status.REJECTED) == decide(error)


def test_rejected_account_stops_the_run() -> None:
    """A refused account stops the run, and no time will help."""
    error = AccountRejected("who are you", reason="unauthorized", http_status=401)
    assert StopRun(None) == decide(error)


@pytest.mark.parametrize("error", [throttled(900.5), unavailable(900.5)])
def test_longer_wait_than_the_run_has_patience_stops_it(error: ProviderError) -> None:
    """Asked to wait beyond `max_wait`, the run stops and says when to resume."""
    assert StopRun(900.5) == decide(error)


def test_end_that_is_no_branch_of_the_tree_is_a_mistake_of_ours() -> None:
    """A bare ProviderError does not tell whether it was sent, so nothing is guessed."""
    with pytest.raises(TypeError, match="ProviderError"):
        decide(ProviderError("?", reason="unknown"))


@pytest.mark.parametrize(
    "wrong", [{"base": 0.0}, {"transient_base": 21.0}, {"cap": 0.5}, {"max_faults": 0}]
)
def test_policy_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    """A policy without waits or attempts is refused where it is made."""
    with pytest.raises(ValueError, match="must be"):
        RetryPolicy(**wrong)


# --- the breaker ----------------------------------------------------------------------


def fail(
    breaker: Breaker,
    times: int,
    *,
    start: float = 0.0,
    every: float = 1.0,
    chance: float = 0.5,
) -> list[float | None]:
    """Count that many faults in a row, each when it may be; return what each says."""
    now, waits = start, []
    for _ in range(times):
        waits.append(breaker.failed(now, lambda: chance))
        now += max(every, waits[-1] or 0.0)
    return waits


def warm() -> Breaker:
    """Make a breaker that has seen one answer."""
    breaker = Breaker()
    breaker.answered()
    return breaker


def test_breaker_opens_at_the_fifth_fault_in_a_row() -> None:
    """Four are the batches' own; from the fifth on everybody waits."""
    breaker = warm()
    assert [None] * 4 == fail(breaker, 4)
    assert not breaker.is_open
    assert breaker.failed(4.0, lambda: 0.5) is not None
    assert breaker.is_open


def test_answer_closes_the_breaker_and_begins_the_count_anew() -> None:
    """After it, again five faults in a row are needed, and the first wait is short."""
    breaker = Breaker(share=1.0)
    breaker.answered()
    waits = fail(breaker, 9)
    breaker.answered()
    assert not breaker.is_open
    again = fail(breaker, 9, start=1000.0)
    assert waits == again


def test_faults_between_answers_open_the_breaker_beyond_a_tenth() -> None:
    """Every second request failing opens it soon; every twentieth never does."""
    for every, opens in ((2, True), (20, False)):
        breaker = Breaker()
        opened = []
        for n in range(1000):
            if n % every:
                breaker.answered()
            else:
                opened.append(breaker.failed(float(n), lambda: 0.5) is not None)
        assert opens == any(opened)
        assert not any(opened[:5])


def test_breaker_that_opened_by_the_share_opens_again_while_it_is_exceeded() -> None:
    """An answer lets requests through; the next fault holds them for a second."""
    breaker = Breaker()
    for n in range(20):
        breaker.failed(float(n), lambda: 0.0)
    breaker.answered()
    assert 0.5 == breaker.failed(21.0, lambda: 0.0)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.5), (0.5, 0.75)])
def test_breaker_waits_double_to_the_cap(chance: float, share: float) -> None:
    """1, 2, 4 … 256, 300, 300 s, of which half and a part of the rest by chance."""
    waits = fail(warm(), 15, chance=chance)[4:]
    expected = [share * min(300, 2**n) for n in range(11)]
    assert expected == waits


@given(st.integers(0, 5000), chances)
def test_breaker_never_waits_longer_than_the_cap_nor_less_than_half_a_second(
    more: int, chance: float
) -> None:
    """However long an outage, and whatever chance says."""
    breaker = Breaker(patience=math.inf)
    breaker.answered()
    wait = fail(breaker, 5 + more, every=0.0, chance=chance)[-1]
    assert wait is not None
    assert 0.5 <= wait <= 300


def test_breaker_gives_up_after_an_hour_without_an_answer() -> None:
    """It counts from the first fault, and an answer begins the hour anew."""
    breaker = warm()
    waits = [w for w in fail(breaker, 27) if w is not None]
    assert 3300 < sum(waits) < 3600
    breaker.answered()
    waits = [w for w in fail(breaker, 40, start=5000.0) if w is not None]
    stops = waits.index(math.inf)
    assert 3600 < 4 + sum(waits[:stops]) < 3600 + 300


@pytest.mark.parametrize("lost", [1, 11, 63])
def test_faults_of_requests_that_were_under_way_together_are_one(lost: int) -> None:
    """A server that hangs up on all 64 is asked again in a second, not in minutes."""
    breaker = warm()
    opened = fail(breaker, 5, every=0.0)[-1]
    assert opened == 0.75
    assert [None] * lost == [breaker.failed(0.01, lambda: 0.5) for _ in range(lost)]
    assert breaker.is_open
    assert breaker.failed(1.0, lambda: 0.5) == 1.5


def test_breaker_gives_up_soon_before_the_first_answer_ever() -> None:
    """An address that is wrong is not worth an hour: half a minute."""
    waits = fail(Breaker(), 7, every=5.0)
    assert math.inf not in waits[:6]
    assert math.inf == waits[6]


def test_few_faults_stop_no_run_however_far_apart_they_are() -> None:
    """Four in a row may be of one batch: the breaker is shut and says nothing."""
    assert [None] * 4 == fail(warm(), 4, every=10_000.0)


def test_patience_of_the_user_bounds_the_first_patience_too() -> None:
    """Who wants to wait ten seconds waits ten, before the first answer as well."""
    waits = fail(Breaker(patience=10.0), 6, every=2.0)
    assert math.inf == waits[5]
