"""What is said of where the time went: pure numbers in, a sentence out."""

import pytest

from engine.stages import Sending, Spent, Stage, bound


def sending(**given: float | str) -> Sending:
    """Ten seconds of sending in which nothing stands out."""
    usual: dict[str, float | str] = {
        "seconds": 10.0,
        "cpu": 2.0,
        "workers": 8,
        "processes": 1,
        "requests": 100,
        "limited": 0.0,
        "throttled": 0.0,
        "failing": 0.0,
        "canary": 0.0,
        "limits": "",
    }
    return Sending(**{**usual, **given})  # type: ignore[arg-type]


def spent(**given: float) -> Spent:
    """Seconds by the names of stages."""
    found = Spent()
    for name, seconds in given.items():
        found.add(Stage(name), seconds)
    return found


@pytest.mark.parametrize(
    ("where", "how", "told", "advice"),
    [
        (
            spent(provider=1.0),
            sending(limited=9.4, limits="500 messages/s"),
            "94 % of the time went by waiting for the account's limit of 500",
            "[limits]",
        ),
        (
            spent(),
            sending(throttled=7.0),
            "70 % of the time nobody might send: the provider had answered 429",
            "[limits]",
        ),
        (
            spent(),
            sending(failing=9.1),
            "91 % of the time nobody might send: the provider did not answer",
            "its address is right",
        ),
        (
            spent(),
            sending(canary=9.0, cpu=9.0),
            "90 % of the time went by waiting for what came of the canary",
            "[canary] wait",
        ),
        (
            spent(provider=8.0),
            sending(),
            "answers, 640 ms each with 8 requests in flight",
            "workers = 16",
        ),
        (
            spent(render=4.0, encode=2.0, provider=9.0),
            sending(cpu=9.8),
            "busy 98 % of the time, 61 % of that with making messages",
            "--processes 4",
        ),
        (
            spent(provider=9.0),
            sending(cpu=12.0, processes=4),
            "the processor was busy 100 % of the time",
            "a faster machine",
        ),
        (spent(journal=9.0), sending(), "the disk was busy 90 %", "faster disk"),
        (spent(plan=30.0), sending(), "75 % of the time went into reading", "Parquet"),
        (spent(results=30.0), sending(), "75 % of the time went into writing", ""),
        (
            spent(provider=0.4),
            sending(cpu=0.1),
            "99 % of the time went by waiting for answers to a few requests, of 8",
            "service is well",
        ),
        (
            spent(),
            sending(limited=3.0, throttled=3.0),
            "60 % of the time nobody might send: the provider had answered 429",
            "[limits]",
        ),
        (spent(provider=2.0), sending(cpu=7.0), "no stage took much more", ""),
    ],
)
def test_the_longest_wait_is_named_with_what_to_change(
    where: Spent, how: Sending, told: str, advice: str
) -> None:
    """One sentence, with the figures that people can check."""
    found = bound(where, how, cores=4)
    assert told in found.told
    assert advice in found.advice


def test_limit_is_what_bounds_even_where_a_core_is_busy() -> None:
    """Who waits for a limit wins nothing by another process."""
    found = bound(spent(), sending(cpu=9.9, limited=8.0, limits="9 requests/s"))
    assert "limit of 9 requests/s" in found.told


def test_nothing_sent_takes_no_time() -> None:
    """A run without messages divides by nothing."""
    assert str(bound(spent(), sending(seconds=0.0))) == "there was nothing to do"


def test_time_inside_a_block_is_added_though_it_fails() -> None:
    """A stage that breaks off has taken its time, too."""
    found = Spent()
    with pytest.raises(ZeroDivisionError), found.on(Stage.READ):
        1 / 0  # noqa: B018
    assert found.seconds[Stage.READ] > 0
    assert found.seconds[Stage.PLAN] == 0
