"""What an answer outside 2xx means, and how long it asks to wait."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import providers
from engine.errors import (
    AccountRejected,
    BatchRejected,
    CampaignError,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.message import Response
from engine.providers.base import LONGEST_WAIT, refuse, retry_after

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)


def answer(status: int, body: bytes = b"", **headers: str) -> Response:
    """Make an answer that came at NOW; `_` in a header's name stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, named, body, NOW)


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    ("words", "is_stop"),
    [
        ("Sender address not verified", True),
        ("The domain harbour.example has not been verified", True),
        ("unverified_sender", True),
        ("Recipient domain could not be verified", False),
        ('Unable to verify "to" domain', False),
        ("Email could not be verified", False),
        ("from is missing", False),
    ],
)
def test_a_sender_that_is_not_verified_stops_the_run(
    status: int,
    words: str,
    is_stop: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Every other message would be refused for it; for a recipient's fault, none."""
    refusal = refuse(
        answer(status, json.dumps({"error": words}).encode()), provider="acme"
    )
    assert is_stop == (refusal.reason == "sender_not_verified")
    assert (is_stop or status == 403) == isinstance(refusal, AccountRejected)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (301, AccountRejected, "wrong_address"),
        (307, AccountRejected, "wrong_address"),
        (308, AccountRejected, "wrong_address"),
        (304, AccountRejected, "wrong_address"),
        (400, BatchRejected, "refused"),
        (401, AccountRejected, "credentials"),
        (402, AccountRejected, "payment_required"),
        (403, AccountRejected, "sender_not_verified"),
        (404, AccountRejected, "wrong_address"),
        (405, AccountRejected, "wrong_address"),
        (407, AccountRejected, "proxy_credentials"),
        (408, Unavailable, "request_timeout"),
        (409, BatchRejected, "refused"),
        (410, AccountRejected, "wrong_address"),
        (413, BatchRejected, "too_large"),
        (418, BatchRejected, "refused"),
        (422, BatchRejected, "refused"),
        (425, Unavailable, "too_early"),
        (429, Throttled, "throttled"),
        (500, Unanswered, "server_error"),
        (502, Unanswered, "server_error"),
        (503, Unanswered, "server_error"),
        (504, Unanswered, "server_error"),
        (524, Unanswered, "server_error"),
        (101, Unanswered, "unexpected_status"),
        (0, Unanswered, "unexpected_status"),
        (999, Unanswered, "unexpected_status"),
    ],
)
def test_every_status_says_whether_something_was_accepted(
    status: int, kind: type[ProviderError], reason: str
) -> None:
    """A status becomes the branch of the tree that says "was it sent?"."""
    refusal = refuse(answer(status), provider="acme", forbidden="sender_not_verified")
    assert kind is type(refusal)
    assert reason == refusal.reason
    assert status == refusal.http_status
    assert f"acme answered {status}" in str(refusal)


@given(st.integers(min_value=100, max_value=599).filter(lambda n: n // 100 != 2))
def test_no_server_error_is_taken_for_a_refusal(status: int) -> None:
    """A 5xx or a status that nobody knows leaves a doubt, and nothing else does."""
    refusal = refuse(answer(status), provider="acme")
    assert (status // 100 in {1, 5}) == isinstance(refusal, Unanswered)


def test_503_is_a_refusal_only_with_a_readable_retry_after() -> None:
    """A 503 that names a time was decided on; any other may follow an acceptance."""
    decided = refuse(answer(503, retry_after="7"), provider="acme")
    assert isinstance(decided, Unavailable)
    assert decided.retry_after == 7.0
    assert decided.reason == "unavailable"
    for value in ("", "-1", "soon", "Fri, 20 Nov 2026 09:59:59 GMT"):
        assert isinstance(
            refuse(answer(503, retry_after=value), provider="acme"), Unanswered
        )
    other = answer(503, x_ratelimit_reset="7")
    assert isinstance(refuse(other, provider="acme"), Unanswered)


def test_throttled_carries_the_wait() -> None:
    """A 429 passes on what the provider asked for."""
    refusal = refuse(answer(429, retry_after="2"), provider="acme")
    assert isinstance(refusal, Throttled)
    assert refusal.retry_after == 2.0


def test_success_is_not_for_refuse() -> None:
    """To ask what a 2xx refuses is a programmer's mistake."""
    with pytest.raises(ValueError, match="204"):
        refuse(answer(204), provider="acme")


@pytest.mark.parametrize(
    ("body", "reason", "said"),
    [
        (
            {"success": False, "error": {"code": "bad_to", "message": "m"}},
            "bad_to",
            "m",
        ),
        ({"error": "invalid_to", "message": "Bad"}, "invalid_to", "Bad"),
        ({"error": "Bad thing"}, "refused", "Bad thing"),
        ({"errors": [{"code": 10200, "message": "m"}]}, "error_10200", "m"),
        ({"code": "InvalidRecipient", "detail": "d"}, "invalid_recipient", "d"),
        ({"errors": ["first", "second"]}, "refused", "first"),
        ({"type": "https://acme.example/e/1", "title": "t"}, "refused", "t"),
        ({"error": {"error": {"error": {"message": "deep"}}}}, "refused", "deep"),
        ("only words", "refused", "only words"),
    ],
)
def test_a_refusal_speaks_the_providers_words(
    body: object, reason: str, said: str
) -> None:
    """Code and words are found in every common form of an error."""
    refusal = refuse(answer(400, json.dumps(body).encode()), provider="acme")
    assert reason == refusal.reason
    assert f"acme answered 400: {said}" == str(refusal)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><head><title>502 Bad\n Gateway</title>", "502 Bad Gateway"),
        (b"<p>Sorry,</p><p>later</p>", "Sorry, later"),
        (b"upstream connect error", "upstream connect error"),
        (b"\xff\xfe", "\N{REPLACEMENT CHARACTER}" * 2),
    ],
)
def test_a_page_is_reduced_to_what_it_says(body: bytes, said: str) -> None:
    """A body that is no JSON is shown by its title or its text."""
    told = str(refuse(answer(502, body), provider="acme"))
    assert f"acme answered 502: {said}" == told


def test_words_are_short_and_of_one_line() -> None:
    """Neither a huge body nor control characters get into a message."""
    body = json.dumps({"message": "a\x1b[31m\r\nb\u202ec" + "x" * 1_000_000}).encode()
    told = str(refuse(answer(400, body), provider="acme"))
    assert told.startswith("acme answered 400: a [31m b cxxx")
    assert len(told) <= 300 + len("acme answered 400: ")
    assert told.isprintable()


@pytest.mark.parametrize(
    "said",
    [
        "Bearer cm_live_4242 is not valid",
        "header 'Authorization: Bearer cm_live_4242'",
        "api_key=cm_live_4242",
        '{"token": "cm_live_4242"}',
    ],
)
@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_quoted_credential_is_hidden(status: int, said: str) -> None:
    """A token that the provider quotes next to its name does not get into a message."""
    told = str(refuse(answer(status, said.encode()), provider="acme"))
    assert "cm_live_4242" not in told


def test_a_bare_token_is_hidden_where_the_account_is_refused() -> None:
    """Answers about credentials show no long key, and still show the sender."""
    said = b"Key cm_live_0123456789abcdef unknown for news@harbour-books-2026.example"
    for status in (401, 403):
        told = str(refuse(answer(status, said), provider="acme"))
        assert "0123456789abcdef" not in told
        assert "news@harbour-books-2026.example" in told


def test_a_list_of_recipients_is_not_shown() -> None:
    """Of many addresses in a refusal three are shown."""
    said = "invalid: " + ", ".join(f"u{n}@a.example" for n in range(9))
    told = str(refuse(answer(422, said.encode()), provider="acme"))
    assert told.count("@") == 3


def test_a_redirect_names_where_it_points() -> None:
    """A redirect is not followed; the user learns what to check."""
    moved = answer(307, location="https://elsewhere.example/v1/send")
    refusal = refuse(moved, provider="acme")
    assert "https://elsewhere.example/v1/send" in str(refusal)
    assert "base_url" in refusal.hint


WAITS = [
    # Retry-After, decimals included
    ({"retry_after": "30"}, 30.0),
    ({"retry_after": " 0 "}, 0.0),
    ({"retry_after": "1.5"}, 1.5),
    ({"retry_after": "1000000"}, LONGEST_WAIT),
    ({"retry_after": "9" * 400}, LONGEST_WAIT),
    ({"retry_after": "Fri, 20 Nov 2026 10:00:09 GMT"}, 9.0),
    ({"retry_after": "Friday, 20-Nov-26 10:00:09 GMT"}, 9.0),
    ({"retry_after": "Fri, 20 Nov 2099 10:00:09 GMT"}, LONGEST_WAIT),
    # what is no time counts as absent
    *(
        ({"retry_after": value}, None)
        for value in (
            *("", " ", "-1", "+1", "1e3", "nan", "inf", "1_0", "0x10", "1,5", "soon"),
            *("٣", "1.", ".5", "GMT", " GMT", "Fri, 99 Nov 2026 10:00:00 GMT"),
            "Fri, 20 Nov 2026 09:59:59 GMT",  # past
            "Fri, 20 Nov 2026 10:00:09",  # naive
            "Fri, 20 Nov 2026 10:00:09 -0000",
            "2026-11-20T10:00:09Z",
        )
    ),
    # Ratelimit, when a quota is spent
    ({"ratelimit": '"x";r=0;t=30'}, 30.0),
    ({"ratelimit": '"x";r=1;t=30'}, None),
    ({"ratelimit": '"a";r=0;t=3, "b;r=0;t=99,";r=5;t=70, "c";t=9;r=0'}, 9.0),
    ({"ratelimit": '"x";r=0'}, None),
    ({"ratelimit": '"x";r=00x;t=-3'}, None),
    # the provider's own
    ({"ratelimit_reset": "4"}, 4.0),
    ({"x_sib_ratelimit_reset": "5"}, 5.0),
    ({"x_ratelimit_reset": "6"}, 6.0),
    ({"x_ratelimit_reset": str(int(NOW.timestamp()) + 8)}, 8.0),
    ({"x_ratelimit_reset": str(int(NOW.timestamp()) - 8)}, None),
    ({"x_ratelimit_reset": "2026-11-20T10:00:10Z"}, 10.0),
    ({"x_ratelimit_reset": "2026-11-20T10:00:10"}, None),
    ({"x_ratelimit_reset": "?"}, None),
    # the first that can be read counts
    ({"retry_after": "2", "ratelimit": '"x";r=0;t=30'}, 2.0),
    ({"retry_after": "-1", "ratelimit": '"x";r=0;t=30'}, 30.0),
    ({"retry_after": "0", "ratelimit_reset": "9"}, 0.0),
    ({"ratelimit": "?", "ratelimit_reset": "x", "x_sib_ratelimit_reset": "5"}, 5.0),
    ({}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
def test_a_wait_is_read_from_every_known_header(
    headers: dict[str, str], seconds: float | None
) -> None:
    """Headers count in order; what cannot be read counts as absent."""
    assert seconds == retry_after(answer(429, **headers))


@pytest.mark.parametrize("skew", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_wrong_clock_does_not_change_the_wait(skew: timedelta) -> None:
    """A date is compared with the answer's own Date, not with our clock."""
    form = "%a, %d %b %Y %H:%M:%S GMT"
    there = NOW + skew
    waits = answer(
        429,
        date=there.strftime(form),
        retry_after=(there + timedelta(seconds=2)).strftime(form),
    )
    assert retry_after(waits) == 2.0
    epoch = answer(
        429,
        date=there.strftime(form),
        x_ratelimit_reset=str(int(there.timestamp()) + 3),
    )
    assert retry_after(epoch) == 3.0


ODD_VALUES = st.text(alphabet=[chr(code) for code in range(256)]) | st.text(
    alphabet='0123456789-+.:;=,"rtTZGMT NovFri'
).map(lambda value: f"{value} GMT")
HINTS = ["retry-after", "ratelimit", "ratelimit-reset", "x-ratelimit-reset", "date"]


@given(st.dictionaries(st.sampled_from(HINTS), ODD_VALUES))
def test_no_header_breaks_the_reading(headers: dict[str, str]) -> None:
    """Any text in any of the headers gives a wait within a day, or none."""
    wait = retry_after(Response(429, headers, b"", NOW))
    assert wait is None or 0 <= wait <= LONGEST_WAIT


def test_an_unknown_provider_is_an_error_of_the_campaign() -> None:
    """The user learns which names there are."""
    with pytest.raises(CampaignError, match=r'"acme".*cloudmails'):
        providers.load("acme")


@pytest.mark.parametrize(
    ("body", "stops"),
    [
        (b'{"name": "daily_quota_exceeded", "message": "You have reached it"}', True),
        (b'{"error": {"code": "not_enough_credits", "message": "No more"}}', True),
        (b'{"message": "Monthly sending limit reached"}', True),
        (b'{"success": false, "error": {"code": "rate_limited"}}', False),
        (b"Too many requests, slow down", False),
        (b"", False),
    ],
)
def test_a_quota_that_is_used_up_stops_the_run_and_a_rate_does_not(
    body: bytes,
    stops: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """Nobody is burnt: a quota ends the run, resumable; a rate is waited out."""
    refusal = refuse(answer(429, body), provider="cloudmails")
    assert isinstance(refusal, AccountRejected if stops else Throttled)
    if stops:
        assert refusal.reason == "quota"
        assert refusal.hint
