"""What a population proof says, in words and numbers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from engine.proof.alike import Alike
from engine.proof.count import Count, Example
from engine.proof.looking import CLIPPED, LONG_SUBJECT, Look
from engine.proof.sheet import Cause, Sheet
from engine.proof.watching import Point

#: How each kind of branch is told, behind its tag.
_SAID = {
    "if": "taken",
    "elif": "taken",
    "else": "else",
    "not": "not taken",
    "none": "nor an elif",
    "for": "some turns",
    "empty": "no turn",
    "true": "true",
    "false": "false",
}


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a template, and who takes it.

    Attributes:
        point: where it is.
        rows: rows that take it; 0: none does.
        example: the first of them, or None.
    """

    point: Point
    rows: int
    example: Example | None

    @property
    def tag(self) -> str:
        """The tag, as it stands in the template as far as that is known."""
        return self.point.text or f"… if {', '.join(self.point.names) or '…'} else …"

    @property
    def way(self) -> str:
        """Which way behind the tag."""
        return _SAID[self.point.kind]

    @property
    def told(self) -> str:
        """What it is: the tag, and which way."""
        return f"{self.tag} {self.way}"


@dataclass(frozen=True, slots=True)
class Empty:
    """A place in a template that prints nothing for some rows.

    Attributes:
        point: where it is.
        count: the rows.
        reads: the line around it, with a box for the gap; empty if it is not read.
        breaks: whether the sentence reads as if something were missing.
    """

    point: Point
    count: Count
    reads: str
    breaks: bool


@dataclass(frozen=True, slots=True)
class Failing:
    """Rows that fail for the same cause."""

    cause: Cause
    count: Count


class Proof:
    """What rendering rows has shown.

    Args:
        sheet: what the rows have told.
        points: all points of the templates, passed or not.
    """

    def __init__(self, sheet: Sheet, points: Iterable[Point]) -> None:
        self._sheet = sheet
        known = set(sheet.points) | set(points)
        self._points = sorted(known, key=_standing)

    @property
    def rows(self) -> int:
        """Rows rendered, or tried."""
        return self._sheet.rows

    @property
    def failed(self) -> int:
        """Rows that could not be rendered."""
        return sum(count.rows for count in self._sheet.failures.values())

    @property
    def worst(self) -> int | None:
        """The row to look at first: 0-based input position; None: there are none.

        One that fails, else one that shows braces, else the one with the most gaps,
        else the largest.
        """
        badness, _, row = self._sheet.worst
        return None if badness < 0 else -row

    @property
    def failures(self) -> list[Failing]:
        """The failures, most rows first."""
        found = [Failing(cause, count) for cause, count in self._sheet.failures.items()]
        return sorted(found, key=lambda failing: -failing.count.rows)

    @property
    def branches(self) -> list[Branch]:
        """Every branch, in the order of the templates."""
        found = []
        for point in self._points:
            if point.kind in _SAID:
                count = self._sheet.points.get(point, Count())
                first = count.examples[0] if count.examples else None
                found.append(Branch(point, count.rows, first))
        return found

    @property
    def empties(self) -> list[Empty]:
        """The gaps: those that break a sentence first, then by rows."""
        found = []
        for point in self._points:
            if point.kind == "slot" and point in self._sheet.points:
                seen = self._sheet.snippets.get(point, [])
                found.append(
                    Empty(
                        point,
                        self._sheet.points[point],
                        str(seen[0]) if seen else "",
                        bool(seen) and seen[0].breaks,
                    )
                )
        return sorted(found, key=lambda gap: (not gap.breaks, -gap.count.rows))

    @property
    def columns(self) -> dict[str, tuple[Count, int]]:
        """Rows in which a column is empty, and of these those in which it is null."""
        nulls = self._sheet.nulls
        return {name: (c, nulls[name]) for name, c in self._sheet.empty.items()}

    @property
    def alike(self) -> Alike:
        """What the bodies have in common."""
        return self._sheet.likeness.told()

    @property
    def look(self) -> Look:
        """What the messages show."""
        return self._sheet.look

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        look, alike = self._sheet.look, self.alike
        branches = self.branches
        return {
            "rows": self.rows,
            "failed": self.failed,
            "worst": self.worst,
            "failures": [_of_cause(failing) for failing in self.failures],
            "columns": {
                name: {"empty": count.rows, "null": nulls, "rows": _rows(count)}
                for name, (count, nulls) in self.columns.items()
            },
            "empty": [_of_empty(empty) for empty in self.empties],
            "braces": {part: _of(count) for part, count in look.braces.items()},
            "subjects": {
                "empty": _of(look.empty_subjects),
                "long": {"above": LONG_SUBJECT, **_of(look.long_subjects)},
                "longest": look.longest_subject.size,
                "longest_row": look.longest_subject.example.row,
            },
            "sizes": {
                "largest": look.largest.size,
                "largest_row": look.largest.example.row,
                "mean": round(look.bytes / max(1, self.rows - self.failed)),
                "clipped": {"above": CLIPPED, **_of(look.clipped)},
                "too_large": _of(look.too_large),
            },
            "links": {link: _of(count) for link, count in look.links.items()},
            "alike": {
                "rows": alike.rows,
                "groups": [{"rows": n, "row": row} for n, row in alike.groups],
                "share": None if alike.share is None else round(alike.share, 4),
                "least": None if alike.least is None else round(alike.least, 4),
                "sample": alike.sample,
            },
            "coverage": {
                "branches": len(branches),
                "taken": sum(branch.rows > 0 for branch in branches),
            },
            "branches": [_of_branch(branch) for branch in branches],
        }


def _standing(point: Point) -> tuple[str, int, int, int]:
    """Return what sorts points as they stand in the templates, taken before not."""
    kinds = [*_SAID, "slot"]
    return point.template, point.line, point.nth, kinds.index(point.kind)


def _rows(count: Count) -> list[int]:
    return [example.row for example in count.examples]


def _of(count: Count) -> dict[str, Any]:
    examples = [
        {"row": row, "key": key} | ({"told": told} if told else {})
        for row, key, told in count.examples
    ]
    return {"rows": count.rows, "examples": examples}


def _place(point: Point) -> dict[str, Any]:
    return {
        "template": point.template,
        "line": point.line or None,
        "variables": list(point.names),
    }


def _of_cause(failing: Failing) -> dict[str, Any]:
    cause = failing.cause
    return {
        "reason": cause.reason,
        "template": cause.template,
        "line": cause.line or None,
        "variables": list(cause.names),
        "what": cause.what,
        **_of(failing.count),
    }


def _of_empty(empty: Empty) -> dict[str, Any]:
    told = {"tag": empty.point.text, "reads": empty.reads, "breaks": empty.breaks}
    return _place(empty.point) | told | _of(empty.count)


def _of_branch(branch: Branch) -> dict[str, Any]:
    told = {"kind": branch.point.kind, "tag": branch.point.text, "rows": branch.rows}
    return (
        _place(branch.point)
        | told
        | {"row": branch.example.row if branch.example else None}
    )
