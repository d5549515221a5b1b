"""A problem in a campaign file, told in one line: where, what it is, what to write."""

import difflib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from engine.campaign.sections import Campaign


def sentence(detail: ErrorDetails) -> str:
    """Say where a problem is, what stands there and what to write.

    The value is left out where it may be a secret.
    """
    loc = detail["loc"]
    field = _field(loc)
    place = _place(loc)
    wanted = f": {field.description}" if field and field.description else ""
    match detail["type"]:
        case "missing":
            return f"{place} is missing{wanted}"
        case "extra_forbidden":
            near = difflib.get_close_matches(str(loc[-1]), _keys(loc[:-1]), n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            return f"{place}: there is no such key{hint}"
        case "string_pattern_mismatch":
            return f"{place} = {_shown(detail)}{wanted}"
        case _:
            message = detail["msg"][0].lower() + detail["msg"][1:]
            if "token" in loc or isinstance(detail["input"], dict):
                return f"{place}: {message}"
            return f"{place} = {_shown(detail)}: {message}"


def _place(loc: tuple[int | str, ...]) -> str:
    """Write a place as it looks in the file: `[section] key`."""
    if _section(loc) is not None:
        return f"[{'.'.join(map(str, loc))}]"
    *sections, key = map(str, loc)
    return f"[{'.'.join(sections)}] {key}" if sections else key


def _shown(detail: ErrorDetails) -> str:
    return json.dumps(detail["input"], ensure_ascii=False, default=str)


def _section(loc: Iterable[int | str]) -> type[BaseModel] | None:
    """Return the section at a place, or None if a key or nothing is there."""
    section: type[BaseModel] = Campaign
    for step in loc:
        field = _fields(section).get(str(step))
        if field is None:
            return None
        kinds = (field.annotation, *getattr(field.annotation, "__args__", ()))
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if not inner:
            return None
        section = inner[0]
    return section


def _fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or n: field for n, field in section.model_fields.items()}


def _keys(loc: tuple[int | str, ...]) -> list[str]:
    section = _section(loc)
    return list(_fields(section)) if section else []


def _field(loc: tuple[int | str, ...]) -> Any:
    section = _section(loc[:-1])
    return _fields(section).get(str(loc[-1])) if section and loc else None
