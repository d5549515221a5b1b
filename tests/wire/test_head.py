"""Claims about `engine.wire.head`: what is sent is what was asked for, and no more."""

import httpx
import pytest

from engine.message import Request
from engine.wire.head import Heads
from engine.wire.url import place

BASE = "https://api.example.com/v1"
HEADERS = {"Accept": "application/json", "Authorization": "Bearer t"}


def head(
    path: str = "/send",
    headers: dict[str, str] | None = None,
    *,
    base: str = BASE,
    method: str = "POST",
) -> list[bytes]:
    """Make a head and cut it into lines."""
    request = Request(method, path, headers or {}, b"12345")
    made = Heads(base, HEADERS).head(request)
    assert made.endswith(b"\r\n\r\n")
    return made[:-4].split(b"\r\n")


def test_a_head_is_whole() -> None:
    """It has the line, the host, ours, theirs and the length of the body."""
    assert head(headers={"Content-Type": "application/json"}) == [
        b"POST /v1/send HTTP/1.1",
        b"Host: api.example.com",
        b"Accept: application/json",
        b"Authorization: Bearer t",
        b"Content-Type: application/json",
        b"Content-Length: 5",
    ]


def test_a_request_may_say_otherwise() -> None:
    """A header of the request replaces ours of that name, in whatever letters."""
    lines = head(headers={"accept": "text/plain"})
    assert [line for line in lines if b"ccept" in line] == [b"accept: text/plain"]


@pytest.mark.parametrize(
    "base",
    [
        "http://127.0.0.1:8025",
        "http://api.example.com:80/",
        "https://api.example.com:443/a b",
        "http://[::1]:8025/x",
        "https://b\u00fccher.example/v1",
        "https://API.example.com:0443/v1/..",
    ],
)
@pytest.mark.parametrize(
    "path",
    [
        *("/send", "/send?q=a b&u=\u00fc", "/a%2Fb", "/\u20ac", "/send?", "/send#a"),
        *("/a/./b", "/a/../b/..", "/..b", "/a%b", "/?a'b\"", "/{a}|b", "//a"),
    ],
)
def test_line_and_host_are_the_librarys(base: str, path: str) -> None:
    """Targets and hosts are written as httpx writes them."""
    theirs = httpx.Request("POST", base + path)
    line, host, *_ = head(path, base=base)
    assert line == b"POST " + theirs.url.raw_path + b" HTTP/1.1"
    assert host == b"Host: " + theirs.headers["Host"].encode()


@pytest.mark.parametrize(
    ("headers", "method"),
    [
        ({"X-Key": "a\r\nX-Evil: 1"}, "POST"),
        ({"X-Key": "a\n"}, "POST"),
        ({"X-Key": "\0"}, "POST"),
        ({"X-Key: 1\r\nX-Evil": "1"}, "POST"),
        ({"": "1"}, "POST"),
        ({"Content-Length": "1"}, "POST"),
        ({"transfer-encoding": "chunked"}, "POST"),
        ({"Host": "other.example"}, "POST"),
        ({}, "POST / HTTP/1.1\r\nX-Evil: 1\r\n\r\n"),
    ],
)
def test_nothing_can_be_smuggled_in(headers: dict[str, str], method: str) -> None:
    """No value ends its line, and nobody moves the end of a request."""
    with pytest.raises(ValueError, match=r"break|not the request's|no method"):
        head(headers=headers, method=method)


def test_a_header_may_have_letters_beyond_ascii() -> None:
    """They travel as UTF-8."""
    assert "X-Name: J\u00fcrgen".encode() in head(headers={"X-Name": "J\u00fcrgen"})


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://api.example.com/x", (False, "api.example.com", 80)),
        ("https://api.example.com", (True, "api.example.com", 443)),
        ("https://b\u00fccher.example:8443", (True, "xn--bcher-kva.example", 8443)),
        ("http://[::1]:80", (False, "::1", 80)),
    ],
)
def test_where_a_url_leads_to(url: str, origin: tuple[bool, str, int]) -> None:
    """Host and port are what a socket and a certificate need."""
    assert place(url).origin == origin
