"""Posts of CloudMailin, Cloudflare and MailerLogic, as their documents show them."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import webhooks
from engine.errors import EventsError
from engine.event import Event, EventType, RejectReason
from engine.webhooks import cloudflare, cloudmailin, mailerlogic

MOMENT = datetime(2023, 6, 27, 22, 30, tzinfo=UTC)
OURS = "3d813cbb-47fb-532b-91e1-2f2a3f1b7d1c"

CLOUDMAILIN = {
    "kind": "delivery",
    "message_id": "8a6b5c1e-0000-4000-8000-000000000001",
    "recipient": "x@example.com",
    "original_message_id": f"{OURS}@harbour.example",
    "timestamp": "2023-06-27T22:30:00.000Z",
    "details": {"delivery_status": "2.0.0", "smtp_response": "250 OK"},
}
CLOUDFLARE = {
    "type": "cf.email.sending.message.bounced",
    "source": {"type": "email.sending", "zoneId": "z", "domain": "harbour.example"},
    "payload": {
        "eventId": "e1",
        "messageId": f"<{OURS}@harbour.example>",
        "recipient": "x@example.com",
        "terminal": True,
        "bounce": {"type": "hard", "classification": "invalid", "reason": "no user"},
    },
    "metadata": {"accountId": "a", "eventTimestamp": "2023-06-27T22:30:00Z"},
}
MAILERLOGIC = {
    "event": "email.complained",
    "timestamp": "2023-06-27T22:30:00Z",
    "data": {
        "email_id": "650e8400-e29b-41d4-a716-446655440000",
        "message_id": "<650e8400@mail.harbour.example>",
        "recipient": "x@example.com",
        "metadata": {"message_id": "ours", "run": "r1", "order": "7"},
        "headers": {"X-Order": "7"},
    },
}


def compact(value: object) -> str:
    """Write JSON as it is kept."""
    return json.dumps(value, separators=(",", ":"))


def test_a_post_of_cloudmailin_is_read_whole() -> None:
    """Every field of its documented event has its place."""
    post = json.dumps({"events": [CLOUDMAILIN]}).encode()
    assert cloudmailin.parse(post) == [
        Event(
            type=EventType.DELIVERED,
            provider="cloudmailin",
            provider_id="8a6b5c1e-0000-4000-8000-000000000001",
            recipient="x@example.com",
            message_id=OURS,
            metadata={},
            happened_at=MOMENT,
            raw="delivery",
            reject_reason=None,
            description="2.0.0 250 OK",
            payload=compact(CLOUDMAILIN),
        )
    ]


def test_a_post_of_cloudflare_is_read_whole() -> None:
    """Every field of its documented envelope has its place."""
    assert cloudflare.parse(json.dumps(CLOUDFLARE).encode()) == [
        Event(
            type=EventType.BOUNCED,
            provider="cloudflare",
            provider_id=f"<{OURS}@harbour.example>",
            recipient="x@example.com",
            message_id=OURS,
            metadata={},
            happened_at=MOMENT,
            raw="cf.email.sending.message.bounced",
            reject_reason=RejectReason.BOUNCED,
            description="invalid no user",
            payload=compact(CLOUDFLARE),
        )
    ]


def test_a_post_of_mailerlogic_is_read_whole() -> None:
    """The word, what lies in `data`, and what we had sent along."""
    assert mailerlogic.parse(json.dumps(MAILERLOGIC).encode()) == [
        Event(
            type=EventType.COMPLAINED,
            provider="mailerlogic",
            provider_id="650e8400-e29b-41d4-a716-446655440000",
            recipient="x@example.com",
            message_id="ours",
            metadata={"message_id": "ours", "run": "r1", "order": "7"},
            happened_at=MOMENT,
            raw="email.complained",
            reject_reason=RejectReason.SPAM,
            description=None,
            payload=compact(MAILERLOGIC),
        )
    ]


@pytest.mark.parametrize(("kind", "meaning"), cloudmailin.MEANINGS.items())
def test_every_kind_of_cloudmailin_has_its_meaning(
    kind: str, meaning: tuple[EventType, RejectReason | None]
) -> None:
    """The table of kinds is what a post is read by, whatever is missing in it."""
    (event,) = cloudmailin.parse(json.dumps({"events": [{"kind": kind}]}).encode())
    assert (event.type, event.reject_reason) == meaning
    assert event.happened_at is None


@pytest.mark.parametrize("word", cloudflare.MEANINGS)
def test_every_type_of_cloudflare_has_its_meaning(word: str) -> None:
    """The last word of the type is what an event is read by."""
    post = {"type": f"cf.email.sending.message.{word}", "payload": {}}
    (event,) = cloudflare.parse(json.dumps(post).encode())
    assert (event.type, event.reject_reason) == cloudflare.MEANINGS[word]


@pytest.mark.parametrize("word", mailerlogic.MEANINGS)
@pytest.mark.parametrize("key", ["event", "type", "event_type"])
def test_every_word_of_mailerlogic_has_its_meaning(word: str, key: str) -> None:
    """Flat or nested, with the prefix of webhooks or without."""
    flat = {key: word, "email_id": "e1", "to": "x@example.com"}
    nested = {key: f"email.{word}", "data": {"email_id": "e1", "to": "x@example.com"}}
    for post in (flat, nested):
        (event,) = mailerlogic.parse(json.dumps(post).encode())
        assert (event.type, event.reject_reason) == mailerlogic.MEANINGS[word]
        assert (event.provider_id, event.recipient) == ("e1", "x@example.com")


def test_a_soft_bounce_is_not_the_end() -> None:
    """It is put off, unless the provider calls it terminal."""
    soft = {"type": "soft", "reason": "full"}
    base = {"type": "cf.email.sending.message.bounced"}
    put_off = base | {"payload": {"bounce": soft, "terminal": False}}
    over = base | {"payload": {"bounce": soft, "terminal": True}}
    (first, second) = cloudflare.parse(json.dumps([put_off, over]).encode())
    assert (first.type, second.type) == (EventType.DEFERRED, EventType.BOUNCED)
    flat = {"event": "email.bounced", "bounce_type": "soft"}
    (third,) = mailerlogic.parse(json.dumps(flat).encode())
    assert third.type is EventType.DEFERRED


def test_a_page_of_the_events_api_is_read() -> None:
    """What MailerLogic lists is what it posts, in a list."""
    one = {"id": "1", "email_id": "e1", "event_type": "opened", "recipient": "a@b.c"}
    page = {"events": [one, one | {"event_type": "clicked"}], "pagination": {"page": 1}}
    found = mailerlogic.parse(json.dumps(page).encode())
    assert [event.raw for event in found] == ["opened", "clicked"]


def test_an_id_that_is_not_ours_is_nobodys() -> None:
    """A Message-ID that the provider made must not stand in for one of ours."""
    theirs = CLOUDMAILIN | {"original_message_id": "650e8400-e29b-41d4-a716@x.example"}
    (event,) = cloudmailin.parse(json.dumps({"events": [theirs]}).encode())
    assert event.message_id is None


@pytest.mark.parametrize("name", webhooks.NAMES)
@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"  \n"])
def test_a_ping_is_no_event_and_no_error(name: str, body: bytes) -> None:
    """An address is tried before it is used, by a post of nothing."""
    assert webhooks.load(name)(body) == []


@pytest.mark.parametrize("name", webhooks.NAMES)
@pytest.mark.parametrize("body", [b"[1]", b'"x"', b"7", b'{"a":1', b"\xff"])
def test_what_is_no_post_is_refused(name: str, body: bytes) -> None:
    """JSON of something else, or none at all, is an error with words."""
    with pytest.raises(EventsError, match="is no"):
        webhooks.load(name)(body)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["events", "kind", "type", "event", "data", "payload", "metadata"]
                ),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_whatever_is_posted_becomes_events_or_one_error(post: object) -> None:
    """Nothing but EventsError leaves a reading, whatever the JSON."""
    for name in webhooks.NAMES:
        try:
            found = webhooks.load(name)(json.dumps(post).encode())
        except EventsError:
            continue
        assert all(event.provider == name for event in found)
