"""S1: whatever stands in a field, a message has the headers that it had without it."""

import json
from collections.abc import Collection
from datetime import UTC, datetime
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from handmade import SETTINGS
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
#: The name of a provider, and the form of its messages where it has two.
WAYS = [
    ("cloudflare", "json"),
    ("cloudflare", "raw"),
    ("cloudmailin", ""),
    ("cloudmails", ""),
    ("mailerlogic", ""),
]
#: Where a row's words can stand, and which keys of a request hold a body.
PLACES = ("subject", "name", "header", "reply_to", "html", "text")
BODIES = {"html", "text", "plain", "content", "html_body", "text_body", "body"}
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
    """Compile templates that print a word of its own in each place for one."""
    folder = tmp_path_factory.mktemp("headers")
    for part in ("subject", "html", "text"):
        (folder / part).write_text(f"a {{{{ {part} }}}}", encoding="utf-8")

    def inline(text: str) -> Words[str]:
        return Words("[message]", text, inline=True, read=str)

    recipe = Recipe(
        file=Path("letter.toml"),
        moment=MOMENT,
        reply_to=inline("help{{ reply_to }} <help@harbour.example>"),
        headers={"X-Word": inline("a {{ header }}")},
    )
    parts = {part: part for part in ("subject", "html", "text")}
    return Renderer(folder, parts, {}, recipe=recipe)


def bodies(
    renderer: Renderer, word: str, places: Collection[str]
) -> dict[tuple[str, str], Any]:
    """Return what each provider is sent of a row; nothing if the row fails.

    Args:
        renderer: fills each place with a word.
        word: stands in the places named, and "b" in all others.
        places: some of `PLACES`.
    """
    words = {place: word if place in places else "b" for place in PLACES}
    chunk = pl.DataFrame(
        {
            "row": pl.Series([0], dtype=pl.UInt64),
            "address": ["ann@a.example"],
            "name": [f"n {words.pop('name')}"],
            "message_id": ["m1"],
            "data": pl.Series([words]),
        }
    )
    rendered = renderer.render(chunk)
    if rendered.failures:
        (failure,) = rendered.failures
        assert "header_unsafe" == failure.reason or "reply_to" in places
        return {}
    return {
        way: json.loads(part)
        for way in WAYS
        for part in make(*way).encode(rendered.messages)
    }


def shape(value: Any, key: str = "") -> Any:
    """Return what of a JSON value is structure: its keys, and how many of each.

    Where it is not a body, no text in it may have what a header may not.
    """
    if key == "mime_message":
        mime = message_from_string(value, policy=policy.SMTP)
        return [(*part.keys(),) for part in mime.walk()]
    if isinstance(value, dict):
        return {name: shape(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner, key) for inner in value]
    assert key in BODIES or HEADER_UNSAFE.search(str(value)) is None, (key, value)
    return None


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.sets(st.sampled_from(PLACES), min_size=1))
@example("\r\nBcc: e@evil.example", {"subject"})
@example("x\nBcc: e@evil.example", {"name"})
@example("\x85Bcc: e@evil.example", {"header"})
@example("\r\n\r\n<script>", {"html", "text"})
def test_no_text_changes_which_headers_there_are(
    renderer: Renderer, word: str, places: set[str]
) -> None:
    """The same keys, the same fields, one recipient; or the row fails."""
    plain = bodies(renderer, "plain", PLACES)
    assert set(WAYS) == set(plain)
    for way, body in bodies(renderer, word, places).items():
        assert shape(plain[way]) == shape(body), way


@pytest.mark.parametrize("place", ["subject", "name", "header", "reply_to"])
def test_a_line_end_in_a_field_fails_the_row(renderer: Renderer, place: str) -> None:
    """Each character that could end a header: nothing is stripped in silence."""
    for character in BREAKS:
        assert {} == bodies(renderer, f"a{character}Bcc: e@evil.example", {place})
