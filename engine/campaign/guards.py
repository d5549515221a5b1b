"""The sections that hold a campaign back: how one leaves, how many, when it stops."""

import math
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from engine.campaign.values import Mailbox, Section, duration, is_loopback

#: What `suppress` takes, too: the name stands in a scope and in every link.
LIST_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"
RULE = re.compile(r"L[0-9]{2}")


def _seconds(value: object) -> object:
    """Take `"15m"` for seconds."""
    if not isinstance(value, str):
        return value
    try:
        return duration(value).total_seconds()
    except ValueError as error:
        told = f"{error}, or a number of seconds: 90"
        raise PydanticCustomError("value", "{told}", {"told": told}) from None


Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Seconds = Annotated[
    float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False, strict=False)
]


class Unsubscribe(Section):
    """One-click unsubscribe: where links lead, and what they take somebody off."""

    url: str = Field(
        description="where `mailvolley events serve` is reached: "
        '"https://mail.example.com"'
    )
    list: str | None = Field(
        None,
        pattern=LIST_NAME,
        description="the list that one leaves: letters, digits, . - and _; "
        "else the campaign's name",
    )
    mailto: Mailbox | None = Field(
        None, description="an address that takes unsubscribes by mail"
    )

    @field_validator("url")
    @classmethod
    def _https(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host = None
        unfit = re.search(r"[\s<>,?#@\\\"\x00-\x20\x7f-\U0010ffff]", url)
        if unfit or not host or parts.scheme not in {"http", "https"}:
            raise PydanticCustomError("url", 'write "https://mail.example.com"')
        if parts.scheme == "http" and not is_loopback(host):
            raise PydanticCustomError(
                "url", "a link to unsubscribe must be https: RFC 8058"
            )
        return url.rstrip("/")

    @field_validator("mailto")
    @classmethod
    def _bare(cls, mailto: str | None) -> str | None:
        if mailto is not None and re.search(r"[<>,?%&\s]", mailto):
            raise PydanticCustomError("mailbox", 'write a bare "address@domain"')
        return mailto


class Expect(Section):
    """How many it should reach; anything else is refused."""

    min: int | None = Field(None, ge=0, description="rows to be mailed at least")
    max: int | None = Field(
        None, ge=0, description="rows to be mailed at most", validate_default=True
    )
    change: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        strict=False,
        description="share by which the list may differ from the last run's: 0.2",
    )

    @field_validator("max")
    @classmethod
    def _above_min(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min")
        if most is not None and least is not None and most < least:
            raise PydanticCustomError(
                "body",
                "has max {most} below min {least}",
                {"most": most, "least": least},
            )
        return most


class Lint(Section):
    """Which rules may be broken."""

    allow: tuple[str, ...] = Field(
        (), strict=False, description='ids of rules that are overridden: ["L25"]'
    )

    @field_validator("allow")
    @classmethod
    def _ids(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        for name in allow:
            if not RULE.fullmatch(name):
                raise PydanticCustomError(
                    "rule",
                    '"{name}" is no rule; `mailvolley rules` lists them',
                    {"name": name},
                )
        return allow


class StopRules(Section):
    """When a run ends by itself, to be looked at and resumed."""

    rejected_share: Share = Field(
        0.05, strict=False, description="share of refused messages that ends the run"
    )
    after: int = Field(
        2000, ge=1, description="messages settled before the share counts"
    )


class Canary(Section):
    """A few first; the rest if these are well."""

    share: Share = Field(0.01, strict=False, description="share that goes first")
    wait: Seconds = Field(
        900.0, description='how long to wait then: "15m", "2h", or seconds'
    )
    rejected_share: Share = Field(
        0.05, strict=False, description="share of refused ones that ends the run"
    )
    bounced_share: Share = Field(
        0.05, strict=False, description="share of hard bounces that ends the run"
    )
    complained_share: Share = Field(
        0.003, strict=False, description="share of complaints that ends the run"
    )

    def count(self, mailable: int) -> int:
        """Say how many of those to be mailed go first: one at least."""
        wanted = math.ceil(round(mailable * self.share, 6))  # 100 * 0.07 is above 7
        return min(mailable, max(1, wanted))
