"""The suppression list of a Cloudflare account: what is asked, and what is read."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.errors import (
    AccountRejected,
    CampaignError,
    ProviderError,
    Throttled,
    Unanswered,
)
from engine.message import Response
from engine.providers import suppressed
from engine.providers.cloudflare.suppressed import CloudflareSuppressions
from engine.providers.suppressed import Listed, Page

ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
PATH = f"/accounts/{ACCOUNT}/email/sending/suppressions"


def answer(body: object, status: int = 200, **headers: str) -> Response:
    """Make an answer of JSON."""
    moment = datetime(2026, 11, 20, tzinfo=UTC)
    return Response(status, headers, json.dumps(body).encode(), moment)


def listed(*entries: object, **info: object) -> Response:
    """Make an answer with entries."""
    return answer({"success": True, "result": [*entries], "result_info": info})


@pytest.fixture
def listing() -> CloudflareSuppressions:
    """Return the list of an account."""
    return CloudflareSuppressions({"account_id": ACCOUNT})


def test_pages_are_asked_for_by_cursor(listing: CloudflareSuppressions) -> None:
    """The largest pages there are, and a cursor is passed back as it came."""
    first, next_ = listing.request(None), listing.request("a/b+c=&x")
    assert (first.method, first.path, first.body) == (
        "GET",
        f"{PATH}?per_page=1000",
        b"",
    )
    assert next_.path == f"{PATH}?per_page=1000&cursor=a%2Fb%2Bc%3D%26x"


def test_who_asks_is_proved_as_for_sending() -> None:
    """An API token, or the key with its address."""
    old = CloudflareSuppressions({"account_id": ACCOUNT, "email": "me@a.example"})
    new = CloudflareSuppressions({"account_id": ACCOUNT})
    assert new.credentials("t").headers == {"Authorization": "Bearer t"}
    assert old.credentials("t").headers == {
        "X-Auth-Email": "me@a.example",
        "X-Auth-Key": "t",
    }


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("manual", "manual"),
        ("complaint", "complained"),
        ("hard_bounce", "bounced"),
        ("soft_bounce", "soft_bounced"),
        ("policy", "blocked"),
        ("something_new", "something_new"),
    ],
)
def test_each_reason_is_kept(
    listing: CloudflareSuppressions, word: str, reason: str
) -> None:
    """Ours where there is a word for it, and always the provider's own."""
    page = listing.page(listed({"email": "Ann@a.example", "reason": word}))
    assert page == Page([Listed("Ann@a.example", reason, word)], None)


def test_an_entry_says_until_when_it_holds(listing: CloudflareSuppressions) -> None:
    """As far as it does not hold for ever; and where no reason is given, that."""
    page = listing.page(
        listed(
            {"email": "a@a.example", "reason": "policy", "expires_at": None},
            {"email": "b@a.example", "reason": "policy", "expires_at": "2026-12-01"},
            {"email": "c@a.example"},
            next_cursor="more",
        )
    )
    told = ["policy", "policy, until 2026-12-01", "no reason given"]
    assert [entry.told for entry in page.entries] == told
    assert page.cursor == "more"


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"success": True},
        {"success": True, "result": {}},
        {"success": True, "result": ["ann@a.example"]},
        {"success": True, "result": [{"reason": "manual"}]},
        {"success": True, "result": [{"email": ""}]},
        {"success": True, "result": [], "result_info": {"next_cursor": 7}},
    ],
)
def test_half_an_answer_is_none(listing: CloudflareSuppressions, body: object) -> None:
    """An entry that was passed over would be mailed."""
    with pytest.raises(Unanswered):
        listing.page(answer(body))


@pytest.mark.parametrize(
    ("status", "message", "kind", "reason"),
    [
        (401, "email.sending.error.authentication.unauthorized", AccountRejected, None),
        (403, "email.sending.error.authentication.forbidden", AccountRejected, None),
        (404, "email.sending.error.not_found", AccountRejected, "wrong_address"),
        (429, "email.sending.error.throttled", Throttled, None),
        (200, "Authentication error", AccountRejected, "credentials"),
    ],
)
def test_errors_mean_what_they_mean_for_sending(
    listing: CloudflareSuppressions,
    status: int,
    message: str,
    kind: type[ProviderError],
    reason: str | None,
) -> None:
    """By their words; a 200 without success is one of them."""
    body = {"success": False, "errors": [{"code": 1, "message": message}]}
    headers = {"retry-after": "7"} if kind is Throttled else {}
    with pytest.raises(kind) as refused:
        listing.page(answer({**body, "result": None}, status, **headers))
    assert reason in {None, refused.value.reason}
    if isinstance(refused.value, Throttled):
        assert refused.value.retry_after == 7


@pytest.mark.parametrize(
    ("settings", "said"), [({}, "is missing"), ({"account_id": "a/b"}, '"a/b"')]
)
def test_an_account_must_be_named(settings: dict[str, Any], said: str) -> None:
    """It stands in the path."""
    with pytest.raises(CampaignError, match=said):
        CloudflareSuppressions(settings)


def test_who_gives_no_list_out_is_told_with_what_to_do() -> None:
    """The others' lists can be exported by hand."""
    assert suppressed.load("cloudflare") is CloudflareSuppressions
    with pytest.raises(CampaignError, match="mailerlogic") as refused:
        suppressed.load("mailerlogic")
    assert "suppress import" in refused.value.hint
