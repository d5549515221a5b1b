"""What goes wrong, and when: pure decisions."""

from dataclasses import fields
from email.utils import parsedate_to_datetime

import pytest

from engine.sandbox.faults import SHAPES, Faults, Mishap


def befalling_before(faults: Faults, count: int) -> list[Mishap | None]:
    """List what befalls the first `count` requests before acceptance."""
    return [faults.before(number) for number in range(1, count + 1)]


def test_no_fault_is_on_by_default() -> None:
    """A sandbox without faults lets everything pass."""
    faults = Faults()
    assert befalling_before(faults, 50) == [None] * 50
    assert [faults.after(number) for number in range(1, 51)] == [None] * 50
    assert faults.delay(1) == 0.0
    assert faults.active() == {}


def test_every_nth_counts_from_one() -> None:
    """`throttle_every=3` meets the third and the sixth request."""
    throttle = Mishap.THROTTLE
    expected = [None, None, throttle, None, None, throttle]
    assert expected == befalling_before(Faults(throttle_every=3), 6)


def test_first_requests_are_throttled() -> None:
    """`throttle_first=2` meets the first two requests and no later one."""
    throttle = Mishap.THROTTLE
    expected = [throttle, throttle, None, None]
    assert expected == befalling_before(Faults(throttle_first=2), 4)


def test_credentials_are_refused_from_the_nth_request_on() -> None:
    """`credentials_after=3` refuses the third request and every later one."""
    refused = Mishap.CREDENTIALS
    faults = Faults(credentials_after=3)
    assert [None, None, refused, refused] == befalling_before(faults, 4)
    assert faults.before_lookup(2) is None
    assert refused == faults.before_lookup(3)


@pytest.mark.parametrize(
    "name", [spec.name for spec in fields(Faults) if spec.name.endswith("_every")]
)
def test_every_counting_fault_comes_true(name: str) -> None:
    """Each fault that counts meets its request, under its own name, and no other."""
    faults = Faults.parse({name: "2"})
    met = faults.before(2) or faults.after(2)
    assert name.removesuffix("_every") == met
    assert (faults.before(1), faults.after(1)) == (None, None)


def test_the_first_of_the_table_wins() -> None:
    """Of two faults that are due at once, only the earlier in the table comes true."""
    faults = Faults(throttle_every=1, error_before_every=1, close_after_every=1)
    assert faults.before(1) == Mishap.THROTTLE


def test_latency_is_the_same_every_time_and_within_its_span() -> None:
    """A span of latency is drawn per request, repeatably, and depends on the seed."""
    faults = Faults(latency=(0.1, 0.5))
    delays = [faults.delay(number) for number in range(1, 200)]
    assert delays == [faults.delay(number) for number in range(1, 200)]
    assert all(0.1 <= delay <= 0.5 for delay in delays)
    assert len(set(delays)) > 150
    assert Faults(latency=(0.1, 0.5), seed=1).delay(1) != delays[0]


def test_settings_are_read_from_text_and_from_json() -> None:
    """The command line's text and JSON's numbers and booleans mean the same."""
    expected = Faults(
        throttle_every=5, latency=(0.1, 0.2), strict=True, retry_after=2.5
    )
    assert expected == Faults.parse(
        {
            "throttle_every": "5",
            "latency": "0.1-0.2",
            "strict": "true",
            "retry_after": "2.5",
        }
    )
    assert expected == Faults.parse(
        {"throttle_every": 5, "latency": "0.1-0.2", "strict": True, "retry_after": 2.5}
    )


def test_what_is_active_can_be_read_again() -> None:
    """`active` names what is not the default, and `parse` takes it back."""
    faults = Faults(latency=(0.1, 0.2), shape="keyed", atomic=True)
    expected = {"latency": "0.1-0.2", "shape": "keyed", "atomic": True}
    assert expected == faults.active()
    assert faults == Faults.parse(faults.active())


def test_every_problem_is_reported_at_once_with_the_names() -> None:
    """An unknown name and a bad value are both told, with the list of names."""
    with pytest.raises(ValueError, match="no such fault") as caught:
        Faults.parse({"trottle_every": "5", "latency": "soon"})
    unknown, bad, names = str(caught.value).splitlines()
    assert unknown == "trottle_every: there is no such fault"
    assert bad == "latency=soon: must be SECONDS or LO-HI"
    assert names.startswith("faults: latency, seed, throttle_first")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency", "0.5-0.1"),
        ("latency", "-1"),
        ("latency", "nan"),
        ("throttle_every", "-5"),
        ("throttle_every", "1.5"),
        ("throttle_every", None),
        ("throttle_every", [5]),
        ("throttle_style", "loud"),
        ("retry_after", "inf"),
        ("error_status", "404"),
        ("credentials", "maybe"),
        ("strict", "perhaps"),
        ("shape", "round"),
        ("redirect", "http://a.example/\r\nx: y"),
        ("unverified", ""),
        ("events_form", "round"),
        ("signature_header", "X-Signed: yes"),
        ("signature_header", "X\r\nY"),
        ("webhook_twice", "-1"),
        ("webhook_shuffle", "perhaps"),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: object) -> None:
    """A value that the fault cannot have is refused, and the fault is named."""
    with pytest.raises(ValueError, match=f"{name}="):
        Faults.parse({name: value})


def test_a_bad_value_is_refused_without_parsing_too() -> None:
    """A fault made in Python is checked as one from a command line."""
    with pytest.raises(ValueError, match="shape=round: must be one of results"):
        Faults(shape="round")


def test_every_fault_is_described() -> None:
    """`describe` has every name once, with a meaning."""
    rows = Faults.describe()
    assert [spec.name for spec in fields(Faults)] == [name for name, _ in rows]
    assert all(meaning for _, meaning in rows)
    assert all(shape in dict(rows)["shape"] for shape in SHAPES)


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("seconds", [("retry-after", "2.5")]),
        ("ratelimit", [("ratelimit", '"default";r=0;t=3')]),
        ("reset-epoch", [("x-ratelimit-reset", "1000003")]),
        ("none", []),
    ],
)
def test_a_throttle_says_how_long_in_its_style(
    style: str, expected: list[tuple[str, str]]
) -> None:
    """Each style writes the wait in its own header, whole seconds rounded up."""
    faults = Faults(throttle_style=style, retry_after=2.5)
    assert expected == faults.throttle_headers(1_000_000.2)


def test_a_throttle_date_is_never_early() -> None:
    """The date of Retry-After is at or after the moment that is meant."""
    faults = Faults(throttle_style="date", retry_after=2.5)
    [(name, date)] = faults.throttle_headers(1_000_000.9)
    assert name == "retry-after"
    assert parsedate_to_datetime(date).timestamp() == 1_000_004.0
