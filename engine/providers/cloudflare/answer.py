"""What became of each recipient of a message, and what Cloudflare's errors mean.

A 200 says nothing yet: it has a list of addresses each for delivered, queued,
permanently bounced and suppressed. The message's own recipient decides on its outcome;
what befell those in cc and bcc is told in its detail.

Errors go by their words, not by their numbers: of 10200 and 10202, two editions of the
documents have "too big" and "invalid" the other way around.

Source:
    "REST API" of Cloudflare's Email Service; OpenAPI schema of `send` and `send_raw`,
    read 2026-11-20.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import orjson

from engine.errors import (
    AccountRejected,
    BatchRejected,
    ProviderError,
    Throttled,
    Unanswered,
    Unavailable,
)
from engine.message import Batch, Response
from engine.mime.mailbox import ascii_domain
from engine.mime.mailbox import parse as parse_mailbox
from engine.outcome import Outcomes, Status
from engine.providers.answers import (
    NO,
    complaint,
    flag,
    identity,
    parse,
    spoken,
    without_keys,
    words,
)
from engine.providers.base import SUCCESS, TOO_LARGE, refuse, retry_after

NAME = "cloudflare"

# ---- recipients --------------------------------------------------------------------

#: The lists of a result whose recipients get the message.
_TAKEN = ("delivered", "queued")
#: Those whose recipients do not: list, and the reason of the outcome.
_REFUSED = {"permanent_bounces": "bounced", "suppressed_recipients": "suppressed"}
_LISTS = (*_TAKEN, *_REFUSED)

#: Addresses of one answer that are looked at; a message has 50 recipients at most.
_MOST = 500
#: RFC 5321 section 4.5.3.1.3: characters of an address.
_LONGEST_ADDRESS = 256


class _Word(NamedTuple):
    status: Status
    reason: str | None


def outcomes(batch: Batch, response: Response) -> Outcomes:
    """Read the answer to one message.

    Raises:
        ProviderError: as `engine.providers.base.Provider.outcomes` says.
    """
    if response.status not in SUCCESS:
        raise refused(response)
    answer = parse(response, provider=NAME)
    if not isinstance(answer, dict):
        raise Unanswered(
            f"{NAME} answered {response.status} with what is not an object",
            reason="unreadable_answer",
            http_status=response.status,
        )
    result = answer.get("result")
    result = result if isinstance(result, dict) else {}
    # Those that name somebody.
    lists = {
        name: few
        for name in _LISTS
        if (listed := result.get(name)) and (few := _addresses(listed))
    }
    success = flag(answer.get("success"))
    if success in NO and not lists:
        raise refused(response)
    name = identity(result.get("message_id"))
    own = batch.addresses[0]
    said = _word(own, lists, success=success or "", named=name is not None)
    if answer.get("errors") and said.status is Status.ACCEPTED:
        said = _CONTRADICTORY
    detail = _others(own, lists)
    if detail is None and said.status is not Status.ACCEPTED:
        detail = complaint(answer)[1]
    return Outcomes([said.status], [said.reason], [detail], [name])


_CONTRADICTORY = _Word(Status.IN_DOUBT, "answer_contradictory")


def _word(
    own: str, lists: Mapping[str, list[str]], *, success: str, named: bool
) -> _Word:
    """Say what an answer says of one recipient.

    One that is in no list is in doubt; but where there is nobody in any list, a success
    with the id of the message is a yes: no recipient is set apart from another.
    """
    found = [name for name, several in lists.items() if _is_among(own, several)]
    no = [_REFUSED[name] for name in found if name in _REFUSED]
    taken = len(found) > len(no)
    if taken and (no or success in NO):
        return _CONTRADICTORY
    if no:
        return _Word(Status.REJECTED, no[0])
    if taken or (named and success == "true" and not lists):
        return _Word(Status.ACCEPTED, None)
    return _Word(Status.IN_DOUBT, "not_in_answer")


def _others(own: str, lists: Mapping[str, list[str]]) -> str | None:
    """Say who in cc and bcc does not get the message."""
    told = [
        f"{one} {reason}"
        for name, reason in _REFUSED.items()
        for one in lists.get(name, ())
        if not _is_among(own, [one])
    ]
    return words(", ".join(told)) if told else None


def _addresses(value: object) -> list[str]:
    if not isinstance(value, list):
        return []
    if len(value) > _MOST:
        raise Unanswered(
            f"{NAME} answered with {len(value)} recipients of one message",
            reason="unreadable_answer",
        )
    return [
        one for one in value if isinstance(one, str) and len(one) <= _LONGEST_ADDRESS
    ]


def _is_among(address: str, several: list[str]) -> bool:
    """Whether an answer names an address: as the request did, or in another form."""
    return address in several or _key(address) in map(_key, several)


@lru_cache(256)
def _key(address: str) -> str:
    """Write an address so that the same one in another form is equal."""
    return ascii_domain(parse_mailbox(address).address.casefold()).casefold()


# ---- errors ------------------------------------------------------------------------

#: The last word of a message `email.sending.error.….word`, and what it means.
_ERRORS: Mapping[str, tuple[type[ProviderError], str]] = {
    # 400: "No email will be sent when this happens"
    "invalid_request_schema": (BatchRejected, "invalid_request_schema"),
    "too_big": (BatchRejected, TOO_LARGE),
    "invalid": (BatchRejected, "invalid_email"),
    "no_content_length": (BatchRejected, "no_content_length"),
    # 401
    "unauthorized": (AccountRejected, "credentials"),
    "bad_token_type": (AccountRejected, "credentials"),
    # 403
    "forbidden": (AccountRejected, "forbidden"),
    "not_entitled": (AccountRejected, "not_entitled"),
    "sending_disabled": (AccountRejected, "sending_disabled"),
    "sender_not_configured": (AccountRejected, "sender_not_verified"),
    # 404
    "not_found": (AccountRejected, "wrong_address"),
    # 429: "No email will be sent when this happens"
    "throttled": (Throttled, "throttled"),
    # 500. The schema says "No email will be sent" here, too; but of "an unexpected
    # error" nobody can know that.
    "internal_server": (Unanswered, "server_error"),
    "not_implemented": (AccountRejected, "not_implemented"),
    # 503: the authentication comes before everything else
    "upstream": (Unavailable, "unavailable"),
}
_MESSAGE = re.compile(
    r"(?:email\.sending\.error\.)?(?:(?:authentication|email)\.)?(\w+)"
)

#: Errors of the API as a whole begin so, whatever their status: 6003 and 7003 come
#: with 400, which would burn the list row by row.
_COMMON: Mapping[str, tuple[type[ProviderError], str]] = {
    "authentication error": (AccountRejected, "credentials"),  # 10000
    "invalid access token": (AccountRejected, "credentials"),  # 9109
    "invalid api token": (AccountRejected, "credentials"),  # 1000
    "invalid request headers": (AccountRejected, "credentials"),  # 6003
    "unable to authenticate": (AccountRejected, "credentials"),  # 10001
    "could not route to": (AccountRejected, "wrong_address"),  # 7003
    "no route for": (AccountRejected, "wrong_address"),  # 7000
}

_HINTS = {
    "credentials": (
        "check the token that [provider] token names; with [provider] email it must be "
        "the Global API Key"
    ),
    "forbidden": "give the token the permission Email Sending: Edit for this account",
    "not_entitled": "Email Sending needs the Workers Paid plan",
    "sending_disabled": (
        "turn on Email Sending for the domain of [message] from and wait some minutes; "
        "until then only verified destination addresses get mail"
    ),
    "sender_not_verified": "set up the domain of [message] from for Email Sending",
    "wrong_address": "check [provider] account_id and base_url",
    "not_implemented": 'try the other [provider] format, "raw" or "json"',
}

#: Errors of one answer that are looked at.
_MOST_ERRORS = 20


def refused(response: Response) -> ProviderError:
    """Say what an error means: by its words, else by the status of the answer."""
    status = response.status
    for text in _errors(response.body):
        if known := _meaning(text):
            return _error(response, *known, text)
    if status not in SUCCESS:
        return refuse(response, provider=NAME)
    code, said = spoken(response.body)
    told = f"{NAME} answered {status} without success: {said or 'it says no more'}"
    return BatchRejected(told, reason=code or "refused", http_status=status)


def _errors(body: bytes) -> Iterator[str]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    errors = answer.get("errors") if isinstance(answer, dict) else None
    for error in errors[:_MOST_ERRORS] if isinstance(errors, list) else ():
        text = error.get("message") if isinstance(error, dict) else None
        if isinstance(text, str):
            yield text


def _meaning(text: str) -> tuple[type[ProviderError], str] | None:
    text = text[:200].strip().lower()
    # "If any recipient is suppressed, Email Service rejects the entire request": 400,
    # in words that the documents do not give.
    if "suppress" in text:
        return BatchRejected, "suppressed"
    if (found := _MESSAGE.fullmatch(text)) and found[1] in _ERRORS:
        return _ERRORS[found[1]]
    return next((_COMMON[head] for head in _COMMON if text.startswith(head)), None)


def _error(
    response: Response, kind: type[ProviderError], reason: str, text: str
) -> ProviderError:
    status = response.status
    told = f"{NAME} answered {status}: {words(text)}"
    if kind is Throttled:
        wait = retry_after(response)
        return Throttled(told, http_status=status, retry_after=wait)
    if kind is Unavailable:
        wait = retry_after(response)
        return Unavailable(told, reason=reason, http_status=status, retry_after=wait)
    if kind is AccountRejected:
        refusal = AccountRejected(without_keys(told), reason=reason, http_status=status)
        refusal.hint = _HINTS[reason]
        return refusal
    return kind(told, reason=reason, http_status=status)
