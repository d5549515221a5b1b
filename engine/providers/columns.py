"""The common answer to a batch, read by columns: all accepted, in order, with ids.

To look at each item by itself costs ten times as much.
"""

from collections.abc import Sequence
from typing import cast

from engine.message import Batch
from engine.outcome import Outcomes, Status
from engine.providers.answers import NO, YES, Entry, are_identities, identity

#: Keys and errors. Items that have one take the long way.
_TELLING = frozenset(
    {"index", "recipient", "email", "address", "custom_args", "metadata"}
    | {"success", "error", "errors"}
)

#: Fields of the common answer to one message: its status and its id.
_PLAIN = 2


def accepted_alone(answer: Entry, fields: Sequence[str]) -> Outcomes | None:
    """Read the common answer to one message: an id, a word for yes, nothing else.

    Args:
        answer: the entry of the message.
        fields: those that may hold the provider's id, best first.

    Returns:
        What `answers.judge` would say, or None: it has to.
    """
    said = answer.get("status")
    if len(answer) != _PLAIN or not isinstance(said, str) or said not in YES:
        return None
    name = identity(*map(answer.get, fields))
    if name is None:
        return None
    return Outcomes([Status.ACCEPTED], [None], [None], [name])


def all_accepted(
    batch: Batch, items: list[object], fields: Sequence[str]
) -> Outcomes | None:
    """Read the common answer: every message, in order, accepted, with an id.

    Args:
        batch: what was sent.
        items: what the answer lists.
        fields: of an item, those that may hold the provider's id, best first.

    Returns:
        What `tolerant` would say after looking at each item, or None: it has to.
    """
    kinds = set(map(type, items))
    ids: list[str] | None = None
    if len(items) == len(batch) and kinds == {str}:
        ids = cast("list[str]", items)
        known = {name.lower() for name in ids}
        if not known.isdisjoint(YES | NO) or any("@" in name for name in ids):
            return None
    elif len(items) == len(batch) and kinds == {dict}:
        ids = _ids(batch, cast("list[dict[str, object]]", items), fields)
    if ids is None or len(set(ids)) != len(ids) or not are_identities(ids):
        return None
    count = len(ids)
    nothing: list[str | None] = [None] * count
    return Outcomes([Status.ACCEPTED] * count, nothing, nothing.copy(), [*ids])


def _ids(
    batch: Batch, items: list[dict[str, object]], candidates: Sequence[str]
) -> list[str] | None:
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
    field = next((name for name in candidates if name in fields), "")
    ids = [item.get(field) for item in items]
    return cast("list[str]", ids) if set(map(type, ids)) == {str} else None
