"""The sections of a campaign file, and what each of their keys may say.

Two rules. Unknown keys are errors: a misspelt limit would otherwise be no limit. And a
secret never stands in the file: a token is only ever named by where it is kept.

What the providers know of their own settings comes in as a catalogue, through
pydantic's validation context; this module knows none of them by name.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AwareDatetime,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from engine.campaign.audience import (
    BASE,
    Audience,
    Holdout,
    Variant,
    check_variants,
    has_rest,
)
from engine.campaign.guards import Canary, Expect, Lint, StopRules, Unsubscribe
from engine.campaign.message import Message
from engine.campaign.values import PLAIN_NAME, Named, Section, is_loopback
from engine.message import HEADER_UNSAFE

#: Provider name to the keys of [provider] that it takes beyond the common ones.
Catalogue = Mapping[str, Iterable[str]]

ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
HOST = re.compile(r"[\w.-]+")


ColumnType = Literal["text", "integer", "number", "boolean", "date", "datetime"]


class Recipients(Section):
    """Who gets it."""

    source: Named | None = Field(
        None, description="the list: a path, glob or folder, beside this file"
    )
    address: Named = Field("email", description="the column of the addresses")
    name: Named | None = Field(None, description="the column of the display names")
    key: Named | None = Field(
        None, description="the column of the recipients' own ids; else the address"
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict,
        description="column = type, for CSV and TSV; undeclared columns are text",
    )


class Token(Section):
    """Where the account's secret is kept: an environment variable or a file."""

    env: str | None = Field(None, description="the name of an environment variable")
    file: Named | None = Field(None, description="a file that only its owner may read")

    @field_validator("env")
    @classmethod
    def _name_of_variable(cls, env: str | None) -> str | None:
        # Whoever writes the secret itself here must not find it in a log.
        if env is not None and not ENV_NAME.fullmatch(env):
            raise PydanticCustomError(
                "env",
                "is not the name of an environment variable; "
                "a secret does not belong here",
            )
        return env

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
    username: Named | None = Field(None, description="CloudMailin: the SMTP username")
    account_id: Named | None = Field(None, description="Cloudflare: the account")
    domain: Named | None = Field(None, description="MailerLogic: the sending domain")
    stream_type: Named | None = Field(None, description="MailerLogic: the stream")
    email: Named | None = Field(
        None, description="Cloudflare: the account's address, with a legacy key"
    )
    format: Literal["raw", "json"] | None = Field(
        None, description="send finished mails, or their parts as JSON"
    )
    priority: Literal["standard", "priority", "digest"] | None = Field(
        None, description="CloudMailin: how urgent it is"
    )
    test_mode: bool | None = Field(
        None, description="the provider checks the mails and sends none"
    )
    markdown: bool | None = Field(
        None, description="send the Markdown itself, which the provider converts"
    )

    @field_validator("token", mode="before")
    @classmethod
    def _no_secret_here(cls, token: object) -> object:
        if isinstance(token, str):
            raise PydanticCustomError(
                "token",
                "a secret does not belong here: "
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
        if url is None:
            return url
        # Anything of these may be or carry a secret, so it is not shown either.
        if re.search(r"[@?#]", url):
            raise PydanticCustomError(
                "secret_url", "write it without credentials, query and fragment"
            )
        scheme, host = _scheme_and_host(url)
        if scheme not in {"http", "https"} or not host:
            raise PydanticCustomError("url", 'write "https://host/path"')
        if scheme == "http" and not is_loopback(host):
            raise PydanticCustomError(
                "url", "plain http reaches only this machine: write https://"
            )
        return url.rstrip("/")

    @field_validator(
        "username",
        "account_id",
        "domain",
        "stream_type",
        "email",
        "format",
        "priority",
        "test_mode",
        "markdown",
    )
    @classmethod
    def _taken_by_provider(cls, value: object, info: ValidationInfo) -> object:
        catalogue = (info.context or {}).get("catalogue")
        name = info.data.get("name")
        if catalogue is not None and name and info.field_name not in catalogue[name]:
            raise PydanticCustomError(
                "setting", "{name} does not take this key", {"name": name}
            )
        return value


class Limits(Section):
    """How fast. All limits are the account's: all workers together."""

    messages_per_second: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="messages a second at most"
    )
    requests_per_second: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="requests a second at most"
    )
    burst: int | None = Field(
        None, ge=1, description="messages that may leave at once, above the rate"
    )
    workers: int = Field(8, ge=1, le=1000, description="requests in flight")
    batch_size: int | None = Field(
        None, ge=1, description="messages per request; else what the provider takes"
    )
    max_exposure: int | None = Field(
        None,
        ge=1,
        description="messages under way at once; as many may be in doubt after a crash",
    )
    patience: float = Field(
        3600.0,
        gt=0,
        strict=False,
        description="seconds without any answer after which the run stops",
    )


class Campaign(Section):
    """One campaign, checked. Made by `engine.campaign.load`."""

    name: str = Field(
        pattern=PLAIN_NAME,
        description="letters, digits, - and _, at most 100, "
        "the first a letter or digit",
    )
    kind: Literal["marketing", "transactional"] = Field(
        "marketing", description="transactional: receipts and the like, with no offer"
    )
    recipients: Recipients = Recipients()
    message: Message = Field(
        description="a section with from, subject, and html, markdown or text"
    )
    provider: Provider = Field(description="a section with name and token")
    audience: Audience | None = Field(
        None, description="who of the list is left out: exclude, not_in and the like"
    )
    holdout: Holdout | None = Field(
        None, description="a section with share: who is not mailed, to compare with"
    )
    variants: tuple[Variant, ...] = Field(
        (), strict=False, description="messages, each for a share of the list"
    )
    limits: Limits = Limits()
    unsubscribe: Unsubscribe | None = Field(
        None, description="a section with url: one-click unsubscribe"
    )
    start_by: AwareDatetime | None = Field(
        None,
        description="not begun after this moment: 2026-12-24T18:00:00+01:00",
    )
    expect: Expect | None = Field(None, description="how many it should reach")
    stop: StopRules | None = Field(None, description="when a run ends by itself")
    canary: Canary | None = Field(None, description="a few first, then the rest")
    lint: Lint = Lint()

    _file: Path = PrivateAttr(default=Path("campaign.toml"))

    @field_validator("variants")
    @classmethod
    def _of_one_message(
        cls, variants: tuple[Variant, ...], info: ValidationInfo
    ) -> tuple[Variant, ...]:
        check_variants(variants, info.data.get("message"))
        return variants

    @property
    def messages(self) -> dict[str, Message]:
        """What each variant gets, and what the rest gets; empty without variants."""
        found = {one.name: one.of(self.message) for one in self.variants}
        rest = bool(self.variants) and has_rest(self.variants)
        return found | ({BASE: self.message} if rest else {})

    @property
    def file(self) -> Path:
        """The file it was read from: its relative paths start in that folder."""
        return self._file

    @property
    def unsubscribe_list(self) -> str:
        """The list that one leaves by a link: the section's, else the campaign's."""
        named = self.unsubscribe.list if self.unsubscribe else None
        return named or self.name

    @property
    def home(self) -> Path:
        """The folder that holds `templates/`: the file's own, else the one above."""
        return home_of(self._file)

    @property
    def templates(self) -> Path:
        """The folder of the templates."""
        return self.home / "templates"

    def folder(self, name: str) -> Path:
        """The folder of that name beside the file, else the one above it."""
        return beside(self._file, name)

    def list(self) -> str:
        """Return the list that the file names, as a path or glob from here."""
        if self.recipients.source is None:
            raise ValueError("the campaign names no list")
        return self.beside(self.recipients.source)

    def beside(self, source: str) -> str:
        """Return a path or glob that the file names, as one from here."""
        return str(self._file.parent / source)

    def bound_to(self, file: Path) -> Self:
        """Return the same campaign as if it had been read from `file`."""
        bound = self.model_copy()
        bound._file = file  # noqa: SLF001 - our own private attribute
        return bound


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Take a URL apart; the host is empty where it is none that can be reached."""
    if HEADER_UNSAFE.search(url) or re.search(r"[\s\\]", url):
        return "", ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # a port beyond 65535, brackets around no IPv6 address
        return "", ""
    if port == 0 or not (HOST.fullmatch(host) or ":" in host):
        return "", ""
    return parts.scheme, host


def home_of(file: Path) -> Path:
    """The folder that holds `templates/`: the file's own, else the one above."""
    return beside(file, "templates").parent


def beside(file: Path, name: str) -> Path:
    """The folder of a name beside a file if it is there, else above the file's own."""
    folder = file.parent
    if (folder / name).is_dir():
        return folder / name
    return (folder.parent if folder.name not in {"", ".."} else folder / "..") / name
