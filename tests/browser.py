"""A real browser for pages: headless Chromium, spoken to over the DevTools protocol.

It is driven through two pipes, not a port: nothing has to be found or waited for, and
nobody else can reach it.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
#: No sandbox: containers have no user namespaces, and it opens our own pages alone.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
#: Widths of a desk and of a phone, pixels.
DESK, PHONE = (1280, 900), (390, 844)


class Page:
    """One page in the browser."""

    def __init__(self, to: int, answers: Iterator[bytes]) -> None:
        self._to = to
        self._answers = answers
        self._last = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol; events that come meanwhile are kept."""
        self._last += 1
        request = {"id": self._last, "method": method, "params": params}
        if self._session is not None:
            request["sessionId"] = self._session
        os.write(self._to, json.dumps(request).encode() + b"\0")
        while True:
            answer = json.loads(next(self._answers))
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def wait(self, event: str) -> None:
        """Wait until an event comes that has not come before."""
        while True:
            answer = json.loads(next(self._answers))
            self.events.append(answer)
            if answer.get("method") == event:
                return

    def open(
        self, url: str, size: tuple[int, int] = DESK, *, dark: bool = False
    ) -> None:
        """Open an address in a window of a size, and wait until it is loaded."""
        self.events.clear()
        self.resize(size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait("Page.loadEventFired")

    def resize(self, size: tuple[int, int]) -> None:
        """Let the window have another size."""
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )

    def run(self, script: str) -> Any:
        """Return the value of an expression; of a promise, what it comes to."""
        done = self.call(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key."""
        code = {"ArrowRight": 39, "ArrowLeft": 37, "Tab": 9, "Enter": 13}.get(key, 0)
        facts = {"key": key, "windowsVirtualKeyCode": code or ord(key)}
        text = {"Enter": "\r"}.get(key, "" if code else key)
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.call("Input.dispatchKeyEvent", type="keyUp", **facts)

    def picture(self, path: Path) -> None:
        """Keep what is seen."""
        shot = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    def asked(self) -> list[str]:
        """Return the addresses that were asked for, but for the page itself."""
        urls = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("file:", "data:", "about:"))]

    def complaints(self) -> list[str]:
        """Return what the browser has to say of the page: errors and refusals."""
        told = [
            event["params"]["exceptionDetails"]["text"]
            for event in self.events
            if event.get("method") == "Runtime.exceptionThrown"
        ]
        return told + [
            event["params"]["entry"]["text"]
            for event in self.events
            if event.get("method") == "Log.entryAdded"
        ]


def binary() -> str:
    """Return the browser's path; skip the test where there is none."""
    named = os.environ.get("CHROMIUM")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("there is no chromium here: install it, or name it in CHROMIUM")
    return found


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own; it ends with the block."""
    ours, theirs = os.pipe(), os.pipe()
    words = [binary(), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    # It reads commands from descriptor 3 and writes answers to 4.
    script = f'exec "$@" 3<&{ours[0]} 4>&{theirs[1]}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *words],
        pass_fds=(ours[0], theirs[1]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ours[0])
    os.close(theirs[1])
    try:
        page = Page(ours[1], _answers(theirs[0]))
        yield page
    finally:
        process.terminate()
        process.wait(timeout=20)
        os.close(ours[1])
        os.close(theirs[0])


def _answers(descriptor: int) -> Iterator[bytes]:
    rest = b""
    while True:
        *whole, rest = rest.split(b"\0")
        yield from whole
        piece = os.read(descriptor, 1 << 20)
        if not piece:
            raise EOFError("the browser has ended")
        rest += piece
