"""The pages, and who is let in.

A wrong key is answered as a page that does not exist: nobody learns from the answer how
near they were. JSON that is no event is kept as it is, of unknown kind: it may be the
trial of an address. What is no JSON is refused for good (400), for to post it again
would not make it readable; a disk that fails is told as 503, and the provider posts
again.
"""

import hmac
from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs

import trio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from engine import unsubscribe, webhooks
from engine.errors import EventsError, StoreError
from engine.event import Event
from engine.intake import Taken
from engine.receiver import pages
from engine.receiver.line import Line
from engine.suppression import EVERYWHERE, Suppressions
from engine.unsubscribe import Subject
from engine.webhooks.base import unknown
from engine.webhooks.signature import Signature

#: Bytes of one post; a thousand events are one megabyte.
LARGEST: Final = 8 << 20
#: Seconds for a post to come in whole.
PATIENCE: Final = 60.0
#: Seconds after which a provider is asked to post again.
_AGAIN: Final = "30"
#: Bytes of a form that are looked at; that of RFC 8058 has 26.
_FORM: Final = 4096
#: The link must not leak to anybody by the page it leads to.
_PRIVATE: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(slots=True)
class Counts:
    """What came since the start.

    Attributes:
        posts: answered requests, by provider and status: "cloudmails 200".
        events: how many they held.
        new: how many of these were not known yet.
        suppressed: addresses that were entered because of them.
    """

    posts: Counter[str] = field(default_factory=Counter)
    events: int = 0
    new: int = 0
    suppressed: int = 0

    def add(self, taken: Taken) -> None:
        """Count what came of some events."""
        self.events += taken.events
        self.new += taken.new
        self.suppressed += taken.suppressed

    def to_dict(self) -> dict[str, object]:
        """Return the counts, to be written as JSON."""
        return {
            "posts": dict(sorted(self.posts.items())),
            "events": self.events,
            "new": self.new,
            "suppressed": self.suppressed,
        }


@dataclass(frozen=True, slots=True)
class Gate:
    """Who is let in.

    Attributes:
        key: the first part of the path; whoever knows it may post.
        signatures: how the posts of a provider are signed, where a secret is agreed.
    """

    key: str
    signatures: Mapping[str, Signature] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Gate(…, {dict(self.signatures)})"

    def is_key(self, given: str) -> bool:
        """Compare a key in constant time."""
        return hmac.compare_digest(given.encode(), self.key.encode())


class Site:
    """The pages of the receiver.

    Args:
        gate: who is let in to post.
        line: keeps what is posted.
        runs: the runs folder, where the keys of the links are, and where those who
            unsubscribe are entered.
        counts: told of everything that comes.
        patience: seconds for a post to come in whole.

    Raises:
        StoreError: the keys cannot be read or made.
    """

    def __init__(
        self,
        gate: Gate,
        line: Line,
        runs: Path,
        counts: Counts,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._gate = gate
        self._line = line
        self._runs = runs
        self._path = runs / unsubscribe.KEYS
        self._keys = unsubscribe.keys(self._path)
        self._counts = counts
        self._patience = patience

    def app(self) -> Starlette:
        """Return the pages as an ASGI application."""
        app = Starlette(
            routes=[
                Route(f"{path}{end}", page, methods=methods)
                for path, page, methods in (
                    ("/u/{token}", self._unsubscribe, ["GET", "POST"]),
                    ("/{key}", self._show, ["GET"]),
                    ("/{key}/{provider}", self._receive, ["GET", "POST"]),
                )
                for end in ("", "/")
            ]
        )
        # RFC 8058 forbids a redirect, and a sender of events may not follow one.
        app.router.redirect_slashes = False
        return app

    async def _show(self, request: Request) -> Response:
        """Tell who knows the key what came since the start."""
        if not self._gate.is_key(request.path_params["key"]):
            return _nothing_here()
        return JSONResponse(self._counts.to_dict())

    async def _receive(self, request: Request) -> Response:
        provider = request.path_params["provider"]
        is_known = provider in webhooks.NAMES
        if not (self._gate.is_key(request.path_params["key"]) and is_known):
            return _nothing_here()
        if request.method != "POST":
            return PlainTextResponse(f"Here {provider} posts its events.\n")
        answer = await self._taken(request, provider)
        self._counts.posts[f"{provider} {answer.status_code}"] += 1
        return answer

    async def _unsubscribe(self, request: Request) -> Response:
        """Ask, or act; what is only looked at changes nothing."""
        token = request.path_params["token"]
        try:
            subject = self._keys.read(token) or self._read_anew(token)
        except StoreError:
            return _page(pages.later(), 503, {"Retry-After": _AGAIN})
        if subject is None:
            return _page(pages.unknown(), 404)
        if request.method != "POST":
            return await self._looked_at(subject)
        # Without a body it is the one list: whoever is slow is believed all the same.
        body = None
        with trio.move_on_after(self._patience):
            body = await _body(request)
        body = body or b""
        everything = parse_qs(body[:_FORM].decode("latin-1")).get("scope") == ["all"]
        scope = EVERYWHERE if everything else f"list:{subject.list}"
        try:
            await trio.to_thread.run_sync(self._enter, subject.mark, scope)
        except StoreError:
            return _page(pages.later(), 503, {"Retry-After": _AGAIN})
        return _page(pages.done(None if everything else subject.list))

    async def _looked_at(self, subject: Subject) -> Response:
        """Ask whoever opens a link, or tell them that they have left already."""
        scope = f"list:{subject.list}"
        try:
            left = await trio.to_thread.run_sync(self._left, subject.mark)
        except StoreError:  # whoever presses the button will be told
            left = set()
        if left.isdisjoint({EVERYWHERE, scope}):
            return _page(pages.ask(subject.list))
        return _page(pages.done(None if EVERYWHERE in left else subject.list))

    def _left(self, mark: bytes) -> set[str]:
        with Suppressions.open(self._runs) as suppressions:
            return suppressions.scopes(mark)

    def _read_anew(self, token: str) -> Subject | None:
        """Read the keys again, and by them the token: one may have been put in since.

        A file that is gone is not made anew: the keys of the start still hold.
        """
        if self._path.exists():
            self._keys = unsubscribe.keys(self._path)
        return self._keys.read(token)

    def _enter(self, mark: bytes, scope: str) -> None:
        with Suppressions.open(self._runs) as suppressions:
            self._counts.suppressed += suppressions.enter(
                mark, reason="unsubscribed", source="link", scope=scope
            )

    async def _taken(self, request: Request, provider: str) -> Response:
        body = await self._whole(request)
        if isinstance(body, Response):
            return body
        signature = self._gate.signatures.get(provider)
        if signature is not None:
            flaw = signature.flaw(request.headers, body, now=datetime.now(UTC))
            if flaw is not None:
                return PlainTextResponse(f"not to be believed: {flaw}\n", 401)
        try:
            events = _events(provider, body)
            if events:
                await self._line.put(events)
        except EventsError as error:
            return PlainTextResponse(f"the post {error}\n", 400)
        except StoreError:
            again = {"Retry-After": _AGAIN}
            return PlainTextResponse("not kept, post again\n", 503, headers=again)
        return PlainTextResponse("kept\n")

    async def _whole(self, request: Request) -> bytes | Response:
        """Read a post whole, or answer why not."""
        try:
            with trio.fail_after(self._patience):
                body = await _body(request)
        except ClientDisconnect:
            return PlainTextResponse("broken off\n", 400)
        except trio.TooSlowError:
            return PlainTextResponse("too slow\n", 408, headers={"Connection": "close"})
        if body is None:
            return PlainTextResponse(f"over {LARGEST} bytes\n", 413)
        return body


def _events(provider: str, body: bytes) -> list[Event]:
    try:
        return webhooks.load(provider)(body)
    except EventsError:
        return [unknown(body, provider)]


def _page(
    html: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return HTMLResponse(html, status, headers={**_PRIVATE, **(headers or {})})


def _nothing_here() -> Response:
    return PlainTextResponse("Not Found", 404)


async def _body(request: Request) -> bytes | None:
    """Read a body; None if it is too large."""
    parts, size = [], 0
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            size += len(part)
            if size > LARGEST:
                return None
            parts.append(part)
    return b"".join(parts)
