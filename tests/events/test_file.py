"""Claims about `engine.events.file`: posts of any number, none of them broken."""

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import EventsError
from engine.events import read
from engine.webhooks.cloudmails import parse

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the file of events."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "events.jsonl"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def post(number: int) -> dict[str, object]:
    """Make a post that can be told from others; its text looks like JSON."""
    return {"event": "delivered", "message_id": f"{number}", "recipient": '{"é]},\\'}


def lines(count: int) -> str:
    """Write posts a line each."""
    return "".join(json.dumps(post(n)) + "\n" for n in range(count))


def ids(path: Path) -> list[str | None]:
    """Return the provider's ids of the events of a file, in order."""
    return [event.provider_id for event in read(path, parse)]


@pytest.mark.parametrize(
    "content",
    [
        lines(3),
        lines(3).removesuffix("\n"),
        lines(3).replace("\n", "\r\n\r\n"),
        json.dumps([post(0), post(1)]) + "\n" + json.dumps(post(2)),
        json.dumps([post(0), post(1), post(2)]),
        json.dumps([post(0), post(1), post(2)], indent=2),
        "\n [\n" + ",\n".join(json.dumps(post(n)) for n in range(3)) + "]\n\n",
        "["
        + ",".join(json.dumps([post(n)], ensure_ascii=False) for n in range(3))
        + "\n]",
    ],
    ids=["lines", "no end", "crlf", "many a line", "array", "pretty", "rows", "nested"],
)
def test_lines_and_arrays_hold_the_same(write: Write, content: str) -> None:
    """However the posts are laid out, the events are the same in the same order."""
    assert ids(write(content)) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "content",
    [
        lines(3),
        "\n" + lines(3),
        json.dumps([post(0), post(1), post(2)]),
        json.dumps([post(0), post(1), post(2)], indent=2),
        "\n" + json.dumps([post(0), post(1), post(2)], indent=2),
    ],
    ids=["lines", "blank first", "array", "pretty", "pretty, blank first"],
)
def test_a_byte_order_mark_before_it_all_means_nothing(
    write: Write, content: str
) -> None:
    """Editors on Windows write one; an error after it still has its right place."""
    marked = f"\ufeff{content}"
    assert ids(write(marked)) == ["0", "1", "2"]
    assert ids(write("\ufeff")) == []
    with pytest.raises(EventsError, match=":2: is not JSON"):
        ids(write("\ufeff{}\nrow,status\n"))


@pytest.mark.parametrize("content", ["", "\n\n", "[]", "[\n]", " [ \n\n ] \n", "{}\n"])
def test_nothing_is_no_event(write: Write, content: str) -> None:
    """An empty file, an empty array and a ping are read and hold nothing."""
    assert ids(write(content)) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"event":"delivered"', ":3: is not JSON"),
        ('{"message_id":"1"}', ':3: is no event of CloudMails: it has no text "event"'),
        ("row,status", ":3: is not JSON"),
        ("\ufeff{}", ":3: is not JSON"),
    ],
)
def test_a_broken_line_is_named_by_its_number(
    write: Write, line: str, told: str
) -> None:
    """Blank lines count, and what comes before the line is no excuse for it."""
    path = write(f"{lines(1)}\n{line}\n{lines(5)}")
    with pytest.raises(EventsError) as caught:
        ids(path)
    assert f"{path}{told}" in str(caught.value)
    assert "one post" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[\n{},\n{}", 'after event 2: "," is missing'),
        ("[\n{}\n{}]", 'after event 1: "," is missing'),
        ("[\n{},\n]", "after event 1: is not JSON"),
        ("[\n{},\n{]", "after event 1: is not JSON"),
        ("[\n{}\n] {}", "after event 1: something follows the array"),
        ("[\n", "after event 0: is not JSON"),
        ('[\n{},\n{"event": 1}]', "event 2: is no event of CloudMails"),
        (b"[\n{},\n\xff]", "after event 0: is not UTF-8"),
    ],
)
def test_a_broken_array_is_named_by_its_place(
    write: Write, content: str | bytes, told: str
) -> None:
    """An array that is cut off or wrong is refused, with how far it was read."""
    with pytest.raises(EventsError) as caught:
        ids(write(content))
    assert told in str(caught.value)


def test_a_line_without_end_is_refused_before_it_fills_the_memory(write: Write) -> None:
    """No post is longer than 16 MiB; what is, is no file of events."""
    path = write(b'{}\n{"event": "' + b"x" * (17 << 20))
    with pytest.raises(EventsError, match=r":2: the line is longer than 16 MiB"):
        ids(path)


def test_gzip_is_refused_with_the_command_to_type(write: Write) -> None:
    """A compressed file is no broken line 1."""
    path = write(gzip.compress(lines(3).encode()))
    with pytest.raises(EventsError, match="compressed with gzip") as caught:
        ids(path)
    assert caught.value.hint == f"unpack it first: gzip -dk {path}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """An error of the file system is one of ours."""
    with pytest.raises(EventsError, match="nope: cannot be read: No such file"):
        ids(tmp_path / "nope")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["lines", "array"])
def test_memory_does_not_grow_with_the_file(write: Write, form: str) -> None:
    """A file of 9 MB passes through less than 1 MB."""
    entry = json.dumps(post(0) | {"recipient": "x" * 900})
    whole = [entry] * 10_000
    path = write("\n".join(whole) if form == "lines" else "[\n" + ",".join(whole) + "]")
    tracemalloc.start()
    try:
        count = sum(1 for _ in read(path, parse))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 10_000
    assert peak < 1_000_000 < path.stat().st_size / 9
