"""How a request's fields are read, and the flaws they can have.

Each form is a table: the field's name, what its value must be, and the words for it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias
from urllib.parse import urlsplit

import orjson

from engine.sandbox.store import Call

#: What a field's value must be, and the words for it.
Rule: TypeAlias = tuple[Callable[[object], bool], str]

_DOMAIN = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", re.IGNORECASE
).fullmatch


class Flaw(Exception):
    """Why a request is refused.

    Attributes:
        status: the HTTP status of the answer.
        headers: what the answer says besides.
    """

    def __init__(
        self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the Core API, read as far as its path.

    Attributes:
        id: the last id in the path; empty if there is none.
        query: the parameters behind the `?`.
        strict: refuse undocumented fields.
    """

    call: Call
    id: str
    query: Mapping[str, str]
    strict: bool

    @property
    def at(self) -> datetime:
        """When it came, UTC."""
        return self.call.at

    def required(self, name: str) -> str:
        """Return a parameter that must be there.

        Raises:
            Flaw: it is not.
        """
        if not self.query.get(name):
            raise Flaw(422, f"{name} is required")
        return self.query[name]

    def read(
        self, rules: Mapping[str, Rule], required: Sequence[str]
    ) -> dict[str, object]:
        """Read the body by a form.

        Returns:
            The form's fields, those that are there.

        Raises:
            Flaw: the body does not fit.
        """
        content = read_object(self.call)
        check(content, rules, required, strict=self.strict)
        return {name: content[name] for name in rules if name in content}


def read_object(call: Call) -> dict[str, object]:
    """Read a body that must be a JSON object.

    Raises:
        Flaw: it is none.
    """
    media_type = call.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        raise Flaw(422, "Content-Type must be application/json")
    try:
        content = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise Flaw(400, f"Malformed JSON: {error}") from error
    if not isinstance(content, dict):
        raise Flaw(422, "The body must be a JSON object")
    return content


def check(
    content: Mapping[str, object],
    rules: Mapping[str, Rule],
    required: Sequence[str],
    *,
    strict: bool,
    where: str = "",
) -> None:
    """Hold an object against a form.

    Args:
        content: the object.
        rules: of each field.
        required: names of fields that must be there.
        strict: refuse fields that are not in the form.
        where: what stands before a field's name in messages.

    Raises:
        Flaw: the first that does not fit.
    """
    for name in required:
        if content.get(name) in (None, "", []):
            raise Flaw(422, f"{where}{name} is required")
    for name, value in content.items():
        rule = rules.get(name)
        if rule is not None and not rule[0](value):
            raise Flaw(422, f"{where}{name} must be {rule[1]}")
        if rule is None and strict:
            raise Flaw(422, f"{where}{name} is not a field")


def is_text(value: object) -> bool:
    """Say whether it is text, perhaps empty."""
    return isinstance(value, str)


def is_line(value: object) -> bool:
    """Say whether it is one line of text, perhaps empty."""
    return isinstance(value, str) and value.splitlines() in ([], [value])


def is_text_or_null(value: object) -> bool:
    """Say whether it is text or null."""
    return value is None or isinstance(value, str)


def is_object(value: object) -> bool:
    """Say whether it is an object."""
    return isinstance(value, dict)


def is_flag(value: object) -> bool:
    """Say whether it is true or false."""
    return isinstance(value, bool)


def is_url(value: object) -> bool:
    """Say whether it is a URL that HTTP can be spoken to."""
    if not isinstance(value, str) or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def is_domain(value: object) -> bool:
    """Say whether it is the name of a domain below a top-level domain."""
    return isinstance(value, str) and _DOMAIN(value) is not None


def one_of(*choices: str) -> Rule:
    """Return the rule that a value is one of these."""
    allowed = frozenset(choices)
    return (
        lambda value: isinstance(value, str) and value in allowed,
        f"one of {', '.join(choices)}",
    )
