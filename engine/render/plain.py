"""The text part of a message, made from its HTML.

Blocks become lines, links keep their address behind them, `Choose a book <https://…>`,
pictures become their description, and what nobody sees (`display:none`, `aria-hidden`)
is left out. Cells of one row stand side by side; those of a layout, which have blocks
in them, below one another.

Written over lxml, which html2text and inscriptis would take 1.1 and 0.8 ms a message
for, and 0.25 ms here (3.2 kB of HTML with nested tables, 2026-11-20); a template for
the text part costs some 5 us, so a large campaign has one.
"""

import re
from collections.abc import Callable
from typing import Any

from lxml import etree  # type: ignore[import-untyped]

#: Elements with a blank line before and after, and those with just a new line.
_APART = {
    "blockquote", "center", "dl", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "ol",
    "p", "pre", "table", "ul",
}  # fmt: skip
_BLOCKS = {
    "address", "article", "aside", "body", "caption", "dd", "div", "dt", "fieldset",
    "figcaption", "footer", "form", "header", "html", "li", "main", "nav", "section",
    "tbody", "tfoot", "thead", "tr",
}  # fmt: skip
_UNSEEN = {
    "area", "audio", "base", "button", "col", "colgroup", "head", "input", "link",
    "map", "meta", "noscript", "object", "script", "select", "style", "svg",
    "template", "textarea", "title", "video",
}  # fmt: skip
_CELLS = {"td", "th"}
_WHITE = re.compile(r"[ \t\n\r\f]+")
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_RULE = "-" * 20
#: What is no link for who reads the text by itself.
_NO_LINKS = ("#", "cid:", "javascript:")


def reader() -> Callable[[str], str]:
    """Return what makes text of HTML."""
    # Without huge_tree a very deep or long text would be left out, and nobody told.
    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True
    )

    def read(source: str) -> str:
        root = etree.fromstring(source.encode(), parser) if source.strip() else None
        if root is None:  # nothing but white space and comments
            return ""
        page = _Page()
        page.element(root)
        return page.text()

    return read


class _Page:
    """A text that grows line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line = ""
        #: Lines to begin before the next word: 0, 1, or 2 with a blank one.
        self._gap = 0
        self._margin = ""
        #: What stands in the margin of the next line alone: the mark of a list.
        self._mark = ""
        self._side_by_side = False

    def text(self) -> str:
        """Return it whole, with a line end."""
        self._end_line()
        return "\n".join(self._lines) + "\n" if self._lines else ""

    def element(self, element: Any) -> None:
        """Add an element, without what is behind it."""
        tag = element.tag
        if tag in _UNSEEN or _is_hidden(element):
            return
        if tag in _APART:
            self._break(2 if not self._margin or tag == "p" else 1)
            self._inner(tag, element)
            self._break(2 if not self._margin else 1)
        elif tag in _BLOCKS:
            self._break(1)
            self._inner(tag, element)
            self._break(1)
        elif tag in _CELLS:
            self._side_by_side = bool(self._line) and not self._gap
            self._children(element)
            self._side_by_side = False
        elif tag == "br":
            self._new_line()
        elif tag == "hr":
            self._break(1)
            self._words(_RULE)
            self._break(1)
        elif tag == "img":
            self._words(element.get("alt", ""))
        elif tag == "a":
            self._children(element)
            self._address(element)
        else:
            self._children(element)

    def _inner(self, tag: str, element: Any) -> None:
        margin = self._margin
        if tag == "pre":
            self._verbatim("".join(element.itertext()))
        elif tag in {"ul", "ol"}:
            self._list(element, ordered=tag == "ol")
        elif tag == "blockquote":
            self._margin = margin + "> "
            self._children(element)
        else:
            self._children(element)
        self._end_line()
        self._margin = margin

    def _children(self, element: Any) -> None:
        if element.text:
            self._words(element.text)
        for child in element:
            self.element(child)
            if child.tail:
                self._words(child.tail)

    def _list(self, element: Any, *, ordered: bool) -> None:
        margin, number = self._margin, 0
        for item in element:
            if item.tag == "li" and not _is_hidden(item):
                number += 1
                mark = f"{number}. " if ordered else "- "
                self._break(1)
                self._end_line()
                self._mark = margin + mark
                self._margin = margin + " " * len(mark)
                self._children(item)
                self._end_line()
                self._margin, self._mark = margin, ""
            else:
                self.element(item)

    def _address(self, element: Any) -> None:
        """Add where a link goes, unless its words say so."""
        address = (element.get("href") or "").strip()
        bare = address.removeprefix("mailto:").removeprefix("tel:")
        words = "".join(element.itertext()).strip()
        if bare and bare != words and not address.lower().startswith(_NO_LINKS):
            self._words(f" <{bare}>" if self._line else f"<{bare}>")

    def _words(self, text: str) -> None:
        text = _WHITE.sub(" ", text)
        if not text or (text == " " and (self._gap or not self._line)):
            return
        if self._gap:
            self._new_block()
        if self._side_by_side and text.strip():
            self._line = f"{self._line.rstrip()}  "
            self._side_by_side = False
        if text[0:1] == " " and (not self._line or self._line[-1] == " "):
            text = text[1:]
        self._line += text

    def _verbatim(self, text: str) -> None:
        for line in text.strip("\n").split("\n"):
            if self._gap:
                self._new_block()
            self._line = line
            self._new_line()

    def _break(self, gap: int) -> None:
        self._gap = max(self._gap, gap)

    def _new_block(self) -> None:
        """End the line, and the blank one that was asked for."""
        gap = self._gap
        self._end_line()
        if gap > 1 and self._lines and self._lines[-1].strip(" >"):
            self._lines.append(self._margin.rstrip())
        self._gap = 0

    def _end_line(self) -> None:
        if self._line.strip():
            self._new_line()
        self._line = ""

    def _new_line(self) -> None:
        line = self._line.replace("\xa0", " ").rstrip()
        self._lines.append(((self._mark or self._margin) + line).rstrip())
        self._line = self._mark = ""


def _is_hidden(element: Any) -> bool:
    style = element.get("style")
    return (
        (style is not None and _HIDDEN.search(style) is not None)
        or element.get("hidden") is not None
        or element.get("aria-hidden") == "true"
    )
