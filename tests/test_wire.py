"""Claims about `engine.wire`: whatever breaks, it says whether the request was sent.

The other side is a raw server on trio's sockets, so that every byte, close and reset is
chosen here and none is mended on the way. Whatever holds, holds on both ways: our own
and the library's.
"""

import gc
import gzip
import logging
import socket
import ssl
import time
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock
from wire.flying import FlyingWire
from wire.raw import (
    Certificate,
    Script,
    Server,
    Talk,
    expired,
    make_certificate,
    serving,
)

from engine.errors import AccountRejected, ProviderError, Unanswered, Unavailable
from engine.message import Request
from engine.wire import ANSWER_CAP, Wire, tls_context

TOKEN = "s3cret-t0ken"
CREDENTIALS = {"Authorization": f"Bearer {TOKEN}", "X-Server-Token": TOKEN}
JSON = {"Content-Type": "application/json"}
SMALL = Request("POST", "/send", JSON, b'{"to":"ann@x.example"}')
#: More than the kernel takes while nobody reads: 4 MB of a sender's (Linux, tcp_wmem),
#: and what the server below allows itself.
LARGE = Request("POST", "/send/batch", JSON, bytes(8 * 1024 * 1024))
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def trusting() -> ssl.SSLContext:
    """Return the TLS settings of real runs: they take long to make."""
    return tls_context("https://api.example")


@pytest.fixture(params=["direct", "flight", "library"])
def way(request: pytest.FixtureRequest) -> str:
    """Return which way requests go."""
    name: str = request.param
    return name


@pytest.fixture
def library(way: str) -> bool:
    """Return whether requests go the library's way."""
    return way == "library"


@pytest.fixture
def wire_to(trusting: ssl.SSLContext, way: str) -> Callable[..., Wire]:
    """Return a maker of wires."""
    kind = FlyingWire if way == "flight" else Wire

    def make(server: Server, *, deadline: float = 5.0) -> Wire:
        return kind(
            server.url,
            CREDENTIALS,
            context=trusting,
            deadline=deadline,
            library=way == "library",
        )

    return make


def told(error: BaseException) -> str:
    """Return everything that a log or a screen could show of an error."""
    chain = "".join(traceback.format_exception(error))
    return f"{error!r}{error}{chain}{vars(error)}"


async def failure(wire: Wire, request: Request = SMALL) -> ProviderError:
    """Exchange what must fail, and hold its error to what holds for all of them."""
    with pytest.raises(ProviderError) as caught:
        await wire.exchange(request)
    assert TOKEN not in told(caught.value)
    assert TOKEN not in repr(request)
    assert type(caught.value) in (Unavailable, Unanswered, AccountRejected)
    return caught.value


# ---- an exchange that works


async def good(talk: Talk) -> None:
    """Answer every request of a connection with its own path."""
    while True:
        path = (await talk.request()).line.split()[1]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(path)}\r\n\r\n{path}"
        await talk.say(head.encode())


async def test_a_request_arrives_as_it_was_made(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """Method, path, headers and body arrive whole, with the length announced."""
    server = await serving(nursery, good)
    async with wire_to(server) as wire:
        await wire.exchange(SMALL)
    (seen,) = server.seen
    assert seen.line == "POST /send HTTP/1.1"
    assert seen.body == SMALL.body
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["content-length"] == str(len(SMALL.body))
    assert seen.headers["accept-encoding"] == "identity"
    assert "transfer-encoding" not in seen.headers


async def test_an_answer_is_read_whole(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """Status and body come back, header names in lower case, with the time in UTC."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(
            b"HTTP/1.1 429 Slow Down\r\nRETRY-AFTER: 7\r\nX-Request-Id: Ab\r\n"
            b"Content-Length: 4\r\n\r\nwait"
        )

    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        before = datetime.now(UTC)
        answer = await wire.exchange(SMALL)
    assert (answer.status, answer.body) == (429, b"wait")
    assert answer.headers == {
        "retry-after": "7",
        "x-request-id": "Ab",
        "content-length": "4",
    }
    assert before <= answer.received_at <= datetime.now(UTC)
    assert answer.received_at.utcoffset() == timedelta(0)


async def test_of_a_repeated_header_the_last_counts(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """Two Retry-After fields do not become one that nobody can read."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(
            b"HTTP/1.1 429 X\r\nRetry-After: 5\r\nretry-after: 9\r\n"
            b"Content-Length: 0\r\n\r\n"
        )

    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        answer = await wire.exchange(SMALL)
    assert answer.headers["retry-after"] == "9"


async def test_a_good_connection_is_used_again(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], *, library: bool
) -> None:
    """Two requests travel on one connection; on the library's way, on two."""
    server = await serving(nursery, good)
    async with wire_to(server) as wire:
        first = await wire.exchange(SMALL)
        second = await wire.exchange(LARGE)
    assert (first.body, second.body) == (b"/send", b"/send/batch")
    assert server.connections == (2 if library else 1)


async def test_leaving_a_wire_closes_its_connection(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """After the block the server sees the end, even if the block was cancelled."""
    ended = trio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(GOOD)
        assert await talk.stream.receive_some(1) == b""
        ended.set()

    server = await serving(nursery, script)
    with trio.CancelScope() as scope:
        async with wire_to(server) as wire:
            await wire.exchange(SMALL)
            scope.cancel()
            await trio.lowlevel.checkpoint()
    with trio.fail_after(2):
        await ended.wait()


async def in_pieces(talk: Talk) -> None:
    """Answer in segments of one byte."""
    await talk.request()
    await talk.drip(GOOD, 0.001)


async def continued(talk: Talk) -> None:
    """Say "go on" and "early hints" before the answer."""
    await talk.head()
    await talk.say(b"HTTP/1.1 100 Continue\r\n\r\n")
    await talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    await talk.say(GOOD)


async def chunked(talk: Talk) -> None:
    """Answer in chunks."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await talk.say(b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n")


async def until_the_end(talk: Talk) -> None:
    """Answer without a length, and end with FIN."""
    await talk.request()
    await talk.say(b"HTTP/1.0 200 OK\r\n\r\nok")


@pytest.mark.parametrize("script", [in_pieces, continued, chunked, until_the_end])
async def test_unusual_answers_are_read(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], script: Script
) -> None:
    """However an answer is cut and framed, it is the same answer (N14)."""
    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        answer = await wire.exchange(SMALL)
    assert (answer.status, answer.body) == (200, b"ok")


# ---- what the answer says counts, even if the request did not leave whole


async def refused_early(talk: Talk) -> None:
    """Answer 413 to the head alone and close, while the client is still writing."""
    await talk.head()
    await talk.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")


async def test_an_early_refusal_is_an_answer(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """413 and close in the middle of the body: the status decides (N5)."""
    server = await serving(nursery, refused_early)
    async with wire_to(server) as wire:
        answer = await wire.exchange(LARGE)
    assert (answer.status, answer.body) == (413, b"big")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], status: int
) -> None:
    """The body goes nowhere but to the address that was asked for (N11)."""
    elsewhere = await serving(nursery, good)

    async def script(talk: Talk) -> None:
        await talk.request()
        head = f"HTTP/1.1 {status} X\r\nLocation: {elsewhere.url}/send\r\n"
        await talk.say(f"{head}Content-Length: 0\r\n\r\n".encode())

    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        answer = await wire.exchange(SMALL)
    assert (answer.status, answer.headers["location"]) == (
        status,
        f"{elsewhere.url}/send",
    )
    assert elsewhere.connections == 0
    assert len(server.seen) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_gateway_error_is_an_answer(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], status: int
) -> None:
    """What a 5xx means is the provider's to say, so the wire hands it on (N12)."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())

    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        answer = await wire.exchange(SMALL)
    assert answer.status == status


async def test_a_packed_answer_is_not_unpacked(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """Gzip that nobody asked for comes back as it is: it may be a bomb (N9)."""
    packed = gzip.compress(bytes(64 * 1024 * 1024), 1)

    async def script(talk: Talk) -> None:
        await talk.request()
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        )
        await talk.say(head % len(packed) + packed)

    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        answer = await wire.exchange(SMALL)
    assert answer.body == packed


# ---- failures: the class is what is known of the sending


async def resets_at_once(talk: Talk) -> None:
    """RST as soon as the connection is there."""
    talk.reset()


async def resets_in_the_middle(talk: Talk) -> None:
    """RST after a megabyte of the body."""
    await talk.head()
    while len(talk.buffer) < 1 << 20:
        talk.buffer += await talk.stream.receive_some(1 << 16)
    talk.reset()


async def closes_in_the_middle(talk: Talk) -> None:
    """Stop reading and close, without an answer, in the middle of the body."""
    await talk.head()


async def never_reads(talk: Talk) -> None:
    """Take the head and then nothing, so that the client's writing stalls."""
    await talk.head()
    await trio.sleep_forever()


async def ends_after(talk: Talk) -> None:
    """FIN after the whole request."""
    await talk.request()


async def resets_after(talk: Talk) -> None:
    """RST after the whole request."""
    await talk.request()
    talk.reset()


async def hangs(talk: Talk) -> None:
    """Take the whole request and say nothing."""
    await talk.request()
    await trio.sleep_forever()


async def ends_in_the_length(talk: Talk) -> None:
    """Announce ten bytes, send two, FIN."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok")


async def ends_in_a_chunk(talk: Talk) -> None:
    """Announce a chunk of ten bytes, send two, FIN."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nok")


async def ends_before_the_last_chunk(talk: Talk) -> None:
    """Send a whole chunk and FIN where the next one should begin."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")


async def resets_in_the_answer(talk: Talk) -> None:
    """RST after half an answer without a length."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\n\r\nok")
    await trio.sleep(0.05)
    talk.reset()


async def ends_in_the_head(talk: Talk) -> None:
    """FIN in the middle of the answer's head."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Le")


async def drips_the_head(talk: Talk) -> None:
    """Send header after header, byte by byte, for ever."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        await talk.drip(b"X-More: y\r\n", 0.02)


async def drips_the_body(talk: Talk) -> None:
    """Send a long body byte by byte."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    await talk.drip(bytes(1_000_000), 0.02)


async def talks_garbage(talk: Talk) -> None:
    """Answer in no HTTP."""
    await talk.request()
    await talk.say(b"220 mail.example ESMTP ready\r\n\r\n")


async def sends_endless_headers(talk: Talk) -> None:
    """Answer with a head that has no end."""
    await talk.request()
    await talk.say(b"HTTP/1.1 200 OK\r\n")
    while True:
        await talk.say(b"X-More: " + b"y" * 8000 + b"\r\n")


async def switches_protocols(talk: Talk) -> None:
    """Answer 101, which nobody asked for."""
    await talk.request()
    await talk.say(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n")
    await talk.say(b"\r\n")


async def lies_about_the_length(talk: Talk) -> None:
    """Give two lengths that contradict each other."""
    await talk.request()
    await talk.say(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"
    )


NOT_SENT = (Unavailable, {"not_sent"})
NOT_PROCESSED = (Unavailable, {"not_processed"})
NO_ANSWER = (Unanswered, {"no_answer"})
TIMEOUT = (Unanswered, {"timeout"})

Verdict = tuple[type[ProviderError], set[str]]


@pytest.mark.parametrize(
    ("script", "request_", "verdict"),
    [
        # A reset may come before the client has noticed that it was connected.
        (resets_at_once, LARGE, (Unavailable, {"not_sent", "not_processed"})),
        (resets_in_the_middle, LARGE, NOT_PROCESSED),
        (closes_in_the_middle, LARGE, NOT_PROCESSED),
        (never_reads, LARGE, NOT_PROCESSED),
        (ends_after, SMALL, NO_ANSWER),
        (ends_after, LARGE, NO_ANSWER),
        (resets_after, SMALL, NO_ANSWER),
        (resets_after, LARGE, NO_ANSWER),
        (hangs, SMALL, TIMEOUT),
        (ends_in_the_length, SMALL, NO_ANSWER),
        (ends_in_a_chunk, SMALL, NO_ANSWER),
        (ends_before_the_last_chunk, SMALL, NO_ANSWER),
        (resets_in_the_answer, SMALL, NO_ANSWER),
        (ends_in_the_head, SMALL, NO_ANSWER),
        (drips_the_head, SMALL, TIMEOUT),
        (drips_the_body, SMALL, TIMEOUT),
        (talks_garbage, SMALL, NO_ANSWER),
        (sends_endless_headers, SMALL, NO_ANSWER),
        (switches_protocols, SMALL, NO_ANSWER),
        (lies_about_the_length, SMALL, NO_ANSWER),
    ],
    ids=lambda value: getattr(value, "__name__", "" if value is SMALL else None),
)
async def test_a_fault_is_judged_by_what_was_sent(
    nursery: trio.Nursery,
    wire_to: Callable[..., Wire],
    script: Script,
    request_: Request,
    verdict: Verdict,
) -> None:
    """Each fault has its class and reason, soon, and the next request is not harmed."""
    kind, reasons = verdict
    deadline = 0.4 if verdict is TIMEOUT or script is never_reads else 5.0
    server = await serving(nursery, script, good)
    async with wire_to(server, deadline=deadline) as wire:
        began = time.perf_counter()
        error = await failure(wire, request_)
        assert time.perf_counter() - began < 2.0
        assert type(error) is kind
        assert error.reason in reasons
        after = await wire.exchange(Request("POST", "/after", JSON, b"{}"))
    assert after.body == b"/after"
    for seen in server.seen:
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.headers["x-server-token"] == TOKEN


async def test_a_closed_port_was_sent_nothing(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """Nobody listens: surely not accepted (N2)."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = Server((), None, f"http://127.0.0.1:{unused.getsockname()[1]}")
    async with wire_to(server) as wire:
        error = await failure(wire)
    assert (type(error), error.reason) == (Unavailable, "not_sent")


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


async def test_a_connection_that_is_never_made_was_sent_nothing(
    full_port: str, wire_to: Callable[..., Wire]
) -> None:
    """The deadline also bounds the connecting (N2)."""
    async with wire_to(Server((), None, full_port), deadline=0.3) as wire:
        error = await failure(wire)
    assert (type(error), error.reason) == (Unavailable, "not_sent")
    assert "no answer within 0.3 s" in str(error)


async def test_a_name_that_nobody_knows_was_sent_nothing(
    wire_to: Callable[..., Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed look-up is a request that was not sent (N1)."""

    class Nobody(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: object) -> list[object]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: object) -> tuple[str, str]:
            raise NotImplementedError

    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    before = trio.socket.set_custom_hostname_resolver(Nobody())
    try:
        async with wire_to(Server((), None, "http://nobody.example")) as wire:
            error = await failure(wire)
    finally:
        trio.socket.set_custom_hostname_resolver(before)
    assert (type(error), error.reason) == (Unavailable, "not_sent")


async def test_a_silent_server_is_given_up_by_the_clock(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], mock_clock: MockClock
) -> None:
    """With the deadline of real runs, too, a hang ends as unanswered in time."""
    server = await serving(nursery, hangs)
    mock_clock.autojump_threshold = 0.1
    async with wire_to(server, deadline=60.0) as wire:
        began = trio.current_time()
        error = await failure(wire)
    assert (type(error), error.reason) == (Unanswered, "timeout")
    assert trio.current_time() - began <= 60.0


@pytest.mark.parametrize("framing", [b"Content-Length: 52428800", b"X-No: length"])
async def test_a_huge_answer_fills_no_memory(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], framing: bytes
) -> None:
    """Of 50 MB little more than the cap is read, and the connection is dropped (N9)."""
    dropped = trio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        block = bytes(1 << 16)
        try:
            for _ in range(800):
                await talk.say(block)
        except trio.BrokenResourceError:
            dropped.set()

    server = await serving(nursery, script, good)
    tracemalloc.start()
    try:
        async with wire_to(server) as wire:
            error = await failure(wire)
            _, peak = tracemalloc.get_traced_memory()
            with trio.fail_after(2):
                await dropped.wait()
            after = await wire.exchange(SMALL)
    finally:
        tracemalloc.stop()
    assert (type(error), error.reason) == (Unanswered, "answer_too_long")
    assert error.http_status == 200
    assert peak < 3 * ANSWER_CAP
    assert after.body == b"/send"


# ---- one connection, many requests: no answer may be taken for another's


async def closes_between(talk: Talk) -> None:
    """Answer one request and close, as a server does with an idle connection."""
    await talk.request()
    await talk.say(GOOD)


async def test_a_connection_closed_while_idle_is_made_anew(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """A close between two requests costs a new connection and no message."""
    server = await serving(nursery, closes_between)
    async with wire_to(server) as wire:
        await wire.exchange(SMALL)
        await trio.sleep(0.05)
        answer = await wire.exchange(SMALL)
    assert answer.status == 200
    assert (server.connections, len(server.seen)) == (2, 2)


@pytest.mark.parametrize("abruptly", [False, True])
async def test_a_connection_closed_at_reuse_is_never_retried_blindly(
    nursery: trio.Nursery, trusting: ssl.SSLContext, *, abruptly: bool
) -> None:
    """A close instead of the second answer: perhaps accepted (N10)."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(GOOD)
        await talk.request()
        if abruptly:
            talk.reset()

    server = await serving(nursery, script, good)
    async with Wire(server.url, CREDENTIALS, context=trusting) as wire:
        await wire.exchange(SMALL)
        error = await failure(wire)
        assert (type(error), error.reason) == (Unanswered, "no_answer")
        assert (server.connections, len(server.seen)) == (1, 2)
        after = await wire.exchange(SMALL)
    assert after.body == b"/send"


async def test_a_late_answer_is_not_the_next_ones(
    nursery: trio.Nursery, wire_to: Callable[..., Wire]
) -> None:
    """What comes after the deadline is never read as the answer to the next request."""
    late = trio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await late.wait()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        await good(talk)

    server = await serving(nursery, script, good)
    async with wire_to(server, deadline=0.2) as wire:
        error = await failure(wire, Request("POST", "/first", JSON, b"1"))
        assert (type(error), error.reason) == (Unanswered, "timeout")
        late.set()
        answer = await wire.exchange(Request("POST", "/second", JSON, b"2"))
    assert answer.body == b"/second"
    assert server.connections == 2


async def answers_twice(talk: Talk) -> None:
    """Send two answers to one request, in one segment."""
    await talk.request()
    await talk.say(GOOD + GOOD.replace(b"ok", b"no"))
    await good(talk)


async def answers_again_later(talk: Talk) -> None:
    """Send an answer that nobody asked for to an idle connection."""
    await talk.request()
    await talk.say(GOOD)
    await talk.say(GOOD.replace(b"ok", b"no"))
    await good(talk)


async def answers_with_more(talk: Talk) -> None:
    """Send more body than was announced."""
    await talk.request()
    await talk.say(GOOD + b" and a bit more")
    await good(talk)


async def answers_nothing_with_a_body(talk: Talk) -> None:
    """Send a body with a status that has none."""
    await talk.request()
    await talk.say(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok")
    await good(talk)


@pytest.mark.parametrize(
    "script",
    [
        answers_twice,
        answers_again_later,
        answers_with_more,
        answers_nothing_with_a_body,
    ],
)
async def test_what_follows_an_answer_is_not_the_next_one(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], script: Script
) -> None:
    """Bytes beyond an answer are dropped with their connection."""
    server = await serving(nursery, script, good)
    async with wire_to(server) as wire:
        await wire.exchange(Request("POST", "/first", JSON, b"1"))
        await trio.sleep(0.02)
        answer = await wire.exchange(Request("POST", "/second", JSON, b"2"))
    assert (answer.status, answer.body) == (200, b"/second")


class CancelAt(trio.abc.Instrument):
    """Cancels a scope as its task is about to take its n-th step."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._task = trio.lowlevel.current_task()
        self._scope = scope
        self._left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count the steps of one task."""
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def cancelled_at(wire: Wire, step: int) -> bool:
    """Exchange, cancelled at that step; say whether it was over before."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await wire.exchange(Request("POST", "/first", JSON, b"1"))
        finally:
            trio.lowlevel.remove_instrument(instrument)
    return not scope.cancel_called


@pytest.mark.parametrize("warm", [False, True])
async def test_a_cancelled_exchange_harms_no_other(
    nursery: trio.Nursery, wire_to: Callable[..., Wire], *, warm: bool, library: bool
) -> None:
    """Cancelled at whichever step, a wire gives the next request its own answer."""
    over = False
    step = 0
    server = await serving(nursery, good)
    while not over:
        step += 1
        async with wire_to(server) as wire:
            if warm:
                await wire.exchange(SMALL)
            over = await cancelled_at(wire, step)
            with trio.fail_after(2):
                second = Request("POST", f"/{step}", JSON, b"2")
                answer = await wire.exchange(second)
            assert answer.body == f"/{step}".encode()
    # To connect takes two steps, or more, and to wait for an answer one.
    assert step > (1 if warm and not library else 4)


# ---- TLS


@pytest.fixture(scope="module")
def certify(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Certificate]:
    """Return a maker of certificates for a name such as `IP:127.0.0.1`."""
    return partial(make_certificate, tmp_path_factory)


@pytest.fixture(scope="module")
def ours(certify: Callable[[str], Certificate]) -> Certificate:
    """Return a certificate of 127.0.0.1."""
    return certify("IP:127.0.0.1")


@pytest.fixture
def secure(way: str) -> Callable[..., Wire]:
    """Return a maker of wires that trust a certificate."""
    kind = FlyingWire if way == "flight" else Wire

    def make(server: Server, certificate: Certificate, deadline: float = 5.0) -> Wire:
        return kind(
            server.url,
            CREDENTIALS,
            context=certificate.client(),
            deadline=deadline,
            library=way == "library",
        )

    return make


async def test_a_trusted_server_is_talked_to(
    nursery: trio.Nursery,
    secure: Callable[..., Wire],
    ours: Certificate,
    *,
    library: bool,
) -> None:
    """With a valid certificate requests and answers pass, on one connection."""
    server = await serving(nursery, good, context=ours.server())
    async with secure(server, ours) as wire:
        first = await wire.exchange(SMALL)
        second = await wire.exchange(LARGE)
    assert (first.body, second.body) == (b"/send", b"/send/batch")
    assert server.connections == (2 if library else 1)
    assert server.seen[1].body == LARGE.body


async def test_a_certificate_that_nobody_signed_stops_the_run(
    nursery: trio.Nursery, ours: Certificate, wire_to: Callable[..., Wire]
) -> None:
    """Self-signed: nothing is sent, and no retry can help (N3)."""
    server = await serving(nursery, good, context=ours.server())
    async with wire_to(server) as wire:
        error = await failure(wire)
    assert (type(error), error.reason) == (AccountRejected, "certificate")
    assert "self-signed certificate" in str(error)
    assert server.seen == []


async def test_a_certificate_of_another_host_stops_the_run(
    nursery: trio.Nursery,
    secure: Callable[..., Wire],
    certify: Callable[[str], Certificate],
) -> None:
    """A good certificate of somebody else is no certificate of ours (N3)."""
    theirs = certify("DNS:other.example")
    server = await serving(nursery, good, context=theirs.server())
    async with secure(server, theirs) as wire:
        error = await failure(wire)
    assert (type(error), error.reason) == (AccountRejected, "certificate")
    assert "127.0.0.1" in str(error)
    assert server.seen == []


async def test_a_certificate_that_has_expired_stops_the_run(
    nursery: trio.Nursery,
    secure: Callable[..., Wire],
    ours: Certificate,
    tmp_path: Path,
) -> None:
    """It was good once, and by somebody who is trusted: nothing is sent (N3)."""
    old = expired(tmp_path, ours)
    server = await serving(nursery, good, context=old.server())
    async with secure(server, old) as wire:
        error = await failure(wire)
    assert (type(error), error.reason) == (AccountRejected, "certificate")
    assert "expired" in str(error)
    assert server.seen == []


@pytest.mark.parametrize("script", [resets_at_once, never_reads, talks_garbage])
async def test_a_handshake_that_fails_was_sent_nothing(
    nursery: trio.Nursery,
    secure: Callable[..., Wire],
    ours: Certificate,
    script: Script,
) -> None:
    """Reset, silence and plain text instead of TLS: surely not accepted (N3)."""

    async def plainly(talk: Talk) -> None:
        if script is talks_garbage:
            await talk.say(b"220 mail.example ESMTP ready\r\n")
            await trio.sleep(0.1)
        elif script is resets_at_once:
            talk.reset()
        else:
            await trio.sleep_forever()

    server = await serving(nursery, plainly)
    server.url = server.url.replace("http:", "https:")
    async with secure(server, ours, deadline=0.3) as wire:
        error = await failure(wire)
    assert (type(error), error.reason) == (Unavailable, "not_sent")


@pytest.mark.parametrize(
    ("script", "request_", "verdict"),
    [
        (closes_in_the_middle, LARGE, NOT_PROCESSED),
        (resets_in_the_middle, LARGE, NOT_PROCESSED),
        (ends_after, SMALL, NO_ANSWER),
        (resets_after, SMALL, NO_ANSWER),
        (ends_in_the_length, SMALL, NO_ANSWER),
        (hangs, SMALL, TIMEOUT),
    ],
    ids=lambda value: getattr(value, "__name__", "" if value is SMALL else None),
)
async def test_a_fault_under_tls_is_judged_alike(
    nursery: trio.Nursery,
    secure: Callable[..., Wire],
    ours: Certificate,
    *,
    script: Script,
    request_: Request,
    verdict: Verdict,
) -> None:
    """Encryption changes nothing in what is known of the sending."""
    kind, reasons = verdict
    server = await serving(nursery, script, good, context=ours.server())
    async with secure(server, ours, deadline=0.4 if kind is Unanswered else 5) as wire:
        error = await failure(wire, request_)
        assert type(error) is kind
        assert error.reason in reasons
        after = await wire.exchange(Request("POST", "/after", JSON, b"{}"))
    assert after.body == b"/after"


async def test_an_exchange_cancelled_under_tls_harms_no_other(
    nursery: trio.Nursery, secure: Callable[..., Wire], ours: Certificate
) -> None:
    """Cancelled at whichever step, the handshake's too, no connection is left open."""
    over = False
    step = 0
    server = await serving(nursery, good, context=ours.server())
    while not over:
        step += 1
        async with secure(server, ours) as wire:
            over = await cancelled_at(wire, step)
            with trio.fail_after(2):
                answer = await wire.exchange(Request("POST", f"/{step}", JSON, b"2"))
            assert answer.body == f"/{step}".encode()
        gc.collect()  # a socket that nobody closed warns now
    assert step > 5


# ---- secrets


async def test_credentials_are_written_down_nowhere(
    nursery: trio.Nursery,
    wire_to: Callable[..., Wire],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The token reaches the server, and no log or representation on the way."""
    caplog.set_level(logging.DEBUG)
    server = await serving(nursery, good)
    async with wire_to(server) as wire:
        answer = await wire.exchange(SMALL)
        shown = f"{wire!r}{SMALL!r}{answer!r}{caplog.text}"
    assert server.seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in shown


@pytest.mark.parametrize("tail", ["\nX-Evil: 1", "\r", " ", "\0", "\u20ac"])
def test_a_token_that_no_header_can_hold_is_not_quoted(
    trusting: ssl.SSLContext, tail: str
) -> None:
    """A token that would break the request is refused at once and not shown."""
    bad = {"Authorization": f"Bearer {TOKEN}{tail}"}
    with pytest.raises(ValueError, match="Authorization") as caught:
        Wire("http://127.0.0.1:1", bad, context=trusting)
    assert TOKEN not in told(caught.value)


def test_nobody_is_trusted_where_no_tls_is_spoken(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates are read for https alone, or a proxy; what is not read fails."""
    plain = tls_context("http://127.0.0.1:8025")
    assert plain.get_ca_certs() == []
    for context in (plain, trusting):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
    monkeypatch.setenv("http_proxy", "https://proxy.example")
    assert tls_context("http://api.example").get_ca_certs() != []
