"""Claims about `engine.online` and `engine.resolver`, against a real name server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import trio

import engine
from engine import online
from engine.campaign import Campaign
from engine.cli.exits import ExitCode, of_error
from engine.errors import CampaignError, LookUpFailed
from engine.resolver import Resolver
from engine.sandbox import Faults, serve

Zone = Mapping[tuple[str, str], list[str]]
ZONE: Zone = {
    ("harbour.org", "TXT"): ['"v=spf1 include:a.org" " -all"', '"other"'],
    ("harbour.org", "MX"): ["10 mx.harbour.org."],
    ("_dmarc.harbour.org", "TXT"): ['"v=DMARC1; p=none"'],
    ("s1._domainkey.mail.harbour.org", "TXT"): ['"v=DKIM1; p=MIIB"'],
    ("mail.harbour.org", "A"): ["192.0.2.1"],
    ("mail.harbour.org", "TXT"): ['"v=spf1 a -all"'],
    ("null.org", "MX"): ["0 ."],
}
CAMPAIGN = """\
name = "letter"
kind = "transactional"
[recipients]
source = "list.csv"
[message]
from = "Shop <shop@mail.harbour.org>"
subject = "subject.txt.j2"
text = "body.txt.j2"
[provider]
name = "cloudmailin"
username = "u"
"""


class NameServer:
    """Answers for a zone over UDP, in the nursery that it is started in."""

    def __init__(self, zone: Zone, *, silent: frozenset[str] = frozenset()) -> None:
        self._zone = zone
        self._silent = silent
        self.asked: list[tuple[str, str]] = []

    async def run(
        self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Answer until cancelled; tells its port."""
        with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
            await socket.bind(("127.0.0.1", 0))
            task_status.started(socket.getsockname()[1])
            while True:
                question, asker = await socket.recvfrom(4096)
                if (answer := self._answer(question)) is not None:
                    await socket.sendto(answer, asker)

    def _answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True)
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if name in self._silent:
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if records := self._zone.get((name, kind)):
            answer.answer.append(
                dns.rrset.from_text(question.name, 60, "IN", kind, *records)
            )
        elif not any(known == name for known, _ in self._zone):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        return answer.to_wire()


async def resolver(nursery: trio.Nursery, server: NameServer) -> Resolver:
    """Start a name server, and return what asks it."""
    port = await nursery.start(server.run)
    return Resolver("127.0.0.1", port, patience=0.3)


async def test_records_are_read_and_none_is_no_error(nursery: trio.Nursery) -> None:
    """Pieces of a text are one, and what does not exist has no records."""
    asked = await resolver(nursery, NameServer(ZONE))
    texts = ["other", "v=spf1 include:a.org -all"]
    assert sorted(await asked.texts("harbour.org")) == texts
    assert await asked.texts("mail.harbour.org") == ("v=spf1 a -all",)
    assert await asked.texts("nothing.org") == ()
    assert await asked.receives("harbour.org")
    assert await asked.receives("mail.harbour.org")
    assert not await asked.receives("null.org")
    assert not await asked.receives("nothing.org")


async def test_silence_is_an_error_and_not_none(nursery: trio.Nursery) -> None:
    """Nothing may be concluded from a server that does not answer."""
    asked = await resolver(nursery, NameServer(ZONE, silent=frozenset({"harbour.org"})))
    with pytest.raises(LookUpFailed):
        await asked.texts("harbour.org")


@pytest.mark.parametrize(
    ("place", "server", "port"),
    [
        ("", "", 53),
        ("192.0.2.1", "192.0.2.1", 53),
        ("127.0.0.1:5353", "127.0.0.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
    ],
)
def test_a_resolver_is_named_by_address_and_port(
    place: str, server: str, port: int
) -> None:
    """The port may be left out."""
    assert Resolver.of(place) == Resolver(server, port)


@pytest.mark.parametrize(
    "place", ["dns.example", "1.2.3.4:x", "53:53:x", "127.0.0.1:99999", "127.0.0.1:0"]
)
def test_what_is_no_address_is_told(place: str) -> None:
    """A name server cannot be looked up by its name."""
    with pytest.raises(CampaignError, match="--resolver"):
        Resolver.of(place)


def campaign(folder: Path) -> Campaign:
    """Write a campaign and load it."""
    (folder / "templates").mkdir()
    for name in ("subject.txt.j2", "body.txt.j2"):
        (folder / "templates" / name).write_text("Hello")
    (folder / "list.csv").write_text("email\nann@inbox.org\n")
    (folder / "letter.toml").write_text(CAMPAIGN)
    return engine.load(folder / "letter.toml")


async def test_a_sender_is_looked_up(tmp_path: Path, nursery: trio.Nursery) -> None:
    """The domain's own records, the policy above it, and the named key."""
    server = NameServer(ZONE)
    asked = await resolver(nursery, server)
    loaded = campaign(tmp_path)
    assert [] == await online.look(loaded, asked, selectors=["s1"])
    assert ("_dmarc.mail.harbour.org", "TXT") in server.asked
    found = await online.look(loaded, asked, selectors=["s2"])
    assert ["s2._domainkey.mail.harbour.org has no DKIM key"] == [f.text for f in found]


async def test_a_silent_server_is_told_and_nothing_is_called_missing(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    """An outage of names is no fault of the sender's."""
    names = frozenset({"mail.harbour.org", "_dmarc.mail.harbour.org"})
    asked = await resolver(nursery, NameServer(ZONE, silent=names))
    found = await online.look(campaign(tmp_path), asked)
    assert sorted(names) == sorted(f.text.split(" could")[0] for f in found)


async def test_nobody_who_answers_is_no_success(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    """It is one short sentence, and not that records are to be published."""
    domain = "mail.harbour.org"
    names = frozenset({domain, f"_dmarc.{domain}", "_dmarc.harbour.org"})
    asked = await resolver(nursery, NameServer(ZONE, silent=names))
    with pytest.raises(LookUpFailed) as caught:
        await online.look(campaign(tmp_path), asked)
    assert f"no answer from 127.0.0.1:{asked.port}; nothing was checked" == str(
        caught.value
    )
    assert ExitCode.REFUSED == of_error(caught.value)


async def test_cloudmailin_says_what_may_be_sent_from(tmp_path: Path) -> None:
    """Its Core API is asked for domains, what it found of them, and the selector."""
    loaded = campaign(tmp_path)
    async with trio.open_nursery() as nursery:
        site = await nursery.start(partial(serve, faults=Faults()))
        url = site.base_url("cloudmailin")
        ask = partial(online.verified_by_cloudmailin, loaded, "acc", "t", base_url=url)
        before = await ask()
        from engine.cloudmailin import CloudMailin  # noqa: PLC0415

        async with CloudMailin("acc", "t", base_url=url) as client:
            await client.create_sending_domain("harbour.org")
        after = await ask()
        nursery.cancel_scope.cancel()
    assert "harbour.org" not in before.domains
    assert "harbour.org" in after.domains
    assert after.selector


@contextmanager
def in_a_thread(server: NameServer) -> Iterator[int]:
    """Run a name server beside a command; gives its port."""
    import threading  # noqa: PLC0415

    ready: list[int] = []
    up = threading.Event()
    scope = trio.CancelScope()
    token: list[trio.lowlevel.TrioToken] = []

    async def main() -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                token.append(trio.lowlevel.current_trio_token())
                ready.append(await nursery.start(server.run))
                up.set()

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    up.wait()
    try:
        yield ready[0]
    finally:
        token[0].run_sync_soon(scope.cancel)
        thread.join()


def test_plan_looks_online_only_when_asked(tmp_path: Path) -> None:
    """`--online` adds what was found to the plan; without it nobody is asked."""
    campaign(tmp_path)
    server = NameServer({**ZONE, ("_dmarc.harbour.org", "TXT"): ['"v=DMARC1"']})
    command = [Path(sys.executable).with_name("mailvolley"), "plan", "letter.toml"]
    run: Callable[..., subprocess.CompletedProcess[str]] = partial(
        subprocess.run,
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if not k.startswith("CLOUDMAILIN")},
        capture_output=True,
        text=True,
        check=False,
    )
    with in_a_thread(server) as port:
        offline = run([*command, "--json"])
        assert server.asked == []
        words = ["--online", "--dkim", "s1", "--resolver", f"127.0.0.1:{port}"]
        online_ = run([*command, "--json", *words])
    assert offline.returncode == online_.returncode == 0, online_.stderr
    assert [] == [
        f for f in json.loads(offline.stdout)["findings"] if f["rule"] == "L31"
    ]
    assert ["the DMARC record of harbour.org names no policy: p=none"] == [
        f["text"] for f in json.loads(online_.stdout)["findings"] if f["rule"] == "L31"
    ]
