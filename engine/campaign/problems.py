"""A problem in a campaign file, told in one line: where, what it is, what to write.

The value is shown, but never where a secret may stand: in a token, in a key that does
not exist, in the address of an API with credentials or a query, or in what should be a
section and is not.
"""

import difflib
import json
import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from engine.campaign.sections import Campaign

#: pydantic's type of error to what is wrong, in the words of a TOML file.
WORDS = {
    "bool_type": "must be true or false",
    "dict_type": "must be a section of its own",
    "finite_number": "must be a finite number",
    "float_parsing": "write a share: 0.1 for 10 %",  # all else is strictly a number
    "float_type": "must be a number",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge}",
    "int_type": "must be a whole number",
    "datetime_type": "write a moment without quotes: 2026-12-24T18:00:00+01:00",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le}",
    "model_type": "must be a section of its own",
    "string_too_short": "must not be empty",
    "string_type": "must be text, in quotation marks",
    "timezone_aware": "needs its offset from UTC: 2026-12-24T18:00:00+01:00",
    "tuple_type": 'must be a list: ["…", "…"]',
}
#: Types of error that are told without the value.
UNSHOWN = frozenset(
    {"body", "dict_type", "header", "model_type", "secret_url", "twice"}
)


def sentence(detail: ErrorDetails) -> str:
    """Say where a problem is, what stands there and what to write.

    The value is left out where it may be a secret.
    """
    kind, loc = detail["type"], detail["loc"]
    if loc[-1] == "[key]":  # pydantic's mark for what is wrong with a key
        loc = loc[:-1]
    place = _place(loc[:-1] if kind == "body" else loc)
    field = _field(loc)
    wanted = (field.description if field else None) or ""
    match kind:
        case "missing":
            return f"{place} is missing: {wanted}"
        case "extra_forbidden":
            keys = _keys(loc[:-1])
            near = difflib.get_close_matches(str(loc[-1]), keys, n=1, cutoff=0.7)
            hint = f'did you mean "{near[0]}"?' if near else f"keys: {', '.join(keys)}"
            return f"{place}: there is no such key; {hint}"
        case "body":
            return f"{place} {detail['msg']}"
        case "model_type" if loc[-1] == "token":
            return f"{place}: write {wanted}"
    wrong = _wrong(detail, wanted)
    is_table = isinstance(detail["input"], dict)
    if kind in UNSHOWN or is_table or "token" in loc:
        return f"{place}: {wrong}"
    return f"{place} = {_shown(detail)}: {wrong}"


def _wrong(detail: ErrorDetails, wanted: str) -> str:
    """Say what is wrong with a value and what to write instead."""
    kind, context = detail["type"], detail.get("ctx", {})
    match kind:
        case "string_pattern_mismatch":
            return f"write {wanted}"
        case "literal_error":
            return f"write {context['expected']}".replace("'", '"')
        case "tuple_type" if isinstance(detail["input"], dict):
            place = ".".join(map(str, detail["loc"]))
            return f"write [[{place}]], with two brackets, once for each"
        case _ if kind in WORDS:
            return WORDS[kind].format(**context)
        case _:
            return detail["msg"]


def _place(loc: tuple[int | str, ...]) -> str:
    """Write a place as it looks in the file: `[section] key`."""
    if isinstance(loc[-1], int):
        return f"{_place(loc[:-1])}, item {loc[-1] + 1}"
    for place, step in enumerate(loc):
        if isinstance(step, int):  # a section that may be there several times
            head = ".".join(map(str, loc[:place]))
            return f"[[{head}]] item {step + 1}, {quoted(str(loc[-1]))}"
    if _section(loc) is not None:
        return f"[{'.'.join(map(str, loc))}]"
    *sections, key = (quoted(str(step)) for step in loc)
    return f"[{'.'.join(sections)}] {key}" if sections else key


def quoted(key: str) -> str:
    """Write a key as TOML does: as it is, or between quotation marks."""
    bare = re.fullmatch(r"[A-Za-z0-9_-]+", key)
    return key if bare else json.dumps(key, ensure_ascii=False)


def _shown(detail: ErrorDetails) -> str:
    return json.dumps(detail["input"], ensure_ascii=False, default=str)


def _section(loc: Iterable[int | str]) -> type[BaseModel] | None:
    """Return the section at a place, or None if a key or nothing is there."""
    section: type[BaseModel] = Campaign
    for step in loc:
        if isinstance(step, int):
            continue
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
