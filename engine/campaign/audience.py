"""The sections that say who of the list gets it, and which message of several."""

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from engine.campaign.guards import Seconds, Share
from engine.campaign.message import Message
from engine.campaign.values import PLAIN_NAME, Named, Section

#: What the messages are called that no variant gets a share of.
BASE: Final = "base"
#: Shares that miss the whole by less have it: 0.7 + 0.2 + 0.1 is not 1 to a computer.
_CLOSE: Final = 1e-9


class ExcludeList(Section):
    """A list of people who do not get it."""

    source: Named = Field(description="a path, glob or folder, beside this file")
    by: Literal["address", "key"] = Field(
        "address", description="what people are known by on both lists"
    )
    column: Named | None = Field(
        None, description="its column of these; else named as in [recipients]"
    )


def _as_table(value: object) -> object:
    return {"source": value} if isinstance(value, str) else value


Excluded = Annotated[
    ExcludeList, BeforeValidator(_as_table, json_schema_input_type=str | ExcludeList)
]


class Audience(Section):
    """Who is left out, for what else they are or have got."""

    exclude: tuple[Excluded, ...] = Field(
        (), strict=False, description='lists of people left out: ["customers.csv"]'
    )
    not_in: tuple[Named, ...] = Field(
        (),
        strict=False,
        description="campaigns; whom they have written to is left out",
    )
    not_mailed_within: Seconds | None = Field(
        None, gt=0, description='"7 days": who got a message since then is left out'
    )
    most: int = Field(
        1, ge=1, description="messages within that time from which one is left out"
    )
    counting: Literal["marketing", "all"] = Field(
        "marketing", description='which campaigns\' messages count: "all" with receipts'
    )

    @field_validator("most")
    @classmethod
    def _of_a_time(cls, most: int, info: ValidationInfo) -> int:
        if most > 1 and info.data.get("not_mailed_within", 0) is None:
            raise PydanticCustomError(
                "body", 'has most without a time: write not_mailed_within = "7 days"'
            )
        return most


class Holdout(Section):
    """A share of the list that is not mailed, to compare the others with."""

    share: Share = Field(strict=False, description="share that is not mailed: 0.05")
    salt: Named | None = Field(
        None,
        description="the same salt holds out the same people; else the campaign's name",
    )


class Variant(Section):
    """A message that a share of the list gets in place of the campaign's own."""

    name: str = Field(
        pattern=PLAIN_NAME,
        description="letters, digits, - and _",
    )
    share: float = Field(
        gt=0, le=1, allow_inf_nan=False, strict=False, description="share that gets it"
    )
    subject: Named | None = Field(None, description="a template, below templates/")
    html: Named | None = Field(None, description="likewise, where [message] has html")
    markdown: Named | None = Field(
        None, description="likewise, where [message] has markdown"
    )
    text: Named | None = Field(None, description="likewise, where mails have a text")

    @property
    def parts(self) -> dict[str, str]:
        """The templates by part, of those that are its own."""
        return self.model_dump(exclude={"name", "share"}, exclude_none=True)

    def of(self, message: Message) -> Message:
        """Return the message that those who get this variant get."""
        return message.model_copy(update=self.parts)


def check_variants(variants: tuple[Variant, ...], message: Message | None) -> None:
    """Refuse variants that cannot be those of one message.

    Messages of one request are alike in what parts they have.

    Args:
        variants: those of the campaign.
        message: its message; None: that is wrong itself.

    Raises:
        PydanticCustomError: with the first thing that is wrong.
    """
    names = [variant.name for variant in variants]
    for name in names:
        if name == BASE or names.count(name) > 1:
            told = "is what the rest gets" if name == BASE else "is there twice"
            raise PydanticCustomError("twice", f'"{name}" {told}: write another name')
    if (total := sum(variant.share for variant in variants)) > 1 + _CLOSE:
        raise PydanticCustomError(
            "twice", f"the shares are {total:g} together, above 1"
        )
    if message is None:
        return
    known = {*message.parts, *(["text"] if message.derives_text else [])}
    for variant in variants:
        if unknown := variant.parts.keys() - known:
            part = min(unknown)
            told = f'"{variant.name}" has {part}, and [message] has none'
            raise PydanticCustomError("twice", told)


def has_rest(variants: tuple[Variant, ...]) -> bool:
    """Whether some of the list get the campaign's own message."""
    return sum(variant.share for variant in variants) < 1 - _CLOSE
