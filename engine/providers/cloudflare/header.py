"""Which header fields Cloudflare takes, checked before anything leaves.

What `send` refuses is an error. Of `send_raw` the documents do not say whether the same
list holds, so there it is a warning; the limits of sizes hold for both.

Source:
    "Email headers" and "Limits" of Cloudflare's Email Service, read 2026-11-20.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from engine.message import Envelope
from engine.providers.base import Finding

#: "Platform-controlled headers"; and all that begin with ARC-.
_CONTROLLED = frozenset(
    {"cfbl-address", "cfbl-feedback-id", "content-transfer-encoding", "content-type"}
    | {"date", "dkim-signature", "feedback-id", "message-id", "mime-version"}
    | {"received", "return-path", "tls-report-domain", "tls-report-submitter"}
    | {"tls-required"}
)
#: "Allowlisted custom headers"; and all that begin with X-.
_ALLOWED = frozenset(
    {"archived-at", "auto-submitted", "comments", "content-language", "expires"}
    | {"importance", "in-reply-to", "keywords", "list-archive", "list-help", "list-id"}
    | {"list-owner", "list-post", "list-subscribe", "list-unsubscribe"}
    | {"list-unsubscribe-post", "organization", "precedence", "priority", "references"}
    | {"reply-by", "require-recipient-valid-since", "sensitivity"}
)
#: Fields of a closed set of values.
_VALUES: Mapping[str, tuple[str, ...]] = {
    "auto-submitted": ("auto-generated", "auto-replied", "auto-notified"),
    "importance": ("high", "normal", "low"),
    "precedence": ("bulk", "list", "junk"),
    "priority": ("normal", "non-urgent", "urgent"),
    "sensitivity": ("personal", "private", "company-confidential"),
}
_ONE_CLICK = "List-Unsubscribe=One-Click"
_X_NAME = re.compile(r"X-[A-Za-z0-9_-]+", re.IGNORECASE)
#: "`<https://...>` and/or `<mailto:...>` URI(s)"
_URI = r"<(?:https://|mailto:)[^<>]+>"
_UNSUBSCRIBE = re.compile(rf"\s*{_URI}(?:\s*,\s*{_URI})*\s*", re.IGNORECASE)

_LONGEST_NAME = 100
_LONGEST_VALUE = 2048
_MOST_LISTED = 20
#: "sum(len(name) + 2 + len(value) + 2)"
_LARGEST = 16 * 1024


def review_headers(envelope: Envelope, *, listed: bool) -> list[Finding]:
    """Return what of the further header fields Cloudflare does not take.

    The values of those that differ from message to message are not known here.

    Args:
        envelope: what all messages share.
        listed: whether it is certain that Cloudflare's list of headers holds.
    """
    values = envelope.extras.headers
    names = [*dict.fromkeys((*envelope.header_names, *values))]
    severity: Literal["error", "warning"] = "error" if listed else "warning"
    found = [Finding(severity, told) for told in _names(names)]
    found += [
        Finding(severity, told)
        for name, value in values.items()
        for told in _value(name, value, values)
    ]
    return found + [Finding("error", told) for told in _sizes(values)]


def _names(names: list[str]) -> Iterator[str]:
    listed = 0
    for name in names:
        low = name.lower()
        if low.startswith("x-"):
            if not _X_NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
                yield (
                    f"Cloudflare does not take the header name {name}: write letters, "
                    f"digits, - and _ behind X-, at most {_LONGEST_NAME} characters"
                )
            continue
        listed += 1
        if low in _CONTROLLED or low.startswith("arc-"):
            yield f"Cloudflare writes the header {name} itself: take it out"
        elif low not in _ALLOWED:
            yield (
                f"the header {name} is not on Cloudflare's list: write X-{name}, or "
                "take it out"
            )
    if listed > _MOST_LISTED:
        yield (
            f"Cloudflare takes {_MOST_LISTED} headers whose names do not begin with "
            f"X-: there are {listed}"
        )


def _value(name: str, value: str, values: Mapping[str, str]) -> Iterator[str]:
    low = name.lower()
    known = _VALUES.get(low)
    if known is not None and value.lower() not in known:
        yield f"Cloudflare takes {name} with one of {', '.join(known)}: it is {value}"
    if low == "list-unsubscribe" and not _UNSUBSCRIBE.fullmatch(value):
        yield (
            f"Cloudflare takes {name} with <https://…> or <mailto:…>, in angle "
            "brackets, alone"
        )
    if low != "list-unsubscribe-post":
        return
    if value != _ONE_CLICK:
        yield f"Cloudflare takes {name} with exactly {_ONE_CLICK}"
    unsubscribe = {key.lower(): text for key, text in values.items()}
    if "<https://" not in unsubscribe.get("list-unsubscribe", "<https://").lower():
        yield f"{name} needs a List-Unsubscribe with an <https://…>"


def _sizes(values: Mapping[str, str]) -> Iterator[str]:
    total = 0
    for name, value in values.items():
        size = len(value.encode())
        total += len(name) + 2 + size + 2
        if not value.strip():
            yield f"Cloudflare refuses a header without a value: {name}"
        if size > _LONGEST_VALUE:
            yield (
                f"the header {name} has {size} bytes: Cloudflare takes {_LONGEST_VALUE}"
            )
    if total > _LARGEST:
        yield f"the headers have {total} bytes together: Cloudflare takes {_LARGEST}"
