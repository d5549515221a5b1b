"""An answer to a batch whose form is not documented, read without guessing.

Such APIs are known to answer in these forms; what an answer does not say is a doubt:

    1  a list of objects or ids, one per message: at the top, or under `messages`,
       `results`, `data` or `emails`
    2  `message_ids`
    3  a list of objects that name their message: `index`, our own id given back, `to`
    4  `errors` that name their message, beside any of the others
    5  one word on the whole: `{"batch_id": ...}`, `{"success": true}`, 202 and nothing

How it works: `read` takes the answer apart; `_all_accepted` reads the common answer by
columns; `_each` any that lists messages or errors, `_whole` those that list nothing.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import orjson

from engine.errors import AccountRejected, BatchRejected, Unanswered
from engine.message import Batch, Response
from engine.outcome import Outcomes, Status
from engine.providers.answers import (
    NO,
    YES,
    Entry,
    Verdict,
    complaint,
    flag,
    identity,
    judge,
    parse,
    word,
)
from engine.providers.matching import MOST, Keys, Placed, place

#: The answer does not name this message, or not so that it could be told.
_PARTLY = "answer_incomplete"
#: The answer says yes and no.
_BOTH = "answer_contradictory"


def read(
    batch: Batch, response: Response, *, provider: str, echo: str, single: bool
) -> Outcomes:
    """Read an answer of 2xx: one place per message, in the order of the batch.

    Args:
        batch: what was sent.
        response: a status of success, any bytes.
        provider: its name, for the messages of errors.
        echo: the field of a message, an object, in which the API gives back the
            `message_id` that we sent along.
        single: whether the answer may itself be the entry of the only message.

    Raises:
        Unanswered: the answer does not say.
        BatchRejected: it says that nothing was accepted.
        AccountRejected: a firewall gave it, not the provider.
    """
    if response.status == HTTPStatus.ACCEPTED and not response.body.strip():
        return _silently_accepted(batch, response, provider)
    answer = _flat(parse(response, provider=provider))
    if answer is None:
        raise _unanswered(response, provider)
    if single and identity(answer.get("message_id"), answer.get("id")) is not None:
        return _columns([judge(answer)])
    reading = _Reading(batch, response, answer, provider, echo)
    items, errors = _lists(answer, len(batch))
    shaky = _complains(answer) or _is_unclear(answer)
    if items and not errors and not shaky:
        common = _all_accepted(batch, items)
        if common is not None:
            return common
    if items or errors or (items is not None and not shaky):
        return reading.each(items, errors)
    return reading.whole()


# ---- the parts of an answer -------------------------------------------------------

#: Where a list of messages may be; `data` may also be an object that holds the rest.
_LISTS = ("messages", "results", "data", "emails", "message_ids", "accepted")
_ERRORS = ("errors", "rejected", "failed")


def _flat(document: object) -> Entry | None:
    if isinstance(document, list):
        return {"messages": document}
    if not isinstance(document, dict):
        return None
    inner = document.get("data")
    if not isinstance(inner, dict):
        return document
    outer = {
        field: value
        for field, value in document.items()
        if field != "data" and value is not None
    }
    return inner | outer


def _lists(answer: Entry, count: int) -> tuple[list[object] | None, list[object]]:
    # The list with one item per message, else the longest: {"messages": ["queued"]} may
    # be a remark beside the results.
    lists = [found for field in _LISTS if isinstance(found := answer.get(field), list)]
    items = max(
        lists, key=lambda found: (len(found) == count, len(found)), default=None
    )
    errors: list[object] = []
    for field in _ERRORS:
        if isinstance(found := answer.get(field), list):
            errors += found
    return items, errors


def _agrees(answer: Entry) -> bool:
    return bool({flag(answer.get("success")), word(answer.get("status"))} & YES)


def _complains(answer: Entry) -> bool:
    said = {flag(answer.get("success")), word(answer.get("status"))}
    return bool(said & NO) or bool(answer.get("error"))


def _is_unclear(answer: Entry) -> bool:
    # It says that something failed, but not what; or it lists in a form of its own.
    if any(answer.get(field) and isinstance(answer[field], dict) for field in _LISTS):
        return True
    failed = [answer.get(field) for field in ("rejected", "failed", "invalid")]
    if not _complains(answer):
        failed.append(answer.get("errors"))
    return any(value and not isinstance(value, list) for value in failed)


def _counted(answer: Entry, *fields: str) -> int | None:
    numbers = (answer.get(field) for field in fields)
    return next(
        (
            number
            for number in numbers
            if isinstance(number, int) and number is not True
        ),
        None,
    )


def _batch_id(answer: Entry) -> str | None:
    return identity(answer.get("batch_id"), answer.get("batch"), answer.get("id"))


# ---- the common answer ------------------------------------------------------------

#: Keys and errors. Items that have one take the long way.
_TELLING = frozenset(
    {"index", "recipient", "email", "address", "custom_args", "metadata"}
    | {"success", "error", "errors"}
)


def _all_accepted(batch: Batch, items: list[object]) -> Outcomes | None:
    """Read the common answer: every message, in order, accepted, with an id.

    It says what `_Reading.each` would say, or None.
    """
    kinds = set(map(type, items))
    ids: list[str] | None = None
    if len(items) == len(batch) and kinds == {str}:
        ids = cast("list[str]", items)
        known = {name.lower() for name in ids}
        if not known.isdisjoint(YES | NO) or any("@" in name for name in ids):
            return None
    elif len(items) == len(batch) and kinds == {dict}:
        ids = _ids(batch, cast("list[dict[str, object]]", items))
    if ids is None or len(set(ids)) != len(ids) or None in map(identity, ids):
        return None
    count = len(ids)
    nothing: list[str | None] = [None] * count
    return Outcomes([Status.ACCEPTED] * count, nothing, nothing.copy(), [*ids])


def _ids(batch: Batch, items: list[dict[str, object]]) -> list[str] | None:
    # By columns: to look at each item by itself costs ten times as much.
    forms = set(map(tuple, items))
    fields = forms.pop()
    if forms or not _TELLING.isdisjoint(fields):
        return None
    if "status" in fields:
        said = [item["status"] for item in items]
        if set(map(type, said)) != {str} or not YES.issuperset(said):
            return None
    if "to" in fields and [item["to"] for item in items] != batch.addresses:
        return None
    field = "message_id" if "message_id" in fields else "id"
    ids = [item.get(field) for item in items]
    return cast("list[str]", ids) if set(map(type, ids)) == {str} else None


# ---- every other answer -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    batch: Batch
    response: Response
    answer: Entry
    provider: str
    echo: str

    def each(self, items: list[object] | None, errors: list[object]) -> Outcomes:
        """Read what an answer says message by message: forms 1 to 4."""
        answer = self.answer
        # One more than `place` will look at, so that it sees that there are too many.
        some = MOST * len(self.batch) + 1
        keys = self._keys([*(items or ())[:some], *errors[:some]])
        entries = [keys.entry(item) for item in (items or ())[:some]]
        listed = place(entries, keys, ordered=True)
        wrong = [keys.entry(item) for item in errors[:some]]
        failed = place(wrong, keys, ordered=False)
        positive = self._is_positive()
        if items is None and failed.strays == len(wrong) and not positive:
            raise self._rejected()
        shaky = _complains(answer) or _is_unclear(answer) or failed.strays > 0
        verdicts = [
            None
            if at in failed.doubtful
            else _verdict(entry, error, shaky=shaky, answer=answer)
            for at, (entry, error) in enumerate(
                zip(listed.entries, failed.entries, strict=True)
            )
        ]
        rest = _doubt(self._told(items, verdicts))
        sure = positive if items is None else _is_the_rest(entries, listed, failed)
        if sure and not shaky and not failed.doubtful:
            rest = Verdict(Status.ACCEPTED, None, None, None, plain=False)
        return _columns(verdict or rest for verdict in verdicts)

    def whole(self) -> Outcomes:
        """Read one word on all messages: form 5, and refusals with a status of 2xx."""
        answer, count = self.answer, len(self.batch)
        took = _counted(answer, "accepted", "queued", "sent")
        complains = _complains(answer)
        if _is_unclear(answer) or (complains and (_agrees(answer) or took)):
            detail = complaint(answer)[1]
            return Outcomes.uniform(count, Status.IN_DOUBT, reason=_BOTH, detail=detail)
        if complains:
            raise self._rejected()
        counted = _counted(answer, "total", "count") if took is None else took
        if counted is not None and counted != count:
            told = f"the answer counts {counted} of {count} messages"
            return Outcomes.uniform(count, Status.IN_DOUBT, reason=_PARTLY, detail=told)
        said, name = word(answer.get("status")), _batch_id(answer)
        known = said == "" or said in YES
        if not known and (name is None or said is None or said.startswith("partial")):
            return Outcomes.uniform(
                count, Status.IN_DOUBT, reason="unknown_status", detail=said
            )
        if counted is None and not self._is_positive():
            raise _unanswered(self.response, self.provider)
        detail = None if name is None else f"batch {name}"
        return Outcomes.uniform(count, Status.ACCEPTED, detail=detail)

    def _is_positive(self) -> bool:
        answer = self.answer
        named = _batch_id(answer) is not None
        return named or _agrees(answer) or self.response.status == HTTPStatus.ACCEPTED

    def _rejected(self) -> BatchRejected:
        code, said = complaint(self.answer)
        status = self.response.status
        told = f"{self.provider} refused the request, with status {status}"
        return BatchRejected(
            told + (f": {said}" if said else ""),
            reason=code or "refused",
            http_status=status,
        )

    def _keys(self, items: list[object]) -> Keys:
        # Our ids are in the parts alone; they are read when an answer gives them back.
        echoed = any(isinstance(item, dict) and self.echo in item for item in items)
        ids = [self._our_id(part) for part in self.batch.parts] if echoed else []
        return Keys.of(self.batch.addresses, ids, self.echo)

    def _our_id(self, part: bytes) -> str | None:
        sent: dict[str, dict[str, str]] = orjson.loads(part)
        return sent.get(self.echo, {}).get("message_id")

    def _told(self, items: list[object] | None, verdicts: list[Verdict | None]) -> str:
        count = len(self.batch)
        if items is not None and len(items) != count:
            return f"the answer lists {len(items)} of {count} messages"
        named = count - verdicts.count(None)
        return f"the answer names {named} of {count} messages"


def _verdict(
    entry: Entry | None, error: Entry | None, *, shaky: bool, answer: Entry
) -> Verdict | None:
    if error is not None:
        return judge({**(entry or {}), "error": error})
    if entry is None:
        return None
    verdict = judge(entry)
    # The answer complains of something: silence about a message is no yes.
    if shaky and verdict.status is Status.ACCEPTED and not verdict.plain:
        name = verdict.provider_id
        said = complaint(answer)[1]
        return Verdict(Status.IN_DOUBT, _BOTH, said, name, plain=False)
    return verdict


def _is_the_rest(entries: list[Entry | None], listed: Placed, failed: Placed) -> bool:
    # 998 ids without keys beside 2 errors with: the ids are those of the other 998.
    # Whose is whose is not said, so none of them is given one.
    unnamed = failed.entries.count(None)
    return len(entries) == listed.keyless == unnamed and all(
        entry is not None and judge(entry).status is Status.ACCEPTED
        for entry in entries
    )


def _doubt(told: str) -> Verdict:
    return Verdict(Status.IN_DOUBT, _PARTLY, told, None, plain=False)


def _columns(verdicts: Iterable[Verdict]) -> Outcomes:
    kept = list(verdicts)
    accepted = (one.provider_id for one in kept if one.status is Status.ACCEPTED)
    uses = Counter(name for name in accepted if name is not None)
    if len(uses) != uses.total():
        kept = [
            _doubt(f"the answer gives one id to {uses[str(one.provider_id)]} messages")
            if one.status is Status.ACCEPTED and uses[one.provider_id or ""] > 1
            else one
            for one in kept
        ]
    return Outcomes(
        [one.status for one in kept],
        [one.reason for one in kept],
        [one.detail for one in kept],
        [one.provider_id for one in kept],
    )


# ---- answers that say little ------------------------------------------------------


def _unanswered(response: Response, provider: str) -> Unanswered:
    return Unanswered(
        f"{provider} answered {response.status}, "
        "and the answer does not say what became of the messages",
        reason="unreadable_answer",
        http_status=response.status,
    )


def _silently_accepted(batch: Batch, response: Response, provider: str) -> Outcomes:
    # A challenge of Amazon's firewall is a 202 too, empty for who does not accept HTML;
    # the request did not reach the provider (AWS WAF API Reference, ChallengeAction).
    if response.headers.get("x-amzn-waf-action"):
        blocked = AccountRejected(
            f"a firewall before {provider} stopped the request (x-amzn-waf-action)",
            reason="blocked_by_firewall",
            http_status=response.status,
        )
        blocked.hint = "ask the provider to let this machine's address through"
        raise blocked
    return Outcomes.uniform(len(batch), Status.ACCEPTED)
