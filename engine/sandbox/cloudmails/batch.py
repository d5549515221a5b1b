"""Answers to a batch, in the forms that clients meet: the document shows none."""

from typing import NamedTuple

from engine.sandbox.cloudmails.mail import Flaw
from engine.sandbox.faults import Faults


class Ruled(NamedTuple):
    """One message of a batch: the id it was given, or why it was refused."""

    to: object
    message_id: str
    flaw: Flaw | None


#: Shapes that can say of each message whether it was accepted.
ITEM_BY_ITEM = frozenset(
    (
        "results",
        "messages",
        "data",
        "emails",
        "bare",
        "keyed",
        "indexed",
        "errors",
        "short",
        "long",
    )
)


def shape_answer(faults: Faults, number: int, ruled: list[Ruled]) -> object:
    """Write the answer to a batch in the form that is set.

    Args:
        faults: has the form, and the randomness of its order.
        number: of the request.
        ruled: what became of its messages, in order; of a form without room for
            refusals, all accepted.
    """
    shape = faults.shape
    ids = [one.message_id for one in ruled if one.flaw is None]
    if shape not in ITEM_BY_ITEM:
        return _summary(shape, ids)
    if shape == "errors":
        return {"success": True, "message_ids": ids, "errors": _errors(ruled)}
    rows = _rows(faults, number, ruled)
    if shape == "bare":
        return rows
    name = shape if shape in {"messages", "data", "emails"} else "results"
    return {"success": True, name: rows}


def _summary(shape: str, ids: list[str]) -> object:
    return {
        "ids": ids,
        "message_ids": {"success": True, "message_ids": ids},
        "batch_id": {"batch_id": f"batch_{ids[0].removeprefix('msg_')}"},
        "success": {"success": True},
    }[shape]


def _rows(faults: Faults, number: int, ruled: list[Ruled]) -> list[dict[str, object]]:
    rows = [_row(one) for one in ruled]
    match faults.shape:
        case "keyed":
            pairs = zip(rows, ruled, strict=True)
            return _shuffled(
                faults, number, [row | {"to": one.to} for row, one in pairs]
            )
        case "indexed":
            numbered = [row | {"index": index} for index, row in enumerate(rows)]
            return _shuffled(faults, number, numbered)
        case "short":
            return rows[:-1]
        case "long":
            return [*rows, {"message_id": "msg_of_nobody", "status": "sent"}]
        case _:
            return rows


def _row(one: Ruled) -> dict[str, object]:
    if one.flaw is None:
        return {"message_id": one.message_id, "status": "sent"}
    error = {"code": one.flaw.code, "message": one.flaw.message}
    return {"status": "failed", "error": error}


def _errors(ruled: list[Ruled]) -> list[dict[str, object]]:
    return [
        {"index": index, "code": one.flaw.code, "message": one.flaw.message}
        for index, one in enumerate(ruled)
        if one.flaw is not None
    ]


def _shuffled(
    faults: Faults, number: int, rows: list[dict[str, object]]
) -> list[dict[str, object]]:
    """Put rows in another order, surely another when there are two or more."""
    order = list(range(len(rows)))
    faults.dice(number).shuffle(order)
    if order == sorted(order):
        order.reverse()
    return [rows[place] for place in order]
