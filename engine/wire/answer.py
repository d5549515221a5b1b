"""Reads the answers of one connection as they come, with httptools.

httptools does not tell where in its input an answer ended. So the last byte of all
that came is fed on its own: an answer that ends before it is followed by something,
which may be given to nobody as an answer. Most answers come whole and are as long as
their heads say, which takes one look and half the time. Nor does it tell what the end
of a connection means: it ends an answer whose head announces no length, and cuts off
every other.

Rules: an answer of two lengths, or whose head does not end, is no answer. 1xx are
skipped, but 101, which nobody asked for.
"""

import re
from typing import Final

import httptools

#: Bytes in a row that are no part of a body: heads, trailers, the words around chunks.
_HEAD_CAP: Final = 1 << 16
_FIRST_FINAL: Final = 200
_PASSED_OVER: Final = (100, *range(102, 200))
_FIRST_REFUSAL: Final = 300
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]{1,12})\r\n")


class BadAnswer(Exception):
    """What came is no HTTP, or ended too early."""


class AnswerTooLong(Exception):
    """A body is longer than it may be.

    Attributes:
        status: of the answer.
    """

    def __init__(self, cap: int, status: int) -> None:
        super().__init__(f"the answer is longer than {cap} bytes")
        self.status = status


class Reader:
    """Reads one answer after the other; what comes after a bad one is not readable.

    Attributes:
        status: of the answer, or 0 as long as its head is not complete.
        reason: the words after the status.
        headers: names and values as they came.
        complete: whether the answer is there whole.
        keeps_alive: whether the server lets the connection be used again.
        overrun: whether something came after the answer.
    """

    __slots__ = (
        "_cap",
        "_dry",
        "_head_only",
        "_parser",
        "_pieces",
        "_size",
        "complete",
        "headers",
        "keeps_alive",
        "overrun",
        "reason",
        "status",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self, *, cap: int | None = None, head_only: bool = False) -> None:
        """Get ready for the next answer.

        Args:
            cap: bytes that its body may have; None: any number.
            head_only: it is the answer to HEAD.
        """
        self._cap = cap
        self._head_only = head_only
        self._pieces: list[bytes] = []
        self._size = 0
        self._dry = 0
        self.status = 0
        self.reason = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.keeps_alive = False
        self.overrun = False

    @property
    def http_version(self) -> str:
        """The version of the answer's protocol, as in `1.1`."""
        return self._parser.get_http_version()

    @property
    def refuses(self) -> bool:
        """Whether the head says that the request is not wanted."""
        return self.status >= _FIRST_REFUSAL

    def take(self) -> bytes:
        """Return what has come of the body since the last call."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed(self, data: bytes) -> None:
        """Read what came; at least one byte.

        Raises:
            BadAnswer: it is no HTTP, or a head that does not end.
            AnswerTooLong: the body is longer than its cap.
        """
        fresh = not self._dry
        self._dry += len(data)
        try:
            if fresh and _ends_with(data):
                self._parser.feed_data(data)
            else:
                self._feed_apart(data)
        except httptools.HttpParserError as error:
            # What comes after an answer need not be HTTP.
            if not self.complete:
                raise BadAnswer(f"no HTTP: {error}") from error
            self.overrun = True
        if self._cap is not None and self._size > self._cap:
            raise AnswerTooLong(self._cap, self.status)
        if self._dry > _HEAD_CAP and not self.complete:
            raise BadAnswer(f"the head is longer than {_HEAD_CAP} bytes")

    def _feed_apart(self, data: bytes) -> None:
        """Feed the last byte on its own."""
        view = memoryview(data)
        if len(data) > 1:
            self._parser.feed_data(view[:-1])
        if self.complete:
            self.overrun = True
        else:
            self._parser.feed_data(view[-1:])

    def end(self) -> None:
        """Take the end of the connection for the end of the answer.

        Raises:
            BadAnswer: it is none.
        """
        if not self.status:
            raise BadAnswer("the server hung up before it answered")
        if not self._ends_with_connection():
            raise BadAnswer("the server hung up in the middle of its answer")
        self.complete = True

    def _ends_with_connection(self) -> bool:
        names = {name.lower(): value.lower() for name, value in self.headers}
        if b"content-length" in names:
            return False
        return not names.get(b"transfer-encoding", b"").endswith(b"chunked")

    # What httptools calls. After a complete answer it may go on to the next.

    def on_message_begin(self) -> None:
        """Begin an answer, or the first after a 1xx."""
        if self.complete:
            raise BadAnswer("another answer")

    def on_status(self, reason: bytes) -> None:
        """Take a piece of the words after the status."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer, which is dropped."""
        if not self.status:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the head, unless another one is to follow."""
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL:
            if status not in _PASSED_OVER:
                raise BadAnswer(f"status {status}")
            self.headers, self.reason = [], b""
            return
        self.status = status
        if self._head_only:
            self.complete = True

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if not self.complete:
            self._pieces.append(piece)
            self._size += len(piece)
            self._dry = 0

    def on_message_complete(self) -> None:
        """Take the end of an answer, or of a 1xx."""
        if self.status and not self.complete:
            self.keeps_alive = self._parser.should_keep_alive()
            self.complete = True


def _ends_with(data: bytes) -> bool:
    """Whether an answer that begins here ends here, too, if its head is to be trusted.

    Whatever else the parser finds in it: a length and its end are all it can end by.
    """
    body = data.find(b"\r\n\r\n") + 4
    found = _LENGTH.search(data, 0, body)
    return found is not None and body + int(found[1]) == len(data)
