"""The MailerLogic dialect, over real sockets."""

import base64
import re
import time
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import orjson
import pytest
import trio

from engine.sandbox import Faults, Sandbox, serve
from engine.sandbox.store import Happening

SEND, BATCH = "/api/v1/send", "/api/v1/batch"
EVENTS, WEBHOOKS = "/api/v1/events", "/api/v1/customer/webhooks"
MAIL = {
    "from": "hello@mail.harbour.example",
    "to": "ann@x.example",
    "subject": "Hello",
    "html": "<p>Hello</p>",
}
FILE = {
    "filename": "invoice.pdf",
    "content": base64.b64encode(b"%PDF-1.7").decode(),
    "contentType": "application/pdf",
}
CALENDAR = (
    "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Harbour//Calendar//EN\nMETHOD:REQUEST\n"
    "BEGIN:VEVENT\nUID:meeting-1@harbour.example\nDTSTAMP:20260127T120000Z\n"
    "DTSTART:20260128T140000Z\nSUMMARY:A reading\n  in the harbour\n"
    'ATTENDEE;CN="Ann: reader";RSVP=TRUE:mailto:ann@x.example\n'
    "BEGIN:VALARM\nTRIGGER:-PT15M\nACTION:DISPLAY\nEND:VALARM\n"
    "END:VEVENT\nEND:VCALENDAR\n"
)


@pytest.fixture
async def sandbox(nursery: trio.Nursery) -> Sandbox:
    """A sandbox without faults."""
    return await nursery.start(serve)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its MailerLogic API with a key and a token."""
    async with httpx.AsyncClient(
        base_url=sandbox.base_url("mailerlogic"),
        headers={"x-api-key": "ml_live_key", "authorization": "Bearer token"},
        verify=False,
        trust_env=False,
        timeout=20,
    ) as client:
        yield client


def mails(*addresses: str) -> dict[str, object]:
    """Write a batch of one mail to each address."""
    return {"emails": [MAIL | {"to": address} for address in addresses]}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """Read status and error of a refusal in MailerLogic's form."""
    content = answer.json()
    assert {"error", "message"} <= set(content) <= {"error", "message", "reason"}
    assert content["message"]
    return answer.status_code, content["error"]


async def test_one_mail_is_queued_with_both_ids(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """POST /send takes every documented field and answers every documented one."""
    mail = MAIL | {
        "domain": "mail.harbour.example",
        "from": "Harbour Books <hello@mail.harbour.example>",
        "reply_to": "Help <help@harbour.example>",
        "cc": ["cat@x.example"],
        "bcc": [],
        "text": "Hello",
        "track_opens": True,
        "track_clicks": False,
        "headers": {"X-Order-ID": "7", "Reply-To": "help@harbour.example"},
        "tag": "welcome-series",
        "stream_type": "broadcast",
        "metadata": {"message_id": "k1", "tier": "premium", "n": 1},
        "attachments": [FILE, FILE | {"encoding": "base64"}],
        "icalEvent": CALENDAR,
    }
    answer = await client.post(SEND, json=mail)
    content = answer.json()
    assert answer.status_code == 200
    email_id = content["email_id"]
    assert str(uuid.UUID(email_id)) == email_id
    submitted = datetime.fromisoformat(content["submitted_at"])
    assert abs(datetime.now(UTC) - submitted) < timedelta(seconds=5)
    assert content == {
        "to": "ann@x.example",
        "submitted_at": content["submitted_at"],
        "message_id": f"<{email_id}@mail.harbour.example>",
        "email_id": email_id,
        "status": "queued",
        "message": "Email queued for delivery",
    }
    (kept,) = sandbox.store.all("mailerlogic")
    assert ("ann@x.example", email_id, "k1") == (kept.to, kept.message_id, kept.key)
    assert mail == sandbox.store.content(kept)


async def test_sender_and_domain_complete_each_other(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Without a domain it is the sender's, without either the account's first."""
    mail = {name: value for name, value in MAIL.items() if name != "from"}
    cases = [
        (mail, "@mail.sandbox.example>"),
        (mail | {"domain": "mail.harbour.example"}, "@mail.harbour.example>"),
        (mail | {"from": "a@harbour.example"}, "@harbour.example>"),
        (
            mail | {"from": "a@news.harbour.example", "domain": "Harbour.example"},
            "@harbour.example>",
        ),
    ]
    for body, ending in cases:
        answer = await client.post(SEND, json=body)
        assert answer.json()["message_id"].endswith(ending)
    strange = mail | {"from": "a@harbour.example", "domain": "x.example"}
    refused = await client.post(SEND, json=strange)
    assert (400, "validation_error") == error_of(refused)
    assert len(cases) == sandbox.store.accepted_count
    assert [None] * len(cases) == [kept.key for kept in sandbox.store.all()]


@pytest.mark.parametrize("field", ["to", "subject"])
async def test_a_missing_required_field_is_refused(
    client: httpx.AsyncClient, field: str
) -> None:
    """A mail without a required field is a 400 that names the field."""
    mail = {name: value for name, value in MAIL.items() if name != field}
    answer = await client.post(SEND, json=mail)
    assert (400, "validation_error") == error_of(answer)
    assert field in answer.json()["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("domain", "harbour"),
        ("domain", 5),
        ("from", "Harbour Books"),
        ("from", ["a@x.example"]),
        ("to", ["ann@x.example"]),
        ("to", "Ann <ann@x.example>"),
        ("to", "ann@x.example,bob@x.example"),
        ("to", None),
        ("reply_to", "help"),
        ("cc", "cat@x.example"),
        ("cc", ["cat"]),
        ("bcc", [5]),
        ("subject", ""),
        ("subject", "one\r\nBcc: two"),
        ("html", None),
        ("html", ""),
        ("text", 5),
        ("track_opens", "yes"),
        ("track_clicks", 1),
        ("headers", []),
        ("headers", {"X-A": 5}),
        ("headers", {"X A": "a"}),
        ("headers", {"X-A": "a\r\nBcc: b"}),
        ("tag", ["welcome"]),
        ("tag", ""),
        ("stream_type", "bulk"),
        ("stream_type", ["shared"]),
        ("metadata", ["k1"]),
        ("metadata", "k1"),
        ("attachments", FILE),
        ("attachments", ["a.pdf"]),
        ("attachments", [FILE | {"filename": ""}]),
        ("attachments", [FILE | {"content": "no base64"}]),
        ("attachments", [FILE | {"content": ""}]),
        ("attachments", [FILE | {"contentType": "pdf"}]),
        ("attachments", [FILE | {"encoding": "hex"}]),
        ("attachments", [{"filename": "a", "content": "YQ=="}]),
        ("icalEvent", 5),
        ("icalEvent", ""),
        ("icalEvent", "tomorrow at noon"),
        ("icalEvent", CALENDAR.replace("VERSION:2.0\n", "")),
        ("icalEvent", CALENDAR.replace("PRODID:", "X-PRODID:")),
        ("icalEvent", CALENDAR.replace("UID:", "X-UID:")),
        ("icalEvent", CALENDAR.replace("DTSTAMP:", "X-DTSTAMP:")),
        ("icalEvent", CALENDAR.replace("END:VEVENT\n", "")),
        ("icalEvent", CALENDAR.replace("END:VALARM", "END:VTODO")),
        ("icalEvent", CALENDAR.replace("END:VCALENDAR\n", "")),
        ("icalEvent", CALENDAR.replace("\n  in", "\nin")),
        ("icalEvent", f"METHOD:REQUEST\n{CALENDAR}"),
        ("icalEvent", f"{CALENDAR}END:VCALENDAR\n"),
    ],
)
async def test_a_field_of_the_wrong_form_is_refused(
    sandbox: Sandbox, client: httpx.AsyncClient, field: str, value: object
) -> None:
    """Each documented field must have its documented type."""
    answer = await client.post(SEND, json=MAIL | {field: value})
    assert (400, "validation_error") == error_of(answer)
    words = answer.json()["message"]
    assert field in words or field == "html"
    assert sandbox.store.accepted_count == 0


async def test_a_calendar_may_have_network_line_ends(client: httpx.AsyncClient) -> None:
    """CRLF, as RFC 5545 has it, is as good as the line feeds of the document."""
    mail = MAIL | {"icalEvent": CALENDAR.replace("\n", "\r\n")}
    assert (await client.post(SEND, json=mail)).status_code == 200


@pytest.mark.slow
async def test_attachments_have_limits_one_by_one_and_together(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """10 MB a file and 25 MB together with the html are taken, a byte more is not."""

    def mail(*sizes: int, html: int = 1) -> dict[str, object]:
        content = [base64.b64encode(bytes(size)).decode() for size in sizes]
        files = [FILE | {"content": each} for each in content]
        return MAIL | {"attachments": files, "html": "x" * html}

    ten = 10 * 10**6
    assert (await client.post(SEND, json=mail(ten))).status_code == 200
    assert error_of(await client.post(SEND, json=mail(ten + 1)))[0] == 400
    most = mail(ten, ten, html=ten // 2)
    assert (await client.post(SEND, json=most)).status_code == 200
    more = most | {"html": "x" * (ten // 2 + 1)}
    assert error_of(await client.post(SEND, json=more))[0] == 400
    assert sandbox.store.accepted_count == 2


async def test_unknown_fields_are_refused_only_when_strict(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """An undocumented field passes, unless the fault `strict` is set."""
    assert (await client.post(SEND, json=MAIL | {"tags": []})).status_code == 200
    sandbox.faults = Faults(strict=True)
    assert (await client.post(SEND, json=MAIL)).status_code == 200
    assert error_of(await client.post(SEND, json=MAIL | {"tags": []}))[0] == 400
    batch = mails("a@x.example") | {"tags": []}
    assert error_of(await client.post(BATCH, json=batch))[0] == 400


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"to": ', "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
        (b"{}", "text/plain"),
    ],
)
@pytest.mark.parametrize("path", [SEND, BATCH, WEBHOOKS])
async def test_a_body_that_is_no_json_object_is_refused(
    client: httpx.AsyncClient, path: str, body: bytes, content_type: str
) -> None:
    """Malformed JSON, another type, or another Content-Type is a 400."""
    headers = {"content-type": content_type}
    answer = await client.post(path, content=body, headers=headers)
    assert (400, "validation_error") == error_of(answer)


async def test_a_key_is_required_to_send_and_a_token_to_ask(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """X-API-Key opens what sends, a bearer token the events; else it is a 401."""
    email_id = (await client.post(SEND, json=MAIL)).json()["email_id"]
    for path in (SEND, BATCH, WEBHOOKS):
        answer = await client.post(path, json=MAIL, headers={"x-api-key": ""})
        assert (401, "unauthorized") == error_of(answer)
    for path in (EVENTS, f"/api/v1/emails/{email_id}/events"):
        for wrong in ("", "Bearer", "Basic dG9rZW4="):
            answer = await client.get(path, headers={"authorization": wrong})
            assert (401, "unauthorized") == error_of(answer)
    assert sandbox.store.accepted_count == 1


async def test_an_unverified_domain_is_forbidden(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Mail from an unverified domain or address is a 403 with a reason."""
    bare = {name: value for name, value in MAIL.items() if name != "from"}
    sandbox.faults = Faults(unverified="boss@harbour.example")
    for mail in (
        bare | {"domain": "unverified.example"},
        bare | {"from": "a@unverified.example"},
        bare | {"from": "Boss <Boss@harbour.example>"},
    ):
        answer = await client.post(SEND, json=mail)
        assert (403, "forbidden") == error_of(answer)
        assert answer.json()["reason"] == "domain_not_verified"
    assert sandbox.store.accepted_count == 0


async def test_an_unknown_domain_is_not_found(client: httpx.AsyncClient) -> None:
    """Mail from a domain that the account does not have is a 404."""
    mail = MAIL | {"from": "a@unknown.example"}
    assert (404, "not_found") == error_of(await client.post(SEND, json=mail))


async def test_a_refused_recipient_is_told(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Mail to `reject...` is a 400."""
    answer = await client.post(SEND, json=MAIL | {"to": "reject.1@x.example"})
    assert (400, "validation_error") == error_of(answer)
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize(
    ("faults", "status", "error"),
    [
        (Faults(throttle_first=1, retry_after=7), 429, "rate_limit_exceeded"),
        (Faults(error_before_every=1), 500, "internal_error"),
        (Faults(credentials="refuse"), 401, "unauthorized"),
    ],
)
async def test_faults_speak_as_mailerlogic_does(
    client: httpx.AsyncClient,
    sandbox: Sandbox,
    faults: Faults,
    status: int,
    error: str,
) -> None:
    """A fault is answered with error and message."""
    sandbox.faults = faults
    assert (status, error) == error_of(await client.post(SEND, json=MAIL))


async def test_every_answer_states_the_rate(client: httpx.AsyncClient) -> None:
    """X-RateLimit-* stand on successes and refusals alike; Reset is an epoch second."""
    for answer in (
        await client.post(SEND, json=MAIL),
        await client.post(SEND, json={}),
        await client.get(EVENTS),
        await client.get("/nowhere"),
    ):
        headers = answer.headers
        assert headers["x-ratelimit-limit"] == "600"
        assert headers["x-ratelimit-remaining"] == "599"
        wait = int(headers["x-ratelimit-reset"]) - time.time()
        assert 0 < wait <= 60


async def test_other_paths_and_methods_are_refused(client: httpx.AsyncClient) -> None:
    """What there is not is 404, the wrong method 405 with Allow."""
    for path in ("/", "/api/v1", "/api/batch", "/api/v1/send/", "/api/v1/bulk-send"):
        assert (404, "not_found") == error_of(await client.post(path, json=MAIL))
    for method, path, allowed in [
        ("GET", SEND, "POST"),
        ("PUT", BATCH, "POST"),
        ("GET", WEBHOOKS, "POST"),
        ("POST", EVENTS, "GET"),
        ("POST", "/api/v1/emails/1/events", "GET"),
    ]:
        answer = await client.request(method, path)
        assert (405, allowed) == (answer.status_code, answer.headers["allow"])


@pytest.mark.parametrize("emails", [[], "x", None, [MAIL] * 501])
async def test_a_batch_has_one_to_five_hundred_emails(
    sandbox: Sandbox, client: httpx.AsyncClient, emails: object
) -> None:
    """A batch that is empty, no array, or over the limit is a 400."""
    answer = await client.post(BATCH, json={"emails": emails})
    assert (400, "validation_error") == error_of(answer)
    assert sandbox.store.accepted_count == 0


async def test_a_full_batch_is_queued_in_order(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Five hundred emails are queued, with ids in the order of the request."""
    addresses = [f"p{i}@x.example" for i in range(500)]
    content = (await client.post(BATCH, json=mails(*addresses))).json()
    assert (500, 500, 0) == tuple(content[n] for n in ("total", "queued", "failed"))
    rows = content["results"]
    assert addresses == [row["to"] for row in rows]
    ids = [kept.message_id for kept in sandbox.store.all()]
    assert ids == [row["email_id"] for row in rows]
    assert len(set(ids)) == 500


async def test_a_bad_email_does_not_touch_the_others(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Each email is judged by itself, with the error that it would have had alone."""
    keyed = MAIL | {"metadata": {"message_id": "k1"}}
    strange = MAIL | {"from": "a@unverified.example"}
    emails = [keyed, {}, 5, strange, MAIL | {"to": "reject@x.example"}, MAIL]
    content = (await client.post(BATCH, json={"emails": emails})).json()
    assert (6, 2, 4) == tuple(content[n] for n in ("total", "queued", "failed"))
    rows = content["results"]
    statuses = ["queued", *["failed"] * 4, "queued"]
    assert statuses == [row["status"] for row in rows]
    assert ["validation_error"] * 2 == [row["error"] for row in rows[1:3]]
    assert ("forbidden", "domain_not_verified") == (rows[3]["error"], rows[3]["reason"])
    assert [None, None, "ann@x.example", "reject@x.example"] == [
        row["to"] for row in rows[1:5]
    ]
    assert ["k1", None] == [kept.key for kept in sandbox.store.all()]


async def test_atomic_refuses_the_whole_batch(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """With `atomic` one bad email makes the batch a 400 with its index."""
    sandbox.faults = Faults(atomic=True)
    answer = await client.post(BATCH, json=mails("a@x.example", "nonsense"))
    assert (400, "validation_error") == error_of(answer)
    assert "[1]" in answer.json()["message"]
    assert sandbox.store.accepted_count == 0


THREE = ("a@x.example", "reject@x.example", "c@x.example")


async def post_in_shape(
    sandbox: Sandbox, client: httpx.AsyncClient, shape: str
) -> tuple[httpx.Response, dict[str, str]]:
    """Post three, the second refused; return the answer and the ids by address."""
    sandbox.faults = Faults(shape=shape)
    answer = await client.post(BATCH, json=mails(*THREE))
    return answer, {kept.to: kept.message_id for kept in sandbox.store.all()}


TOTALS = {"total": 3, "queued": 2, "failed": 1}


@pytest.mark.parametrize("shape", ["results", "messages", "data", "emails", "bare"])
async def test_positional_shapes_tell_of_each_email(
    sandbox: Sandbox, client: httpx.AsyncClient, shape: str
) -> None:
    """A positional answer has one object per email, in order, refusals included."""
    answer, ids = await post_in_shape(sandbox, client, shape)
    content = answer.json()
    rows = content if shape == "bare" else content.pop(shape)
    assert shape == "bare" or content == TOTALS
    assert list(THREE) == [row["to"] for row in rows]
    assert ["queued", "failed", "queued"] == [row["status"] for row in rows]
    assert ids == {row["to"]: row["email_id"] for row in rows if "email_id" in row}


async def test_keyed_and_indexed_answers_are_in_another_order(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`keyed` and `indexed` can be matched only by `to` and by `index`."""
    answer, ids = await post_in_shape(sandbox, client, "keyed")
    rows = answer.json()["results"]
    assert list(THREE) != [row["to"] for row in rows]
    assert ids == {row["to"]: row["email_id"] for row in rows if "email_id" in row}
    sandbox.reset()
    answer, ids = await post_in_shape(sandbox, client, "indexed")
    rows = answer.json()["results"]
    assert [0, 1, 2] != [row["index"] for row in rows]
    assert all("to" not in row for row in rows)
    found = {THREE[r["index"]]: r["email_id"] for r in rows if "email_id" in r}
    assert ids == found


async def test_two_emails_are_never_answered_in_their_order(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A shuffle is another order even where chance would have kept it."""
    sandbox.faults = Faults(shape="indexed")
    for _ in range(8):
        answer = await client.post(BATCH, json=mails("a@x.example", "b@x.example"))
        assert [1, 0] == [row["index"] for row in answer.json()["results"]]


async def test_other_shapes_say_less(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """The shapes without rows have exactly what they are named for."""
    answer, _ = await post_in_shape(sandbox, client, "success")
    assert answer.json() == TOTALS
    answer, _ = await post_in_shape(sandbox, client, "errors")
    (error,) = answer.json()["errors"]
    assert (1, "reject@x.example") == (error["index"], error["to"])
    assert (set(answer.json()), error["error"]) == (
        {*TOTALS, "errors"},
        "validation_error",
    )
    answer, _ = await post_in_shape(sandbox, client, "batch_id")
    assert set(answer.json()) == {*TOTALS, "batch_id"}
    sandbox.reset()
    answer, ids = await post_in_shape(sandbox, client, "ids")
    assert list(ids.values()) == answer.json()
    sandbox.reset()
    answer, ids = await post_in_shape(sandbox, client, "message_ids")
    wanted = [f"<{one}@mail.harbour.example>" for one in ids.values()]
    assert TOTALS | {"message_ids": wanted} == answer.json()
    answer, _ = await post_in_shape(sandbox, client, "accepted_empty")
    assert (answer.status_code, answer.content) == (202, b"")
    assert sandbox.store.accepted_count == 4


@pytest.mark.parametrize(("shape", "length"), [("short", 2), ("long", 4)])
async def test_lengths_can_mismatch(
    sandbox: Sandbox, client: httpx.AsyncClient, shape: str, length: int
) -> None:
    """`short` and `long` answer with one object too few or too many."""
    answer, _ = await post_in_shape(sandbox, client, shape)
    assert length == len(answer.json()["results"])
    assert TOTALS.items() <= answer.json().items()


async def send(client: httpx.AsyncClient, to: str, **more: object) -> str:
    """Send a mail and return its id."""
    answer = await client.post(SEND, json=MAIL | {"to": to} | more)
    return answer.json()["email_id"]


async def test_the_events_of_an_email_can_be_asked_for(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """GET /emails/{id}/events has its events, in order, and a timeline of them."""
    sandbox.store.pace = 0
    email_id = await send(client, "click@x.example")
    await send(client, "ann@x.example")
    content = (await client.get(f"/api/v1/emails/{email_id}/events")).json()
    words = ["queued", "sent", "delivered", "opened", "clicked"]
    assert {"email_id", "events", "timeline"} == set(content)
    assert email_id == content["email_id"]
    assert words == [event["event_type"] for event in content["timeline"]]
    assert words == [event["event_type"] for event in content["events"]]
    event = content["events"][-1]
    assert {
        "email_id": email_id,
        "event_type": "clicked",
        "status": "clicked",
        "recipient": "click@x.example",
        "from": "hello@mail.harbour.example",
    }.items() <= event.items()
    assert event["event_data"]["url"]
    assert {"id", "customer_id", "timestamp", "created_at"} <= set(event)
    assert datetime.fromisoformat(event["timestamp"]).tzinfo is not None
    answer = await client.get(f"/api/v1/emails/{uuid.uuid4()}/events")
    assert (404, "not_found") == error_of(answer)


async def test_events_that_are_yet_to_come_are_not_told(
    client: httpx.AsyncClient,
) -> None:
    """Right after sending an email is queued and no more."""
    email_id = await send(client, "slow@x.example")
    content = (await client.get(f"/api/v1/emails/{email_id}/events")).json()
    assert ["queued"] == [event["event_type"] for event in content["events"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("type=delivered", {("ann", "delivered")}),
        ("recipient=ann@x.example&type=sent", {("ann", "sent")}),
        ("from=news@harbour.example&type=queued", {("bounce", "queued")}),
        ("from_timestamp=2999-01-01T00:00:00Z", set()),
        ("to_timestamp=2020-01-01T00:00:00", set()),
        ("from_timestamp=2020-01-01&type=bounced", {("bounce", "bounced")}),
        ("to_timestamp=2999-01-01&type=bounced", {("bounce", "bounced")}),
        ("email_id=unknown", set()),
    ],
)
async def test_events_can_be_filtered(
    sandbox: Sandbox,
    client: httpx.AsyncClient,
    query: str,
    found: set[tuple[str, str]],
) -> None:
    """Each documented filter leaves what it says."""
    sandbox.store.pace = 0
    await send(client, "ann@x.example")
    await send(client, "bounce@x.example", **{"from": "News <news@harbour.example>"})
    content = (await client.get(f"{EVENTS}?{query}")).json()
    events = content["events"]
    assert found == {(e["recipient"].split("@")[0], e["event_type"]) for e in events}
    assert len(found) == content["pagination"]["total"]


async def test_events_of_one_email_and_of_this_provider_alone(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`email_id` leaves one email; other providers' mail is never told."""
    sandbox.store.pace = 0
    email_id = await send(client, "ann@x.example")
    await send(client, "bob@x.example")
    url = f"{sandbox.base_url('cloudflare')}/accounts/a1/email/sending/send"
    assert (await client.post(url, json=MAIL)).status_code == 200
    content = (await client.get(EVENTS, params={"email_id": email_id})).json()
    assert {email_id} == {event["email_id"] for event in content["events"]}
    everything = (await client.get(EVENTS)).json()
    assert everything["pagination"]["total"] == 6


async def test_events_come_in_pages_newest_first(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Pages tell their number and the totals, and repeat nothing."""
    sandbox.store.pace = 0
    for i in range(5):
        await send(client, f"p{i}@x.example")
    seen: list[str] = []
    for page, size in [(1, 4), (2, 4), (3, 4), (4, 3), (5, 0)]:
        answer = await client.get(EVENTS, params={"page": page, "limit": 4})
        content = answer.json()
        pagination = {"page": page, "limit": 4, "total": 15, "pages": 4}
        assert (pagination, size) == (content["pagination"], len(content["events"]))
        seen += [event["id"] for event in content["events"]]
    assert len(set(seen)) == 15
    content = (await client.get(EVENTS)).json()
    assert content["pagination"] == {"page": 1, "limit": 50, "total": 15, "pages": 1}
    moments = [event["timestamp"] for event in content["events"]]
    assert sorted(moments, reverse=True) == moments


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=x",
        f"page={'9' * 5000}",
        "limit=0",
        "limit=101",
        "type=lost",
        "from_timestamp=noon",
    ],
)
async def test_a_wrong_question_is_refused(
    client: httpx.AsyncClient, query: str
) -> None:
    """Pages, limits, types and moments have their forms."""
    answer = await client.get(f"{EVENTS}?{query}")
    assert (400, "validation_error") == error_of(answer)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("no-events", "event_api_disabled"),
        ("no-tracking", "event_tracking_disabled"),
    ],
)
async def test_events_are_a_matter_of_the_plan(
    client: httpx.AsyncClient, token: str, reason: str
) -> None:
    """An account without events is a 403 with one of two reasons."""
    answer = await client.get(EVENTS, headers={"authorization": f"Bearer {token}"})
    assert (403, "forbidden") == error_of(answer)
    assert reason == answer.json()["reason"]


async def test_a_webhook_can_be_registered(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """POST /customer/webhooks keeps a registration and completes it."""
    body = {
        "url": "https://hooks.harbour.example/in",
        "events": ["email.delivered", "email.bounced"],
        "name": "results",
        "description": "of campaigns",
        "domain_ids": [str(uuid.uuid4())],
        "is_active": False,
    }
    answer = await client.post(WEBHOOKS, json=body)
    assert answer.status_code == 201
    assert body.items() <= answer.json().items()
    least = (await client.post(WEBHOOKS, json={"url": "http://127.0.0.1/x"})).json()
    assert (8, None, True) == (
        len(least["events"]),
        least["domain_ids"],
        least["is_active"],
    )
    assert [answer.json(), least] == sandbox.dialect("mailerlogic").webhooks
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize(
    "change",
    [
        {"url": None},
        {"url": "hooks.example"},
        {"url": "http://[hooks.example"},
        {"url": "ftp://hooks.example"},
        {"events": "email.sent"},
        {"events": ["delivered"]},
        {"name": 5},
        {"description": []},
        {"domain_ids": "all"},
        {"domain_ids": ["one"]},
        {"is_active": "yes"},
    ],
)
async def test_a_wrong_registration_is_refused(
    client: httpx.AsyncClient, change: dict[str, object]
) -> None:
    """Each field of a registration has its type."""
    body = {"url": "https://hooks.harbour.example/in"} | change
    answer = await client.post(WEBHOOKS, json=body)
    assert (400, "validation_error") == error_of(answer)


async def ask_posts(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> list[dict[str, object]]:
    """Ask the sandbox for all that webhooks would post."""
    url = f"http://127.0.0.1:{sandbox.port}/_sandbox/events?provider=mailerlogic"
    answer = await client.get(url)
    return [orjson.loads(line) for line in answer.content.splitlines()]


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("ann@x.example", ["sent", "delivered"]),
        ("bounce@x.example", ["sent", "bounced"]),
        ("soft@x.example", ["sent", "delivered"]),
        ("open@x.example", ["sent", "delivered", "opened"]),
        ("click@x.example", ["sent", "delivered", "opened", "clicked"]),
        ("unsubscribe@x.example", ["sent", "delivered", "opened", "unsubscribed"]),
        ("complain@x.example", ["sent", "delivered", "complained"]),
        ("suppress@x.example", ["failed"]),
    ],
)
async def test_every_fate_has_its_posts(
    sandbox: Sandbox, client: httpx.AsyncClient, to: str, words: list[str]
) -> None:
    """Webhooks post each of the eight kinds, always with metadata and headers."""
    metadata = {"message_id": "k1", "tier": "premium"}
    headers = {"X-Order-ID": "7"}
    email_id = await send(client, to, metadata=metadata, headers=headers, tag="spring")
    posts = await ask_posts(sandbox, client)
    assert [f"email.{word}" for word in words] == [post["event"] for post in posts]
    for post in posts:
        assert {"event", "timestamp", "data"} == set(post)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", post["timestamp"])
        assert {
            "email_id": email_id,
            "message_id": f"<{email_id}@mail.harbour.example>",
            "recipient": to,
            "from": "hello@mail.harbour.example",
            "subject": "Hello",
            "tag": "spring",
            "metadata": metadata,
            "headers": headers,
        }.items() <= post["data"].items()


async def test_a_post_of_a_forgotten_email_has_what_is_known(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Of an email that was not kept whole, a post has ids and recipient alone."""
    await send(client, "ann@x.example", metadata={"message_id": "k1", "n": 1})
    (kept,) = sandbox.store.all()
    happening = Happening("delivered", datetime.now(UTC), kept, None)
    post = orjson.loads(sandbox.dialect("mailerlogic").post(happening) or b"")
    assert post["data"] == {
        "email_id": kept.message_id,
        "recipient": "ann@x.example",
        "metadata": {"message_id": "k1"},
    }
