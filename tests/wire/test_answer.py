"""Claims about `engine.wire.answer`: an answer is read as it was meant, or not."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.wire.answer import AnswerTooLong, BadAnswer, Reader

OK = b"HTTP/1.1 200 OK\r\n"
PLAIN = OK + b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

#: Answers that end by themselves: what comes, status, body, may there be another one.
WHOLE = {
    "length": (PLAIN, 200, b"ok", True),
    "empty": (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "chunks": (CHUNKED + b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, b"ok", True),
    "trailers": (CHUNKED + b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", 200, b"ok", True),
    "extensions": (CHUNKED + b'2;a="b"\r\nok\r\n0\r\n\r\n', 200, b"ok", True),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "304": (b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, 200, b"ok", True),
    "103": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + PLAIN,
        200,
        b"ok",
        True,
    ),
    "close": (
        b"HTTP/1.1 500 X\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        500,
        b"ok",
        False,
    ),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    "1.0 kept": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
}
#: What can follow an answer: all of it belongs to nobody.
REST = [b"\r\n", b"H", b"x", b" and more", b"0", PLAIN, PLAIN[:20], b"\0", b"\n"]


def read(data: bytes, *, cuts: list[int] | None = None, cap: int = 1000) -> Reader:
    """Read what came in pieces that end at some places."""
    reader = Reader()
    reader.begin(cap=cap)
    places = [0, *sorted(cuts or []), len(data)]
    for start, end in pairwise(places):
        if start < end:
            reader.feed(data[start:end])
    return reader


@pytest.mark.parametrize(("data", "status", "body", "kept"), WHOLE.values(), ids=WHOLE)
def test_an_answer_is_read_to_its_end(
    data: bytes, status: int, body: bytes, *, kept: bool
) -> None:
    """Each framing gives status and body, and says whether another may follow."""
    reader = read(data)
    assert reader.complete
    assert not reader.overrun
    assert (reader.status, reader.take()) == (status, body)
    assert reader.keeps_alive is kept


@pytest.mark.parametrize("data", [whole[0] for whole in WHOLE.values()], ids=WHOLE)
def test_an_answer_ends_with_its_last_byte_and_no_sooner(data: bytes) -> None:
    """Without its last byte no answer is complete."""
    reader = read(data[:-1])
    assert not reader.complete
    reader.feed(data[-1:])
    assert reader.complete


@given(
    whole=st.sampled_from(list(WHOLE.values())),
    cuts=st.lists(st.integers(0, 120), max_size=12),
)
def test_segments_do_not_matter(
    whole: tuple[bytes, int, bytes, bool], cuts: list[int]
) -> None:
    """However the network cuts an answer, it is the same, and nothing is left over."""
    data, status, body, kept = whole
    reader = read(data, cuts=[min(cut, len(data)) for cut in cuts])
    assert (reader.status, reader.take()) == (status, body)
    assert (reader.complete, reader.overrun, reader.keeps_alive) == (True, False, kept)


@given(
    whole=st.sampled_from(list(WHOLE.values())),
    rest=st.sampled_from(REST) | st.binary(min_size=1, max_size=40),
)
def test_a_byte_too_many_is_seen(
    whole: tuple[bytes, int, bytes, bool], rest: bytes
) -> None:
    """Whatever follows an answer at once, the answer stays, and the rest shows."""
    data, status, body, _ = whole
    reader = read(data + rest)
    assert (reader.status, reader.take()) == (status, body)
    assert (reader.complete, reader.overrun) == (True, True)


def test_one_reader_reads_answer_after_answer() -> None:
    """Nothing of an answer is left for the next one on the same connection."""
    reader = Reader()
    for data, status, body, kept in WHOLE.values():
        reader.begin()
        reader.feed(data)
        assert (reader.status, reader.take(), reader.complete) == (status, body, True)
        if not kept:
            reader = Reader()


def test_headers_are_the_answers_own() -> None:
    """What came with a 103, or behind a chunked body, is not among them."""
    data, *_ = WHOLE["103"]
    assert read(data).headers == [(b"Content-Length", b"2")]
    data, *_ = WHOLE["trailers"]
    assert read(data).headers == [(b"Transfer-Encoding", b"chunked")]


@pytest.mark.parametrize(
    "data",
    [
        b"220 mail.example ESMTP ready\r\n\r\n",
        b"<html>\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"POST / HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        OK + b"Content-Length: -2\r\n\r\nok",
        OK + b"Content-Length: 2x\r\n\r\nok",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\nok",
        CHUNKED + b"zz\r\nok\r\n",
        CHUNKED + b"2\r\nokk\r\n",
    ],
)
def test_what_is_no_answer_is_not_read(data: bytes) -> None:
    """Garbage, other protocols and contradictions are refused."""
    with pytest.raises(BadAnswer):
        read(data)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.0 200 OK\r\n\r\n", OK + b"\r\n", OK + b"Connection: close\r\n\r\n"],
)
def test_an_answer_without_a_length_ends_with_its_connection(head: bytes) -> None:
    """The end of the connection is the end of such an answer, and none may follow."""
    reader = read(head + b"o")
    reader.feed(b"k")
    assert not reader.complete
    reader.end()
    assert (reader.complete, reader.take(), reader.keeps_alive) == (True, b"ok", False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 20",
        OK + b"Content-Le",
        OK + b"Content-Length: 3\r\n\r\nok",
        OK + b"CONTENT-LENGTH: 3\r\nConnection: close\r\n\r\nok",
        CHUNKED + b"2\r\nok",
        CHUNKED + b"2\r\nok\r\n",
        CHUNKED + b"2\r\nok\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_end_that_comes_too_early_is_told(data: bytes) -> None:
    """A connection that ends amid an answer with a length has cut it off."""
    reader = read(data)
    with pytest.raises(BadAnswer, match="hung up"):
        reader.end()


def test_a_body_has_a_cap() -> None:
    """One byte more than the cap is too much, however long the answer claims to be."""
    assert read(PLAIN, cap=2).complete
    with pytest.raises(AnswerTooLong) as caught:
        read(PLAIN, cap=1)
    assert caught.value.status == 200


@pytest.mark.parametrize(
    ("before", "again"),
    [
        (OK, b"X-More: " + b"y" * 900 + b"\r\n"),
        (OK + b"X-More: ", b"y" * 1000),
        (b"", b"HTTP/1.1 103 Early Hints\r\nX-More: y\r\n\r\n"),
        (CHUNKED + b"2\r\nok\r\n0\r\n", b"X-More: " + b"y" * 900 + b"\r\n"),
        (CHUNKED + b"2;", b"y" * 1000),
    ],
    ids=["headers", "header", "hints", "trailers", "extension"],
)
def test_a_head_without_end_is_given_up(before: bytes, again: bytes) -> None:
    """Whatever is no body is bounded, wherever it stands."""
    reader = Reader()
    reader.begin(cap=1000)
    if before:
        reader.feed(before)
    with pytest.raises(BadAnswer, match="longer than"):
        feed_over_and_over(reader, again, size=1 << 17)


def feed_over_and_over(reader: Reader, data: bytes, *, size: int) -> None:
    """Feed the same again and again, so many bytes in all."""
    for _ in range(0, size, len(data)):
        reader.feed(data)


def test_an_answer_to_head_has_no_body() -> None:
    """The length that HEAD tells is the one that GET would have."""
    reader = Reader()
    reader.begin(head_only=True)
    reader.feed(OK + b"Content-Length: 1000\r\n\r\n")
    assert (reader.complete, reader.overrun, reader.take()) == (True, False, b"")
