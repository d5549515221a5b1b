"""The Cloudflare dialect, over real sockets."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP

import httpx
import orjson
import pytest
import trio

from engine.sandbox import Faults, Sandbox, serve
from engine.sandbox.store import Happening

RAW, BUILT, LIST = "send_raw", "send", "suppressions"
BUILT_MAIL = {
    "from": "hello@harbour.example",
    "to": "ann@x.example",
    "subject": "Hello",
    "html": "<p>Hello</p>",
}
FILE = {
    "content": base64.b64encode(b"%PDF-1.7").decode(),
    "filename": "invoice.pdf",
    "type": "application/pdf",
    "disposition": "attachment",
}
NAMES = {
    10000: "not_found",
    10001: "invalid_request_schema",
    10002: "internal_server",
    10003: "not_implemented",
    10004: "throttled",
    10100: "authentication.upstream",
    10101: "authentication.unauthorized",
    10102: "authentication.forbidden",
    10103: "authentication.bad_token_type",
    10105: "authentication.not_entitled",
    10200: "email.too_big",
    10201: "email.no_content_length",
    10202: "email.invalid",
    10203: "email.sending_disabled",
}


def mime(**headers: str) -> str:
    """Write a message of the standard library, with these headers."""
    message = EmailMessage(policy=SMTP)
    for name, value in {
        "From": "Harbour Books <hello@harbour.example>",
        "To": "ann@x.example",
        "Subject": "Café",
        "Message-ID": "<k1@harbour.example>",
        **headers,
    }.items():
        message[name] = value
    message.set_content("Grüße\n", cte="quoted-printable")
    message.add_alternative("<p>Grüße</p>", subtype="html", cte="base64")
    message.add_attachment(b"\x00\xff" * 99, maintype="image", subtype="png")
    return message.as_bytes().decode("ascii")


PLAIN = (
    "From: hello@harbour.example\r\nTo: ann@x.example\r\nSubject: Hello\r\n"
    "Content-Type: text/plain\r\n\r\nHello\r\n"
)


def raw(*recipients: str, message: str = PLAIN) -> dict[str, object]:
    """Write the body of `send_raw`."""
    return {
        "from": "hello@harbour.example",
        "mime_message": message,
        "recipients": list(recipients) or ["ann@x.example"],
    }


@pytest.fixture
async def sandbox(nursery: trio.Nursery) -> Sandbox:
    """A sandbox without faults."""
    return await nursery.start(serve)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one account's Email Sending with a token."""
    base = sandbox.base_url("cloudflare")
    async with httpx.AsyncClient(
        base_url=f"{base}/accounts/a1/email/sending",
        headers={"authorization": "Bearer token"},
        verify=False,
        trust_env=False,
    ) as client:
        yield client


def result_of(answer: httpx.Response) -> dict[str, object]:
    """Read an answer that must be a success in Cloudflare's envelope."""
    content = answer.json()
    assert (200, True) == (answer.status_code, content["success"])
    assert ([], []) == (content["errors"], content["messages"])
    return content["result"]


def error_of(answer: httpx.Response) -> tuple[int, int, str]:
    """Read status, code and message of a refusal in Cloudflare's envelope."""
    content = answer.json()
    assert (False, None) == (content["success"], content["result"])
    assert content["messages"][0]["message"]
    (error,) = content["errors"]
    return answer.status_code, error["code"], error["message"]


def is_refused(answer: httpx.Response, status: int, code: int) -> bool:
    """Say whether an answer is the documented error of this code."""
    return error_of(answer) == (status, code, f"email.sending.error.{NAMES[code]}")


async def test_a_raw_message_is_delivered_with_an_id(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """POST send_raw takes MIME of the standard library and tells of each recipient."""
    body = raw("ann@x.example", "bob@x.example", message=mime())
    answer = await client.post(RAW, json=body)
    result = result_of(answer)
    message_id = result.pop("message_id")
    assert {
        "delivered": ["ann@x.example", "bob@x.example"],
        "permanent_bounces": [],
        "queued": [],
        "suppressed_recipients": [],
    } == result
    info = {"count": 2, "per_page": 2, "total_count": 2}
    assert info == answer.json()["result_info"]
    (kept,) = sandbox.store.all("cloudflare")
    assert ("ann@x.example", message_id) == (kept.to, kept.message_id)
    assert body | {"account_id": "a1"} == sandbox.store.content(kept)


async def test_the_message_id_of_the_mime_is_the_clients_own(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """The key of a raw message is its Message-ID without brackets, if it has one."""
    result_of(await client.post(RAW, json=raw(message=mime())))
    result_of(await client.post(RAW, json=raw()))
    keys = [kept.key for kept in sandbox.store.all()]
    assert ["k1@harbour.example", None] == keys


async def test_recipients_meet_their_ends_within_one_answer(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Bounces, queues and suppressions stand in lists of a 200."""
    to = [
        "suppress@x.example",
        "bounce.1@x.example",
        "soft@x.example",
        "slow@x.example",
    ]
    result = result_of(await client.post(RAW, json=raw(*to, "ann@x.example")))
    assert ["suppress@x.example"] == result["suppressed_recipients"]
    assert ["bounce.1@x.example"] == result["permanent_bounces"]
    assert ["soft@x.example", "slow@x.example"] == result["queued"]
    assert ["ann@x.example"] == result["delivered"]
    (kept,) = sandbox.store.all()
    assert kept.to == "bounce.1@x.example"


async def test_a_message_to_nobody_but_suppressed_is_not_accepted(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Nothing is kept of a message all of whose recipients are suppressed."""
    result = result_of(await client.post(RAW, json=raw("Suppress@x.example")))
    assert ["Suppress@x.example"] == result["suppressed_recipients"]
    assert sandbox.store.accepted_count == 0


async def test_one_suppressed_recipient_can_refuse_all(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """With `atomic` a suppressed recipient makes the message a 400."""
    sandbox.faults = Faults(atomic=True)
    body = raw("ann@x.example", "suppress@x.example")
    status, code, message = error_of(await client.post(RAW, json=body))
    assert (400, 10202) == (status, code)
    assert message.startswith("E_RECIPIENT_SUPPRESSED: ")
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize("path", [RAW, BUILT])
async def test_a_refused_recipient_refuses_the_message(
    sandbox: Sandbox, client: httpx.AsyncClient, path: str
) -> None:
    """A message to `reject...` is invalid."""
    body = raw("reject@x.example") if path == RAW else BUILT_MAIL
    answer = await client.post(path, json=body | {"to": "reject@x.example"})
    assert is_refused(answer, 400, 10202)
    assert sandbox.store.accepted_count == 0


async def test_answers_have_other_forms(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`success` is the older schema, `short` forgets a recipient, `long` adds one."""
    body = raw("ann@x.example", "bob@x.example")
    sandbox.faults = Faults(shape="success")
    older = result_of(await client.post(RAW, json=body))
    assert {"delivered", "permanent_bounces", "queued"} == set(older)
    sandbox.faults = Faults(shape="short")
    short = result_of(await client.post(RAW, json=body))
    assert ["ann@x.example"] == short["delivered"]
    sandbox.faults = Faults(shape="long")
    long = result_of(await client.post(RAW, json=body))
    assert [*body["recipients"], "nobody@sandbox.example"] == long["delivered"]


@pytest.mark.parametrize(
    "change",
    [
        {"from": "Harbour <hello@harbour.example>"},
        {"from": None},
        {"recipients": []},
        {"recipients": "ann@x.example"},
        {"recipients": ["Ann <ann@x.example>"]},
        {"recipients": [f"p{i}@x.example" for i in range(51)]},
        {"mime_message": ""},
        {"mime_message": ["a"]},
    ],
)
async def test_a_raw_field_of_the_wrong_form_breaks_the_schema(
    sandbox: Sandbox, client: httpx.AsyncClient, change: dict[str, object]
) -> None:
    """Each field of send_raw has its type, and there are 1 to 50 recipients."""
    answer = await client.post(RAW, json=raw() | change)
    assert is_refused(answer, 400, 10001)
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize("field", ["from", "mime_message", "recipients"])
async def test_raw_fields_are_required(client: httpx.AsyncClient, field: str) -> None:
    """Each field of send_raw must be there."""
    body = {name: value for name, value in raw().items() if name != field}
    assert is_refused(await client.post(RAW, json=body), 400, 10001)


async def test_fifty_recipients_are_taken(client: httpx.AsyncClient) -> None:
    """Fifty recipients are within the limit, raw and built."""
    many = [f"p{i}@x.example" for i in range(50)]
    assert many == result_of(await client.post(RAW, json=raw(*many)))["delivered"]
    body = BUILT_MAIL | {"to": many[:20], "cc": many[20:40], "bcc": many[40:]}
    assert many == result_of(await client.post(BUILT, json=body))["delivered"]
    answer = await client.post(BUILT, json=body | {"bcc": many[39:]})
    assert is_refused(answer, 400, 10001)


@pytest.mark.parametrize(
    "message",
    [
        PLAIN.replace("\r\n", "\n"),
        PLAIN.replace("\r\n", "\\r\\n"),
        PLAIN + "bare\nend\r\n",
        PLAIN + "bare\rend\r\n",
        PLAIN + "Grüße\r\n",
        PLAIN + "x" * 999 + "\r\n",
        PLAIN.replace("From: ", "X-From: "),
        PLAIN.replace("To: ", "X-To: "),
        PLAIN.replace("Subject: ", "X-Subject: "),
        PLAIN.replace("Content-Type: ", "X-Type: "),
        PLAIN.replace("Subject: Hello", "Subject: Hello\r\nSubject: Again"),
        PLAIN.replace("From: hello@harbour.example", "From: Harbour Books"),
        PLAIN.replace("Subject: Hello", "Subject: " + "a\r\n " * 600),
        PLAIN.replace("Subject: Hello", "Subject: =?no-such-set?q?a=20b?="),
        PLAIN.replace("Subject: ", "Message-ID: k1\r\nSubject: "),
        PLAIN.replace("text/plain", "multipart/mixed; boundary=b"),
        PLAIN.replace(
            "text/plain", "text/plain\r\nContent-Transfer-Encoding: base64"
        ).replace("\r\n\r\nHello", "\r\n\r\nSGVsbG"),
        PLAIN.replace(
            "text/plain", "text/plain\r\nContent-Transfer-Encoding: quoted-printable"
        ).replace("\r\n\r\nHello", "\r\n\r\nHell=F"),
    ],
)
async def test_what_is_no_mail_for_the_wire_is_invalid(
    sandbox: Sandbox, client: httpx.AsyncClient, message: str
) -> None:
    """Line ends, 7 bits, line lengths, headers and encoded parts must be right."""
    answer = await client.post(RAW, json=raw(message=message))
    assert is_refused(answer, 400, 10202)
    assert sandbox.store.accepted_count == 0


@pytest.mark.slow
async def test_a_message_over_five_mebibytes_is_too_big(
    client: httpx.AsyncClient,
) -> None:
    """5 MiB are taken, a byte more is not; attachments count as base64."""
    lines = ("x" * 70 + "\r\n") * (5 * 2**20 // 72)
    most = PLAIN + lines[: 5 * 2**20 - len(PLAIN) - 2] + "\r\n"
    most = most.replace("\r\r\n", "x\r\n")
    assert len(most) == 5 * 2**20
    result_of(await client.post(RAW, json=raw(message=most)))
    assert is_refused(await client.post(RAW, json=raw(message=most + "x")), 400, 10200)
    file = FILE | {"content": base64.b64encode(bytes(4 * 2**20)).decode()}
    answer = await client.post(BUILT, json=BUILT_MAIL | {"attachments": [file]})
    assert is_refused(answer, 400, 10200)


async def test_a_built_message_takes_every_field(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """POST send takes addresses in every documented form, headers and attachments."""
    named = {"address": "bob@x.example", "name": "Bob"}
    body = {
        "from": {"address": "hello@harbour.example", "name": "Harbour Books"},
        "to": [named, "ann@x.example"],
        "cc": {"address": "cat@x.example", "name": None},
        "bcc": "dan@x.example",
        "reply_to": {"address": "help@harbour.example"},
        "subject": "Grüße",
        "html": "<p>Hello</p>",
        "text": "Hello",
        "headers": {
            "List-Unsubscribe": "<https://x.example/u>, <mailto:u@x.example>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            "In-Reply-To": "<a@x.example>",
            "Precedence": "bulk",
            "X-Campaign_ID": "spring",
            "X-MailVolley-Message-Id": "k1",
        },
        "attachments": [
            FILE,
            FILE | {"disposition": "inline", "content_id": "logo", "type": "image/png"},
        ],
    }
    result = result_of(await client.post(BUILT, json=body))
    people = ["bob", "ann", "cat", "dan"]
    assert [f"{name}@x.example" for name in people] == result["delivered"]
    (kept,) = sandbox.store.all()
    assert ("bob@x.example", "k1") == (kept.to, kept.key)
    assert body | {"account_id": "a1"} == sandbox.store.content(kept)


async def test_copies_alone_are_recipients_enough(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`to` may be left out if there is a cc or bcc; a key need not be given."""
    body = {name: value for name, value in BUILT_MAIL.items() if name != "to"}
    assert is_refused(await client.post(BUILT, json=body), 400, 10001)
    result_of(await client.post(BUILT, json=body | {"bcc": ["eve@x.example"]}))
    (kept,) = sandbox.store.all()
    assert ("eve@x.example", None) == (kept.to, kept.key)


@pytest.mark.parametrize(
    "change",
    [
        {"from": None},
        {"from": ["hello@harbour.example"]},
        {"from": "Harbour <hello@harbour.example>"},
        {"from": {"name": "Harbour"}},
        {"from": {"address": "hello@harbour.example", "name": 5}},
        {"from": {"address": "hello@harbour.example", "name": "a\r\nBcc: b"}},
        {"to": None},
        {"to": ["ann"]},
        {"cc": 5},
        {"bcc": [None]},
        {"reply_to": ["help@harbour.example"]},
        {"subject": ""},
        {"subject": None},
        {"subject": "one\r\nBcc: two"},
        {"subject": "x" * 999},
        {"html": None},
        {"html": "", "text": ""},
        {"text": 5},
        {"headers": []},
        {"headers": {"X-A": 5}},
        {"attachments": FILE},
        {"attachments": ["a.pdf"]},
        {"attachments": [FILE | {"content": "no base64"}]},
        {"attachments": [FILE | {"content": ""}]},
        {"attachments": [FILE | {"filename": ""}]},
        {"attachments": [FILE | {"filename": "a\r\nb"}]},
        {"attachments": [FILE | {"type": "pdf"}]},
        {"attachments": [FILE | {"disposition": "embedded"}]},
        {"attachments": [FILE | {"disposition": "inline"}]},
    ],
)
async def test_a_built_field_of_the_wrong_form_breaks_the_schema(
    sandbox: Sandbox, client: httpx.AsyncClient, change: dict[str, object]
) -> None:
    """Each field of send has its type and its limits."""
    answer = await client.post(BUILT, json=BUILT_MAIL | change)
    assert is_refused(answer, 400, 10001)
    assert sandbox.store.accepted_count == 0


UNSUBSCRIBE = {"List-Unsubscribe": "<https://x.example/u>"}
CLICK = "List-Unsubscribe=One-Click"
LISTED = (
    *("References", "In-Reply-To", "Keywords", "Comments", "Content-Language"),
    *("List-Id", "List-Archive", "List-Help", "List-Owner", "List-Post"),
    *("List-Subscribe", "Organization", "Expires", "Reply-By", "Archived-At"),
    "Require-Recipient-Valid-Since",
)
CHOSEN = {
    "Precedence": "list",
    "Auto-Submitted": "auto-generated",
    "Importance": "high",
    "Priority": "urgent",
    "Sensitivity": "private",
}


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        *(({name: "a"}, "E_HEADER_USE_API_FIELD") for name in ("From", "to", "Cc")),
        *(({name: "a"}, "E_HEADER_USE_API_FIELD") for name in ("Bcc", "Subject")),
        ({"Reply-To": "a@x.example"}, "E_HEADER_USE_API_FIELD"),
        *(({name: "a"}, "E_HEADER_NOT_ALLOWED") for name in ("Date", "message-id")),
        *(({name: "a"}, "E_HEADER_NOT_ALLOWED") for name in ("MIME-Version", "Foo")),
        *(
            ({name: "a"}, "E_HEADER_NOT_ALLOWED")
            for name in ("Feedback-ID", "ARC-Seal")
        ),
        ({"X A": "a"}, "E_HEADER_NAME_INVALID"),
        ({"X-Ä": "a"}, "E_HEADER_NAME_INVALID"),
        ({"List_Id": "a"}, "E_HEADER_NAME_INVALID"),
        ({"X-" + "a" * 99: "a"}, "E_HEADER_NAME_INVALID"),
        ({"X-A": "a", "x-a": "b"}, "E_HEADER_NAME_INVALID"),
        ({"X-A": ""}, "E_HEADER_VALUE_INVALID"),
        ({"X-A": "a\r\nBcc: b"}, "E_HEADER_VALUE_INVALID"),
        ({"Precedence": "first"}, "E_HEADER_VALUE_INVALID"),
        ({"Auto-Submitted": "no"}, "E_HEADER_VALUE_INVALID"),
        ({"List-Unsubscribe": "https://x.example/u"}, "E_HEADER_VALUE_INVALID"),
        ({"List-Unsubscribe": "<http://x.example/u>"}, "E_HEADER_VALUE_INVALID"),
        (UNSUBSCRIBE | {"List-Unsubscribe-Post": "Yes"}, "E_HEADER_VALUE_INVALID"),
        ({"List-Unsubscribe-Post": CLICK}, "E_HEADER_VALUE_INVALID"),
        (
            {
                "List-Unsubscribe": "<mailto:u@x.example>",
                "List-Unsubscribe-Post": CLICK,
            },
            "E_HEADER_VALUE_INVALID",
        ),
        ({"X-A": "ä" * 1025}, "E_HEADER_VALUE_TOO_LONG"),
        ({f"X-{i}": "a" * 2000 for i in range(9)}, "E_HEADERS_TOO_LARGE"),
        (dict.fromkeys(LISTED, "a") | CHOSEN, "E_HEADERS_TOO_MANY"),
    ],
)
async def test_a_header_that_may_not_be_set_is_refused(
    sandbox: Sandbox, client: httpx.AsyncClient, headers: dict[str, str], word: str
) -> None:
    """Names, values, number and size of headers have rules, each with a word."""
    answer = await client.post(BUILT, json=BUILT_MAIL | {"headers": headers})
    status, code, message = error_of(answer)
    assert (400, 10001, word) == (status, code, message.partition(":")[0])
    assert sandbox.store.accepted_count == 0


async def test_headers_up_to_their_limits_are_taken(client: httpx.AsyncClient) -> None:
    """Twenty listed headers, values of 2048 bytes and nearly 16 KB pass."""
    listed = dict.fromkeys(LISTED[:15], "a") | CHOSEN
    for headers in (
        listed | {"X-" + "a" * 98: "ä" * 1024},
        {f"X-{i}": "a" * 2040 for i in range(8)},
    ):
        result_of(await client.post(BUILT, json=BUILT_MAIL | {"headers": headers}))


@pytest.mark.parametrize("path", [RAW, BUILT])
async def test_unknown_fields_are_refused_only_when_strict(
    sandbox: Sandbox, client: httpx.AsyncClient, path: str
) -> None:
    """An undocumented field passes, unless the fault `strict` is set."""
    body = raw() if path == RAW else BUILT_MAIL
    result_of(await client.post(path, json=body | {"tags": []}))
    sandbox.faults = Faults(strict=True)
    result_of(await client.post(path, json=body))
    assert is_refused(await client.post(path, json=body | {"tags": []}), 400, 10001)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"to": ', "application/json"),
        (b"[]", "application/json"),
        (b"{}", "text/plain"),
    ],
)
@pytest.mark.parametrize("path", [RAW, BUILT, LIST, f"{LIST}/bulk"])
async def test_a_body_that_is_no_json_object_breaks_the_schema(
    client: httpx.AsyncClient, path: str, body: bytes, content_type: str
) -> None:
    """Malformed JSON, another type, or another Content-Type is refused."""
    headers = {"content-type": content_type}
    answer = await client.post(path, content=body, headers=headers)
    assert is_refused(answer, 400, 10001)


async def test_a_body_without_a_stated_length_is_refused(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A chunked request has no Content-Length and its own error."""

    async def pieces() -> AsyncIterator[bytes]:
        yield orjson.dumps(raw())

    headers = {"content-type": "application/json"}
    answer = await client.post(RAW, content=pieces(), headers=headers)
    assert is_refused(answer, 400, 10201)
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"authorization": ""}, 10103),
        ({"authorization": "Basic dG9rZW4="}, 10103),
        ({"authorization": "Bearer"}, 10101),
        ({}, 10101),
        ({"x-auth-email": "ann@x.example"}, 10101),
        ({"x-auth-key": "key"}, 10101),
    ],
)
async def test_credentials_are_required(
    sandbox: Sandbox, headers: dict[str, str], code: int
) -> None:
    """Without a token, or both halves of a legacy key, everything is a 401."""
    async with httpx.AsyncClient(verify=False, trust_env=False) as nobody:
        base = f"{sandbox.base_url('cloudflare')}/accounts/a1/email/sending"
        sent = await nobody.post(f"{base}/{RAW}", json=raw(), headers=headers)
        asked = await nobody.get(f"{base}/{LIST}", headers=headers)
    assert is_refused(sent, 401, code)
    assert is_refused(asked, 401, code)
    assert sandbox.store.accepted_count == 0


async def test_a_legacy_key_is_as_good_as_a_token(sandbox: Sandbox) -> None:
    """X-Auth-Email and X-Auth-Key together are credentials."""
    headers = {"x-auth-email": "ann@x.example", "x-auth-key": "key"}
    url = f"{sandbox.base_url('cloudflare')}/accounts/a1/email/sending/{RAW}"
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        result_of(await client.post(url, json=raw(), headers=headers))


@pytest.mark.parametrize(
    ("account", "error", "list_status"),
    [
        ("unknown", (404, 10000), 404),
        ("forbidden", (403, 10102), 403),
        ("not-entitled", (403, 10105), 403),
        ("disabled", (403, 10203), 200),
        ("unbuilt", (500, 10003), 200),
    ],
)
async def test_an_account_may_be_refused(
    sandbox: Sandbox,
    client: httpx.AsyncClient,
    account: str,
    error: tuple[int, int],
    list_status: int,
) -> None:
    """Rehearsed accounts give the errors that a real one may have."""
    base = f"{sandbox.base_url('cloudflare')}/accounts/{account}/email/sending"
    assert is_refused(await client.post(f"{base}/{RAW}", json=raw()), *error)
    assert list_status == (await client.get(f"{base}/{LIST}")).status_code
    assert sandbox.store.accepted_count == 0


async def test_an_unverified_sender_may_not_send(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Mail from an unverified domain or address is a 403."""
    body = raw() | {"from": "hello@unverified.example"}
    assert is_refused(await client.post(RAW, json=body), 403, 10203)
    sandbox.faults = Faults(unverified="Hello@harbour.example")
    assert is_refused(await client.post(BUILT, json=BUILT_MAIL), 403, 10203)
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize(
    ("faults", "error"),
    [
        (Faults(throttle_first=1), (429, 10004)),
        (Faults(unavailable_every=1), (503, 10100)),
        (Faults(error_before_every=1), (500, 10002)),
        (Faults(error_before_every=1, error_status=502), (502, 10002)),
        (Faults(credentials="refuse"), (401, 10101)),
    ],
)
async def test_faults_speak_as_cloudflare_does(
    sandbox: Sandbox,
    client: httpx.AsyncClient,
    faults: Faults,
    error: tuple[int, int],
) -> None:
    """A fault is answered in Cloudflare's envelope, with its code."""
    sandbox.faults = faults
    answer = await client.post(RAW, json=raw())
    assert is_refused(answer, *error)


async def test_a_throttled_client_is_told_how_long_to_wait(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A 429 has Retry-After in seconds, beside the headers that each answer has."""
    sandbox.faults = Faults(throttle_first=1, retry_after=7)
    answer = await client.post(RAW, json=raw())
    assert (429, "7") == (answer.status_code, answer.headers["retry-after"])
    assert "ratelimit-policy" in answer.headers


async def test_every_answer_states_the_rate(client: httpx.AsyncClient) -> None:
    """Ratelimit and Ratelimit-Policy stand on successes and refusals alike."""
    for answer in (
        await client.post(RAW, json=raw()),
        await client.post(RAW, json={}),
        await client.get(LIST),
        await client.get("nowhere"),
    ):
        assert answer.headers["ratelimit"] == '"default";r=1199;t=300'
        assert answer.headers["ratelimit-policy"] == '"default";q=1200;w=300'


async def test_other_paths_and_methods_are_refused(client: httpx.AsyncClient) -> None:
    """What there is not is 404, the wrong method 405 with Allow."""
    for path in ("send_batch", "send/", "send/1", "../send", "suppressions/1/2"):
        assert is_refused(await client.post(path, json=raw()), 404, 10000)
    for method, path, allowed in [
        ("GET", RAW, "POST"),
        ("PUT", LIST, "GET, POST"),
        ("GET", f"{LIST}/bulk", "POST"),
        ("POST", f"{LIST}/1", "GET, PATCH, DELETE"),
    ]:
        answer = await client.request(method, path)
        assert (405, allowed) == (answer.status_code, answer.headers["allow"])


async def test_the_suppression_list_begins_with_samples(
    client: httpx.AsyncClient,
) -> None:
    """There is an entry for each reason, and only policy is read-only."""
    entries = result_of(await client.get(LIST))
    reasons = {entry["reason"]: entry for entry in entries}
    words = {"manual", "complaint", "hard_bounce", "soft_bounce", "policy"}
    assert (5, words) == (len(entries), set(reasons))
    assert [e["reason"] for e in entries if e["read_only"]] == ["policy"]
    soft = reasons["soft_bounce"]
    created, expires = (
        datetime.fromisoformat(soft[name]) for name in ("created_at", "expires_at")
    )
    assert timedelta(days=1) == expires - created
    assert reasons["manual"]["expires_at"] is None
    assert {"type": "account"} == soft["scope"]
    one = result_of(await client.get(f"{LIST}/{soft['id']}"))
    assert soft == one


async def test_a_suppressed_address_is_left_out_of_a_send(
    client: httpx.AsyncClient,
) -> None:
    """What is added to the list is not mailed, until it is deleted; case is ignored."""
    body = {"email": "Ann@x.example", "note": "asked for it", "expires_at": None}
    added = result_of(await client.post(LIST, json=body))
    assert {"id", "scope"} == set(added)
    sent = result_of(await client.post(RAW, json=raw("ann@X.example", "bob@x.example")))
    assert ["ann@X.example"] == sent["suppressed_recipients"]
    assert ["bob@x.example"] == sent["delivered"]
    entry = result_of(await client.get(f"{LIST}/{added['id']}"))
    assert ("manual", "asked for it") == (entry["reason"], entry["note"])
    assert added == result_of(await client.delete(f"{LIST}/{added['id']}"))
    sent = result_of(await client.post(RAW, json=raw("ann@x.example")))
    assert sent["suppressed_recipients"] == []
    assert is_refused(await client.get(f"{LIST}/{added['id']}"), 404, 10000)


async def test_accounts_have_lists_of_their_own_and_reset_forgets(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """An entry of one account is none of another, and none after a reset."""
    result_of(await client.post(LIST, json={"email": "ann@x.example"}))
    other = f"{sandbox.base_url('cloudflare')}/accounts/a2/email/sending/{LIST}"
    assert len(result_of(await client.get(other))) == 5
    assert len(result_of(await client.get(LIST))) == 6
    sandbox.reset()
    assert len(result_of(await client.get(LIST))) == 5


async def test_an_address_is_suppressed_once(client: httpx.AsyncClient) -> None:
    """A second entry is a 409, and one of the platform's is a 403."""
    result_of(await client.post(LIST, json={"email": "ann@x.example"}))
    again = await client.post(LIST, json={"email": "ANN@x.example"})
    assert (409, 10001) == error_of(again)[:2]
    blocked = await client.post(LIST, json={"email": "blocked@sandbox.example"})
    assert is_refused(blocked, 403, 10102)


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"email": "ann"},
        {"email": "ann@x.example", "note": "x" * 1001},
        {"email": "ann@x.example", "note": 5},
        {"email": "ann@x.example", "expires_at": "2020-01-01T00:00:00Z"},
        {"email": "ann@x.example", "expires_at": "2999-01-01T00:00:00"},
        {"email": "ann@x.example", "expires_at": "tomorrow"},
        {"email": "ann@x.example", "expires_at": "9999-12-31T23:59:59-23:00"},
        {"email": "ann@x.example", "scope": {"type": "sending_domain", "value": "x"}},
    ],
)
async def test_a_wrong_entry_breaks_the_schema(
    client: httpx.AsyncClient, item: dict[str, object]
) -> None:
    """Address, note, expiry and scope of an entry have their forms."""
    assert is_refused(await client.post(LIST, json=item), 400, 10001)


async def test_entries_can_be_changed_unless_read_only(
    client: httpx.AsyncClient,
) -> None:
    """PATCH changes note and expiry; the platform's own entry is a 403."""
    entries = {e["reason"]: e["id"] for e in result_of(await client.get(LIST))}
    path = f"{LIST}/{entries['complaint']}"
    change = {"note": "new consent", "expires_at": "2999-01-01T00:00:00Z"}
    changed = result_of(await client.patch(path, json=change))
    assert ("new consent", "2999") == (changed["note"], changed["expires_at"][:4])
    wrong = await client.patch(path, json={"reason": "manual"})
    assert is_refused(wrong, 400, 10001)
    policy = f"{LIST}/{entries['policy']}"
    assert is_refused(await client.patch(policy, json={}), 403, 10102)
    assert is_refused(await client.delete(policy), 403, 10102)


@pytest.mark.slow
async def test_an_expired_entry_is_gone(client: httpx.AsyncClient) -> None:
    """After its expiry an address is not listed, and is mailed again."""
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    body = {"email": "ann@x.example", "expires_at": soon.isoformat()}
    added = result_of(await client.post(LIST, json=body))
    await trio.sleep(0.4)
    assert len(result_of(await client.get(LIST))) == 5
    assert is_refused(await client.get(f"{LIST}/{added['id']}"), 404, 10000)
    sent = result_of(await client.post(RAW, json=raw("ann@x.example")))
    assert ["ann@x.example"] == sent["delivered"]
    assert result_of(await client.post(LIST, json={"email": "ann@x.example"}))


async def test_the_list_comes_in_pages(client: httpx.AsyncClient) -> None:
    """A cursor goes on where the page ended, though entries come and go meanwhile."""
    everything = result_of(await client.get(LIST))
    seen: list[object] = []
    cursor = None
    for size in (2, 2, 1):
        params = {"per_page": "2"} | ({} if cursor is None else {"cursor": cursor})
        answer = await client.get(LIST, params=params)
        entries, info = result_of(answer), answer.json()["result_info"]
        assert (size, 2) == (info["count"], info["per_page"])
        seen += entries
        cursor = info["next_cursor"]
        await client.delete(f"{LIST}/{entries[0]['id']}")
        await client.post(LIST, json={"email": f"p{len(seen)}@x.example"})
    assert cursor is None
    assert everything == seen


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("email=gone@sandbox.example", ["gone"]),
        ("email=GONE@sandbox.example", ["gone"]),
        ("email=gone", []),
        ("search=full@sandbox.example", ["full"]),
        ("search=full@", ["full"]),
        ("search=Co", ["complained"]),
        ("reason=complaint", ["complained"]),
        ("reason=complaint&search=full@", []),
    ],
)
async def test_the_list_can_be_filtered(
    client: httpx.AsyncClient, query: str, names: list[str]
) -> None:
    """`email` is exact, `search` a whole address or its beginning, `reason` a word."""
    entries = result_of(await client.get(f"{LIST}?{query}"))
    assert [f"{name}@sandbox.example" for name in names] == [
        entry["email"] for entry in entries
    ]


async def test_a_cursor_carries_its_filters(client: httpx.AsyncClient) -> None:
    """A page of a filtered list is filtered without saying so again, or otherwise."""
    for i in range(3):
        await client.post(LIST, json={"email": f"p{i}@x.example"})
    answer = await client.get(f"{LIST}?per_page=2&search=p")
    cursor = answer.json()["result_info"]["next_cursor"]
    rest = result_of(await client.get(LIST, params={"cursor": cursor}))
    assert ["p0@x.example"] == [entry["email"] for entry in rest]
    forged = base64.urlsafe_b64encode(b'{"before":9,"filters":5}').decode()
    for params in (
        {"cursor": cursor, "search": "q"},
        {"cursor": "nonsense"},
        {"cursor": "ä"},
        {"cursor": forged},
    ):
        assert is_refused(await client.get(LIST, params=params), 400, 10001)


@pytest.mark.parametrize(
    "query",
    [
        "per_page=0",
        "per_page=1001",
        "per_page=x",
        f"per_page={'9' * 5000}",
        "reason=spam",
    ],
)
async def test_a_wrong_question_breaks_the_schema(
    client: httpx.AsyncClient, query: str
) -> None:
    """A page has 1 to 1000 entries, and a reason is one of five."""
    assert is_refused(await client.get(f"{LIST}?{query}"), 400, 10001)
    assert result_of(await client.get(f"{LIST}?per_page=1000"))


async def test_a_bulk_import_tells_of_each_item(client: httpx.AsyncClient) -> None:
    """Items are processed, invalid, skipped or dropped as doubles, by index."""
    emails = [
        "ann@x.example",
        "ANN@x.example",
        "nonsense",
        "blocked@sandbox.example",
        "gone@sandbox.example",
    ]
    items = [{"email": email} for email in emails]
    result = result_of(await client.post(f"{LIST}/bulk", json={"items": items}))
    rows = result.pop("items")
    assert {
        "total": 5,
        "processed": 2,
        "deduplicated": 1,
        "invalid": 1,
        "skipped": 1,
        "errors": 0,
    } == result
    assert [
        (0, "processed"),
        (2, "invalid"),
        (3, "skipped"),
        (4, "processed"),
    ] == [(row["index"], row["status"]) for row in rows]
    assert [True, False, False, True] == ["id" in row for row in rows]
    assert [False, True, True, False] == ["error" in row for row in rows]
    gone = result_of(await client.get(f"{LIST}/{rows[3]['id']}"))
    assert ("manual", None) == (gone["reason"], gone["expires_at"])


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_bulk_import_has_one_to_a_thousand_items(
    client: httpx.AsyncClient, count: int
) -> None:
    """An import that is empty or over the limit is refused; a thousand are taken."""
    items = [{"email": f"p{i}@x.example"} for i in range(count)]
    answer = await client.post(f"{LIST}/bulk", json={"items": items})
    assert is_refused(answer, 400, 10001)
    most = {"items": items[:1000] or [5]}
    assert (
        len(most["items"])
        == result_of(await client.post(f"{LIST}/bulk", json=most))["total"]
    )


async def test_bulk_imports_are_throttled(client: httpx.AsyncClient) -> None:
    """The eleventh import within a minute is a 429 that says how long to wait."""
    body = {"items": [{"email": "ann@x.example"}]}
    for _ in range(10):
        result_of(await client.post(f"{LIST}/bulk", json=body))
    answer = await client.post(f"{LIST}/bulk", json=body)
    assert is_refused(answer, 429, 10004)
    assert answer.headers["retry-after"] == "60"


async def ask_events(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> list[dict[str, object]]:
    """Ask the sandbox for all that its events would say."""
    url = f"http://127.0.0.1:{sandbox.port}/_sandbox/events?provider=cloudflare"
    answer = await client.get(url)
    return [orjson.loads(line) for line in answer.content.splitlines()]


async def test_events_are_in_the_envelope_of_a_subscription(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A delivered message has one event, with ids, sender, subject and account."""
    sent = result_of(await client.post(RAW, json=raw(message=mime())))
    answer = await ask_events(sandbox, client)
    (event,) = answer
    payload, metadata = event["payload"], event["metadata"]
    assert event["type"] == "cf.email.sending.message.delivered"
    source = event["source"]
    assert ("email.sending", "harbour.example") == (source["type"], source["domain"])
    assert len(source["zoneId"]) == 32
    assert {
        "messageId": sent["message_id"],
        "sender": "hello@harbour.example",
        "recipient": "ann@x.example",
        "subject": "Café",
        "terminal": True,
    }.items() <= payload.items()
    assert payload["delivery"]["smtpStatusCode"] == "250"
    assert ("a1", 1) == (metadata["accountId"], metadata["eventSchemaVersion"])
    assert datetime.fromisoformat(metadata["eventTimestamp"]).tzinfo is not None
    assert [event] == await ask_events(sandbox, client)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("bounce@x.example", ["bounced"]),
        ("soft@x.example", ["deferred", "delivered"]),
        ("open@x.example", ["delivered"]),
        ("click@x.example", ["delivered"]),
        ("unsubscribe@x.example", ["delivered"]),
        ("complain@x.example", ["delivered", "complained"]),
    ],
)
async def test_every_fate_has_the_events_that_cloudflare_knows(
    sandbox: Sandbox, client: httpx.AsyncClient, to: str, words: list[str]
) -> None:
    """Bounces, delays and complaints are told; openings and clicks are not."""
    body = BUILT_MAIL | {"to": to, "from": {"address": "hello@harbour.example"}}
    result_of(await client.post(BUILT, json=body))
    events = await ask_events(sandbox, client)
    assert [f"cf.email.sending.message.{word}" for word in words] == [
        event["type"] for event in events
    ]
    payload = events[-1]["payload"]
    assert payload["sender"] == "hello@harbour.example"
    more = {"bounced": "bounce", "delivered": "delivery", "complained": "complaint"}
    assert more[words[-1]] in payload
    assert ("subject" in payload) is (words[-1] != "complained")
    assert events[0]["payload"]["terminal"] is (words[0] != "deferred")


async def test_a_suppression_is_a_rejection(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """What the platform keeps back is rejected; so is one that was not kept."""
    result_of(await client.post(RAW, json=raw()))
    (kept,) = sandbox.store.all()
    happening = Happening("suppressed", datetime.now(UTC), kept, None)
    event = orjson.loads(sandbox.dialect("cloudflare").post(happening) or b"")
    assert event["type"] == "cf.email.sending.message.rejected"
    assert event["payload"]["rejection"]["reason"] == "suppressed"
    assert event["payload"]["messageId"] == kept.message_id
