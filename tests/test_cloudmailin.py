"""Claims about `engine.cloudmailin`: what is asked, what comes back, what may fail.

The other side is a server of our own that says what each test writes down, and keeps
what it was asked, to be compared field by field with CloudMailin's document.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

import h11
import orjson
import pytest
import trio
from trio.testing import MockClock

from engine.cli.cloudmailin import page
from engine.cloudmailin import (
    Address,
    CloudMailin,
    CloudMailinError,
    CustomDomain,
    DnsRecord,
    IncomingStatus,
    MessageEvent,
    MessageRecipient,
    OutboundMessage,
    SendingDomain,
)
from engine.errors import CampaignError

TOKEN = "canary-8d1f44e0a7"
ACCOUNT = "aaaa000011112222"
#: Nothing is said: the connection ends.
SILENCE: tuple[int, object] = (0, None)
#: Nothing is said, and the connection stays.
HANG: tuple[int, object] = (1, None)

# ---- what the document shows -------------------------------------------------------

ADDRESS = {
    "id": "aaaa740b4c5c37b1aaaa",
    "target": "https://harbour.example/inbound",
    "target_format": "json+n",
    "nickname": None,
    "attachments": {},
}
STATUS = {
    "id": "497f6eca-6276-4993-bfeb-53cbbbba6f08",
    "message_id": "CAB=Hge+gC2LqXPu14qy82qPLk0YXcKrLeS7WZ3MPkOJJ-tMkMQ@mail.gmail.com",
    "to": "recipient@example.net",
    "from": "sender@example.net",
    "status": 200,
    "subject": "Example Subject Line",
    "tls": "TLSv1.3",
    "md5": "string",
    "created_at": "2019-08-24T14:15:22Z",
}
DOMAIN = {
    "id": "aaaa111122223333",
    "domain": "example.com",
    "auth_regex": "allowed[0-9]*@example.com",
    "domain_target": "https://harbour.example/other",
}
SENDING = {
    "id": "aaaa111122223333",
    "domain": "example.com",
    "mta_domain": "mta.example.com",
    "dkim_selector": "0e7c28e2e4cm",
    "dkim_domain": "0e7c28e2e4cm._domainkey.example.com",
    "dkim_public_record": "v=DKIM1; h=sha256; k=rsa; s=email; p=MIIBIjAN",
    "required_cname": "feedback-smtp.cloudmta.net",
    "dkim_verified": True,
    "return_path_verified": True,
    "spf_verified": True,
}
UNVERIFIED = {**SENDING, "dkim_verified": False, "spf_verified": None}
MESSAGE = {
    "id": "724b9ef2-94ee-4fb0-b722-082204633911",
    "from": "sender@example.com",
    "subject": "Hello from CloudMailin",
    "message_id": "<724b9ef2-94ee-4fb0-b722-082204633911@cloudmta.net>",
    "to": ["recipient@example.com"],
    "cc": [],
    "tags": ["marketing", "newsletter"],
    "test_mode": False,
    "created_at": "2019-08-24T14:15:22Z",
    "recipients": [
        {
            "email": "recipient@example.com",
            "last_event": "delivery",
            "events": [
                {
                    "kind": "delivery",
                    "timestamp": "2019-08-24T14:15:22Z",
                    "details": {"agent": "DSN", "reply_code": "250"},
                }
            ],
        }
    ],
}
THEN = datetime(2019, 8, 24, 14, 15, 22, tzinfo=UTC)

# ---- the other side ----------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: object


@dataclass
class Api:
    """A server that gives one answer per request, the last one over and over.

    Attributes:
        answers: status and content; further members are headers.
        asked: what it was asked.
        at_once: the most requests that it had to answer at the same time.
    """

    answers: list[tuple[Any, ...]]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 0
    _now: int = 0

    async def serve(
        self, *, task_status: trio.TaskStatus["Api"] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen on a free port of 127.0.0.1 until cancelled."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api/v0.1"
        task_status.started(self)
        await trio.serve_listeners(self._converse, listeners)

    async def _converse(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER)
        with suppress(trio.BrokenResourceError):
            while await self._answer_one(stream, http):
                http.start_next_cycle()

    async def _answer_one(
        self, stream: trio.SocketStream, http: h11.Connection
    ) -> bool:
        head, body = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await stream.receive_some(1 << 16))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert head is not None
        return await self._say(stream, http, head, body)

    async def _say(
        self,
        stream: trio.SocketStream,
        http: h11.Connection,
        head: h11.Request,
        body: bytes,
    ) -> bool:
        path, _, query = head.target.decode().partition("?")
        self.asked.append(
            Asked(
                head.method.decode(),
                unquote(path),
                dict(parse_qsl(query, strict_parsing=True)) if query else {},
                {name.decode(): value.decode() for name, value in head.headers},
                orjson.loads(body) if body else None,
            )
        )
        status, content, *extra = self.answers[
            min(len(self.asked), len(self.answers)) - 1
        ]
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        await trio.lowlevel.checkpoint()
        self._now -= 1
        if status == SILENCE[0]:
            return False
        if status == HANG[0]:
            await trio.sleep_forever()
        said = content if isinstance(content, bytes) else orjson.dumps(content)
        answer = h11.Response(
            status_code=status, headers=[("content-length", str(len(said))), *extra]
        )
        data = http.send(answer) or b""
        data += http.send(h11.Data(data=said)) or b""
        await stream.send_all(data + (http.send(h11.EndOfMessage()) or b""))
        return True


Answering = Callable[..., Awaitable[Api]]


@pytest.fixture
def answering(nursery: trio.Nursery) -> Answering:
    """Return a maker of servers that live as long as the test."""

    async def start(*answers: tuple[Any, ...]) -> Api:
        api: Api = await nursery.start(Api([*answers]).serve)
        return api

    return start


@asynccontextmanager
async def client_of(api: Api, **settings: Any) -> AsyncIterator[CloudMailin]:
    """Use a client of a server."""
    async with CloudMailin(ACCOUNT, TOKEN, base_url=api.url, **settings) as client:
        yield client


async def failure(
    api: Api, ask: Callable[[CloudMailin], Awaitable[object]], **settings: Any
) -> CloudMailinError:
    """Ask what must fail; whatever it says, it does not say the token."""
    async with client_of(api, **settings) as client:
        with pytest.raises(CloudMailinError) as caught:
            await ask(client)
    error = caught.value
    assert TOKEN not in f"{error}{error!r}{error.hint}{vars(error)}"
    return error


# ---- what is asked -----------------------------------------------------------------

Ask = Callable[[CloudMailin], Awaitable[object]]
HERE = f"/api/v0.1/{ACCOUNT}"
OF_ADDRESS = {"address_id": "aaaa740b4c5c37b1aaaa"}
ADDRESS_ID, DOMAIN_ID = "aaaa740b4c5c37b1aaaa", "aaaa111122223333"
MESSAGE_ID = "724b9ef2-94ee-4fb0-b722-082204633911"

REQUESTS: dict[str, tuple[Ask, str, str, dict[str, str], object, object]] = {
    "list addresses": (
        lambda client: client.addresses(), "GET", "/addresses", {}, None, [ADDRESS],
    ),
    "show an address": (
        lambda client: client.address(ADDRESS_ID),
        "GET", f"/addresses/{ADDRESS_ID}", {}, None, ADDRESS,
    ),
    "create an address": (
        lambda client: client.create_address(
            target="https://x.example/?a=1&b", target_format="multipart+n"
        ),
        "POST", "/addresses", {},
        {"target": "https://x.example/?a=1&b", "target_format": "multipart+n"},
        ADDRESS,
    ),
    "create an address with all": (
        lambda client: client.create_address(
            target="https://x.example/",
            target_format="json+n",
            nickname="Antworten ü",
            attachments={"store": "s3"},
        ),
        "POST", "/addresses", {},
        {
            "target": "https://x.example/",
            "target_format": "json+n",
            "nickname": "Antworten ü",
            "attachments": {"store": "s3"},
        },
        ADDRESS,
    ),
    "update an address": (
        lambda client: client.update_address(
            ADDRESS_ID,
            target="https://x.example/",
            target_format="json+n",
            nickname=None,
        ),
        "PUT", f"/addresses/{ADDRESS_ID}", {},
        {"target": "https://x.example/", "target_format": "json+n", "nickname": None},
        ADDRESS,
    ),
    "delete an address": (
        lambda client: client.delete_address(ADDRESS_ID),
        "DELETE", f"/addresses/{ADDRESS_ID}", {}, None, ADDRESS,
    ),
    "list what came in": (
        lambda client: client.incoming_statuses(
            ADDRESS_ID, query="subject:re & status:200"
        ).take(1),
        "GET", "/incoming_statuses", OF_ADDRESS | {"query": "subject:re & status:200"},
        None, [STATUS],
    ),
    "list custom domains": (
        lambda client: client.custom_domains(ADDRESS_ID, query="exam").take(1),
        "GET", "/custom_domains", OF_ADDRESS | {"query": "exam"}, None, [DOMAIN],
    ),
    "show a custom domain": (
        lambda client: client.custom_domain(DOMAIN_ID, address_id=ADDRESS_ID),
        "GET", f"/custom_domains/{DOMAIN_ID}", OF_ADDRESS, None, DOMAIN,
    ),
    "create a custom domain": (
        lambda client: client.create_custom_domain("a.example", address_id=ADDRESS_ID),
        "POST", "/custom_domains", OF_ADDRESS, {"domain": "a.example"}, DOMAIN,
    ),
    "create a custom domain with all": (
        lambda client: client.create_custom_domain(
            "a.example",
            address_id=ADDRESS_ID,
            auth_regex=".*@a.example",
            domain_target="https://y.example/",
        ),
        "POST", "/custom_domains", OF_ADDRESS,
        {
            "domain": "a.example",
            "auth_regex": ".*@a.example",
            "domain_target": "https://y.example/",
        },
        DOMAIN,
    ),
    "delete a custom domain": (
        lambda client: client.delete_custom_domain(DOMAIN_ID, address_id=ADDRESS_ID),
        "DELETE", f"/custom_domains/{DOMAIN_ID}", OF_ADDRESS, None, DOMAIN,
    ),
    "list sending domains": (
        lambda client: client.sending_domains().take(1),
        "GET", "/sending_domains", {}, None, [SENDING],
    ),
    "look for a sending domain": (
        lambda client: client.sending_domains(query="example.com").take(1),
        "GET", "/sending_domains", {"query": "example.com"}, None, [SENDING],
    ),
    "show a sending domain": (
        lambda client: client.sending_domain(DOMAIN_ID),
        "GET", f"/sending_domains/{DOMAIN_ID}", {}, None, SENDING,
    ),
    "create a sending domain": (
        lambda client: client.create_sending_domain("example.com"),
        "POST", "/sending_domains", {}, {"domain": "example.com"}, SENDING,
    ),
    "verify a sending domain": (
        lambda client: client.verify_sending_domain(DOMAIN_ID),
        "POST", f"/sending_domains/{DOMAIN_ID}/verify", {}, None, SENDING,
    ),
    "delete a sending domain": (
        lambda client: client.delete_sending_domain(DOMAIN_ID),
        "DELETE", f"/sending_domains/{DOMAIN_ID}", {}, None, SENDING,
    ),
    "list messages": (
        lambda client: client.messages("aaaa1111", query="tags:spring").take(1),
        "GET", "/outbound_messages",
        {"outbound_account_id": "aaaa1111", "query": "tags:spring"}, None, [MESSAGE],
    ),
    "show a message": (
        lambda client: client.message(MESSAGE_ID),
        "GET", f"/outbound_messages/{MESSAGE_ID}", {}, None, MESSAGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_is_what_the_document_says(
    answering: Answering, name: str
) -> None:
    """Method, path, query and body, and no more requests than one."""
    ask, method, path, query, body, answer = REQUESTS[name]
    api = await answering((202 if method == "DELETE" else 200, answer))
    async with client_of(api) as client:
        await ask(client)
    (asked,) = api.asked
    told = (asked.method, asked.path, asked.query, asked.body)
    assert (method, HERE + path, query, body) == told
    assert f"Bearer {TOKEN}" == asked.headers["authorization"]
    assert "application/json" == asked.headers["accept"]
    assert ("application/json" if body else None) == asked.headers.get("content-type")


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "a\x1b[2J"])
async def test_what_is_no_id_is_not_asked_for(answering: Answering, name: str) -> None:
    """An id is one step of a path, and never leads to another one."""
    api = await answering((202, {}))
    async with client_of(api) as client:
        with pytest.raises(ValueError, match="is no id"):
            await client.delete_address(name)
    assert api.asked == []


async def test_an_id_stays_one_step(answering: Answering) -> None:
    """Slashes, question marks and dots are written so that they mean themselves."""
    api = await answering((200, ADDRESS))
    async with client_of(api) as client:
        await client.address("../sending_domains?x#y%2f")
    assert f"{HERE}/addresses/../sending_domains?x#y%2f" == api.asked[0].path
    assert {} == api.asked[0].query


@pytest.mark.parametrize(
    "url",
    ["http://api.cloudmailin.com/", "https://me:pw@x.example", "ftp://x.example", ""],
)
def test_an_address_that_would_show_the_token_is_refused(url: str) -> None:
    """Plain http reaches this machine alone."""
    with pytest.raises(CampaignError, match="base URL of CloudMailin") as caught:
        CloudMailin(ACCOUNT, TOKEN, base_url=url)
    assert "pw" not in str(caught.value)


# ---- what comes back ---------------------------------------------------------------


def test_every_field_of_the_document_is_read() -> None:
    """The document's own examples, and nothing of them is lost."""
    assert Address.read(ADDRESS) == Address(
        id=ADDRESS_ID,
        target="https://harbour.example/inbound",
        target_format="json+n",
        nickname=None,
        attachments={},
        raw={},
    )
    assert IncomingStatus.read(STATUS) == IncomingStatus(
        id="497f6eca-6276-4993-bfeb-53cbbbba6f08",
        message_id=STATUS["message_id"],
        to="recipient@example.net",
        sender="sender@example.net",
        status="200",
        subject="Example Subject Line",
        tls="TLSv1.3",
        md5="string",
        created_at=THEN,
        raw={},
    )
    assert CustomDomain.read(DOMAIN) == CustomDomain(**DOMAIN, raw={})
    assert SendingDomain.read(SENDING) == SendingDomain(**SENDING, raw={})
    event = MessageEvent("delivery", THEN, {"agent": "DSN", "reply_code": "250"})
    assert OutboundMessage.read(MESSAGE) == OutboundMessage(
        id=MESSAGE_ID,
        sender="sender@example.com",
        subject="Hello from CloudMailin",
        message_id="<724b9ef2-94ee-4fb0-b722-082204633911@cloudmta.net>",
        to=("recipient@example.com",),
        cc=(),
        tags=("marketing", "newsletter"),
        test_mode=False,
        created_at=THEN,
        recipients=(MessageRecipient("recipient@example.com", "delivery", (event,)),),
        raw={},
    )


@pytest.mark.parametrize(
    "kind", [Address, IncomingStatus, CustomDomain, SendingDomain, OutboundMessage]
)
@pytest.mark.parametrize(
    "strange", [None, "text", 7, True, [], ["x", 3, None], {}, {"a": [None]}, [{}]]
)
def test_an_answer_may_have_other_fields(kind: Any, strange: object) -> None:
    """Fewer, more, or of another type: it is read, and kept as it came."""
    names = {*ADDRESS, *STATUS, *DOMAIN, *SENDING, *MESSAGE, "events", "new"}
    for entry in ({}, dict.fromkeys(names, strange)):
        assert entry == kind.read(entry).raw


def test_moments_are_utc() -> None:
    """Whatever the offset; without one it is UTC, and what is no moment is None."""
    said = ["2019-08-24T16:15:22+02:00", "2019-08-24T14:15:22", "2019-08-24T14:15:22Z"]
    for text in said:
        assert THEN == IncomingStatus.read({"created_at": text}).created_at
    for text in ("soon", "", "0001-01-01T00:00:00+14:00"):
        assert IncomingStatus.read({"created_at": text}).created_at is None


def test_the_records_to_set_say_which_were_found() -> None:
    """The CNAME serves the return path and SPF, the TXT the signature."""
    domain = SendingDomain.read(UNVERIFIED)
    assert domain.records == (
        DnsRecord(
            "CNAME",
            "mta.example.com",
            "feedback-smtp.cloudmta.net",
            {"return path": True, "SPF": None},
        ),
        DnsRecord(
            "TXT",
            "0e7c28e2e4cm._domainkey.example.com",
            "v=DKIM1; h=sha256; k=rsa; s=email; p=MIIBIjAN",
            {"DKIM": False},
        ),
    )
    assert not domain.is_verified
    assert SendingDomain.read(SENDING).is_verified


@pytest.mark.parametrize(
    ("status", "answer", "passed"), [(200, SENDING, True), (422, UNVERIFIED, False)]
)
async def test_a_failed_verification_is_an_answer(
    answering: Answering, status: int, answer: dict[str, object], *, passed: bool
) -> None:
    """422 with the domain tells what was found; it is no error."""
    api = await answering((status, answer))
    async with client_of(api) as client:
        found = await client.verify_sending_domain(DOMAIN_ID)
    assert (passed, SendingDomain.read(answer)) == (found.passed, found.domain)


async def test_a_422_without_the_domain_is_an_error(answering: Answering) -> None:
    """It says nothing of the records."""
    api = await answering((422, {"status": 422, "error": "Too many checks"}))
    error = await failure(api, lambda client: client.verify_sending_domain("d1"))
    assert ("refused", 422) == (error.kind, error.http_status)
    assert "Too many checks" in str(error)


@pytest.mark.parametrize("answer", [(202, ADDRESS), (204, b""), (202, b"Accepted")])
async def test_a_deletion_may_say_what_was_deleted(
    answering: Answering, answer: tuple[int, object]
) -> None:
    """It was accepted either way."""
    api = await answering(answer)
    async with client_of(api) as client:
        was = await client.delete_address(ADDRESS_ID)
    assert (Address.read(ADDRESS) if answer[1] is ADDRESS else None) == was


# ---- lists -------------------------------------------------------------------------


def statuses(*numbers: int) -> tuple[int, list[dict[str, object]]]:
    """Answer with a page of what came in."""
    return 200, [{**STATUS, "id": f"s{number}"} for number in numbers]


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        pytest.param([statuses()], [], id="an empty list"),
        pytest.param([statuses(3, 2), statuses(1), statuses()], [3, 2, 1], id="pages"),
        pytest.param([statuses(3, 2)], [3, 2], id="a server without pages"),
        pytest.param(
            [statuses(5, 4, 3), statuses(4, 3, 2), statuses(3, 2, 1), statuses()],
            [5, 4, 3, 2, 1],
            id="mail arrives between the pages",
        ),
        pytest.param([statuses(2, 2, 1), statuses()], [2, 1], id="twice on a page"),
    ],
)
async def test_a_list_tells_everything_once(
    answering: Answering, pages: list[Any], found: list[int]
) -> None:
    """Newest first, by id, until a page has no news; the first page is not numbered."""
    api = await answering(*pages)
    async with client_of(api) as client:
        with trio.fail_after(5):
            told = [status.id async for status in client.incoming_statuses(ADDRESS_ID)]
    assert [f"s{number}" for number in found] == told
    numbers = [asked.query.get("page") for asked in api.asked]
    assert [None, "2", "3", "4"][: len(numbers)] == numbers
    assert all(asked.query["address_id"] == ADDRESS_ID for asked in api.asked)


async def test_a_list_asks_for_no_page_that_nobody_reads(answering: Answering) -> None:
    """The limit of an account is 5 questions a minute."""
    api = await answering(statuses(3, 2), statuses(1), statuses())
    async with client_of(api) as client:
        listing = client.incoming_statuses(ADDRESS_ID)
        first = [status.id for status in await listing.take(2)]
        assert (["s3", "s2"], 1) == (first, len(api.asked))
        assert ["s1"] == [status.id for status in await listing.take(9)]
        assert [] == await listing.take(9)
    assert 3 == len(api.asked)


async def test_items_without_an_id_are_told_too(answering: Answering) -> None:
    """By what they say, each once."""
    one, two = {"subject": "one"}, {"subject": "two"}
    api = await answering((200, [one, two]), (200, [two]))
    async with client_of(api) as client:
        told = [s.subject async for s in client.incoming_statuses(ADDRESS_ID)]
    assert ["one", "two"] == told


# ---- what may fail -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "reason", "hint"),
    [
        (401, "account", "credentials", "API token"),
        (403, "account", "forbidden", "private beta"),
        (404, "refused", "not_found", "list what there is"),
        (422, "refused", "refused", ""),
        (302, "account", "wrong_address", "base URL"),
        (500, "in_doubt", "server_error", "list what there is"),
        (503, "in_doubt", "server_error", "list what there is"),
    ],
)
async def test_an_error_says_what_was_asked_and_what_to_do(
    answering: Answering, status: int, kind: str, reason: str, hint: str
) -> None:
    """The question, the status, CloudMailin's words without the token, a hint."""
    said = {"status": status, "error": f"No way, Bearer {TOKEN}"}
    api = await answering((status, said, ("location", "http://127.0.0.1:9/")))
    error = await failure(
        api, lambda client: client.delete_sending_domain("d1"), patience=0.0
    )
    asked = "delete sending domain d1"
    assert f"cannot {asked}: CloudMailin answered {status}: No way" in str(error)
    told = (error.asked, error.kind, error.reason, error.http_status)
    assert (asked, kind, reason, status) == told
    assert hint in error.hint
    assert 1 == len(api.asked)


async def test_an_error_names_the_fields(answering: Answering) -> None:
    """As the framework of CloudMailin tells of them."""
    said = {
        "errors": {"target": ["can't be blank", "is no URL"], "nickname": "is long"}
    }
    api = await answering((422, said))
    error = await failure(
        api, lambda c: c.create_address(target="", target_format="json+n")
    )
    assert "target can't be blank, is no URL; nickname is long" in str(error)


@pytest.mark.parametrize("answer", [(500, {}), (201, b"<html>"), (200, []), SILENCE])
async def test_a_change_without_a_readable_answer_is_in_doubt(
    answering: Answering, answer: tuple[int, object]
) -> None:
    """It was sent once, never again, and whoever asked is told to look first."""
    api = await answering(answer, (201, SENDING))
    error = await failure(api, lambda client: client.create_sending_domain("a.example"))
    assert "in_doubt" == error.kind
    assert "list what there is before you ask again" in error.hint
    assert 1 == len(api.asked)


@pytest.mark.parametrize("answer", [(500, {}), (200, b"<html>"), (200, {}), SILENCE])
async def test_a_question_without_a_readable_answer_changed_nothing(
    answering: Answering, answer: tuple[int, object]
) -> None:
    """And it is not in doubt what became of it."""
    api = await answering(answer)
    error = await failure(api, lambda client: client.addresses())
    assert "unavailable" == error.kind
    assert "nothing was changed" in error.hint


async def test_a_verification_is_never_in_doubt(answering: Answering) -> None:
    """To look again does no harm."""
    api = await answering(SILENCE)
    error = await failure(api, lambda client: client.verify_sending_domain("d1"))
    assert "unavailable" == error.kind


async def test_a_server_that_is_not_there_got_nothing() -> None:
    """So a change is not in doubt."""
    with trio.socket.socket() as closed:
        await closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        error = await failure(
            Api([], url), lambda client: client.create_sending_domain("a.example")
        )
    assert ("unavailable", "not_sent") == (error.kind, error.reason)


async def test_a_slow_answer_is_given_up(
    answering: Answering, mock_clock: MockClock
) -> None:
    """The deadline is over the whole answer."""
    mock_clock.rate = 10
    api = await answering(HANG)
    error = await failure(api, lambda client: client.address(ADDRESS_ID), deadline=1.0)
    assert ("unavailable", "timeout") == (error.kind, error.reason)


# ---- waits -------------------------------------------------------------------------

THROTTLED = (429, {"error": "Slow down"}, ("retry-after", "7"))
DOWN = (503, {"error": "Maintenance"}, ("retry-after", "9"))


@pytest.mark.parametrize(
    ("answers", "waits"),
    [
        pytest.param([THROTTLED], [7.0], id="429"),
        pytest.param([DOWN], [9.0], id="503"),
        pytest.param([(429, {}), (503, b""), (429, {})], [2.0, 4.0, 8.0], id="silent"),
        pytest.param([(429, {}, ("retry-after", "0"))], [1.0], id="a wait of none"),
    ],
)
async def test_a_question_is_asked_again_after_a_wait(
    answering: Answering, mock_clock: MockClock, answers: list[Any], waits: list[float]
) -> None:
    """As long as CloudMailin asks for, or else longer each time; it is told, too."""
    mock_clock.rate = 60
    api = await answering(*answers, (200, [ADDRESS]))
    told: list[float] = []
    async with client_of(
        api, deadline=600.0, on_wait=lambda seconds, _cause: told.append(seconds)
    ) as client:
        begun = trio.current_time()
        assert 1 == len(await client.addresses())
        assert sum(waits) <= trio.current_time() - begun
    assert (waits, len(waits) + 1) == (told, len(api.asked))


async def test_waits_have_an_end(answering: Answering, mock_clock: MockClock) -> None:
    """In all no longer than the patience, and no second longer for a hopeless one."""
    mock_clock.rate = 60
    long = await answering((429, {}, ("retry-after", "76")))
    begun = trio.current_time()
    error = await failure(long, lambda client: client.addresses(), deadline=900.0)
    assert ("unavailable", "throttled", 76.0) == (
        error.kind,
        error.reason,
        error.retry_after,
    )
    assert "ask again in 76 s" in error.hint
    many = await answering((429, {}, ("retry-after", "30")))
    await failure(many, lambda client: client.addresses(), deadline=900.0)
    assert (1, 3) == (len(long.asked), len(many.asked))
    assert 60 <= trio.current_time() - begun


async def test_a_change_waits_for_a_429_alone(
    answering: Answering, mock_clock: MockClock
) -> None:
    """A 429 refuses surely; of a 503 one cannot know."""
    mock_clock.rate = 60
    api = await answering(THROTTLED, (201, SENDING))
    async with client_of(api, deadline=600.0) as client:
        await client.create_sending_domain("example.com")
    assert 2 == len(api.asked)
    assert api.asked[0] == api.asked[1]
    down = await answering(DOWN, (201, SENDING))
    error = await failure(
        down, lambda c: c.create_sending_domain("example.com"), deadline=600.0
    )
    assert ("unavailable", 1) == (error.kind, len(down.asked))


async def test_tasks_that_share_a_client_ask_one_after_another(
    answering: Answering, nursery: trio.Nursery
) -> None:
    """Each gets its own answer."""
    api = await answering((200, ADDRESS))
    found: list[Address] = []
    async with client_of(api) as client:

        async def ask(number: int) -> None:
            found.append(await client.address(f"a{number}"))

        async with trio.open_nursery() as group:
            for number in range(8):
                group.start_soon(ask, number)
    assert (8, 8, 1) == (len(found), len(api.asked), api.at_once)


# ---- what is shown -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;gotcha\x07Hello\r\n\u202eyou", " ]0;gotcha Hello   you"),
        ("https://me:s3cret@x.example/in", "https://me:…@x.example/in"),
        ("https://x.example/a:b@c", "https://x.example/a:b@c"),
    ],
)
def test_strangers_words_do_not_steer_the_terminal(text: str, shown: str) -> None:
    """Nor does a URL show its password."""
    assert shown == page.clean(text)
