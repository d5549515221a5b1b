"""What a reader of a message sees: links, pictures and text."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree  # type: ignore[import-untyped]

_HIDDEN: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])"
    r"|opacity\s*:\s*0(?![.\d])|mso-hide\s*:\s*all",
    re.IGNORECASE,
)
_WHITE: Final = re.compile(r"\s+")
_UNSEEN: Final = frozenset({"head", "script", "style", "title", "template"})
_URL: Final = re.compile(r"https?://[^\s<>\"')\]]+", re.IGNORECASE)
#: The way out, in the languages of those who have told us; and "opt out".
_WAY_OUT: Final = re.compile(
    r"unsubscri|opt[ -]?out|abmeld|abbestell|austragen|d[ée]sabonn|d[ée]sinscri"
    r"|darse de baja|cancelar (?:la |tu )?su[bs]+cri|descadastr|disiscri|cancella"
    r"|uitschrijv|afmeld|avmeld|avregistr|avsluta prenum|peruuta|wypis|rezygn"
    r"|odhl[áa][sš]|odjav|leiratkoz|dezabon|отпис|відпис|απεγγραφ|διαγραφ"
    r"|退订|退訂|配信停止|購読解除|수신거부|구독 ?취소|إلغاء الاشتراك",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Link:
    """A link.

    Attributes:
        url: where it leads.
        text: what is shown of it.
        is_seen: whether it is shown at all.
    """

    url: str
    text: str
    is_seen: bool = True

    @property
    def is_way_out(self) -> bool:
        """Whether it says that one can unsubscribe by it."""
        return bool(_WAY_OUT.search(self.url) or _WAY_OUT.search(self.text))


@dataclass(frozen=True, slots=True)
class Page:
    """What a body holds.

    Attributes:
        text: what is seen, in one line.
        links: in their order.
        pictures: addresses of pictures.
    """

    text: str
    links: tuple[Link, ...]
    pictures: tuple[str, ...] = ()


def of_text(source: str) -> Page:
    """Read a plain text; a link is told by the lines around it."""
    lines = source.splitlines()
    links = []
    for place, line in enumerate(lines):
        for found in _URL.finditer(line):
            around = " ".join(lines[max(0, place - 2) : place + 1])
            links.append(Link(found[0].rstrip(".,;:!?"), around))
    return Page(_one_line(source), tuple(links))


def reader() -> Callable[[str], Page]:
    """Return what reads HTML."""
    parser = etree.HTMLParser(
        encoding="utf-8", remove_comments=True, remove_pis=True, huge_tree=True
    )

    def read(source: str) -> Page:
        root = etree.fromstring(source.encode(), parser) if source.strip() else None
        if root is None:
            return Page("", ())
        links = []
        pictures = []
        for element, is_seen in _walk(root, is_seen=True):
            if element.tag == "a" and element.get("href"):
                links.append(_link(element, is_seen=is_seen))
            if element.tag == "img" and element.get("src"):
                pictures.append(element.get("src"))
        return Page(_one_line(_in_order(root)), tuple(links), tuple(pictures))

    return read


def _walk(element: Any, *, is_seen: bool) -> Iterator[tuple[Any, bool]]:
    """Yield an element and all in it, and whether each is seen."""
    waiting = [(element, is_seen)]
    while waiting:
        node, seen = waiting.pop()
        seen = seen and not _is_hidden(node)
        yield node, seen
        waiting += [(child, seen) for child in reversed(node)]


def _is_hidden(element: Any) -> bool:
    style = element.get("style") or ""
    return (
        element.tag in _UNSEEN
        or element.get("hidden") is not None
        or bool(_HIDDEN.search(style))
    )


def _link(element: Any, *, is_seen: bool) -> Link:
    shown = _one_line(_in_order(element))
    return Link(element.get("href").strip(), shown, is_seen and bool(shown))


def _in_order(root: Any) -> str:
    """Return what is seen of an element, in its order."""
    parts: list[str] = []
    # Not by recursion: a mail of nested tables may be deeper than Python's stack.
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        tail = [] if node is root else [node.tail or ""]
        waiting += tail
        if _is_hidden(node):
            continue
        parts += [" ", node.text or "", node.get("alt") or ""]
        waiting += reversed(list(node))
    return "".join(parts)


def _one_line(text: str) -> str:
    return _WHITE.sub(" ", text).strip()
