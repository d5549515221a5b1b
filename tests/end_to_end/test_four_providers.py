"""One campaign through each of the four APIs, and its events back: over real sockets.

Four processes: the sandbox, the receiver that it posts to, and `send` and `events show`
as they are typed.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from end_to_end.desk import COMMAND, Desk, Site

from engine.suppression import Suppressions

CAMPAIGN = """
name = "letter"
kind = "transactional"

[recipients]
source = "list.csv"
key = "id"

[message]
from = "Shop <shop@harbour.example>"
reply_to = "help@harbour.example"
subject = "letter/subject.txt.j2"
html = "letter/body.html.j2"
text = "letter/body.txt.j2"
cc = "{% if id == '00000' %}copy@inbox.example{% endif %}"

[message.headers]
X-Order = "{{ id }}"

[message.metadata]
order = "{{ id }}"

[[message.attachments]]
path = "terms.txt"

[[message.attachments]]
path = "{{ id }}.txt"
name = "order-{{ id }}.txt"
required = false

[provider]
name = "cloudmails"
token = { env = "LETTER_TOKEN" }

[limits]
workers = 4
requests_per_second = 1000
"""
SECRET = "shared-with-the-sandbox"
#: Base URL and what the campaign needs beside the name.
PROVIDERS = {
    "cloudmails": ("cloudmails/v1", ()),
    "cloudmailin": ("cloudmailin/api/v0.1", ("provider.username=0123456789abcdef",)),
    "cloudflare": ("cloudflare/client/v4", ("provider.account_id=a1b2c3",)),
    "mailerlogic": ("mailerlogic", ("provider.domain=harbour.example",)),
}
#: What becomes of a row, by how its address begins.
FATES = {
    "reader": "delivered",
    "bounce": "bounced",
    "complain": "complained",
}


@dataclass(frozen=True)
class Post:
    """A receiver and a sandbox that posts to it."""

    sandbox: Site
    receiver: subprocess.Popen[str]

    def wait_until_told(self) -> None:
        """Wait until the sandbox has nothing left to post."""
        for _ in range(300):
            told = self.sandbox.ask("stats")["webhook"]
            if told["posted"] and not told["waiting"]:
                assert told["failed"] == 0
                return
            time.sleep(0.1)
        raise AssertionError(told)

    def stop(self) -> dict[str, Any]:
        """Stop the receiver; return what it counted."""
        self.receiver.send_signal(signal.SIGTERM)
        out, _ = self.receiver.communicate(timeout=30)
        counts: dict[str, Any] = json.loads(out)
        return counts


def started(folder: Path, *words: str, **env: str) -> tuple[subprocess.Popen[str], str]:
    """Start a command that listens; return it with its address."""
    process = subprocess.Popen(
        [COMMAND, *words],
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    greeting = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", greeting)
    assert found, greeting + process.stderr.read()
    return process, found[0]


@pytest.fixture
def post(desk: Desk) -> Iterator[Post]:
    """Start a receiver, and a sandbox that posts what happens to it."""
    variable = {"MAILVOLLEY_CLOUDMAILS_WEBHOOK_SECRET": SECRET}
    receiver, base = started(
        desk.folder,
        *("events", "serve", "--port", "0", "--json", "--runs-dir", "runs"),
        **variable,
    )
    key = (desk.runs / "events.key").read_text().strip()
    url = f"{base}/{key}/{{provider}}"
    words = ("--webhook", url, "--webhook-pace", "0", "--webhook-secret", SECRET)
    sandbox, root = started(
        desk.folder, "sandbox", "--port", "0", *words, "--fault=webhook_twice=2"
    )
    yield Post(Site(root), receiver)
    for process in (sandbox, receiver):
        process.terminate()
        process.communicate(timeout=30)


def write(desk: Desk) -> None:
    """Write the campaign, its files, and a list of all fates."""
    desk.campaign.write_text(CAMPAIGN)
    desk.list(30, row3="bounce3@inbox.example", row4="complain4@inbox.example")
    files = desk.folder / "attachments"
    files.mkdir()
    (files / "terms.txt").write_text("All sales are final.\n")
    (files / "00007.txt").write_text("Seven books.\n")


def settings(name: str) -> list[str]:
    """Return the words that choose a provider."""
    _, needed = PROVIDERS[name]
    return [f"--set={text}" for text in (f"provider.name={name}", *needed)]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVIDERS)
def test_one_campaign_rehearses_on_each(desk: Desk, name: str) -> None:
    """`send --sandbox` takes the same file for every provider, before any account."""
    write(desk)
    other = f"--set=provider.name={name}"
    told = desk.run("send", "letter.toml", "--sandbox", "--json", other)
    # Cloudflare tells of a bounce in its answer.
    bounced = 1 if name == "cloudflare" else 0
    assert told.code == (1 if bounced else 0), told.err
    assert told.json["counts"]["accepted"] == 30 - bounced
    assert told.json["counts"]["rejected"] == bounced


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVIDERS)
def test_events_come_back_into_deliveries_and_suppressions(
    desk: Desk, post: Post, name: str
) -> None:
    """What the sandbox posts is kept, joined to its rows, and heeded."""
    write(desk)
    path, _ = PROVIDERS[name]
    told = desk.send(f"{post.sandbox.root}/{path}", "--json", *settings(name))
    assert told.json["counts"]["in_doubt"] == 0, told.err
    post.wait_until_told()

    shown = desk.run("events", "show", desk.run_directory(), "--out=d.parquet")
    assert shown.code == 0, shown.err
    rows = pl.read_parquet(desk.folder / "d.parquet")
    for address, status, event in rows.select("address", "status", "event").rows():
        fate = next(word for word in FATES if address.startswith(word))
        if status == "accepted":
            assert event == FATES[fate], address
        else:
            assert (name, fate) == ("cloudflare", "bounce")

    with Suppressions.open(desk.runs) as suppressions:
        known = dict(suppressions.all().select("address", "reason").iter_rows())
    assert known == {
        "bounce3@inbox.example": "bounced",
        "complain4@inbox.example": "complained",
    }
    counts = post.stop()
    assert set(counts["posts"]) == {f"{name} 200"}
    assert counts["new"] < counts["events"]  # every second post came twice


@pytest.mark.slow
@pytest.mark.parametrize("name", PROVIDERS)
def test_what_was_written_is_what_arrives(desk: Desk, sandbox: Site, name: str) -> None:
    """Attachments and metadata of one row, as the provider holds them."""
    write(desk)
    path, _ = PROVIDERS[name]
    assert desk.send(f"{sandbox.root}/{path}", *settings(name)).code in {0, 1}
    held = sandbox.ask("messages?to=reader7@inbox.example")["messages"]
    assert len(held) == 1
    whole = json.dumps(held[0])
    if name == "cloudflare":
        assert 'filename=\\"order-00007.txt\\"' in whole.replace("\\\\", "\\")
    else:
        assert "order-00007.txt" in whole
        assert "U2V2ZW4gYm9va3MuCg==" in whole
    assert "terms.txt" in whole
    if name in {"cloudmails", "mailerlogic"}:
        assert '"order": "00007"' in whole
    if name != "cloudmails":
        assert "X-Order" in whole
