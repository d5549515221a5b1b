"""Webhooks: what becomes of each message, posted to one URL on this machine.

How it works: every accepted message that has something to come waits in a heap with the
moment of its next post alone, about 150 bytes; address, id and words are looked up when
the moment has come. Eight workers take what is due, each with a connection of its own.
A message's next post is put in line when its last is answered or given up, so a
receiver hears of one message in order, and of different ones in any.

A post that is not answered with 2xx is made three times in all. All times shrink with
the pace, so a rehearsal need not last as long as the real thing. A new webhook begins
anew: what waited for the old one is dropped, and only what is accepted from then on is
told of.

Limits: loopback and plain http alone: these are the words of real providers, and must
not reach anybody who might believe them.
"""

import math
from dataclasses import dataclass, field
from heapq import heappop, heappush
from ipaddress import ip_address
from typing import Final, NamedTuple, Self
from urllib.parse import SplitResult, urlsplit

import trio

from engine.sandbox.client import Client
from engine.sandbox.server import Dialect, Signing, Site
from engine.sandbox.store import Store

#: Posts under way at once.
AT_ONCE = 8
#: Times that an event is posted before it is given up.
TRIES = 3
#: Seconds to the second and to the third try, at pace 1.
_BACKOFF: Final = (10.0, 60.0)
#: Messages put in line at a time; the sandbox has other things to do.
_SOME = 100
_PROVIDER = "{provider}"
#: The form of no provider's ping is documented; this one names itself.
_PING = b'{"event":"ping"}'


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where happenings are posted, and how fast they happen.

    Attributes:
        url: http and loopback; in its path, `{provider}` stands for the name of each
            provider. Empty for nowhere.
        pace: factor on the times of what becomes of messages, 0 or more.
        secret: what posts are signed with, by the dialects that sign; empty for not.

    Raises:
        ValueError: a value is none that can be used; says which.
    """

    url: str = ""
    pace: float = 1.0
    secret: str = ""

    def __post_init__(self) -> None:
        if self.url:
            _check(self.url)
        if not (math.isfinite(self.pace) and self.pace >= 0):
            raise ValueError(f"webhook pace {self.pace}: must be a factor, 0 or more")

    @classmethod
    def parse(cls, settings: object) -> Self:
        """Read a webhook from JSON.

        Raises:
            ValueError: it is none; says why.
        """
        if not isinstance(settings, dict):
            raise ValueError("a webhook must be a JSON object")  # noqa: TRY004 - answered as every bad value is
        kinds: dict[str, type | tuple[type, ...]] = {
            "url": str,
            "pace": (int, float),
            "secret": str,
        }
        wrong = [
            str(name)
            for name, value in settings.items()
            if isinstance(value, bool) or not isinstance(value, kinds.get(name, ()))
        ]
        if wrong:
            raise ValueError(
                "a webhook has the texts url and secret and the number pace, "
                f"which this is not: {', '.join(wrong)}"
            )
        return cls(**settings)

    def shown(self) -> dict[str, object]:
        """Return what may be shown: all but the secret."""
        if self == Webhook():
            return {}
        return {"url": self.url, "pace": self.pace, "signed": bool(self.secret)}

    def place(self) -> tuple[str, int]:
        """Return host and port."""
        parts = urlsplit(self.url)
        return str(parts.hostname), parts.port or 80

    def target(self, provider_name: str) -> str:
        """Return the path and query to post to."""
        parts = urlsplit(self.url.replace(_PROVIDER, provider_name))
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _check(url: str) -> None:
    """Refuse what is no URL of a receiver on this machine."""
    flaw = None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"webhook {url}: is no URL: {error}") from None
    if not url.isascii() or not url.isprintable() or " " in url:
        flaw = "must be printable ASCII without blanks"
    elif parts.scheme != "http":
        flaw = "must begin with http://"
    elif not _is_loopback(parts):
        flaw = "must be on this machine: 127.0.0.1, [::1] or localhost"
    elif parts.username is not None or port == 0:
        flaw = "must have a port, and no user"
    elif "{" in url.replace(_PROVIDER, "") or _PROVIDER in parts.netloc:
        flaw = f"may have {_PROVIDER} in its path alone"
    if flaw is not None:
        raise ValueError(f"webhook {url}: {flaw}")


def _is_loopback(parts: SplitResult) -> bool:
    try:
        return parts.hostname == "localhost" or (
            ip_address(str(parts.hostname)).is_loopback
        )
    except ValueError:
        return False


class _Waiting(NamedTuple):
    """A message with something to come.

    Attributes:
        due: seconds since the start of the sandbox.
        place: of the message in the store.
        step: which of its posts is next, from 0.
        tries: how often that one was made already.
        turned: whether its posts come all at the end, last first.
    """

    due: float
    place: int
    step: int
    tries: int
    turned: bool


@dataclass(slots=True)
class _Round:
    """What is told to one webhook of one store."""

    webhook: Webhook
    store: Store
    seen: int
    heap: list[_Waiting] = field(default_factory=list)
    greeted: dict[str, trio.Event] = field(default_factory=dict)
    under_way: int = 0
    posted: int = 0
    acknowledged: int = 0
    failed: int = 0


class Poster:
    """Posts what becomes of messages, for as long as it runs."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._news = trio.Event()
        self._round = _Round(Webhook(), site.store, 0)

    @property
    def webhook(self) -> Webhook:
        """Where happenings are posted now."""
        return self._round.webhook

    def begin(self, webhook: Webhook) -> None:
        """Post from now on there, and only what is accepted from now on."""
        store = self._site.store
        store.pace = webhook.pace
        self._round = _Round(webhook, store, store.accepted_count)
        self.hear()

    def hear(self) -> None:
        """Learn that there is something new."""
        self._news.set()
        self._news = trio.Event()

    def statistics(self) -> dict[str, int]:
        """Count since the webhook was named.

        Returns:
            `posted`, of all requests with repeats and pings; events `acknowledged` by
            2xx and `failed` for good; messages `waiting`, with something to come.
        """
        now = self._round
        unseen = now.store.accepted_count - now.seen if now.webhook.url else 0
        return {
            "posted": now.posted,
            "acknowledged": now.acknowledged,
            "failed": now.failed,
            "waiting": len(now.heap) + now.under_way + unseen,
        }

    async def run(self) -> None:
        """Post until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(self._work)

    async def _work(self) -> None:
        async with Client() as client:
            while True:
                now, waiting = await self._wait_for_next()
                try:
                    await self._tell(client, now, waiting)
                finally:
                    now.under_way -= 1

    async def _wait_for_next(self) -> tuple[_Round, _Waiting]:
        """Wait until something is due, and take it."""
        while True:
            await trio.lowlevel.checkpoint()
            now, news = self._round, self._news
            if now.webhook.url and now.seen < now.store.accepted_count:
                self._line_up(now)
                continue
            due = now.heap[0].due if now.heap else math.inf
            ahead = due - self._site.elapsed()
            if ahead <= 0:
                now.under_way += 1
                return now, heappop(now.heap)
            with trio.move_on_after(ahead):
                await news.wait()

    def _line_up(self, now: _Round) -> None:
        """Put some of the messages in line that were accepted since."""
        end = min(now.store.accepted_count, now.seen + _SOME)
        turned = self._site.faults.webhook_shuffle
        for place in range(now.seen, end):
            posts = self._posts(now, place, turned=turned)
            if posts:
                heappush(now.heap, _Waiting(posts[0][0], place, 0, 0, turned))
        now.seen = end
        self.hear()

    def _posts(
        self, now: _Round, place: int, *, turned: bool
    ) -> list[tuple[float, bytes]]:
        """Return all posts about a message in the order they go, each with its time."""
        kept = now.store.at(place)
        dialect = self._site.dialect(kept.dialect)
        posts = [
            ((happening.at - now.store.opened).total_seconds(), body)
            for happening in now.store.happenings(kept)
            if (body := dialect.post(happening)) is not None
        ]
        if turned:
            posts = [(posts[-1][0], body) for _, body in reversed(posts)]
        return posts

    async def _tell(self, client: Client, now: _Round, waiting: _Waiting) -> None:
        """Make a post, and put in line what comes after it."""
        dialect = self._site.dialect(now.store.at(waiting.place).dialect)
        posts = self._posts(now, waiting.place, turned=waiting.turned)
        if self._site.faults.webhook_ping:
            await self._greet(client, now, dialect)
        body = posts[waiting.step][1]
        if not await self._post(client, now, dialect, body):
            if waiting.tries + 1 < TRIES:
                pause = _BACKOFF[waiting.tries] * now.webhook.pace
                again = waiting._replace(
                    due=self._site.elapsed() + pause, tries=waiting.tries + 1
                )
                self._await(now, again)
                return
            now.failed += 1
        else:
            now.acknowledged += 1
            twice = self._site.faults.webhook_twice
            if twice and now.acknowledged % twice == 0:
                await self._post(client, now, dialect, body)
        step = waiting.step + 1
        if step < len(posts):
            due = posts[step][0]
            self._await(now, waiting._replace(due=due, step=step, tries=0))

    def _await(self, now: _Round, waiting: _Waiting) -> None:
        heappush(now.heap, waiting)
        self.hear()

    async def _greet(self, client: Client, now: _Round, dialect: Dialect) -> None:
        """Post a ping of this dialect, unless it has been; nothing goes before it."""
        if dialect.name not in now.greeted:
            now.greeted[dialect.name] = trio.Event()
            await self._post(client, now, dialect, _PING)
            now.greeted[dialect.name].set()
        await now.greeted[dialect.name].wait()

    async def _post(
        self, client: Client, now: _Round, dialect: Dialect, body: bytes
    ) -> bool:
        """Make one post; tell whether it was answered with 2xx."""
        headers = {
            "content-type": "application/json",
            "user-agent": f"mailvolley-sandbox/{dialect.name}",
        }
        if now.webhook.secret and isinstance(dialect, Signing):
            headers |= dialect.signature(body, now.webhook.secret)
        now.posted += 1
        target = now.webhook.target(dialect.name)
        status = await client.post(now.webhook.place(), target, headers, body)
        return status is not None and status // 100 == 2  # noqa: PLR2004 - 2xx
