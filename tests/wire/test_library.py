"""Claims about when the library's way is taken, and what is different there."""

import socket
import ssl
from collections.abc import Callable

import pytest
import trio
from wire.raw import Certificate, Talk, serving

from engine.errors import Unavailable
from engine.message import Request
from engine.wire import Wire

TOKEN = "s3cret-t0ken"
CREDENTIALS = {"Authorization": f"Bearer {TOKEN}"}
REQUEST = Request("POST", "/send", {}, b"{}")
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: A name that nobody can look up, and nobody has to: the proxy would.
AWAY = "api.mail.invalid"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the proxies of this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def no_names() -> None:
    """Let no name be looked up."""

    class Nobody(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: object) -> list[object]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *_: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Nobody())


def trust(certificate: Certificate) -> ssl.SSLContext:
    """Trust a certificate under any name: this is about the way, not about TLS."""
    context = certificate.client()
    context.check_hostname = False
    return context


async def answers(talk: Talk) -> None:
    """Answer each request."""
    while True:
        await talk.request()
        await talk.say(GOOD)


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_a_proxy_is_asked_where_one_is_named(
    nursery: trio.Nursery,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """The environment names it, and it gets the whole address."""
    proxy = await serving(nursery, answers)
    monkeypatch.setenv(variable, proxy.url)
    url = f"http://{AWAY}/v1"
    async with Wire(url, CREDENTIALS, context=trust(certificate)) as wire:
        answer = await wire.exchange(REQUEST)
    assert answer.body == b"ok"
    assert proxy.seen[0].line == f"POST http://{AWAY}/v1/send HTTP/1.1"


async def test_a_proxy_sees_nothing_of_tls(
    nursery: trio.Nursery, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for a tunnel, and the credentials go through, not to it."""
    inside: list[bytes] = []

    async def tunnel(talk: Talk) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 200 Connected\r\n\r\n")
        secured = trio.SSLStream(
            talk.stream,
            certificate.server(),
            server_side=True,
            https_compatible=True,
        )
        inside.append(await secured.receive_some(1 << 16))
        await secured.send_all(GOOD)
        await secured.receive_some(1)

    proxy = await serving(nursery, tunnel)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    url = f"https://{AWAY}"
    async with Wire(url, CREDENTIALS, context=trust(certificate)) as wire:
        answer = await wire.exchange(REQUEST)
    assert answer.body == b"ok"
    assert proxy.seen[0].line == f"CONNECT {AWAY}:443 HTTP/1.1"
    assert TOKEN not in str(proxy.seen)
    assert TOKEN.encode() in inside[0]


@pytest.mark.parametrize("status", [b"407 Who Are You", b"502 Bad Gateway"])
async def test_a_proxy_that_refuses_was_sent_nothing(
    nursery: trio.Nursery,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    status: bytes,
) -> None:
    """No tunnel, no request: surely not accepted."""

    async def refuses(talk: Talk) -> None:
        await talk.head()
        await talk.say(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

    proxy = await serving(nursery, refuses)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    url = f"https://{AWAY}"
    async with Wire(url, CREDENTIALS, context=trust(certificate)) as wire:
        with pytest.raises(Unavailable) as caught:
            await wire.exchange(REQUEST)
    assert caught.value.reason == "not_sent"


@pytest.mark.parametrize(
    ("url", "environment"),
    [
        (f"http://{AWAY}", {"NO_PROXY": AWAY, "HTTP_PROXY": "proxy"}),
        (f"http://{AWAY}", {"NO_PROXY": "*", "ALL_PROXY": "proxy"}),
        (f"http://{AWAY}", {"HTTPS_PROXY": "proxy"}),
        ("http://127.0.0.1:1", {"HTTP_PROXY": "proxy"}),
        ("http://localhost:1", {"ALL_PROXY": "proxy"}),
    ],
)
@pytest.mark.usefixtures("no_names")
async def test_a_proxy_is_not_asked_otherwise(
    nursery: trio.Nursery,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    url: str,
    environment: dict[str, str],
) -> None:
    """Not for this machine, not against NO_PROXY, and not for another scheme."""
    proxy = await serving(nursery, answers)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("proxy", proxy.url))
    async with Wire(url, CREDENTIALS, context=trust(certificate)) as wire:
        with pytest.raises(Unavailable) as caught:
            await wire.exchange(REQUEST)
    assert caught.value.reason == "not_sent"
    assert proxy.connections == 0


async def test_what_no_proxy_names_is_reached_directly(
    nursery: trio.Nursery, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a proxy for all the rest, too, its connection is used again."""
    server = await serving(nursery, answers)
    port = server.url.rpartition(":")[2]

    class Here(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *_: object) -> list[object]:
            address = ("127.0.0.1", int(port))
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

        async def getnameinfo(self, *_: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Here())
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", AWAY)
    url = f"http://{AWAY}:{port}"
    async with Wire(url, CREDENTIALS, context=trust(certificate)) as wire:
        await wire.exchange(REQUEST)
        answer = await wire.exchange(REQUEST)
    assert (answer.body, server.connections) == (b"ok", 1)


async def test_http2_is_spoken_on_demand(
    nursery: trio.Nursery, certificate: Certificate
) -> None:
    """Two requests on one connection, each with its own answer."""
    serve = h2_script()
    context = certificate.server()
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = await serving(nursery, serve, context=context)
    wire = Wire(server.url, CREDENTIALS, context=trust(certificate), http2=True)
    sent: list[int] = []
    async with wire:
        first = await wire.exchange(REQUEST, sent=lambda: sent.append(1))
        other = Request("POST", "/other", {}, b"{}")
        second = await wire.exchange(other, sent=lambda: sent.append(2))
    assert (first.body, second.body, sent) == (b"/send", b"/other", [1, 2])
    assert server.connections == 1


def h2_script() -> Callable[[Talk], object]:
    """Return a script that answers each request in HTTP/2 with its own path."""
    connections = pytest.importorskip("h2.connection")
    events = pytest.importorskip("h2.events")
    config = pytest.importorskip("h2.config")

    async def script(talk: Talk) -> None:
        http = connections.H2Connection(config.H2Configuration(client_side=False))
        http.initiate_connection()
        await talk.say(http.data_to_send())
        paths = {}
        while data := await talk.stream.receive_some(1 << 16):
            for event in http.receive_data(data):
                if isinstance(event, events.RequestReceived):
                    paths[event.stream_id] = dict(event.headers)[b":path"]
                if isinstance(event, events.StreamEnded):
                    http.send_headers(event.stream_id, [(":status", "200")])
                    path = paths[event.stream_id]
                    http.send_data(event.stream_id, path, end_stream=True)
            await talk.say(http.data_to_send())

    return script
