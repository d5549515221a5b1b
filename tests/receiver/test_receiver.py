"""Claims about the receiver, over real sockets: kept before it is answered, or not."""

import hashlib
import hmac
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from engine.events import EventStore
from engine.receiver import Counts, Gate, serve
from engine.receiver.line import ROOM
from engine.suppression import Suppressions
from engine.webhooks.signature import Signature

KEY = "an-unguessable-key-of-the-path"
POST = {
    "event": "complained",
    "message_id": "msg_1",
    "timestamp": "2026-05-19T14:30:00Z",
    "recipient": "Ann@Example.com",
    "custom_args": {"message_id": "ours"},
}
GATE = Gate(
    KEY,
    {
        "cloudmails": Signature("s3cret", "x-cloudmails-signature"),
        "cloudflare": Signature("other", "x-signature", "x-time"),
    },
)


class Door:
    """A running receiver, and somebody who posts to it."""

    def __init__(self, base: str, runs: Path, counts: Counts) -> None:
        self.base = base
        self.runs = runs
        self.counts = counts
        self.client = httpx.AsyncClient(base_url=base, timeout=30)

    async def post(
        self,
        body: object,
        *,
        provider: str = "mailerlogic",
        key: str = KEY,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Post something; bytes as they are, all else as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/{key}/{provider}"
        return await self.client.post(path, content=data, headers=headers)

    def kept(self) -> dict[str, int]:
        """Count what is on the disk, through a connection of our own."""
        with EventStore.open(self.runs) as store:
            return store.count()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """Run a receiver on a free port."""
    counts = Counts()
    async with trio.open_nursery() as nursery:
        base = await nursery.start(
            partial(serve, tmp_path / "runs", GATE, counts=counts)
        )
        door = Door(base, tmp_path / "runs", counts)
        yield door
        await door.client.aclose()
        nursery.cancel_scope.cancel()


def signed(body: bytes, secret: str = "s3cret") -> dict[str, str]:
    """Sign as CloudMails' second page describes it."""
    name = "X-CloudMails-Signature"
    return {name: hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


async def test_a_post_is_on_the_disk_when_it_is_answered(door: Door) -> None:
    """The event and the suppression that follows from it."""
    answer = await door.post({"event": "email.complained", "recipient": "A@b.example"})
    assert answer.status_code == 200
    assert door.kept() == {"complained": 1}
    with Suppressions.open(door.runs) as suppressions:
        assert suppressions.all()["address"].to_list() == ["a@b.example"]
    assert (door.counts.events, door.counts.new, door.counts.suppressed) == (1, 1, 1)


async def test_what_comes_twice_and_at_once_is_kept_once(door: Door) -> None:
    """A hundred posts side by side, each of them twice."""

    async def post(number: int) -> None:
        body = {"event": "email.delivered", "email_id": f"e{number}"}
        assert (await door.post(body)).status_code == 200

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(post, number)
            nursery.start_soon(post, number)
    assert door.kept() == {"delivered": 100}
    assert (door.counts.events, door.counts.new) == (200, 100)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", {"event": "ping"}])
async def test_a_ping_is_answered(door: Door, body: object) -> None:
    """An address is tried before it is used."""
    assert (await door.post(body)).status_code == 200
    assert door.kept() == {}


async def test_an_unknown_kind_is_kept_as_it_is(door: Door) -> None:
    """What a provider invents tomorrow is not lost, and does not stop the rest."""
    assert (await door.post({"event": "email.teleported"})).status_code == 200
    assert door.kept() == {"unknown": 1}


@pytest.mark.parametrize("provider", ["cloudmails", "cloudmailin", "mailerlogic"])
@pytest.mark.parametrize(
    "body", [{"type": 7, "test": True}, {"event": None, "events": "x"}, [1, 2]]
)
async def test_json_that_is_no_event_is_kept_as_it_is(
    door: Door, provider: str, body: object
) -> None:
    """No document says what a trial of the address looks like: 200, and kept whole."""
    content = json.dumps(body, separators=(",", ":")).encode()
    answer = await door.post(content, provider=provider, headers=signed(content))
    assert answer.status_code == 200
    with EventStore.open(door.runs) as store:
        (kept,) = store.about(provider)
    assert (kept.event.type, kept.event.payload) == ("unknown", content.decode())


@pytest.mark.parametrize("body", [b"not json", b'"text"', b"7", b"[" * 3000])
async def test_what_is_no_post_is_refused_for_good(door: Door, body: object) -> None:
    """To post it again would not help: 400, and the words of what is wrong."""
    answer = await door.post(body)
    assert answer.status_code == 400
    assert "is no" in answer.text


async def test_a_post_has_room_that_fills_the_line_alone(door: Door) -> None:
    """It would have no more room later: refused once, it would be refused for ever."""
    events = [
        {"event": "email.delivered", "email_id": f"e{n}"} for n in range(ROOM + 1)
    ]
    assert (await door.post(events)).status_code == 200
    assert door.kept() == {"delivered": ROOM + 1}


async def test_a_post_that_drips_in_is_cut_off(tmp_path: Path) -> None:
    """Whoever knows the key cannot hold a connection for ever; others are served."""
    async with trio.open_nursery() as nursery:
        receive = partial(serve, tmp_path, GATE, counts=Counts(), patience=0.3)
        base = await nursery.start(receive)
        port = int(base.rpartition(":")[2])
        slow = await trio.open_tcp_stream("127.0.0.1", port)
        head = (
            f"POST /{KEY}/mailerlogic HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n"
        )
        await slow.send_all(head.encode() + b"{")
        received = b""
        with trio.fail_after(5):
            async with slow:
                async for some in slow:
                    received += some
        assert received.startswith(b"HTTP/1.1 408")
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("key", "provider"),
    [("wrong", "mailerlogic"), (KEY[:-1], "mailerlogic"), (KEY, "nobody"), ("é", "x")],
)
async def test_without_the_key_there_is_nothing_here(
    door: Door, key: str, provider: str
) -> None:
    """The same answer as for any other page."""
    answer = await door.post(POST, key=key, provider=provider)
    assert (answer.status_code, answer.text) == (404, "Not Found")
    assert door.kept() == {}


async def test_a_signature_decides_where_a_secret_is_agreed(door: Door) -> None:
    """Right, wrong, of another secret, of other bytes, and none at all."""
    body = json.dumps(POST).encode()
    post = partial(door.post, provider="cloudmails")
    assert (await post(body, headers=signed(body))).status_code == 200
    for headers in (
        {},
        signed(body, "another"),
        signed(body + b" "),
        {"X-CloudMails-Signature": "é".encode()},  # type: ignore[dict-item]
    ):
        answer = await post(body, headers=headers)
        assert answer.status_code == 401
        assert "s3cret" not in answer.text
    assert door.kept() == {"complained": 1}


@pytest.mark.parametrize("moment", ["9" * 20, "1" * 5000, "-1", "1e9", "²"])
async def test_a_time_that_is_none_is_refused(door: Door, moment: str) -> None:
    """However many digits it has."""
    headers = {"x-time": moment.encode(), "x-signature": b"0"}
    answer = await door.post(
        b"{}",
        provider="cloudflare",
        headers=headers,  # type: ignore[arg-type]
    )
    assert answer.status_code == 401


@pytest.mark.parametrize(("age", "status"), [(0, 200), (-60, 200), (600, 401)])
async def test_an_old_signature_cannot_be_played_again(
    door: Door, age: int, status: int
) -> None:
    """The time is signed, too, and must be near."""
    body = json.dumps({"type": "cf.email.sending.message.delivered"}).encode()
    moment = str(int(time.time()) - age)
    text = moment.encode() + b"." + body
    headers = {
        "x-time": moment,
        "x-signature": "sha256=" + hmac.new(b"other", text, hashlib.sha256).hexdigest(),
    }
    answer = await door.post(body, provider="cloudflare", headers=headers)
    assert answer.status_code == status
    forged = headers | {"x-time": str(int(time.time()))}
    if age:
        answer = await door.post(body, provider="cloudflare", headers=forged)
        assert answer.status_code == 401


@pytest.mark.filterwarnings(
    "ignore:.*ByteStream.*:pytest.PytestUnraisableExceptionWarning"
)
async def test_a_post_that_is_too_large_is_refused(door: Door) -> None:
    """Whoever knows the key cannot fill the memory."""
    answer = await door.post(b" " * (9 << 20))
    assert answer.status_code == 413


async def test_a_disk_that_fails_is_told_as_post_again(door: Door) -> None:
    """Nothing is answered with 200 that is not kept; later it is."""
    with sqlite3.connect(door.runs / "events.db") as db:
        db.execute("ALTER TABLE event RENAME TO away")
    answer = await door.post({"event": "email.delivered", "email_id": "e1"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    with sqlite3.connect(door.runs / "events.db") as db:
        db.execute("ALTER TABLE away RENAME TO event")
    answer = await door.post({"event": "email.delivered", "email_id": "e1"})
    assert answer.status_code == 200
    assert door.kept() == {"delivered": 1}


async def test_who_knows_the_key_sees_the_counts(door: Door) -> None:
    """And nobody else."""
    await door.post({"event": "email.delivered", "email_id": "e1"})
    assert (await door.client.get("/wrong")).status_code == 404
    told = (await door.client.get(f"/{KEY}")).json()
    assert told == {
        "posts": {"mailerlogic 200": 1},
        "events": 1,
        "new": 1,
        "suppressed": 0,
    }


def test_no_secret_shows_itself() -> None:
    """Neither the key nor what is signed with stands in a traceback."""
    assert KEY not in repr(GATE)
    assert "s3cret" not in repr(GATE)
