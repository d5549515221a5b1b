"""MailerLogic: each request against its document, and what its answers mean."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import (
    AccountRejected,
    BatchRejected,
    ProviderError,
    Throttled,
    Unanswered,
)
from engine.message import Attachment, Batch, Envelope, Extras, Messages, Response
from engine.outcome import Outcomes, Status
from engine.providers.mailerlogic import MailerLogic

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
YES, NO, DOUBT = Status.ACCEPTED, Status.REJECTED, Status.IN_DOUBT
BILL = Attachment("invoice.pdf", "application/pdf", "JVBERi0xLjQK")
INVITE = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
LIST = ["ann@a.example", "bob@b.example", "cy@c.example"]

#: The request fields of the document, and the type of each.
FIELDS = {
    "domain": str,
    "from": str,
    "to": str,
    "reply_to": str,
    "cc": list,
    "bcc": list,
    "subject": str,
    "html": str,
    "text": str,
    "track_opens": bool,
    "track_clicks": bool,
    "headers": dict,
    "tag": str,
    "stream_type": str,
    "metadata": dict,
    "attachments": list,
    "icalEvent": str,
}


def envelope(**changes: object) -> Envelope:
    """Make an envelope that MailerLogic can carry whole, or one with changes."""
    fields: dict[str, object] = {
        "campaign": "welcome",
        "run": "r1",
        "date": NOW,
        "kind": "marketing",
        "sender": "Harbour <hello@mail.harbour.example>",
        "html": True,
        "text": True,
    }
    return Envelope(**(fields | changes))  # type: ignore[arg-type]


MESSAGES = Messages(
    rows=[4, 5, 6],
    addresses=LIST,
    names=["Ann", "", ""],
    message_ids=["our-0", "our-1", "our-2"],
    subjects=["Hello 😃", "Hello", "Hello"],
    htmls=["<p>Ann</p>", "<p>Bob</p>", "<p>Cy</p>"],
    texts=["Ann", "Bob", "Cy"],
)
WHOLE = envelope(
    tags=("summer", "autumn"),
    track_opens=True,
    track_clicks=False,
    extras=Extras(
        reply_to="support@harbour.example",
        cc=("manager@harbour.example",),
        bcc=("archive@harbour.example",),
        headers={"X-Campaign-ID": "campaign-123"},
        metadata={"tier": "premium"},
        attachments=(BILL,),
        calendar=INVITE,
    ),
    header_names=("X-Campaign-ID",),
)


def batch_of(provider: MailerLogic, count: int = 3) -> Batch:
    """Encode a batch."""
    made = MESSAGES.at([*range(count)])
    return Batch("b1", made.rows, made.addresses, provider.encode(made))


def read(
    document: object,
    *,
    status: int = 200,
    count: int = 3,
    single: bool = False,
    headers: dict[str, str] | None = None,
) -> Outcomes:
    """Let MailerLogic read an answer: to a batch, or to a single message."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    provider = MailerLogic(envelope(), batch_size=1 if single else 500)
    batch = batch_of(provider, 1 if single else count)
    return provider.outcomes(batch, Response(status, headers or {}, body, NOW))


# ---- what is sent -----------------------------------------------------------------


def test_a_message_is_sent_as_the_document_says() -> None:
    """Every request field of the document has its name, form and value."""
    provider = MailerLogic(WHOLE, batch_size=1, domain="mail.harbour.example")
    request = provider.request(batch_of(provider, 1))
    assert (request.method, request.path) == ("POST", "/api/v1/send")
    assert request.headers["Content-Type"] == "application/json"
    body = json.loads(request.body)
    assert body == {
        "domain": "mail.harbour.example",
        "from": "Harbour <hello@mail.harbour.example>",
        "to": "ann@a.example",
        "reply_to": "support@harbour.example",
        "cc": ["manager@harbour.example"],
        "bcc": ["archive@harbour.example"],
        "subject": "Hello 😃",
        "html": "<p>Ann</p>",
        "text": "Ann",
        "track_opens": True,
        "track_clicks": False,
        "headers": {"X-Campaign-ID": "campaign-123"},
        "tag": "summer",
        "stream_type": "broadcast",
        "metadata": {
            "tier": "premium",
            "campaign": "welcome",
            "run": "r1",
            "tags": "summer,autumn",
            "row": "4",
            "message_id": "our-0",
        },
        "attachments": [
            {
                "filename": "invoice.pdf",
                "content": "JVBERi0xLjQK",
                "contentType": "application/pdf",
                "encoding": "base64",
            }
        ],
        "icalEvent": INVITE,
    }
    assert {name: type(value) for name, value in body.items()} == FIELDS


def test_what_a_message_does_not_have_is_not_sent() -> None:
    """Fields without a value are left out: the account's own choice holds."""
    provider = MailerLogic(envelope(text=False), batch_size=1)
    made = replace(MESSAGES.at([1]), texts=None)
    assert json.loads(provider.encode(made)[0]) == {
        "from": "Harbour <hello@mail.harbour.example>",
        "to": "bob@b.example",
        "subject": "Hello",
        "html": "<p>Bob</p>",
        "stream_type": "broadcast",
        "metadata": {
            "campaign": "welcome",
            "run": "r1",
            "row": "5",
            "message_id": "our-1",
        },
    }


def test_a_batch_is_the_list_emails() -> None:
    """Each item has the fields of a single message, in the order of the batch."""
    provider = MailerLogic(WHOLE, batch_size=500)
    batch = batch_of(provider)
    request = provider.request(batch)
    assert (request.method, request.path) == ("POST", "/api/v1/batch")
    body = json.loads(request.body)
    assert body == {"emails": [json.loads(part) for part in batch.parts]}
    assert [item["to"] for item in body["emails"]] == LIST


def test_the_last_batch_of_one_stays_on_the_batch_endpoint() -> None:
    """A remainder of one message is a batch, and its answer is that of a batch."""
    provider = MailerLogic(envelope(), batch_size=500)
    request = provider.request(batch_of(provider, 1))
    assert request.path == "/api/v1/batch"
    assert len(json.loads(request.body)["emails"]) == 1


def test_more_than_500_messages_are_no_batch() -> None:
    """The document's limit."""
    with pytest.raises(ValueError, match="501"):
        MailerLogic(envelope(), batch_size=501)


def test_what_differs_by_message_is_sent_with_its_message() -> None:
    """Each message has its own files, metadata and invitation; nobody has another's."""
    extras = [
        Extras(attachments=(BILL,), metadata={"order": "1"}),
        Extras(calendar=INVITE, metadata={"order": "2"}),
        Extras(),
    ]
    provider = MailerLogic(envelope(), batch_size=500)
    made = replace(MESSAGES, extras=extras)
    first, second, third = map(json.loads, provider.encode(made))
    assert first["attachments"][0]["filename"] == "invoice.pdf"
    assert [one["metadata"].get("order") for one in (first, second, third)] == [
        "1",
        "2",
        None,
    ]
    assert [INVITE] == [one["icalEvent"] for one in (second,)]
    assert not {"attachments", "icalEvent"} & third.keys()


def test_metadata_of_the_user_cannot_replace_ours() -> None:
    """Events are joined to rows by our message id, whatever else there is."""
    given_envelope = envelope(extras=Extras(metadata={"message_id": "x", "run": "y"}))
    provider = MailerLogic(given_envelope, batch_size=1)
    (part,) = batch_of(provider, 1).parts
    assert part.count(b'"run"') == 1
    metadata = json.loads(part)["metadata"]
    assert (metadata["message_id"], metadata["run"]) == ("our-0", "r1")


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_arrives_as_it_is(text: str) -> None:
    """Quotes, breaks and other scripts are the same after JSON."""
    provider = MailerLogic(envelope(tags=(f"t{text}",)), batch_size=1)
    made = Messages([0], LIST[:1], [""], ["our"], [text], [text], [text])
    body = json.loads(provider.encode(made)[0])
    assert [text] * 3 == [body[name] for name in ("subject", "html", "text")]
    assert f"t{text}" == body["tag"]


@pytest.mark.parametrize(
    ("kind", "given_stream", "stream"),
    [
        ("marketing", None, "broadcast"),
        ("transactional", None, "transactional"),
        ("marketing", "shared", "shared"),
        ("transactional", "broadcast", "broadcast"),
    ],
)
def test_the_stream_follows_from_the_kind(
    kind: str, given_stream: str | None, stream: str
) -> None:
    """Newsletters go by the pool for them, unless the campaign says otherwise."""
    provider = MailerLogic(envelope(kind=kind), batch_size=1, stream_type=given_stream)
    assert stream == json.loads(batch_of(provider, 1).parts[0])["stream_type"]


def test_credentials_are_an_api_key() -> None:
    """The header is the document's."""
    credentials = MailerLogic(envelope(), batch_size=1).credentials("ml_live_1")
    assert credentials == ({"X-API-Key": "ml_live_1"}, "")


# ---- review -----------------------------------------------------------------------


def test_what_it_can_carry_whole_is_not_remarked_on() -> None:
    """Every feature but names, inline files and a second tag passes."""
    assert MailerLogic(replace(WHOLE, tags=("one",)), batch_size=1).review() == []


@pytest.mark.parametrize(
    ("changes", "settings", "severity", "word"),
    [
        ({"tags": ("summer", "autumn")}, {}, "warning", "one tag: summer"),
        ({"named": True}, {}, "warning", "display names"),
        (
            {"extras": Extras(attachments=(replace(BILL, content_id="x"),))},
            {},
            "error",
            "inline",
        ),
        ({}, {"stream_type": "bulk"}, "error", "transactional, broadcast, shared"),
        ({}, {"stream_type": "transactional"}, "warning", "standing"),
        (
            {"extras": Extras(attachments=(replace(BILL, content="A" * 15_000_000),))},
            {},
            "warning",
            "11,250,000",
        ),
        (
            {
                "extras": Extras(
                    attachments=(replace(BILL, content="A" * 12_500_000),) * 2
                )
            },
            {},
            "error",
            "25,000,000",
        ),
    ],
)
def test_what_it_cannot_carry_is_told(
    changes: dict[str, object], settings: dict[str, str], severity: str, word: str
) -> None:
    """An error or a warning in plain words, and never a silent drop."""
    found = MailerLogic(envelope(**changes), batch_size=1, **settings).review()
    assert [(one.severity, word in one.text) for one in found] == [(severity, True)]


def test_a_file_of_10_mb_is_not_remarked_on() -> None:
    """The limit is that of the file, not of its base64."""
    file = replace(BILL, content="A" * (10_000_000 * 4 // 3))
    given_envelope = envelope(extras=Extras(attachments=(file,)))
    assert MailerLogic(given_envelope, batch_size=1).review() == []


# ---- POST /api/v1/send ------------------------------------------------------------

ANSWER = {
    "to": "ann@a.example",
    "submitted_at": "2024-01-15T10:30:00Z",
    "message_id": "<650e8400-e29b-41d4-a716-446655440000@mail.harbour.example>",
    "email_id": "650e8400-e29b-41d4-a716-446655440000",
    "status": "queued",
    "message": "Email queued successfully",
}


def test_a_single_message_is_accepted_by_its_email_id() -> None:
    """The answer of the document; its events name the email_id."""
    expected = Outcomes([YES], [None], [None], [ANSWER["email_id"]])
    assert expected == read(ANSWER, single=True)


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (
            400,
            {"error": "Validation Error", "message": "subject is required"},
            (BatchRejected, "validation_error", ""),
        ),
        (
            400,
            {"error": "Bad Request", "message": "Domain is not verified"},
            (AccountRejected, "sender_not_verified", "verify"),
        ),
        (
            401,
            {"error": "Unauthorized", "message": "Invalid API key"},
            (AccountRejected, "credentials", "token"),
        ),
        (
            403,
            {"error": "Forbidden", "message": "m", "reason": "account_suspended"},
            (AccountRejected, "account_suspended", "account"),
        ),
        (
            403,
            {"error": "Forbidden", "message": "m", "reason": "domain_not_verified"},
            (AccountRejected, "sender_not_verified", "verify"),
        ),
        (403, {"error": "Forbidden"}, (AccountRejected, "forbidden", "account")),
        (
            404,
            {"error": "Not Found", "message": "Domain not found"},
            (AccountRejected, "wrong_address", "domain"),
        ),
        (429, {"error": "Too Many Requests"}, (Throttled, "throttled", "")),
        (500, {"error": "e", "message": "m"}, (Unanswered, "server_error", "")),
    ],
)
@pytest.mark.parametrize("endpoint", ["send", "batch"])
def test_an_error_is_classified(
    endpoint: str,
    status: int,
    document: dict[str, str],
    expected: tuple[type[ProviderError], str, str],
) -> None:
    """`{error, message, reason}`, in each documented status, on both endpoints."""
    kind, reason, hint = expected
    with pytest.raises(kind) as caught:
        read(document, status=status, single=endpoint == "send")
    assert (status, reason) == (caught.value.http_status, caught.value.reason)
    assert hint in caught.value.hint


def test_429_waits_until_the_limit_is_reset() -> None:
    """X-RateLimit-Reset is a moment, in seconds since 1970."""
    headers = {
        "x-ratelimit-limit": "600",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": str(int(NOW.timestamp()) + 42),
    }
    with pytest.raises(Throttled) as caught:
        read({"error": "Too Many Requests"}, status=429, headers=headers)
    assert caught.value.retry_after == 42.0
    declared = MailerLogic.capabilities.rate_headers
    assert set(declared) == headers.keys()


# ---- POST /api/v1/batch -----------------------------------------------------------

IDS = ["e-0", "e-1", "e-2"]
ITEMS = [
    {"email_id": name, "message_id": f"<{name}@m>", "to": to, "status": "queued"}
    for name, to in zip(IDS, LIST, strict=True)
]
BAD = {"to": LIST[1], "status": "failed", "error": "invalid address"}
TOTALS = {"total": 3, "queued": 3, "failed": 0}
ONE_BAD = {"total": 3, "queued": 2, "failed": 1}


@pytest.mark.parametrize(
    "document",
    [TOTALS, {"total": 3, "queued": 3}, {**TOTALS, "results": [], "errors": []}],
)
def test_totals_without_a_failure_accept_all(document: object) -> None:
    """All are queued; their ids are not told."""
    assert Outcomes.uniform(3, YES) == read(document)


@pytest.mark.parametrize("field", ["results", "emails", "messages", "data"])
def test_an_item_per_message_gives_its_email_id(field: str) -> None:
    """Wherever the list is: in order, and in another order by the address."""
    assert IDS == read({**TOTALS, field: ITEMS}).provider_ids
    assert IDS == read({**TOTALS, field: ITEMS[::-1]}).provider_ids
    found = read({**ONE_BAD, field: [ITEMS[0], BAD, ITEMS[2]]})
    assert found.statuses == [YES, NO, YES]
    assert found.provider_ids == ["e-0", None, "e-2"]
    assert found.details[1] == "invalid address"


def test_metadata_given_back_names_a_message() -> None:
    """Our own id is the best key."""
    items = [{"email_id": name} for name in IDS]
    for n, item in enumerate(items):
        item["metadata"] = {"message_id": f"our-{n}"}  # type: ignore[assignment]
    assert IDS == read({**TOTALS, "results": items[::-1]}).provider_ids


@pytest.mark.parametrize(
    "errors",
    [
        [{"index": 1, "error": "invalid address"}],
        [{"to": LIST[1], "error": "invalid address"}],
        [{"email": LIST[1], "message": "invalid address"}],
    ],
)
def test_a_failure_that_is_named_is_rejected_and_the_rest_accepted(
    errors: object,
) -> None:
    """The numbers account for everybody else."""
    found = read({**ONE_BAD, "errors": errors})
    assert found.statuses == [YES, NO, YES]
    assert found.details == [None, "invalid address", None]


@pytest.mark.parametrize(
    "document",
    [
        ONE_BAD,
        {"total": 3, "queued": 2},
        {"total": 2, "queued": 2, "failed": 0},
        {**ONE_BAD, "errors": ["one address is invalid"]},
        {**ONE_BAD, "errors": [{"error": "invalid address"}]},
        {**ONE_BAD, "results": [{"email_id": "e-0"}, {"email_id": "e-2"}]},
        {**ONE_BAD, "results": [{"email_id": name} for name in IDS]},
        {"total": 3, "queued": 2, "results": [{"email_id": name} for name in IDS]},
        {"total": 3, "queued": 1, "failed": 2, "errors": [{"to": "x@x.example"}]},
    ],
)
def test_a_failure_that_is_nobodys_leaves_all_in_doubt(document: object) -> None:
    """Who failed is never guessed, and the batch is no refusal: two were queued."""
    assert [DOUBT] * 3 == read(document).statuses


@pytest.mark.parametrize("failed", [{}, {"failed": 1}, {"failed": 2}])
def test_numbers_that_do_not_add_up_settle_only_who_is_named(
    failed: dict[str, int],
) -> None:
    """One is named as failed and one is missing: the rest is in doubt."""
    answer = {"total": 3, "queued": 1, **failed, "errors": [{"to": LIST[1]}]}
    assert read(answer).statuses == [DOUBT, NO, DOUBT]


def test_a_doubt_tells_the_numbers() -> None:
    """The detail has what the answer said."""
    found = read(ONE_BAD)
    assert set(found.reasons) == {"answer_incomplete"}
    assert set(found.details) == {"the answer counts 1 of 3 messages as failed"}


@pytest.mark.parametrize("status", [200, 400])
def test_a_batch_that_failed_whole_is_rejected(status: int) -> None:
    """Everybody is among the failures, whatever the status."""
    answer = {"total": 3, "queued": 0, "failed": 3, "message": "No valid address"}
    found = read(answer, status=status)
    assert found.statuses == [NO] * 3
    assert set(found.details) == {"No valid address"}


def test_a_refusal_that_queued_some_is_no_refusal() -> None:
    """A 400 that counts messages as queued is read as the answer that it is."""
    found = read({**ONE_BAD, "errors": [{"index": 0, "error": "bad"}]}, status=400)
    assert found.statuses == [NO, YES, YES]


@pytest.mark.parametrize("status", [500, 403])
def test_other_refusals_are_none_of_the_contents(status: int) -> None:
    """Only a refusal for the contents can be about some of them."""
    with pytest.raises((Unanswered, AccountRejected)):
        read(TOTALS, status=status)


def test_parts_of_a_refused_batch_are_not_sent_again() -> None:
    """That a 400 refuses the whole batch is not said, so it is not relied on."""
    assert MailerLogic.capabilities.all_or_nothing is False
