"""Writing whole messages: two bodies each, and letters beyond ASCII in many."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import mail
from benchmarks.stages.material import as_dicts, draw_plan, read_chunks, render
from engine.message import Envelope
from engine.mime import Skeleton

#: The least that is a mail with two bodies.
FORM = (
    b"From: %b\r\nTo: %b\r\nSubject: =?utf-8?b?%b?=\r\nMIME-Version: 1.0\r\n"
    b'Content-Type: multipart/alternative; boundary="x"\r\n\r\n--x\r\n'
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
    b"\r\n%b\r\n--x\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n"
    b"\r\n%b\r\n--x--\r\n"
)


def contestants(rows: int, folder: Path, _: str) -> dict[str, Callable[[], object]]:
    """Return ours, the least that is a mail, and the standard library."""
    plan = draw_plan(rows, folder)
    every = render(plan, read_chunks(plan))
    dicts = [one for messages in every for one in as_dicts(messages)]
    envelope = Envelope(
        campaign="bench",
        run="bench",
        date=datetime(2026, 11, 20, tzinfo=UTC),
        kind="transactional",
        sender=mail.SENDER,
        html=True,
        text=True,
    )
    skeleton = Skeleton(envelope)
    return {
        "mailvolley": lambda: [skeleton.encode(messages) for messages in every],
        "the ceiling: bytes and base64": lambda: [_least(one) for one in dicts],
        "EmailMessage": lambda: [mail.build_raw(one) for one in dicts],
    }


def _least(one: dict[str, str]) -> bytes:
    subject, text, html = (
        base64.b64encode(one[name].encode()) for name in ("subject", "text", "html")
    )
    return FORM % (one["from"].encode(), one["to"].encode(), subject, text, html)
