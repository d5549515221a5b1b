"""Answers of status endpoints, as the providers' documents show them, become events."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import tracking, webhooks
from engine.errors import (
    AccountRejected,
    BatchRejected,
    EventsError,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.event import Event, EventType, RejectReason
from engine.message import Response
from engine.tracking.base import Tracker
from engine.tracking.cloudmails import MOST_EACH

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
UUID = "724b9ef2-94ee-4fb0-b722-082204633911"

CLOUDMAILS = {
    "message_id": "msg_abc123xyz",
    "status": "delivered",
    "created_at": "2026-05-19T14:29:58Z",
    "delivered_at": "2026-05-19T14:30:00Z",
    "opens": 2,
    "clicks": 1,
}
# "Returns a sent message with full event history for each recipient."
CLOUDMAILIN = {
    "id": UUID,
    "from": "sender@example.com",
    "subject": "Hello from CloudMailin",
    "message_id": f"<{UUID}@cloudmta.net>",
    "to": ["recipient@example.com"],
    "cc": ["copy@example.com"],
    "tags": ["marketing", "newsletter"],
    "test_mode": False,
    "created_at": "2019-08-24T14:15:22Z",
    "recipients": [
        {
            "email": "recipient@example.com",
            "last_event": "delivery",
            "events": [
                {
                    "kind": "delivery",
                    "timestamp": "2019-08-24T14:15:22Z",
                    "details": {
                        "agent": "DSN",
                        "reply_code": "250",
                        "delivery_status": "2.0.0",
                        "smtp_response": "250 2.0.0 OK",
                        "remote_host": "aspmx.l.google.com",
                    },
                }
            ],
        },
        {
            "email": "copy@example.com",
            "last_event": "bounce",
            "events": [{"kind": "bounce", "timestamp": "2019-08-24T14:15:23Z"}],
        },
    ],
}
MAILERLOGIC = {
    "email_id": UUID,
    "events": [
        {
            "id": "e-1",
            "email_id": UUID,
            "customer_id": "c-1",
            "event_type": "bounced",
            "status": "bounced",
            "recipient": "ann@example.com",
            "from": "hello@harbour.example",
            "timestamp": "2026-05-19T14:30:00.000Z",
            "event_data": {"bounce_type": "hard", "reason": "550 no such user"},
            "created_at": "2026-05-19T14:30:01.000Z",
        }
    ],
    "timeline": [{"event_type": "bounced", "timestamp": "2026-05-19T14:30:00.000Z"}],
}
ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "cloudmails": ("msg_abc123xyz", CLOUDMAILS),
    "cloudmailin": (UUID, CLOUDMAILIN),
    "mailerlogic": (UUID, MAILERLOGIC),
}
#: What stands in answers.
KEYS = [
    "id",
    "email_id",
    "message_id",
    "status",
    "events",
    "recipients",
    "email",
    "kind",
    "opens",
    "event_type",
    "timestamp",
    "data",
    "details",
    "event_data",
]
every_tracker = pytest.mark.parametrize("name", tracking.NAMES)


def tracker(name: str) -> Tracker:
    """Make a tracker."""
    return tracking.load(name)(account="acct")


def response(
    body: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Make an answer."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, headers or {}, content, NOW)


def read(name: str, body: object, status: int = 200) -> list[Event]:
    """Read an answer that tells of the message of `ANSWERS`."""
    events = tracker(name).events(ANSWERS[name][0], response(body, status))
    assert events is not None
    return events


# ---- requests ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("cloudmails", "/emails/msg_abc123xyz"),
        ("cloudmailin", f"/acct/outbound_messages/{UUID}"),
        ("mailerlogic", f"/api/v1/emails/{UUID}/events"),
    ],
)
def test_the_question_is_the_documented_one(name: str, path: str) -> None:
    """A GET without a body, with a bearer token, the account's id in the path."""
    asks = tracker(name)
    credentials, request = asks.credentials("key"), asks.request(ANSWERS[name][0])
    assert request.method == "GET"
    assert credentials.path + request.path == path
    assert request.body == b""
    assert credentials.headers == {"Authorization": "Bearer key"}


@every_tracker
def test_an_id_is_one_step_of_the_path(name: str) -> None:
    """Whatever a provider called a message, nothing else is asked for."""
    path = tracker(name).request("../a/b?c#d e%").path
    assert "..%2Fa%2Fb%3Fc%23d%20e%25" in path


# ---- cloudmails ----------------------------------------------------------------------


def test_a_status_of_cloudmails_is_read_whole() -> None:
    """The state with its time, and each open and click."""
    state, *counted = read("cloudmails", CLOUDMAILS)
    assert state == Event(
        type=EventType.DELIVERED,
        provider="cloudmails",
        provider_id="msg_abc123xyz",
        recipient=None,
        message_id=None,
        metadata={},
        happened_at=datetime(2026, 5, 19, 14, 30, tzinfo=UTC),
        raw="delivered",
        reject_reason=None,
        description=None,
        payload=state.payload,
    )
    assert json.loads(state.payload) == {
        name: CLOUDMAILS[name]
        for name in ("message_id", "status", "created_at", "delivered_at")
    }
    told = [(event.type, event.raw, event.happened_at) for event in counted]
    assert told == [
        (EventType.OPENED, "opens", None),
        (EventType.OPENED, "opens", None),
        (EventType.CLICKED, "clicks", None),
    ]


@pytest.mark.parametrize(
    ("status", "kind", "reason", "when"),
    [
        ("sent", EventType.SENT, None, CLOUDMAILS["created_at"]),
        ("delivered", EventType.DELIVERED, None, CLOUDMAILS["delivered_at"]),
        ("bounced", EventType.BOUNCED, RejectReason.BOUNCED, None),
        ("failed", EventType.FAILED, None, None),
        ("deferred", EventType.DEFERRED, None, None),
        ("pondered", EventType.UNKNOWN, None, None),
    ],
)
def test_each_status_of_cloudmails_has_its_word_and_its_time(
    status: str, kind: EventType, reason: RejectReason | None, when: str | None
) -> None:
    """Where the document names no time of a state, none is invented."""
    body = CLOUDMAILS | {"status": status, "bounce_reason": "550 no", "opens": 0}
    state = read("cloudmails", body)[0]
    assert (state.type, state.reject_reason, state.raw) == (kind, reason, status)
    expected = None if when is None else datetime.fromisoformat(when)
    assert state.happened_at == expected
    assert state.description == "550 no"


def test_a_count_that_rises_brings_as_many_events_and_no_others() -> None:
    """Known by their payloads: the same number, or a lower one, has nothing new."""
    known = {event.payload for event in read("cloudmails", CLOUDMAILS)}

    def new(**changes: object) -> list[EventType]:
        events = read("cloudmails", CLOUDMAILS | changes)
        return [event.type for event in events if event.payload not in known]

    assert new() == []
    assert new(opens=1) == []
    assert new(opens=5) == [EventType.OPENED] * 3
    assert new(opens=3, clicks=2) == [EventType.OPENED, EventType.CLICKED]


@pytest.mark.parametrize("opens", ["7", None, -3, 0, True, 2.5, [1]])
def test_what_is_no_count_counts_nothing(opens: object) -> None:
    """A state is told all the same."""
    told = read("cloudmails", CLOUDMAILS | {"opens": opens, "clicks": 0})
    assert [event.type for event in told] == [EventType.DELIVERED]


def test_a_broken_counter_does_not_fill_the_disk() -> None:
    """There is an end to the events of one message."""
    told = read("cloudmails", CLOUDMAILS | {"opens": 10**12, "clicks": 0})
    assert len(told) == 1 + MOST_EACH


# ---- cloudmailin ---------------------------------------------------------------------


def test_the_history_of_cloudmailin_is_read_whole() -> None:
    """Each event of each recipient, with the words of the other server."""
    delivery, bounce = read("cloudmailin", CLOUDMAILIN)
    assert delivery == Event(
        type=EventType.DELIVERED,
        provider="cloudmailin",
        provider_id=UUID,
        recipient="recipient@example.com",
        message_id=None,
        metadata={},
        happened_at=datetime(2019, 8, 24, 14, 15, 22, tzinfo=UTC),
        raw="delivery",
        reject_reason=None,
        description="2.0.0 250 2.0.0 OK",
        payload=delivery.payload,
    )
    (item,) = CLOUDMAILIN["recipients"][0]["events"]  # type: ignore[index]
    assert json.loads(delivery.payload) == {
        "message_id": UUID,
        "recipient": "recipient@example.com",
        **item,
    }
    assert (bounce.type, bounce.recipient) == (EventType.BOUNCED, "copy@example.com")


def test_a_recipient_without_events_has_none_yet() -> None:
    """A message that was taken a moment ago."""
    body = {"id": UUID, "recipients": [{"email": "a@b.c", "last_event": None}]}
    assert read("cloudmailin", body) == []


# ---- mailerlogic ---------------------------------------------------------------------


def test_an_event_of_mailerlogic_is_read_whole() -> None:
    """With the reason in its data."""
    (event,) = read("mailerlogic", MAILERLOGIC)
    assert event == Event(
        type=EventType.BOUNCED,
        provider="mailerlogic",
        provider_id=UUID,
        recipient="ann@example.com",
        message_id=None,
        metadata={},
        happened_at=datetime(2026, 5, 19, 14, 30, tzinfo=UTC),
        raw="bounced",
        reject_reason=RejectReason.BOUNCED,
        description="550 no such user",
        payload=event.payload,
    )
    kept = json.loads(event.payload)
    assert kept == {
        name: MAILERLOGIC["events"][0][name]  # type: ignore[index]
        for name in (
            "id",
            "email_id",
            "event_type",
            "recipient",
            "from",
            "timestamp",
            "event_data",
        )
    }


def test_what_mailerlogic_may_tell_otherwise_tomorrow_is_no_new_event() -> None:
    """The state of the message beside an old event is not the event."""
    (item,) = MAILERLOGIC["events"]
    again = MAILERLOGIC | {"events": [item | {"status": "closed", "seen": 2}]}  # type: ignore[operator]
    assert read("mailerlogic", again) == read("mailerlogic", MAILERLOGIC)


# ---- all -----------------------------------------------------------------------------


@every_tracker
def test_the_same_answer_gives_the_same_events_to_the_byte(name: str) -> None:
    """In whatever order the provider writes the fields."""

    def turned(value: object) -> object:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(one) for one in value] if isinstance(value, list) else value

    body = ANSWERS[name][1]
    assert read(name, turned(body)) == read(name, body)
    payloads = [event.payload for event in read(name, body)]
    assert len(set(payloads)) == len(payloads)


@every_tracker
def test_a_message_that_is_not_there_is_told_apart(name: str) -> None:
    """A 404 is an answer about this message, not about the account."""
    assert tracker(name).events("x", response({"error": "no"}, 404)) is None


@every_tracker
@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (401, {}, AccountRejected),
        (403, {}, AccountRejected),
        (400, {}, BatchRejected),
        (429, {"retry-after": "7"}, Throttled),
        (500, {}, Unanswered),
        (503, {"retry-after": "7"}, Unavailable),
    ],
)
def test_every_other_answer_has_its_branch(
    name: str, status: int, headers: dict[str, str], kind: type[ProviderError]
) -> None:
    """As for sending: who may not ask stops, what passes is waited for."""
    with pytest.raises(kind) as caught:
        tracker(name).events("x", response({"error": "no"}, status, headers))
    assert caught.value.http_status == status
    assert getattr(caught.value, "retry_after", 7.0) == 7.0


@every_tracker
def test_an_answer_about_another_message_is_not_believed(name: str) -> None:
    """A cache or a proxy that mixes things up must not move events."""
    with pytest.raises(Unanswered, match="another"):
        tracker(name).events("another_id", response(ANSWERS[name][1]))


@every_tracker
@given(
    body=st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(KEYS),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
    )
)
def test_nothing_but_our_own_errors_comes_of_an_answer(name: str, body: object) -> None:
    """Whatever the bytes are."""
    events: list[Event] | None = []
    with suppress(Unanswered):
        events = tracker(name).events("x", response(body))
    assert events is not None
    assert all(event.provider_id == "x" for event in events)


@every_tracker
def test_every_tracker_says_all_of_itself(name: str) -> None:
    """Its endpoint, its documents, and the events that it can read as webhooks too."""
    kind = tracking.load(name)
    assert kind.name == name
    assert kind.endpoint.startswith("GET /")
    assert kind.sources
    assert name in webhooks.NAMES
    assert kind.requests_per_second is None or kind.requests_per_second > 0
    assert bool(kind.token) or not kind.token_required


def test_cloudflare_cannot_be_asked_and_says_what_to_do_instead() -> None:
    """One clear error."""
    with pytest.raises(EventsError, match="Queue") as caught:
        tracking.load("cloudflare")
    assert "mailvolley events import" in caught.value.hint
