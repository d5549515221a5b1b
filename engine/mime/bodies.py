"""A column of parts: what its texts share is encoded once.

A message has a few lines for itself, and most are those of its template: these stand
together between them, and need no look at all.

    Hello Zoë,            encoded for each, and remembered: many are alike
    we open at nine,
    by the harbour.       encoded once, for all
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import count, repeat
from typing import cast

from engine.mime.body import Body, Lines, body, line, several, whole
from engine.texts import Piece, Texts, inside, joined, read

#: Bytes of lines of one message that are remembered, for there may be another.
_REMEMBERED = 1 << 9


def bodies(texts: Sequence[str]) -> Iterable[Body]:
    """Encode texts, each as `body` does."""
    if not isinstance(texts, Texts):
        return map(body, texts)
    shared = b"".join([piece for piece in texts.pieces if isinstance(piece, bytes)])
    columns = [*_columns(len(texts), texts.pieces)]
    if b"\\r" in shared or not columns:
        return map(body, texts)
    return map(partial(_joined, texts), count(), zip(*columns, strict=True))


def _joined(texts: Texts, place: int, parts: Sequence[Lines | None]) -> Body:
    if None in parts:
        return body(texts[place])
    return whole(cast("Sequence[Lines]", parts))


def _columns(number: int, pieces: Sequence[Piece]) -> Iterator[Iterable[Lines | None]]:
    """Yield the lines of texts: those that all share, and a column of each other.

    None stands for what can only be encoded with all else.
    """
    begun: list[Piece] = []  # what there is so far of the present line
    for piece in pieces:
        if not isinstance(piece, bytes):
            begun.append(piece)
            continue
        first, *others = read(piece).split("\n")
        begun.append(inside(first))
        if others:
            yield map(_own, joined(number, begun))
            *between, last = others
            if between:
                yield repeat(several(between), number)
            begun = [inside(last)]
    if begun != [b""]:
        yield map(_last, joined(number, begun))


def _own(inside: bytes) -> Lines | None:
    """Encode what stands between the lines that all share."""
    return (_encoded_again if len(inside) <= _REMEMBERED else _encoded)(inside)


def _last(inside: bytes) -> Lines | None:
    """Likewise what ends a text; where that is nothing, the line before ends it."""
    if not inside:
        return None
    return (_ended_again if len(inside) <= _REMEMBERED else _ended)(inside)


def _encoded(inside: bytes) -> Lines | None:
    return _alone(read(inside))


def _ended(inside: bytes) -> Lines | None:
    return _alone(read(inside).removesuffix("\n"))


def _alone(text: str) -> Lines | None:
    if "\r" in text:
        return None
    return several(text.split("\n")) if "\n" in text else line(text)


_encoded_again = lru_cache(8192)(_encoded)
_ended_again = lru_cache(8192)(_ended)
