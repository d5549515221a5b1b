"""The heads of requests: what is always the same of them is put together once."""

import re
from collections.abc import Mapping
from typing import Final

from engine.message import Request
from engine.wire.url import place

#: What says where a request goes and where it ends.
_NOT_THEIRS: Final = frozenset({"host", "content-length", "transfer-encoding"})
#: Heads of one wire that are remembered; an id in a path or a header makes many.
_KNOWN: Final = 256
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: What a value may hold. More is allowed than ASCII, but not what would end it.
_VALUE: Final = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")


class Heads:
    """Makes the heads of all requests to one base URL.

    Args:
        base_url: where the paths of requests are appended.
        headers: added to every request, credentials among them.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self._base_url = base_url
        self._host = b"Host: " + place(base_url).netloc + b"\r\n"
        self._always = {name: _field(name, value) for name, value in headers.items()}
        self._known: dict[tuple[object, ...], bytes] = {}

    def head(self, request: Request) -> bytes:
        """Return the head of a request, the length of its body included.

        Its own headers replace ours of the same name.

        Raises:
            ValueError: a method or a header that would break the request, or that is
                not for the request to say.
        """
        alike = (request.method, request.path, *request.headers.items())
        if (known := self._known.get(alike)) is None:
            known = self._without_length(request)
            if len(self._known) < _KNOWN:
                self._known[alike] = known
        return b"%b%d\r\n\r\n" % (known, len(request.body))

    def _without_length(self, request: Request) -> bytes:
        """Return a head up to the length of the body."""
        theirs = {name.lower() for name in request.headers}
        if wrong := theirs & _NOT_THEIRS:
            raise ValueError(f"{', '.join(wrong)}: not the request's to say")
        ours = [v for name, v in self._always.items() if name.lower() not in theirs]
        fields = [_line(request.method, self._base_url, request.path), self._host]
        fields += [*ours, *(_field(*field) for field in request.headers.items())]
        return b"".join([*fields, b"Content-Length: "])


def is_field(name: bytes, value: bytes) -> bool:
    """Whether a header can stand in a head without breaking it."""
    return bool(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value))


def _field(name: str, value: str) -> bytes:
    if not is_field(name.encode(), value.encode()):
        raise ValueError(f"the header {name!r} or its value would break the request")
    return f"{name}: {value}\r\n".encode()


def _line(method: str, base_url: str, path: str) -> bytes:
    if not _TOKEN.fullmatch(method.encode()):
        raise ValueError(f"{method!r} is no method")
    target = place(base_url + path).target
    return b"%b %b HTTP/1.1\r\n" % (method.encode(), target)
