"""What CloudMailin answers with. What it leaves out is empty or None; `raw` has it all.

Moments are UTC-aware. Nothing here raises for what an answer holds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Self

Entry = Mapping[str, object]

#: How CloudMailin posts what an address receives.
TargetFormat = Literal["json+n", "multipart+n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An inbound address: what it receives is posted to its target.

    Attributes:
        id: 20 hex digits today; "the format may change".
        target: the URL that is posted to.
        target_format: "json+n" or "multipart+n" today.
        nickname: a short name, or None.
        attachments: where attachments are kept; the documents do not say how.
    """

    id: str
    target: str
    target_format: str
    nickname: str | None
    attachments: Entry
    raw: Entry = field(repr=False, compare=False)

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Read one."""
        attachments = entry.get("attachments")
        return cls(
            id=_text(entry, "id") or "",
            target=_text(entry, "target") or "",
            target_format=_text(entry, "target_format") or "",
            nickname=_text(entry, "nickname"),
            attachments=attachments if isinstance(attachments, dict) else {},
            raw=entry,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingStatus:
    """A message that an address received, and what its target said.

    Attributes:
        message_id: the message's own.
        to: of the SMTP transaction.
        sender: likewise; empty for a bounce.
        status: what the target answered, "200", or a word such as "client_timeout".
        tls: the version, as in "TLSv1.3", or None.
    """

    id: str
    message_id: str
    to: str
    sender: str
    status: str
    subject: str
    tls: str | None
    md5: str | None
    created_at: datetime | None
    raw: Entry = field(repr=False, compare=False)

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Read one."""
        return cls(
            id=_text(entry, "id") or "",
            message_id=_text(entry, "message_id") or "",
            to=_text(entry, "to") or "",
            sender=_text(entry, "from") or "",
            status=_text(entry, "status") or "",
            subject=_text(entry, "subject") or "",
            tls=_text(entry, "tls"),
            md5=_text(entry, "md5"),
            created_at=_moment(entry, "created_at"),
            raw=entry,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDomain:
    """A domain of one's own at which an address receives.

    Attributes:
        id: 16 hex digits today.
        auth_regex: which local parts and domains are taken, or None.
        domain_target: the URL that is posted to in place of the address's, or None.
    """

    id: str
    domain: str
    auth_regex: str | None
    domain_target: str | None
    raw: Entry = field(repr=False, compare=False)

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Read one."""
        return cls(
            id=_text(entry, "id") or "",
            domain=_text(entry, "domain") or "",
            auth_regex=_text(entry, "auth_regex"),
            domain_target=_text(entry, "domain_target"),
            raw=entry,
        )


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record to set in the DNS.

    Attributes:
        type: "CNAME" or "TXT".
        value: a TXT longer than 255 characters is to be cut into strings of that length
            where the name server's keeper does not do it by itself.
        checks: what depends on it, to whether CloudMailin found it; None: not looked.
    """

    type: Literal["CNAME", "TXT"]
    name: str
    value: str
    checks: Mapping[str, bool | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingDomain:
    """A domain to send from.

    Attributes:
        id: 16 hex digits today.
        mta_domain: the domain of bounces, below `domain`.
        dkim_verified: whether CloudMailin found the record; None: it has not looked.
        return_path_verified: likewise.
        spf_verified: likewise.
    """

    id: str
    domain: str
    mta_domain: str
    dkim_selector: str
    dkim_domain: str
    dkim_public_record: str
    required_cname: str
    dkim_verified: bool | None
    return_path_verified: bool | None
    spf_verified: bool | None
    raw: Entry = field(repr=False, compare=False)

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Read one."""
        return cls(
            id=_text(entry, "id") or "",
            domain=_text(entry, "domain") or "",
            mta_domain=_text(entry, "mta_domain") or "",
            dkim_selector=_text(entry, "dkim_selector") or "",
            dkim_domain=_text(entry, "dkim_domain") or "",
            dkim_public_record=_text(entry, "dkim_public_record") or "",
            required_cname=_text(entry, "required_cname") or "",
            dkim_verified=_flag(entry, "dkim_verified"),
            return_path_verified=_flag(entry, "return_path_verified"),
            spf_verified=_flag(entry, "spf_verified"),
            raw=entry,
        )

    @property
    def checks(self) -> Mapping[str, bool | None]:
        """What CloudMailin looks for, to whether it found it; None: not looked."""
        return {
            "return path": self.return_path_verified,
            "SPF": self.spf_verified,
            "DKIM": self.dkim_verified,
        }

    @property
    def is_verified(self) -> bool:
        """Whether CloudMailin found everything that it looks for."""
        return all(self.checks.values())

    @property
    def records(self) -> tuple[DnsRecord, ...]:
        """The records to set in the DNS.

        Source:
            The OpenAPI document: the return path and SPF are both "set by the CNAME on
            the MTA domain", the DKIM record is a TXT at `dkim_domain`.
        """
        checks = dict(self.checks)
        dkim = {"DKIM": checks.pop("DKIM")}
        return (
            DnsRecord("CNAME", self.mta_domain, self.required_cname, checks),
            DnsRecord("TXT", self.dkim_domain, self.dkim_public_record, dkim),
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """What CloudMailin found when it looked at the records of a sending domain.

    Attributes:
        passed: whether it found them all.
    """

    passed: bool
    domain: SendingDomain


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """Something that befell a message on its way to one recipient.

    Attributes:
        kind: in CloudMailin's words: "delivery", "bounce", "open" and others.
        details: as in {"reply_code": "250", "smtp_response": "250 2.0.0 OK"}.
    """

    kind: str
    timestamp: datetime | None
    details: Entry

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Read one."""
        details = entry.get("details")
        return cls(
            kind=_text(entry, "kind") or "",
            timestamp=_moment(entry, "timestamp"),
            details=details if isinstance(details, dict) else {},
        )


@dataclass(frozen=True, slots=True)
class MessageRecipient:
    """One recipient of a message.

    Attributes:
        last_event: in CloudMailin's words; empty where there was none.
        events: the earliest first; empty in lists, which do not tell them.
    """

    email: str
    last_event: str
    events: tuple[MessageEvent, ...]

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Read one."""
        return cls(
            email=_text(entry, "email") or "",
            last_event=_text(entry, "last_event") or "",
            events=tuple(map(MessageEvent.read, _entries(entry, "events"))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundMessage:
    """A message that was sent.

    Attributes:
        id: a UUID, also that of the answer to the sending and of events.
        message_id: of the mail's header, `<…@cloudmta.net>`.
        recipients: with the last event of each; `message` has their events too.
    """

    id: str
    sender: str
    subject: str
    message_id: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    tags: tuple[str, ...]
    test_mode: bool | None
    created_at: datetime | None
    recipients: tuple[MessageRecipient, ...]
    raw: Entry = field(repr=False, compare=False)

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Read one."""
        return cls(
            id=_text(entry, "id") or "",
            sender=_text(entry, "from") or "",
            subject=_text(entry, "subject") or "",
            message_id=_text(entry, "message_id") or "",
            to=_texts(entry, "to"),
            cc=_texts(entry, "cc"),
            tags=_texts(entry, "tags"),
            test_mode=_flag(entry, "test_mode"),
            created_at=_moment(entry, "created_at"),
            recipients=tuple(map(MessageRecipient.read, _entries(entry, "recipients"))),
            raw=entry,
        )


def _text(entry: Entry, key: str) -> str | None:
    value = entry.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _texts(entry: Entry, key: str) -> tuple[str, ...]:
    value = entry.get(key)
    if isinstance(value, str):
        return (value,)
    items = value if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))


def _flag(entry: Entry, key: str) -> bool | None:
    value = entry.get(key)
    return value if isinstance(value, bool) else None


def _moment(entry: Entry, key: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(_text(entry, key) or "")
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _entries(entry: Entry, key: str) -> Iterator[Entry]:
    value = entry.get(key)
    items = value if isinstance(value, list) else []
    return (item for item in items if isinstance(item, dict))
