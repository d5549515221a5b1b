"""The CloudMailin dialect over real sockets: sending."""

import base64
from collections.abc import AsyncIterator
from email.message import EmailMessage
from uuid import UUID

import httpx
import pytest
import trio

from engine.sandbox import Faults, Sandbox, serve

ACCOUNT = "aaaa111122223333"
MAIL = {
    "from": "Harbour Books <hello@harbour.example>",
    "to": ["Ann <ann@x.example>"],
    "subject": "Hello",
    "plain": "Hello",
}
PIXEL = {
    "file_name": "pixel.png",
    "content": base64.b64encode(bytes(100)).decode(),
    "content_type": "image/png",
    "content_id": "pixel",
}
RAW = (
    "From: Harbour Books <hello@harbour.example>\r\n"
    "To: Ann <ann@x.example>\r\n"
    "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    "Message-ID: <k1@harbour.example>\r\n"
    "\r\n"
    "Hello\r\n"
)


@pytest.fixture
async def sandbox(nursery: trio.Nursery) -> Sandbox:
    """A sandbox without faults."""
    return await nursery.start(serve)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its CloudMailin API with a token."""
    async with httpx.AsyncClient(
        base_url=sandbox.base_url("cloudmailin"),
        headers={"authorization": "Bearer token"},
        verify=False,
        trust_env=False,
        timeout=10,
    ) as client:
        yield client


async def send(
    client: httpx.AsyncClient, mail: object, username: str = ACCOUNT
) -> httpx.Response:
    """Post one message."""
    return await client.post(f"/{username}/messages", json=mail)


async def refused(
    client: httpx.AsyncClient, mail: object, username: str = ACCOUNT
) -> tuple[int, str]:
    """Post a message that must be refused; return status and text."""
    answer = await send(client, mail, username)
    content = answer.json()
    assert {"status", "error"} == set(content)
    assert answer.status_code == content["status"]
    return answer.status_code, content["error"]


def raw(text: str = RAW, **fields: object) -> dict[str, object]:
    """Write a raw message's request."""
    return {"from": MAIL["from"], "to": "ann@x.example", "raw": text} | fields


async def test_a_message_with_every_field_is_accepted(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A 202 answers with the fields of every message, and the id."""
    mail = MAIL | {
        "to": ["Recipient <a@x.example>", "b@x.example"],
        "cc": ["Carbon Copy <cc@x.example>"],
        "test_mode": False,
        "tags": ["api-tag", "cloudmailin-tag"],
        "html": '<img src="cid:pixel"/>',
        "markdown": "# Hello",
        "headers": {"x-api-test": "Test", "Message-ID": "<k1@harbour.example>"},
        "priority": "digest",
        "attachments": [PIXEL],
    }
    answer = await send(client, mail)
    assert answer.status_code == 202
    message_id = answer.json()["id"]
    assert str(UUID(message_id)) == message_id
    assert answer.json() == {
        "id": message_id,
        "from": "Harbour Books <hello@harbour.example>",
        "to": ["Recipient <a@x.example>", "b@x.example"],
        "cc": ["Carbon Copy <cc@x.example>"],
        "test_mode": False,
        "subject": "Hello",
        "tags": ["api-tag", "cloudmailin-tag"],
    }
    (kept,) = sandbox.store.all("cloudmailin")
    assert (kept.to, kept.message_id) == ("a@x.example", message_id)
    assert kept.key == "k1@harbour.example"
    assert mail == sandbox.store.content(kept)


async def test_the_least_message_is_accepted(client: httpx.AsyncClient) -> None:
    """From, to and one body are enough, and what is not said is answered empty."""
    mail = {"from": "hello@harbour.example", "to": "a@x.example", "markdown": "Hi"}
    content = (await send(client, mail)).json()
    expected = {"to": ["a@x.example"], "cc": [], "tags": [], "subject": None}
    assert expected == {name: content[name] for name in expected}
    assert content["test_mode"] is False


async def test_recipients_and_tags_may_be_one_string(client: httpx.AsyncClient) -> None:
    """A string stands for an array, with commas between recipients or tags."""
    mail = MAIL | {
        "to": '"Ann, A." <ann@x.example>, bob@x.example',
        "cc": "cc@x.example",
        "tags": "spring, news",
    }
    content = (await send(client, mail)).json()
    assert content["to"] == ['"Ann, A." <ann@x.example>', "bob@x.example"]
    assert content["cc"] == ["cc@x.example"]
    assert content["tags"] == ["spring", "news"]


@pytest.mark.parametrize("field", ["from", "to"])
async def test_a_missing_required_field_is_refused(
    client: httpx.AsyncClient, field: str
) -> None:
    """A message without sender or recipient is a 422 that names the field."""
    mail = {name: value for name, value in MAIL.items() if name != field}
    assert (422, f"{field} is required") == await refused(client, mail)
    assert (422, f"{field} is required") == await refused(client, MAIL | {field: ""})


async def test_a_message_needs_a_body(client: httpx.AsyncClient) -> None:
    """One of plain, html, markdown must be there and not empty; each is enough."""
    bare = {"from": MAIL["from"], "to": MAIL["to"]}
    for body in ({}, {"plain": "", "html": ""}):
        status, error = await refused(client, bare | body)
        assert (422, "One of plain, html, markdown is required") == (status, error)
    for body in ("plain", "html", "markdown"):
        assert (await send(client, bare | {body: "Hi"})).status_code == 202


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from", 5),
        ("from", "Harbour Books"),
        ("from", ["hello@harbour.example"]),
        ("from", "a@x.example, b@x.example"),
        ("to", "ann"),
        ("to", "Books, Harbour <ann@x.example>"),
        ("to", [1]),
        ("to", ["a@x.example, b@x.example"]),
        ("to", {"email": "a@x.example"}),
        ("cc", ["c"]),
        ("cc", None),
        ("test_mode", "true"),
        ("subject", "one\r\nBcc: two"),
        ("subject", None),
        ("tags", 5),
        ("tags", ["spring", 5]),
        ("plain", 5),
        ("html", []),
        ("markdown", None),
        ("headers", ["x-a: b"]),
        ("headers", {"x-a": ["b"]}),
        ("headers", {"x a": "b"}),
        ("headers", {"x-a": "b\r\nx-c: d"}),
        ("priority", "urgent"),
        ("attachments", PIXEL),
        ("attachments", ["pixel.png"]),
    ],
)
async def test_a_field_of_the_wrong_type_is_refused(
    sandbox: Sandbox, client: httpx.AsyncClient, field: str, value: object
) -> None:
    """Each field must have its documented type; else a 422 names it."""
    status, error = await refused(client, MAIL | {field: value})
    assert (422, f"{field} must be") == (status, error[: len(f"{field} must be")])
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize("priority", ["standard", "priority", "digest"])
async def test_each_priority_is_accepted(
    client: httpx.AsyncClient, priority: str
) -> None:
    """Three priorities are documented."""
    assert (await send(client, MAIL | {"priority": priority})).status_code == 202


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"file_name": None}, "attachments[1].file_name is required"),
        ({"content_type": ""}, "attachments[1].content_type is required"),
        ({"content_type": "png"}, "attachments[1].content_type must be a media type"),
        ({"content": "YQ==\n"}, "attachments[1].content must be base64 without"),
        ({"content": "YQ="}, "attachments[1].content must be base64 without"),
        ({"content": "ä"}, "attachments[1].content must be base64 without"),
        ({"content_id": 5}, "attachments[1].content_id must be one line"),
        ({"file_name": 5}, "attachments[1].file_name must be the name"),
        ({"file_name": "Setup.EXE"}, "Files of this type are refused: Setup.EXE"),
    ],
)
async def test_an_attachment_must_fit_its_form(
    client: httpx.AsyncClient, change: dict[str, object], error: str
) -> None:
    """A flaw of an attachment is a 422 that says which and what."""
    mail = MAIL | {"attachments": [PIXEL, PIXEL | change]}
    status, text = await refused(client, mail)
    assert (422, error) == (status, text[: len(error)])


async def test_an_attachment_needs_content_but_no_content_id(
    client: httpx.AsyncClient,
) -> None:
    """Content must be there, if only empty; an id only for what stands inline."""
    file = {"file_name": "a.txt", "content_type": "text/plain"}
    status, text = await refused(client, MAIL | {"attachments": [file]})
    assert (422, "attachments[0].content is required") == (status, text)
    mail = MAIL | {"attachments": [file | {"content": ""}]}
    assert (await send(client, mail)).status_code == 202


@pytest.mark.parametrize(
    "kind",
    [
        *("vbs", "exe", "bin", "bat", "chm", "com", "hta"),
        *("pif", "reg", "vbe", "vba", "msc", "msi"),
    ],
)
async def test_each_refused_type_of_file_is_refused_in_both_forms(
    client: httpx.AsyncClient, kind: str
) -> None:
    """The documented types of file are a 422, in JSON and inside a raw message."""
    error = (422, f"Files of this type are refused: a.{kind}")
    file = PIXEL | {"file_name": f"a.{kind}"}
    assert error == await refused(client, MAIL | {"attachments": [file]})
    message = EmailMessage()
    message["From"], message["To"] = "hello@harbour.example", "ann@x.example"
    message.set_content("Hello")
    message.add_attachment(
        b"x", maintype="application", subtype="x", filename=f"a.{kind}"
    )
    assert error == await refused(client, raw(message.as_string()))


async def test_a_message_has_at_most_twenty_recipients(
    client: httpx.AsyncClient,
) -> None:
    """Twenty of to and cc together are accepted, one more is a 422."""
    to = [f"p{number}@x.example" for number in range(15)]
    cc = [f"q{number}@x.example" for number in range(5)]
    assert (await send(client, MAIL | {"to": to, "cc": cc})).status_code == 202
    mail = MAIL | {"to": [*to, "r@x.example"], "cc": cc}
    assert (422, "At most 20 recipients a message, got 21") == await refused(
        client, mail
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["html", "attachments", "raw"])
async def test_a_message_has_at_most_ten_megabytes_as_encoded(
    client: httpx.AsyncClient, form: str
) -> None:
    """10 MB of text, of base64 with its line ends, or of raw message are the limit."""
    ten = 10_000_000
    if form == "html":
        size, mail = ten, MAIL | {"plain": "", "html": "é" * (ten // 2)}
        more = mail | {"plain": "x"}
    elif form == "attachments":
        content = "A" * 9_743_588  # and 128205 line ends of two bytes
        size, mail = ten, MAIL | {"attachments": [PIXEL | {"content": content}]}
        mail["plain"] = "x" * (ten - 9_743_588 - 2 * 128_205)
        more = mail | {"plain": f"{mail['plain']}x"}
    else:
        size, mail = ten, raw(RAW + "x" * (ten - len(RAW)))
        more = raw(f"{mail['raw']}x")
    assert (await send(client, mail)).status_code == 202
    error = f"At most {size} bytes a message, got {size + 1}"
    assert (422, error) == await refused(client, more)


async def test_a_recipient_can_be_refused(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """One recipient `reject...` refuses the message."""
    mail = MAIL | {"cc": ["Reject.me@x.example"]}
    expected = (422, "Recipient refused: Reject.me@x.example")
    assert expected == await refused(client, mail)
    assert sandbox.store.accepted_count == 0


async def test_unknown_fields_are_refused_only_when_strict(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """What is no field of a form passes, unless the fault `strict` is set."""
    file = PIXEL | {"size": 100}
    others = [
        (MAIL | {"bcc": ["b@x.example"]}, "bcc is not a field"),
        (MAIL | {"id": "x"}, "id is not a field"),
        (MAIL | {"attachments": [file]}, "attachments[0].size is not a field"),
        (raw(priority="digest"), "priority is not a field"),
    ]
    for mail, _ in others:
        assert (await send(client, mail)).status_code == 202
    sandbox.faults = Faults(strict=True)
    for mail, error in others:
        assert (422, error) == await refused(client, mail)
    for mail in (MAIL | {"attachments": [PIXEL]}, raw()):
        assert (await send(client, mail)).status_code == 202


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"to": ', "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 422),
        (b"{}", "application/x-www-form-urlencoded", 422),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    client: httpx.AsyncClient, body: bytes, content_type: str, status: int
) -> None:
    """Malformed JSON is a 400, other things than an object a 422."""
    answer = await client.post(
        f"/{ACCOUNT}/messages", content=body, headers={"content-type": content_type}
    )
    assert (status, status) == (answer.status_code, answer.json()["status"])


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", "Basic dG9rZW46dG9rZW4="]
)
async def test_a_token_is_required(
    sandbox: Sandbox, client: httpx.AsyncClient, authorization: str
) -> None:
    """Without a bearer token, or with the wrong one, sending is a 401."""
    client.headers["authorization"] = authorization
    assert (401, "Invalid or missing API token") == await refused(client, MAIL)
    assert sandbox.store.accepted_count == 0


async def test_the_wrong_username_is_refused(client: httpx.AsyncClient) -> None:
    """A username that does not belong to the token is a 401, any other is right."""
    assert (await refused(client, MAIL, "wrong"))[0] == 401
    assert (await send(client, MAIL, "any%20one")).status_code == 202


async def test_mail_from_an_unverified_domain_is_forbidden(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """An unverified sender is a 403: by name, by the fault, or as was added here."""
    error = "Sending domain not verified: mail.unverified.example"
    mail = MAIL | {"from": "Hello <hello@mail.Unverified.example>"}
    assert (403, error) == await refused(client, mail)
    added = {"domain": "Harbour.example"}
    domain = (await client.post("/a/sending_domains", json=added)).json()
    error = "Sending domain not verified: harbour.example"
    assert (403, error) == await refused(client, MAIL)
    assert (403, error) == await refused(client, raw())
    await client.post(f"/a/sending_domains/{domain['id']}/verify")
    assert (await send(client, MAIL)).status_code == 202
    sandbox.faults = Faults(unverified="hello@harbour.example")
    assert (403, error) == await refused(client, MAIL)
    assert sandbox.store.accepted_count == 1


async def test_test_mode_is_echoed_and_validates(client: httpx.AsyncClient) -> None:
    """In test mode a message is validated as any; a test account always is in it."""
    answers = [
        await send(client, MAIL | {"test_mode": True}),
        await send(client, MAIL | {"test_mode": False}, "7e57111122223333"),
    ]
    assert [True, True] == [answer.json()["test_mode"] for answer in answers]
    assert (await refused(client, {"test_mode": True}))[0] == 422


async def test_other_paths_and_methods_are_not_found(client: httpx.AsyncClient) -> None:
    """What the documents do not have is a 404 in their form."""
    for method, path in [
        ("POST", "/"),
        ("POST", "//messages"),
        ("POST", f"/{ACCOUNT}"),
        ("POST", f"/{ACCOUNT}/message"),
        ("POST", f"/{ACCOUNT}/messages/"),
        ("GET", f"/{ACCOUNT}/messages"),
        ("PUT", f"/{ACCOUNT}/messages"),
    ]:
        answer = await client.request(method, f"{client.base_url}{path[1:]}", json=MAIL)
        assert (404, 404) == (answer.status_code, answer.json()["status"])


async def test_a_raw_message_is_accepted(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A raw message is answered as any other; its subject and key are its own."""
    message = raw(tags=["t"], test_mode=False, to=["ann@x.example"])
    content = (await send(client, message)).json()
    assert content == {
        "id": content["id"],
        "from": MAIL["from"],
        "to": ["ann@x.example"],
        "cc": [],
        "test_mode": False,
        "subject": "Grüße",
        "tags": ["t"],
    }
    (kept,) = sandbox.store.all("cloudmailin")
    assert kept.key == "k1@harbour.example"


async def test_a_subject_overrides_that_of_the_headers(
    client: httpx.AsyncClient,
) -> None:
    """The field `subject` wins over a raw message's and over one in `headers`."""
    assert (await send(client, raw(subject="New"))).json()["subject"] == "New"
    headers = {"headers": {"subject": "Old"}}
    assert (await send(client, MAIL | headers)).json()["subject"] == "Hello"
    without = {name: value for name, value in MAIL.items() if name != "subject"}
    assert (await send(client, without | headers)).json()["subject"] == "Old"


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (raw(""), "raw is required"),
        (raw(None), "raw must be a string"),
        (raw(plain="Hi"), "raw stands instead of plain, html and markdown"),
        (raw("Hello\r\n"), "raw is malformed: MissingHeaderBodySeparatorDefect"),
        (raw("\r\nHello\r\n"), "from must match the From header of raw"),
        (
            raw(RAW.replace("hello@", "other@")),
            "from must match the From header of raw",
        ),
        (raw(RAW.replace("To:", "X-To:")), "to must match the To header of raw"),
        (
            raw(to=["ann@x.example", "bob@x.example"]),
            "to must match the To header of raw",
        ),
        (
            raw(RAW.replace("<ann@x.example>", "<ann@x.example>, bob@x.example")),
            "to must match the To header of raw",
        ),
        (raw(cc="bob@x.example"), "cc must match the Cc header of raw"),
    ],
)
async def test_a_raw_message_must_agree_with_its_request(
    client: httpx.AsyncClient, message: dict[str, object], error: str
) -> None:
    """What is no message, or another than the fields say, is a 422."""
    assert (422, error) == await refused(client, message)


async def test_a_raw_message_agrees_whatever_names_and_folds(
    client: httpx.AsyncClient,
) -> None:
    """Case, display names, folded headers and bare line feeds make no difference."""
    text = (
        "from: =?utf-8?q?B=C3=BCcher?= <Hello@Harbour.example>\n"
        "to: Ann <ANN@x.example>,\n bob@x.example\n"
        "cc: cc@x.example, other@x.example\n\nHello\n"
    )
    message = raw(text, to="bob@x.example, ann@x.example", cc=["C <cc@x.example>"])
    assert (await send(client, message)).status_code == 202


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"message-id": " <k1@h.example> "}, "k1@h.example"),
        ({"X-Message-ID": "k2"}, "k2"),
        ({"X-Message-ID": "k2", "Message-ID": "<k1>"}, "k1"),
        ({"X-Other": "k3"}, None),
    ],
)
async def test_the_key_is_the_client_s_message_id(
    sandbox: Sandbox,
    client: httpx.AsyncClient,
    headers: dict[str, str],
    key: str | None,
) -> None:
    """Message-ID, then X-Message-ID, without brackets; else there is none."""
    await send(client, MAIL | {"headers": headers})
    assert [key] == [kept.key for kept in sandbox.store.all("cloudmailin")]
