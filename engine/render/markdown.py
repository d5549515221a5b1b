"""Markdown bodies: structure comes from the template, never from a row.

How it works: as a template is read, each character of *its own text* that means
something in Markdown is exchanged for a lone surrogate, which no cell of a list can
hold (text there is UTF-8). So after a row has filled the template, whatever such
characters are still there came out of the row, by whatever filter, macro or
concatenation: they are escaped, and the template's are put back. An escaping that
marks the values instead would have to know every way in which Jinja joins them.

What a row's text cannot do, therefore: make a link, an image, emphasis, code, a
heading, a list, a table cell, HTML, or a new paragraph (its line ends become spaces).
Limits: within a code span the backslashes are seen (that of `A_1`; none of `A-1`);
`|safe` has no meaning here; a text in quotation marks in `{{ … }}` is a value, too.

HTML is made by markdown-it-py: CommonMark and tables, no HTML of the template's own. It
costs some 600 us for a message of 1 kB (2026-11-20), which is more than all the rest.

Source:
    CommonMark 0.31.2, sections 2.4 (backslash escapes) and 4 (blocks); the GitHub
    spec's tables and strikethrough, for converters other than ours.
"""

import re
from collections.abc import Callable, Iterator

from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

#: Characters that mean something wherever they stand.
_ANYWHERE = "\\`*_[]<>&!#|~(){}$^"
#: Those that do at the beginning of a block.
_AT_START = "-+=:."
#: Added to a character of a template; U+DC00 to U+DCFF are not text by themselves.
_BASE = 0xDC00
_OURS = {ord(c): _BASE + ord(c) for c in _ANYWHERE + _AT_START + "\n\t\r"}
_BACK = {mark: character for character, mark in _OURS.items()}
_SPACE = chr(_BASE + ord(" "))
_BACK[ord(_SPACE)] = ord(" ")

#: Spaces that mean something: before a line's first word, or two before its end.
_SPACES = re.compile(r"^ +|  +", re.MULTILINE)
#: White space of a row that could begin a line, or code.
_ENDS = r"\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029"
_WHITE = re.compile(f"[ {_ENDS}]*[{_ENDS}][ {_ENDS}]*|  +")
_SPECIAL = re.compile(f"[{re.escape(_ANYWHERE)}]")
#: What of a template can stand before the first word of a block or of a cell.
_BEFORE = "".join(chr(_BASE + ord(c)) for c in "\n\t\r -+*>#.):|")
_START = re.compile(
    f"(?:(?<![\\s\\S])|(?<=[{_BEFORE}])|(?<=[{_BEFORE}] ))"
    r"(?:([0-9]{1,9})([.])|([-+=:]))"
)
_LEADING = re.compile(f"((?<![\\s\\S])|[{_SPACE}{chr(_BASE + 10)}]) +")


class Marks(Extension):
    """Exchanges what means something in a template's own text."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """Yield a template's tokens, its text with marks."""
        for token in stream:
            if token.type == "data":
                text = _SPACES.sub(lambda run: _SPACE * len(run[0]), token.value)
                yield Token(token.lineno, "data", text.translate(_OURS))
            else:
                yield token


def unmarked(filled: str) -> str:
    """Return the Markdown of a filled template, what came out of the row escaped."""
    text = _WHITE.sub(" ", filled)
    text = _LEADING.sub(r"\1", text)
    text = _SPECIAL.sub(r"\\\g<0>", text)
    text = _START.sub(r"\1\\\2\3", text)
    return text.translate(_BACK)


def converter() -> Callable[[str], str]:
    """Return what makes HTML of Markdown. Loads markdown-it-py."""
    from markdown_it import MarkdownIt  # noqa: PLC0415 - only where a campaign uses it

    convert = MarkdownIt("commonmark", {"html": False}).enable("table")
    return lambda text: str(convert.render(text))
