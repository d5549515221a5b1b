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
from engine.retry import Decision, GiveUp, Retry, RetryPolicy, StopRun

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
