"""What the sandbox was asked and what it accepted, and the answers to questions of it.

How it works: every accepted message stays in an index of four columns (address, the id
it was given, the client's own id, request number); only the first `keep` are kept
whole. Counting doubles is left to the moment somebody asks, and then goes on from where
it stopped: receiving stays cheap. What becomes of a message is not stored at all, but
follows from its address and id; see `fate`.

Rules: no clock and no socket; moments are arguments.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple
from urllib.parse import parse_qs

import orjson

from engine.sandbox.fate import Kind, fate
from engine.sandbox.faults import Mishap
from engine.sandbox.index import Columns, Index


@dataclass(frozen=True, slots=True)
class Call:
    """One request, read whole.

    Attributes:
        number: counted from 1 over the requests to sending endpoints; 0 for others.
        path: below the dialect's prefix; begins with `/`, or is empty.
        query: what stood behind the `?`, as it was sent.
        headers: names in lower case; of a repeated header, the last.
        at: when its first byte came, UTC.
    """

    number: int
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    at: datetime


@dataclass(slots=True)
class Accepted:
    """Messages that a dialect accepted: columns, one place per message.

    Attributes:
        to: bare addresses; of a message with several recipients, the first.
        message_ids: the ids the dialect gave them.
        keys: the client's own ids, or None where it sent none.
        contents: the messages as the client wrote them, by field.
    """

    to: list[str] = field(default_factory=list)
    message_ids: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    contents: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, and what was accepted with it.

    Attributes:
        body: what is sent; unless there is a `stream`.
        stream: what is sent piece by piece, in place of a body.
        accepted: None if the request was none to send mail, or was refused.
    """

    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = "application/json"
    accepted: Accepted | None = None
    stream: Iterator[bytes] | None = None


def json_answer(status: int, content: object) -> Answer:
    """Answer with JSON."""
    return Answer(status, orjson.dumps(content))


class Kept(NamedTuple):
    """One accepted message, found again.

    Attributes:
        place: 0-based, in order of acceptance.
        to: bare address of its first recipient.
        key: the client's own id, or None.
        request: number of the request that brought it.
        dialect: name of the dialect that accepted it.
    """

    place: int
    to: str
    message_id: str
    key: str | None
    request: int
    dialect: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to one message.

    Attributes:
        at: when, UTC.
        content: the message as the client wrote it; None if it was not kept whole.
    """

    kind: Kind
    at: datetime
    kept: Kept
    content: Mapping[str, object] | None


class Store:
    """What was asked and accepted since the start or the last reset.

    Attributes:
        keep: how many messages are kept whole, the first ones.
        opened: the moment that is 0 on the clock of the requests, UTC.
        pace: factor on the times of what becomes of messages; 0.01 is a hundred times
            as fast.
    """

    def __init__(self, *, keep: int, opened: datetime) -> None:
        self.keep = keep
        self.opened = opened
        self.pace = 1.0
        self._arrivals = array("d")
        self._speakers = array("B")
        self._dialects: list[str] = []
        self._messages = array("L")
        self._statuses = array("H")
        self._other_answers: Counter[int] = Counter()
        self._mishaps: Counter[str] = Counter()
        self._contents: list[dict[str, object]] = []
        self._index = Index(4)
        self._tallied = 0
        self._recipients: set[int] = set()
        self._keys: set[int] = set()
        self._twice: dict[str, None] = {}

    @property
    def request_count(self) -> int:
        """How many requests reached a sending endpoint."""
        return len(self._arrivals)

    @property
    def accepted_count(self) -> int:
        """How many messages were accepted."""
        return len(self._index)

    def begin(self, at: float, dialect: str) -> int:
        """Note a request to a sending endpoint and give its number.

        Args:
            at: seconds since `opened` at which its first byte came.
            dialect: name of the dialect that it is for.
        """
        if dialect not in self._dialects:
            self._dialects.append(dialect)
        self._speakers.append(self._dialects.index(dialect))
        self._arrivals.append(at)
        self._messages.append(0)
        self._statuses.append(0)
        return len(self._arrivals)

    def accept(self, number: int, accepted: Accepted) -> None:
        """Note what request `number` brought."""
        count = len(accepted.to)
        self._messages[number - 1] = count
        self._contents += accepted.contents[: max(0, self.keep - len(self._contents))]
        self._index.extend(
            [accepted.to, accepted.message_ids, accepted.keys, [number] * count]
        )

    def answered(self, number: int, status: int) -> None:
        """Note the answer to request `number`; 0 is a request that is not counted."""
        if number:
            self._statuses[number - 1] = status
        else:
            self._other_answers[status] += 1

    def befell(self, mishap: Mishap) -> None:
        """Note that a fault came true."""
        self._mishaps[mishap.value] += 1

    def moment(self, number: int) -> datetime:
        """Say when request `number` came, UTC."""
        return self.opened + timedelta(seconds=self._arrivals[number - 1])

    def find(self, message_id: str, dialect: str | None = None) -> Kept | None:
        """Find a message by the id it was given.

        Args:
            message_id: the whole of it.
            dialect: name of the one that gave it; None asks them all.
        """
        for start, columns in self._index.parts_with(message_id):
            for kept in self._kept(start, columns):
                if kept.message_id == message_id and dialect in {None, kept.dialect}:
                    return kept
        return None

    def at(self, place: int) -> Kept:
        """Return the message at a place.

        Raises:
            IndexError: so many were not accepted.
        """
        return next(self._kept(place, [[value] for value in self._index.at(place)]))

    def content(self, kept: Kept) -> Mapping[str, object] | None:
        """Return a message as the client wrote it; None if it was not kept whole."""
        whole = kept.place < len(self._contents)
        return self._contents[kept.place] if whole else None

    def all(self, dialect: str | None = None) -> Iterator[Kept]:
        """Go through the accepted messages in order of acceptance.

        Args:
            dialect: only those that this one accepted.
        """
        return (k for k in self._walk(0) if dialect is None or k.dialect == dialect)

    def happenings(self, kept: Kept) -> list[Happening]:
        """Say all that becomes of a message, in order; the last may be yet to come."""
        accepted, content = self.moment(kept.request), self.content(kept)
        return [
            Happening(
                kind, accepted + timedelta(seconds=after * self.pace), kept, content
            )
            for after, kind in fate(kept.to, kept.message_id)
        ]

    def stats(self) -> dict[str, object]:
        """Count requests, messages, doubles and answers; see the page at `/`."""
        self._tally()
        answers = Counter(status for status in self._statuses if status)
        answers += self._other_answers
        return {
            "requests": self.request_count,
            "accepted": self.accepted_count,
            "distinct_recipients": len(self._recipients),
            "twice": list(self._twice),
            "answers": {str(status): answers[status] for status in sorted(answers)},
            "first_at": self._arrivals[0] if self._arrivals else None,
            "last_at": max(self._arrivals, default=None),
            "mishaps": dict(self._mishaps),
        }

    def messages(
        self, *, offset: int = 0, limit: int = 100, to: str | None = None
    ) -> dict[str, object]:
        """List accepted messages in order of acceptance, whole where they were kept.

        Args:
            offset: how many of those that match to pass over.
            limit: how many to list at most.
            to: only those to this address.
        """
        if to is None:
            total = self.accepted_count
            rest = (kept for kept in self._walk(offset) if kept.place >= offset)
            page = list(islice(rest, limit))
        else:
            matching = [kept for kept in self._walk(0) if kept.to == to]
            total = len(matching)
            page = matching[offset : offset + limit]
        return {"total": total, "messages": [self._describe(kept) for kept in page]}

    def requests(
        self, *, offset: int = 0, limit: int | None = None
    ) -> list[dict[str, object]]:
        """List the requests to sending endpoints, oldest first.

        Returns:
            Of each its `number`, `at` (seconds since the server's start at which its
            first byte came), `messages` accepted, and `status` answered, None for none.
        """
        end = self.request_count if limit is None else offset + limit
        columns = zip(
            self._arrivals[offset:end],
            self._messages[offset:end],
            self._statuses[offset:end],
            strict=True,
        )
        return [
            {"number": number, "at": at, "messages": count, "status": status or None}
            for number, (at, count, status) in enumerate(columns, start=offset + 1)
        ]

    def list_messages(self, query: str) -> Answer:
        """Answer `offset`, `limit` and `to` with `messages`.

        Raises:
            ValueError: a number is none.
        """
        asked = parse_qs(query)
        page = self.messages(
            offset=_whole(asked, "offset", 0),
            limit=_whole(asked, "limit", 100),
            to=asked["to"][-1] if "to" in asked else None,
        )
        return json_answer(200, page)

    def list_requests(self, query: str) -> Answer:
        """Answer `offset` and `limit` with `requests`.

        Raises:
            ValueError: a number is none.
        """
        asked = parse_qs(query)
        offset = _whole(asked, "offset", 0)
        limit = _whole(asked, "limit", self.request_count)
        return json_answer(200, self.requests(offset=offset, limit=limit))

    def _walk(self, start: int) -> Iterator[Kept]:
        """Go through the messages from `start` or somewhat before it."""
        for first, columns in self._index.parts(start):
            yield from self._kept(first, columns)

    def _kept(self, first: int, columns: Columns) -> Iterator[Kept]:
        requests = columns[-1]
        names = [self._dialects[self._speakers[number - 1]] for number in requests]
        return map(Kept, range(first, first + len(requests)), *columns, names)

    def _tally(self) -> None:
        """Count recipients and doubles among the messages that came since last time.

        64-bit hashes instead of the texts: half the memory, and one false double in
        thirty million runs of a million messages.
        """
        for kept in self._walk(self._tallied):
            if kept.place < self._tallied:
                continue
            self._recipients.add(hash(kept.to))
            key = kept.key or kept.to
            mark = hash(key)
            if mark in self._keys:
                self._twice[key] = None
            self._keys.add(mark)
        self._tallied = self.accepted_count

    def _describe(self, kept: Kept) -> dict[str, object]:
        described = dict(self.content(kept) or {})
        described |= {
            "to": kept.to,
            "message_id": kept.message_id,
            "key": kept.key,
            "request": kept.request,
            "dialect": kept.dialect,
        }
        return described


def _whole(asked: Mapping[str, list[str]], name: str, default: int) -> int:
    text = asked.get(name, [str(default)])[-1]
    if not text.isdecimal():
        raise ValueError(f"{name}={text}: must be a whole number, 0 or more")
    return int(text)
