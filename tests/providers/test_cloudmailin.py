"""CloudMailin: each request against its document, and what its answers mean."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_string
from email.policy import default

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
)
from engine.message import Attachment, Batch, Envelope, Extras, Messages, Response
from engine.outcome import Outcomes, Status
from engine.providers.cloudmailin import CloudMailin

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
ID = "724b9ef2-94ee-4fb0-b722-082204633911"
TOKEN = "s3cret-t0ken"
URL = f"smtp://user:{TOKEN}@smtp.cloudmta.net:587?starttls=true"

#: The schema Message of the Core API: field to the type of its value. `id` is absent,
#: for it is only read.
MESSAGE = {
    "from": str,
    "to": list,
    "cc": list,
    "test_mode": bool,
    "subject": str,
    "tags": list,
    "plain": str,
    "html": str,
    "markdown": str,
    "headers": dict,
    "priority": str,
    "attachments": list,
}
#: Likewise RawMessage.
RAW_MESSAGE = {
    "from": str,
    "to": list,
    "cc": list,
    "test_mode": bool,
    "tags": list,
    "raw": str,
}
PIXEL = Attachment("pixel.png", "image/png", "iVBORw0KGgo=", content_id="pixel")
BILL = Attachment("bill.pdf", "application/pdf", "JVBERi0xLjQK")


def envelope(**changes: object) -> Envelope:
    """Make an envelope that CloudMailin can carry whole, or one with changes."""
    fields: dict[str, object] = {
        "campaign": "welcome",
        "run": "20261120T100000Z-000000",
        "date": NOW,
        "kind": "transactional",
        "sender": "Sender Name <sender@harbour.example>",
        "html": True,
        "text": True,
    }
    return Envelope(**(fields | changes))  # type: ignore[arg-type]


MESSAGES = Messages(
    rows=[0, 1],
    addresses=["ann@a.example", "bob@b.example"],
    names=["Ann", ""],
    message_ids=["our-0", "our-1"],
    subjects=["Hello 😃", "Hello"],
    htmls=["<p>Ann</p>", "<p>Bob</p>"],
    texts=["Ann", "Bob"],
)


def sent(
    given_envelope: Envelope, messages: Messages = MESSAGES, **settings: object
) -> list[dict]:
    """Return the bodies that leave, one per message, read from their bytes."""
    provider = CloudMailin(given_envelope, batch_size=1, **settings)  # type: ignore[arg-type]
    bodies = []
    for place, part in enumerate(provider.encode(messages)):
        row, address = messages.rows[place], messages.addresses[place]
        request = provider.request(Batch("b1", [row], [address], [part]))
        assert (request.method, request.path) == ("POST", "/messages")
        assert request.headers["Content-Type"] == "application/json"
        bodies.append(json.loads(request.body))
    return bodies


def read(
    document: object, *, status: int = 202, headers: dict[str, str] | None = None
) -> Outcomes:
    """Let CloudMailin read an answer."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    provider = CloudMailin(envelope(), batch_size=1)
    batch = Batch("b1", [0], ["ann@a.example"], provider.encode(MESSAGES)[:1])
    return provider.outcomes(batch, Response(status, headers or {}, body, NOW))


# ---- JSON messages ----------------------------------------------------------------


def test_a_message_is_sent_as_the_document_says() -> None:
    """Every field of the schema Message has its name, form and value."""
    whole = envelope(
        tags=("api-tag", "cloudmailin-tag"),
        extras=Extras(
            reply_to="Help <help@harbour.example>",
            cc=("Carbon Copy <cc@harbour.example>", "second@harbour.example"),
            headers={"x-api-test": "Test"},
            attachments=(PIXEL, BILL),
        ),
    )
    body, _ = sent(whole, priority="standard", test_mode=True)
    assert body == {
        "from": "Sender Name <sender@harbour.example>",
        "to": ["Ann <ann@a.example>"],
        "cc": ["Carbon Copy <cc@harbour.example>", "second@harbour.example"],
        "test_mode": True,
        "subject": "Hello 😃",
        "tags": ["api-tag", "cloudmailin-tag", "20261120T100000Z-000000"],
        "plain": "Ann",
        "html": "<p>Ann</p>",
        "headers": {"x-api-test": "Test", "Reply-To": "Help <help@harbour.example>"},
        "priority": "standard",
        "attachments": [
            {
                "file_name": "pixel.png",
                "content": "iVBORw0KGgo=",
                "content_type": "image/png",
                "content_id": "pixel",
            },
            {
                "file_name": "bill.pdf",
                "content": "JVBERi0xLjQK",
                "content_type": "application/pdf",
            },
        ],
    }
    assert {name: type(value) for name, value in body.items()}.items() <= (
        MESSAGE.items()
    )


def test_what_a_message_does_not_have_is_not_sent() -> None:
    """Fields without a value are left out, but for the tag of the run."""
    _, body = sent(envelope(text=False), replace(MESSAGES, texts=None))
    assert body == {
        "from": "Sender Name <sender@harbour.example>",
        "to": ["bob@b.example"],
        "tags": ["20261120T100000Z-000000"],
        "subject": "Hello",
        "html": "<p>Bob</p>",
    }


def test_what_differs_by_message_is_sent_with_its_message() -> None:
    """Each message has its own copies, headers and files; nobody has another's."""
    extras = [Extras(cc=("boss@a.example",), headers={"X-A": "1"}), Extras()]
    first, second = sent(envelope(), replace(MESSAGES, extras=extras))
    assert (first["cc"], first["headers"]) == (["boss@a.example"], {"X-A": "1"})
    assert not {"cc", "headers"} & second.keys()


def test_a_message_without_html_has_its_text_alone() -> None:
    """Plain, html or markdown: one of them is enough."""
    body, _ = sent(envelope(html=False), replace(MESSAGES, htmls=None))
    assert body["plain"] == "Ann"
    assert not {"html", "markdown"} & body.keys()


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("", "ann@a.example"),
        ("Zoë Ångström", "Zoë Ångström <ann@a.example>"),
        ("Doe, Jane", '"Doe, Jane" <ann@a.example>'),
        ('The "Boss" \\ Co.', '"The \\"Boss\\" \\\\ Co." <ann@a.example>'),
        ("x@y.example>, <z@z.example", '"x@y.example>, <z@z.example" <ann@a.example>'),
    ],
)
def test_a_name_cannot_change_who_gets_the_message(name: str, to: str) -> None:
    """What a name may hold only in quotation marks stands in them."""
    body, _ = sent(envelope(), replace(MESSAGES, names=[name, ""]))
    assert [to] == body["to"]


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_any_text_arrives_as_it_is(text: str) -> None:
    """Quotes, breaks and other scripts are the same after JSON."""
    texts = [text, text]
    body, _ = sent(
        envelope(tags=(text,)),
        replace(MESSAGES, subjects=texts, htmls=texts, texts=texts),
    )
    assert [text] * 3 == [body[name] for name in ("subject", "html", "plain")]
    assert body["tags"][0] == text


def test_markdown_goes_out_as_it_is_where_that_is_asked_for() -> None:
    """With `markdown` its field replaces `html`; without, or without any, HTML goes."""
    marked = replace(MESSAGES, markdowns=["# Ann", "# Bob"])
    body, _ = sent(envelope(markdown=True), marked, markdown=True)
    assert (body["markdown"], "html" in body) == ("# Ann", False)
    for messages, asked in ((marked, False), (MESSAGES, True)):
        body, _ = sent(envelope(markdown=True), messages, markdown=asked)
        assert ("markdown" in body, body["html"]) == (False, "<p>Ann</p>")


def test_an_invitation_is_an_attachment() -> None:
    """JSON has no place for an invitation: it travels as invite.ics."""
    invite = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
    body, _ = sent(envelope(extras=Extras(calendar=invite)))
    (file,) = body["attachments"]
    assert file["file_name"] == "invite.ics"
    assert file["content_type"].startswith("text/calendar")
    assert invite == base64.b64decode(file["content"]).decode()


@pytest.mark.parametrize("priority", ["standard", "priority", "digest"])
def test_a_priority_is_a_field(priority: str) -> None:
    """Each of the three words is sent as it is."""
    body, _ = sent(envelope(), priority=priority)
    assert priority == body["priority"]


def test_two_messages_have_no_request() -> None:
    """There is no endpoint for more than one message."""
    provider = CloudMailin(envelope(), batch_size=1)
    parts = provider.encode(MESSAGES)
    with pytest.raises(ValueError, match="b1"):
        provider.request(Batch("b1", [0, 1], MESSAGES.addresses, parts))


# ---- raw messages -----------------------------------------------------------------


def test_a_raw_message_is_sent_as_the_document_says() -> None:
    """Fields of RawMessage alone; from, to and cc agree with the headers in it."""
    whole = envelope(
        tags=("api-tag",),
        extras=Extras(
            reply_to="Help <help@harbour.example>",
            cc=("Carbon Copy <cc@harbour.example>",),
            headers={"X-Api-Test": "Test"},
            attachments=(PIXEL, BILL),
            calendar="BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n",
        ),
    )
    body, _ = sent(whole, format="raw", priority="digest", test_mode=True)
    raw = body.pop("raw")
    assert body == {
        "from": "Sender Name <sender@harbour.example>",
        "to": ["Ann <ann@a.example>"],
        "cc": ["Carbon Copy <cc@harbour.example>"],
        "test_mode": True,
        "tags": ["api-tag", "20261120T100000Z-000000"],
    }
    assert body.keys() | {"raw"} == RAW_MESSAGE.keys()
    assert raw.isascii()
    assert "\n" not in raw.replace("\r\n", "")
    message = message_from_string(raw, policy=default)
    assert [body["from"], *body["to"], *body["cc"]] == [
        str(message[name]) for name in ("From", "To", "Cc")
    ]
    assert message["Subject"] == "Hello 😃"
    assert message["Reply-To"] == "Help <help@harbour.example>"
    assert message["X-Api-Test"] == "Test"
    assert message["x-cloudmta-class"] == "digest"
    assert message["Message-ID"] == "<our-0@harbour.example>"
    kinds = [part.get_content_type() for part in message.walk()]
    assert {"text/plain", "text/html", "text/calendar", "image/png"} < {*kinds}


def test_a_raw_message_of_its_own_has_the_priority_too() -> None:
    """What differs by message does not take the shared header away."""
    made = replace(MESSAGES, extras=[Extras(headers={"X-A": "1"}), Extras()])
    for body in sent(envelope(), made, format="raw", priority="digest"):
        assert message_from_string(body["raw"])["x-cloudmta-class"] == "digest"


def test_without_a_priority_a_raw_message_has_no_class() -> None:
    """The queue is CloudMailin's choice, as it is without the field in JSON."""
    body, _ = sent(envelope(), format="raw")
    assert "x-cloudmta-class" not in message_from_string(body["raw"])
    assert body.keys() == {"from", "to", "tags", "raw"}


def test_mailboxes_beyond_ascii_agree_with_the_headers() -> None:
    """Names as they are read, domains as they travel."""
    whole = envelope(sender='"Büro, Zentral" <hallo@büro.example>')
    people = replace(MESSAGES.at([0]), addresses=["ann@ñ.example"], names=["Zoë"])
    (body,) = sent(whole, people, format="raw")
    message = message_from_string(body["raw"], policy=default)
    assert [body["from"], *body["to"]] == [str(message["From"]), str(message["To"])]
    assert body["to"] == ["Zoë <ann@xn--ida.example>"]


# ---- credentials ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("username", "token"), [("user", TOKEN), (None, URL), ("user", URL)]
)
def test_the_username_is_in_the_path_and_the_token_in_the_header(
    username: str | None, token: str
) -> None:
    """Both forms of credentials say the same."""
    provider = CloudMailin(envelope(), batch_size=1, username=username)
    found = provider.credentials(token)
    assert found.headers == {"Authorization": f"Bearer {TOKEN}"}
    assert found.path == "/user"


def test_what_is_percent_encoded_in_a_url_is_decoded_once() -> None:
    """A token may have any character; a username cannot leave its part of the path."""
    provider = CloudMailin(envelope(), batch_size=1)
    found = provider.credentials("SMTP://a%2Fb:t%40%2f%2541@smtp.cloudmta.net:587")
    assert found.headers == {"Authorization": "Bearer t@/%41"}
    assert found.path == "/a%2Fb"


@pytest.mark.parametrize(
    ("username", "token"),
    [
        (None, TOKEN),
        ("", TOKEN),
        ("other", URL),
        (None, f"smtp://{TOKEN}@smtp.cloudmta.net"),
        (None, f"smtp://:{TOKEN}@smtp.cloudmta.net"),
        (None, f"smtp://user:/{TOKEN}@smtp.cloudmta.net"),
        (None, f"smtp://user:[{TOKEN}@smtp.cloudmta.net"),
        (None, f"smtp://user:{TOKEN}%0a@smtp.cloudmta.net"),
        (None, f"smtp://user:{TOKEN}%20@smtp.cloudmta.net"),
        (None, f"smtp://user:{TOKEN}%e2%84%aa@smtp.cloudmta.net"),
        (None, f"smtp://us\u2100er:{TOKEN}@smtp.cloudmta.net"),
        ("user", f"smtp://{TOKEN}:user@smtp.cloudmta.net"),
    ],
)
def test_credentials_that_cannot_be_used_are_told_without_the_token(
    username: str | None, token: str
) -> None:
    """A username that is missing or another one, or a broken URL: with what to do."""
    provider = CloudMailin(envelope(), batch_size=1, username=username)
    with pytest.raises(CampaignError) as caught:
        provider.credentials(token)
    assert caught.value.hint
    shown = f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    assert TOKEN not in shown


# ---- review -----------------------------------------------------------------------


def told(given_envelope: Envelope, **settings: object) -> list[tuple[str, str]]:
    """Return the findings of a review."""
    provider = CloudMailin(given_envelope, batch_size=1, **settings)  # type: ignore[arg-type]
    return [(found.severity, found.text) for found in provider.review()]


def test_what_it_can_carry_whole_is_not_remarked_on() -> None:
    """Names, tags, headers, copies, answers and files of all kinds pass."""
    extras = Extras(
        reply_to="help@harbour.example",
        cc=("cc@harbour.example",),
        headers={"List-Unsubscribe": "<https://harbour.example/u>"},
        attachments=(PIXEL, BILL),
    )
    given_envelope = envelope(
        tags=("a", "b"),
        named=True,
        extras=extras,
        header_names=("List-Unsubscribe",),
    )
    assert told(given_envelope) == []
    assert told(given_envelope, format="raw", priority="priority") == []


@pytest.mark.parametrize(
    ("changes", "settings", "severity", "word"),
    [
        ({"kind": "marketing"}, {}, "error", "transactional"),
        ({"kind": "marketing"}, {}, "warning", 'priority = "digest"'),
        ({"kind": "marketing"}, {"priority": "digest"}, "warning", "newsletters"),
        ({"extras": Extras(bcc=("b@b.example",))}, {}, "error", "bcc"),
        (
            {"extras": Extras(cc=("c@c.example",) * 20)},
            {},
            "error",
            "20 recipients",
        ),
        ({"extras": Extras(metadata={"a": "b"})}, {}, "warning", "metadata"),
        ({"extras": Extras(calendar="BEGIN:")}, {}, "warning", "invite.ics"),
        ({"track_opens": True}, {}, "warning", "track_opens"),
        (
            {"extras": Extras(attachments=(replace(BILL, name="Setup.EXE"),))},
            {},
            "error",
            "Setup.EXE",
        ),
        (
            {"extras": Extras(attachments=(replace(BILL, content="A" * 10**7),))},
            {},
            "error",
            "10,000,000",
        ),
        ({}, {"format": "mime"}, "error", "json, raw"),
        ({}, {"priority": "high"}, "error", "standard, priority, digest"),
        ({}, {"test_mode": True}, "warning", "mails nobody"),
        ({}, {"markdown": True}, "warning", "no body is written in Markdown"),
        ({"markdown": True}, {"markdown": True, "format": "raw"}, "warning", "HTML"),
    ],
)
def test_what_it_cannot_carry_is_told(
    changes: dict[str, object], settings: dict[str, object], severity: str, word: str
) -> None:
    """An error or a warning in plain words, and never a silent drop."""
    found = told(envelope(**changes), **settings)
    assert [one for one in found if one[0] == severity and word in one[1]]


def test_a_digest_is_no_error() -> None:
    """Marketing that is marked as a digest may be sent; what it is not is said."""
    found = told(envelope(kind="marketing"), priority="digest")
    assert [severity for severity, _ in found] == ["warning"]


def test_an_invitation_is_carried_by_a_raw_message() -> None:
    """Nothing is lost of it there, so nobody is warned."""
    assert told(envelope(extras=Extras(calendar="BEGIN:")), format="raw") == []


# ---- answers ----------------------------------------------------------------------


def test_202_with_an_id_is_accepted() -> None:
    """The answer of the document: the id is that of its events."""
    answer = {
        "id": ID,
        "from": "Sender Name <sender@harbour.example>",
        "to": ["Ann <ann@a.example>"],
        "cc": [],
        "test_mode": False,
        "subject": "Hello 😃",
        "tags": ["api-tag", "cloudmailin-tag"],
    }
    assert Outcomes([Status.ACCEPTED], [None], [None], [ID]) == read(answer)
    assert Outcomes([Status.ACCEPTED], [None], [None], [ID]) == read(answer, status=200)


def test_an_answer_in_test_mode_says_that_nobody_was_mailed() -> None:
    """An account for tests answers so, whether it was asked or not."""
    outcomes = read({"id": ID, "to": ["ann@a.example"], "test_mode": True})
    assert (outcomes.statuses, outcomes.provider_ids) == ([Status.ACCEPTED], [ID])
    assert outcomes.details == ["in test mode: nobody was mailed"]


@pytest.mark.parametrize("document", [b"", {"test_mode": False}])
def test_202_without_an_id_is_accepted_all_the_same(document: object) -> None:
    """The status alone says yes: the clients go by it."""
    assert Outcomes.uniform(1, Status.ACCEPTED) == read(document)


@pytest.mark.parametrize("document", ["queued", 7, b"<html>Accepted</html>"])
def test_202_of_something_else_is_unanswered(document: object) -> None:
    """What is no object is no answer of this API."""
    with pytest.raises(Unanswered):
        read(document)


@pytest.mark.parametrize(
    ("status", "error", "kind", "reason", "hint"),
    [
        (401, "Unauthorized", AccountRejected, "credentials", "SMTP account"),
        (403, "Forbidden", AccountRejected, "forbidden", "account"),
        (404, "Not Found", AccountRejected, "wrong_address", "username"),
        (422, "Body not found", BatchRejected, "refused", ""),
        (422, "To can't be blank", BatchRejected, "refused", ""),
        (400, "Bad Request", BatchRejected, "refused", ""),
        (
            422,
            "Sending domain harbour.example is not verified",
            AccountRejected,
            "sender_not_verified",
            "verify",
        ),
        (
            422,
            "Recipient ann@a.example is of a domain that cannot be verified",
            BatchRejected,
            "refused",
            "",
        ),
        (413, "Too Large", BatchRejected, "too_large", ""),
        (429, "Too Many Requests", Throttled, "throttled", ""),
        (500, "Internal Server Error", Unanswered, "server_error", ""),
        (502, "Bad Gateway", Unanswered, "server_error", ""),
    ],
)
def test_an_error_is_classified(
    status: int, error: str, kind: type[ProviderError], reason: str, hint: str
) -> None:
    """`{"status", "error"}`, in each status: its class, its words, and what to do."""
    with pytest.raises(kind) as caught:
        read({"status": status, "error": error}, status=status)
    assert (status, reason) == (caught.value.http_status, caught.value.reason)
    assert error in str(caught.value)
    assert hint in caught.value.hint


def test_429_waits_as_long_as_it_is_told_to() -> None:
    """Its form is not documented, so the common headers are understood."""
    with pytest.raises(Throttled) as caught:
        read({"status": 429}, status=429, headers={"retry-after": "12"})
    assert caught.value.retry_after == 12.0


def test_a_refusal_in_a_success_is_a_refusal() -> None:
    """An error in the body outweighs the status."""
    with pytest.raises(BatchRejected):
        read({"status": 422, "error": "Body not found"})
