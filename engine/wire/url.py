"""What of a URL stands in a request, and where it leads to.

Nearly all URLs are plain: nothing of them has to be escaped, encoded or put in order.
All others are httpx's to read, which is slow to load; both ways give the same.
"""

import re
from typing import Final, NamedTuple

from engine.wire.channel import Origin

_PORTS: Final = {"http": 80, "https": 443}
_PLAIN: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>127\.0\.0\.1|localhost|(?:[a-z0-9-]+\.)+[a-z]+)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?!\.\.?(?:[/?]|$))[\w.~!$&'()*+,;=:@%-]*)*)"
    r"(?P<query>(?:\?[\w.~!$&()*+,;=:@%/?-]*)?)",
    re.ASCII,
)


class Place(NamedTuple):
    """A URL, taken apart.

    Attributes:
        origin: the server.
        netloc: it, as the header `Host` has it.
        target: path and query, as the first line of a request has them.
    """

    origin: Origin
    netloc: bytes
    target: bytes


def place(url: str) -> Place:
    """Take a URL apart.

    Raises:
        httpx.InvalidURL: it is none.
    """
    plain = _PLAIN.fullmatch(url)
    if plain is None:
        return _by_httpx(url)
    scheme, host = plain["scheme"], plain["host"]
    port = int(plain["port"] or _PORTS[scheme])
    netloc = host if port == _PORTS[scheme] else f"{host}:{port}"
    target = (plain["path"] or "/") + plain["query"]
    origin = Origin(scheme == "https", host, port)
    return Place(origin, netloc.encode(), target.encode())


def _by_httpx(url: str) -> Place:
    import httpx  # noqa: PLC0415 - slow; only for what is not plain

    read = httpx.URL(url)
    port = read.port or _PORTS[read.scheme]
    origin = Origin(read.scheme == "https", read.raw_host.decode("ascii"), port)
    return Place(origin, read.netloc, read.raw_path)
