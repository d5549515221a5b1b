"""The CloudMails dialect, over real sockets."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest
import trio
from trio.testing import MockClock

from engine.sandbox import Faults, Sandbox, serve

MAIL = {
    "to": "ann@x.example",
    "from": "Harbour Books <hello@harbour.example>",
    "subject": "Hello",
    "html": "<p>Hello</p>",
}


@pytest.fixture
async def sandbox(nursery: trio.Nursery) -> Sandbox:
    """A sandbox without faults."""
    return await nursery.start(serve)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client of its CloudMails API with a token."""
    async with httpx.AsyncClient(
        base_url=sandbox.base_url("cloudmails"),
        headers={"authorization": "Bearer token"},
        verify=False,
        trust_env=False,
    ) as client:
        yield client


def mails(*addresses: str) -> dict[str, object]:
    """Write a batch of one mail to each address."""
    return {"messages": [MAIL | {"to": address} for address in addresses]}


def error_of(answer: httpx.Response) -> dict[str, object]:
    """Read an answer that must be an error in CloudMails' form."""
    content = answer.json()
    assert content["success"] is False
    assert {"code", "message", "details"} == set(content["error"])
    return content["error"]


async def test_one_mail_is_accepted_with_an_id(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """POST /send accepts the documented fields and returns the message's id."""
    mail = MAIL | {
        "text": "Hello",
        "reply_to": "help@harbour.example",
        "cc": ["c@x.example"],
        "bcc": [],
        "attachments": [
            {"name": "a.txt", "content": "YQ=="},
            {"filename": "ä.txt", "content": "", "content_type": "text/plain"},
        ],
        "custom_args": {"message_id": "k1", "user_id": 5},
    }
    answer = await client.post("/send", json=mail)
    assert answer.status_code == 200
    message_id = answer.json()["message_id"]
    assert message_id.startswith("msg_")
    kept = mail | {
        "message_id": message_id,
        "key": "k1",
        "request": 1,
        "dialect": "cloudmails",
    }
    assert {"total": 1, "messages": [kept]} == sandbox.store.messages()


@pytest.mark.parametrize("field", ["to", "from", "subject", "html"])
async def test_a_missing_required_field_is_refused(
    client: httpx.AsyncClient, field: str
) -> None:
    """A mail without a required field is a 400 that names the field."""
    mail = {name: value for name, value in MAIL.items() if name != field}
    answer = await client.post("/send", json=mail)
    assert answer.status_code == 400
    assert {"field": field} == error_of(answer)["details"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", ["ann@x.example"]),
        ("to", "ann"),
        ("to", "Ann <ann@x.example>"),
        ("to", "ann@x.example,bob@x.example"),
        ("from", ""),
        ("from", "Harbour Books"),
        ("subject", ""),
        ("subject", "one\r\nBcc: two"),
        ("html", ""),
        ("html", None),
        ("text", None),
        ("reply_to", 5),
        ("cc", "c@x.example"),
        ("bcc", [1]),
        ("attachments", ["a.txt"]),
        ("attachments", {"name": "a.txt", "content": "YQ=="}),
        ("attachments", [{"content": "YQ=="}]),
        ("attachments", [{"name": "", "content": "YQ=="}]),
        ("attachments", [{"name": "a\r\nb", "content": "YQ=="}]),
        ("attachments", [{"name": "a.txt"}]),
        ("attachments", [{"name": "a.txt", "content": "YQ"}]),
        ("attachments", [{"name": "a.txt", "content": "Y Q="}]),
        ("attachments", [{"name": "a.txt", "content": "YQ==\n"}]),
        ("attachments", [{"name": "a.txt", "content": "ä==="}]),
        ("custom_args", ["k1"]),
        ("custom_args", {"a": ["k1"]}),
        ("custom_args", {"a": {"b": "c"}}),
    ],
)
async def test_a_field_of_the_wrong_type_is_refused(
    sandbox: Sandbox, client: httpx.AsyncClient, field: str, value: object
) -> None:
    """Each documented field must have its documented type."""
    answer = await client.post("/send", json=MAIL | {field: value})
    assert answer.status_code == 400
    assert {"field": field} == error_of(answer)["details"]
    assert sandbox.store.accepted_count == 0


async def test_unknown_fields_are_refused_only_when_strict(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """An undocumented field passes, unless the fault `strict` is set."""
    assert (await client.post("/send", json=MAIL | {"tags": []})).status_code == 200
    sandbox.faults = Faults(strict=True)
    assert (await client.post("/send", json=MAIL)).status_code == 200
    refused = await client.post("/send", json=MAIL | {"tags": []})
    assert (refused.status_code, error_of(refused)["code"]) == (400, "unknown_field")
    batch = mails("a@x.example") | {"tags": []}
    assert (await client.post("/send/batch", json=batch)).status_code == 400


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"to": ', "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
        (b"{}", "application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("path", ["/send", "/send/batch"])
async def test_a_body_that_is_no_json_object_is_refused(
    client: httpx.AsyncClient, path: str, body: bytes, content_type: str
) -> None:
    """Malformed JSON, another type, or another Content-Type is a 400."""
    headers = {"content-type": content_type}
    answer = await client.post(path, content=body, headers=headers)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], "messages must be a non-empty array"),
        ("x", "messages must be a non-empty array"),
        (None, "messages must be a non-empty array"),
        ([MAIL] * 1001, "At most 1000 messages per batch, got 1001"),
    ],
)
async def test_a_batch_has_one_to_a_thousand_messages(
    sandbox: Sandbox, client: httpx.AsyncClient, messages: object, expected: str
) -> None:
    """A batch that is empty, no array, or over the limit is a 400."""
    answer = await client.post("/send/batch", json={"messages": messages})
    assert (400, expected) == (answer.status_code, error_of(answer)["message"])
    assert sandbox.store.accepted_count == 0


async def test_a_full_batch_is_accepted_in_order(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A thousand messages are accepted, with ids in the order of the request."""
    addresses = [f"p{i}@x.example" for i in range(1000)]
    answer = await client.post("/send/batch", json=mails(*addresses))
    rows = answer.json()["results"]
    page = sandbox.store.messages(limit=1000)["messages"]
    assert addresses == [message["to"] for message in page]
    assert [m["message_id"] for m in page] == [row["message_id"] for row in rows]
    assert len({row["message_id"] for row in rows}) == 1000


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic dG9rZW4="])
async def test_a_token_is_required(
    sandbox: Sandbox, client: httpx.AsyncClient, authorization: str
) -> None:
    """Without a bearer token every endpoint is a 401."""
    headers = {"authorization": authorization}
    for method, path in [
        ("POST", "/send"),
        ("POST", "/send/batch"),
        ("GET", "/emails/msg_1"),
    ]:
        answer = await client.request(method, path, headers=headers, json=MAIL)
        assert answer.status_code == 401
        assert error_of(answer)["code"] == "unauthorized"
    assert sandbox.store.accepted_count == 0


async def test_other_paths_and_methods_are_refused(client: httpx.AsyncClient) -> None:
    """What the document does not have is 404, the wrong method 405 with Allow."""
    for path in ("/", "/send/", "/email/send", "/emails/", "/send/batch/1"):
        answer = await client.post(path, json=MAIL)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")
    for method, path, allowed in [
        ("GET", "/send", "POST"),
        ("PUT", "/send/batch", "POST"),
        ("POST", "/emails/msg_1", "GET"),
        ("HEAD", "/send", "POST"),
    ]:
        answer = await client.request(method, path)
        assert (405, allowed) == (answer.status_code, answer.headers["allow"])


async def test_an_unverified_sender_is_forbidden(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Mail from the unverified address is a 403, in a batch for the whole of it."""
    sandbox.faults = Faults(unverified="hello@harbour.example")
    for path, body in [("/send", MAIL), ("/send/batch", mails("a@x.example"))]:
        answer = await client.post(path, json=body)
        assert answer.status_code == 403
        assert error_of(answer)["code"] == "sender_not_verified"
    other = MAIL | {"from": "news@harbour.example"}
    assert (await client.post("/send", json=other)).status_code == 200
    assert sandbox.store.accepted_count == 1


async def test_the_fate_of_a_mail_can_be_looked_up_as_it_unfolds(
    sandbox: Sandbox, client: httpx.AsyncClient, mock_clock: MockClock
) -> None:
    """GET /emails/{id} tells what has happened by now, with its moments and counts."""
    sandbox.store.pace = 0.01
    names = ("ann", "bounce.me", "soft", "click", "suppressed")
    batch = mails(*(f"{name}@x.example" for name in names))
    rows = (await client.post("/send/batch", json=batch)).json()["results"]
    assert {"sent"} == {row["status"] for row in rows}

    async def look() -> dict[str, dict[str, object]]:
        """Ask for each, by name."""
        answers = [await client.get(f"/emails/{row['message_id']}") for row in rows]
        return dict(zip(names, (a.json() for a in answers), strict=True))

    new = await look()
    created_at = new["ann"]["created_at"]
    assert new["ann"] == {
        "message_id": rows[0]["message_id"],
        "status": "sent",
        "created_at": created_at,
        "opens": 0,
        "clicks": 0,
    }
    assert timedelta(0) == datetime.fromisoformat(created_at) - sandbox.store.moment(1)
    mock_clock.jump(0.036)
    soon = await look()
    delivered_at = soon["ann"].pop("delivered_at")
    assert new["ann"] | {"status": "delivered"} == soon["ann"]
    took = datetime.fromisoformat(delivered_at) - datetime.fromisoformat(created_at)
    assert 0.006 <= took.total_seconds() <= 0.035
    assert soon["bounce.me"]["status"] == "bounced"
    assert soon["bounce.me"]["bounce_reason"] == "550 5.1.1 No such user"
    assert "delivered_at" not in soon["bounce.me"]
    assert (soon["soft"]["status"], soon["click"]["opens"]) == ("deferred", 0)
    assert soon["suppressed"]["status"] == "failed"
    mock_clock.jump(10)
    late = await look()
    assert late["soft"]["status"] == "delivered"
    assert (late["click"]["opens"], late["click"]["clicks"]) == (1, 1)
    assert (late["ann"]["opens"], late["ann"]["clicks"]) == (0, 0)
    assert (await client.get("/emails/msg_unknown")).status_code == 404


async def test_a_refused_recipient_of_a_single_mail_is_told(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """POST /send to `reject...` is a 400 about the recipient."""
    answer = await client.post("/send", json=MAIL | {"to": "reject.1@x.example"})
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_recipient"
    assert sandbox.store.accepted_count == 0


async def test_atomic_refuses_the_whole_batch_and_names_the_message(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """With `atomic` one bad message makes the batch a 400 with its index."""
    sandbox.faults = Faults(atomic=True)
    batch = mails("a@x.example", "b@x.example", "nonsense")
    answer = await client.post("/send/batch", json=batch)
    assert answer.status_code == 400
    assert error_of(answer)["details"] == {"index": 2, "field": "to"}
    assert sandbox.store.accepted_count == 0


@pytest.mark.parametrize(
    "shape", ["ids", "message_ids", "batch_id", "success", "accepted_empty"]
)
async def test_a_shape_without_room_for_refusals_refuses_the_batch(
    sandbox: Sandbox, client: httpx.AsyncClient, shape: str
) -> None:
    """Where an answer cannot name a bad message, the whole batch is a 400."""
    sandbox.faults = Faults(shape=shape)
    batch = mails("a@x.example", "reject@x.example")
    answer = await client.post("/send/batch", json=batch)
    assert (answer.status_code, error_of(answer)["details"]["index"]) == (400, 1)
    assert sandbox.store.accepted_count == 0


async def post_in_shape(
    sandbox: Sandbox, client: httpx.AsyncClient, shape: str, *addresses: str
) -> tuple[httpx.Response, dict[str, str]]:
    """Post a batch; return the answer and the ids that were given, by address."""
    sandbox.faults = Faults(shape=shape)
    answer = await client.post("/send/batch", json=mails(*addresses))
    page = sandbox.store.messages(limit=1000)["messages"]
    return answer, {message["to"]: message["message_id"] for message in page}


THREE = ("a@x.example", "reject@x.example", "c@x.example")


@pytest.mark.parametrize("shape", ["results", "messages", "data", "emails", "bare"])
async def test_positional_shapes_tell_of_each_message(
    sandbox: Sandbox, client: httpx.AsyncClient, shape: str
) -> None:
    """A positional answer has one object per message, in order, refusals included."""
    answer, ids = await post_in_shape(sandbox, client, shape, *THREE)
    content = answer.json()
    rows = content if shape == "bare" else content[shape]
    a, refused, c = rows
    assert {"message_id": ids["a@x.example"], "status": "sent"} == a
    assert {"message_id": ids["c@x.example"], "status": "sent"} == c
    assert refused["status"] == "failed"
    assert refused["error"]["code"] == "invalid_recipient"
    assert {"a@x.example", "c@x.example"} == set(ids)


async def test_an_object_that_is_no_message_is_refused_alone(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A message that is no object does not take its neighbours with it."""
    sandbox.faults = Faults(shape="keyed")
    batch = {"messages": [5, MAIL, {}]}
    rows = (await client.post("/send/batch", json=batch)).json()["results"]
    statuses = sorted(row["status"] for row in rows)
    assert statuses == ["failed", "failed", "sent"]
    assert sandbox.store.accepted_count == 1


async def test_keyed_and_indexed_answers_are_in_another_order(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`keyed` and `indexed` can be matched only by `to` and by `index`."""
    answer, ids = await post_in_shape(sandbox, client, "keyed", *THREE)
    rows = answer.json()["results"]
    assert list(THREE) != [row["to"] for row in rows]
    assert ids == {r["to"]: r["message_id"] for r in rows if r["status"] == "sent"}
    sandbox.reset()
    answer, ids = await post_in_shape(sandbox, client, "indexed", *THREE)
    rows = answer.json()["results"]
    assert [row["index"] for row in rows] != [0, 1, 2]
    found = {r["index"]: r["message_id"] for r in rows if r["status"] == "sent"}
    assert {0: ids["a@x.example"], 2: ids["c@x.example"]} == found


async def test_two_messages_are_never_answered_in_their_order(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A shuffle is another order even where chance would have kept it."""
    sandbox.faults = Faults(shape="indexed")
    for _ in range(8):
        batch = mails("a@x.example", "b@x.example")
        rows = (await client.post("/send/batch", json=batch)).json()["results"]
        assert [row["index"] for row in rows] == [1, 0]


async def test_errors_stand_beside_the_ids_of_the_accepted(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`errors` names the refused by index, and the ids are of the accepted alone."""
    answer, ids = await post_in_shape(sandbox, client, "errors", *THREE)
    content = answer.json()
    assert list(ids.values()) == content["message_ids"]
    assert [error["index"] for error in content["errors"]] == [1]
    assert {"index", "code", "message"} == set(content["errors"][0])


async def test_bare_shapes_say_little(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """The shapes without objects per message answer exactly as they are named."""
    two = ("a@x.example", "b@x.example")
    answer, ids = await post_in_shape(sandbox, client, "ids", *two)
    assert list(ids.values()) == answer.json()
    sandbox.reset()
    answer, ids = await post_in_shape(sandbox, client, "message_ids", *two)
    assert list(ids.values()) == answer.json()["message_ids"]
    answer, _ = await post_in_shape(sandbox, client, "batch_id", *two)
    assert list(answer.json()) == ["batch_id"]
    answer, _ = await post_in_shape(sandbox, client, "success", *two)
    assert answer.json() == {"success": True}
    answer, _ = await post_in_shape(sandbox, client, "accepted_empty", *two)
    assert (answer.status_code, answer.content) == (202, b"")
    assert sandbox.store.accepted_count == 8


@pytest.mark.parametrize(("shape", "length"), [("short", 2), ("long", 4)])
async def test_lengths_can_mismatch(
    sandbox: Sandbox, client: httpx.AsyncClient, shape: str, length: int
) -> None:
    """`short` and `long` answer with one object too few or too many."""
    three = ("a@x.example", "b@x.example", "c@x.example")
    answer, ids = await post_in_shape(sandbox, client, shape, *three)
    assert length == len(answer.json()["results"])
    assert len(ids) == 3
