"""Cloudflare Email Sending: what is sent, and what its answers and errors mean."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import (
    AccountRejected,
    BatchRejected,
    CampaignError,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.message import (
    Attachment,
    Batch,
    Envelope,
    Extras,
    Feature,
    Messages,
    Request,
    Response,
)
from engine.mime import Skeleton
from engine.outcome import Outcomes, Status
from engine.providers.cloudflare import Cloudflare

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
ACCOUNT = "023e105f4ecef8ad9ca31a8372d0c353"
ANN = "Ann@a.example"
YES, NO, DOUBT = Status.ACCEPTED, Status.REJECTED, Status.IN_DOUBT
LOGO = Attachment("logo.png", "image/png", "aVZCT1J3MEtHZ28=", "logo")
BILL = Attachment("bill.pdf", "application/pdf", "JVBERi0xLjQ=")
INVITATION = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
EXTRAS = Extras(
    reply_to="Help <help@harbour.example>",
    cc=("Cy <cy@c.example>", "dee@d.example"),
    bcc=("eve@e.example",),
    headers={"X-Campaign": "welcome"},
    attachments=(LOGO, BILL),
)


def envelope(**changes: Any) -> Envelope:
    """Make an envelope that Cloudflare can carry whole, or one with changes."""
    fields: dict[str, Any] = {
        "campaign": "welcome",
        "run": "r1",
        "date": NOW,
        "kind": "transactional",
        "sender": "Harbour Books <hello@harbour.example>",
        "html": True,
        "text": True,
    }
    return Envelope(**(fields | changes))


def provider(run: Envelope | None = None, **settings: str) -> Cloudflare:
    """Make the provider for an account."""
    chosen = {"account_id": ACCOUNT} | settings
    return Cloudflare(run or envelope(), batch_size=1, **chosen)


def messages(address: str = ANN, extras: Extras | None = None) -> Messages:
    """Make one message."""
    return Messages(
        rows=[0],
        addresses=[address],
        names=["Ann"],
        message_ids=["our-0"],
        subjects=["Olá"],
        htmls=["<p>Olá</p>"],
        texts=["Olá"],
        extras=None if extras is None else [extras],
    )


def request_of(
    run: Envelope | None = None, made: Messages | None = None, **settings: str
) -> Request:
    """Return the request that carries one message."""
    made = made or messages()
    kind = provider(run, **settings)
    return kind.request(Batch("b1", made.rows, made.addresses, kind.encode(made)))


def mail_in(request: Request) -> EmailMessage:
    """Return the message in a raw request, as a reader of mail finds it."""
    text = json.loads(request.body)["mime_message"]
    found = BytesParser(policy=policy.default).parsebytes(text.encode("ascii"))
    assert isinstance(found, EmailMessage)
    return found


# ---- requests ----------------------------------------------------------------------


def test_a_whole_message_is_sent_as_the_document_says() -> None:
    """`from`, `mime_message` and `recipients`, bare addresses, real line ends."""
    request = request_of()
    assert request == Request(
        "POST",
        f"/accounts/{ACCOUNT}/email/sending/send_raw",
        {"Content-Type": "application/json", "Accept": "application/json"},
        request.body,
    )
    sent = json.loads(request.body)
    (whole,) = Skeleton(envelope()).encode(messages())
    assert sent == {
        "from": "hello@harbour.example",
        "mime_message": whole,
        "recipients": [ANN],
    }
    assert b"Subject: =?utf-8?q?Ol=C3=A1?=\\r\\n" in request.body


def test_those_in_cc_and_bcc_are_recipients_of_a_whole_message() -> None:
    """The envelope has everybody once; the header names nobody in bcc."""
    run = envelope(extras=replace(EXTRAS, cc=(*EXTRAS.cc, "ANN@a.example")))
    request = request_of(run)
    recipients = json.loads(request.body)["recipients"]
    assert recipients == [ANN, "cy@c.example", "dee@d.example", "eve@e.example"]
    mail = mail_in(request)
    assert mail["Cc"] == "Cy <cy@c.example>, dee@d.example, ANN@a.example"
    assert "eve" not in str(mail)


def test_a_row_of_its_own_has_its_own_recipients() -> None:
    """What one message brings along is in its envelope and its header alone."""
    own = Extras(bcc=("fay@f.example",), attachments=(BILL,))
    request = request_of(envelope(extras=EXTRAS), messages(extras=own))
    assert json.loads(request.body)["recipients"] == [ANN, "fay@f.example"]
    mail = mail_in(request)
    assert mail["Cc"] is None
    assert [part.get_filename() for part in mail.iter_attachments()] == ["bill.pdf"]


def test_domains_beyond_ascii_leave_as_a_labels() -> None:
    """The fields have the format `email`, which is ASCII."""
    run = envelope(sender="Härbour <hello@härbour.example>")
    for form in ("raw", "json"):
        sent = json.loads(
            request_of(run, messages("ann@bücher.example"), format=form).body
        )
        assert "ann@xn--bcher-kva.example" in (
            sent.get("recipients") or [sent["to"]["address"]]
        )
        bare = sent["from"] if form == "raw" else sent["from"]["address"]
        assert bare == "hello@xn--hrbour-bua.example"


def test_the_parts_of_a_message_are_sent_as_the_document_says() -> None:
    """Every field of `send`, with people and attachments as objects."""
    request = request_of(envelope(extras=EXTRAS), format="json")
    assert request.path == f"/accounts/{ACCOUNT}/email/sending/send"
    assert json.loads(request.body) == {
        "from": {"address": "hello@harbour.example", "name": "Harbour Books"},
        "to": {"address": ANN, "name": "Ann"},
        "subject": "Olá",
        "html": "<p>Olá</p>",
        "text": "Olá",
        "cc": [{"address": "cy@c.example", "name": "Cy"}, "dee@d.example"],
        "bcc": ["eve@e.example"],
        "reply_to": {"address": "help@harbour.example", "name": "Help"},
        "headers": {"X-Campaign": "welcome"},
        "attachments": [
            {
                "content": "aVZCT1J3MEtHZ28=",
                "filename": "logo.png",
                "type": "image/png",
                "disposition": "inline",
                "content_id": "logo",
            },
            {
                "content": "JVBERi0xLjQ=",
                "filename": "bill.pdf",
                "type": "application/pdf",
                "disposition": "attachment",
            },
        ],
    }


def test_what_a_message_does_not_have_is_not_sent() -> None:
    """Fields without a value are left out; a person without a name is an address."""
    made = replace(messages(), names=[""], texts=None)
    run = envelope(text=False, sender="hello@harbour.example")
    assert json.loads(request_of(run, made, format="json").body) == {
        "from": "hello@harbour.example",
        "to": ANN,
        "subject": "Olá",
        "html": "<p>Olá</p>",
    }


def test_an_invitation_is_a_file_among_the_parts() -> None:
    """Whole messages have a part for it; the parts of a message have none."""
    run = envelope(extras=Extras(calendar=INVITATION))
    (file,) = json.loads(request_of(run, format="json").body)["attachments"]
    assert (file["filename"], file["disposition"]) == ("invite.ics", "attachment")
    kinds = [part.get_content_type() for part in mail_in(request_of(run)).walk()]
    assert "text/calendar" in kinds


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({}, {"Authorization": "Bearer s3cret"}),
        (
            {"email": "ops@harbour.example"},
            {"X-Auth-Email": "ops@harbour.example", "X-Auth-Key": "s3cret"},
        ),
    ],
)
def test_a_token_or_a_global_key_proves_who_asks(
    settings: dict[str, str], headers: dict[str, str]
) -> None:
    """With an email the token is the key of the previous scheme."""
    found = provider(**settings).credentials("s3cret")
    assert (headers, "") == (found.headers, found.path)


@pytest.mark.parametrize(
    "account", ["../zones", "a/b", "a b", "", "é", "a" * 65, "a?b"]
)
def test_an_account_is_one_piece_of_a_path(account: str) -> None:
    """Nothing else gets into the address of a request."""
    with pytest.raises(CampaignError, match="account_id"):
        provider(account_id=account)


# ---- review ------------------------------------------------------------------------


def told(run: Envelope, **settings: str) -> dict[str, str]:
    """Return what a review says, text to severity."""
    return {found.text: found.severity for found in provider(run, **settings).review()}


def test_a_message_with_everything_passes_review() -> None:
    """What Cloudflare carries is not spoken of, in either format."""
    run = envelope(extras=EXTRAS, header_names=("X-Campaign",), named=True)
    assert told(run) == {}
    assert told(run, format="json") == {}


@pytest.mark.parametrize("email", ["nobody", "@", "a b@c.example", "é@c.example"])
def test_a_key_belongs_to_an_address(email: str) -> None:
    """What is none is found before a request has it in a header."""
    (found,) = provider(email=email).review()
    assert found.severity == "error"
    assert f'[provider] email = "{email}": write' in found.text
    assert [] == provider(email="me@a.example").review()


def test_an_account_must_be_named() -> None:
    """Without one there is no address to send to."""
    (found,) = Cloudflare(envelope(), batch_size=1).review()
    assert found.severity == "error"
    assert "account_id is missing" in found.text


@pytest.mark.parametrize(
    ("changes", "severity", "words"),
    [
        ({"kind": "marketing"}, "error", "transactional mail alone"),
        ({"tags": ("a",)}, "warning", "no tags"),
        ({"track_opens": True}, "warning", "tracking"),
        ({"extras": Extras(metadata={"a": "b"})}, "warning", "no metadata"),
        (
            {"extras": Extras(cc=tuple(f"u{n}@a.example" for n in range(50)))},
            "error",
            "50 recipients in one message: with cc and bcc it has 51",
        ),
        ({"sender": "zoë@harbour.example"}, "error", "zoë@harbour.example"),
        ({"extras": Extras(bcc=("zoë@a.example",))}, "error", "zoë@a.example"),
    ],
)
def test_what_cloudflare_cannot_carry_is_said(
    changes: dict[str, Any], severity: str, words: str
) -> None:
    """An error where the message would be another, else a warning."""
    ((text, found),) = told(envelope(**changes)).items()
    assert severity == found
    assert words in text


def test_an_invitation_among_the_parts_is_a_warning() -> None:
    """It arrives as a file; in a whole message it is one."""
    run = envelope(extras=Extras(calendar=INVITATION))
    assert told(run) == {}
    ((text, severity),) = told(run, format="json").items()
    assert "invite.ics" in text
    assert severity == "warning"


def test_an_unknown_format_is_an_error() -> None:
    """The text says what there is."""
    ((text, severity),) = told(envelope(), format="mime").items()
    assert text == '[provider] format = "mime": write one of raw, json'
    assert severity == "error"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("Feedback-ID", "a", "writes the header Feedback-ID itself"),
        ("arc-seal", "a", "writes the header arc-seal itself"),
        ("Return-Path", "<a@b.example>", "writes the header Return-Path itself"),
        ("Campaign", "a", "write X-Campaign"),
        ("X-a.b", "a", "the header name X-a.b"),
        ("X-" + "a" * 99, "a", "at most 100 characters"),
        ("Precedence", "first", "one of bulk, list, junk"),
        ("Auto-Submitted", "yes", "one of auto-generated"),
        ("List-Unsubscribe", "https://a.example/u", "in angle brackets"),
        ("List-Unsubscribe", "<http://a.example/u>", "in angle brackets"),
        ("List-Unsubscribe-Post", "list-unsubscribe=one-click", "exactly"),
    ],
)
def test_a_header_that_is_not_on_the_list_is_said(
    name: str, value: str, words: str
) -> None:
    """An error where the list holds for certain, else a warning."""
    run = envelope(extras=Extras(headers={name: value}), header_names=(name,))
    for form, severity in (("json", "error"), ("raw", "warning")):
        ((text, found),) = told(run, format=form).items()
        assert words in text
        assert severity == found


@pytest.mark.parametrize(
    "headers",
    [
        {
            "List-Unsubscribe": "<https://a.example/u?1>, <mailto:u@a.example>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        },
        {"Precedence": "Bulk", "Auto-Submitted": "auto-generated"},
        {"x-campaign_id": "1", "IN-REPLY-TO": "<a@b.example>", "Keywords": "a, b"},
        {f"X-{n}": "a" for n in range(30)},
    ],
)
def test_headers_on_the_list_pass(headers: dict[str, str]) -> None:
    """Those of the documents' examples, whatever the case of their names."""
    run = envelope(extras=Extras(headers=headers), header_names=tuple(headers))
    assert told(run, format="json") == {}


def test_one_click_needs_an_address_for_it() -> None:
    """With mailto alone nothing can be posted."""
    headers = {
        "List-Unsubscribe": "<mailto:u@a.example>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    (text,) = told(envelope(extras=Extras(headers=headers)), format="json")
    assert "needs a List-Unsubscribe with an <https://" in text


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"X-A": "é" * 1025}, "X-A has 2050 bytes"),
        ({f"X-{n}": "a" * 2040 for n in range(9)}, "the headers have"),
        ({"X-A": ""}, "without a value: X-A"),
    ],
)
def test_headers_have_limits_in_every_format(
    headers: dict[str, str], words: str
) -> None:
    """2048 bytes a value, 16 KB together, and no empty one."""
    for form in ("raw", "json"):
        ((text, severity),) = told(
            envelope(extras=Extras(headers=headers)), format=form
        ).items()
        assert words in text
        assert severity == "error"


def test_twenty_headers_of_the_list_are_the_most() -> None:
    """Those of rows count, too: their names are known."""
    names = ("Comments", *(f"List-{n}" for n in range(20)))
    texts = told(envelope(header_names=names), format="json")
    assert any("there are 21" in text for text in texts)


def test_the_limits_are_those_of_the_documents() -> None:
    """One message, 5 MiB, 50 recipients, 1200 requests in 5 minutes."""
    can = Cloudflare.capabilities
    assert (can.max_batch, can.max_batch_bytes, can.max_recipients) == (1, 5 << 20, 50)
    assert can.requests_per_second == 1200 / 300
    assert not can.bulk_allowed
    assert Feature.TAGS not in can.features


# ---- answers -----------------------------------------------------------------------

#: The document's example, with its own addresses.
EXAMPLE = {
    "errors": [],
    "messages": [],
    "result": {
        "delivered": ["recipient@example.com"],
        "permanent_bounces": ["dev@stainless.com"],
        "queued": ["dev@stainless.com"],
    },
    "success": True,
    "result_info": {
        "count": 0,
        "per_page": 0,
        "total_count": 0,
        "cursor": "cursor",
        "page": 0,
    },
}


def read(
    document: object,
    *,
    status: int = 200,
    address: str = ANN,
    headers: dict[str, str] | None = None,
) -> Outcomes:
    """Let Cloudflare read an answer to one message."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    batch = Batch("b1", [0], [address], [b"{}"])
    return provider().outcomes(batch, Response(status, headers or {}, body, NOW))


def result(
    success: object = True,  # noqa: FBT002 - a value of the answer's field
    **lists: object,
) -> dict[str, object]:
    """Make an answer with some lists."""
    return {"success": success, "errors": [], "messages": [], "result": lists}


def test_the_example_of_the_document_is_read() -> None:
    """Delivered is accepted, and the one who bounced is told of."""
    found = read(EXAMPLE, address="recipient@example.com")
    assert found == Outcomes([YES], [None], ["dev@stainless.com bounced"], [None])


@pytest.mark.parametrize(
    ("lists", "status", "reason"),
    [
        ({"delivered": [ANN]}, YES, None),
        ({"queued": [ANN]}, YES, None),
        ({"delivered": [ANN], "queued": [ANN]}, YES, None),
        ({"permanent_bounces": [ANN]}, NO, "bounced"),
        ({"suppressed_recipients": [ANN]}, NO, "suppressed"),
        (
            {"delivered": [ANN], "permanent_bounces": [ANN]},
            DOUBT,
            "answer_contradictory",
        ),
        (
            {"queued": [ANN], "suppressed_recipients": [ANN]},
            DOUBT,
            "answer_contradictory",
        ),
        (
            {"delivered": [], "queued": [], "permanent_bounces": []},
            DOUBT,
            "not_in_answer",
        ),
        ({}, DOUBT, "not_in_answer"),
        ({"delivered": ["cy@c.example"]}, DOUBT, "not_in_answer"),
        (
            {"delivered": None, "queued": ANN, "permanent_bounces": 7},
            DOUBT,
            "not_in_answer",
        ),
        ({"delivered": [["x"], {"email": ANN}, None]}, DOUBT, "not_in_answer"),
    ],
)
def test_the_list_that_has_the_recipient_decides(
    lists: dict[str, object], status: Status, reason: str | None
) -> None:
    """Whatever the status of the answer, which is 200."""
    found = read(result(**lists))
    assert ([status], [reason]) == (found.statuses, found.reasons)


def test_the_id_of_the_message_is_kept() -> None:
    """The newest schema has one."""
    found = read(result(delivered=[ANN], message_id="<abc@cf.example>"))
    assert found.provider_ids == ["<abc@cf.example>"]


def test_an_id_and_nobody_in_any_list_is_a_yes() -> None:
    """A success that sets no recipient apart is one for this recipient."""
    assert read(result(message_id="m1")).statuses == [YES]
    assert read(result(message_id="m1", queued=["cy@c.example"])).statuses == [DOUBT]
    assert read(result("?", message_id="m1")).statuses == [DOUBT]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Ann@A.example", "ann@a.EXAMPLE"),
        ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--bcher-kva.example", "Ann@BÜCHER.example"),
        ("ann@a.example", "Ann <ann@a.example>"),
        ("ann@a.example", " ann@a.example "),
    ],
)
def test_an_address_in_another_form_is_the_same(ours: str, theirs: str) -> None:
    """Capitals and the two forms of a domain make no difference."""
    assert read(result(delivered=[theirs]), address=ours).statuses == [YES]


def test_another_address_is_another() -> None:
    """An answer about somebody else does not settle this recipient."""
    for other in ("ann@b.example", "anna@a.example", "ann", ""):
        assert read(result(delivered=[other])).statuses == [DOUBT]


def test_what_befell_the_others_is_told() -> None:
    """Those in cc and bcc have no row of their own."""
    found = read(
        result(
            delivered=[ANN, "cy@c.example"],
            permanent_bounces=["dee@d.example"],
            suppressed_recipients=["eve@e.example"],
        )
    )
    assert found.statuses == [YES]
    assert found.details == ["dee@d.example bounced, eve@e.example suppressed"]


def test_yes_and_no_at_once_is_a_doubt() -> None:
    """Delivered, and not a success; or a success, and errors."""
    refused = read(result(success=False, delivered=[ANN]))
    assert (refused.statuses, refused.reasons) == ([DOUBT], ["answer_contradictory"])
    erring = read(result(delivered=[ANN]) | {"errors": [{"code": 1, "message": "odd"}]})
    assert (erring.statuses, erring.details) == ([DOUBT], ["odd"])


def test_a_no_that_names_the_recipient_is_one() -> None:
    """A bounce is a bounce, whether the whole was a success or not."""
    assert read(result(success=False, permanent_bounces=[ANN])).reasons == ["bounced"]


def test_an_answer_about_a_thousand_recipients_is_not_read() -> None:
    """A message has 50 at most: such an answer is broken."""
    with pytest.raises(Unanswered, match="1000 recipients"):
        read(result(delivered=["x@y.example"] * 1000))


# ---- errors ------------------------------------------------------------------------

PREFIX = "email.sending.error."
ERRORS = [
    (400, 10001, "invalid_request_schema", BatchRejected, "invalid_request_schema"),
    (400, 10200, "email.too_big", BatchRejected, "too_large"),
    (400, 10202, "email.too_big", BatchRejected, "too_large"),
    (400, 10200, "email.invalid", BatchRejected, "invalid_email"),
    (400, 10202, "email.invalid", BatchRejected, "invalid_email"),
    (400, 10201, "email.no_content_length", BatchRejected, "no_content_length"),
    (401, 10101, "authentication.unauthorized", AccountRejected, "credentials"),
    (401, 10103, "authentication.bad_token_type", AccountRejected, "credentials"),
    (403, 10102, "authentication.forbidden", AccountRejected, "forbidden"),
    (403, 10105, "authentication.not_entitled", AccountRejected, "not_entitled"),
    (403, 10203, "email.sending_disabled", AccountRejected, "sending_disabled"),
    (403, 10204, "email.sender_not_configured", AccountRejected, "sender_not_verified"),
    (404, 10000, "not_found", AccountRejected, "wrong_address"),
    (429, 10004, "throttled", Throttled, "throttled"),
    (500, 10002, "internal_server", Unanswered, "server_error"),
    (500, 10003, "not_implemented", AccountRejected, "not_implemented"),
    (503, 10100, "authentication.upstream", Unavailable, "unavailable"),
]


def failure(code: object, message: str) -> dict[str, object]:
    """Make an error as the documents show it."""
    errors = [{"code": code, "message": message}]
    return {"success": False, "errors": errors, "messages": [], "result": None}


@pytest.mark.parametrize(("status", "code", "message", "kind", "reason"), ERRORS)
@pytest.mark.parametrize("prefix", [PREFIX, ""])
@pytest.mark.parametrize("inside", [False, True])
def test_each_documented_error_is_classified(  # noqa: PLR0917 - a table's columns
    status: int,
    code: int,
    message: str,
    kind: type[ProviderError],
    reason: str,
    prefix: str,
    inside: bool,  # noqa: FBT001 - likewise
) -> None:
    """By its words, with and without the prefix, and inside a 200 as well."""
    status = 200 if inside else status
    with pytest.raises(ProviderError) as caught:
        read(failure(code, prefix + message), status=status)
    error = caught.value
    assert type(error) is kind
    assert (error.reason, error.http_status) == (reason, status)
    assert f"cloudflare answered {status}" in str(error)
    assert isinstance(error, AccountRejected) == bool(error.hint)


def test_numbers_may_be_texts() -> None:
    """The schema has them so in 400 and 403."""
    with pytest.raises(BatchRejected) as caught:
        read(failure("10200", f"{PREFIX}email.too_big"), status=400)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        (403, 10000, "Authentication error", "credentials"),
        (403, 9109, "Invalid access token", "credentials"),
        (400, 6003, "Invalid request headers", "credentials"),
        (400, 7003, "Could not route to /accounts/x, perhaps your …", "wrong_address"),
        (400, 7000, "No route for that URI", "wrong_address"),
    ],
)
def test_errors_of_the_api_as_a_whole_stop_the_run(
    status: int, code: int, message: str, reason: str
) -> None:
    """Even with 400: every other message would be refused for the same."""
    with pytest.raises(AccountRejected) as caught:
        read(failure(code, message), status=status)
    assert reason == caught.value.reason


def test_a_suppressed_recipient_fails_the_message_alone() -> None:
    """One in cc is enough; the run goes on."""
    with pytest.raises(BatchRejected) as caught:
        read(failure(10202, "Recipient is suppressed"), status=400)
    assert caught.value.reason == "suppressed"


def test_a_throttled_account_waits_as_long_as_it_is_told() -> None:
    """Seconds in Retry-After, or those after which the spent quota is new."""
    throttled = failure(10004, f"{PREFIX}throttled")
    for headers, wait in (
        ({"retry-after": "30"}, 30.0),
        ({"ratelimit": '"default";r=0;t=12', "ratelimit-policy": '"a";q=1;w=9'}, 12.0),
        ({"ratelimit": '"default";r=50;t=30'}, None),
    ):
        with pytest.raises(Throttled) as caught:
            read(throttled, status=429, headers=headers)
        assert wait == caught.value.retry_after


def test_an_upstream_that_is_down_is_waited_for() -> None:
    """Nothing was accepted before the token was looked at."""
    body = failure(10100, f"{PREFIX}authentication.upstream")
    with pytest.raises(Unavailable) as caught:
        read(body, status=503, headers={"retry-after": "5"})
    assert caught.value.retry_after == 5.0


def test_a_quota_that_is_used_up_stops_the_run() -> None:
    """No wait of minutes ends it."""
    with pytest.raises(AccountRejected) as caught:
        read(failure(1, "daily sending quota exceeded"), status=429)
    assert caught.value.reason == "quota"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (failure(10999, "something new"), "error_10999"),
        ({"success": False, "errors": [], "result": None}, "refused"),
        ({"success": False}, "refused"),
    ],
)
def test_no_success_and_no_word_that_is_known_is_a_refusal(
    document: object, reason: str
) -> None:
    """The message was refused, not the account."""
    with pytest.raises(BatchRejected) as caught:
        read(document)
    assert reason == caught.value.reason


def test_a_token_that_is_quoted_is_not_shown() -> None:
    """An error about credentials may hold them."""
    with pytest.raises(AccountRejected) as caught:
        read(
            failure(9109, "Invalid access token Sn3lZJTBX6kkg7OdcBUAxOO963GE"),
            status=403,
        )
    assert "Sn3l" not in str(caught.value)


LISTS = st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(st.sampled_from([ANN, "cy@c.example", "", "@"]), max_size=3)
        for name in (
            "delivered",
            "queued",
            "permanent_bounces",
            "suppressed_recipients",
        )
    },
)


@given(LISTS, st.sampled_from([True, False, None, "maybe"]))
def test_nobody_is_accepted_who_is_not_named_so(
    lists: dict[str, list[str]], success: object
) -> None:
    """A yes needs a list that says it, and none that says no."""
    try:
        (status,) = read(result(success, **lists)).statuses
    except BatchRejected:
        assert success is False
        assert not any(lists.values())
        return
    yes = ANN in [*lists.get("delivered", ()), *lists.get("queued", ())]
    no = ANN in [
        *lists.get("permanent_bounces", ()),
        *lists.get("suppressed_recipients", ()),
    ]
    assert (status is YES) == (yes and not no and success is not False)
    assert (status is NO) == (no and not yes)
