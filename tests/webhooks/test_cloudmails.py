"""Claims about `engine.webhooks.cloudmails`: both public forms, and whatever else."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import webhooks
from engine.errors import EventsError
from engine.event import Event, EventType, RejectReason
from engine.webhooks.cloudmails import MEANINGS, parse

#: The example of "SMTP API Documentation", Webhooks.
FLAT = {
    "event": "delivered",
    "message_id": "msg_abc123xyz",
    "timestamp": "2026-05-19T14:30:00Z",
    "recipient": "recipient@example.com",
    "custom_args": {"user_id": "12345"},
}
BOUNCE = {
    "message_id": "msg_abc123xyz",
    "recipient": "recipient@example.com",
    "bounce_type": "hard",
    "bounce_code": 550,
    "bounce_description": "No such user",
}
#: As docs/webhooks.php describes it.
NESTED = {"event": "email.bounced", "timestamp": 1779201000, "data": BOUNCE}
MOMENT = datetime(2026, 5, 19, 14, 30, tzinfo=UTC)


def one(post: object) -> Event:
    """Parse a post of one event."""
    (event,) = parse(json.dumps(post).encode())
    return event


def test_the_documented_example_is_read_whole() -> None:
    """Every field of the first form has its place."""
    assert one(FLAT) == Event(
        type=EventType.DELIVERED,
        provider="cloudmails",
        provider_id="msg_abc123xyz",
        recipient="recipient@example.com",
        message_id=None,
        metadata={"user_id": "12345"},
        happened_at=MOMENT,
        raw="delivered",
        reject_reason=None,
        description=None,
        payload=json.dumps(FLAT, separators=(",", ":")),
    )


def test_the_other_form_is_read_whole() -> None:
    """Epoch seconds, the prefix, and what lies in `data`."""
    assert one(NESTED) == Event(
        type=EventType.BOUNCED,
        provider="cloudmails",
        provider_id="msg_abc123xyz",
        recipient="recipient@example.com",
        message_id=None,
        metadata={},
        happened_at=MOMENT,
        raw="email.bounced",
        reject_reason=RejectReason.BOUNCED,
        description="550 No such user",
        payload=json.dumps(NESTED, separators=(",", ":")),
    )


def test_our_own_id_comes_back_in_custom_args() -> None:
    """What the sender planted is found again, with everything beside it."""
    planted = {"message_id": "ours", "run": "r", "row": "7", "campaign": "letter"}
    for form in (
        FLAT | {"custom_args": planted},
        NESTED | {"data": BOUNCE | {"custom_args": planted}},
        NESTED | {"custom_args": planted},
    ):
        event = one(form)
        assert (event.message_id, event.metadata) == ("ours", planted)


@pytest.mark.parametrize("word", MEANINGS)
@pytest.mark.parametrize("prefix", ["", "email."])
def test_every_word_of_the_table_is_known_in_both_forms(word: str, prefix: str) -> None:
    """With and without prefix it means the same, and its raw form is kept."""
    event = one(FLAT | {"event": prefix + word})
    assert (event.type, event.reject_reason) == MEANINGS[word]
    assert event.raw == prefix + word
    assert event.type is not EventType.UNKNOWN


@pytest.mark.parametrize(
    ("word", "kind", "reason"),
    [
        ("delivered", EventType.DELIVERED, None),
        ("bounced", EventType.BOUNCED, RejectReason.BOUNCED),
        ("opened", EventType.OPENED, None),
        ("clicked", EventType.CLICKED, None),
        ("unsubscribed", EventType.UNSUBSCRIBED, RejectReason.UNSUBSCRIBED),
        ("complained", EventType.COMPLAINED, RejectReason.SPAM),
        ("failed", EventType.FAILED, None),
        ("Delivered", EventType.DELIVERED, None),
    ],
)
def test_the_documents_words_mean_this(
    word: str, kind: EventType, reason: RejectReason | None
) -> None:
    """The six documented events, a status word, and another case."""
    event = one(FLAT | {"event": word})
    assert (event.type, event.reject_reason) == (kind, reason)


def test_a_soft_bounce_is_put_off_and_not_over() -> None:
    """`bounce_type` soft must not look like an address that is gone."""
    soft = one(NESTED | {"data": BOUNCE | {"bounce_type": "soft"}})
    assert (soft.type, soft.reject_reason) == (EventType.DEFERRED, None)


def test_an_unknown_word_is_kept_as_it_is() -> None:
    """A word of tomorrow is an event of unknown type, not an error."""
    event = one(FLAT | {"event": "email.read_aloud"})
    assert (event.type, event.raw) == (EventType.UNKNOWN, "email.read_aloud")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"null",
        b"{}",
        b"[]",
        b"[{}]",
        b'{"event":""}',
        b'{"event":"ping"}',
        b'{"event":"email.test","timestamp":"2026-05-19T14:30:00Z"}',
    ],
)
def test_a_ping_is_no_event_and_no_error(body: bytes) -> None:
    """The webhook is tested before it is activated; its form is not documented."""
    assert parse(body) == []


def test_several_events_keep_their_order() -> None:
    """An array holds events of either form, with pings among them."""
    posts = [FLAT, {}, NESTED]
    events = parse(json.dumps(posts).encode())
    assert [event.raw for event in events] == ["delivered", "email.bounced"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("message_id", None),
        ("message_id", ["a"]),
        ("message_id", ""),
        ("recipient", 1.5),
        ("recipient", True),
        ("timestamp", "yesterday"),
        ("timestamp", 1e300),
        ("timestamp", None),
        ("custom_args", "text"),
        ("custom_args", None),
        ("data", 3),
    ],
)
def test_a_field_of_the_wrong_kind_is_none(field: str, value: object) -> None:
    """One odd field does not cost the event, nor its other fields."""
    event = one(FLAT | {field: value})
    known = {
        "message_id": event.provider_id,
        "recipient": event.recipient,
        "timestamp": event.happened_at,
        "custom_args": event.metadata or None,
    }
    whole = {
        "message_id": "msg_abc123xyz",
        "recipient": "recipient@example.com",
        "timestamp": MOMENT,
        "custom_args": {"user_id": "12345"},
    }
    assert known == {n: None if n == field else whole[n] for n in whole}
    assert event.type is EventType.DELIVERED


@pytest.mark.parametrize(
    "written",
    ["2026-05-19T16:30:00+02:00", "2026-05-19T14:30:00", 1779201000, 1779201000.0],
)
def test_a_moment_is_utc_however_it_is_written(written: object) -> None:
    """With an offset, without one, or in seconds since 1970."""
    happened_at = one(FLAT | {"timestamp": written}).happened_at
    assert happened_at == MOMENT
    assert happened_at.tzinfo is UTC


def test_a_long_number_as_an_id_loses_no_digit() -> None:
    """Ids above 2^53 stay what they are."""
    assert one(FLAT | {"message_id": 2**62 + 1}).provider_id == str(2**62 + 1)


@pytest.mark.parametrize(
    "body",
    [
        b"delivered",
        b"<html>",
        b'{"event":"delivered"',
        b"\xff\xfe",
        b"3",
        b"0",
        b'"delivered"',
        b"false",
        b"[1]",
        b'[{"event":"delivered"}, null]',
        b'{"message_id":"msg_1"}',
        b'{"event":null,"message_id":"msg_1"}',
        b'{"event":["delivered"]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    """No JSON, or JSON of something else, is one clear error of ours."""
    with pytest.raises(EventsError):
        parse(body)


TEXT = st.text("aZ1 .@-:é", max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from([*FLAT, *BOUNCE, "data"]), JSON, max_size=3))
def test_odd_fields_never_break_the_reading(changes: dict[str, object]) -> None:
    """With any values in its fields an event is read, or refused for its word."""
    try:
        events = parse(json.dumps(FLAT | changes).encode())
    except EventsError:
        assert not isinstance(changes["event"], str)
        return
    assert len(events) <= 1


def test_a_provider_without_a_reading_is_named() -> None:
    """Asking for another provider's events says whose can be read."""
    with pytest.raises(EventsError, match=r"events of carrier_pigeon .* cloudmails"):
        webhooks.load("carrier_pigeon")
    assert webhooks.load("cloudmails") is parse
