"""A receiver of webhooks on a real socket, which can be rude."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat

import h11
import orjson
import trio


@dataclass(frozen=True, slots=True)
class Post:
    """One post as it arrived."""

    target: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def content(self) -> dict[str, object]:
        """Read the body."""
        return orjson.loads(self.body)

    @property
    def event(self) -> object:
        """Read what CloudMails calls it."""
        return self.content["event"]


@dataclass(slots=True)
class Receiver:
    """Answers posts and keeps them.

    Attributes:
        answers: statuses, one per post; None closes the connection instead.
        gate: while it is not set, nothing is answered.
        closes: whether a connection ends after each answer, without a word.
        at_once: the most posts that waited for their answers together.
    """

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    answers: Iterator[int | None] = field(default_factory=lambda: repeat(200))
    gate: trio.Event = field(default_factory=trio.Event)
    closes: bool = False
    connections: int = 0
    at_once: int = 0
    _waiting: int = 0
    _news: trio.Event = field(default_factory=trio.Event)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}/hook?a=1"

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, which posts make so."""
        while not is_so():
            news = self._news
            await news.wait()

    async def wait_for(self, count: int) -> list[Post]:
        """Wait for that many posts, and return all that came."""
        await self.wait_until(lambda: len(self.posts) >= count)
        return self.posts

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        self.connections += 1
        http = h11.Connection(h11.SERVER)
        with suppress(trio.BrokenResourceError):
            while await self._serve_one(http, stream):
                http.start_next_cycle()

    async def _serve_one(self, http: h11.Connection, stream: trio.SocketStream) -> bool:
        body, request = b"", None
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.ConnectionClosed):
                return False
            elif isinstance(event, h11.Request):
                request = event
            else:
                body += event.data
        headers = {name.decode(): value.decode() for name, value in request.headers}
        post = Post(request.target.decode(), headers, body, trio.current_time())
        return await self._answer(http, stream, post)

    async def _answer(
        self, http: h11.Connection, stream: trio.SocketStream, post: Post
    ) -> bool:
        self.posts.append(post)
        self._waiting += 1
        self.at_once = max(self.at_once, self._waiting)
        self._tell()
        await self.gate.wait()
        self._waiting -= 1
        status = next(self.answers)
        if status is None:
            return False
        answer = h11.Response(status_code=status, headers=[("content-length", "2")])
        parts = (answer, h11.Data(data=b"ok"), h11.EndOfMessage())
        await stream.send_all(b"".join(http.send(part) for part in parts))
        self._tell()
        return not self.closes

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()
