"""Webhooks of the sandbox, to a receiver on a real socket."""

import hashlib
import hmac
from collections import defaultdict
from collections.abc import AsyncIterator
from functools import partial
from itertools import chain, repeat

import httpx
import orjson
import pytest
import trio
from sandbox.receiver import Post, Receiver
from trio.testing import MockClock

from engine.sandbox import Faults, Sandbox, Webhook, serve
from engine.sandbox.client import PATIENCE
from engine.sandbox.webhook import AT_ONCE, TRIES

MAIL = {
    "to": "ann@x.example",
    "from": "hello@harbour.example",
    "subject": "Hello",
    "html": "<p>Hello</p>",
}
ROOT = "/cloudmails/v1"
PACE = 0.0001  # a quarter of an hour in 0.1 s


@pytest.fixture
async def sandbox(nursery: trio.Nursery, receiver: Receiver) -> Sandbox:
    """A sandbox that posts to the receiver, fast."""
    webhook = Webhook(receiver.url, pace=PACE)
    return await nursery.start(partial(serve, webhook=webhook))


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token, of the whole sandbox."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{sandbox.port}",
        headers={"authorization": "Bearer token"},
        verify=False,
        trust_env=False,
        timeout=5,
    ) as client:
        yield client


async def send(client: httpx.AsyncClient, *names: str) -> None:
    """Send a mail to each of some people."""
    batch = [MAIL | {"to": f"{name}@x.example"} for name in names]
    answer = await client.post(f"{ROOT}/send/batch", json={"messages": batch})
    assert answer.status_code == 200


async def told(client: httpx.AsyncClient) -> dict[str, int]:
    """Ask what became of the posts."""
    return (await client.get("/_sandbox/stats")).json()["webhook"]


async def wait_until_told(client: httpx.AsyncClient) -> dict[str, int]:
    """Wait until nothing waits to be posted; return what became of the posts."""
    while (counts := await told(client))["waiting"]:  # noqa: ASYNC110 - it asks a server
        await trio.sleep(0.005)
    return counts


def by_recipient(posts: list[Post]) -> dict[str, list[object]]:
    """Group events by whom they are about, in the order of their arrival."""
    events: dict[str, list[object]] = defaultdict(list)
    for post in posts:
        about = post.content.get("data", post.content)
        name = str(about["recipient"]).partition("@")[0]  # type: ignore[index]
        events[name].append(post.event)
    return dict(events)


ALL = ("ann", "bounce", "soft", "click", "unsubscribe", "complain", "suppressed")


async def test_what_happens_is_posted_in_the_words_of_the_dialect(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """Every event of every message is posted once, whole, in order per message."""
    await send(client, *ALL)
    counts = await wait_until_told(client)
    assert by_recipient(receiver.posts) == {
        "ann": ["delivered"],
        "bounce": ["bounced"],
        "soft": ["delivered"],
        "click": ["delivered", "opened", "clicked"],
        "unsubscribe": ["delivered", "opened", "unsubscribed"],
        "complain": ["delivered", "complained"],
    }
    lines = (await client.get("/_sandbox/events")).content.splitlines()
    assert sorted(lines) == sorted(post.body for post in receiver.posts)
    number = len(receiver.posts)
    assert {"posted": number, "acknowledged": number, "failed": 0, "waiting": 0} == (
        counts
    )
    first = receiver.posts[0]
    assert first.target == "/hook?a=1"
    assert first.headers["content-type"] == "application/json"
    assert f"127.0.0.1:{receiver.port}" == first.headers["host"]


async def test_events_come_when_they_happen(
    nursery: trio.Nursery, receiver: Receiver, mock_clock: MockClock
) -> None:
    """At pace 1 each post arrives at the moment that it tells of, minutes later."""
    mock_clock.autojump_threshold = 0.02
    sandbox = await nursery.start(partial(serve, webhook=Webhook(receiver.url)))
    start = trio.current_time() - sandbox.elapsed()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{sandbox.port}",
        headers={"authorization": "Bearer token"},
        verify=False,
        trust_env=False,
        timeout=None,
    ) as client:
        await send(client, "click", "ann", "soft")
    posts = await receiver.wait_for(5)
    due = sorted(
        (happening.at - sandbox.store.opened).total_seconds()
        for kept in sandbox.store.all()
        for happening in sandbox.store.happenings(kept)
        if happening.kind in {"delivered", "opened", "clicked"}
    )
    assert due == pytest.approx([post.at - start for post in posts], abs=0.5)
    assert due[-1] > 60


async def test_at_most_eight_posts_are_under_way(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """A receiver that does not answer is asked eight times at once, not more."""
    receiver.gate = trio.Event()
    await send(client, *(f"p{n}" for n in range(50)))
    await receiver.wait_for(AT_ONCE)
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert len(receiver.posts) == AT_ONCE == 8
    assert (await told(client))["waiting"] == 50
    receiver.gate.set()
    await wait_until_told(client)
    assert (receiver.at_once, len(receiver.posts)) == (AT_ONCE, 50)
    assert receiver.connections == AT_ONCE


@pytest.mark.parametrize("bad", [500, 302, None])
async def test_an_unwelcome_post_is_made_again(
    client: httpx.AsyncClient, receiver: Receiver, bad: int | None
) -> None:
    """Another status than 2xx, or no answer, has the same post come again."""
    receiver.answers = chain([bad, bad], repeat(202))
    await send(client, "ann")
    counts = await wait_until_told(client)
    assert {"posted": 3, "acknowledged": 1, "failed": 0, "waiting": 0} == counts
    assert len({post.body for post in receiver.posts}) == 1
    first, second, third = (post.at for post in receiver.posts)
    assert second - first >= 10 * PACE
    assert third - second >= 60 * PACE


async def test_an_event_is_given_up_after_three_tries_and_the_next_comes(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """What nobody takes is counted as failed, and does not hold back what follows."""
    receiver.answers = chain(repeat(503, TRIES), repeat(200))
    await send(client, "open")
    counts = await wait_until_told(client)
    assert [*["delivered"] * 3, "opened"] == [post.event for post in receiver.posts]
    assert {"posted": 4, "acknowledged": 1, "failed": 1, "waiting": 0} == counts


async def test_every_event_has_its_own_tries(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """An event that needed all its tries leaves the next one as many."""
    receiver.answers = chain([500, 500, 200] * 2)
    await send(client, "open")
    counts = await wait_until_told(client)
    assert {"posted": 6, "acknowledged": 2, "failed": 0, "waiting": 0} == counts


async def test_nobody_listening_is_an_event_that_failed(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A port without a receiver costs the tries, and the sandbox goes on."""
    with trio.socket.socket() as taken:
        await taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    sandbox.webhook = Webhook(f"http://127.0.0.1:{port}/", pace=PACE)
    await send(client, "ann")
    counts = await wait_until_told(client)
    assert {"posted": 3, "acknowledged": 0, "failed": 1, "waiting": 0} == counts


async def test_a_silent_receiver_is_given_ten_seconds(
    nursery: trio.Nursery, receiver: Receiver, mock_clock: MockClock
) -> None:
    """A post without an answer is abandoned, and made again on another connection."""
    mock_clock.autojump_threshold = 0.02
    receiver.gate = trio.Event()
    webhook = Webhook(receiver.url, pace=0)
    sandbox = await nursery.start(partial(serve, webhook=webhook))
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    body = orjson.dumps(MAIL)
    await stream.send_all(
        f"POST {ROOT}/send HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\n"
        "content-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n".encode()
        + body
    )
    posts = await receiver.wait_for(2)
    assert PATIENCE == 10.0
    assert posts[1].at - posts[0].at == pytest.approx(PATIENCE, abs=0.5)
    assert receiver.connections == 2
    await stream.aclose()


async def test_a_connection_that_was_closed_meanwhile_is_no_failure(
    client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """A receiver may end idle connections without a word, and loses nothing by it."""
    receiver.closes = True
    for number in range(20):
        await send(client, f"p{number}")
        await wait_until_told(client)
    assert {"posted": 20, "acknowledged": 20, "failed": 0, "waiting": 0} == (
        await told(client)
    )
    assert len(receiver.posts) == 20


# ---- in the words of CloudMails


async def test_posts_are_signed_with_the_secret_alone(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """A secret signs the raw body by HMAC-SHA256; without one there is no header."""
    header = "x-cloudmails-signature"
    await send(client, "ann")
    await wait_until_told(client)
    sandbox.webhook = Webhook(receiver.url, pace=PACE, secret="s3cret")
    await send(client, "ann")
    await wait_until_told(client)
    sandbox.faults = Faults(signature_header="X-Other")
    await send(client, "ann")
    await wait_until_told(client)
    unsigned, signed, other = receiver.posts
    assert header not in unsigned.headers
    expected = hmac.new(b"s3cret", signed.body, hashlib.sha256).hexdigest()
    assert expected == signed.headers[header]
    assert header not in other.headers
    assert len(other.headers["x-other"]) == 64


async def test_events_can_have_the_nested_form(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """`events_form=nested` posts the second public form, soft bounces included."""
    sandbox.faults = Faults(events_form="nested")
    await send(client, *ALL)
    await wait_until_told(client)
    assert by_recipient(receiver.posts) == {
        "ann": ["email.delivered"],
        "bounce": ["email.bounced"],
        "soft": ["email.bounced", "email.delivered"],
        "click": ["email.delivered", "email.opened", "email.clicked"],
        "unsubscribe": ["email.delivered", "email.opened"],
        "complain": ["email.delivered", "email.complained"],
    }
    bounces = {
        post.content["data"]["recipient"]: post.content
        for post in receiver.posts
        if post.event == "email.bounced"
    }
    hard = bounces["bounce@x.example"]
    kept = next(k for k in sandbox.store.all() if k.to == "bounce@x.example")
    moment = sandbox.store.happenings(kept)[-1].at
    assert hard == {
        "event": "email.bounced",
        "timestamp": int(moment.timestamp()),
        "data": {
            "message_id": kept.message_id,
            "recipient": "bounce@x.example",
            "bounce_type": "hard",
            "bounce_code": "550 5.1.1",
            "bounce_description": "No such user",
        },
    }
    assert bounces["soft@x.example"]["data"]["bounce_type"] == "soft"


# ---- faults


async def test_every_nth_event_can_come_twice(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """`webhook_twice=3` posts every third event once more, the same bytes."""
    sandbox.faults = Faults(webhook_twice=3)
    await send(client, *(f"p{n}" for n in range(9)))
    counts = await wait_until_told(client)
    assert {"posted": 12, "acknowledged": 9, "failed": 0, "waiting": 0} == counts
    bodies = [post.body for post in receiver.posts]
    assert (len(bodies), len(set(bodies))) == (12, 9)


async def test_the_events_of_a_message_can_come_in_disorder(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """`webhook_shuffle` posts what happened last first, and nothing from the future."""
    sandbox.faults = Faults(webhook_shuffle=True)
    start = trio.current_time() - sandbox.elapsed()
    await send(client, "click", "ann")
    await wait_until_told(client)
    [click, _] = sandbox.store.all()
    end = sandbox.store.happenings(click)[-1].at - sandbox.store.opened
    told = [post.at - start for post in receiver.posts[1:]]
    assert all(at >= end.total_seconds() for at in told)
    assert by_recipient(receiver.posts) == {
        "ann": ["delivered"],
        "click": ["clicked", "opened", "delivered"],
    }


async def test_a_ping_can_come_first(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """`webhook_ping` posts one ping, and no event before it is answered."""
    sandbox.faults = Faults(webhook_ping=True)
    receiver.gate = trio.Event()
    await send(client, *(f"p{n}" for n in range(20)))
    await receiver.wait_for(1)
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert ["ping"] == [post.event for post in receiver.posts]
    receiver.gate.set()
    counts = await wait_until_told(client)
    assert {"posted": 21, "acknowledged": 20, "failed": 0, "waiting": 0} == counts
    assert ["delivered"] * 20 == [post.event for post in receiver.posts[1:]]


# ---- setting it


async def test_a_webhook_is_set_shown_and_removed_over_http(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """POST replaces it and counts anew, GET hides the secret, DELETE ends it."""
    url = "/_sandbox/webhook"
    await send(client, "ann")
    await wait_until_told(client)
    target = f"http://127.0.0.1:{receiver.port}/of/{{provider}}"
    settings = {"url": target, "pace": PACE, "secret": "s3cret"}
    shown = {"url": target, "pace": PACE, "signed": True}
    answer = await client.post(url, json=settings)
    assert shown == answer.json() == (await client.get(url)).json()
    assert (await told(client))["posted"] == 0
    await send(client, "bob")
    await wait_until_told(client)
    assert ["/hook?a=1", "/of/cloudmails"] == [post.target for post in receiver.posts]
    assert (await client.delete(url)).json() == {} == (await client.get(url)).json()
    await send(client, "cid")
    assert (await told(client))["waiting"] == 0
    assert sandbox.store.pace == 1.0


async def test_a_pace_alone_hastens_what_lookups_tell(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """Without a URL nothing is posted, but everything happens at the pace."""
    await client.post("/_sandbox/webhook", json={"pace": 0})
    await send(client, "click")
    [kept] = sandbox.store.all()
    status = (await client.get(f"{ROOT}/emails/{kept.message_id}")).json()
    assert (status["status"], status["clicks"]) == ("delivered", 1)
    assert receiver.posts == []


async def test_what_waits_is_dropped_with_what_was_forgotten(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """After a reset or for another webhook, nothing of the old messages is posted."""
    sandbox.webhook = Webhook(receiver.url)  # at pace 1: nothing comes at once
    await send(client, "ann", "bob")
    assert (await told(client))["waiting"] == 2
    await client.post("/_sandbox/reset")
    assert (await told(client))["waiting"] == 0
    assert sandbox.webhook == Webhook(receiver.url)
    await send(client, "cid")
    sandbox.webhook = Webhook(receiver.url, pace=0)
    await send(client, "dan")
    await wait_until_told(client)
    assert by_recipient(receiver.posts) == {"dan": ["delivered"]}


async def test_a_post_under_way_during_a_reset_has_no_sequel(
    sandbox: Sandbox, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    """The second event of a forgotten message is not told, nor counted."""
    receiver.gate = trio.Event()
    await send(client, "open")
    await receiver.wait_for(1)
    await client.post("/_sandbox/reset")
    receiver.gate.set()
    await send(client, "ann")
    counts = await wait_until_told(client)
    await trio.sleep(1000 * PACE)
    assert ["delivered", "delivered"] == [post.event for post in receiver.posts]
    assert {"posted": 1, "acknowledged": 1, "failed": 0, "waiting": 0} == counts


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "http://provider.example/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://127.0.0.1.provider.example/",
        "http://127.0.0.1@provider.example/",
        "http://user@127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/ä",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nx: y",
        "http://127.0.0.1/{name}",
        "http:///hook",
        "127.0.0.1:80",
        "http://[::1/",
    ],
)
def test_only_a_receiver_on_this_machine_is_accepted(url: str) -> None:
    """Posts that look like a provider's must not leave the machine."""
    with pytest.raises(ValueError, match="webhook "):
        Webhook(url)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1", ("127.0.0.1", 80)),
        ("http://127.1.2.3:81/a", ("127.1.2.3", 81)),
        ("http://localhost:82/", ("localhost", 82)),
        ("http://[::1]:83/", ("::1", 83)),
    ],
)
def test_every_loopback_address_is_accepted(url: str, place: tuple[str, int]) -> None:
    """IPv4, IPv6 and the name of this machine are all the same machine."""
    assert place == Webhook(url).place()
    assert Webhook(url).target("x").startswith("/")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{",
        b'{"url": 5}',
        b'{"url": "http://provider.example/"}',
        b'{"pace": -1}',
        b'{"pace": true}',
        b'{"pace": "fast"}',
        b'{"colour": "red"}',
    ],
)
async def test_a_bad_webhook_is_refused_and_changes_nothing(
    sandbox: Sandbox, client: httpx.AsyncClient, body: bytes
) -> None:
    """What cannot be used is a 400 that says why, and the old webhook stays."""
    before = sandbox.webhook
    answer = await client.post("/_sandbox/webhook", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert before == sandbox.webhook
