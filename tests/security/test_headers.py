"""S1: whatever stands in a field, a message has the headers that it had without it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine import providers
from engine.message import HEADER_UNSAFE, Envelope, Feature
from engine.providers.base import Provider
from engine.render import Recipe, Renderer, Words

MOMENT = datetime(2026, 11, 20, 10, tzinfo=UTC)
ENVELOPE = Envelope(
    campaign="letter",
    run="r1",
    date=MOMENT,
    kind="transactional",
    sender="Harbour <hello@harbour.example>",
    tags=("letter",),
    html=True,
    text=True,
    named=True,
    varying=frozenset({Feature.HEADERS, Feature.REPLY_TO}),
    header_names=("X-Word",),
)
SETTINGS: dict[str, str | bool] = {
    "username": "user",
    "account_id": "a1",
    "email": "ops@harbour.example",
    "domain": "harbour.example",
    "stream_type": "broadcast",
    "priority": "standard",
    "test_mode": False,
    "markdown": False,
}
#: The name of a provider, and the form of its messages where it has two.
WAYS = [
    ("cloudflare", "json"),
    ("cloudflare", "raw"),
    ("cloudmailin", ""),
    ("cloudmails", ""),
    ("mailerlogic", ""),
]
BREAKS = "\r\n\v\f\0\x1c\x85\u2028\u2029\x7f"
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.builds(
        "{}{}{}".format,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        st.text(BREAKS, max_size=2),
        st.sampled_from(
            ["Bcc: e@evil.example", "\r\n\r\n<b>x", "<e@evil.example>", ",e@a.example",
             '"', "\\", ";", "=?utf-8?q?=0D=0ABcc:_e@evil.example?=",
             '","bcc":"e@b.example']
        ),
    ),
)  # fmt: skip


def make(name: str, form: str) -> Provider:
    """Make a provider for messages one by one."""
    kind = providers.load(name)
    chosen = SETTINGS | {"format": form}
    return kind(ENVELOPE, batch_size=1, **{key: chosen[key] for key in kind.settings})


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    """Compile templates that print a word wherever one may stand."""
    folder = tmp_path_factory.mktemp("headers")
    for part in ("subject", "html", "text"):
        (folder / part).write_text("a {{ word }}", encoding="utf-8")

    def inline(text: str) -> Words[str]:
        return Words("[message]", text, inline=True, read=str)

    recipe = Recipe(
        file=Path("letter.toml"),
        moment=MOMENT,
        reply_to=inline("help{{ word }} <help@harbour.example>"),
        headers={"X-Word": inline("a {{ word }}")},
    )
    parts = {part: part for part in ("subject", "html", "text")}
    return Renderer(folder, parts, {}, recipe=recipe)


def bodies(renderer: Renderer, word: str) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield what each provider is sent of a row with a word in each of its fields."""
    chunk = pl.DataFrame(
        {
            "row": pl.Series([0], dtype=pl.UInt64),
            "address": ["ann@a.example"],
            "name": [f"n {word}"],
            "message_id": ["m1"],
            "data": pl.Series([{"word": word}]),
        }
    )
    rendered = renderer.render(chunk)
    if rendered.failures:
        (failure,) = rendered.failures
        assert failure.reason in ("header_unsafe", "mailbox_unfit")
        assert HEADER_UNSAFE.search(f"a {word}")
        return
    for way in WAYS:
        (part,) = make(*way).encode(rendered.messages)
        yield way, json.loads(part)


def shape(value: Any) -> Any:
    """Return what of a JSON value is structure: its keys, and how many of each."""
    if isinstance(value, dict):
        if "mime_message" in value:
            mime = message_from_string(value["mime_message"], policy=policy.SMTP)
            rest = shape({k: v for k, v in value.items() if k != "mime_message"})
            return rest, [(*part.keys(),) for part in mime.walk()]
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else None


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("\r\nBcc: e@evil.example")
@example("x\nBcc: e@evil.example")
@example("é\r\n\r\n<script>")
def test_no_text_changes_which_headers_there_are(renderer: Renderer, word: str) -> None:
    """The same keys, the same fields, one recipient; or the row fails."""
    plain = {way: shape(body) for way, body in bodies(renderer, "plain")}
    assert set(WAYS) == set(plain)
    for way, body in bodies(renderer, word):
        assert plain[way] == shape(body), way


def test_a_line_end_in_a_field_fails_the_row(renderer: Renderer) -> None:
    """Each character that could end a header: nothing is stripped in silence."""
    for character in BREAKS:
        assert [] == [*bodies(renderer, f"a{character}Bcc: e@evil.example")]
