"""HTTP: one worker's way to the provider, and how far each request got.

What a failure means is not in its type: the same exception comes back from a request
that was never sent whole and from one that was sent and perhaps carried out. So each
request keeps account of what really left:

* no byte of the request left: surely not accepted (`Unavailable`, "not_sent");
* the body did not leave whole: surely not accepted, for the length was announced and
  HTTP has no half requests (`Unavailable`, "not_processed");
* the body left whole and no readable answer came: perhaps accepted (`Unanswered`).

Rules: a deadline over the whole exchange, since limits for each step start anew with
every byte; no redirects, which would post the recipients elsewhere; no compression and
a cap on the answer, so that no answer can fill the memory. A connection is used again
only after an exchange that ended well and left nothing behind: else the next request
could be given bytes that were meant for this one.

    wire.py        what workers call: the deadline, and what a failure means
    progress.py    how far one request got
    flight.py      many small requests at once, and one wait for all
    direct.py      the way of nearly all requests: a connection of our own
    through_httpx.py  httpx's own way, for proxies and HTTP/2
    head.py        the heads of requests
    url.py         what of a URL stands in them
    keeper.py      one connection, kept from request to request
    transport.py   it, as a transport for httpx
    talk.py        what of it speaks httpx's words
    connection.py  a request out, its answer in
    answer.py      answers, read with httptools
    channel.py     sockets and TLS
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from engine.wire.connection import KEEPALIVE
from engine.wire.flight import CAN_FLY, LARGEST, Flight
from engine.wire.wire import ANSWER_CAP, DEADLINE, USER_AGENT, Wire, tls_context

if TYPE_CHECKING:
    from engine.wire.transport import Transport

__all__ = [
    "ANSWER_CAP",
    "CAN_FLY",
    "DEADLINE",
    "KEEPALIVE",
    "LARGEST",
    "USER_AGENT",
    "Flight",
    "Transport",
    "Wire",
    "tls_context",
]


def __getattr__(name: str) -> Any:
    if name == "Transport":  # it loads httpx, which nearly no request needs
        return import_module("engine.wire.transport").Transport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
