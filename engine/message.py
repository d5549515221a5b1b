"""Rendered mails and the requests that carry them: columns and bytes, no objects."""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeVar

T = TypeVar("T")

#: What may not stand in a header: C0, DEL, C1 and the Unicode line separators.
HEADER_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

#: RFC 5546: what an invitation asks for.
_METHOD = re.compile(r"^METHOD:([A-Za-z-]+)", re.MULTILINE)


class Feature(StrEnum):
    """What a message can have beside its recipient, subject and bodies."""

    REPLY_TO = "reply_to"
    CC = "cc"
    BCC = "bcc"
    #: The recipient's display name.
    NAMES = "names"
    #: Extra header fields.
    HEADERS = "headers"
    #: Labels for the provider's statistics.
    TAGS = "tags"
    #: Facts that come back in the provider's events, and that no recipient sees.
    METADATA = "metadata"
    ATTACHMENTS = "attachments"
    #: Attachments that the HTML shows, as `cid:…`.
    INLINE = "inline"
    #: An invitation.
    CALENDAR = "calendar"
    #: Switches for the tracking of opens and clicks, message by message.
    TRACKING = "tracking"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that travels with a message.

    Attributes:
        name: the file's name, as recipients see it.
        content_type: `type/subtype`, perhaps with parameters.
        content: the file in base64, without line ends; ASCII.
        content_id: what the HTML shows it by, `cid:…`; None: it is not shown.
    """

    name: str
    content_type: str
    content: str
    content_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a message has beside its recipient, subject and bodies.

    Attributes:
        reply_to: `address` or `Name <address>`, or None.
        cc: likewise; everyone sees them.
        bcc: likewise; nobody sees them.
        headers: extra header fields, name to value; text without line ends.
        metadata: facts for the provider's events, by name.
        attachments: files, in the order in which they are to be shown.
        calendar: an invitation, RFC 5545 with CRLF; None: there is none.
    """

    reply_to: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Attachment, ...] = ()
    calendar: str | None = None

    @property
    def features(self) -> frozenset[Feature]:
        """What of all this there is."""
        inline = any(file.content_id is not None for file in self.attachments)
        present = {
            Feature.REPLY_TO: self.reply_to is not None,
            Feature.CC: bool(self.cc),
            Feature.BCC: bool(self.bcc),
            Feature.HEADERS: bool(self.headers),
            Feature.METADATA: bool(self.metadata),
            Feature.ATTACHMENTS: bool(self.attachments),
            Feature.INLINE: inline,
            Feature.CALENDAR: self.calendar is not None,
        }
        return frozenset(feature for feature, is_there in present.items() if is_there)

    def files(self) -> tuple[Attachment, ...]:
        """Return the attachments, the invitation as one of them.

        For APIs that have no place of its own for an invitation.
        """
        if self.calendar is None:
            return self.attachments
        content = base64.b64encode(self.calendar.encode()).decode()
        method = _METHOD.search(self.calendar)
        kind = "text/calendar; charset=utf-8"
        if method is not None:
            kind += f"; method={method[1]}"
        return (*self.attachments, Attachment("invite.ics", kind, content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What all messages of a run share.

    Attributes:
        campaign: the campaign's name.
        run: the run's id.
        date: the day and hour that the messages bear, UTC: the run's, so that a
            message has the same bytes in every attempt.
        kind: what it is to the law.
        sender: `address` or `Name <address>`, as the campaign file has it.
        tags: labels for the provider's statistics.
        html: whether the messages have an HTML part.
        text: whether the messages have a plain text part.
        markdown: whether the HTML part was made of Markdown, which is at hand, too.
        named: whether the list gives display names.
        track_opens: whether opens are to be tracked; None: as the account has it.
        track_clicks: whether clicks are to be tracked; likewise.
        extras: what else every message has, unless `Messages.extras` says otherwise.
        varying: what differs from message to message, and is in `Messages.extras`.
        header_names: of all extra header fields, the same for all or not.
    """

    campaign: str
    run: str
    date: datetime
    kind: Literal["marketing", "transactional"]
    sender: str
    tags: tuple[str, ...] = ()
    html: bool
    text: bool
    markdown: bool = False
    named: bool = False
    track_opens: bool | None = None
    track_clicks: bool | None = None
    extras: Extras = field(default_factory=Extras)
    varying: frozenset[Feature] = frozenset()
    header_names: tuple[str, ...] = ()

    @property
    def features(self) -> frozenset[Feature]:
        """What any message of the run can have."""
        tracked = self.track_opens is not None or self.track_clicks is not None
        present = {
            Feature.NAMES: self.named,
            Feature.TAGS: bool(self.tags),
            Feature.TRACKING: tracked,
        }
        shared = {feature for feature, is_there in present.items() if is_there}
        return self.extras.features | self.varying | shared


@dataclass(frozen=True, slots=True)
class Messages:
    """Rendered mails as columns, one place per message, in input order.

    Texts that have much in common may be `engine.texts.Texts`.

    Attributes:
        rows: 0-based position of each recipient in the input.
        addresses: bare addresses, `local@domain`.
        names: display names; empty where there is none.
        message_ids: our id of each message, the same on every run of the campaign.
        subjects: one line each, free of control characters.
        htmls: HTML bodies, or None when the campaign has no HTML part.
        texts: plain text bodies, or None when the campaign has no text part.
        markdowns: the Markdown that the HTML bodies were made of; None without.
        extras: what else each message has; None: what the envelope says of all.
    """

    rows: list[int]
    addresses: list[str]
    names: list[str]
    message_ids: list[str]
    subjects: Sequence[str]
    htmls: Sequence[str] | None
    texts: Sequence[str] | None
    markdowns: Sequence[str] | None = None
    extras: list[Extras] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, places: list[int]) -> "Messages":
        """Return the messages at some places, in that order."""

        def pick(column: Sequence[T]) -> list[T]:
            return [column[place] for place in places]

        return Messages(
            rows=pick(self.rows),
            addresses=pick(self.addresses),
            names=pick(self.names),
            message_ids=pick(self.message_ids),
            subjects=pick(self.subjects),
            htmls=None if self.htmls is None else pick(self.htmls),
            texts=None if self.texts is None else pick(self.texts),
            markdowns=None if self.markdowns is None else pick(self.markdowns),
            extras=None if self.extras is None else pick(self.extras),
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
    parts: Sequence[bytes]

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
