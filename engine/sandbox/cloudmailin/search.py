"""The language of `query`, and pages of lists.

CloudMailin calls it a query string and its own tools write Elasticsearch's. Taken here
is that language's core: words, `"phrases"`, `field:word`, with `AND` and `OR` between
them; nothing between them is `OR`, and `AND` binds closer. A word alone is looked for
in every field. Ids and tags must be equal to the word, other fields contain it; case is
ignored. Brackets, `NOT` and wildcards are refused rather than misread.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

from engine.sandbox.cloudmailin.form import Ask, Flaw

#: Items on a page. The documents call the number fixed and do not tell it.
PAGE_SIZE = 25

_EXACT = frozenset(("id", "message_id", "tags", "test_mode", "status"))
_TOKEN = re.compile(r'(?:(\w+):)?(?:"([^"]*)"|([^\s"()*?]+))').match
_Item = TypeVar("_Item")
_Term: TypeAlias = tuple[str | None, str]


class Query:
    """What a list is searched for; an empty one matches everything.

    Raises:
        Flaw: the text is not in the language.
    """

    def __init__(self, text: str) -> None:
        self._groups: list[list[_Term]] = []
        joined = False
        rest = text.strip()
        while rest:
            token = _TOKEN(rest)
            if token is None:
                raise Flaw(422, f"query cannot be read at: {rest}")
            rest = rest[token.end() :].lstrip()
            if token[0] in {"AND", "OR"}:
                joined = token[0] == "AND"
                continue
            if token[0] == "NOT" or token[0].startswith("-"):
                raise Flaw(422, f"query cannot be read at: {token[0]}")
            term = token[1], (token[2] if token[3] is None else token[3]).lower()
            if joined and self._groups:
                self._groups[-1].append(term)
            else:
                self._groups.append([term])
            joined = False

    def matches(self, item: Mapping[str, object]) -> bool:
        """Say whether an item of a list is looked for."""
        return not self._groups or any(
            all(_holds(item, term) for term in group) for group in self._groups
        )


def newest(items: Iterable[_Item], ask: Ask) -> list[_Item]:
    """Return a page of items that come oldest first, newest first.

    Raises:
        Flaw: `page` is no whole number from 1.
    """
    page = _page(ask)
    last = deque(items, maxlen=page * PAGE_SIZE)
    rest = len(last) - (page - 1) * PAGE_SIZE
    return [last[place] for place in reversed(range(max(rest, 0)))]


def _page(ask: Ask) -> int:
    text = ask.query.get("page", "1")
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise Flaw(422, "page must be a whole number from 1")
    return int(text)


def _holds(item: Mapping[str, object], term: _Term) -> bool:
    name, word = term
    if name is not None:
        return _is_in(name, item.get(name), word)
    return any(_is_in(each, value, word) for each, value in item.items())


def _is_in(name: str, value: object, word: str) -> bool:
    if isinstance(value, list):
        return any(_is_in(name, each, word) for each in value)
    if value is None or isinstance(value, dict):
        return False
    text = str(value).lower()
    return text == word if name in _EXACT else word in text
