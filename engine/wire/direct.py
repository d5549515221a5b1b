"""The direct way: one connection of our own, and no step between it and the worker."""

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from itertools import starmap

from engine.message import Request, Response
from engine.wire.answer import Reader
from engine.wire.head import Heads
from engine.wire.keeper import Keeper
from engine.wire.progress import Progress
from engine.wire.url import place


class Direct:
    """The way without a proxy, in HTTP/1.1; see `engine.wire.Way`.

    Attributes:
        keeper: of the connection.
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], context: ssl.SSLContext
    ) -> None:
        self._heads = Heads(base_url, headers)
        self._origin = place(base_url).origin
        self.keeper = Keeper(context)

    async def exchange(
        self, request: Request, progress: Progress, *, deadline: float, cap: int
    ) -> Response:
        """Send a request and read its answer whole."""
        head = self.head(request)
        answer = await self.keeper.exchange(
            self._origin, head, request.body, progress, deadline=deadline, cap=cap
        )
        return response(answer)

    def head(self, request: Request) -> bytes:
        """Return the head of a request."""
        return self._heads.head(request)

    def is_warm(self, now: float) -> bool:
        """Whether a connection is kept, as far as is known at this moment."""
        kept = self.keeper.kept
        return kept is not None and kept.is_recent(now)

    async def aclose(self) -> None:
        """Hang up."""
        await self.keeper.aclose()


def response(answer: Reader) -> Response:
    """Return an answer that was read whole."""
    return Response(
        status=answer.status,
        headers=dict(starmap(_field, answer.headers)),
        body=answer.take(),
        received_at=datetime.now(UTC),
    )


@lru_cache(256)  # most answers of a provider have most fields in common
def _field(name: bytes, value: bytes) -> tuple[str, str]:
    return _text(name.lower()), _text(value)


def _text(field: bytes) -> str:
    field = field.strip(b" \t")
    try:
        return field.decode()
    except UnicodeDecodeError:
        return field.decode("latin-1")
