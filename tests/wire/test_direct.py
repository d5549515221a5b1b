"""Claims about the direct way: what leaves, when, and which connection is used again.

The faults that hold for every way are in `test_wire.py`.
"""

import math
import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock
from wire.raw import Certificate, Script, Server, Talk, serving, start

from engine.errors import ProviderError, Unanswered, Unavailable
from engine.message import Request
from engine.wire import ANSWER_CAP, KEEPALIVE, Transport, Wire
from engine.wire.connection import open_connection
from engine.wire.progress import Progress
from engine.wire.url import place

SMALL = Request("POST", "/small", {}, b"{}")
#: More than both ends take while nobody reads.
LARGE = Request("POST", "/large", {}, bytes(8 * 1024 * 1024))
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
)


def trust(certificate: Certificate | None) -> ssl.SSLContext:
    """Return the settings of a client; without a certificate they play no part."""
    if certificate is None:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return certificate.client()


def wire_to(
    server: Server, certificate: Certificate | None = None, *, deadline: float = 5.0
) -> Wire:
    """Make a wire."""
    return Wire(server.url, {}, context=trust(certificate), deadline=deadline)


async def failure(wire: Wire, request: Request) -> ProviderError:
    """Exchange what must fail."""
    with pytest.raises(ProviderError) as caught:
        await wire.exchange(request)
    return caught.value


async def good(talk: Talk) -> None:
    """Answer every request of a connection with its own path."""
    while True:
        path = (await talk.request()).line.split()[1]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(path)}\r\n\r\n{path}"
        await talk.say(head.encode())


# ---- what leaves


async def test_a_small_request_leaves_in_one_piece(nursery: trio.Nursery) -> None:
    """Head and body come in one segment, for each costs the sender as much as both."""
    pieces: list[int] = []

    async def script(talk: Talk) -> None:
        pieces.append(len(await talk.stream.receive_some(1 << 20)))
        await talk.say(GOOD)

    server = await serving(nursery, script)
    body = bytes(60_000)
    async with wire_to(server) as wire:
        await wire.exchange(Request("POST", "/", {}, body))
    assert len(pieces) == 1
    assert pieces[0] > len(body)


@pytest.mark.parametrize("request_", [SMALL, LARGE], ids=["small", "large"])
async def test_who_asks_is_told_once_that_all_is_sent(
    nursery: trio.Nursery, tls: Certificate | None, request_: Request
) -> None:
    """Not before the server can have it all, and before it answers."""
    told: list[str] = []

    async def script(talk: Talk) -> None:
        await talk.request()
        await trio.sleep(0.05)
        told.append("answer")
        await talk.say(GOOD)

    server = await start(nursery, tls, script)
    async with wire_to(server, tls) as wire:
        await wire.exchange(request_, sent=lambda: told.append("sent"))
    assert told == ["sent", "answer"]


async def refuses_and_waits(talk: Talk) -> None:
    """Answer 413 to the head alone, and neither read on nor hang up."""
    await talk.head()
    await talk.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    await trio.sleep_forever()


async def test_a_refusal_ends_the_sending(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """Who refuses a request amid its body need not take the rest to be heard."""
    told: list[str] = []
    server = await start(nursery, tls, refuses_and_waits, good)
    async with wire_to(server, tls) as wire:
        with trio.fail_after(3):
            answer = await wire.exchange(LARGE, sent=lambda: told.append("sent"))
        after = await wire.exchange(SMALL)
    assert (answer.status, answer.body, told) == (413, b"big", [])
    assert (after.body, server.connections) == (b"/small", 2)


@pytest.mark.parametrize(
    "early",
    [
        GOOD,
        GOOD[:-1],
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    ],
    ids=["answer", "most of an answer", "100", "103"],
)
async def test_nothing_but_a_refusal_ends_the_sending(
    nursery: trio.Nursery, tls: Certificate | None, early: bytes
) -> None:
    """Who says yes early, or go on, gets the whole request."""
    whole = trio.Event()

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.say(early)
        await trio.sleep(0.05)
        while len(talk.buffer) < len(LARGE.body):
            talk.buffer += await talk.stream.receive_some(1 << 20)
        whole.set()
        if early[-2:] != b"ok":
            await talk.say(b"k" if early == GOOD[:-1] else GOOD)

    server = await start(nursery, tls, script)
    async with wire_to(server, tls) as wire:
        answer = await wire.exchange(LARGE)
    with trio.fail_after(2):
        await whole.wait()
    assert (answer.status, answer.body) == (200, b"ok")


async def test_a_long_answer_is_read_while_the_request_leaves(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """Neither side waits for the other to read first."""
    body = bytes(ANSWER_CAP)

    async def script(talk: Talk) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        await talk.say(body)
        while len(talk.buffer) < len(LARGE.body):
            talk.buffer += await talk.stream.receive_some(1 << 20)

    server = await start(nursery, tls, script)
    async with wire_to(server, tls) as wire:
        answer = await wire.exchange(LARGE)
    assert (answer.status, len(answer.body)) == (200, len(body))


async def ends_early(talk: Talk) -> None:
    """Say amid the body that nothing will be said, and read on."""
    await talk.head()
    await talk.stream.send_eof()
    await trio.sleep_forever()


async def talks_garbage_early(talk: Talk) -> None:
    """Say something that is no HTTP amid the body, and read no further."""
    await talk.head()
    await talk.say(b"220 mail.example ESMTP ready\r\n\r\n")
    await trio.sleep_forever()


@pytest.mark.parametrize("script", [ends_early, talks_garbage_early])
async def test_who_cannot_answer_any_more_is_sent_no_more(
    nursery: trio.Nursery, script: Script
) -> None:
    """Nonsense or an end amid the body: surely not accepted, and known at once."""
    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        with trio.fail_after(3):
            error = await failure(wire, LARGE)
    assert (type(error), error.reason) == (Unavailable, "not_processed")


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


async def cancelled_at(step: int, call: Callable[[], Awaitable[object]]) -> None:
    """Call something, and cancel it as it is about to take its n-th step."""
    with trio.CancelScope() as scope:
        instrument = CancelAt(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await call()
        finally:
            trio.lowlevel.remove_instrument(instrument)


@pytest.mark.parametrize("size", [2_000, 8_000_000])
async def test_what_left_whole_is_known_at_every_step(
    nursery: trio.Nursery, tls: Certificate | None, size: int
) -> None:
    """Cancelled at any step: it is known to be whole if and only if it arrives so."""
    came: dict[str, int] = {}
    news = trio.Condition()

    async def script(talk: Talk) -> None:
        path = (await talk.head()).line.split()[1]
        while data := await talk.stream.receive_some(1 << 17):
            talk.buffer += data
        async with news:
            came[path] = len(talk.buffer)
            news.notify_all()

    async def arrives_whole(path: str) -> bool:
        with trio.fail_after(2):
            async with news:
                while path not in came:
                    await news.wait()
        return came[path] == size

    server = await start(nursery, tls, script)
    origin = place(server.url).origin
    verdicts = set()
    step = 0
    waiting = False
    while not waiting:
        step += 1 + step // 8
        head = b"POST /%d HTTP/1.1\r\nHost: x\r\n\r\n" % step
        progress = Progress(lambda: None)
        with trio.move_on_after(0.3) as unanswered:
            await cancelled_at(
                step,
                partial(
                    Transport(trust(tls)).exchange,
                    *(origin, head, bytes(size), progress),
                    deadline=math.inf,
                    cap=100,
                ),
            )
        waiting = unanswered.cancelled_caught
        if progress.begun:
            assert await arrives_whole(f"/{step}") is progress.whole
            verdicts.add(progress.whole)
    assert verdicts == ({True} if size < 1 << 16 else {False, True})


async def test_what_cannot_be_written_was_not_sent(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """A connection that broke before the first byte: nothing has begun to leave."""
    gone = trio.Event()

    async def script(talk: Talk) -> None:
        talk.reset()
        gone.set()

    server = await start(nursery, tls, script)
    progress = Progress(lambda: None)
    connection = await open_connection(place(server.url).origin, trust(tls), patience=5)
    await gone.wait()
    await trio.sleep(0.05)
    with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
        await connection.exchange(b"", b"{}", progress, deadline=math.inf, cap=100)
    connection.close()
    assert (progress.begun, progress.whole) == (False, False)


# ---- which connection is used again


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        GOOD + b"\r\n",
        GOOD + b"H",
        b"HTTP/1.1 204 No Content\r\n\r\nok",
    ],
)
async def test_a_connection_that_is_not_clean_is_not_used_again(
    nursery: trio.Nursery, tls: Certificate | None, answer: bytes
) -> None:
    """A farewell, an old version, or one byte too many: the next one is a new one."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(answer)
        await good(talk)

    server = await start(nursery, tls, script, good)
    async with wire_to(server, tls) as wire:
        first = await wire.exchange(SMALL)
        second = await wire.exchange(SMALL)
    assert first.status in (200, 204)
    assert (second.body, server.connections) == (b"/small", 2)


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        CHUNKED,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + GOOD,
        b"HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\nok",
    ],
)
@pytest.mark.parametrize("dripped", [False, True])
async def test_a_clean_connection_is_used_again(
    nursery: trio.Nursery, tls: Certificate | None, answer: bytes, *, dripped: bool
) -> None:
    """Whatever the framing and the segments, nothing is left and the next may come."""

    async def script(talk: Talk) -> None:
        await talk.request()
        if dripped:
            await talk.drip(answer, 0)
        else:
            await talk.say(answer)
        await good(talk)

    server = await start(nursery, tls, script)
    async with wire_to(server, tls) as wire:
        await wire.exchange(SMALL)
        second = await wire.exchange(SMALL)
    assert (second.body, server.connections) == (b"/small", 1)


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="Linux can hold segments")
async def test_a_second_record_of_tls_is_not_the_next_answer(
    nursery: trio.Nursery, certificate: Certificate
) -> None:
    """Two answers in two records of one segment: what was decrypted is not all."""

    async def script(talk: Talk) -> None:
        await talk.request()
        talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        await talk.say(GOOD)
        await talk.say(GOOD.replace(b"ok", b"no"))
        talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        await good(talk)

    server = await start(nursery, certificate, script, good)
    async with wire_to(server, certificate) as wire:
        first = await wire.exchange(SMALL)
        second = await wire.exchange(SMALL)
    assert (first.body, second.body) == (b"ok", b"/small")
    assert server.connections == 2


async def test_a_goodbye_under_tls_is_noticed_in_time(
    nursery: trio.Nursery, certificate: Certificate
) -> None:
    """A server that ends TLS while the connection is idle costs no message."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(GOOD)
        await talk.stream.aclose()

    server = await start(nursery, certificate, script)
    async with wire_to(server, certificate) as wire:
        for _ in range(3):
            answer = await wire.exchange(SMALL)
            assert answer.status == 200
            await trio.sleep(0.02)
    assert (server.connections, len(server.seen)) == (3, 3)


async def test_a_connection_is_not_used_after_a_rest(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    """A server that is about to hang up on an idle connection is forestalled."""
    server = await serving(nursery, good)
    async with wire_to(server) as wire:
        await wire.exchange(SMALL)
        mock_clock.jump(KEEPALIVE * 0.9)
        await wire.exchange(SMALL)
        assert server.connections == 1
        mock_clock.jump(KEEPALIVE * 1.1)
        await wire.exchange(SMALL)
    assert server.connections == 2


async def test_leaving_says_goodbye(
    nursery: trio.Nursery, certificate: Certificate
) -> None:
    """Under TLS the server is told that this is the end, and no attack."""
    ended = trio.Event()

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(GOOD)
        assert isinstance(talk.stream, trio.SSLStream)
        await talk.stream.unwrap()  # fails unless the other side has said it too
        ended.set()

    server = await start(nursery, certificate, script)
    async with wire_to(server, certificate) as wire:
        await wire.exchange(SMALL)
    with trio.fail_after(2):
        await ended.wait()


# ---- TLS, where it fails


async def test_an_end_without_a_goodbye_ends_an_answer(
    nursery: trio.Nursery, certificate: Certificate
) -> None:
    """Many servers just hang up; an answer that announced a length is held to it."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\n\r\nok")

    server = await start(nursery, certificate, script)
    async with wire_to(server, certificate) as wire:
        answer = await wire.exchange(SMALL)
    assert (answer.status, answer.body) == (200, b"ok")


async def test_plain_bytes_amid_tls_are_no_answer(
    nursery: trio.Nursery, certificate: Certificate
) -> None:
    """Who puts bytes between is found out; the request may have been accepted."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.socket.send(GOOD)
        await trio.sleep(0.2)

    server = await start(nursery, certificate, script, good)
    async with wire_to(server, certificate) as wire:
        error = await failure(wire, SMALL)
        after = await wire.exchange(SMALL)
    assert (type(error), error.reason) == (Unanswered, "no_answer")
    assert after.body == b"/small"


async def test_an_older_tls_will_do(
    nursery: trio.Nursery, certificate: Certificate
) -> None:
    """TLS 1.2 is spoken, too."""
    context = certificate.server()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = await serving(nursery, good, context=context)
    async with wire_to(server, certificate) as wire:
        await wire.exchange(SMALL)
        answer = await wire.exchange(LARGE)
    assert (answer.body, server.connections) == (b"/large", 1)


@pytest.mark.parametrize("bytes_of_hello", [1, 40, 400])
async def test_an_end_amid_the_handshake_was_sent_nothing(
    nursery: trio.Nursery, certificate: Certificate, bytes_of_hello: int
) -> None:
    """Whatever part of the server's greeting came: surely not accepted."""
    inner = certificate.server()

    async def script(talk: Talk) -> None:
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        theirs = inner.wrap_bio(came, goes, server_side=True)
        while not goes.pending:
            came.write(await talk.stream.receive_some(1 << 16))
            with pytest.raises(ssl.SSLWantReadError):
                theirs.do_handshake()
        await talk.say(goes.read(bytes_of_hello))

    server = await serving(nursery, script)
    server.url = server.url.replace("http:", "https:")
    async with wire_to(server, certificate) as wire:
        error = await failure(wire, SMALL)
    assert (type(error), error.reason) == (Unavailable, "not_sent")


# ---- deadlines


async def hangs(talk: Talk) -> None:
    """Take the whole request and say nothing."""
    await talk.request()
    await trio.sleep_forever()


async def test_the_sooner_deadline_comes_first(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """Each exchange ends by its own deadline, in whatever order they began."""
    server = await start(nursery, tls, hangs)
    ended: list[float] = []

    async def ask(deadline: float) -> None:
        async with wire_to(server, tls, deadline=deadline) as wire:
            error = await failure(wire, SMALL)
            assert (type(error), error.reason) == (Unanswered, "timeout")
        ended.append(deadline)

    async with trio.open_nursery() as asking:
        for deadline in (0.6, 0.2, 0.4):
            asking.start_soon(ask, deadline)
            await trio.sleep(0.02)
    assert ended == [0.2, 0.4, 0.6]


async def test_a_deadline_is_over_with_its_exchange(nursery: trio.Nursery) -> None:
    """A connection that was used in time is not hung up on when the time is over."""
    server = await serving(nursery, good)
    async with wire_to(server, deadline=0.1) as wire:
        for _ in range(3):
            await wire.exchange(SMALL)
            await trio.sleep(0.15)
    assert server.connections == 1


async def test_a_deadline_bounds_a_stalled_sending(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """A server that takes nothing is given up: surely not accepted."""

    async def script(talk: Talk) -> None:
        await talk.head()
        await trio.sleep_forever()

    server = await start(nursery, tls, script)
    async with wire_to(server, tls, deadline=0.2) as wire:
        error = await failure(wire, LARGE)
    assert (type(error), error.reason) == (Unavailable, "not_processed")
    assert "no answer within 0.2 s" in str(error)


def test_deadlines_hold_in_one_run_after_the_other() -> None:
    """What watches over them belongs to one `trio.run`, and the next has its own."""

    async def main() -> ProviderError:
        async with trio.open_nursery() as nursery:
            server = await serving(nursery, hangs)
            async with wire_to(server, deadline=0.1) as wire:
                error = await failure(wire, SMALL)
            nursery.cancel_scope.cancel()
        return error

    assert [trio.run(main).reason for _ in range(2)] == ["timeout", "timeout"]


async def test_an_answer_of_many_small_chunks_fills_no_memory(
    nursery: trio.Nursery,
) -> None:
    """The cap is on the body, not on what it is wrapped in; beyond it is too long."""

    async def script(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"fffff\r\n" + bytes(0xFFFFF) + b"\r\n"
        for _ in range(2 * ANSWER_CAP // len(block)):
            await talk.say(block)

    server = await serving(nursery, script)
    async with wire_to(server) as wire:
        error = await failure(wire, SMALL)
    assert (type(error), error.reason) == (Unanswered, "answer_too_long")
