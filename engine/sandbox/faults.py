"""What may go wrong at the sandbox, and when: pure decisions over a request's number.

How it works: requests that reach a sending endpoint are counted from 1, and counted
anew whenever other faults are set. `before` says what befalls a request ahead of the
provider's own handling, so that nothing of it is accepted; `after` what befalls the
answer once everything is accepted. Both take the first fault of their table that is
due: the tables are the precedence.

Rules: no clock, no socket, no state. The same faults and the same number always give
the same mishap, so a failing rehearsal can be repeated.
"""

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from email.utils import formatdate
from enum import StrEnum
from typing import Any, Self

THROTTLE_STYLES = ("seconds", "date", "ratelimit", "reset-epoch", "none")
SHAPES = (
    "results",
    "messages",
    "data",
    "emails",
    "bare",
    "ids",
    "message_ids",
    "keyed",
    "indexed",
    "errors",
    "batch_id",
    "success",
    "accepted_empty",
    "short",
    "long",
)


class Mishap(StrEnum):
    """What befalls one request."""

    RESET_BEFORE = "reset_before"
    REDIRECT = "redirect"
    CREDENTIALS = "credentials"
    THROTTLE = "throttle"
    UNAVAILABLE = "unavailable"
    ERROR_BEFORE = "error_before"
    HANG_BEFORE = "hang_before"
    RESET_AFTER = "reset_after"
    CLOSE_AFTER = "close_after"
    HANG_AFTER = "hang_after"
    TRUNCATE = "truncate"
    ERROR_AFTER = "error_after"
    HTML = "html"
    GARBLE = "garble"
    EMPTY = "empty"


def _read_text(text: str) -> str:
    if not text or not text.isprintable() or not text.isascii():
        raise ValueError("printable ASCII text")
    return text


def _read_count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number of requests; 0 is never")
    return int(text)


def _read_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError("seconds, 0 or more")
    return seconds


def _read_span(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        span = _read_seconds(low), _read_seconds(high if dash else low)
    except ValueError:
        span = (1.0, 0.0)
    if span[0] > span[1]:
        raise ValueError("SECONDS or LO-HI")
    return span


def _read_flag(text: str) -> bool:
    if text.lower() not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
        raise ValueError("true or false")
    return text.lower() in {"true", "1", "yes", "on"}


def _read_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", text) is None:
        raise ValueError("the name of a header")
    return text


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text

    return read


def _read_error_status(text: str) -> int:
    return int(_one_of("500", "502", "503", "504")(text))


def _fault(default: object, read: Callable[[str], object], meaning: str) -> Any:
    return field(default=default, metadata={"read": read, "meaning": meaning})


def _every(meaning: str) -> Any:
    return _fault(0, _read_count, f"every Nth request: {meaning}")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, all of it off by default. `describe` has each one's meaning.

    Raises:
        ValueError: a value is not one that the fault can have.
    """

    latency: tuple[float, float] = _fault(
        (0.0, 0.0), _read_span, "SECONDS or LO-HI from acceptance to answer"
    )
    seed: int = _fault(0, _read_count, "N: seed of latencies and of shuffled answers")
    throttle_first: int = _fault(0, _read_count, "the first N requests: 429")
    throttle_every: int = _every("429")
    throttle_style: str = _fault(
        "seconds",
        _one_of(*THROTTLE_STYLES),
        "how a 429 says when to come back: Retry-After in seconds or as a date, "
        "Ratelimit, X-RateLimit-Reset, or nothing (" + ", ".join(THROTTLE_STYLES) + ")",
    )
    retry_after: float = _fault(
        1.0, _read_seconds, "SECONDS to wait that a 429 or 503 states"
    )
    unavailable_every: int = _every("503 with Retry-After")
    error_before_every: int = _every("error_status, and nothing is accepted")
    error_after_every: int = _every("error_status, though all was accepted")
    error_status: int = _fault(500, _read_error_status, "500, 502, 503 or 504")
    hang_before_every: int = _every("never answer, nothing is accepted")
    hang_after_every: int = _every("accept, then never answer")
    reset_before_every: int = _every("reset the connection before reading the body")
    reset_after_every: int = _every("accept, then reset the connection")
    close_after_every: int = _every("accept, then close without an answer")
    truncate_every: int = _every("accept, then break off inside the answer's body")
    garble_every: int = _every("accept, then a 200 that claims JSON and is not")
    html_every: int = _every("accept, then a 200 with an HTML error page")
    empty_every: int = _every("accept, then a 200 without a body")
    slow_body: bool = _fault(
        default=False, read=_read_flag, meaning="true: one byte of answer every 0.3 s"
    )
    credentials: str = _fault(
        "accept", _one_of("accept", "refuse"), "refuse: 401, whatever the credentials"
    )
    credentials_after: int = _fault(
        0, _read_count, "from the Nth request on: 401, as if the key were revoked"
    )
    redirect: str = _fault("", _read_text, "URL: 307 to there")
    unverified: str = _fault("", _read_text, "ADDRESS: 403 when mail is from it")
    strict: bool = _fault(
        default=False, read=_read_flag, meaning="true: refuse undocumented fields"
    )
    atomic: bool = _fault(
        default=False, read=_read_flag, meaning="true: one bad message refuses a batch"
    )
    shape: str = _fault(
        "results",
        _one_of(*SHAPES),
        "what answers a batch look like, where the document is silent ("
        + ", ".join(SHAPES)
        + ")",
    )

    events_form: str = _fault(
        "flat",
        _one_of("flat", "nested"),
        "which of CloudMails' two public forms its events have: flat or nested",
    )
    signature_header: str = _fault(
        "X-CloudMails-Signature",
        _read_name,
        "NAME of the header that CloudMails signs in; its documents leave it open",
    )
    webhook_twice: int = _fault(0, _read_count, "every Nth event is posted twice")
    webhook_shuffle: bool = _fault(
        default=False,
        read=_read_flag,
        meaning="true: a message's events are posted at its end, the last one first",
    )
    webhook_ping: bool = _fault(
        default=False,
        read=_read_flag,
        meaning="true: a ping is posted before a provider's first event",
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            value = getattr(self, spec.name)
            if value != spec.default:
                _read(spec.name, spec.metadata["read"], value)

    @classmethod
    def parse(cls, settings: Mapping[str, object]) -> Self:
        """Read faults by name, from a command line or from JSON.

        Args:
            settings: name to value; a value is text, a number or a boolean.

        Raises:
            ValueError: names what is unknown or wrong, all of it, and lists the names.
        """
        readers = {spec.name: spec.metadata["read"] for spec in fields(cls)}
        values: dict[str, Any] = {}
        problems = []
        for name, value in settings.items():
            if name not in readers:
                problems.append(f"{name}: there is no such fault")
                continue
            try:
                values[name] = _read(name, readers[name], value)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            problems.append(f"faults: {', '.join(readers)}")
            raise ValueError("\n".join(problems))
        return cls(**values)

    @classmethod
    def describe(cls) -> list[tuple[str, str]]:
        """List every fault's name and meaning."""
        return [(spec.name, spec.metadata["meaning"]) for spec in fields(cls)]

    def active(self) -> dict[str, object]:
        """Name what differs from the default, in a form that `parse` reads."""
        values = {
            spec.name: getattr(self, spec.name)
            for spec in fields(self)
            if getattr(self, spec.name) != spec.default
        }
        if "latency" in values:
            values["latency"] = _text(values["latency"])
        return values

    def before(self, number: int) -> Mishap | None:
        """Say what befalls request `number` before any of it is accepted."""
        due = {
            Mishap.RESET_BEFORE: _due(self.reset_before_every, number),
            Mishap.REDIRECT: bool(self.redirect),
            Mishap.CREDENTIALS: self.before_lookup(number) is not None,
            Mishap.THROTTLE: number <= self.throttle_first
            or _due(self.throttle_every, number),
            Mishap.UNAVAILABLE: _due(self.unavailable_every, number),
            Mishap.ERROR_BEFORE: _due(self.error_before_every, number),
            Mishap.HANG_BEFORE: _due(self.hang_before_every, number),
        }
        return next((mishap for mishap, is_due in due.items() if is_due), None)

    def after(self, number: int) -> Mishap | None:
        """Say what befalls the answer to request `number`, all being accepted."""
        due = {
            Mishap.RESET_AFTER: self.reset_after_every,
            Mishap.CLOSE_AFTER: self.close_after_every,
            Mishap.HANG_AFTER: self.hang_after_every,
            Mishap.TRUNCATE: self.truncate_every,
            Mishap.ERROR_AFTER: self.error_after_every,
            Mishap.HTML: self.html_every,
            Mishap.GARBLE: self.garble_every,
            Mishap.EMPTY: self.empty_every,
        }
        return next((mishap for mishap, n in due.items() if _due(n, number)), None)

    def before_lookup(self, number: int) -> Mishap | None:
        """Say what befalls a request that sends nothing, `number` having come last."""
        revoked = 0 < self.credentials_after <= number
        refused = revoked or self.credentials == "refuse"
        return Mishap.CREDENTIALS if refused else None

    def delay(self, number: int) -> float:
        """Say how many seconds the answer to request `number` takes."""
        low, high = self.latency
        return low if low == high else self.dice(number).uniform(low, high)

    def dice(self, number: int) -> random.Random:
        """Give the randomness of request `number`: the same every time."""
        return random.Random(self.seed * 1_000_003 + number)  # noqa: S311 - rehearsal, not secrecy

    def throttle_headers(self, now: float) -> list[tuple[str, str]]:
        """Write what a 429 says about the wait.

        Dates and whole-second forms are rounded up, so that a client which obeys them
        never comes early.

        Args:
            now: seconds since the epoch.

        Source:
            Retry-After: RFC 9110, 10.2.3 (a fraction of a second is not in it, but is
            seen). Ratelimit: draft-ietf-httpapi-ratelimit-headers. X-RateLimit-Reset
            with a moment: GitHub's REST API and others.
        """
        moment = math.ceil(now + self.retry_after)
        seconds = math.ceil(self.retry_after)
        return {
            "seconds": [("retry-after", f"{self.retry_after:g}")],
            "date": [("retry-after", formatdate(moment, usegmt=True))],
            "ratelimit": [("ratelimit", f'"default";r=0;t={seconds}')],
            "reset-epoch": [("x-ratelimit-reset", str(moment))],
            "none": [],
        }[self.throttle_style]


def _due(every: int, number: int) -> bool:
    return every > 0 and number % every == 0


def _text(value: object) -> str:
    """Write a value of JSON or of a field as the command line would."""
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return str(value)


def _read(name: str, read: Callable[[str], object], value: object) -> object:
    try:
        if not isinstance(value, str | int | float | tuple):
            raise ValueError("text, a number or a boolean")  # noqa: TRY004, TRY301 - one kind of error, worded below
        return read(_text(value))
    except ValueError as error:
        raise ValueError(f"{name}={value}: must be {error}") from None
