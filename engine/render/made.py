"""The parts of many messages while they are made, and what is amiss with them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import methodcaller

from engine.message import HEADER_UNSAFE
from engine.texts import Texts

_BLANK_BEFORE = methodcaller("startswith", b" ")
_BLANK_BEHIND = methodcaller("endswith", b" ")


class Made:
    """The parts of many messages, and the places at which something is amiss.

    Args:
        subjects: as they were filled; None where that failed.

    Attributes:
        subjects: without the white space around them.
        htmls: None where there is no such part; likewise the others.
        texts: likewise.
        markdowns: likewise.
    """

    def __init__(self, subjects: Sequence[str | None]) -> None:
        self._amiss: set[int] = set()
        column = self.filled(subjects)
        #: Subjects in which nothing is amiss, nor to be taken away.
        self._fit = column if _are_headers(column) else None
        self.subjects = self._fit or [subject.strip() for subject in column]
        self.htmls: Sequence[str] | None = None
        self.texts: Sequence[str] | None = None
        self.markdowns: Sequence[str] | None = None

    def filled(self, column: Texts | Sequence[str | None]) -> Sequence[str]:
        """Note the places at which nothing is that could be sent, and put "" there."""
        if isinstance(column, Texts):
            return column
        sound = [*map(_sound, column)]
        self._amiss.update(at for at, text in enumerate(sound) if text is None)
        return [text or "" for text in sound]

    def each(
        self, column: Sequence[str | None], make: Callable[[str], str]
    ) -> list[str | None]:
        """Make another column of one; None where that fails."""
        made: list[str | None] = []
        for text in column:
            try:
                made.append(None if text is None else make(text))
            except Exception:  # noqa: BLE001 - whatever it is, the row fails
                made.append(None)
        return made

    def doubtful(self, names: list[str]) -> set[int]:
        """Return the places that have to be looked at one by one."""
        found = set(self._amiss)
        for column in (self.subjects, names):
            if column is self._fit:
                continue
            whole = "".join(column)
            # What may not stand there cannot be printed, which is found out faster.
            if not whole.isprintable() and HEADER_UNSAFE.search(whole):
                found.update(n for n, t in enumerate(column) if HEADER_UNSAFE.search(t))
        return found

    def put(self, bodies: Mapping[int, tuple[str, str, str, str]]) -> None:
        """Put in what some rows have after all, by place.

        Args:
            bodies: subject, HTML, text and Markdown of each.
        """
        if not bodies:
            return
        for part, name in enumerate(("subjects", "htmls", "texts", "markdowns")):
            column = getattr(self, name)
            if column is not None:
                column = [*column]
                for place, texts in bodies.items():
                    column[place] = texts[part]
                setattr(self, name, column)


def _are_headers(column: Sequence[str]) -> bool:
    """Tell whether texts are surely fit to be headers as they are, by their pieces.

    They are where nothing has to be escaped in JSON, all can be printed, and no white
    space is around them: what cannot be printed is white space, too, but for the blank.
    """
    if not isinstance(column, Texts):
        return False
    pieces = [{p} if isinstance(p, bytes) else {*p} for p in column.pieces if p != b""]
    if _may_be_blank(_BLANK_BEFORE, pieces) or _may_be_blank(
        _BLANK_BEHIND, pieces[::-1]
    ):
        return False
    whole = b"".join(set[bytes]().union(*pieces))
    if b"\\" in whole:
        return False
    return b"\x7f" not in whole if whole.isascii() else whole.decode().isprintable()


def _may_be_blank(
    is_blank: Callable[[bytes], bool], pieces: Sequence[Collection[bytes]]
) -> bool:
    """Tell whether the first character of some text may be a blank, or none is there.

    Where a piece may be empty, that is up to the next. From behind, likewise the last.
    """
    for texts in pieces:
        if any(map(is_blank, texts)):
            return True
        if all(texts):
            return False
    return True


def _sound(text: str | None) -> str | None:
    """Return a text, unless it has half a surrogate pair: that is no JSON, no mail."""
    try:
        if text is not None:
            text.encode()
    except UnicodeEncodeError:
        return None
    return text
