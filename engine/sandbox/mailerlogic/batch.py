"""The forms an answer to MailerLogic's batch may have.

The totals `total`, `queued` and `failed` are documented. Beside them stands, by the
fault `shape`: a row for each message under one of several names, in order (`results`,
`messages`, `data`, `emails`; `keyed` in another order, told by `to`; `indexed` in
another order, told by `index`; `short` and `long` with one row too few or too many);
the refused alone, by index (`errors`); the ids of the accepted (`message_ids`); the id
of the batch (`batch_id`); or nothing (`success`). `bare` and `ids` are arrays without
totals. `accepted_empty` has no body at all.
"""

from typing import NamedTuple

from engine.sandbox.faults import Faults
from engine.sandbox.mailerlogic.event import event_id
from engine.sandbox.mailerlogic.refusal import Refused

_NAMES = ("messages", "data", "emails")
_STRANGER: dict[str, object] = {
    "email_id": "00000000-0000-4000-8000-000000000000",
    "status": "queued",
}


class Ruled(NamedTuple):
    """One message of a batch: what was answered of it, or why it was refused."""

    to: object
    row: dict[str, object] | None
    refusal: Refused | None

    def describe(self) -> dict[str, object]:
        """Write its row."""
        if self.refusal is not None:
            return {"to": self.to, "status": "failed", **self.refusal.content()}
        return dict(self.row or {})


def shape_answer(faults: Faults, number: int, ruled: list[Ruled]) -> object:
    """Write the answer to a batch.

    Args:
        faults: `shape`, and the `seed` of what is shuffled.
        number: of the request.
        ruled: the messages, in order.
    """
    shape = faults.shape
    taken = [one.row for one in ruled if one.row is not None]
    totals: dict[str, object] = {
        "total": len(ruled),
        "queued": len(taken),
        "failed": len(ruled) - len(taken),
    }
    if shape == "bare":
        return [one.describe() for one in ruled]
    if shape == "ids":
        return [row["email_id"] for row in taken]
    return totals | _write_beside(faults, number, ruled)


def _write_beside(faults: Faults, number: int, ruled: list[Ruled]) -> dict[str, object]:
    """Write what stands beside the totals."""
    match faults.shape:
        case "message_ids":
            rows = [one.row for one in ruled if one.row is not None]
            return {"message_ids": [row["message_id"] for row in rows]}
        case "batch_id":
            return {"batch_id": event_id(f"batch {number}")}
        case "success":
            return {}
        case "errors":
            return {"errors": _errors(ruled)}
        case shape:
            name = shape if shape in _NAMES else "results"
            return {name: _rows(faults, number, ruled)}


def _errors(ruled: list[Ruled]) -> list[dict[str, object]]:
    return [
        {"index": index, "to": one.to, **one.refusal.content()}
        for index, one in enumerate(ruled)
        if one.refusal is not None
    ]


def _rows(faults: Faults, number: int, ruled: list[Ruled]) -> list[dict[str, object]]:
    rows = [one.describe() for one in ruled]
    match faults.shape:
        case "keyed":
            return _shuffle(faults, number, rows)
        case "indexed":
            numbered = [
                {"index": index}
                | {name: value for name, value in row.items() if name != "to"}
                for index, row in enumerate(rows)
            ]
            return _shuffle(faults, number, numbered)
        case "short":
            return rows[:-1]
        case "long":
            return [*rows, _STRANGER]
        case _:
            return rows


def _shuffle(
    faults: Faults, number: int, rows: list[dict[str, object]]
) -> list[dict[str, object]]:
    """Put rows in another order, surely another when there are two or more."""
    order = list(range(len(rows)))
    faults.dice(number).shuffle(order)
    if order == sorted(order):
        order.reverse()
    return [rows[place] for place in order]
