"""Claims about what is found in templates: rules L33 and L40."""

from pathlib import Path

import polars as pl
import pytest

from engine.lint import ListLook, source
from engine.lint.source import look

#: Where a value becomes code, or may.
BAD = {
    "unquoted attribute": "<p class={{ tier }}>x</p>",
    "half quoted": "<p class=a{{ tier }}>x</p>",
    "attribute name": "<p {{ tier }}='a'>x</p>",
    "handler": '<p onclick="go({{ id }})">x</p>',
    "script": "<script>var a = {{ name|tojson }};</script>",
    "style": "<style>p { color: {{ tone }}; }</style>",
    "safe": "<p>{{ note|safe }}</p>",
    "autoescape": "{% autoescape false %}<p>{{ note }}</p>{% endautoescape %}",
    "loop": '{% for u in links.split() %}<a href="{{ u }}">x</a>{% endfor %}',
    "format": '<a href="{{ "%s://a"|format(kind) }}">x</a>',
    "column of a column": '<a href="{{ shop.url }}">x</a>',
    "constant": "<a href=\"{{ 'javascript:' ~ code }}\">x</a>",
    "macro": (
        '{% macro go(to) %}<a href="{{ to }}">x</a>{% endmacro %}'
        "{{ go(links.split()[0]) }}"
    ),
    "after an if": "{% if a %}<b>{% endif %}<i id={{ a }}>x</i>",
}
GOOD = {
    "text": "<p>{{ name }}</p>",
    "quoted": "<p class=\"{{ tier }}\" title='{{ name }}'>x</p>",
    "path": '<a href="https://a.org/{{ id|urlencode }}?b={{ c }}">x</a>',
    "encoded": '<a href="{{ place|urlencode }}">x</a>',
    "ours": '<a href="{{ unsubscribe_url }}">x</a>',
    "concatenated": "<a href=\"{{ 'https://a.org/' ~ id }}\">x</a>",
    "macro": (
        '{% macro go(to) %}<a href="{{ to }}">x</a>{% endmacro %}'
        "{{ go('https://a.org') }}"
    ),
    "set": "{% set u = 'https://a.org/' ~ id %}<a href=\"{{ u }}\">x</a>",
    "choice": "<a href=\"{{ 'https://a.org' if vip else 'https://b.org' }}\">x</a>",
    "constant": "<p>{{ '<b>'|safe }}</p>",
    "comment": "{# <p class={{ tier }}> #}<p>x</p>",
    "raw": "{% raw %}<p class=a>{{ b }}</p>{% endraw %}",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_l33_a_value_where_escaping_does_not_protect_is_an_error(text: str) -> None:
    """Rule L33 names the template and the line."""
    found = look({"a.html.j2": f"\n{text}"}, "a.html.j2").findings
    assert {"L33"} == {finding.id for finding in found}
    assert all("a.html.j2:2: " in finding.text for finding in found)


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_l33_is_quiet_where_escaping_protects(text: str) -> None:
    """Templates as they should be written are left alone."""
    found = look({"a.html.j2": text}, "a.html.j2")
    assert (found.findings, found.addresses) == ([], {})


@pytest.mark.parametrize(
    "text",
    [
        '<a href="{{ page }}">x</a>',
        '<a href="{{ page|trim }}">x</a>',
        "<a href=\"{{ page or 'https://a.org' }}\">x</a>",
        '{% set u = page %}<a href="{{ u }}">x</a>',
        '{% set page = page|trim %}<img src="{{ page }}">',
    ],
)
def test_l33_a_column_that_a_link_begins_with_is_judged_row_by_row(text: str) -> None:
    """A column of addresses is fine as long as each of its cells is one."""
    found = look({"a.html.j2": text}, "a.html.j2")
    assert found.findings == []
    assert [*found.addresses] == ["page"]
    seen = ListLook(beginnings=found.addresses)
    pages = ["https://a.org", " mailto:a@b.org", "/a", "", "javascript:alert(1)"]
    count = len(pages)
    seen.add(
        pl.DataFrame(
            {
                "row": pl.Series(range(count), dtype=pl.UInt64),
                "key": [str(n) for n in range(count)],
                "address": ["a@b.org"] * count,
                "message_id": [str(n) for n in range(count)],
                "status": pl.Series([None] * count, dtype=pl.String),
                "reason": pl.Series([None] * count, dtype=pl.String),
                "variant": pl.Series([None] * count, dtype=pl.String),
                "data": pl.DataFrame({"page": pages}).to_struct(),
            }
        )
    )
    (finding,) = [f for f in seen.findings() if f.id == "L33"]
    assert [example.row for example in finding.examples] == [4]


def test_l33_holds_in_all_that_the_html_is_made_of() -> None:
    """Layouts, includes and imports are looked at; the text part is not escaped."""
    bad = "<p class={{ tier }}>"
    sources = {
        "body.html.j2": '{% extends "lay.html.j2" %}{% include "foot.html.j2" %}',
        "lay.html.j2": bad,
        "foot.html.j2": bad,
        "body.txt.j2": bad,
    }
    found = look(sources, "body.html.j2").findings
    assert ["foot.html.j2:1", "lay.html.j2:1"] == sorted(
        finding.text.partition(": ")[0] for finding in found
    )


def test_l33_is_quiet_on_the_sample() -> None:
    """The letters of the repository are written as we ask of others."""
    folder = Path(__file__).parents[2] / "templates"
    sources = {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*.j2")
    }
    for name in sources:
        if name.endswith("html.j2"):
            assert look(sources, name).findings == []


@pytest.mark.parametrize(
    "secret",
    [
        "SG.abcdefghij0123456789.abcdefghij0123456789",
        "sk_live_abcdefghij0123456789",
        "AKIAABCDEFGHIJ012345",
        "Bearer abcdefghij0123456789",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.abcdefghij0123",
    ],
)
def test_l40_what_looks_like_a_secret_is_told_and_not_shown(secret: str) -> None:
    """Rule L40 names the place alone."""
    (found,) = look({"a.txt.j2": f"Hello\nkey: {secret}"}).findings
    assert (found.id, found.text) == ("L40", "a.txt.j2:2: what looks like a secret")


def test_l40_is_quiet_on_words(subtests: pytest.Subtests) -> None:
    """Neither a link nor a long word is a secret."""
    for text in ("https://a.org/key-words-about-something-long", "re-established it"):
        with subtests.test(text):
            assert look({"a.txt.j2": text}).findings == []


def test_printed_names_are_those_that_nobody_asks_after() -> None:
    """What an `if`, a default or a loop looks at may well be empty."""
    text = (
        "{% if a and b.c %}{{ a }}{% endif %}{{ d|default('x', true) }}"
        "{% for x in e %}{{ x }}{% endfor %}{{ f or 'y' }}{{ 'z' if g else '' }}{{ h }}"
    )
    assert look({"a.txt.j2": text}).printed == {"h", "x"}


def test_the_names_of_a_template_are_those_of_all_its_parts() -> None:
    """What the subject includes, it reads."""
    sources = {"s": "{{ a }}{% include 't' %}", "t": "{{ b }}", "u": "{{ c }}"}
    assert source.names_of(sources, "s") == {"a", "b"}
