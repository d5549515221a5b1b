"""Answers to the question whether a message is there become events, or nothing."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import tracking
from engine.errors import EventsError, ProviderError, Unanswered
from engine.event import TAKEN
from engine.message import Response
from engine.providers import NAMES, load
from engine.tracking.base import Doubt, Finder

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RUN = "20261120T115800Z-000001"
DOUBT = Doubt(3, "Ann@Inbox.example", "m-3", RUN, "shop@harbour.example", NOW)
UUID = "724b9ef2-94ee-4fb0-b722-082204633911"
LISTED: dict[str, Any] = {
    "id": UUID,
    "from": "shop@harbour.example",
    "to": ["ann@inbox.example"],
    "cc": [],
    "tags": ["letter", RUN],
    "created_at": "2026-11-20T12:00:01Z",
    "recipients": [{"email": "ann@inbox.example", "last_event": "registration"}],
}
TOLD: dict[str, Any] = {
    "id": "e-1",
    "email_id": UUID,
    "event_type": "queued",
    "recipient": "ann@inbox.example",
    "from": "Shop <shop@harbour.example>",
    "timestamp": "2026-11-20T12:00:01Z",
}


def finder(name: str) -> Finder:
    """Make a finder."""
    return tracking.finder(name)(account="fedcba9876543210", username="0123")


def answer(content: object, status: int = 200) -> Response:
    """Make an answer."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Response(status, {}, body, NOW)


def test_a_provider_finds_messages_if_its_capabilities_say_so() -> None:
    """What `providers` shows is what can be asked; Cloudflare's is not built."""
    able = {n for n in NAMES if load(n).capabilities.lookup != "none"}
    assert able - {"cloudflare"} == set(tracking.FINDERS)
    for name in set(NAMES) - set(tracking.FINDERS):
        with pytest.raises(EventsError) as caught:
            tracking.finder(name)
        assert "reconcile RUN --events FILE" in caught.value.hint


def test_cloudmailin_is_asked_by_the_tag_of_the_run_and_the_recipient() -> None:
    """In the account that sent, in one question."""
    path, query = urlsplit(finder("cloudmailin").search(DOUBT).path)[2:4]
    assert "/outbound_messages" == path
    assert {
        "outbound_account_id": ["0123"],
        "query": [f'tags:"{RUN}" AND to:"Ann@Inbox.example"'],
    } == parse_qs(query)


def test_mailerlogic_is_asked_by_the_recipient_and_the_time() -> None:
    """Nothing from before the run can be of it."""
    path, query = urlsplit(finder("mailerlogic").search(DOUBT).path)[2:4]
    assert "/api/v1/events" == path
    assert {
        "recipient": ["Ann@Inbox.example"],
        "from_timestamp": ["2026-11-20T12:00:00Z"],
        "limit": ["100"],
    } == parse_qs(query)


def test_a_listed_message_of_the_run_is_taken() -> None:
    """It names our own message, so that no address has to do."""
    (event,) = finder("cloudmailin").found(DOUBT, answer([LISTED]))
    assert event.type in TAKEN
    assert (UUID, "m-3", RUN) == (
        event.provider_id,
        event.message_id,
        event.metadata["run"],
    )


@pytest.mark.parametrize(
    "change",
    [
        {"tags": ["letter"]},
        {"tags": [f"{RUN}-2"]},
        {"tags": None},
        {"to": ["bob@inbox.example"]},
        {"to": None, "cc": ["ann@inbox.example"]},
        {"id": None},
    ],
)
def test_a_listed_message_that_is_another_proves_nothing(change: dict) -> None:
    """Whatever the query meant to CloudMailin: what comes is looked at once more."""
    assert [] == finder("cloudmailin").found(DOUBT, answer([{**LISTED, **change}]))


def test_an_event_of_the_recipient_from_our_sender_is_of_the_message() -> None:
    """With what we sent along, where MailerLogic gives it back."""
    (event,) = finder("mailerlogic").found(DOUBT, answer({"events": [TOLD]}))
    assert event.type in TAKEN
    assert (UUID, None) == (event.provider_id, event.message_id)
    back = {**TOLD, "metadata": {"message_id": "m-3", "run": RUN}}
    (event,) = finder("mailerlogic").found(DOUBT, answer({"events": [back]}))
    assert ("m-3", RUN) == (event.message_id, event.metadata["run"])


@pytest.mark.parametrize(
    "change",
    [
        {"recipient": "bob@inbox.example"},
        {"recipient": None},
        {"from": "orders@harbour.example"},
        {"timestamp": "2026-11-20T11:59:59Z"},
        {"timestamp": None},
        {"email_id": None},
    ],
)
def test_an_event_that_may_be_of_another_message_proves_nothing(change: dict) -> None:
    """Other people, another sender, before the run, or no telling."""
    page = {"events": [{**TOLD, **change}]}
    assert [] == finder("mailerlogic").found(DOUBT, answer(page))


@pytest.mark.parametrize(
    ("name", "content"), [("cloudmailin", []), ("mailerlogic", {"events": []})]
)
def test_an_empty_list_proves_nothing(name: str, content: object) -> None:
    """There is no event for what is not there."""
    assert [] == finder(name).found(DOUBT, answer(content))


@pytest.mark.parametrize("name", tracking.FINDERS)
@pytest.mark.parametrize("content", [b"", b"<html>", {}, [[]], {"events": 1}, "x", 7])
def test_an_answer_that_says_nothing_is_not_silence(name: str, content: object) -> None:
    """It is asked again; a list of nothing is another thing."""
    try:
        assert [] == finder(name).found(DOUBT, answer(content))
    except Unanswered:
        return
    assert isinstance(content, list)


@pytest.mark.parametrize("name", tracking.FINDERS)
@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 503])
def test_a_refusal_is_an_error_and_never_an_absence(name: str, status: int) -> None:
    """Not even a 404: the list itself is always there."""
    with pytest.raises(ProviderError):
        finder(name).found(DOUBT, answer({"error": "no"}, status))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*LISTED, *TOLD, "events"]), inner, max_size=5
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", tracking.FINDERS)
@given(content=JSON)
def test_whatever_is_answered_is_read_or_refused(name: str, content: object) -> None:
    """Nothing but an error of a provider's leaves a finder, and no stranger's mail."""
    try:
        found = finder(name).found(DOUBT, answer(content))
    except ProviderError:
        return
    assert all(DOUBT.is_to(event.recipient) for event in found)
