"""`mailvolley sandbox`, as a process."""

import re
import subprocess
import sys
from functools import partial

import httpx
import orjson
import pytest
import trio
from sandbox.receiver import Receiver

from engine import providers
from engine.cli.sandbox import LINES
from engine.sandbox import DIALECTS

COMMAND = (sys.executable, "-m", "engine", "sandbox")


async def read_until(process: trio.Process, end: bytes) -> str:
    """Read what it says, up to something."""
    told = b""
    while end not in told:
        piece = await process.stderr.receive_some()
        assert piece, told
        told += piece
    return told.decode()


@pytest.mark.slow
async def test_it_tells_how_to_point_each_provider_at_it_and_posts_to_a_webhook(
    nursery: trio.Nursery, receiver: Receiver
) -> None:
    """What it prints is true: the addresses take mail, and events arrive signed."""
    options = ("--port", "0", "--webhook", receiver.url, "--webhook-pace", "0")
    secret = ("--webhook-secret", "s3cret", "--fault", "webhook_twice=1")
    start = partial(trio.run_process, stderr=subprocess.PIPE, check=False)
    process = await nursery.start(start, [*COMMAND, *options, *secret])
    told = await read_until(process, b"webhook_twice=1")
    urls = re.findall(r"--base-url (\S+)", told)
    assert len(DIALECTS) == len(urls)
    for name, url in zip(DIALECTS, urls, strict=True):
        assert url.endswith(DIALECTS[name].prefix)
        assert all(line in told for line in LINES[name])
    assert f"{receiver.url}   at pace 0" in told
    [cloudmails] = [url for url in urls if "/cloudmails/" in url]
    mail = {"to": "a@x.example", "from": "b@x.example", "subject": "s", "html": "h"}
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        headers = {"authorization": "Bearer t"}
        answer = await client.post(f"{cloudmails}/send", json=mail, headers=headers)
    once, twice = await receiver.wait_for(2)
    assert once.body == twice.body
    assert answer.json()["message_id"] == orjson.loads(once.body)["message_id"]
    assert "x-cloudmails-signature" in once.headers
    process.terminate()
    assert await process.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (("--webhook", "http://provider.example/"), "must be on this machine"),
        (("--webhook-pace", "nan"), "must be a factor"),
    ],
)
async def test_a_webhook_that_cannot_be_is_refused(
    option: tuple[str, str], reason: str
) -> None:
    """What may not be posted to ends the command before it listens, and says why."""
    ended = await trio.run_process(
        [*COMMAND, "--port", "0", *option], capture_stderr=True, check=False
    )
    assert ended.returncode == 2
    assert reason in ended.stderr.decode()


@pytest.mark.parametrize("name", providers.NAMES)
def test_the_variables_it_names_are_those_of_the_provider(name: str) -> None:
    """What is to be exported is the variable that each provider's own tools read."""
    usual = next(iter(providers.load(name).variables))
    assert any(line.startswith(f"export {usual}=") for line in LINES[name])
