"""The suppression list of a Cloudflare account: who is not mailed, why, and how long.

How it works: entries in order of creation, one per address, newest listed first. An
entry that has expired is gone from every answer. Five samples are there from the start,
one for each reason, all at `sandbox.example`; the policy entry cannot be changed.

Source:
    Cloudflare API, Email Sending, Suppressions, and Email Service, "Suppression lists",
    read 2026-11-20.
"""

import base64
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple
from urllib.parse import parse_qs

import orjson

from engine.sandbox.cloudflare.mail import is_address
from engine.sandbox.cloudflare.refusal import Error, Refused

_REASONS = ("manual", "complaint", "hard_bounce", "soft_bounce", "policy")
_FILTERS = ("email", "search", "reason")
_DEFAULT_PAGE = 100
_MAX_PAGE = 1000
_MAX_BULK = 1000
_MAX_NOTE = 1000
_SCOPE = {"type": "account"}
#: The samples: address, reason, days they last from the moment of the first question.
_SAMPLES = (
    ("blocked@sandbox.example", "policy", None),
    ("complained@sandbox.example", "complaint", None),
    ("gone@sandbox.example", "hard_bounce", 7),
    ("full@sandbox.example", "soft_bounce", 1),
    ("unsubscribed@sandbox.example", "manual", None),
)


@dataclass(slots=True)
class _Entry:
    """One address on the list."""

    number: int
    id: str
    email: str
    reason: str
    created: datetime
    expires: datetime | None
    note: str | None = None

    @property
    def is_read_only(self) -> bool:
        return self.reason == "policy"

    def describe(self) -> dict[str, object]:
        described: dict[str, object] = {
            "id": self.id,
            "created_at": _text(self.created),
            "email": self.email,
            "expires_at": None if self.expires is None else _text(self.expires),
            "read_only": self.is_read_only,
            "reason": self.reason,
            "scope": _SCOPE,
        }
        return described if self.note is None else described | {"note": self.note}


class Page(NamedTuple):
    """A page of entries, and what is said about it."""

    entries: list[dict[str, object]]
    info: dict[str, object]


class Suppressions:
    """The list of one account.

    Args:
        now: the moment the samples count from, UTC.
    """

    def __init__(self, now: datetime) -> None:
        self._numbers = count(1)
        self._entries: dict[str, _Entry] = {}
        for email, reason, days in _SAMPLES:
            expires = None if days is None else now + timedelta(days=days)
            self._add(email, reason, now, expires, None)

    def holds(self, email: str, now: datetime) -> bool:
        """Say whether an address is on the list."""
        return self._of(email, now) is not None

    def page(self, query: str, now: datetime) -> Page:
        """List entries, newest first.

        Args:
            query: `email`, `search`, `reason`, `per_page` and `cursor`.
            now: UTC.

        Raises:
            Refused: a value is none of those that are allowed.
        """
        asked = {name: values[-1] for name, values in parse_qs(query).items()}
        size = _read_size(asked.get("per_page", str(_DEFAULT_PAGE)))
        filters = {name: asked[name] for name in _FILTERS if name in asked}
        before = None
        if "cursor" in asked:
            before, filters = _open_cursor(asked["cursor"], filters)
        if filters.get("reason", _REASONS[0]) not in _REASONS:
            raise Refused(Error.SCHEMA, f"reason: must be one of {', '.join(_REASONS)}")
        found = [
            entry
            for entry in sorted(self._active(now), key=lambda e: -e.number)
            if _matches(entry, filters) and (before is None or entry.number < before)
        ]
        shown = found[:size]
        last = shown[-1].number if len(found) > len(shown) else None
        info: dict[str, object] = {
            "count": len(shown),
            "per_page": size,
            "next_cursor": None if last is None else _cursor(last, filters),
        }
        return Page([entry.describe() for entry in shown], info)

    def get(self, entry_id: str, now: datetime) -> dict[str, object]:
        """Describe one entry.

        Raises:
            Refused: there is none of this id.
        """
        return self._find(entry_id, now).describe()

    def create(self, item: object, now: datetime) -> dict[str, object]:
        """Add an address.

        Raises:
            Refused: it is none, or is on the list.
        """
        email, expires, note = _read(item, now)
        known = self._of(email, now)
        if known is not None:
            if known.is_read_only:
                raise Refused(Error.FORBIDDEN, f"{email}: the entry is read-only")
            detail = f"{email}: Suppression already exists"
            raise Refused(Error.SCHEMA, detail, status=409)
        entry = self._add(email, "manual", now, expires, note)
        return {"id": entry.id, "scope": _SCOPE}

    def edit(self, entry_id: str, change: object, now: datetime) -> dict[str, object]:
        """Change `expires_at` or `note` of an entry.

        Raises:
            Refused: there is none, it is read-only, or the values are wrong.
        """
        entry = self._changeable(entry_id, now)
        if not isinstance(change, dict) or not change.keys() <= {"expires_at", "note"}:
            raise Refused(Error.SCHEMA, "only expires_at and note can be changed")
        if "expires_at" in change:
            entry.expires = _read_expiry(change["expires_at"], now)
        if "note" in change:
            entry.note = _read_note(change["note"])
        return entry.describe()

    def delete(self, entry_id: str, now: datetime) -> dict[str, object]:
        """Take an entry off the list.

        Raises:
            Refused: there is none, or it is read-only.
        """
        entry = self._changeable(entry_id, now)
        del self._entries[entry.email.lower()]
        return {"id": entry.id, "scope": _SCOPE}

    def add_many(self, content: Mapping[str, object], now: datetime) -> object:
        """Add the addresses of `items`, each judged by itself.

        An entry that is there already becomes a manual one and keeps its id.

        Raises:
            Refused: `items` is no array of at most 1000.
        """
        items = content.get("items")
        if not isinstance(items, list) or not items or len(items) > _MAX_BULK:
            raise Refused(Error.SCHEMA, f"items: must be 1 to {_MAX_BULK} objects")
        seen: set[str] = set()
        results = []
        for index, item in enumerate(items):
            email = item.get("email") if isinstance(item, dict) else None
            if isinstance(email, str) and email.lower() in seen:
                continue
            if isinstance(email, str):
                seen.add(email.lower())
            results.append({"index": index, "email": email, **self._add_one(item, now)})
        tally = Counter(str(result["status"]) for result in results)
        return {
            "total": len(items),
            "processed": tally["processed"],
            "deduplicated": len(items) - len(results),
            "invalid": tally["invalid"],
            "skipped": tally["skipped"],
            "errors": 0,
            "items": results,
        }

    def _add_one(self, item: object, now: datetime) -> dict[str, object]:
        try:
            email, expires, note = _read(item, now)
        except Refused as refusal:
            return {"status": "invalid", "error": refusal.detail}
        known = self._of(email, now)
        if known is None:
            entry = self._add(email, "manual", now, expires, note)
            return {"status": "processed", "id": entry.id, "scope": _SCOPE}
        if known.is_read_only:
            return {"status": "skipped", "error": "The entry is read-only"}
        known.reason, known.expires, known.note = "manual", expires, note
        return {"status": "processed", "id": known.id, "scope": _SCOPE}

    def _add(
        self,
        email: str,
        reason: str,
        now: datetime,
        expires: datetime | None,
        note: str | None,
    ) -> _Entry:
        number, entry_id = next(self._numbers), str(uuid.uuid4())
        entry = _Entry(number, entry_id, email, reason, now, expires, note)
        self._entries[email.lower()] = entry
        return entry

    def _active(self, now: datetime) -> list[_Entry]:
        return [
            entry
            for entry in self._entries.values()
            if entry.expires is None or entry.expires > now
        ]

    def _of(self, email: str, now: datetime) -> _Entry | None:
        entry = self._entries.get(email.lower())
        if entry is None or (entry.expires is not None and entry.expires <= now):
            return None
        return entry

    def _find(self, entry_id: str, now: datetime) -> _Entry:
        for entry in self._active(now):
            if entry.id == entry_id:
                return entry
        raise Refused(Error.NOT_FOUND, "Suppression not found")

    def _changeable(self, entry_id: str, now: datetime) -> _Entry:
        entry = self._find(entry_id, now)
        if entry.is_read_only:
            raise Refused(Error.FORBIDDEN, f"{entry.email}: the entry is read-only")
        return entry


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _matches(entry: _Entry, filters: Mapping[str, str]) -> bool:
    """Say whether an entry is asked for.

    `search` is a whole address, a name before an `@`, or the beginning of an address.
    """
    email, search = entry.email.lower(), filters.get("search", "").lower()
    found = email == search if is_address(search) else email.startswith(search)
    return (
        found
        and filters.get("email", email).lower() == email
        and filters.get("reason", entry.reason) == entry.reason
    )


def _cursor(before: int, filters: Mapping[str, str]) -> str:
    content = orjson.dumps({"before": before, "filters": filters})
    return base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")


def _open_cursor(cursor: str, filters: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    """Return where a cursor goes on and its filters.

    Raises:
        Refused: it is none of ours, or other filters stand beside it.
    """
    try:
        content = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * 3))
        before = int(content["before"])
        carried = {name: str(value) for name, value in content["filters"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused(Error.SCHEMA, "cursor: is none of this list") from error
    if not filters.items() <= carried.items():
        raise Refused(Error.SCHEMA, "cursor: carries other filters")
    return before, carried


def _read(item: object, now: datetime) -> tuple[str, datetime | None, str | None]:
    """Read an item: address, expiry, note."""
    if not isinstance(item, dict) or not is_address(item.get("email")):
        raise Refused(Error.SCHEMA, "Invalid email")
    if item.get("scope", _SCOPE) != _SCOPE:
        raise Refused(Error.SCHEMA, "scope: this account has no sending domains")
    expires = _read_expiry(item.get("expires_at"), now)
    return item["email"], expires, _read_note(item.get("note"))


def _read_size(text: str) -> int:
    try:
        size = int(text)
    except ValueError:
        size = 0
    if not 1 <= size <= _MAX_PAGE:
        raise Refused(Error.SCHEMA, f"per_page: must be 1 to {_MAX_PAGE}")
    return size


def _read_expiry(value: object, now: datetime) -> datetime | None:
    if value is None:
        return None
    try:
        expires = datetime.fromisoformat(str(value))
        is_to_come = expires.tzinfo is not None and expires > now
        expires = expires.astimezone(UTC)
    except (ValueError, OverflowError):
        is_to_come = False
    if not is_to_come:
        raise Refused(Error.SCHEMA, "expires_at: must be a moment to come, RFC 3339")
    return expires


def _read_note(value: object) -> str | None:
    if value is not None and not (isinstance(value, str) and len(value) <= _MAX_NOTE):
        raise Refused(Error.SCHEMA, f"note: at most {_MAX_NOTE} characters")
    return value
