"""The sections that say who of the list gets it, and which message of several."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from engine.campaign.guards import Seconds
from engine.campaign.values import Named, Section


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
