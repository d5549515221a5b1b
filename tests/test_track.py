"""Claims about asking what became of a run: whom, how often, and what is kept."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
from handmade import Handmade, make

from engine import wire
from engine.asked import Asked
from engine.errors import AccountRejected, CampaignError, EventsError, RunError
from engine.events import EventStore
from engine.manifest import Manifest
from engine.pace import Pace
from engine.report import deliveries
from engine.retry import RetryPolicy
from engine.stop import Stop
from engine.suppression import Suppressions
from engine.track import Options, Track, Tracked
from engine.track.asking import Asking, Told
from engine.track.due import Due, Question
from engine.tracking.cloudmails import CloudMails

Answer = tuple[int, dict[str, object]] | tuple[int, dict[str, object], dict[str, str]]
LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handmade:
    """Make a finished run of 2000 accepted rows."""
    monkeypatch.setenv("SHOP_KEY", "k")
    emails = [f"r{n}@inbox.example" for n in range(2000)]
    return make(tmp_path, [("accepted", [*range(2000)])], emails=emails)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handmade:
    """Make a finished run: rows 0 to 5 accepted, 6 refused, 7 and 8 in doubt."""
    monkeypatch.setenv("SHOP_KEY", "canary-7d31c0f2a94be85d")
    strokes = [("accepted", [*range(6)]), ("rejected", [6]), ("doubt", [7, 8])]
    return make(tmp_path, strokes)


def status(message: str, word: str = "delivered", **more: object) -> Answer:
    """Answer as CloudMails documents it."""
    now = datetime.now(UTC).isoformat()
    body = {"message_id": message, "status": word, "created_at": now}
    return 200, {**body, "opens": 0, "clicks": 0, **more}


class Site:
    """A status endpoint on a real socket, which answers as a test says.

    Attributes:
        asked: the ids that were asked about, in order, and when on trio's clock.
        keys: what came as Authorization.
    """

    def __init__(self, answer: Callable[[str], Answer]) -> None:
        self.asked: list[tuple[str, float]] = []
        self.keys: set[str] = set()
        self.paths: list[str] = []
        self._answer = answer

    @property
    def ids(self) -> list[str]:
        """Return who was asked about, sorted."""
        return sorted(message for message, _ in self.asked)

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection."""
        head = b""
        async with stream:
            async for piece in stream:
                head += piece
                while b"\r\n\r\n" in head:
                    request, _, head = head.partition(b"\r\n\r\n")
                    await stream.send_all(self._reply(request.decode()))

    def _reply(self, request: str) -> bytes:
        first, *fields = request.split("\r\n")
        path = first.split(" ")[1]
        headers = dict(line.split(": ", 1) for line in fields)
        message = path.rpartition("/")[2]
        self.paths.append(path)
        self.asked.append((message, trio.current_time()))
        self.keys.add(headers.get("Authorization", ""))
        code, body, *more = self._answer(message)
        content = json.dumps(body).encode()
        lines = {"Content-Length": str(len(content)), **(more[0] if more else {})}
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {code} X\r\n{told}\r\n".encode() + content


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[str]:
    """Let a site listen; gives its base URL."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, site.serve, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


async def track(run: Handmade, site: Site, **how: object) -> Tracked:
    """Ask a site about a run."""
    async with served(site) as url:
        settings = {"base_url": url, "requests_per_second": 1000.0, **how}
        return await Track(run.directory, Options(**settings)).run()  # type: ignore[arg-type]


def suppressed(run: Handmade) -> list[str]:
    """Return who must not be mailed again."""
    with Suppressions.open(run.directory.path.parent.parent) as kept:
        return kept.all()["address"].to_list()


def kept(run: Handmade) -> dict[str, int]:
    """Count the events that are kept, by type."""
    with EventStore.open(run.directory.path.parent.parent) as store:
        return store.count()


async def test_what_is_told_is_kept_heeded_and_laid_out(run: Handmade) -> None:
    """Accepted messages alone are asked about; outcomes stay as they are."""
    before = run.results()
    words = {"msg_1": "bounced", "msg_2": "sent"}
    site = Site(lambda m: status(m, words.get(m, "delivered"), opens=int(m == "msg_0")))
    told = await track(run, site)

    assert site.ids == [f"msg_{row}" for row in range(6)]
    assert site.keys == {"Bearer canary-7d31c0f2a94be85d"}
    assert (told.due, told.answered, told.unknown, told.failed) == (6, 6, 0, 0)
    assert (told.nameless, told.open) == (2, 1)
    assert told.types == {"bounced": 1, "delivered": 4, "opened": 1, "sent": 1}
    assert (told.taken.new, told.taken.suppressed) == (7, 1)
    assert suppressed(run) == ["reader1@inbox.example"]
    rows = deliveries(run.directory).collect()
    assert rows.select(before.columns).equals(before)
    events = ["opened", "bounced", "sent", "delivered", "delivered", "delivered"]
    assert rows["event"].to_list() == [*events, *[None] * 4]
    assert rows["opens"].to_list() == [1, *[0] * 9]


async def test_nothing_is_asked_of_which_nothing_is_to_come(run: Handmade) -> None:
    """Who bounced is never asked about again, who arrived only for opens."""
    site = Site(lambda m: status(m, "bounced" if m == "msg_1" else "delivered"))
    await track(run, site)
    again = Site(status)
    told = await track(run, again, fresh=0)
    assert (again.asked, told.settled, told.due) == ([], 6, 0)
    told = await track(run, again, fresh=0, opens=True)
    assert again.ids == ["msg_0", "msg_2", "msg_3", "msg_4", "msg_5"]
    assert (told.settled, told.taken.new) == (1, 5)


async def test_the_same_told_twice_is_one_event(run: Handmade) -> None:
    """A number that rises brings what it rose by; all else nothing."""
    opens = dict.fromkeys((f"msg_{row}" for row in range(6)), 2)
    since = datetime.now(UTC).isoformat()

    def answer(message: str) -> Answer:
        told = {"created_at": since, "delivered_at": since, "opens": opens[message]}
        return status(message, **told)

    ask = partial(track, run, Site(answer), fresh=0, opens=True)
    assert (await ask()).taken.new == 18
    assert (await ask()).taken.new == 0
    opens |= {"msg_0": 5, "msg_1": 1}
    assert (await ask()).types == {"opened": 3}
    assert deliveries(run.directory).collect()["opens"].to_list()[:3] == [5, 2, 2]


async def test_an_answer_holds_for_a_while_even_if_it_was_no_news(
    run: Handmade,
) -> None:
    """Known by what was asked, not by the events: those may be old."""
    answer = Site(partial(status, word="sent", created_at="2099-01-01T00:00:00Z"))
    await track(run, answer)
    told = await track(run, answer, fresh=0)
    assert (told.answered, told.taken.new) == (6, 0)
    with Asked.open(run.directory) as asked:
        asked.note([2, 4], datetime.now(UTC) - timedelta(minutes=20))
    site = Site(status)
    told = await track(run, site)
    assert site.ids == ["msg_2", "msg_4"]
    assert told.fresh == 4


def test_who_was_never_asked_about_comes_first(run: Handmade) -> None:
    """Then who waited longest; so nobody starves, whoever is interrupted."""
    now = datetime.now(UTC)
    with Asked.open(run.directory) as asked:
        for row, hours in ((0, 2), (1, 5), (3, 3), (5, 5)):
            asked.note([row], now - timedelta(hours=hours))
        when = asked.when()
    assert when["row"].to_list() == [0, 1, 3, 5]
    assert when["asked_at"][0] == now - timedelta(hours=2)
    due = Due.of(run.directory, opens=False, before=now)
    assert due.rows["row"].to_list() == [2, 4, 1, 5, 3, 0]
    asked_about = [question.row for question in due.questions()]
    assert sorted(asked_about) == [*range(6)]
    assert next(due.questions()) == Question(0, "msg_0", "reader0@inbox.example")


async def test_unknown_messages_are_counted_and_asked_about_again_later(
    run: Handmade,
) -> None:
    """A 404 is no event and no end."""
    site = Site(lambda m: (404, {}) if m == "msg_3" else status(m))
    told = await track(run, site)
    assert (told.answered, told.unknown, told.open) == (5, 1, 1)
    assert told.cause is None
    assert kept(run) == {"delivered": 5}
    again = Site(status)
    assert (await track(run, again)).due == 0
    assert (await track(run, again, fresh=0)).due == 1


@pytest.mark.slow
async def test_an_address_that_knows_nobody_is_told_soon(crowd: Handmade) -> None:
    """A wrong address answers 404 for ever."""
    site = Site(lambda _: (404, {}))
    told = await track(crowd, site, requests_per_second=300.0)
    assert isinstance(told.cause, RunError)
    assert "knows none of the first" in str(told.cause)
    assert 25 <= told.unknown < 1500


async def test_a_refused_account_ends_it_at_the_first_question(run: Handmade) -> None:
    """One request, not one for each worker; the token is not shown."""
    site = Site(
        lambda _: (401, {"error": {"message": "no such key canary-7d31c0f2a94be85d"}})
    )
    told = await track(run, site)
    assert isinstance(told.cause, AccountRejected)
    assert told.account
    assert len(site.asked) == 1
    assert "canary" not in str(told.cause)
    assert told.open == 6


async def test_a_plan_without_status_endpoint_is_told_of_webhooks(
    run: Handmade,
) -> None:
    """MailerLogic sells its Events API apart."""
    redefine(run, name="mailerlogic")
    body = {"error": "forbidden", "message": "no", "reason": "event_api_disabled"}
    told = await track(run, Site(lambda _: (403, body)))
    assert told.cause is not None
    assert "events serve" in told.cause.hint
    told = await track(run, Site(lambda _: (401, {})))
    assert told.cause is not None
    assert "MAILERLOGIC_EVENTS_TOKEN" in told.cause.hint


async def test_a_stop_keeps_what_was_answered(run: Handmade) -> None:
    """And the next one asks about the others alone."""
    reached = trio.Event()

    def answer(message: str) -> Answer:
        if len(site.asked) == 4:
            reached.set()
        return status(message)

    site = Site(answer)
    async with served(site) as url, trio.open_nursery() as nursery:
        options = Options(base_url=url, requests_per_second=20, workers=1)
        asking = Track(run.directory, options)

        async def stop() -> None:
            await reached.wait()
            asking.stop()

        nursery.start_soon(stop)
        told = await asking.run()
    assert told.interrupted
    assert 3 <= told.answered < 6
    assert kept(run) == {"delivered": told.answered}
    rest = Site(status)
    await track(run, rest)
    assert len(rest.asked) == 6 - told.answered


@pytest.mark.slow
async def test_the_pace_is_kept(run: Handmade) -> None:
    """No more requests in a second than were asked for."""
    site = Site(status)
    await track(run, site, requests_per_second=4.0)
    times = [at for _, at in site.asked]
    assert min(late - early for early, late in zip(times, times[4:], strict=False)) > (
        0.95
    )


# ---- one question --------------------------------------------------------------------

HASTY = RetryPolicy(base=0.02, transient_base=0.01, cap=0.05)


async def ask(
    answers: Iterator[Answer], policy: RetryPolicy = HASTY
) -> tuple[Told, Site]:
    """Ask one question of a site that gives these answers, one after another."""
    site = Site(lambda _: next(answers))
    pace = Pace(messages_per_second=None, requests_per_second=None, batch_size=1)
    asking = Asking(CloudMails(), pace, Stop(), policy)
    async with served(site) as url:
        context = wire.tls_context(url)
        async with wire.Wire(url, {}, context=context) as connection:
            return await asking.ask(connection, Question(3, "msg_3", "a@b.c")), site


@pytest.mark.parametrize(
    "trouble",
    [
        (500, {}),
        (503, {}, {"Retry-After": "0"}),
        (429, {}),
        (200, {"status": []}),
        (200, {}, {"Content-Length": "not a number"}),
    ],
    ids=["500", "503", "429", "unreadable", "broken"],
)
async def test_trouble_that_passes_is_asked_through(trouble: Answer) -> None:
    """A question changes nothing, so it may be asked again after anything."""
    told, site = await ask(iter([trouble, trouble, status("msg_3")]))
    assert told.events is not None
    assert [event.raw for event in told.events] == ["delivered"]
    assert len(site.asked) == 3


async def test_trouble_that_does_not_pass_has_an_end() -> None:
    """The message is given up, not the run."""
    told, site = await ask(iter([(500, {})] * 100), replace(HASTY, max_faults=3))
    assert told.events is None
    assert told.error is not None
    assert told.error.http_status == 500
    assert len(site.asked) == 3


async def test_a_wait_that_is_asked_for_is_kept() -> None:
    """Retry-After is a lower bound."""
    wait = (429, {}, {"Retry-After": "0.3"})
    told, site = await ask(iter([wait, status("msg_3")]))
    assert told.events
    (_, first), (_, second) = site.asked
    assert second - first >= 0.3


# ---- what cannot be asked ------------------------------------------------------------


def redefine(run: Handmade, **changes: object) -> None:
    """Change what the manifest says of the provider."""
    manifest = Manifest.read(run.directory)
    settings = manifest.definition["provider"] | changes
    definition = manifest.definition | {"provider": settings}
    replace(manifest, definition=definition).write(run.directory)


def test_a_provider_without_status_endpoint_is_told_in_one_sentence(
    run: Handmade,
) -> None:
    """With where its events are."""
    redefine(run, name="cloudflare")
    with pytest.raises(EventsError, match="Queue") as caught:
        Track(run.directory, Options())
    assert "events import" in caught.value.hint


def test_a_rehearsal_cannot_be_asked_about(run: Handmade) -> None:
    """Its sandbox is gone."""
    manifest = Manifest.read(run.directory)
    replace(manifest, rehearsal=True, base_url="").write(run.directory)
    with pytest.raises(RunError, match="rehearsal"):
        Track(run.directory, Options())


def test_a_run_without_results_has_nobody_to_ask_about(run: Handmade) -> None:
    """It is told with the command that helps."""
    run.directory.results.unlink()
    with pytest.raises(RunError, match="is gone"):
        Track(run.directory, Options())


async def test_cloudmailin_is_asked_with_credentials_of_its_own(
    run: Handmade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SMTP token cannot ask: account and API token are wanted by their names."""
    redefine(run, name="cloudmailin")
    monkeypatch.delenv("CLOUDMAILIN_API_TOKEN", raising=False)
    monkeypatch.delenv("CLOUDMAILIN_ACCOUNT_ID", raising=False)
    with pytest.raises(CampaignError, match="CLOUDMAILIN_ACCOUNT_ID"):
        Track(run.directory, Options())
    monkeypatch.setenv("CLOUDMAILIN_ACCOUNT_ID", "acct/1")
    with pytest.raises(CampaignError, match="CLOUDMAILIN_API_TOKEN"):
        Track(run.directory, Options())
    monkeypatch.setenv("CLOUDMAILIN_API_TOKEN", "api-token")
    assert Track(run.directory, Options()).rate == pytest.approx(5 / 60)

    def answer(message: str) -> Answer:
        events = [{"kind": "delivery", "timestamp": "2099-01-01T00:00:00Z"}]
        return 200, {
            "id": message,
            "recipients": [{"email": "a@b.c", "events": events}],
        }

    site = Site(answer)
    told = await track(run, site)
    assert told.answered == 6
    assert site.keys == {"Bearer api-token"}
    assert {path.rpartition("/")[0] for path in site.paths} == {
        "/acct%2F1/outbound_messages"
    }
