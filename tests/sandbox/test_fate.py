"""What becomes of a message, and when: pure rules."""

import pytest

from engine.sandbox.fate import fate


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("ann@x.example", "sent delivered"),
        ("bounce+1@x.example", "sent bounced"),
        ("Bounce@x.example", "sent bounced"),
        ("soft@x.example", "sent deferred delivered"),
        ("slow@x.example", "sent delivered"),
        ("open.2@x.example", "sent delivered opened"),
        ("click@x.example", "sent delivered opened clicked"),
        ("unsubscribe@x.example", "sent delivered opened unsubscribed"),
        ("complain@x.example", "sent delivered complained"),
        ("suppressed@x.example", "suppressed"),
        ("no-bounce@x.example", "sent delivered"),
    ],
)
def test_the_local_part_decides(to: str, expected: str) -> None:
    """How the address begins decides what happens, always after acceptance."""
    steps = fate(to, "id")
    assert ["accepted", *expected.split()] == [step.kind for step in steps]
    assert steps[0].after == 0.0


@pytest.mark.parametrize("number", range(50))
def test_times_rise_and_are_realistic(number: int) -> None:
    """Handing over takes a moment, delivery seconds, greylisting and people minutes."""
    times = {step.kind: step.after for step in fate("click@x.example", f"id{number}")}
    assert list(times.values()) == sorted(times.values())
    assert 0.1 <= times["sent"] <= 0.5
    assert 0.6 <= times["delivered"] <= 3.5
    assert 60 <= times["opened"] - times["delivered"] <= 900
    assert 5 <= times["clicked"] - times["opened"] <= 60
    slow = fate("slow@x.example", f"id{number}")[-1]
    assert 120 <= slow.after <= 301


def test_the_same_message_always_meets_the_same_fate() -> None:
    """Times depend on the id alone, and differ between messages."""
    assert fate("a@x.example", "id1") == fate("a@x.example", "id1")
    delivered = {fate("a@x.example", f"id{n}")[-1].after for n in range(100)}
    assert len(delivered) > 90
