"""The contract of a provider, and the meaning of every status that is not 2xx.

How it works: `encode` turns messages into the provider's JSON, one fragment each;
`request` joins the fragments of a batch; `outcomes` reads the answer. `refuse` says
what an answer outside 2xx means, `retry_after` how long it asks to wait.

Rules:
- Pure: no clock, socket, file or environment. "Now" is the time of the answer.
- Nothing but a `ProviderError` leaves `outcomes`, whatever the bytes of the answer.
- When it is not certain that nothing was accepted, the answer is `Unanswered` or the
  row is in doubt. A wrong "surely not accepted" mails people twice.
- An error shows the provider's words, short; never the token or a list of recipients.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import ClassVar, Literal, NamedTuple, Protocol

from engine.errors import (
    AccountRejected,
    BatchRejected,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.message import Batch, Envelope, Feature, Messages, Request, Response
from engine.outcome import Outcomes
from engine.providers.answers import is_about_the_sender, spoken, without_keys, words

#: The reason of a request that was refused for its size: smaller ones may pass.
TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one API can do, as its documents say.

    Attributes:
        max_batch: messages in one request, at least 1.
        max_batch_bytes: bytes of the body of one request.
        per_item_results: how an answer names its messages: in the order of the request,
            by key, in a form that must be read tolerantly, or not at all.
        all_or_nothing: whether a refused request was refused whole, so that sending its
            parts again cannot mail anybody twice.
        idempotency: whether a key makes it harmless to send a request again. The
            request carries the batch's id as that key.
        key_seconds: how long the provider remembers a key; 0 without one.
        raw_mime: whether it takes RFC 5322 bytes.
        features: what it carries; see `Feature`.
        max_recipients: of one message, those in cc and bcc included; None where the
            documents name no limit.
        messages_per_second: what the documents allow an account; None where they name
            no limit. It holds where the campaign sets none of its own.
        requests_per_second: likewise.
        test_mode: whether a request can be marked as a test that mails nobody.
        bulk_allowed: whether its terms allow marketing mail.
        lookup: by what a message can be found whose answer was lost.
        requires_html: whether a message without an HTML part is refused.
        rate_headers: the documented headers, lower case, that tell the rate.
        read_on: when the documents were read.
    """

    max_batch: int
    max_batch_bytes: int
    per_item_results: Literal["ordered", "keyed", "tolerant", "none"]
    all_or_nothing: bool
    idempotency: Literal["none", "key"]
    key_seconds: float
    raw_mime: bool
    features: frozenset[Feature]
    max_recipients: int | None
    messages_per_second: float | None
    requests_per_second: float | None
    test_mode: bool
    bulk_allowed: bool
    lookup: Literal["none", "message_id", "metadata", "tag", "recipient"]
    requires_html: bool
    rate_headers: tuple[str, ...]
    read_on: date


@dataclass(frozen=True, slots=True)
class Finding:
    """Something of a campaign that an API cannot carry, in words for the user."""

    severity: Literal["error", "warning"]
    text: str


class Credentials(NamedTuple):
    """What the wire adds to each request as it sends; never in a `Request`.

    Attributes:
        headers: name to value.
        path: put between the base URL and the request's path; empty or begins with `/`.
    """

    headers: Mapping[str, str]
    path: str = ""


class Provider(Protocol):
    """One HTTP API that takes mail.

    Attributes:
        name: what a campaign file calls it.
        title: what its makers call it.
        capabilities: what it can do.
        default_base_url: without a trailing `/`.
        settings: the keys of `[provider]` beside name, token and base_url, with what
            each is for; each is a keyword of the constructor.
        rehearsal: settings that the API cannot do without, with values for a rehearsal.
        variables: environment variables that its own tools read, with what each holds;
            the first is the usual one for the token.
        traps: what surprises its users, a sentence each.
        sources: the documents that this was written from.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    default_base_url: ClassVar[str]
    settings: ClassVar[Mapping[str, str]]
    rehearsal: ClassVar[Mapping[str, str]]
    variables: ClassVar[Mapping[str, str]]
    traps: ClassVar[tuple[str, ...]]
    sources: ClassVar[tuple[str, ...]]

    def __init__(
        self, envelope: Envelope, *, batch_size: int, **settings: str | bool
    ) -> None: ...

    def credentials(self, token: str) -> Credentials:
        """Return what proves who asks.

        Raises:
            CampaignError: the token does not have the form that it must have.
        """
        ...

    def review(self) -> list[Finding]:
        """Return what of the envelope this API cannot carry; empty when it can all."""
        ...

    def encode(self, messages: Messages) -> Sequence[bytes]:
        """Return one fragment per message, in order; the same bytes for the same input.

        Text must be valid Unicode, which what the renderer makes is.
        """
        ...

    def request(self, batch: Batch) -> Request:
        """Join the parts of a batch: a pure function of the batch.

        Raises:
            ValueError: the batch is empty, or larger than this API or `batch_size` has
                room for.
        """
        ...

    def outcomes(self, batch: Batch, response: Response) -> Outcomes:
        """Read an answer: one place per message, in the order of the batch.

        Raises:
            Throttled: the account must wait; nothing was accepted.
            Unavailable: refused for the moment; nothing was accepted.
            Unanswered: the answer does not say; perhaps accepted.
            BatchRejected: refused for its contents; nothing was accepted.
            AccountRejected: the account or the API's address; nothing was accepted.
        """
        ...


def check_batch_size(size: int, can: Capabilities) -> None:
    """Refuse a size of batches that an API does not take.

    Raises:
        ValueError: it is not from 1 to the largest.
    """
    if not 1 <= size <= can.max_batch:
        raise ValueError(f"batch_size is {size}: must be 1 to {can.max_batch}")


#: The longest wait that is passed on, seconds: a broken server may ask for 10^6.
LONGEST_WAIT = 86_400.0

#: The statuses that only the provider itself can read.
SUCCESS = range(200, 300)

#: What a status means. RFC 9110 section 15 unless another source is named.
_BY_STATUS: Mapping[int, tuple[type[ProviderError], str]] = {
    # The account. Every other batch would be refused too: stop, and burn no list.
    401: (AccountRejected, "credentials"),  # 15.5.2
    402: (AccountRejected, "payment_required"),  # 15.5.3, reserved; in use for quotas
    403: (AccountRejected, "forbidden"),  # 15.5.4
    407: (AccountRejected, "proxy_credentials"),  # 15.5.8
    # The address. A wrong `base_url` answers so to every batch.
    404: (AccountRejected, "wrong_address"),  # 15.5.5
    405: (AccountRejected, "wrong_address"),  # 15.5.6
    410: (AccountRejected, "wrong_address"),  # 15.5.11
    421: (AccountRejected, "wrong_address"),  # 15.5.20
    # The moment.
    408: (Unavailable, "request_timeout"),  # 15.5.9: it did not get the whole request
    425: (Unavailable, "too_early"),  # RFC 8470 section 5.2: unwilling to process it
    429: (Throttled, "throttled"),  # RFC 6585 section 4
    # The contents. Another 4xx is one of these, with the provider's code as reason.
    413: (BatchRejected, TOO_LARGE),  # 15.5.14: to be cut by bytes
}

#: What the first digit means where the status has no row of its own.
_BY_FAMILY: Mapping[int, tuple[type[ProviderError], str]] = {
    # 15.4. Never followed: a 307 would carry the list to another host.
    3: (AccountRejected, "wrong_address"),
    4: (BatchRejected, "refused"),  # 15.5: the client erred; the request had no effect
    # 15.6. The server failed at an unknown point. Seen in the wild: Mailgun 5xx and
    # Microsoft Graph 504 for mail that was sent.
    5: (Unanswered, "server_error"),
}

#: Words of a 429 that no waiting of minutes ends: the day's or the month's messages are
#: used up, or paid for no more. Sources: Resend `daily_quota_exceeded` and
#: `monthly_quota_exceeded`; Brevo `not_enough_credits`; SES `Daily message quota
#: exceeded` (documents read in November 2026).
_QUOTA = re.compile(r"quota|credits?\b|\b(daily|monthly)\b", re.IGNORECASE)

#: The statuses that may be about the sender, whom all messages have in common.
_PERHAPS_THE_SENDER = (400, 403, 422)

_HINTS = {
    "quota": "wait for the account's next day or month, or raise its plan",
    "credentials": "check the token that [provider] token names",
    "payment_required": "look at the plan and the quota of the account",
    "proxy_credentials": "check the proxy's user and password",
    "sender_not_verified": "verify [message] from with the provider",
    "wrong_address": "check [provider] base_url",
}


def refuse(
    response: Response, *, provider: str, forbidden: str = "forbidden"
) -> ProviderError:
    """Say what an answer outside 2xx means; the caller raises it.

    Args:
        response: the answer.
        provider: its name, for the message.
        forbidden: the reason of a 403, where the provider's documents give one.

    Raises:
        ValueError: the status is 2xx, which only the provider itself can read.
    """
    status = response.status
    if status in SUCCESS:
        raise ValueError(f"status {status} is not a refusal")
    unknown = (Unanswered, "unexpected_status")
    kind, reason = _BY_STATUS.get(status) or _BY_FAMILY.get(status // 100, unknown)
    code, said = spoken(response.body)
    told = f"{provider} answered {status}" + (f": {said}" if said else "")
    if status in _PERHAPS_THE_SENDER and is_about_the_sender(f"{code} {said}"):
        return _account_rejected(response, told, "sender_not_verified")
    if kind is AccountRejected:
        reason = forbidden if status == HTTPStatus.FORBIDDEN else reason
        return _account_rejected(response, told, reason)
    if kind is Throttled and _is_quota(response.body):
        return _account_rejected(response, told, "quota")
    if kind is Throttled:
        return Throttled(told, http_status=status, retry_after=retry_after(response))
    wait = _retry_after_field(response)
    # A bare 503 may come from a proxy that lost its server after it had accepted. With
    # Retry-After somebody decided to refuse (15.6.4).
    if status == HTTPStatus.SERVICE_UNAVAILABLE and wait is not None:
        kind, reason = Unavailable, "unavailable"
    if kind is Unavailable:
        return Unavailable(told, reason=reason, http_status=status, retry_after=wait)
    if kind is BatchRejected and reason == "refused":
        reason = code or reason
    return kind(told, reason=reason, http_status=status)


def _is_quota(body: bytes) -> bool:
    """Whether a 429 speaks of a quota: each provider has another place for the word."""
    text = body[:2000].decode(errors="replace").replace("_", " ")
    return _QUOTA.search(text) is not None


def _account_rejected(response: Response, told: str, reason: str) -> ProviderError:
    # Here a provider may quote the token it did not like.
    told = without_keys(told)
    if location := response.headers.get("location"):
        told = f"{told} (it points to {words(location)})"
    refusal = AccountRejected(told, reason=reason, http_status=response.status)
    refusal.hint = _HINTS.get(reason, "ask the provider about the account")
    return refusal


def retry_after(response: Response) -> float | None:
    """Return how long an answer asks to wait, seconds from when it came, or None.

    The first of these headers that can be read counts: Retry-After, Ratelimit,
    Ratelimit-Reset, X-Sib-Ratelimit-Reset, X-Ratelimit-Reset. What cannot be read, or
    lies in the past, counts as absent. At most a day.

    A date is compared with the answer's own Date, so that a clock that is wrong here or
    there does no harm; without one, with the time at which the answer came.

    Source:
        RFC 9110 section 10.2.3; draft-ietf-httpapi-ratelimit-headers (`r`, `t`); the
        last three from the documents of Resend, Brevo, and SendGrid and MailerLogic.
    """
    headers = response.headers
    wait = _retry_after_field(response)
    if wait is None:
        wait = _ratelimit(headers.get("ratelimit", ""))
    for name in ("ratelimit-reset", "x-sib-ratelimit-reset"):
        if wait is None:
            wait = _seconds(headers.get(name, ""))
    if wait is None:
        wait = _reset(headers.get("x-ratelimit-reset", ""), _answered_at(response))
    return None if wait is None else min(wait, LONGEST_WAIT)


def _retry_after_field(response: Response) -> float | None:
    value = response.headers.get("retry-after", "")
    wait = _seconds(value)
    if wait is None and (moment := _http_date(value)) is not None:
        wait = _until(moment, _answered_at(response))
    return None if wait is None else min(wait, LONGEST_WAIT)


def _answered_at(response: Response) -> datetime:
    return _http_date(response.headers.get("date", "")) or response.received_at


#: Plain decimals alone: float() would take "nan", "inf", "1e9", "1_0" and "-1".
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")


def _seconds(value: str) -> float | None:
    value = value.strip()
    return float(value) if _DECIMAL.fullmatch(value) else None


def _http_date(value: str) -> datetime | None:
    # A date without GMT is nobody's time (RFC 9110 section 5.6.7: it must be there).
    if not value.strip().endswith(" GMT"):
        return None
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else None


def _until(moment: datetime, now: datetime) -> float | None:
    wait = (moment - now).total_seconds()
    return wait if wait >= 0 else None


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_SPENT = re.compile(r";\s*r=0\s*(?:;|$)")
_RESETS = re.compile(r";\s*t=([0-9]+)\s*(?:;|$)")


def _ratelimit(value: str) -> float | None:
    # `"burst";r=7;t=1, "day";r=0;t=30`: of the quotas that are spent, the latest.
    waits = [
        float(resets[1])
        for quota in _QUOTED.sub("", value).split(",")
        if _SPENT.search(quota) and (resets := _RESETS.search(quota))
    ]
    return max(waits, default=None)


#: Above this a number is a moment, seconds since 1970; below, it is a duration.
_EPOCH = 1e9


def _reset(value: str, now: datetime) -> float | None:
    number = _seconds(value)
    if number is not None:
        wait = number - now.timestamp() if number > _EPOCH else number
        return wait if wait >= 0 else None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return _until(moment, now) if moment.tzinfo else None
