"""Which headers Cloudflare's `send` lets a client set, and what they may hold.

Only headers of a list and `X-...` pass; the platform writes others itself, and those
with a field of their own must come through it.

Source:
    Cloudflare Email Service, "Email headers", read 2026-11-20: lists, limits, the rule
    for the size, and the words of the errors.
"""

import re
from collections.abc import Mapping

from engine.sandbox.cloudflare.refusal import Error, Refused

_MAX_LISTED = 20
_MAX_NAME = 100
_MAX_VALUE = 2048
_MAX_TOTAL = 16 * 1024

_NAME = re.compile(r"[A-Za-z0-9-]+|[Xx]-[A-Za-z0-9_-]+").fullmatch
_URIS = re.compile(
    r"<(https://|mailto:)[^<>\s]+>(\s*,\s*<(https://|mailto:)[^<>\s]+>)*"
)
_ONE_CLICK = "List-Unsubscribe=One-Click"

_BY_PLATFORM = frozenset(
    (
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
        "dkim-signature",
        "return-path",
        "received",
        "feedback-id",
        "tls-required",
        "tls-report-domain",
        "tls-report-submitter",
        "cfbl-address",
        "cfbl-feedback-id",
    )
)
_BY_FIELD = {
    "from": "from",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "subject": "subject",
    "reply-to": "reply_to",
}
#: The listed headers, and the values of those that have a few.
_LISTED: dict[str, frozenset[str]] = dict.fromkeys(
    (
        "in-reply-to",
        "references",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "list-id",
        "list-archive",
        "list-help",
        "list-owner",
        "list-post",
        "list-subscribe",
        "content-language",
        "keywords",
        "comments",
        "organization",
        "require-recipient-valid-since",
        "expires",
        "reply-by",
        "archived-at",
    ),
    frozenset(),
) | {
    "precedence": frozenset(("bulk", "list", "junk")),
    "auto-submitted": frozenset(("auto-generated", "auto-replied", "auto-notified")),
    "importance": frozenset(("high", "normal", "low")),
    "priority": frozenset(("normal", "non-urgent", "urgent")),
    "sensitivity": frozenset(("personal", "private", "company-confidential")),
}


def check_headers(headers: object) -> int:
    """Check the `headers` of a message; returns their bytes.

    Raises:
        Refused: with the word of the first rule that is broken.
    """
    if not isinstance(headers, dict):
        raise Refused(Error.SCHEMA, "headers: must be an object")
    by_name: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(value, str):
            raise Refused(Error.SCHEMA, f"headers: {name} must be a string")
        if name.lower() in by_name:
            raise _wrong("E_HEADER_NAME_INVALID", f"Header '{name}' is there twice.")
        _check_name(name)
        _check_value(name, value)
        by_name[name.lower()] = value
    _check_unsubscribe(by_name)
    return _check_together(by_name)


def _wrong(word: str, sentence: str) -> Refused:
    return Refused(Error.SCHEMA, sentence, message=f"{word}: {sentence}")


def _check_name(name: str) -> None:
    low = name.lower()
    if len(name) > _MAX_NAME or not _NAME(name):
        sentence = f"Header name '{name}' contains invalid characters or is too long."
        raise _wrong("E_HEADER_NAME_INVALID", sentence)
    if low in _BY_FIELD:
        sentence = (
            f"Header '{name}' must be set via the '{_BY_FIELD[low]}' API field, "
            "not the 'headers' object."
        )
        raise _wrong("E_HEADER_USE_API_FIELD", sentence)
    if low in _BY_PLATFORM or low.startswith("arc-"):
        sentence = f"Header '{name}' is not allowed. It is auto-generated."
        raise _wrong("E_HEADER_NOT_ALLOWED", sentence)
    if low not in _LISTED and not low.startswith("x-"):
        sentence = f"Header '{name}' is not allowed. Use an X- header."
        raise _wrong("E_HEADER_NOT_ALLOWED", sentence)


def _check_value(name: str, value: str) -> None:
    if len(value.encode()) > _MAX_VALUE:
        sentence = f"Header '{name}' value exceeds {_MAX_VALUE} byte limit."
        raise _wrong("E_HEADER_VALUE_TOO_LONG", sentence)
    if not value.strip() or "\r" in value or "\n" in value:
        sentence = f"Header '{name}' must be one line that is not empty."
        raise _wrong("E_HEADER_VALUE_INVALID", sentence)
    choices = _LISTED.get(name.lower(), frozenset())
    if choices and value not in choices:
        sentence = f"Header '{name}' must be one of {', '.join(sorted(choices))}."
        raise _wrong("E_HEADER_VALUE_INVALID", sentence)


def _check_unsubscribe(headers: Mapping[str, str]) -> None:
    uris = headers.get("list-unsubscribe")
    if uris is not None and not _URIS.fullmatch(uris.strip()):
        sentence = (
            "Header 'List-Unsubscribe' must contain angle-bracket HTTPS or mailto "
            "URI(s)."
        )
        raise _wrong("E_HEADER_VALUE_INVALID", sentence)
    post = headers.get("list-unsubscribe-post", _ONE_CLICK)
    needs_https = "list-unsubscribe-post" in headers
    if post != _ONE_CLICK or (needs_https and "<https://" not in (uris or "")):
        sentence = (
            f"Header 'List-Unsubscribe-Post' must be '{_ONE_CLICK}', beside a "
            "List-Unsubscribe with an HTTPS URI."
        )
        raise _wrong("E_HEADER_VALUE_INVALID", sentence)


def _check_together(headers: Mapping[str, str]) -> int:
    listed = sum(not name.startswith("x-") for name in headers)
    if listed > _MAX_LISTED:
        sentence = f"{listed} allowlisted headers provided, maximum is {_MAX_LISTED}."
        raise _wrong("E_HEADERS_TOO_MANY", sentence)
    total = sum(len(name) + len(value.encode()) + 4 for name, value in headers.items())
    if total > _MAX_TOTAL:
        sentence = f"Total custom headers payload ({total}B) exceeds 16KB limit."
        raise _wrong("E_HEADERS_TOO_LARGE", sentence)
    return total
