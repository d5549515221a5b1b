"""A provider that runs on this machine: a real HTTP server to rehearse against.

    server.py   HTTP/1.1 on trio: reads, answers, and breaks connections on request
    faults.py   what goes wrong, and at which request
    fate.py     what becomes of an accepted message, and when
    store.py    what was asked and accepted, and the answers to questions of it
    index.py    the columns of a million messages, packed
    webhook.py  posts what becomes of messages to a URL on this machine
    client.py   the connection that it posts on
    NAME/       a dialect each, written from that provider's document alone

`/` explains the sandbox, `/_sandbox/...` takes questions, and each dialect has a path
prefix of its own. To add a dialect, write its class as `server.Dialect` asks and name
it in `DIALECTS`; it is imported when the first request comes for it.

    async with trio.open_nursery() as nursery:
        sandbox = await nursery.start(partial(serve, faults=Faults(throttle_every=5)))
        base_url = sandbox.base_url("cloudmails")

Rules: nothing here imports `engine.providers`, nor the other way round. Each side reads
the provider's document for itself, so a misreading cannot agree with itself.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Final, NamedTuple
from urllib.parse import parse_qs

import orjson
import trio

from engine.sandbox.faults import Faults
from engine.sandbox.server import Adjustable, Dialect, converse
from engine.sandbox.store import Answer, Store, json_answer
from engine.sandbox.webhook import Poster, Webhook

__all__ = ["DIALECTS", "Faults", "Sandbox", "Webhook", "serve"]

_PAGE = """\
This is a sandbox: a provider of mail that runs on this machine. It sends nothing.
It accepts what a real provider would accept and remembers it, to rehearse against.

Point a client at one of these base URLs; any non-empty token will do:

{bases}

Ask what happened (no token needed):

  GET    /_sandbox/stats                       counts, doubles, answers, mishaps
  GET    /_sandbox/messages?offset=&limit=&to= what was accepted
  GET    /_sandbox/requests?offset=&limit=     when each request came, and its answer
  GET    /_sandbox/events?provider=            what webhooks would post of what was
                                               accepted: JSON lines, of any number
  GET    /_sandbox/webhook                     where what becomes of it is posted
  POST   /_sandbox/webhook                     replace it, from now on: {{"url": ...,
                                               "pace": 1, "secret": ""}}; loopback, and
                                               {{provider}} in its path is replaced
  DELETE /_sandbox/webhook                     post nothing any more
  POST   /_sandbox/reset                       forget everything, count from 1 again
  GET    /_sandbox/faults                      what goes wrong just now
  POST   /_sandbox/faults                      replace it: a JSON object of the below
  DELETE /_sandbox/faults                      nothing goes wrong any more

Faults; "every Nth request" counts those to sending endpoints since faults were set:

{faults}
"""


class _Place(NamedTuple):
    """Where a dialect is: the prefix of its paths, and its class in its module."""

    prefix: str
    class_name: str


#: Every dialect the sandbox speaks, by its provider's name; so is its module called.
DIALECTS: Final = {
    "cloudmails": _Place("/cloudmails/v1", "CloudMails"),
    "cloudmailin": _Place("/cloudmailin/api/v0.1", "CloudMailin"),
    "cloudflare": _Place("/cloudflare/client/v4", "Cloudflare"),
    "mailerlogic": _Place("/mailerlogic", "MailerLogic"),
}
_AT_ONCE = 1000  # posts of webhooks written at a time


class Sandbox:
    """A running sandbox.

    Attributes:
        port: the TCP port it listens on.
        store: what was asked and accepted; another object after `reset`.
    """

    def __init__(
        self, host: str, port: int, faults: Faults, webhook: Webhook, keep: int
    ) -> None:
        self.port = port
        self._dialects: dict[str, Dialect] = {}
        self._host = f"[{host}]" if ":" in host else host
        self._keep = keep
        self._start = trio.current_time()
        self._opened = datetime.now(UTC)
        self._faults = faults
        self.store = Store(keep=keep, opened=self._opened)
        self._counted_from = 0
        self._poster = Poster(self)
        self._poster.begin(webhook)

    @property
    def faults(self) -> Faults:
        """What goes wrong. Setting it counts requests from 1 again."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        self._counted_from = self.store.request_count
        for dialect in self._dialects.values():
            if isinstance(dialect, Adjustable):
                dialect.adjust(faults)

    def dialect(self, provider_name: str) -> Dialect:
        """Return what speaks for a provider; what it remembers lasts until `reset`."""
        if provider_name not in self._dialects:
            module = import_module(f"{__name__}.{provider_name}")
            dialect: Dialect = getattr(module, DIALECTS[provider_name].class_name)()
            if isinstance(dialect, Adjustable):
                dialect.adjust(self._faults)
            self._dialects[provider_name] = dialect
        return self._dialects[provider_name]

    def dialect_of(self, path: str) -> Dialect | None:
        """Return the dialect below whose prefix a path is, if any."""
        for name, place in DIALECTS.items():
            if path.startswith(f"{place.prefix}/"):
                return self.dialect(name)
        return None

    @property
    def webhook(self) -> Webhook:
        """Where what becomes of messages is posted. Setting it begins anew."""
        return self._poster.webhook

    @webhook.setter
    def webhook(self, webhook: Webhook) -> None:
        self._poster.begin(webhook)

    def base_url(self, provider_name: str) -> str:
        """Give the base URL that makes a client of this provider talk to the sandbox.

        Raises:
            ValueError: the sandbox does not speak this provider's dialect.
        """
        if provider_name not in DIALECTS:
            names = ", ".join(DIALECTS)
            raise ValueError(f"{provider_name}: the sandbox speaks {names}")
        return f"http://{self._host}:{self.port}{DIALECTS[provider_name].prefix}"

    def reset(self) -> None:
        """Forget all requests and messages, and count from 1 again."""
        self.store = Store(keep=self._keep, opened=self._opened)
        self._dialects.clear()
        self._counted_from = 0
        self._poster.begin(self._poster.webhook)

    def accepted(self) -> None:
        """Learn that the store holds more than before."""
        self._poster.hear()

    async def post(self) -> None:
        """Post what becomes of messages until cancelled."""
        await self._poster.run()

    def elapsed(self) -> float:
        """Say how many seconds have passed since the start."""
        return trio.current_time() - self._start

    def fault_number(self, number: int) -> int:
        """Number a request from when the faults were set; 0 stands for the latest."""
        return (number or self.store.request_count) - self._counted_from

    def question(self, method: str, path: str, query: str, body: bytes) -> Answer:
        """Answer what is not for a dialect."""
        routes: dict[str, dict[str, Callable[[], Answer]]] = {
            "/": {"GET": self._explain},
            "/_sandbox/stats": {"GET": self._stats},
            "/_sandbox/messages": {"GET": partial(self.store.list_messages, query)},
            "/_sandbox/requests": {"GET": partial(self.store.list_requests, query)},
            "/_sandbox/events": {"GET": partial(self._events, query)},
            "/_sandbox/reset": {"POST": self._forget},
            "/_sandbox/webhook": {
                "GET": self._show_webhook,
                "POST": partial(self._set_webhook, body),
                "DELETE": partial(self._set_webhook, b"{}"),
            },
            "/_sandbox/faults": {
                "GET": self._active,
                "POST": partial(self._replace, body),
                "DELETE": partial(self._replace, b"{}"),
            },
        }
        methods = routes.get(path)
        if methods is None:
            self.store.answered(0, 404)
            return json_answer(404, {"error": f"There is no {path} here; see /"})
        if method not in methods:
            allowed = ", ".join(methods)
            error = orjson.dumps({"error": f"{path} takes {allowed}"})
            return Answer(405, error, [("allow", allowed)])
        try:
            return methods[method]()
        except ValueError as error:
            return json_answer(400, {"error": str(error)})

    def _explain(self) -> Answer:
        bases = "\n".join(f"  {name:<13}{self.base_url(name)}" for name in DIALECTS)
        rows = Faults.describe()
        faults = "\n".join(f"  {name:<20}{meaning}" for name, meaning in rows)
        page = _PAGE.format(bases=bases, faults=faults).encode()
        return Answer(200, page, content_type="text/plain; charset=utf-8")

    def _stats(self) -> Answer:
        rest = {
            "webhook": self._poster.statistics(),
            "faults": self.faults.active(),
        }
        return json_answer(200, self.store.stats() | rest)

    def _events(self, query: str) -> Answer:
        provider = parse_qs(query).get("provider", [None])[-1]
        if provider is not None:
            self.base_url(provider)  # there is such a one
        posts = self._posts(provider)
        return Answer(200, content_type="application/x-ndjson", stream=posts)

    def _posts(self, provider: str | None) -> Iterator[bytes]:
        """Write the posts of webhooks for all that was accepted, some at a time."""
        lines = (
            post + b"\n"
            for kept in self.store.all(provider)
            for happening in self.store.happenings(kept)
            if (post := self.dialect(kept.dialect).post(happening)) is not None
        )
        while some := list(islice(lines, _AT_ONCE)):
            yield b"".join(some)

    def _forget(self) -> Answer:
        self.reset()
        return json_answer(200, {})

    def _show_webhook(self) -> Answer:
        return json_answer(200, self.webhook.shown())

    def _set_webhook(self, body: bytes) -> Answer:
        self.webhook = Webhook.parse(orjson.loads(body))
        return self._show_webhook()

    def _active(self) -> Answer:
        return json_answer(200, self.faults.active())

    def _replace(self, body: bytes) -> Answer:
        settings = orjson.loads(body)
        if not isinstance(settings, dict):
            raise ValueError("faults must be a JSON object")  # noqa: TRY004 - answered as every bad value is
        self.faults = Faults.parse(settings)
        return self._active()


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    faults: Faults = Faults(),  # noqa: B008 - frozen
    webhook: Webhook = Webhook(),  # noqa: B008 - frozen
    keep: int = 10_000,
    task_status: trio.TaskStatus[Sandbox] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a sandbox until cancelled; reports the `Sandbox` when it listens.

    Args:
        host: address to listen on.
        port: TCP port; 0 chooses a free one.
        faults: what goes wrong from the start.
        webhook: where what becomes of messages is posted, from the start.
        keep: how many messages to keep whole; of later ones only the ids.
        task_status: given by `nursery.start`.

    Raises:
        OSError: the port cannot be listened on.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    port = listeners[0].socket.getsockname()[1]
    sandbox = Sandbox(host, port, faults, webhook, keep)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sandbox.post)
        task_status.started(sandbox)
        await trio.serve_listeners(partial(converse, sandbox), listeners)
