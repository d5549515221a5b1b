"""`mailvolley cloudmailin`, as it is typed, against the sandbox in its own process.

A command is a process of its own where that matters, on a terminal and when it is
interrupted. Elsewhere it runs in this one, from its words to its exit code.
"""

import fcntl
import io
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from end_to_end.desk import COMMAND, Ended, Site

from engine.cli import main

TOKEN = "canary-51c0ffee99"
ADDRESS = "aaaa740b4c5c37b1aaaa"
OUTBOUND = "aaaa111122223333"
ACCOUNT = {
    "CLOUDMAILIN_ACCOUNT_ID": "aaaa000011112222",
    "CLOUDMAILIN_API_TOKEN": TOKEN,
}

Ask = Callable[..., Ended]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Site]:
    """One sandbox for all: it has an address with mail, and a sending domain."""
    with subprocess.Popen(
        [COMMAND, "sandbox", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())
        assert found is not None
        yield Site(found[0])
        process.terminate()


def api(site: Site) -> str:
    """Return the base URL of the sandbox's Core API."""
    return f"{site.root}/cloudmailin/api/v0.1"


@pytest.fixture
def asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Run a command of `mailvolley cloudmailin` where nobody can be asked."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name, value in ACCOUNT.items():
        monkeypatch.setenv(name, value)

    def run(url: str, *words: str) -> Ended:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["cloudmailin", *words, "--base-url", url])
        told = capsys.readouterr()
        assert TOKEN not in told.out + told.err
        assert isinstance(end.value.code, int)
        return Ended(end.value.code, told.out, told.err)

    return run


def on_terminal(url: str, *words: str, typed: str = "") -> tuple[int, list[str]]:
    """Run a command on a terminal of 80 columns; return its code and lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [COMMAND, "cloudmailin", *words, "--base-url", url],
        env={**os.environ, **ACCOUNT},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        while piece := _read(ours):
            shown += piece
    os.close(ours)
    text = re.sub(r"\x1b\[\d*m", "", shown.decode())
    return process.returncode, text.replace("\r\n", "\n").splitlines()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.fixture
def ask(sandbox: Site, asked: Callable[..., Ended]) -> Ask:
    """Run a command with the sandbox."""
    return partial(asked, api(sandbox))


def test_an_address_lives_and_goes(ask: Ask) -> None:
    """Create, show, update, list, delete; what is not named stays as it was."""
    target = "https://me:s3cret@inbox.harbour.example/in"
    made = ask("addresses", "create", "--target", target, "--nickname", "a", "--json")
    one = made.json["address"]
    told = ("created", 0, target, "json+n", "a")
    fields = ("target", "target_format", "nickname")
    assert told == (made.json["status"], made.json["exit"], *map(one.get, fields))

    ask("addresses", "update", one["id"], "--format", "multipart+n")
    ask("addresses", "update", one["id"], "--nickname", "")
    shown = ask("addresses", "show", one["id"], "--json").json["address"]
    assert (target, "multipart+n", None) == tuple(map(shown.get, fields))

    listed = ask("addresses", "list")
    assert re.search(
        rf"^{one['id']}  multipart\+n  https://me:…@inbox", listed.out, re.MULTILINE
    )
    assert "s3cret" not in listed.out

    gone = ask("addresses", "delete", one["id"], "--yes")
    assert (0, "") == (gone.code, gone.out)
    assert 1 == ask("addresses", "show", one["id"]).code


def test_what_came_in_is_listed_and_searched(ask: Ask) -> None:
    """The newest first, each once; --limit says that there is more."""
    every = ask("incoming", "list", "--address", ADDRESS, "--json").json
    moments = [one["created_at"] for one in every["incoming_statuses"]]
    assert sorted(set(moments), reverse=True) == moments
    assert every["complete"]
    assert len(moments) > 2
    some = ask("incoming", "list", "--address", ADDRESS, "--limit", "2")
    assert 3 == len(some.out.splitlines())
    assert "these are the first 2" in some.err
    found = ask(
        "incoming", "list", "--address", ADDRESS, "--query", "from:bob", "--json"
    )
    senders = {one["from"] for one in found.json["incoming_statuses"]}
    assert {"bob@example.org"} == senders


def test_a_custom_domain_lives_and_goes(ask: Ask) -> None:
    """Create, list, show, delete, of one address."""
    of = ("--address", ADDRESS)
    regex = ("--auth-regex", ".*@in.harbour.example")
    made = ask("domains", "create", "in.harbour.example", *of, *regex, "--json")
    one = made.json["custom_domain"]
    assert ".*@in.harbour.example" == one["auth_regex"]
    listed = ask("domains", "list", *of, "--query", "harbour")
    assert [one["id"]] == re.findall(r"^\w{16}\b", listed.out, re.MULTILINE)
    assert one == ask("domains", "show", one["id"], *of, "--json").json["custom_domain"]
    assert 0 == ask("domains", "delete", one["id"], *of, "--yes").code
    assert 1 == ask("domains", "show", one["id"], *of).code


def test_a_sending_domain_is_verified_once_its_records_are_there(ask: Ask) -> None:
    """Exit 1 with the records that are missing and what to type next, then 0."""
    made = ask("sending-domains", "create", "pending.harbour.example")
    (name,) = re.findall(r"verify (\w{16})", made.err)
    first = ask("sending-domains", "verify", name)
    assert 1 == first.code
    assert "mta.pending.harbour.example\n       feedback-smtp.cloudmta.net" in first.out
    assert "return path: missing" in first.out
    assert f"mailvolley cloudmailin sending-domains verify {name}" in first.err
    second = ask("sending-domains", "verify", name, "--json")
    assert (0, "verified", True) == (
        second.code,
        second.json["status"],
        second.json["verified"],
    )
    assert "v=DKIM1" in second.json["sending_domain"]["dkim_public_record"]
    deleted = ask("sending-domains", "delete", name, "--yes", "--json")
    assert "deleting" == deleted.json["status"]
    left = ask("sending-domains", "list", "--query", "pending", "--json").json
    assert [] == left["sending_domains"]


def send(site: Site, subject: str) -> str:
    """Send a message through the sandbox, and return its id."""
    message = {
        "from": "Shop <shop@example.com>",
        "to": ["Ann <ann@inbox.example>"],
        "subject": subject,
        "plain": "Hello",
    }
    request = urllib.request.Request(
        f"{api(site)}/{OUTBOUND}/messages",
        data=json.dumps(message).encode(),
        headers={"Authorization": "Bearer x", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        told: dict[str, Any] = json.load(answer)
    return str(told["id"])


def test_messages_are_found_with_their_events(sandbox: Site, ask: Ask) -> None:
    """In the list by what they say, and each with what befell it."""
    name = send(sandbox, "Spring \x1b[31mnews")
    listed = ask("messages", "list", "--outbound-account", OUTBOUND)
    assert name in listed.out
    assert "\x1b" not in listed.out
    shown = ask("messages", "show", name)
    assert "ann@inbox.example" in shown.out
    assert "registration" in shown.out


def test_a_terminal_of_80_columns_is_wide_enough(sandbox: Site) -> None:
    """No line of a list is longer, and ids are whole."""
    subject = "A subject line that is long, as they are"
    name = send(sandbox, subject)
    code, lines = on_terminal(
        api(sandbox), "messages", "list", "--outbound-account", OUTBOUND
    )
    assert 0 == code
    assert any(line.startswith(f"{name}  20") for line in lines)
    assert f"  subject: {subject}" in lines
    lines += on_terminal(api(sandbox), "incoming", "list", "--address", ADDRESS)[1]
    lines += on_terminal(api(sandbox), "addresses", "list")[1]
    lines += on_terminal(api(sandbox), "sending-domains", "list")[1]
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(("typed", "left"), [("y\n", 1), ("n\n", 0)])
def test_a_deletion_asks_first(sandbox: Site, ask: Ask, typed: str, left: int) -> None:
    """With the name of what would go; a no leaves it."""
    made = ask("sending-domains", "create", f"asked{left}.example", "--json")
    domain = made.json["sending_domain"]
    code, lines = on_terminal(
        api(sandbox), "sending-domains", "delete", domain["id"], typed=typed
    )
    asked_for = f"Delete sending domain {domain['domain']} ({domain['id']})?"
    assert asked_for in "".join(lines)
    assert code == (0 if left else 2)
    shown = ask("sending-domains", "show", domain["id"])
    assert left == shown.code


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("addresses", "delete", ADDRESS), 2, "add --yes"),
        (("addresses", "show", ".."), 2, "is no id"),
        (("addresses", "update", ADDRESS), 2, "name what to change"),
        (("addresses", "show", "bbbb740b4c5c37b1bbbb"), 1, "404"),
        (("sending-domains", "create", ""), 1, "422"),
    ],
)
def test_what_is_refused_says_so_in_the_exit_code(
    ask: Ask, words: tuple[str, ...], code: int, said: str
) -> None:
    """2 before anything is asked, 1 where CloudMailin refuses; `--json` says it too."""
    ended = ask(*words, "--json")
    assert code == ended.code
    assert said in ended.err
    assert code == ended.json["exit"]
    assert 0 == ask("addresses", "show", ADDRESS).code


def test_the_token_is_in_a_variable_or_a_private_file(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not there, or for all to read: nothing is asked, and it says what to do."""
    monkeypatch.setenv("CLOUDMAILIN_API_TOKEN", "")
    missing = ask("addresses", "list")
    assert 2 == missing.code
    assert "export CLOUDMAILIN_API_TOKEN=…" in missing.err
    assert "[provider]" not in missing.err
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(0o644)
    assert "others may read" in ask("addresses", "list", "--token-file", str(file)).err
    file.chmod(0o600)
    assert 0 == ask("addresses", "list", "--token-file", str(file)).code


def test_nobody_there_changes_nothing(asked: Callable[..., Ended]) -> None:
    """Exit 3, and nothing is in doubt."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        ended = asked(url, "sending-domains", "create", "a.example", "--json")
    assert (3, "stopped") == (ended.code, ended.json["status"])
    assert "nothing was changed" in ended.json["error"]["next"]


def test_an_interrupted_change_is_in_doubt() -> None:
    """Exit 4: it was sent, and whoever interrupted is told to look before another."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        words = ("addresses", "delete", ADDRESS, "--yes", "--base-url", url)
        with subprocess.Popen(
            [COMMAND, "cloudmailin", *words],
            env={**os.environ, **ACCOUNT},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(4096).startswith(b"DELETE ")
                process.send_signal(signal.SIGINT)
                _, err = process.communicate(timeout=20)
    assert 4 == process.returncode
    assert f"cannot delete address {ADDRESS}: interrupted" in err
    assert "perhaps it was done" in err
