"""The sections of a campaign file, and what each of their keys may say.

Two rules. Unknown keys are errors: a misspelt limit would otherwise be no limit. And a
secret never stands in the file: a token is only ever named by where it is kept.

What the providers know of their own settings comes in as a catalogue, through
pydantic's validation context; this module knows none of them by name.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from engine.message import HEADER_UNSAFE

#: Provider name to the keys of [provider] that it takes beyond the common ones.
Catalogue = Mapping[str, Iterable[str]]

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
        "sender",
        "subject",
        "to",
    }
)
#: RFC 5322, 3.6.8: printable US-ASCII except the colon.
HEADER_NAME = re.compile(r"[!-9;-~]+")
COMMON_PROVIDER_KEYS = frozenset({"name", "token", "base_url"})


def _mailbox(value: str) -> str:
    """Accept `address` or `Name <address>`."""
    _, address = parseaddr(value)
    if HEADER_UNSAFE.search(value) or not re.fullmatch(
        r"[^@\s]+@[^@\s]+\.[^@\s]+", address
    ):
        raise PydanticCustomError(
            "mailbox", 'write "Name <address@domain>" or "address@domain"'
        )
    return value


def _one_line(value: str) -> str:
    if HEADER_UNSAFE.search(value):
        raise PydanticCustomError("one_line", "must be one line without control codes")
    return value


Mailbox = Annotated[str, AfterValidator(_mailbox)]
OneLine = Annotated[str, AfterValidator(_one_line)]
ColumnType = Literal["text", "integer", "number", "boolean", "date", "datetime"]


class Section(BaseModel):
    """A table of the campaign file. Unknown keys are errors."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, populate_by_name=True
    )


class Recipients(Section):
    """Who gets it."""

    source: str | None = Field(
        None, description="the list: a path, glob or folder, beside this file"
    )
    address: str = Field("email", description="the column of the addresses")
    name: str | None = Field(None, description="the column of the display names")
    key: str | None = Field(
        None, description="the column of the recipients' own ids; else the address"
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="column = type, for CSV and TSV; undeclared columns are text",
    )


class Message(Section):
    """What they get."""

    sender: Mailbox = Field(alias="from", description='"Name <address@domain>"')
    reply_to: Mailbox | None = Field(None, description="where answers go")
    subject: str = Field(description="a template, below templates/")
    html: str | None = Field(None, description="a template, below templates/")
    text: str | None = Field(None, description="a template, below templates/")
    tags: tuple[OneLine, ...] = Field((), strict=False, description="labels")
    headers: dict[str, OneLine] = Field(
        default_factory=dict, description="extra header fields, the same for everyone"
    )

    @field_validator("headers")
    @classmethod
    def _own_headers_only(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            if not HEADER_NAME.fullmatch(name):
                raise PydanticCustomError(
                    "header", '"{name}" is not a header name', {"name": name}
                )
            if name.lower() in RESERVED_HEADERS:
                raise PydanticCustomError(
                    "header",
                    "{name} is written by the engine itself; leave it out",
                    {"name": name},
                )
        return headers

    @model_validator(mode="after")
    def _some_body(self) -> Self:
        if self.html is None and self.text is None:
            raise PydanticCustomError(
                "body", 'has no body: write html = "…" or text = "…", or both'
            )
        return self

    @property
    def parts(self) -> dict[str, str]:
        """The templates by part: subject, and html or text or both."""
        parts = {"subject": self.subject, "html": self.html, "text": self.text}
        return {part: name for part, name in parts.items() if name is not None}


class Token(Section):
    """Where the account's secret is kept: an environment variable or a file."""

    env: str | None = Field(None, description="the name of an environment variable")
    file: str | None = Field(None, description="a file that only its owner may read")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise PydanticCustomError(
                "token", 'write { env = "NAME" } or { file = "path" }'
            )
        return self


class Provider(Section):
    """Who sends it."""

    name: str = Field(description="the provider's name")
    token: Token | None = Field(
        None, description='{ env = "NAME" } or { file = "path" }'
    )
    base_url: str | None = Field(None, description="in place of the public address")
    username: str | None = Field(None, description="CloudMailin: the SMTP username")
    account_id: str | None = Field(None, description="Cloudflare: the account")
    domain: str | None = Field(None, description="MailerLogic: the sending domain")
    stream_type: str | None = Field(None, description="MailerLogic: the stream")

    @field_validator("token", mode="before")
    @classmethod
    def _no_secret_here(cls, token: object) -> object:
        if isinstance(token, str):
            raise PydanticCustomError(
                "token",
                "a secret does not belong in this file: "
                'write { env = "NAME" } or { file = "path" }',
            )
        return token

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        catalogue = (info.context or {}).get("catalogue", {name: ()})
        if name not in catalogue:
            raise PydanticCustomError(
                "provider",
                "no such provider; known: {known}",
                {"known": ", ".join(sorted(catalogue))},
            )
        return name

    @field_validator("base_url")
    @classmethod
    def _safe_url(cls, url: str | None) -> str | None:
        """Take https anywhere and plain http to this machine alone."""
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise PydanticCustomError("url", 'write "https://host/path"')
        if parts.username or parts.password or parts.query or parts.fragment:
            raise PydanticCustomError(
                "url", "write it without credentials, query and fragment"
            )
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise PydanticCustomError(
                "url", "plain http reaches only this machine: write https://"
            )
        return url.rstrip("/")

    @model_validator(mode="after")
    def _own_settings_only(self, info: ValidationInfo) -> Self:
        catalogue = (info.context or {}).get("catalogue")
        if catalogue is None:
            return self
        allowed = COMMON_PROVIDER_KEYS | set(catalogue[self.name])
        if foreign := sorted(self.model_fields_set - allowed):
            raise PydanticCustomError(
                "setting",
                "{name} does not take {keys}",
                {"name": self.name, "keys": ", ".join(foreign)},
            )
        return self


class Limits(Section):
    """How fast. All limits are the account's: all workers together."""

    messages_per_second: float | None = Field(None, gt=0, strict=False)
    requests_per_second: float | None = Field(None, gt=0, strict=False)
    burst: int | None = Field(
        None, ge=1, description="messages that may leave at once, above the rate"
    )
    workers: int = Field(8, ge=1, le=1000, description="requests in flight")
    batch_size: int | None = Field(
        None, ge=1, description="messages per request; else what the provider takes"
    )


class Campaign(Section):
    """One campaign, checked. Made by `engine.campaign.load`."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$",
        description="letters, digits, - and _",
    )
    kind: Literal["marketing", "transactional"] = "marketing"
    recipients: Recipients = Recipients()
    message: Message
    provider: Provider
    limits: Limits = Limits()

    _file: Path = PrivateAttr(default=Path("campaign.toml"))

    @property
    def file(self) -> Path:
        """The file it was read from: its relative paths start in that folder."""
        return self._file

    @property
    def home(self) -> Path:
        """The folder that holds `templates/`: the file's own, else the one above."""
        return home_of(self._file)

    @property
    def templates(self) -> Path:
        """The folder of the templates."""
        return self.home / "templates"

    def list(self) -> str:
        """Return the list that the file names, as a path or glob from here."""
        if self.recipients.source is None:
            raise ValueError("the campaign names no list")
        return str(self._file.parent / self.recipients.source)

    def bound_to(self, file: Path) -> Self:
        """Return the same campaign as if it had been read from `file`."""
        bound = self.model_copy()
        bound._file = file  # noqa: SLF001 - our own private attribute
        return bound


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def home_of(file: Path) -> Path:
    """The folder that holds `templates/`: the file's own, else the one above."""
    folder = file.parent
    if (folder / "templates").is_dir():
        return folder
    return folder.parent if folder.name not in {"", ".."} else folder / ".."
