"""An answer to a batch whose form is not documented, read without guessing.

Such APIs are known to answer in these forms; what an answer does not say is a doubt:

    1  a list of objects or ids, one per message: at the top, or under `messages`,
       `results`, `data` or `emails`
    2  `message_ids`
    3  a list of objects that name their message: `index`, our own id given back, `to`
    4  `errors` that name their message, beside any of the others
    5  one word on the whole: `{"batch_id": ...}`, `{"success": true}`, 202 and nothing
    6  numbers, alone or beside any of the others: `{"queued": 2, "failed": 1}`

How it works: `read` takes the answer apart; `columns` reads the common answer at once,
`_Reading.each` one that lists messages or errors, `_Reading.whole` one that lists none.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from engine.errors import AccountRejected, BatchRejected, Unanswered
from engine.message import Batch, Response
from engine.outcome import Outcomes, Status
from engine.providers.answers import (
    IDS,
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
from engine.providers.columns import accepted_alone, all_accepted
from engine.providers.matching import MOST, Keys, Placed, place

#: The answer does not name this message, or not so that it could be told.
_PARTLY = "answer_incomplete"
#: The answer says yes and no.
_BOTH = "answer_contradictory"


def read(
    batch: Batch,
    response: Response,
    *,
    provider: str,
    single: bool,
    echo: str = "",
    ids: Sequence[str] = IDS,
) -> Outcomes:
    """Read an answer of 2xx: one place per message, in the order of the batch.

    Args:
        batch: what was sent.
        response: a status of success, any bytes.
        provider: its name, for the messages of errors.
        single: whether the answer may itself be the entry of the only message.
        echo: the field of a message, an object, in which the API gives back the
            `message_id` that we sent along; empty: it gives nothing back.
        ids: the fields of an entry that may hold the provider's id, best first.

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
    if single:
        if (plain := accepted_alone(answer, ids)) is not None:
            return plain
        if identity(*map(answer.get, ids)) is not None:
            return _columns([judge(answer, ids)])
    reading = _Reading(batch, response, answer, provider, echo, ids)
    items, errors = _lists(answer, len(batch))
    took = _counted(answer, *_TOOK)
    shaky = _complains(answer) or _is_unclear(answer)
    if items and not errors and not shaky and took in (None, len(batch)):
        common = all_accepted(batch, items, ids)
        if common is not None:
            return common
    if items or errors or (items is not None and not shaky):
        return reading.each(items, errors)
    return reading.whole()


# ---- the parts of an answer -------------------------------------------------------

#: Where a list of messages may be; `data` may also be an object that holds the rest.
_LISTS = ("messages", "results", "data", "emails", "message_ids", "accepted")
_ERRORS = ("errors", "rejected", "failed")
#: Where the number of messages may be that were taken, and that were refused.
_TOOK = ("accepted", "queued", "sent")
_REFUSED = ("failed", "rejected", "invalid")


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


def _is_unclear(answer: Entry, named: int = 0) -> bool:
    # It says that something failed, but not what; or it lists in a form of its own.
    # A number of failures is clear if as many are named one by one.
    if any(answer.get(field) and isinstance(answer[field], dict) for field in _LISTS):
        return True
    failed = [answer.get(field) for field in _REFUSED]
    if not _complains(answer):
        failed.append(answer.get("errors"))
    return any(
        value and not isinstance(value, list) and value != named for value in failed
    )


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


# ---- every other answer -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reading:
    batch: Batch
    response: Response
    answer: Entry
    provider: str
    echo: str
    ids: Sequence[str] = IDS

    def each(self, items: list[object] | None, errors: list[object]) -> Outcomes:
        """Read what an answer says message by message: forms 1 to 4."""
        answer, count = self.answer, len(self.batch)
        # One more than `place` will look at, so that it sees that there are too many.
        some = MOST * count + 1
        keys = self._keys([*(items or ())[:some], *errors[:some]])
        entries = [keys.entry(item) for item in (items or ())[:some]]
        listed = place(entries, keys, ordered=True)
        wrong = [keys.entry(item) for item in errors[:some]]
        failed = place(wrong, keys, ordered=False)
        positive, took = self._is_positive(), _counted(answer, *_TOOK)
        none_named = failed.strays == len(wrong)
        if items is None and none_named and not positive and not took:
            raise self._rejected()
        verdicts = [
            None if at in failed.doubtful else self._verdict(entry, error)
            for at, (entry, error) in enumerate(
                zip(listed.entries, failed.entries, strict=True)
            )
        ]
        refused = [one and one.status for one in verdicts].count(Status.REJECTED)
        unclear = _is_unclear(answer, refused) or failed.strays > 0
        adds_up = took is None or took + refused == count
        shaky = _complains(answer) or unclear or not adds_up
        if shaky:
            verdicts = [one and self._firm(one) for one in verdicts]
        rest = _doubt(self._told(items, verdicts))
        sure = positive or took is not None
        if took is None and items is not None:
            sure = _is_the_rest(entries, listed, failed, self.ids)
        if sure and not shaky and not failed.doubtful:
            rest = Verdict(Status.ACCEPTED, None, None, None, plain=False)
        return _columns(verdict or rest for verdict in verdicts)

    def whole(self) -> Outcomes:
        """Read one word on all messages, or numbers: forms 5 and 6, and refusals."""
        answer, count = self.answer, len(self.batch)
        took, refused = _counted(answer, *_TOOK), _counted(answer, *_REFUSED)
        complains = _complains(answer)
        if _is_unclear(answer) or (complains and (_agrees(answer) or took)):
            return self._unclear(took, refused)
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

    def _unclear(self, took: int | None, refused: int | None) -> Outcomes:
        """Say what can be said where an answer says yes and no."""
        count = len(self.batch)
        code, said = complaint(self.answer)
        status, reason = Status.IN_DOUBT, _BOTH
        if refused == count and not took and not _agrees(self.answer):
            status, reason = Status.REJECTED, code or "rejected"
        elif refused:
            reason = _PARTLY
            said = said or f"the answer counts {refused} of {count} messages as failed"
        return Outcomes.uniform(count, status, reason=reason, detail=said)

    def _verdict(self, entry: Entry | None, error: Entry | None) -> Verdict | None:
        if error is not None:
            return judge({**(entry or {}), "error": error}, self.ids)
        return None if entry is None else judge(entry, self.ids)

    def _firm(self, verdict: Verdict) -> Verdict:
        """Doubt a yes by silence: the answer complains of something, or is confused."""
        if verdict.status is not Status.ACCEPTED or verdict.plain:
            return verdict
        name, said = verdict.provider_id, complaint(self.answer)[1]
        return Verdict(Status.IN_DOUBT, _BOTH, said, name, plain=False)

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
        echoed = bool(self.echo) and any(
            isinstance(item, dict) and self.echo in item for item in items
        )
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


def _is_the_rest(
    entries: list[Entry | None], listed: Placed, failed: Placed, ids: Sequence[str]
) -> bool:
    # 998 ids without keys beside 2 errors with: the ids are those of the other 998.
    # Whose is whose is not said, so none of them is given one.
    unnamed = failed.entries.count(None)
    return len(entries) == listed.keyless == unnamed and all(
        entry is not None and judge(entry, ids).status is Status.ACCEPTED
        for entry in entries
    )


def _doubt(told: str) -> Verdict:
    return Verdict(Status.IN_DOUBT, _PARTLY, told, None, plain=False)


def _columns(verdicts: Iterable[Verdict]) -> Outcomes:
    kept = list(verdicts)
    accepted = [one.provider_id for one in kept if one.status is Status.ACCEPTED]
    names = [name for name in accepted if name is not None]
    if len(set(names)) != len(names):
        uses = Counter(names)
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
