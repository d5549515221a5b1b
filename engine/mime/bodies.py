"""A column of parts: what its texts share is encoded once.

A message has a few lines for itself, and most are those of its template: these stand
together between them, and need no look at all.

    Hello Zoë,            encoded for each, and remembered: many are alike
    we open at nine,
    by the harbour.       encoded once, for all
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, cast

from engine.mime.body import Body, Lines, body, line, several, wholes
from engine.texts import Piece, Texts, inside, joined, read

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

#: Bytes of lines of one message that are remembered, for there may be another.
_REMEMBERED = 1 << 9
_NOTHING: Final = line("")


def bodies(texts: Sequence[str]) -> list[Body]:
    """Encode texts, each as `body` does."""
    if not isinstance(texts, Texts):
        return [*map(body, texts)]
    shared = b"".join([piece for piece in texts.pieces if isinstance(piece, bytes)])
    columns = [*_columns(len(texts), texts.pieces)]
    own = [column for column in columns if not isinstance(column, Lines)]
    if b"\\r" in shared or not own:
        return [*map(body, texts)]
    alone: set[int] = set()
    for column in own:
        if not all(column):
            alone.update(at for at, lines in enumerate(column) if not lines)
            column[:] = [lines or _NOTHING for lines in column]
    made = wholes(cast("list[Lines | list[Lines]]", columns))
    for place in alone:
        made[place] = body(texts[place])
    return made


def _columns(
    number: int, pieces: Sequence[Piece]
) -> Iterator[Lines | list[Lines | None]]:
    """Yield the lines of texts: those that all share, and a column of each other.

    None stands for what can only be encoded with all else.
    """
    begun: list[Piece] = []  # what there is so far of the present line
    for piece in pieces:
        if not isinstance(piece, bytes):
            begun.append(piece)
            continue
        first, between, last = _shared(piece)
        begun.append(first)
        if last is not None:
            yield _each(_inner, joined(number, begun))
            if between is not None:
                yield between
            begun = [last]
    if begun != [b""]:
        yield _each(_last, joined(number, begun))


@lru_cache(64)  # the same in every chunk of a run
def _shared(piece: bytes) -> tuple[bytes, Lines | None, bytes | None]:
    """Cut what all share: the end of a line, whole lines, the beginning of another."""
    first, *others = read(piece).split("\n")
    if not others:
        return piece, None, None
    *between, last = others
    return inside(first), several(between) if between else None, inside(last)


def _each(
    encode: "_lru_cache_wrapper[Lines | None]", insides: Iterable[bytes]
) -> list[Lines | None]:
    """Encode what stands between the lines that all share, or behind them."""
    found = [*insides]
    is_short = max(map(len, found), default=0) <= _REMEMBERED
    return [*map(encode if is_short else encode.__wrapped__, found)]


@lru_cache(8192)
def _inner(inside: bytes) -> Lines | None:
    return _alone(read(inside))


@lru_cache(8192)
def _last(inside: bytes) -> Lines | None:
    """Likewise what ends a text; where that is nothing, the line before ends it."""
    return _alone(read(inside).removesuffix("\n")) if inside else None


def _alone(text: str) -> Lines | None:
    if "\r" in text:
        return None
    return several(text.split("\n")) if "\n" in text else line(text)
