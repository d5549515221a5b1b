"""Claims about `engine.wire.Transport` as a transport of `httpx.AsyncClient`.

It has to behave as httpx documents. What that is, its own transport says: every test
runs on both.
"""

import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing

import h11
import httpx
import pytest
import trio
from wire.raw import Certificate, Server, Talk, serving

from engine.wire import Transport

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#: More than both ends take while nobody reads.
LARGE = bytes(8 * 1024 * 1024)

#: The library leaves its generators to the garbage collector where a request fails.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

Client = Callable[..., httpx.AsyncClient]


def httpx_own(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    """Make the library's transport, with one connection as ours."""
    return httpx.AsyncHTTPTransport(
        verify=context, limits=httpx.Limits(max_connections=1)
    )


@pytest.fixture(params=[Transport, httpx_own], ids=["ours", "httpx"])
def client(request: pytest.FixtureRequest, certificate: Certificate) -> Client:
    """Return a maker of clients for a server."""
    context = certificate.client()

    def make(server: Server | str, **options: object) -> httpx.AsyncClient:
        base_url = server if isinstance(server, str) else server.url
        transport = request.param(context)
        return httpx.AsyncClient(transport=transport, base_url=base_url, **options)

    return make


async def good(talk: Talk) -> None:
    """Answer every request of a connection with its own path."""
    while True:
        path = (await request(talk)).split()[1]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(path)}\r\n\r\n{path}"
        await talk.say(head.encode())


async def request(talk: Talk) -> str:
    """Read a request, also one that announces no body; return its line."""
    seen = await talk.head()
    length = int(seen.headers.get("content-length", 0))
    while len(talk.buffer) < length:
        data = await talk.stream.receive_some(1 << 20)
        if not data:
            raise trio.BrokenResourceError("the client is gone")
        talk.buffer += data
    del talk.buffer[:length]
    return seen.line


def says(*pieces: bytes, then: float = 0.0) -> Callable[[Talk], object]:
    """Return a script that answers one request with these bytes, and hangs up."""

    async def script(talk: Talk) -> None:
        await request(talk)
        for piece in pieces:
            await talk.say(piece)
        await trio.sleep(then)

    return script


# ---- what an answer is


async def test_status_headers_and_body_are_there(
    nursery: trio.Nursery, client: Client
) -> None:
    """They come as they were sent, names in any letters, repeated ones together."""
    answer = (
        b"HTTP/1.1 418 I'm a Teapot\r\nContent-Type: text/plain; charset=latin-1\r\n"
        b"set-cookie: a=1\r\nSet-Cookie: b=2\r\nX-EMPTY:\r\nContent-Length: 2\r\n\r\n"
        b"\xe9!"
    )
    server = await serving(nursery, says(answer))
    async with client(server) as http:
        response = await http.get("/x")
        assert dict(http.cookies) == {"a": "1", "b": "2"}
    assert (response.status_code, response.reason_phrase) == (418, "I'm a Teapot")
    assert (response.http_version, response.text) == ("HTTP/1.1", "\u00e9!")
    assert response.headers.get_list("SET-cookie") == ["a=1", "b=2"]
    assert response.headers["x-empty"] == ""
    assert response.headers.raw[1] == (b"set-cookie", b"a=1")
    assert response.is_client_error


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, b"to the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD, 200, b"ok"),
        (
            CHUNKED + b"1\r\no\r\n1;x=y\r\nk\r\n0\r\nX-Sum: 1\r\n\r\n",
            200,
            b"ok",
        ),
    ],
    ids=["204", "304", "1.0", "100", "103", "chunked"],
)
@pytest.mark.parametrize("dripped", [False, True])
async def test_every_framing_is_understood(
    nursery: trio.Nursery,
    client: Client,
    *,
    answer: bytes,
    status: int,
    body: bytes,
    dripped: bool,
) -> None:
    """Bodies end where the head says, in segments of any size."""
    pieces = [answer[i : i + 1] for i in range(len(answer))] if dripped else [answer]
    server = await serving(nursery, says(*pieces))
    async with client(server) as http:
        response = await http.get("/")
    assert (response.status_code, response.content) == (status, body)
    assert "x-sum" not in response.headers


async def test_encodings_are_undone(nursery: trio.Nursery, client: Client) -> None:
    """The client unpacks what it has asked for."""
    packed = gzip.compress(b'{"a": "\xc3\xa9"}')
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    server = await serving(nursery, says(head % len(packed) + packed))
    async with client(server) as http:
        response = await http.get("/")
    assert response.json() == {"a": "\u00e9"}
    assert "gzip" in server.seen[0].headers["accept-encoding"]


async def test_head_has_no_body(nursery: trio.Nursery, client: Client) -> None:
    """The length in the answer to HEAD is another's, and the next request works."""

    async def script(talk: Talk) -> None:
        await request(talk)
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        await good(talk)

    server = await serving(nursery, script, good)
    async with client(server) as http:
        response = await http.head("/")
        after = await http.get("/after")
    assert (response.headers["content-length"], response.content) == ("1000", b"")
    assert after.text == "/after"


async def test_redirects_are_followed_on_demand(
    nursery: trio.Nursery, client: Client
) -> None:
    """From one server to another and back, with one connection at a time."""
    there = await serving(nursery, good)
    moved = (
        f"HTTP/1.1 302 X\r\nLocation: {there.url}/moved\r\nContent-Length: 0\r\n\r\n"
    )
    here = await serving(nursery, says(moved.encode()), good)
    async with client(here, follow_redirects=True) as http:
        response = await http.get("/")
        back = await http.get("/back")
    assert (response.text, back.text) == ("/moved", "/back")
    assert [r.status_code for r in response.history] == [302]


async def test_tls_is_spoken_and_verified(
    nursery: trio.Nursery, client: Client, certificate: Certificate
) -> None:
    """A server with the right name is believed, and no other."""
    server = await serving(nursery, good, context=certificate.server())
    async with client(server) as http:
        assert (await http.get("/safe")).text == "/safe"
    server.url = server.url.replace("127.0.0.1", "localhost")
    async with client(server) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/")


# ---- what a request is


@pytest.mark.parametrize("size", [0, 5, 100_000, len(LARGE)])
async def test_a_body_arrives_whole(
    nursery: trio.Nursery, client: Client, size: int
) -> None:
    """With its length, at any size."""
    bodies: list[bytes] = []

    async def script(talk: Talk) -> None:
        bodies.append((await talk.request()).body)
        await talk.say(GOOD)

    server = await serving(nursery, script)
    async with client(server) as http:
        await http.post("/a b?c=\u00e9", content=LARGE[:size], headers={"X-A": "b"})
    assert bodies == [LARGE[:size]]
    assert server.seen[0].line == "POST /a%20b?c=%C3%A9 HTTP/1.1"
    assert server.seen[0].headers["x-a"] == "b"
    assert server.seen[0].headers["host"] == server.url.removeprefix("http://")


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """Yield the pieces of a body, one after the other."""
    for piece in pieces:
        await trio.lowlevel.checkpoint()
        yield piece


async def test_a_stream_is_sent_in_chunks(
    nursery: trio.Nursery, client: Client
) -> None:
    """A body whose length nobody knows is framed, and the connection stays good."""
    server = await serving(nursery, takes_chunks)
    async with client(server) as http:
        first = await http.post("/", content=pieces_of(b"one", b"", b"twenty" * 5))
        second = await http.post("/", content=pieces_of())
    assert first.content == b"3\r\none\r\n1e\r\n" + b"twenty" * 5 + b"\r\n0\r\n\r\n"
    assert second.content == b"0\r\n\r\n"
    assert server.connections == 1


async def takes_chunks(talk: Talk) -> None:
    """Answer each chunked body with the bytes in which it came."""
    while True:
        seen = await talk.head()
        assert seen.headers["transfer-encoding"] == "chunked"
        while not talk.buffer.endswith(b"0\r\n\r\n"):
            data = await talk.stream.receive_some(1 << 20)
            assert data
            talk.buffer += data
        body = bytes(talk.buffer)
        talk.buffer.clear()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        await talk.say(body)


@pytest.mark.parametrize(("length", "match"), [("2", "Too much"), ("4", "Too little")])
async def test_a_body_has_its_announced_length(
    nursery: trio.Nursery, client: Client, length: str, match: str
) -> None:
    """A stream that breaks its word is an error here, not on the other side."""
    server = await serving(nursery, good)
    async with client(server) as http:
        # What httpx lets through here is h11's own.
        refusals = (httpx.LocalProtocolError, h11.LocalProtocolError)
        with pytest.raises(refusals, match=match):
            await http.post(
                "/", content=pieces_of(b"abc"), headers={"Content-Length": length}
            )
        assert (await http.get("/after")).text == "/after"


async def test_a_stream_that_fails_harms_nobody_else(
    nursery: trio.Nursery, client: Client
) -> None:
    """The error comes through, and the half request's connection is gone."""

    async def failing() -> AsyncIterator[bytes]:
        yield b"abc"
        raise LookupError("no more")

    server = await serving(nursery, good)
    async with client(server) as http:
        with pytest.raises(LookupError, match="no more"):
            await http.post("/", content=failing())
        assert (await http.get("/after")).text == "/after"
    assert server.connections == 2


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\n", "\0"])
async def test_a_header_cannot_break_a_request(
    nursery: trio.Nursery, client: Client, value: str
) -> None:
    """What would end a header's line is refused."""
    server = await serving(nursery, good)
    async with client(server) as http:
        with pytest.raises(httpx.LocalProtocolError):
            await http.get("/", headers={"X-A": value})
    assert server.seen == []


async def test_another_scheme_is_not_spoken(client: Client) -> None:
    """It is refused before anybody is asked."""
    async with client("ftp://127.0.0.1") as http:
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("/")


# ---- streaming


async def test_a_body_comes_as_it_is_sent(
    nursery: trio.Nursery, client: Client
) -> None:
    """Pieces are there before the end is."""
    go_on = trio.Event()

    async def script(talk: Talk) -> None:
        await request(talk)
        await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await talk.say(b"3\r\none\r\n")
        await go_on.wait()
        await talk.say(b"3\r\ntwo\r\n0\r\n\r\n")
        await good(talk)

    server = await serving(nursery, script)
    async with client(server) as http:
        async with http.stream("GET", "/") as response:
            pieces = []
            async for piece in response.aiter_raw():
                pieces.append(piece)
                go_on.set()
        after = await http.get("/after")
    assert pieces == [b"one", b"two"]
    assert (after.text, server.connections) == ("/after", 1)


async def test_an_answer_that_is_left_takes_its_connection_along(
    nursery: trio.Nursery, client: Client
) -> None:
    """What was not read is nobody's answer."""

    async def script(talk: Talk) -> None:
        await request(talk)
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nonce")
        await trio.sleep_forever()

    server = await serving(nursery, script, good)
    async with client(server) as http:
        async with (
            http.stream("GET", "/") as response,
            aclosing(response.aiter_raw()) as pieces,
        ):
            assert await anext(pieces) == b"once"
        after = await http.get("/after")
    assert (after.text, server.connections) == ("/after", 2)


async def test_one_request_waits_for_the_other(
    nursery: trio.Nursery, client: Client
) -> None:
    """Tasks share a client: each gets its own answer, over one connection."""
    server = await serving(nursery, good)
    answers: dict[int, str] = {}

    async def ask(number: int) -> None:
        answers[number] = (await http.get(f"/{number}")).text

    async with client(server) as http, trio.open_nursery() as asking:
        for number in range(20):
            asking.start_soon(ask, number)
    assert answers == {number: f"/{number}" for number in range(20)}
    assert server.connections == 1


# ---- what goes wrong


@pytest.fixture
def full_port() -> Iterator[str]:
    """Return the address of a port whose queue is full: to connect takes for ever."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = []
        for _ in range(4):
            caller = socket.socket()
            caller.settimeout(0)
            caller.connect_ex(listening.getsockname())
            waiting.append(caller)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        for caller in waiting:
            caller.close()


async def test_connecting_has_a_time(full_port: str, client: Client) -> None:
    """`connect` bounds it."""
    async with client(full_port, timeout=httpx.Timeout(5, connect=0.1)) as http:
        with pytest.raises(httpx.ConnectTimeout):
            await http.get("/")


async def test_reading_has_a_time_for_each_piece(
    nursery: trio.Nursery, client: Client
) -> None:
    """`read` bounds the wait for more, not all of the waits together."""

    async def slow(talk: Talk) -> None:
        await request(talk)
        await talk.drip(GOOD, 0.02)
        await request(talk)
        await trio.sleep_forever()

    server = await serving(nursery, slow, good)
    async with client(server, timeout=httpx.Timeout(5, read=0.3)) as http:
        assert (await http.get("/")).text == "ok"
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/")
        assert (await http.get("/after")).text == "/after"


async def test_a_body_has_a_time_for_each_piece(
    nursery: trio.Nursery, client: Client
) -> None:
    """Amid a body, too."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
    server = await serving(nursery, says(answer, then=5), good)
    async with client(server, timeout=httpx.Timeout(5, read=0.1)) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/")
        assert (await http.get("/after")).text == "/after"


async def test_writing_has_a_time(nursery: trio.Nursery, client: Client) -> None:
    """`write` bounds the wait for a server that does not take what is sent."""

    async def script(talk: Talk) -> None:
        await talk.head()
        await trio.sleep_forever()

    server = await serving(nursery, script)
    async with client(server, timeout=httpx.Timeout(5, write=0.1)) as http:
        with pytest.raises(httpx.WriteTimeout):
            await http.post("/", content=LARGE)


async def test_waiting_for_a_connection_has_a_time(
    nursery: trio.Nursery, client: Client
) -> None:
    """`pool` bounds the wait for the one who has the connection."""
    server = await serving(nursery, says(GOOD[:-1], then=5), good)
    async with client(server, timeout=httpx.Timeout(5, pool=0.1)) as http:
        async with http.stream("GET", "/"):
            with pytest.raises(httpx.PoolTimeout):
                await http.get("/")
        assert (await http.get("/after")).text == "/after"


async def test_a_closed_port_is_told(client: Client) -> None:
    """Nobody listens: `ConnectError`."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with client(url) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
        b"220 mail.example ESMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    ],
)
async def test_a_broken_answer_is_told(
    nursery: trio.Nursery, client: Client, answer: bytes
) -> None:
    """Cut off or no HTTP at all: `RemoteProtocolError`, and the next request works."""
    server = await serving(nursery, says(answer), good)
    async with client(server) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/")
        assert (await http.get("/after")).text == "/after"


async def test_a_reset_is_told(nursery: trio.Nursery, client: Client) -> None:
    """A connection that breaks: `ReadError`."""

    async def script(talk: Talk) -> None:
        await request(talk)
        talk.reset()

    server = await serving(nursery, script)
    async with client(server) as http:
        with pytest.raises(httpx.ReadError):
            await http.get("/")


async def test_an_early_refusal_is_an_answer(
    nursery: trio.Nursery, client: Client
) -> None:
    """A server that hangs up amid the body may have answered before."""

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")

    server = await serving(nursery, script, good)
    async with client(server) as http:
        response = await http.post("/", content=LARGE)
        after = await http.get("/after")
    assert (response.status_code, response.text) == (413, "big")
    assert after.text == "/after"


@pytest.mark.parametrize("when", ["answer", "body", "turn"])
async def test_a_cancelled_request_leaves_the_client_usable(
    nursery: trio.Nursery, client: Client, when: str
) -> None:
    """Before an answer, amid it or while waiting for another: the next one works."""
    said = {"answer": b"", "body": GOOD[:-1], "turn": GOOD[:-1]}[when]
    server = await serving(nursery, says(said, then=5), good)
    async with client(server) as http:
        if when == "turn":
            async with http.stream("GET", "/"):
                with trio.move_on_after(0.1):
                    await http.get("/never")
        else:
            with trio.move_on_after(0.1):
                await http.get("/never")
        with trio.fail_after(2):
            assert (await http.get("/after")).text == "/after"


async def test_a_connection_closed_while_idle_is_made_anew(
    nursery: trio.Nursery, client: Client
) -> None:
    """It costs no error."""
    server = await serving(nursery, says(GOOD))
    async with client(server) as http:
        for _ in range(3):
            assert (await http.get("/")).text == "ok"
            await trio.sleep(0.02)
    assert server.connections == 3


async def test_closing_a_client_hangs_up(nursery: trio.Nursery, client: Client) -> None:
    """The server sees the end at once."""
    ended = trio.Event()

    async def script(talk: Talk) -> None:
        await request(talk)
        await talk.say(GOOD)
        assert await talk.stream.receive_some(1) == b""
        ended.set()

    server = await serving(nursery, script)
    async with client(server) as http:
        await http.get("/")
    with trio.fail_after(2):
        await ended.wait()
