"""The page behind a link to unsubscribe, over real sockets (RFC 8058)."""

import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from engine import unsubscribe
from engine.receiver import Counts, Gate, serve
from engine.suppression import Suppressions, marked
from engine.unsubscribe import Subject


class Visitor:
    """Somebody with a link."""

    def __init__(self, base: str, runs: Path) -> None:
        self.runs = runs
        with Suppressions.open(runs) as suppressions:
            mark = marked(suppressions.key(), "ann@example.com")
        keys = unsubscribe.keys(runs / "unsubscribe.keys")
        self.link = f"/u/{keys.token(Subject(mark, 'letters & more'))}"
        self.client = httpx.AsyncClient(base_url=base)

    def entered(self) -> list[tuple[str, str]]:
        """Return scope and reason of what is known of the address."""
        with Suppressions.open(self.runs) as suppressions:
            known = suppressions.of("ANN@example.com")
        return known.select("scope", "reason").rows()


@pytest.fixture
async def visitor(tmp_path: Path) -> AsyncIterator[Visitor]:
    """Run a receiver, and give a link to it."""
    async with trio.open_nursery() as nursery:
        base = await nursery.start(
            partial(serve, tmp_path, Gate("k" * 20), counts=Counts())
        )
        visitor = Visitor(base, tmp_path)
        yield visitor
        await visitor.client.aclose()
        nursery.cancel_scope.cancel()


async def test_one_click_unsubscribes_from_the_list(visitor: Visitor) -> None:
    """As a mail program posts it: no cookies, no redirect, no question."""
    answer = await visitor.client.post(
        visitor.link,
        content="List-Unsubscribe=One-Click",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert visitor.entered() == [("list:letters & more", "unsubscribed")]
    again = await visitor.client.post(
        visitor.link, files={"List-Unsubscribe": "One-Click"}
    )
    assert again.status_code == 200
    assert len(visitor.entered()) == 1


@pytest.mark.parametrize("path", ["{link}", "{link}/", "/u/", "/u", "/", "/k/none/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_nothing_is_ever_redirected(
    visitor: Visitor, method: str, path: str
) -> None:
    """A link works with a slash at its end, and what is unknown is told so."""
    answer = await visitor.client.request(method, path.format(link=visitor.link))
    assert answer.status_code in ([200] if "{link}" in path else [404, 405])
    assert bool(visitor.entered()) is (method == "POST" and "{link}" in path)


async def test_a_look_changes_nothing(visitor: Visitor) -> None:
    """Scanners follow every link: GET and HEAD only show the page."""
    page = await visitor.client.get(visitor.link)
    assert page.status_code == 200
    assert "letters &amp; more" in page.text
    assert "ann@example.com" not in page.text
    assert page.headers["referrer-policy"] == "no-referrer"
    await visitor.client.head(visitor.link)
    assert visitor.entered() == []


@pytest.mark.parametrize(
    ("scope", "entered"), [("list", "list:letters & more"), ("all", "all")]
)
async def test_the_page_lets_choose_this_list_or_everything(
    visitor: Visitor, scope: str, entered: str
) -> None:
    """What the buttons of the page post."""
    answer = await visitor.client.post(visitor.link, data={"scope": scope})
    assert "You are unsubscribed" in answer.text
    assert visitor.entered() == [(entered, "unsubscribed")]


async def test_whoever_has_left_is_told_so_when_they_look_again(
    visitor: Visitor,
) -> None:
    """They are not asked anew; from a list alone they may go on to leave everything."""
    await visitor.client.post(visitor.link, data={"scope": "list"})
    page = await visitor.client.get(visitor.link)
    assert "You are unsubscribed" in page.text
    assert "letters &amp; more" in page.text
    assert 'value="all"' in page.text
    await visitor.client.post(visitor.link, data={"scope": "all"})
    page = await visitor.client.get(visitor.link)
    assert "no more mail of any kind" in page.text
    assert "<form" not in page.text


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_link_that_is_not_ours_is_told(visitor: Visitor, method: str) -> None:
    """In words for people, and nobody is entered."""
    answer = await visitor.client.request(method, visitor.link[:-3] + "AAA")
    assert answer.status_code == 404
    assert "does not work" in answer.text
    assert visitor.entered() == []


async def test_a_key_that_was_put_first_later_holds_at_once(visitor: Visitor) -> None:
    """Mail that is signed with it goes out while the server runs; old links hold."""
    path = visitor.runs / unsubscribe.KEYS
    path.write_text(f"{'ab' * 32}\n{path.read_text()}")
    token = unsubscribe.keys(path).token(Subject(b"m" * 32, "letters"))
    for link in (f"/u/{token}", visitor.link):
        assert (await visitor.client.get(link)).status_code == 200


async def test_keys_that_cannot_be_read_just_now_are_no_wrong_link(
    visitor: Visitor,
) -> None:
    """A file that is being written is damaged for a moment; one that is gone stays so.

    Links of the keys that are known work meanwhile.
    """
    path = visitor.runs / unsubscribe.KEYS
    path.write_text("half a k")
    unknown = visitor.link[:-3] + "AAA"
    assert (await visitor.client.get(unknown)).status_code == 503
    assert (await visitor.client.get(visitor.link)).status_code == 200
    path.unlink()
    assert (await visitor.client.get(unknown)).status_code == 404
    assert not path.exists()


async def test_a_disk_that_fails_is_told(visitor: Visitor) -> None:
    """Nobody is told that they are unsubscribed while they are not."""
    with sqlite3.connect(visitor.runs / "suppressions.db") as db:
        db.execute("ALTER TABLE suppression RENAME TO away")
    answer = await visitor.client.post(visitor.link, data={"scope": "all"})
    assert answer.status_code == 503
    assert "try again" in answer.text
