"""Claims about `engine.fetch`: the whole list or nothing, as it is now."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import trio

from engine import api
from engine.errors import AccountRejected, Unanswered
from engine.fetch import Fetch
from engine.fetched import DATABASE, Fetched, fetched_at, scope_of
from engine.suppression import EVERYWHERE, Entry, Suppressions

CAMPAIGN = """
name = "letter"
kind = "transactional"
[recipients]
source = "list.csv"
[message]
from = "shop@harbour.example"
subject = "letter/subject.txt.j2"
text = "letter/subject.txt.j2"
[provider]
name = "cloudflare"
account_id = "acc1"
token = { env = "LETTER_TOKEN" }
"""
REAL = "https://api.cloudflare.com/client/v4"

Answer = tuple[int, dict[str, Any]]


def page(*emails: str, reason: str = "manual", cursor: str | None = None) -> Answer:
    """Make a page of a list."""
    entries = [{"email": email, "reason": reason} for email in emails]
    info = {"next_cursor": cursor}
    return 200, {"success": True, "result": entries, "result_info": info}


@asynccontextmanager
async def provider(*answers: Answer) -> AsyncIterator[tuple[str, list[str]]]:
    """Answer requests in order; give the address, and what was asked."""
    asked: list[str] = []
    coming = iter(answers)

    async def serve(stream: trio.SocketStream) -> None:
        received = b""
        async for some in stream:
            received += some
            while b"\r\n\r\n" in received:
                head, _, received = received.partition(b"\r\n\r\n")
                asked.append(head.split(b"\r\n")[0].decode())
                status, body = next(coming)
                content = json.dumps(body).encode()
                told = f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n"
                await stream.send_all(told.encode() + content)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(
            partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        )
        port = listener.socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}", asked
        nursery.cancel_scope.cancel()


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Fetch]:
    """Make what fetches a list from an address, for the runs in a folder."""
    monkeypatch.setenv("LETTER_TOKEN", "token")
    (tmp_path / "templates" / "letter").mkdir(parents=True)
    (tmp_path / "templates" / "letter" / "subject.txt.j2").write_text("Hello")
    (tmp_path / "letter.toml").write_text(CAMPAIGN)

    def of(base_url: str) -> Fetch:
        words = [f"provider.base_url={base_url}"]
        campaign = api.load(tmp_path / "letter.toml", overrides=words, needs_list=False)
        return Fetch(campaign, tmp_path)

    return of


def entries(runs: Path) -> list[tuple[str, str]]:
    """Return address and reason of all entries."""
    with Suppressions.open(runs) as suppressions:
        return suppressions.all().select("address", "reason").rows()


async def test_all_pages_are_copied(
    tmp_path: Path, fetch: Callable[[str], Fetch]
) -> None:
    """Each address once, in the form in which it is compared, and when it was."""
    before = datetime.now(UTC).replace(microsecond=0)
    pages = (
        page("Ann@a.example", "bob@bücher.de", cursor="c2"),
        page("ann@A.example", "cy@c.example", reason="hard_bounce"),
    )
    async with provider(*pages) as (url, asked):
        told = await fetch(url).run()
    question = "GET /accounts/acc1/email/sending/suppressions?per_page=1000"
    assert asked == [f"{question} HTTP/1.1", f"{question}&cursor=c2 HTTP/1.1"]
    assert (told.listed, told.entered, told.removed) == (3, 3, 0)
    assert told.reasons == {"manual": 2, "bounced": 1}
    assert entries(tmp_path) == [
        ("ann@a.example", "manual"),
        ("bob@xn--bcher-kva.de", "manual"),
        ("cy@c.example", "bounced"),
    ]
    at = fetched_at(tmp_path, told.scope)
    assert at is not None
    assert before <= at <= datetime.now(UTC)


async def test_the_copy_follows_the_list_and_touches_nothing_else(
    tmp_path: Path, fetch: Callable[[str], Fetch]
) -> None:
    """Who is off the list is free again, unless they were entered in another way."""
    with Suppressions.open(tmp_path) as suppressions:
        suppressions.add([Entry("ann@a.example", "unsubscribed", "a link")])
    pages = (
        page("ann@a.example", "bob@b.example", "cy@c.example", reason="soft_bounce"),
        page("cy@c.example", "dee@d.example", reason="complaint"),
    )
    async with provider(*pages) as (url, _):
        first = await fetch(url).run()
        assert (first.listed, first.entered, first.removed) == (3, 3, 0)
        second = await fetch(url).run()
    assert (second.listed, second.entered, second.removed) == (2, 2, 3)
    assert entries(tmp_path) == [
        ("ann@a.example", "unsubscribed"),
        ("cy@c.example", "complained"),
        ("dee@d.example", "complained"),
    ]
    with Suppressions.open(tmp_path) as suppressions:
        asked = pl.Series(["ann@a.example", "bob@b.example", "dee@d.example"])
        found = suppressions.filter({second.scope}).find(asked)["suppressed"]
        assert found.to_list() == ["unsubscribed", None, "complained"]
        (everywhere,) = suppressions.all({EVERYWHERE})["address"]
        assert everywhere == "ann@a.example"


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        ((403, {"success": False, "errors": []}), AccountRejected),
        (page("bob@b.example", cursor="c2"), Unanswered),
    ],
)
async def test_half_a_list_changes_nothing(
    tmp_path: Path, fetch: Callable[[str], Fetch], last: Answer, kind: type[Exception]
) -> None:
    """Refused half-way, or pages in a circle: what was known stays, and its date."""
    pages = (page("ann@a.example"), page("cy@c.example", cursor="c2"), last)
    async with provider(*pages) as (url, _):
        told = await fetch(url).run()
        at = fetched_at(tmp_path, told.scope)
        with pytest.raises(kind):
            await fetch(url).run()
    assert entries(tmp_path) == [("ann@a.example", "manual")]
    assert fetched_at(tmp_path, told.scope) == at


async def test_a_failure_that_passes_is_waited_out(
    tmp_path: Path, fetch: Callable[[str], Fetch]
) -> None:
    """A question may be asked again, after a 500 too."""
    async with provider((500, {}), page("ann@a.example")) as (url, asked):
        await fetch(url).run()
    assert len(asked) == 2
    assert entries(tmp_path) == [("ann@a.example", "manual")]


def test_when_a_list_was_fetched_is_known_by_account(tmp_path: Path) -> None:
    """The last time counts; to look makes no file; no other account is answered for."""
    assert fetched_at(tmp_path, "provider:cloudflare:a") is None
    assert not (tmp_path / DATABASE).exists()
    moment = datetime(2026, 11, 20, 12, tzinfo=UTC)
    with Fetched.open(tmp_path) as fetched:
        fetched.note("provider:cloudflare:a", moment - timedelta(days=1))
        fetched.note("provider:cloudflare:a", moment)
    assert fetched_at(tmp_path, "provider:cloudflare:a") == moment
    assert fetched_at(tmp_path, "provider:cloudflare:b") is None


def test_a_copy_is_of_one_account_in_one_place(
    tmp_path: Path, fetch: Callable[[str], Fetch]
) -> None:
    """A rehearsal's list is never taken for the real one."""
    fetch(REAL)  # writes the campaign
    campaign = api.load(tmp_path / "letter.toml", needs_list=False)
    assert scope_of(campaign, REAL) == "provider:cloudflare:acc1"
    here = scope_of(campaign, "http://127.0.0.1:8025/cloudflare/client/v4")
    assert here == "provider:cloudflare:acc1@127.0.0.1:8025"
    other = ["provider.name=mailerlogic", 'provider.domain="a.example"']
    (tmp_path / "letter.toml").write_text(CAMPAIGN.replace('account_id = "acc1"\n', ""))
    campaign = api.load(tmp_path / "letter.toml", overrides=other, needs_list=False)
    assert scope_of(campaign, "https://api.mailerlogic.net") is None
