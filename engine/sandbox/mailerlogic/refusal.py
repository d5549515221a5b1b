"""The errors of MailerLogic, and its limit of requests, which every answer states.

The document gives an error's fields and not what stands in them; the words of `error`
and `reason` here are this sandbox's. Clients should go by the status.

Source:
    MailerLogic API, `POST /api/v1/send`, responses 400, 403, 404, 500; rate limits,
    600 requests a minute, read 2026-11-20.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import orjson

from engine.sandbox.store import Answer

_LIMIT = 600
_WINDOW = timedelta(minutes=1)
_ERRORS = {
    400: "validation_error",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    429: "rate_limit_exceeded",
}


class Refused(Exception):
    """The request, or one message of it, is refused.

    Attributes:
        status: HTTP status.
        reason: why a 403 is one, or None.
    """

    def __init__(self, status: int, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason

    def content(self) -> dict[str, object]:
        """Write the fields of the error."""
        error = _ERRORS.get(self.status, "internal_error")
        written: dict[str, object] = {"error": error, "message": str(self)}
        return written if self.reason is None else written | {"reason": self.reason}

    def answer(self) -> Answer:
        """Write the answer."""
        return Answer(self.status, orjson.dumps(self.content()))


def quota_headers(
    now: datetime, *, remaining: int = _LIMIT - 1
) -> Sequence[tuple[str, str]]:
    """Write what is left of the limit, and when it is whole again."""
    reset = int((now + _WINDOW).timestamp())
    return (
        ("x-ratelimit-limit", str(_LIMIT)),
        ("x-ratelimit-remaining", str(remaining)),
        ("x-ratelimit-reset", str(reset)),
    )
