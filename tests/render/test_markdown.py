"""Claims about `engine.render.markdown`: structure comes from the template alone."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.render.environment import Sources, environment
from engine.render.markdown import Marks, converter, unmarked

CONVERT = converter()
ENV = environment(Sources(Path("nowhere")), escape=False, extensions=[Marks])
#: A value wherever one can stand.
PLACES = ENV.from_string(
    """\
# Head {{ v }}

{{ v }}

Words {{ v }} and **a{{ v }}z** and _a{{ v }}z_, [link](https://x.example/?a={{ id }})

- {{ v }}
-    {{ v }}
    - {{ v }}

1. {{ v }}

> {{ v }}
{{ v }}

| A | {{ v }} |
|---|---|
| {{ v }} | x{{ v }} |

{{ v }}
x

{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice(v) }} {{ v ~ twice(v) }}
{% set block %}{{ v }}{% endset %}{{ block }}{{ [v, block]|join(v) }}{{ block|replace(
"a", v) }}

{{ v|e }} {{ v|safe }} {{ "%s %s"|format(v, block) }} {{ (v|e) + v }} {{ v|upper }}

{{ v }}"""
)


class Shape(HTMLParser):
    """The tags and links of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and where it leads."""
        self.tags.append(f"{tag} {attrs}")


def rendered(value: str) -> str:
    """Return the HTML of the template for a value."""
    return CONVERT(unmarked(PLACES.render(v=value, id="7")))


PLAIN = Shape(rendered("word")).tags
ATTACKS = [
    "[click](http://evil.example)",
    "![x](http://evil.example/x.png)",
    "<http://evil.example>",
    "<script>x</script>",
    "<b>bold</b>",
    "[a]: http://evil.example",
    "[a]",
    "](http://evil.example)",
    "# head",
    "#",
    "- item",
    "* item",
    "+ item",
    "1. item",
    "1) item",
    "123456789. item",
    "> quote",
    "    code",
    "\tcode",
    "```\ncode\n```",
    "~~~\ncode",
    "`code`",
    "*a* **b** _c_ __d__",
    "---",
    "***",
    "===",
    ":---",
    "| a | b |",
    "|---|---|",
    "a\n\n# b\n\n- c\n\n    d",
    "a\r\n\r\n- b",
    "a\u2028\u2028- b",
    "a\n===",
    "a\n---",
    "a  \nb",
    "end\\",
    "\\",
    "!",
    "a!",
    "&lt;b&gt;",
    "&#91;x&#93;(http://evil.example)",
    "&#10;&#10;# x",
    "\x0b\x0c- x",
    "{% raw %}",
    "{{ id }}",
]


@pytest.mark.parametrize("value", ATTACKS)
def test_row_adds_no_structure(value: str) -> None:
    """The page has the same elements and links as with a plain word."""
    assert PLAIN == Shape(rendered(value)).tags


@given(st.text(st.sampled_from("\\`*_[]()<>&!#|~+-=:.1 \n\t\rax\u2028/"), min_size=1))
def test_no_text_at_all_adds_structure(value: str) -> None:
    """Whatever is made of what means something in Markdown, between two words."""
    assert PLAIN == Shape(rendered(f"a{value}z")).tags


@given(st.text(min_size=1))
def test_text_that_begins_anyhow_adds_no_structure(value: str) -> None:
    """Whatever it begins with, if there is a word in it for the paragraphs to hold."""
    assert PLAIN == Shape(rendered(f"{value}z")).tags


@pytest.mark.parametrize("value", [a for a in ATTACKS if a.isprintable()])
def test_text_is_read_as_it_is(value: str) -> None:
    """The reader sees the value, not what it was escaped with."""
    html = CONVERT(unmarked(ENV.from_string("x{{ v }}y").render(v=value)))
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(html)
    parser.close()
    one_space = value.replace("    ", " ")
    assert f"x{one_space}y" == "".join(found).strip()


def test_template_itself_is_markdown() -> None:
    """With tables, lists, emphasis, code and hard breaks."""
    source = unmarked(ENV.from_string("a  \n**b**\n\n    c\n\n|d|\n|-|\n").render())
    assert "a  \n**b**\n\n    c\n\n|d|\n|-|" == source
    html = CONVERT(source)
    for element in ("<br />", "<strong>b</strong>", "<pre><code>c", "<th>d</th>"):
        assert element in html


def test_html_of_the_template_is_text() -> None:
    """Markdown is Markdown."""
    assert "<p>&lt;b&gt;x</p>\n" == CONVERT(unmarked(ENV.from_string("<b>x").render()))


def test_script_is_no_link() -> None:
    """Even where a row gives the whole address of a link of the template."""
    template = ENV.from_string("[x]({{ v }})")
    for value in ("javascript:alert(1)", "JaVaScRiPt:x", "data:text/html,x", "a b)"):
        assert "<a" not in CONVERT(unmarked(template.render(v=value)))


def test_code_shows_a_voucher_as_it_is() -> None:
    """Hyphens, digits and points are not escaped where they mean nothing."""
    source = unmarked(ENV.from_string("`{{ v }}`").render(v="03-18.41"))
    assert "<p><code>03-18.41</code></p>\n" == CONVERT(source)
