"""Claims about `engine.event`: closed vocabularies that others know."""

from datetime import UTC, datetime

import pytest

from engine.event import REFUSED, TAKEN, Event, EventType, RejectReason


def test_the_words_are_those_of_django_anymail() -> None:
    """Who knows the words from there finds them here, and no others."""
    assert [word.value for word in EventType] == [
        "queued",
        "sent",
        "rejected",
        "failed",
        "bounced",
        "deferred",
        "delivered",
        "autoresponded",
        "opened",
        "clicked",
        "complained",
        "unsubscribed",
        "subscribed",
        "inbound",
        "inbound_failed",
        "unknown",
    ]
    assert [word.value for word in RejectReason] == [
        "invalid",
        "bounced",
        "timed_out",
        "blocked",
        "spam",
        "unsubscribed",
        "other",
    ]


def test_an_event_proves_one_thing_or_nothing() -> None:
    """Taken, refused, or neither: a word that proves nothing is in neither set."""
    assert TAKEN & REFUSED == set()
    assert set(EventType) - TAKEN - REFUSED == {
        EventType.SUBSCRIBED,
        EventType.INBOUND,
        EventType.INBOUND_FAILED,
        EventType.UNKNOWN,
    }


def test_an_event_cannot_be_changed() -> None:
    """What was reported stays what was reported."""
    event = Event(
        type=EventType.DELIVERED,
        provider="cloudmails",
        provider_id=None,
        recipient=None,
        message_id=None,
        metadata={},
        happened_at=datetime.now(UTC),
        raw="delivered",
        reject_reason=None,
        description=None,
    )
    with pytest.raises(AttributeError):
        event.type = EventType.BOUNCED  # type: ignore[misc]
