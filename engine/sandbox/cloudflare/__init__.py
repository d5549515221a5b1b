"""The Cloudflare dialect: Email Sending, raw and built messages, and suppressions.

    __init__.py      the endpoints and their answers
    mail.py          what a message must be
    header.py        which headers a built message may have
    suppressions.py  who is not mailed
    event.py         what event subscriptions say
    refusal.py       the errors

Rehearsed endings, by the local part of a recipient: `reject...` refuses the message,
`bounce...` stands in `permanent_bounces` and `suppress...` in `suppressed_recipients`
of a 200, `soft...` and `slow...` in `queued`, all others in `delivered`. Addresses on
the suppression list are treated as `suppress...`; with the fault `atomic` one such
recipient refuses the whole message, as where dropping them is not switched on. A
message all of whose recipients are suppressed is not accepted.

By the account id in the path: `unknown` is not found, `forbidden` and `not-entitled`
are refused, `disabled` may not send, `unbuilt` has no sending endpoints. Mail from a
domain with `unverified` in its name may not be sent either.

The fault `shape` changes the answer: `success` is the older schema, without message id
and suppressed recipients; `short` leaves the last recipient out of every list, `long`
names a stranger. Rate headers never run down: only faults throttle sending.

Source:
    Cloudflare API, Email Sending; the pages are named in the files beside this one.
    Rate limits: Cloudflare, "API rate limits", 1200 requests in 5 minutes; bulk imports
    of suppressions: 10 a minute.
"""

import re
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import ClassVar

import orjson

from engine.sandbox.cloudflare.event import event_of
from engine.sandbox.cloudflare.mail import Mail, read_built, read_raw
from engine.sandbox.cloudflare.refusal import Error, Refused
from engine.sandbox.cloudflare.suppressions import Suppressions
from engine.sandbox.faults import Faults
from engine.sandbox.store import Accepted, Answer, Call, Happening, Store

_PATH = re.compile(
    r"/accounts/(?P<account>[^/]+)/email/sending"
    r"/(?P<place>send|send_raw|suppressions)(/(?P<rest>[^/]+))?"
).fullmatch
_SENDING = ("send", "send_raw")
_QUOTA = (
    ("ratelimit", '"default";r=1199;t=300'),
    ("ratelimit-policy", '"default";q=1200;w=300'),
)
_ACCOUNTS = {
    "unknown": Error.NOT_FOUND,
    "forbidden": Error.FORBIDDEN,
    "not-entitled": Error.NOT_ENTITLED,
    "disabled": Error.DISABLED,
    "unbuilt": Error.NOT_IMPLEMENTED,
}
#: Accounts that are refused only when they send.
_ACCOUNTS_FOR_SENDING = ("disabled", "unbuilt")
_BULKS = 10
_BULK_WINDOW = timedelta(minutes=1)
_STRANGER = "nobody@sandbox.example"


class Cloudflare:
    """Cloudflare's Email Sending. Its state: the next id, and suppressions."""

    name: ClassVar[str] = "cloudflare"
    prefix: ClassVar[str] = "/cloudflare/client/v4"

    def __init__(self) -> None:
        # Two sandboxes never give the same id, so a client cannot mistake an old run.
        self._salt = secrets.token_hex(6)
        self._sequence = count(1)
        self._suppressions: dict[str, Suppressions] = {}
        self._bulks: deque[datetime] = deque(maxlen=_BULKS)

    def is_sending(self, method: str, path: str) -> bool:
        """Say whether a request to `path` sends mail."""
        found = _PATH(path)
        return method == "POST" and found is not None and _is_sending(found)

    def refuse(self, status: int, message: str) -> Answer:
        """Answer with an error in Cloudflare's words."""
        return _with_quota(Refused.of_status(status, message).answer())

    def handle(self, call: Call, faults: Faults, store: Store) -> Answer:  # noqa: ARG002 - a dialect is given it
        """Answer one request as Cloudflare would."""
        try:
            answer = self._answer(call, faults)
        except Refused as refusal:
            answer = refusal.answer()
            if refusal.status == Error.THROTTLED.value[0]:
                wait = str(int(_BULK_WINDOW.total_seconds()))
                answer = replace(answer, headers=[("retry-after", wait)])
        return _with_quota(answer)

    def post(self, happening: Happening) -> bytes | None:
        """Write the event that a subscription would send, forwarded as it is."""
        return event_of(happening)

    def _answer(self, call: Call, faults: Faults) -> Answer:
        found = _PATH(call.path)
        if found is None or (found["place"] in _SENDING and found["rest"]):
            raise Refused(Error.NOT_FOUND, f"There is no {call.path} here")
        sending = _is_sending(found)
        methods: Mapping[str, Callable[[], object]] = (
            {"POST": lambda: None}
            if sending
            else self._methods(call, found["account"], found["rest"])
        )
        if call.method not in methods:
            refused = Refused.of_status(405, f"{call.path} takes {', '.join(methods)}")
            allow = ("allow", ", ".join(methods))
            return replace(refused.answer(), headers=[allow])
        _authenticate(call.headers)
        _check_account(found["account"], sending=sending)
        if not sending:
            answer = methods[call.method]()
            return answer if isinstance(answer, Answer) else _success(answer)
        content = _read(call)
        if "content-length" not in call.headers:
            raise Refused(Error.NO_LENGTH, "Content-Length is missing")
        read = read_raw if found["place"] == "send_raw" else read_built
        mail = read(content, strict=faults.strict)
        return self._send(found["account"], mail, content, call.at, faults)

    def _send(
        self,
        account: str,
        mail: Mail,
        content: Mapping[str, object],
        now: datetime,
        faults: Faults,
    ) -> Answer:
        domain = mail.sender.partition("@")[2].lower()
        if "unverified" in domain or mail.sender.lower() == faults.unverified.lower():
            raise Refused(Error.DISABLED, f"Sending is not set up for {mail.sender}")
        lists = self._sort(account, mail, now)
        suppressed = lists["suppressed_recipients"]
        if suppressed and faults.atomic:
            sentence = f"Recipient is suppressed: {suppressed[0]}"
            message = f"E_RECIPIENT_SUPPRESSED: {sentence}"
            raise Refused(Error.INVALID, sentence, message=message)
        message_id = f"0101{self._salt}{next(self._sequence):08x}"
        accepted = Accepted()
        taken = [to for to in mail.recipients if to not in suppressed]
        if taken:
            accepted.to.append(taken[0])
            accepted.message_ids.append(message_id)
            accepted.keys.append(mail.key)
            accepted.contents.append({**content, "account_id": account})
        size = len(mail.recipients)
        info = {"count": size, "per_page": size, "total_count": size}
        result = _shape(lists, message_id, mail.recipients, faults.shape)
        return replace(_success(result, info), accepted=accepted)

    def _sort(self, account: str, mail: Mail, now: datetime) -> dict[str, list[str]]:
        """Say what becomes of each recipient at once."""
        lists: dict[str, list[str]] = {
            "delivered": [],
            "permanent_bounces": [],
            "queued": [],
            "suppressed_recipients": [],
        }
        on_list = self._list_of(account, now)
        for to in mail.recipients:
            local = to.lower()
            if local.startswith("reject"):
                raise Refused(Error.INVALID, f"Recipient refused: {to}")
            if local.startswith("suppress") or on_list.holds(to, now):
                lists["suppressed_recipients"].append(to)
            elif local.startswith("bounce"):
                lists["permanent_bounces"].append(to)
            elif local.startswith(("soft", "slow")):
                lists["queued"].append(to)
            else:
                lists["delivered"].append(to)
        return lists

    def _list_of(self, account: str, now: datetime) -> Suppressions:
        if account not in self._suppressions:
            self._suppressions[account] = Suppressions(now)
        return self._suppressions[account]

    def _methods(
        self, call: Call, account: str, rest: str | None
    ) -> dict[str, Callable[[], object]]:
        """Say what can be done at a place of the suppression list."""
        now, entries = call.at, self._list_of(account, call.at)

        def page() -> Answer:
            found = entries.page(call.query, now)
            return _success(found.entries, found.info)

        if rest is None:
            return {"GET": page, "POST": lambda: entries.create(_read(call), now)}
        if rest == "bulk":
            return {"POST": lambda: self._add_many(entries, call)}
        return {
            "GET": lambda: entries.get(rest, now),
            "PATCH": lambda: entries.edit(rest, _read(call), now),
            "DELETE": lambda: entries.delete(rest, now),
        }

    def _add_many(self, entries: Suppressions, call: Call) -> object:
        full = len(self._bulks) == _BULKS
        if full and call.at - self._bulks[0] < _BULK_WINDOW:
            raise Refused(Error.THROTTLED, f"At most {_BULKS} bulk imports a minute")
        self._bulks.append(call.at)
        return entries.add_many(_read(call), call.at)


def _is_sending(found: re.Match[str]) -> bool:
    return found["place"] in _SENDING and not found["rest"]


def _with_quota(answer: Answer) -> Answer:
    return replace(answer, headers=[*answer.headers, *_QUOTA])


def _authenticate(headers: Mapping[str, str]) -> None:
    if "authorization" in headers:
        scheme, _, token = headers["authorization"].partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(Error.BAD_TOKEN_TYPE, "Authorization must be a bearer token")
        if token.strip():
            return
    elif headers.get("x-auth-email") and headers.get("x-auth-key"):
        return
    raise Refused(Error.UNAUTHORIZED, "API token is missing")


def _check_account(account: str, *, sending: bool) -> None:
    error = _ACCOUNTS.get(account)
    if error is not None and (sending or account not in _ACCOUNTS_FOR_SENDING):
        raise Refused(error, f"Account {account}")


def _read(call: Call) -> dict[str, object]:
    media_type = call.headers.get("content-type", "").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        raise Refused(Error.SCHEMA, "Content-Type must be application/json")
    try:
        content = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise Refused(Error.SCHEMA, f"Malformed JSON: {error}") from error
    if not isinstance(content, dict):
        raise Refused(Error.SCHEMA, "The body must be a JSON object")
    return content


def _success(result: object, info: Mapping[str, object] | None = None) -> Answer:
    body = {"success": True, "errors": [], "messages": [], "result": result}
    return Answer(
        200, orjson.dumps(body if info is None else body | {"result_info": info})
    )


def _shape(
    lists: Mapping[str, list[str]], message_id: str, recipients: list[str], shape: str
) -> dict[str, object]:
    """Write the result in one of the forms that clients meet."""
    if shape == "success":
        return {name: lists[name] for name in lists if name != "suppressed_recipients"}
    if shape == "short":
        dropped = recipients[-1]
        lists = {name: [to for to in lists[name] if to != dropped] for name in lists}
    elif shape == "long":
        lists = {**lists, "delivered": [*lists["delivered"], _STRANGER]}
    return {**lists, "message_id": message_id}
