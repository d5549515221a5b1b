"""Claims about `engine.render.plain`: what is left of HTML when only text is shown."""

import pytest

from engine.render.plain import reader

READ = reader()


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("  \n", ""),
        ("<!-- nothing -->", ""),
        ("hello", "hello\n"),
        ('<p>a</p><img src="cid:x"><img alt="">', "a\n"),
        ("<p>one</p><p>two</p>", "one\n\ntwo\n"),
        ("<div>one</div><div>two</div>", "one\ntwo\n"),
        ("a<br>b<br><br>c", "a\nb\n\nc\n"),
        ("<p>  two \n words </p>", "two words\n"),
        ("<p>a <b>b</b> c<i>d</i></p>", "a b cd\n"),
        ("<h1>Head</h1>text", "Head\n\ntext\n"),
        ("a<hr>b", f"a\n{'-' * 20}\nb\n"),
        ("<ul><li>one<li>two</ul>after", "- one\n- two\n\nafter\n"),
        ("<ol><li>one<li>two</ol>", "1. one\n2. two\n"),
        ("<ul><li>a<ul><li>b</ul></ul>", "- a\n  - b\n"),
        ("<ul><li><p>a</p><p>b</p></ul>", "- a\n\n  b\n"),
        ("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b\n"),
        ("<pre>  a\n    b\n</pre>c", "  a\n    b\n\nc\n"),
        ("<table><tr><td>a<td>b<tr><td>c<td>d</table>", "a  b\nc  d\n"),
        ("<table><tr><td><p>a</p><td><p>b</p></table>", "a\n\nb\n"),
        ("&lt;b&gt; &amp; &eacute;&nbsp;x", "<b> & é x\n"),
        ("<p>ünï 😀</p>", "ünï 😀\n"),
    ],
)
def test_shape_of_the_text_follows_the_html(html: str, text: str) -> None:
    """Blocks are lines, and words stay words."""
    assert text == READ(html)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (
            '<a href="https://x.example/?a=1&amp;b">Go</a>',
            "Go <https://x.example/?a=1&b>",
        ),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example"),
        ('<a href="mailto:a@b.example">a@b.example</a>', "a@b.example"),
        ('<a href="mailto:a@b.example">us</a>', "us <a@b.example>"),
        ('<a href="https://x.example"><img src="cid:l"></a>', "<https://x.example>"),
        ('<a href="https://x.example"><img alt="Us"></a>', "Us <https://x.example>"),
        ('<a href="#top">up</a> <a>name</a>', "up name"),
        ('<a href="javascript:x()">x</a>', "x"),
    ],
)
def test_links_keep_their_address(html: str, text: str) -> None:
    """Behind their words, unless the words say it or it leads nowhere."""
    assert f"{text}\n" == READ(html)


@pytest.mark.parametrize(
    "hidden",
    [
        '<div style="color:red; DISPLAY : none">no</div>',
        "<p hidden>no</p>",
        '<span aria-hidden="true">no</span>',
        "<style>no</style>",
        "<script>no</script>",
        "<head><title>no</title></head>",
        "<!-- no -->",
    ],
)
def test_what_nobody_sees_is_left_out(hidden: str) -> None:
    """The line for inboxes, styles, scripts and decoration."""
    assert "seen\ntoo\n" == READ(f"<div>seen</div>{hidden}<div>too</div>")


@pytest.mark.parametrize(
    "declared",
    ['<?xml version="1.0" encoding="latin-1"?>', '<meta charset="latin-1">'],
)
def test_what_a_document_says_of_its_encoding_does_not_matter(declared: str) -> None:
    """It was decoded long ago."""
    assert "é\n" == READ(f"{declared}<p>é</p>")


def test_nothing_is_lost_of_a_long_text_or_of_deep_tables() -> None:
    """Beyond the limits that the parser has of itself."""
    words = "word " * 2_200_000
    assert words.rstrip() == READ(f"<p>{words}</p>").rstrip()
    deep = 300
    assert "x\n" == READ("<div>" * deep + "x" + "</div>" * deep)


def test_nesting_without_end_is_an_error_and_no_silence() -> None:
    """The row fails; it does not get an empty text."""
    with pytest.raises(RecursionError):
        READ("<div>" * 5000 + "x")
