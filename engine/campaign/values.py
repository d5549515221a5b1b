"""What a single value of a campaign file may be, and what is said of it if it is not.

A text is *inline* if it is a template itself: it has `{{` or `{%` in it and is filled
row by row. Nothing can be known of it here but its form; the readers of this module
judge it again when a row has filled it. All others are judged as the file is loaded.

A reader takes a text and returns what it means, or raises a `ValueError` with a
sentence for people.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic import WithJsonSchema as Schema
from pydantic_core import PydanticCustomError

from engine.message import HEADER_UNSAFE

#: Fields that we write ourselves, or that would change who receives the mail.
RESERVED_HEADERS = frozenset(
    {
        "bcc",
        "cc",
        "content-transfer-encoding",
        "content-type",
        "date",
        "from",
        "message-id",
        "mime-version",
        "reply-to",
        "resent-bcc",
        "resent-cc",
        "resent-to",
        "sender",
        "subject",
        "to",
    }
)
#: Names of metadata that we fill ourselves: events are joined to rows by them.
RESERVED_METADATA = frozenset({"campaign", "message_id", "row", "run", "tags"})
#: Of a campaign, which names the folder of its runs, and of a variant.
PLAIN_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"
#: RFC 5322, 3.6.8: printable US-ASCII except the colon.
HEADER_NAME = re.compile(r"[!-9;-~]+")
METADATA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
#: `address`, `Name <address>` or `"Name" <address>`, and only one of them.
MAILBOX = re.compile(
    r"""
    (?: (?P<name> "(?:[^"\\]|\\.)+"\s* | [^"<>@,;:\\]* ) < (?= .* > \Z ) )?
    [^\s@<>()\[\],;:"\\]+ @ [^\s@<>()\[\],;:".\\]+ (?: \. [^\s@<>()\[\],;:".\\]+ )+
    (?(name) > )
    """,
    re.VERBOSE,
)
#: What a name of a mailbox may hold only between quotation marks.
NEEDS_QUOTES = re.compile(r"[@,;:\\]")
#: What HTML can name in `cid:…` without any escaping; RFC 2392 allows more.
CONTENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
#: RFC 6838, 4.2: `type/subtype`, perhaps with parameters.
MEDIA_TYPE = re.compile(
    r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}"
    r"(?:; ?[\w-]+=[\w.-]+)*",
    re.ASCII,
)
#: `PT1H30M`, `1h 30m` or `7 days`: days, hours, minutes.
DURATION = re.compile(
    r"P?\s*(?:(\d{1,4})\s*d(?:ays?)?)?\s*T?\s*(?:(\d{1,5})\s*h(?:ours?)?)?"
    r"\s*(?:(\d{1,6})\s*m(?:in(?:utes?)?)?)?",
    re.IGNORECASE,
)
#: What may not stand in a text of several lines.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


class Section(BaseModel):
    """A table of the campaign file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def is_inline(text: str) -> bool:
    """Whether a text of the campaign file is a template itself."""
    return "{{" in text or "{%" in text


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# -- readers ---------------------------------------------------------------------------


def line(text: str) -> str:
    """Read a text of one line."""
    if HEADER_UNSAFE.search(text):
        raise ValueError("must be one line without control codes")
    return text


def lines(text: str) -> str:
    """Read a text of several lines, with any kind of line end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(text):
        raise ValueError("must be without control codes")
    return text


def mailbox(text: str) -> str:
    """Read one `address` or `Name <address>`."""
    text = line(text.strip())
    if not MAILBOX.fullmatch(text):
        hint = ""
        if NEEDS_QUOTES.search(text.partition("<")[0]) and "<" in text:
            hint = """; quote a name with , ; : or @: '"Name, more" <address@domain>'"""
        raise ValueError(f'write one "Name <address@domain>" or "address@domain"{hint}')
    return text


def moment(text: str) -> date | datetime:
    """Read a day or a time, ISO 8601."""
    text = text.strip()
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            'write a day, "2026-12-20", or a time, "2026-12-20T18:30"'
        ) from None


def duration(text: str) -> timedelta:
    """Read a length of time, more than none."""
    found = DURATION.fullmatch(text.strip())
    days, hours, minutes = (int(n or 0) for n in found.groups()) if found else (0, 0, 0)
    length = timedelta(days=days, hours=hours, minutes=minutes)
    if not length:
        raise ValueError('write a duration: "1h 30m", "90m", "2d" or "PT1H30M"')
    return length


def zone(text: str) -> ZoneInfo:
    """Read the name of a time zone."""
    try:
        return ZoneInfo(text.strip())
    # A folder of zones, an absolute path, a NUL.
    except (ZoneInfoNotFoundError, OSError, ValueError):
        raise ValueError('write a time zone by its name: "Europe/Lisbon"') from None


def method(text: str) -> str:
    """Read what an invitation is for."""
    if (name := text.strip().upper()) not in {"CANCEL", "PUBLISH", "REQUEST"}:
        raise ValueError('write "REQUEST", "PUBLISH" or "CANCEL"')
    return name


def count(text: str) -> int:
    """Read a whole number from 0."""
    text = text.strip()
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("write a whole number, 0 or more")
    return int(text)


def link(text: str) -> str:
    """Read the address of a page."""
    text = line(text.strip())
    if not re.fullmatch(r"https?://[^\s/]\S*", text):
        raise ValueError('write "https://…"')
    return text


def content_id(text: str) -> str:
    """Read the name by which the HTML shows an attachment."""
    if not CONTENT_ID.fullmatch(text):
        raise ValueError(
            'write a name like "logo", as the HTML has it in src="cid:logo"'
        )
    return text


def media_type(text: str) -> str:
    """Read the type of a file's content."""
    if not MEDIA_TYPE.fullmatch(text):
        raise ValueError('write a type like "application/pdf"')
    return text


def path(text: str) -> str:
    """Read a path below a folder."""
    if "\0" in text or text.startswith("/") or ".." in text.split("/"):
        raise ValueError('write the path of a file below the folder, without ".."')
    return text


def file_name(text: str) -> str:
    """Read the name of a file, without a folder."""
    if re.search(r"[/\\]", line(text)) or not text.strip(". "):
        raise ValueError("write the name of a file, without a folder")
    return text


def _header_name(name: str) -> str:
    if not HEADER_NAME.fullmatch(name):
        raise PydanticCustomError(
            "header", "is not a header name: write ASCII without spaces and colons"
        )
    if name.lower() in RESERVED_HEADERS:
        raise PydanticCustomError(
            "header", "the engine decides on this header itself; leave it out"
        )
    return name


def _metadata_name(name: str) -> str:
    if not METADATA_NAME.fullmatch(name):
        raise PydanticCustomError(
            "header", "write a letter, then letters, digits, _ . and -, at most 100"
        )
    if name.lower() in RESERVED_METADATA:
        raise PydanticCustomError(
            "header", "the engine fills this one in itself; choose another name"
        )
    return name


# -- types of values -------------------------------------------------------------------


def _judged(read: Callable[[str], Any], value: str) -> str:
    """Let a reader judge a value; keep the value."""
    try:
        read(value)
    except ValueError as error:
        raise PydanticCustomError("value", "{told}", {"told": str(error)}) from None
    return value


def _constant(read: Callable[[str], Any]) -> AfterValidator:
    """A text that a reader understands."""
    return AfterValidator(lambda value: _judged(read, value))


def _inline(read: Callable[[str], Any]) -> AfterValidator:
    """A text that a reader understands, or an inline template."""
    return AfterValidator(
        lambda value: value if is_inline(value) else _judged(read, value)
    )


def _mailbox(value: str) -> str:
    return _judged(mailbox, value.strip())


def _inline_mailbox(value: str) -> str:
    return value if is_inline(value) else _mailbox(value)


def _as_text(value: object) -> str:
    """Take a number or a date of TOML for what it looks like in the file."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value
    raise PydanticCustomError("string_type", "must be text, in quotation marks")


_OR_TEXT = [{"type": "string", "minLength": 1}]
_NUMBER = {"anyOf": [{"type": "integer", "minimum": 0}, *_OR_TEXT]}
_MOMENT = {"anyOf": [{"type": "string", "format": "date-time"}, *_OR_TEXT]}

Mailbox = Annotated[str, AfterValidator(_mailbox)]
OneLine = Annotated[str, _constant(line)]
Named = Annotated[str, Field(min_length=1), _constant(line)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
MetadataName = Annotated[str, AfterValidator(_metadata_name)]
ContentId = Annotated[str, _constant(content_id)]
MediaType = Annotated[str, _constant(media_type)]

#: Constants or inline templates.
MailboxText = Annotated[str, AfterValidator(_inline_mailbox)]
LineText = Annotated[str, _inline(line)]
LinesText = Annotated[str, _inline(lines)]
PathText = Annotated[str, Field(min_length=1), _inline(path)]
FileName = Annotated[str, Field(min_length=1), _inline(file_name)]
NamedText = Annotated[str, Field(min_length=1), _inline(line)]
LinkText = Annotated[str, _inline(link)]
ZoneText = Annotated[str, _inline(zone)]
MethodText = Annotated[str, _inline(method)]
DurationText = Annotated[str, _inline(duration)]
MomentText = Annotated[str, BeforeValidator(_as_text), Schema(_MOMENT), _inline(moment)]
CountText = Annotated[str, BeforeValidator(_as_text), Schema(_NUMBER), _inline(count)]
