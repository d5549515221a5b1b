"""Claims about flights: many requests at once, each with an end of its own.

The faults that hold for every way are in `test_wire.py`, a flight among them.
"""

import socket
import ssl
from contextlib import AsyncExitStack

import pytest
import trio
from wire.flying import FlyingWire
from wire.raw import Certificate, Server, Talk, serving, start

from engine.errors import ProviderError, Unanswered, Unavailable
from engine.message import Request, Response
from engine.wire import KEEPALIVE, LARGEST, Flight, Wire

SMALL = Request("POST", "/small", {}, b"{}")


async def warm(
    stack: AsyncExitStack, server: Server, certificate: Certificate | None, count: int
) -> list[FlyingWire]:
    """Make wires whose connections are open."""
    wires = []
    for _ in range(count):
        context = (
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if certificate is None
            else certificate.client()
        )
        wire = FlyingWire(server.url, {}, context=context)
        await stack.enter_async_context(wire)
        assert await wire.warm()
        wires.append(wire)
    return wires


def numbered(number: int) -> Request:
    """Make a request that says which it is."""
    return Request("POST", f"/{number}", {}, b"{}")


def nothing() -> None:
    """Want to know nothing."""


async def all_ended(
    flight: Flight[int], count: int
) -> dict[int, Response | ProviderError]:
    """Wait until so many exchanges have ended."""
    over: dict[int, Response | ProviderError] = {}
    with trio.fail_after(10):
        while len(over) < count:
            over |= dict(await flight.ended())
    return over


async def echo(talk: Talk) -> None:
    """Answer every request of a connection with its own path."""
    while True:
        path = (await talk.request()).line.split()[1]
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(path)}\r\n\r\n{path}"
        await talk.say(head.encode())


async def silent(talk: Talk) -> None:
    """Take a request, and say nothing."""
    await talk.request()
    await trio.sleep_forever()


async def test_each_request_of_many_gets_its_own_answer(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """Round after round over the same connections."""
    server = await start(nursery, tls, *[echo] * 20)
    async with AsyncExitStack() as stack:
        wires = await warm(stack, server, tls, 20)
        flight = Flight[int]()
        for round_ in range(3):
            for place, wire in enumerate(wires):
                number = 100 * round_ + place
                flight.begin(number, wire, numbered(number), nothing)
            over = await all_ended(flight, len(wires))
            bodies = {n: came.body for n, came in over.items()}  # type: ignore[union-attr]
            assert bodies == {n: f"/{n}".encode() for n in over}
        flight.close()
    assert len(server.seen) == 60


async def test_a_fault_of_one_is_no_fault_of_the_others(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """One breaks off, one is cut in its answer, one says nothing HTTP knows."""

    async def breaks(talk: Talk) -> None:
        await talk.request()
        talk.reset()

    async def cuts(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    async def garbles(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"sorry\r\n\r\n")

    server = await start(nursery, tls, breaks, cuts, garbles, echo)
    async with AsyncExitStack() as stack:
        wires = await warm(stack, server, tls, 4)
        flight = Flight[int]()
        for number, wire in enumerate(wires):
            flight.begin(number, wire, numbered(number), nothing)
        over = await all_ended(flight, 4)
        kept = [flight.warm([wire], 1) for wire in wires]
        flight.close()
    assert {type(over[n]) for n in range(3)} == {Unanswered}
    assert over[3].body == b"/3"  # type: ignore[union-attr]
    assert kept == [0, 0, 0, 1]


async def test_answers_in_pieces_keep_nobody_waiting(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """Who drips is read byte by byte, while others end and begin anew."""

    async def drips(talk: Talk) -> None:
        await talk.request()
        await talk.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow", 0.005)

    server = await start(nursery, tls, drips, echo)
    async with AsyncExitStack() as stack:
        slow, quick = await warm(stack, server, tls, 2)
        flight = Flight[int]()
        flight.begin(0, slow, numbered(0), nothing)
        ended = []
        with trio.fail_after(10):
            for number in range(1, 100):
                flight.begin(number, quick, numbered(number), nothing)
                while number not in ended:
                    ended += [tag for tag, _ in await flight.ended()]
            while 0 not in ended:
                ended += [tag for tag, _ in await flight.ended()]
        flight.close()
    assert ended.index(0) > 5
    assert len(ended) == 100


async def test_each_has_its_own_deadline(nursery: trio.Nursery) -> None:
    """Who gets no answer in time is in doubt; who began later has more time."""
    server = await serving(nursery, silent, silent, echo)
    async with AsyncExitStack() as stack:
        wires = await warm(stack, server, None, 3)
        flight = Flight[int](deadline=0.4)
        flight.begin(0, wires[0], SMALL, nothing)
        await trio.sleep(0.2)
        flight.begin(1, wires[1], SMALL, nothing)
        flight.begin(2, wires[2], SMALL, nothing)
        began = trio.current_time()
        over = await all_ended(flight, 3)
        took = trio.current_time() - began
        flight.close()
    assert [over[n].reason for n in (0, 1)] == ["timeout"] * 2  # type: ignore[union-attr]
    assert isinstance(over[0], Unanswered)
    assert isinstance(over[2], Response)
    assert took >= 0.4


async def test_what_does_not_leave_at_once_leaves_when_there_is_room(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """A request larger than the socket's room is sent whole, and told of once."""

    async def sleepy(talk: Talk) -> None:
        await trio.sleep(0.1)
        seen = await talk.request()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{len(seen.body):05}"
        await talk.say(head.encode())

    server = await start(nursery, tls, sleepy)
    sent: list[float] = []
    async with AsyncExitStack() as stack:
        (wire,) = await warm(stack, server, tls, 1)
        _narrow(wire)
        flight = Flight[int]()
        body = bytes(LARGEST)
        request = Request("POST", "/", {}, body)
        flight.begin(0, wire, request, lambda: sent.append(trio.current_time()))
        assert sent == []  # there was no room for all of it
        over = await all_ended(flight, 1)
        flight.close()
    assert over[0].body == b"65536"  # type: ignore[union-attr]
    assert len(sent) == 1


async def test_what_was_not_sent_whole_is_surely_not_accepted(
    nursery: trio.Nursery,
) -> None:
    """The server hangs up while a request still leaves."""

    async def leaves(talk: Talk) -> None:
        await trio.sleep(0.1)
        talk.reset()

    server = await serving(nursery, leaves, room=4096)
    async with AsyncExitStack() as stack:
        (wire,) = await warm(stack, server, None, 1)
        _narrow(wire)
        flight = Flight[int]()
        flight.begin(0, wire, Request("POST", "/", {}, bytes(LARGEST)), nothing)
        over = await all_ended(flight, 1)
        flight.close()
    assert isinstance(over[0], Unavailable)
    assert over[0].reason == "not_processed"


async def test_a_refusal_of_half_a_request_is_an_answer(nursery: trio.Nursery) -> None:
    """The server says 413 to the head, and the rest need not leave."""

    async def refuses(talk: Talk) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await trio.sleep_forever()

    server = await serving(nursery, refuses, room=4096)
    async with AsyncExitStack() as stack:
        (wire,) = await warm(stack, server, None, 1)
        _narrow(wire)
        flight = Flight[int]()
        flight.begin(0, wire, Request("POST", "/", {}, bytes(LARGEST)), nothing)
        over = await all_ended(flight, 1)
        warm_still = flight.warm([wire], 1)
        flight.close()
    assert over[0].status == 413  # type: ignore[union-attr]
    assert not warm_still


async def test_a_server_that_hung_up_is_seen_before_a_request_leaves(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """After `look` nothing is sent over a connection that is closed."""

    async def once(talk: Talk) -> None:
        await talk.request()
        await talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    server = await start(nursery, tls, once, echo)
    async with AsyncExitStack() as stack:
        brief, lasting = await warm(stack, server, tls, 2)
        flight = Flight[int]()
        flight.begin(0, brief, SMALL, nothing)
        flight.begin(1, lasting, SMALL, nothing)
        await all_ended(flight, 2)
        await trio.sleep(0.1)  # it hangs up
        assert flight.look() == []
        assert [flight.warm([wire], 1) for wire in (brief, lasting)] == [0, 1]
        with pytest.raises(LookupError):
            flight.begin(2, brief, SMALL, nothing)
        flight.close()


async def test_a_wire_goes_from_a_flight_to_an_exchange_and_back(
    nursery: trio.Nursery, tls: Certificate | None
) -> None:
    """One connection serves both, one after the other."""
    server = await start(nursery, tls, echo)
    async with AsyncExitStack() as stack:
        (wire,) = await warm(stack, server, tls, 1)
        flight = Flight[int]()
        for number in range(4):
            flight.begin(number, wire, numbered(number), nothing)
            await all_ended(flight, 1)
            flight.leave(wire)
            answer = await Wire.exchange(wire, numbered(number))
            assert answer.body == f"/{number}".encode()
        flight.close()
    assert len(server.seen) == 8


async def test_a_connection_that_idles_too_long_is_not_trusted(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Its server may be about to hang up."""
    server = await serving(nursery, echo)
    async with AsyncExitStack() as stack:
        (wire,) = await warm(stack, server, None, 1)
        flight = Flight[int]()
        assert flight.warm([wire], 1)
        autojump_clock.jump(KEEPALIVE + 0.1)
        assert not flight.warm([wire], 1)
        flight.close()


def _narrow(wire: FlyingWire) -> None:
    """Leave a connection little room for what it sends."""
    number = wire.direct.keeper.kept.fileno()  # type: ignore[union-attr]
    with socket.socket(fileno=number) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        same.detach()
