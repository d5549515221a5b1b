"""The CloudMailin dialect over real sockets: what became of messages."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from uuid import uuid4

import httpx
import orjson
import pytest
import trio

from engine.sandbox import Sandbox, serve

ACCOUNT = "aaaa111122223333"
MAIL = {
    "from": "Harbour Books <hello@harbour.example>",
    "to": ["Ann <ann@x.example>"],
    "subject": "Hello",
    "plain": "Hello",
}
RAW = (
    "From: hello@harbour.example\r\nTo: ann@x.example\r\nSubject: Raw\r\n"
    "Message-ID: <k1@harbour.example>\r\n\r\nHello\r\n"
)


@pytest.fixture
async def sandbox(nursery: trio.Nursery) -> Sandbox:
    """A sandbox in which nothing has happened to a message yet but its acceptance."""
    sandbox = await nursery.start(serve)
    sandbox.store.pace = 1000.0
    return sandbox


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
    client: httpx.AsyncClient, mail: dict[str, object], username: str = ACCOUNT
) -> str:
    """Send one message and return its id."""
    answer = await client.post(f"/{username}/messages", json=MAIL | mail)
    assert answer.status_code == 202
    return answer.json()["id"]


async def send_raw(client: httpx.AsyncClient) -> str:
    """Send one raw message and return its id."""
    mail = {"from": "hello@harbour.example", "to": "ann@x.example", "raw": RAW}
    answer = await client.post(f"/{ACCOUNT}/messages", json=mail)
    return answer.json()["id"]


async def listed(
    client: httpx.AsyncClient, account: str = ACCOUNT, **parameters: str
) -> list[dict[str, object]]:
    """List outbound messages."""
    parameters = {"outbound_account_id": account} | parameters
    answer = await client.get("/a/outbound_messages", params=parameters)
    assert answer.status_code == 200
    return answer.json()


async def posts(client: httpx.AsyncClient, sandbox: Sandbox) -> list[dict[str, object]]:
    """Return what webhooks would post, each of exactly one event."""
    url = f"http://127.0.0.1:{sandbox.port}/_sandbox/events"
    events = []
    for line in (await client.get(url)).text.splitlines():
        (event,) = orjson.loads(line).pop("events")
        events.append(event)
    return events


async def test_nothing_becomes_of_a_message_in_test_mode(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """In test mode a message is registered and goes nowhere, as it is for webhooks."""
    sandbox.store.pace = 0.0
    tests = [
        await send(client, {"test_mode": True}),
        await send(client, {"to": "bounce@x.example"}, "7e57111122223333"),
    ]
    kinds = [event["kind"] for event in await posts(client, sandbox)]
    assert ["registration", "registration"] == kinds
    for message_id in tests:
        message = (await client.get(f"/a/outbound_messages/{message_id}")).json()
        assert message["test_mode"] is True
        assert message["recipients"][0]["last_event"] == "registration"


@pytest.mark.parametrize(
    ("to", "kinds"),
    [
        ("ann", ["registration", "dispatch", "delivery"]),
        ("bounce", ["registration", "dispatch", "bounce"]),
        ("soft", ["registration", "dispatch", "soft_bounce", "delivery"]),
        ("open", ["registration", "dispatch", "delivery", "open"]),
        ("click", ["registration", "dispatch", "delivery", "open", "click"]),
        ("unsubscribe", ["registration", "dispatch", "delivery", "open"]),
        ("complain", ["registration", "dispatch", "delivery", "complaint"]),
        ("suppress", ["registration", "suppressed"]),
    ],
)
async def test_webhooks_tell_what_becomes_of_a_message(
    sandbox: Sandbox, client: httpx.AsyncClient, to: str, kinds: list[str]
) -> None:
    """Each step is a post in CloudMailin's words; it has none for unsubscribing."""
    await send(client, {"to": f"{to}@x.example"})
    assert kinds == [event["kind"] for event in await posts(client, sandbox)]


async def test_an_event_has_the_documented_fields(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """An event names message and recipient, and what the mailbox server answered."""
    message_id = await send_raw(client)
    await send(client, {"to": "bounce@y.example"})
    events = await posts(client, sandbox)
    (kept, _) = sandbox.store.all("cloudmailin")
    at = sandbox.store.happenings(kept)[2].at
    assert events[2] == {
        "kind": "delivery",
        "message_id": message_id,
        "recipient": "ann@x.example",
        "original_message_id": "k1@harbour.example",
        "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
        "details": {
            "agent": "DSN",
            "reply_code": "250",
            "delivery_status": "2.0.0",
            "smtp_response": "250 2.0.0 OK",
            "remote_host": "mx.x.example",
        },
    }
    assert "original_message_id" not in events[5]
    assert events[5]["details"] == {
        "agent": "DSN",
        "reply_code": "550",
        "delivery_status": "5.1.1",
        "smtp_response": "550 5.1.1 No such user",
        "remote_host": "mx.y.example",
    }


async def test_a_message_is_shown_with_all_its_events(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Show has the documented fields, and of each recipient its own events in order."""
    sandbox.store.pace = 0.0
    to = ["Click <click@x.example>", "bounce@y.example"]
    mail = {"to": to, "cc": "suppress@z.example", "tags": ["marketing"]}
    message_id = await send(client, mail)
    message = (await client.get(f"/a/outbound_messages/{message_id}")).json()
    recipients = message.pop("recipients")
    at = f"{sandbox.store.moment(1):%Y-%m-%dT%H:%M:%SZ}"
    assert message == {
        "id": message_id,
        "from": "hello@harbour.example",
        "subject": "Hello",
        "message_id": f"<{message_id}@cloudmta.net>",
        "to": ["click@x.example", "bounce@y.example"],
        "cc": ["suppress@z.example"],
        "tags": ["marketing"],
        "test_mode": False,
        "created_at": at,
    }
    kinds = {r["email"]: [e["kind"] for e in r["events"]] for r in recipients}
    assert kinds == {
        "click@x.example": ["registration", "dispatch", "delivery", "open", "click"],
        "bounce@y.example": ["registration", "dispatch", "bounce"],
        "suppress@z.example": ["registration", "suppressed"],
    }
    assert ["click", "bounce", "suppressed"] == [r["last_event"] for r in recipients]
    assert recipients[1]["events"][2] == {
        "kind": "bounce",
        "timestamp": at,
        "details": {
            "agent": "DSN",
            "reply_code": "550",
            "delivery_status": "5.1.1",
            "smtp_response": "550 5.1.1 No such user",
            "remote_host": "mx.y.example",
        },
    }


async def test_internal_events_are_not_shown(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A complaint is told by webhooks alone."""
    sandbox.store.pace = 0.0
    message_id = await send(client, {"to": "complain@x.example"})
    message = (await client.get(f"/a/outbound_messages/{message_id}")).json()
    kinds = [event["kind"] for event in message["recipients"][0]["events"]]
    assert ["registration", "dispatch", "delivery"] == kinds


async def test_what_has_not_happened_yet_is_not_shown(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Events come in their time, those that a webhook would have posted by then."""
    message_id = await send(client, {})
    path = f"/a/outbound_messages/{message_id}"
    (recipient,) = (await client.get(path)).json()["recipients"]
    assert ["registration"] == [event["kind"] for event in recipient["events"]]
    (kept,) = sandbox.store.all()
    sent = sandbox.store.happenings(kept)[1].at - sandbox.store.moment(1)
    sandbox.store.pace *= timedelta(microseconds=1) / sent
    (recipient,) = (await client.get(path)).json()["recipients"]
    assert ["registration", "dispatch", "delivery"] == [
        event["kind"] for event in recipient["events"]
    ]


async def test_an_unknown_message_is_not_found(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A message that was not sent here is a 404, be it another dialect's."""
    other = MAIL | {"to": "ann@x.example", "html": "Hello"}
    async with httpx.AsyncClient(verify=False, trust_env=False) as mails:
        answer = await mails.post(
            f"{sandbox.base_url('cloudmails')}/send",
            json=other,
            headers={"authorization": "Bearer token"},
        )
    for message_id in (str(uuid4()), "x", answer.json()["message_id"]):
        answer = await client.get(f"/a/outbound_messages/{message_id}")
        assert answer.status_code == 404
        error = f"There is no outbound message {message_id}"
        assert {"status": 404, "error": error} == answer.json()
    assert [] == await listed(client)


async def test_messages_are_listed_by_account_newest_first(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A list has the messages of one username, with each recipient's last event."""
    ids = [await send(client, {"to": f"p{n}@x.example"}) for n in range(3)]
    other = await send(client, {}, "bbbb111122223333")
    messages = await listed(client)
    assert ids[::-1] == [message["id"] for message in messages]
    shown = (await client.get(f"/a/outbound_messages/{ids[2]}")).json()
    del shown["recipients"][0]["events"]
    assert shown == messages[0]
    last = {"email": "p2@x.example", "last_event": "registration"}
    assert [last] == messages[0]["recipients"]
    assert [other] == [m["id"] for m in await listed(client, "bbbb111122223333")]


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({}, "outbound_account_id is required"),
        (
            {"outbound_account_id": "AAAA111122223333"},
            "outbound_account_id must be 16 hexadecimal digits",
        ),
        ({"outbound_account_id": ACCOUNT, "page": "0"}, "page must be a whole number"),
        ({"outbound_account_id": ACCOUNT, "page": "x"}, "page must be a whole number"),
        (
            {"outbound_account_id": ACCOUNT, "query": "(a"},
            "query cannot be read at: (a",
        ),
        ({"outbound_account_id": ACCOUNT, "query": "a NOT b"}, "query cannot be read"),
    ],
)
async def test_a_list_s_parameters_are_checked(
    client: httpx.AsyncClient, parameters: dict[str, str], error: str
) -> None:
    """The account is required and of a form; a page or query that is none is a 422."""
    answer = await client.get("/a/outbound_messages", params=parameters)
    content = answer.json()
    assert (422, 422) == (answer.status_code, content["status"])
    assert error == content["error"][: len(error)]


async def test_pages_go_back_in_time(client: httpx.AsyncClient) -> None:
    """A page has 25 messages, the last the rest, the one behind it none."""
    ids = [await send(client, {}) for _ in range(27)]
    pages = [await listed(client, page=str(page)) for page in (1, 2, 3)]
    assert [25, 2, 0] == [len(page) for page in pages]
    assert ids[::-1] == [message["id"] for page in pages for message in page]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["ann", "bob", "cleo"]),
        ("tags:run-1", ["ann", "bob"]),
        ("tags:run-1 AND to:BOB@x.example", ["bob"]),
        ("to:ann@x.example OR to:cleo", ["ann", "cleo"]),
        ("to:ann@x.example to:cleo", ["ann", "cleo"]),
        ("tags:run-1 AND to:ann OR tags:run-10", ["ann", "cleo"]),
        ('subject:"Spring news"', ["cleo"]),
        ("spring", ["cleo"]),
        ("cc:boss@x.example", ["ann"]),
        ("from:hello@harbour.example", ["ann", "bob", "cleo"]),
        ("test_mode:true", ["bob"]),
        ("nowhere", []),
        ("x:ann", []),
    ],
)
async def test_messages_are_searched_by_query(
    client: httpx.AsyncClient, query: str, found: list[str]
) -> None:
    """A query has words and fields, joined by AND and OR; tags must be equal."""
    await send(
        client, {"to": "ann@x.example", "cc": "boss@x.example", "tags": ["run-1"]}
    )
    await send(client, {"to": "bob@x.example", "tags": "run-1,b", "test_mode": True})
    await send(
        client, {"to": "cleo@x.example", "subject": "Spring news", "tags": "run-10"}
    )
    messages = await listed(client, query=query)
    names = [message["to"][0].partition("@")[0] for message in messages]
    assert found == sorted(names)


async def test_a_message_is_found_by_its_ids(client: httpx.AsyncClient) -> None:
    """The id and the Message-ID that CloudMailin gave are words to search for."""
    ids = [await send(client, {}), await send_raw(client)]
    for message_id in ids:
        for query in (message_id, f'message_id:"<{message_id}@cloudmta.net>"'):
            found = await listed(client, query=query)
            assert [message_id] == [message["id"] for message in found]


async def test_of_a_message_not_kept_whole_the_recipient_is_known(
    nursery: trio.Nursery, client: httpx.AsyncClient
) -> None:
    """Beyond `keep` a message is shown and listed by what the index has of it."""
    sandbox = await nursery.start(partial(serve, keep=1))
    client.base_url = sandbox.base_url("cloudmailin")
    ids = [await send(client, {"to": f"p{n}@x.example"}) for n in range(2)]
    assert ids[::-1] == [message["id"] for message in await listed(client)]
    message = (await client.get(f"/a/outbound_messages/{ids[1]}")).json()
    assert (["p1@x.example"], None) == (message["to"], message["subject"])
    assert [message["id"]] == [m["id"] for m in await listed(client, query="to:p1")]


async def test_a_reset_forgets_the_messages(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """After a reset nothing was sent."""
    message_id = await send(client, {})
    sandbox.reset()
    assert [] == await listed(client)
    answer = await client.get(f"/a/outbound_messages/{message_id}")
    assert answer.status_code == 404
