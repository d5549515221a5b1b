"""The errors of Cloudflare's Email Sending: a closed table of names, and their answer.

The name of an error is its message and has a number; what exactly was wrong goes into
`messages`, where a person who rehearses will look for it.

Source:
    Cloudflare Email Service, "REST API", error codes, read 2026-11-20. An older page
    had the numbers of `email.too_big` and `email.invalid` the other way round.
"""

from enum import Enum

import orjson

from engine.sandbox.store import Answer

_PREFIX = "email.sending.error."


class Error(Enum):
    """An error of the table: HTTP status, code, and the end of its message."""

    NOT_FOUND = 404, 10000, "not_found"
    SCHEMA = 400, 10001, "invalid_request_schema"
    INTERNAL = 500, 10002, "internal_server"
    NOT_IMPLEMENTED = 500, 10003, "not_implemented"
    THROTTLED = 429, 10004, "throttled"
    UPSTREAM = 503, 10100, "authentication.upstream"
    UNAUTHORIZED = 401, 10101, "authentication.unauthorized"
    FORBIDDEN = 403, 10102, "authentication.forbidden"
    BAD_TOKEN_TYPE = 401, 10103, "authentication.bad_token_type"
    NOT_ENTITLED = 403, 10105, "authentication.not_entitled"
    TOO_BIG = 400, 10200, "email.too_big"
    NO_LENGTH = 400, 10201, "email.no_content_length"
    INVALID = 400, 10202, "email.invalid"
    DISABLED = 403, 10203, "email.sending_disabled"


#: The error that stands for a status; the rest are INTERNAL.
_BY_STATUS = {
    400: Error.SCHEMA,
    401: Error.UNAUTHORIZED,
    403: Error.FORBIDDEN,
    404: Error.NOT_FOUND,
    405: Error.NOT_FOUND,
    429: Error.THROTTLED,
    503: Error.UPSTREAM,
}


class Refused(Exception):
    """The request is refused.

    Attributes:
        error: which of the table it is.
        detail: what was wrong, for a person.
        status: HTTP status; the error's own unless another was given.
        message: what the answer says in place of the error's name, or None.
    """

    def __init__(
        self,
        error: Error,
        detail: str,
        *,
        status: int | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.error = error
        self.detail = detail
        self.status = status or error.value[0]
        self.message = message

    @classmethod
    def of_status(cls, status: int, detail: str) -> "Refused":
        """Refuse with the error that stands for a status."""
        return cls(_BY_STATUS.get(status, Error.INTERNAL), detail, status=status)

    def answer(self) -> Answer:
        """Write the answer."""
        _, code, name = self.error.value
        body = {
            "success": False,
            "errors": [{"code": code, "message": self.message or f"{_PREFIX}{name}"}],
            "messages": [{"code": code, "message": self.detail}],
            "result": None,
        }
        return Answer(self.status, orjson.dumps(body))
