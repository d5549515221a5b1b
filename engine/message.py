"""Rendered mails and the requests that carry them: columns and bytes, no objects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

T = TypeVar("T")

#: What may not stand in a header: C0, DEL, C1 and the Unicode line separators.
HEADER_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all messages of a run share.

    Attributes:
        campaign: the campaign's name.
        run: the run's id.
        sender: `address` or `Name <address>`, as the campaign file has it.
        reply_to: likewise, or None.
        headers: extra header fields, name to value, the same for every message.
        tags: labels for the provider's statistics.
        html: whether the messages have an HTML part.
        text: whether the messages have a plain text part.
        named: whether the list gives display names.
    """

    campaign: str
    run: str
    sender: str
    reply_to: str | None
    headers: Mapping[str, str]
    tags: tuple[str, ...]
    html: bool
    text: bool
    named: bool


@dataclass(frozen=True, slots=True)
class Messages:
    """Rendered mails as columns, one place per message, in input order.

    Attributes:
        rows: 0-based position of each recipient in the input.
        addresses: bare addresses, `local@domain`.
        names: display names; empty where there is none.
        message_ids: our id of each message, the same on every run of the campaign.
        subjects: one line each, free of control characters.
        htmls: HTML bodies, or None when the campaign has no HTML part.
        texts: plain text bodies, or None when the campaign has no text part.
    """

    rows: list[int]
    addresses: list[str]
    names: list[str]
    message_ids: list[str]
    subjects: list[str]
    htmls: list[str] | None
    texts: list[str] | None

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: list[int]) -> "Messages":
        """Return the messages at some places, in that order."""

        def pick(column: list[T]) -> list[T]:
            return [column[place] for place in places]

        return Messages(
            rows=pick(self.rows),
            addresses=pick(self.addresses),
            names=pick(self.names),
            message_ids=pick(self.message_ids),
            subjects=pick(self.subjects),
            htmls=None if self.htmls is None else pick(self.htmls),
            texts=None if self.texts is None else pick(self.texts),
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one request, encoded in the words of one provider.

    Attributes:
        id: hex, derived from the campaign, the generation and the members alone, so
            that the same members are the same batch in every attempt and every run.
        rows: 0-based input positions, ascending.
        addresses: bare addresses, in the order of `rows`.
        parts: the encoded messages, in the order of `rows`.
    """

    id: str
    rows: list[int]
    addresses: list[str]
    parts: list[bytes]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. It holds no credentials: the wire adds them as it sends.

    Attributes:
        path: appended to the provider's base URL; begins with `/`.
        headers: header name to value, without `Authorization` and its like.
        body: the bytes to send.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer, read whole.

    Attributes:
        status: 100 to 599.
        headers: names in lower case; of a repeated header, the last.
        body: the bytes received.
        received_at: when its last byte came, UTC.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime
