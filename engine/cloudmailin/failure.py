"""What an answer of the Core API means that is none: one error, made here.

Rules: a message names what was asked, the status and CloudMailin's own words, short and
without credentials. `in_doubt` is said of changes alone: a question that was not
answered has changed nothing.
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus

import orjson

from engine.errors import (
    AccountRejected,
    BatchRejected,
    CloudMailinError,
    Kind,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.message import Response
from engine.providers.answers import spoken, words
from engine.providers.base import refuse

NAME = "CloudMailin"
_HINTS = {
    "credentials": (
        "check the account's id and its API token; the token of SMTP and of sending is "
        "another one"
    ),
    "forbidden": (
        "the Core API is a private beta: ask CloudMailin to open it for the account"
    ),
    "wrong_address": "check the base URL: redirects are not followed",
    "not_found": "list what there is, and check the account's id",
    "certificate": "check the base URL, and the certificates and clock of this machine",
}


def of_answer(response: Response, asked: str, *, changes: bool) -> CloudMailinError:
    """Say what an answer outside 2xx means; the caller raises it."""
    error = of_request(
        refuse(response, provider=NAME), asked, changes=changes, said=_fields(response)
    )
    if response.status == HTTPStatus.NOT_FOUND:
        error.kind, error.reason = "refused", "not_found"
        error.hint = _HINTS["not_found"]
    return error


def of_request(
    cause: ProviderError, asked: str, *, changes: bool, said: str = ""
) -> CloudMailinError:
    """Say what a request without an answer of 2xx means; the caller raises it."""
    kind: Kind
    match cause:
        case AccountRejected():
            kind = "account"
        case BatchRejected():
            kind = "refused"
        case Unanswered() if changes:
            kind = "in_doubt"
        case _:
            kind = "unavailable"
    wait = cause.retry_after if isinstance(cause, Throttled | Unavailable) else None
    return CloudMailinError(
        f"cannot {asked}: {cause}{said}",
        asked=asked,
        kind=kind,
        reason=cause.reason,
        http_status=cause.http_status,
        retry_after=wait,
        hint=_hint(kind, cause.reason),
    )


def unreadable(response: Response, asked: str, *, changes: bool) -> CloudMailinError:
    """Say that an answer of 2xx is none that the documents know; the caller raises."""
    said = spoken(response.body)[1]
    kind: Kind = "in_doubt" if changes else "unavailable"
    return CloudMailinError(
        f"cannot {asked}: {NAME} answered {response.status}, "
        + (f"which is not as documented: {said}" if said else "and nothing more"),
        asked=asked,
        kind=kind,
        reason="unreadable_answer",
        http_status=response.status,
        hint=_hint(kind, "unreadable_answer"),
    )


def _hint(kind: Kind, reason: str) -> str:
    if reason in _HINTS:
        return _HINTS[reason]
    if kind == "in_doubt":
        return "perhaps it was done: list what there is before you ask again"
    return "nothing was changed; ask again later" if kind == "unavailable" else ""


def _fields(response: Response) -> str:
    """Return what an answer says of fields: `{"errors": {"target": ["is invalid"]}}`.

    The documents know `{"status", "error"}` alone, which the general reading takes; by
    field is how its framework, Rails, tells of failed validations.
    """
    try:
        answer = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return ""
    found = answer.get("errors") if isinstance(answer, dict) else None
    if not isinstance(found, dict):
        return ""
    told = words("; ".join(_complaints(found)))
    return f": {told}" if told else ""


def _complaints(errors: Mapping[str, object]) -> Iterator[str]:
    for field, value in errors.items():
        told = value if isinstance(value, list) else [value]
        texts = [text for text in told if isinstance(text, str)]
        if texts:
            yield f"{field} {', '.join(texts)}"
