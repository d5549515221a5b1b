"""The sandbox on the wire: what it breaks, what it tells, and how it endures."""

import errno
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from functools import partial

import httpx
import orjson
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from engine.sandbox import DIALECTS, Faults, Sandbox, serve
from engine.sandbox.server import BODY_SECONDS, IDLE_SECONDS, MAX_BODY

MAIL = {
    "to": "ann@x.example",
    "from": "hello@harbour.example",
    "subject": "Hello",
    "html": "<p>Hello</p>",
}
ROOT = "/cloudmails/v1"


@pytest.fixture
async def sandbox(nursery: trio.Nursery) -> Sandbox:
    """A sandbox without faults."""
    return await nursery.start(serve)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a token, of the whole server."""
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{sandbox.port}",
        headers={"authorization": "Bearer token"},
        verify=False,
        trust_env=False,
        timeout=5,
    ) as client:
        yield client


async def send(client: httpx.AsyncClient, to: str = "ann@x.example") -> httpx.Response:
    """Send one mail."""
    return await client.post(f"{ROOT}/send", json=MAIL | {"to": to})


def raw_send(*, extra: str = "", body: bytes | None = None) -> bytes:
    """Write a POST /send as the bytes of the wire."""
    body = orjson.dumps(MAIL) if body is None else body
    head = (
        f"POST {ROOT}/send HTTP/1.1\r\nhost: x\r\nauthorization: Bearer t\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    )
    return head.encode() + body


async def talk(sandbox: Sandbox, data: bytes) -> bytes:
    """Send bytes and read until the server closes; a reset raises."""
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream:
        await stream.send_all(data)
        return b"".join([chunk async for chunk in stream])


# ---- faults on the wire


async def test_a_reset_before_leaves_nothing_accepted(sandbox: Sandbox) -> None:
    """`reset_before_every` resets the connection and accepts nothing."""
    sandbox.faults = Faults(reset_before_every=1)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await talk(sandbox, raw_send())
    assert caught.value.__cause__.errno == errno.ECONNRESET
    assert (sandbox.store.request_count, sandbox.store.accepted_count) == (1, 0)


async def test_a_reset_after_has_accepted(sandbox: Sandbox) -> None:
    """`reset_after_every` resets the connection though the mail was accepted."""
    sandbox.faults = Faults(reset_after_every=1)
    with pytest.raises(trio.BrokenResourceError) as caught:
        await talk(sandbox, raw_send())
    assert caught.value.__cause__.errno == errno.ECONNRESET
    assert sandbox.store.accepted_count == 1


async def test_a_close_after_ends_in_order_without_an_answer(sandbox: Sandbox) -> None:
    """`close_after_every` ends with FIN, not RST, and without a byte of answer."""
    sandbox.faults = Faults(close_after_every=1)
    assert await talk(sandbox, raw_send()) == b""
    assert sandbox.store.accepted_count == 1
    assert sandbox.store.requests()[0]["status"] is None


@pytest.mark.parametrize(("name", "accepted"), [("before", 0), ("after", 1)])
async def test_a_hang_never_answers(
    sandbox: Sandbox, mock_clock: MockClock, name: str, accepted: int
) -> None:
    """A hang holds the connection open, silent, for as long as the client waits."""
    mock_clock.autojump_threshold = 0.05
    sandbox.faults = Faults.parse({f"hang_{name}_every": 1})
    with trio.move_on_after(3600) as patience:
        await talk(sandbox, raw_send())
    assert patience.cancelled_caught
    assert accepted == sandbox.store.accepted_count
    assert (await ask_raw(sandbox, "/"))[0] == 200


async def ask_raw(sandbox: Sandbox, path: str) -> tuple[int, bytes]:
    """Ask on a connection of its own; return status and body."""
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    head, _, body = (await talk(sandbox, request.encode())).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_a_truncated_answer_is_shorter_than_it_says(sandbox: Sandbox) -> None:
    """`truncate_every` announces more bytes than come, after accepting."""
    sandbox.faults = Faults(truncate_every=1)
    answer = await talk(sandbox, raw_send())
    head, _, body = answer.partition(b"\r\n\r\n")
    [announced] = [
        int(line.split()[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    ]
    assert 0 < len(body) < announced
    assert sandbox.store.accepted_count == 1


async def test_an_empty_answer_can_be_truncated_too(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`truncate_every` breaks even an answer that has no body."""
    sandbox.faults = Faults(truncate_every=1, shape="accepted_empty")
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(f"{ROOT}/send/batch", json={"messages": [MAIL]})
    assert sandbox.store.accepted_count == 1


@pytest.mark.parametrize(
    ("name", "content_type", "body"),
    [
        ("garble_every", "application/json", b"OK: queued\n"),
        ("html_every", "text/html; charset=utf-8", b"<!doctype html>"),
        ("empty_every", "application/json", b""),
    ],
)
async def test_an_unreadable_answer_comes_after_accepting(
    sandbox: Sandbox,
    client: httpx.AsyncClient,
    name: str,
    content_type: str,
    body: bytes,
) -> None:
    """A 200 that nobody can read still means that the mail was accepted."""
    sandbox.faults = Faults.parse({name: 1})
    answer = await send(client)
    assert (200, content_type) == (answer.status_code, answer.headers["content-type"])
    assert answer.content.startswith(body)
    with pytest.raises(ValueError, match=r".*"):
        answer.json()
    assert sandbox.store.accepted_count == 1


async def test_a_slow_answer_comes_a_byte_at_a_time(
    sandbox: Sandbox, mock_clock: MockClock
) -> None:
    """`slow_body` takes 0.3 s for each byte of the answer's body."""
    mock_clock.autojump_threshold = 0.01
    sandbox.faults = Faults(slow_body=True, garble_every=1)
    start = trio.current_time()
    answer = await talk(sandbox, raw_send(extra="connection: close\r\n"))
    body = answer.partition(b"\r\n\r\n")[2]
    assert body == b"OK: queued\n"
    assert trio.current_time() - start == pytest.approx(0.3 * len(body), rel=0.01)


async def test_latency_delays_the_answer_not_the_acceptance(
    sandbox: Sandbox, mock_clock: MockClock
) -> None:
    """A client that gives up during the latency was accepted nevertheless."""
    mock_clock.autojump_threshold = 0.01
    sandbox.faults = Faults(latency=(10.0, 10.0))
    with trio.move_on_after(9.9) as impatience:
        await talk(sandbox, raw_send())
    assert impatience.cancelled_caught
    assert sandbox.store.accepted_count == 1
    start = trio.current_time()
    await talk(sandbox, raw_send(extra="connection: close\r\n"))
    assert trio.current_time() - start == pytest.approx(10.0, rel=0.01)


# ---- faults in the answer


async def test_a_throttle_accepts_nothing_and_says_when(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """A throttled request is a 429 in the provider's words, with the wait."""
    sandbox.faults = Faults(throttle_every=2, retry_after=0.2)
    answers = [await send(client) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 429]
    assert answers[1].headers["retry-after"] == "0.2"
    assert answers[1].json()["error"]["code"] == "rate_limited"
    assert sandbox.store.accepted_count == 2


async def test_a_throttle_can_give_a_date(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """The date of Retry-After lies the stated seconds ahead of the wall clock."""
    sandbox.faults = Faults(throttle_first=1, throttle_style="date", retry_after=100)
    before = time.time()
    date = (await send(client)).headers["retry-after"]
    ahead = parsedate_to_datetime(date).timestamp() - before
    assert 100 <= ahead <= 105
    assert (await send(client)).status_code == 200


@pytest.mark.parametrize(("name", "accepted"), [("before", 0), ("after", 1)])
async def test_an_error_hides_whether_it_accepted(
    sandbox: Sandbox, client: httpx.AsyncClient, name: str, accepted: int
) -> None:
    """An error before and one after accepting look the same and differ in truth."""
    sandbox.faults = Faults.parse({f"error_{name}_every": 1, "error_status": 502})
    answer = await send(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "server_error")
    assert accepted == sandbox.store.accepted_count


async def test_an_unavailable_provider_says_when_to_come_back(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`unavailable_every` is a 503 with Retry-After that accepts nothing."""
    sandbox.faults = Faults(unavailable_every=1, retry_after=7)
    answer = await send(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert sandbox.store.accepted_count == 0


async def test_refused_credentials_meet_every_request(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`credentials=refuse` is a 401 for sending and for lookups."""
    message_id = (await send(client)).json()["message_id"]
    sandbox.faults = Faults(credentials="refuse")
    assert (await send(client)).status_code == 401
    assert (await client.get(f"{ROOT}/emails/{message_id}")).status_code == 401
    assert sandbox.store.accepted_count == 1


async def test_credentials_can_be_revoked_on_the_way(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`credentials_after=2` lets one request pass and refuses from the second on."""
    sandbox.faults = Faults(credentials_after=2)
    answers = [await send(client) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 401, 401]


async def test_a_redirect_points_elsewhere(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`redirect` is a 307 to the given URL, and nothing is accepted."""
    sandbox.faults = Faults(redirect="http://127.0.0.1:9/elsewhere")
    answer = await send(client)
    assert answer.status_code == 307
    assert answer.headers["location"] == "http://127.0.0.1:9/elsewhere"
    assert sandbox.store.accepted_count == 0


async def test_a_refused_request_suffers_no_fault_of_its_answer(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """What comes after accepting does not befall a request that was not accepted."""
    sandbox.faults = Faults(close_after_every=1)
    answer = await client.post(f"{ROOT}/send", json={})
    assert answer.status_code == 400


# ---- questions


async def test_faults_are_replaced_and_cleared_over_http(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """POST replaces the faults, DELETE clears them, and each counts from 1 again."""
    await send(client)
    url = "/_sandbox/faults"
    answer = await client.post(url, json={"throttle_first": 1})
    assert {"throttle_first": 1} == answer.json() == (await client.get(url)).json()
    assert [(await send(client)).status_code for _ in range(2)] == [429, 200]
    await client.post(url, json={"credentials": "refuse"})
    assert Faults(credentials="refuse") == sandbox.faults
    assert (await client.delete(url)).json() == {}
    assert (await send(client)).status_code == 200


@pytest.mark.parametrize("body", [b'{"nonsense": 1}', b"[]", b"{"])
async def test_bad_faults_are_refused_and_change_nothing(
    sandbox: Sandbox, client: httpx.AsyncClient, body: bytes
) -> None:
    """Faults that cannot be read are a 400, and those that were set stay."""
    sandbox.faults = Faults(strict=True)
    answer = await client.post("/_sandbox/faults", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert Faults(strict=True) == sandbox.faults


async def test_stats_tell_what_happened(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Stats count requests, messages, doubles, answers, and the faults that came."""
    sandbox.faults = Faults(throttle_every=2)
    for to in ("a@x.example", "lost@x.example", "a@x.example"):
        await send(client, to)
    await client.get("/wrong")
    stats = (await client.get("/_sandbox/stats")).json()
    first_at, last_at = stats.pop("first_at"), stats.pop("last_at")
    assert 0 < first_at < last_at
    assert stats == {
        "requests": 3,
        "accepted": 2,
        "distinct_recipients": 1,
        "twice": ["a@x.example"],
        "answers": {"200": 2, "404": 1, "429": 1},
        "mishaps": {"throttle": 1},
        "webhook": {"posted": 0, "acknowledged": 0, "failed": 0, "waiting": 0},
        "faults": {"throttle_every": 2},
    }


async def test_messages_and_requests_are_told_over_http(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """The lists are paged by query, and `to` is decoded from it."""
    for to in ("a+1@x.example", "b@x.example", "a+1@x.example"):
        await send(client, to)
    query = {"to": "a+1@x.example", "offset": 1, "limit": 1}
    page = (await client.get("/_sandbox/messages", params=query)).json()
    assert (page["total"], [m["request"] for m in page["messages"]]) == (2, [3])
    listed = (await client.get("/_sandbox/requests")).json()
    assert [(each["number"], each["messages"], each["status"]) for each in listed] == [
        (1, 1, 200),
        (2, 1, 200),
        (3, 1, 200),
    ]
    assert (await client.get("/_sandbox/requests?offset=2")).json() == listed[2:]
    refused = await client.get("/_sandbox/messages?limit=-1")
    assert refused.status_code == 400


async def test_events_are_the_posts_of_everything_accepted(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """One a line, in order, delivered or bounced; what was refused has none."""
    args = {"message_id": "ours", "run": "r", "row": "0", "campaign": "letter"}
    await client.post(f"{ROOT}/send", json=MAIL | {"custom_args": args})
    await send(client, "Bounce.me@x.example")
    await send(client, "reject@x.example")
    answer = await client.get("/_sandbox/events")
    posts = [orjson.loads(line) for line in answer.content.splitlines()]
    first, second = sandbox.store.messages()["messages"]

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert posts == [
        {
            "event": "delivered",
            "message_id": first["message_id"],
            "timestamp": posts[0]["timestamp"],
            "recipient": "ann@x.example",
            "custom_args": args,
        },
        {
            "event": "bounced",
            "message_id": second["message_id"],
            "timestamp": posts[1]["timestamp"],
            "recipient": "Bounce.me@x.example",
            "custom_args": {},
        },
    ]


async def test_events_of_each_message_are_in_the_words_of_who_took_it(
    client: httpx.AsyncClient,
) -> None:
    """Two providers' messages have each their own posts; one alone can be asked for."""
    await send(client)
    taken = await client.post(
        "/cloudmailin/api/v0.1/me/messages",
        json={"from": "a@x.example", "to": "b@x.example", "subject": "s", "plain": "p"},
    )
    assert taken.status_code == 202
    first, *others = (await client.get("/_sandbox/events")).content.splitlines()
    assert orjson.loads(first)["recipient"] == "ann@x.example"
    assert others
    assert all("recipient" not in orjson.loads(line) for line in others)
    url = "/_sandbox/events?provider="
    assert first + b"\n" == (await client.get(f"{url}cloudmails")).content
    alone = (await client.get(f"{url}cloudmailin")).content.splitlines()
    assert others == alone
    assert (await client.get(f"{url}nobody")).status_code == 400
    messages = (await client.get("/_sandbox/messages")).json()["messages"]
    assert ["cloudmails", "cloudmailin"] == [each["dialect"] for each in messages]


@pytest.mark.parametrize("name", DIALECTS)
async def test_a_dialect_stands_where_the_table_says(
    sandbox: Sandbox, client: httpx.AsyncClient, name: str
) -> None:
    """Each is found by its name and prefix, and refuses what it does not have."""
    dialect = sandbox.dialect(name)
    assert (name, DIALECTS[name].prefix) == (dialect.name, dialect.prefix)
    assert dialect is sandbox.dialect_of(f"{dialect.prefix}/x")
    assert sandbox.dialect_of(f"{dialect.prefix}x") is None
    assert (await client.get(f"{dialect.prefix}/nothing")).status_code >= 400


async def test_events_are_streamed_and_the_connection_goes_on(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Thousands come in pieces; none is an empty answer; both end in order."""
    assert (await client.get("/_sandbox/events")).content == b""
    items = [MAIL | {"to": f"{n}@x.example"} for n in range(1000)]
    for _ in range(3):
        await client.post(f"{ROOT}/send/batch", json={"messages": items})
    async with client.stream("GET", "/_sandbox/events") as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    assert answer.headers["transfer-encoding"] == "chunked"
    assert len(pieces) >= 3
    assert b"".join(pieces).count(b"\n") == 3000
    assert (await client.get("/_sandbox/stats")).status_code == 200


async def test_a_reset_forgets_and_counts_anew(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """After a reset nothing is known, faults stay set, and requests count from 1."""
    sandbox.faults = Faults(throttle_every=2)
    earlier, dialect = (await send(client)).json()["message_id"], sandbox.dialect
    spoke = dialect("cloudmails")
    assert spoke is dialect("cloudmails")
    assert (await client.post("/_sandbox/reset")).status_code == 200
    assert sandbox.store.accepted_count == 0
    assert spoke is not dialect("cloudmails")
    answers = [await send(client) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert earlier != answers[0].json()["message_id"]


async def test_a_request_from_before_a_reset_is_not_counted_after_it(
    sandbox: Sandbox,
) -> None:
    """A request that is under way during a reset belongs to what was forgotten."""
    data = raw_send(extra="connection: close\r\n")
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream:
        await stream.send_all(data[:-5])
        await wait_all_tasks_blocked(0.02)
        begun = sandbox.store
        sandbox.reset()
        await stream.send_all(data[-5:])
        assert b" 200 " in b"".join([chunk async for chunk in stream])
    assert (begun.request_count, begun.accepted_count) == (1, 1)
    assert (sandbox.store.request_count, sandbox.store.accepted_count) == (0, 0)


async def test_the_page_explains_how_to_point_a_client(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """`/` is plain text with the base URL and every fault."""
    page = await client.get("/")
    assert page.headers["content-type"].startswith("text/plain")
    assert sandbox.base_url("cloudmails") in page.text
    assert all(name in page.text for name, _ in Faults.describe())


async def test_a_question_asked_wrongly_is_answered(client: httpx.AsyncClient) -> None:
    """Unknown paths are 404 and wrong methods 405, outside the dialects too."""
    assert (await client.get("/_sandbox/nothing")).status_code == 404
    answer = await client.put("/_sandbox/faults")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST, DELETE")


async def test_a_provider_that_it_does_not_speak_is_named(sandbox: Sandbox) -> None:
    """`base_url` refuses an unknown provider and says which there are."""
    with pytest.raises(ValueError, match="nobody: the sandbox speaks cloudmails"):
        sandbox.base_url("nobody")


# ---- the server itself


async def test_a_connection_serves_many_requests(sandbox: Sandbox) -> None:
    """Requests one after another on one connection are each answered."""
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream:
        for _ in range(3):
            await stream.send_all(raw_send())
            answer = bytes(await stream.receive_some())
            assert answer.startswith(b"HTTP/1.1 200")
    assert sandbox.store.accepted_count == 3


async def test_arrival_is_the_first_byte_of_the_head(
    sandbox: Sandbox, mock_clock: MockClock
) -> None:
    """A request that dribbles in is stamped when it began, not when it was whole."""
    data = raw_send(extra="connection: close\r\n")
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    mock_clock.jump(5.0)
    async with stream:
        await stream.send_all(data[:10])
        await wait_all_tasks_blocked(0.02)
        mock_clock.jump(0.5)
        await stream.send_all(data[10:])
        await stream.receive_some()
    assert [each["at"] for each in sandbox.store.requests()] == [5.0]


@pytest.mark.parametrize("head", ["content-length: 999999999", "chunked"])
async def test_a_body_over_the_cap_is_refused(sandbox: Sandbox, head: str) -> None:
    """A body that is announced or grows too long is a 413 that the client can read."""
    start = f"POST {ROOT}/send HTTP/1.1\r\nhost: x\r\n"
    if head == "chunked":
        size = MAX_BODY + 4_000_000
        data = (
            f"{start}transfer-encoding: chunked\r\n\r\n{size:x}\r\n".encode()
            + b" " * size
        )
    else:
        data = f"{start}{head}\r\n\r\n".encode() + b" " * 4_000_000
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream:
        await stream.send_all(data)
        await stream.send_eof()
        answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert [each["status"] for each in sandbox.store.requests()] == [413]


async def test_a_client_that_waits_to_continue_is_told_to(sandbox: Sandbox) -> None:
    """`Expect: 100-continue` is answered before the body comes."""
    data = raw_send(extra="expect: 100-continue\r\nconnection: close\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream:
        await stream.send_all(head + b"\r\n\r\n")
        go_on = bytes(await stream.receive_some())
        assert go_on.startswith(b"HTTP/1.1 100 ")
        await stream.send_all(body)
        answer = b"".join([chunk async for chunk in stream])
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_what_is_no_http_is_refused_and_the_server_lives(
    sandbox: Sandbox,
) -> None:
    """Noise is a 400 that closes the connection, and others go on being served."""
    assert (await talk(sandbox, b"hello?\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
    assert (await ask_raw(sandbox, "/"))[0] == 200


async def test_a_client_that_leaves_inside_a_body_accepts_nothing(
    sandbox: Sandbox,
) -> None:
    """Half a request is never accepted."""
    stream = await trio.open_tcp_stream("127.0.0.1", sandbox.port)
    async with stream:
        await stream.send_all(raw_send()[:-5])
    assert (await ask_raw(sandbox, "/"))[0] == 200
    assert (sandbox.store.request_count, sandbox.store.accepted_count) == (1, 0)


async def test_a_body_that_never_ends_is_given_up(
    sandbox: Sandbox, mock_clock: MockClock
) -> None:
    """A stalled body is a 408 after its time, and a silent connection is closed."""
    mock_clock.autojump_threshold = 0.01
    start = trio.current_time()
    assert (await talk(sandbox, raw_send()[:-5])).startswith(b"HTTP/1.1 408 ")
    assert trio.current_time() - start == pytest.approx(BODY_SECONDS, abs=3)
    start = trio.current_time()
    assert await talk(sandbox, b"") == b""
    assert trio.current_time() - start == pytest.approx(IDLE_SECONDS, abs=1)


async def test_many_clients_are_served_at_once(
    sandbox: Sandbox, client: httpx.AsyncClient
) -> None:
    """Concurrent requests are each counted once and accepted once."""
    async with trio.open_nursery() as nursery:
        for place in range(30):
            nursery.start_soon(send, client, f"p{place}@x.example")
    stats = sandbox.store.stats()
    assert (
        stats["requests"],
        stats["distinct_recipients"],
        stats["twice"],
    ) == (30, 30, [])


async def test_faults_and_keep_are_set_at_the_start(nursery: trio.Nursery) -> None:
    """`serve` takes faults and the number of messages to keep whole."""
    faults = Faults(throttle_first=1)
    sandbox = await nursery.start(partial(serve, faults=faults, keep=1))
    for _ in range(3):
        await talk(sandbox, raw_send(extra="connection: close\r\n"))
    whole = ["html" in each for each in sandbox.store.messages()["messages"]]
    assert whole == [True, False]
