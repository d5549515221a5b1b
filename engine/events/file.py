"""Events from a file: one post a line, or one JSON array of posts, of any length.

How it works: a line is handed to the provider's reading as it is. An array that spans
lines is taken apart object by object as its text comes in, so that neither form is ever
held whole.

Rules: nothing is mended and nothing passed over. A file with one broken line is refused
with the line's number: what comes after a line that was cut off may be missing too.
A byte order mark before the first of it, as editors on Windows write, means nothing.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import orjson

from engine.errors import EventsError
from engine.event import Event

Parse = Callable[[bytes], list[Event]]

#: Bytes of a line, or characters of an object in an array; a longer one is no post.
_LONGEST: Final = 16 << 20
_PIECE: Final = 1 << 16  # characters of an array read at a time
_GZIP: Final = b"\x1f\x8b"
_BLANK: Final = " \t\r\n"


def read(path: Path, parse: Parse) -> Iterator[Event]:
    """Read the events of a file in their order.

    Args:
        path: the file.
        parse: makes events of one post: see `engine.webhooks`.

    Raises:
        EventsError: it cannot be read, or holds what is no event; with its place.
    """
    try:
        with path.open("rb") as file:
            first = _marked(file.readline(_LONGEST)) or b"\n"
            while first.isspace():
                first = file.readline(_LONGEST)
        _refuse_compressed(path, first)
        posts = _items(path) if _opens_an_array(first) else _lines(path)
        for place, post in posts:
            try:
                yield from parse(post)
            except EventsError as error:
                raise EventsError(f"{place}: {error}", hint=_HINT) from error
    except OSError as error:
        raise EventsError(f"{path}: cannot be read: {error.strerror}") from error


_HINT: Final = "write one post of the provider a line, each as it came, and no other"


def _refuse_compressed(path: Path, first: bytes) -> None:
    if first.startswith(_GZIP):
        raise EventsError(
            f"{path}: is compressed with gzip",
            hint=f"unpack it first: gzip -dk {path}",
        )


def _marked(first: bytes) -> bytes:
    """Return the first line of a file without its byte order mark."""
    return first.removeprefix(codecs.BOM_UTF8)


def _opens_an_array(first: bytes) -> bool:
    """Tell an array that spans lines from a line that holds several posts."""
    if not first.lstrip().startswith(b"["):
        return False
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return True
    return False


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every line that is not blank, after its place."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, _LONGEST), b""), 1):
            if len(line) == _LONGEST:
                raise EventsError(
                    f"{path}:{number}: the line is longer than {_LONGEST >> 20} MiB"
                )
            post = _marked(line) if number == 1 else line
            if post.strip():
                yield f"{path}:{number}", post


def _items(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every object of an array, after its place."""
    with path.open(encoding="utf-8-sig") as file:
        array = _Array(path, file)
        array.expect("[")
        if array.found("]"):
            array.expect_end()
            return
        while True:
            yield f"{path}: event {array.number + 1}", array.object()
            if array.found("]"):
                array.expect_end()
                return
            array.expect(",")


class _Array:
    """The text of an array, of which only a piece is held.

    Attributes:
        number: objects read so far.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self.number = 0
        self._path = path
        self._file = file
        self._text = ""
        self._at = 0
        self._end_of = json.JSONDecoder().raw_decode

    def found(self, character: str) -> bool:
        """Take a character if it comes next, behind white space."""
        self._pass_blanks()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def expect(self, character: str) -> None:
        """Take a character, or refuse the file."""
        if not self.found(character):
            raise self._refusal(f'"{character}" is missing')

    def expect_end(self) -> None:
        """Refuse the file if more than white space follows."""
        self._pass_blanks()
        if self._at < len(self._text):
            raise self._refusal("something follows the array")

    def object(self) -> bytes:
        """Take the next object, as it is written."""
        self._pass_blanks()
        while True:
            try:
                _, end = self._end_of(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise self._refusal(f"is not JSON: {error}") from error
                continue
            written = self._text[self._at : end].encode()
            self._at = end
            self.number += 1
            return written

    def _pass_blanks(self) -> None:
        while True:
            text, end = self._text, len(self._text)
            while self._at < end and text[self._at] in _BLANK:
                self._at += 1
            if self._at < end or not self._more():
                return

    def _more(self) -> bool:
        """Read on; False at the end of the file."""
        try:
            piece = self._file.read(_PIECE)
        except UnicodeDecodeError as error:
            raise self._refusal("is not UTF-8") from error
        self._text = self._text[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _refusal(self, told: str) -> EventsError:
        return EventsError(f"{self._path}: after event {self.number}: {told}")
