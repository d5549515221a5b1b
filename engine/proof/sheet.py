"""All that some rows have told. A sheet is small, and sheets add up."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from engine.message import Messages
from engine.proof.alike import Likeness
from engine.proof.count import SHOWN, Count, Counts, Example, merge, note
from engine.proof.looking import Look
from engine.proof.snippet import Snippet, snippet
from engine.proof.watching import Point, Trail
from engine.providers.base import Provider
from engine.render import Failure, Renderer

#: Rows rendered at once: what is held in memory, and what a look takes in.
CHUNK = 2000
#: Different failures told, and different ways remembered.
FAILURES, WAYS = 200, 100_000
#: Where a failure's detail says that it arose, and what its value was.
_PLACE = re.compile(r"(?P<file>.+?)(?::(?P<line>\d+))?: (?P<what>.*)", re.DOTALL)
_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|\d+")


@dataclass(frozen=True, slots=True)
class Cause:
    """Why rows fail.

    Attributes:
        reason: as in the results.
        template: name, or place in the campaign file.
        line: 0 where it has none.
        names: the variables that are read on that line.
        what: what went wrong there, without the values of the row.
    """

    reason: str
    template: str
    line: int
    names: tuple[str, ...]
    what: str


@dataclass(slots=True)
class Sheet:
    """What rows have told.

    Attributes:
        rows: rendered.
        failures: rows that failed, by cause; the examples tell their own words.
        points: rows that passed a point, or left it empty.
        snippets: what is read around each point that was left empty.
        empty: rows by the column that is empty or null in them.
        nulls: of these, those in which it is null.
        look: what the messages show.
        likeness: what their bodies have in common.
        worst: how bad the worst row is, and which: the higher the worse.
    """

    rows: int = 0
    failures: Counts[Cause] = field(default_factory=dict)
    points: Counts[Point] = field(default_factory=dict)
    snippets: dict[Point, list[Snippet]] = field(default_factory=dict)
    empty: Counts[str] = field(default_factory=dict)
    nulls: Counter[str] = field(default_factory=Counter)
    look: Look = field(default_factory=Look)
    likeness: Likeness = field(default_factory=Likeness)
    worst: tuple[int, int, int] = (-1, 0, 0)

    def merge(self, other: "Sheet") -> None:
        """Take in what other rows have told."""
        self.rows += other.rows
        merge(self.failures, other.failures, most=FAILURES)
        merge(self.points, other.points, most=WAYS)
        merge(self.empty, other.empty, most=WAYS)
        self.nulls.update(other.nulls)
        for point, found in other.snippets.items():
            self.snippets.setdefault(point, found)
        self.look.merge(other.look)
        self.likeness.merge(other.likeness)
        self.worst = max(self.worst, other.worst)

    def consider(self, row: int, *, badness: int, size: int) -> None:
        """Take a row for the worst if it is; of equals the larger, then the first."""
        self.worst = max(self.worst, (badness, size, -row))


#: How bad: a row that fails, one that shows braces, one with gaps in its sentences.
FAILED, BRACED, GAP = 1_000_000, 10_000, 1


class Reader:
    """Fills sheets: renders rows, and looks at what they leave behind.

    Args:
        renderer: with the trail as its watch.
        trail: what the rows leave behind.
        provider: says how large a message becomes.
    """

    def __init__(self, renderer: Renderer, trail: Trail, provider: Provider) -> None:
        self._renderer = renderer
        self._trail = trail
        self._provider = provider
        self._passed: dict[tuple[tuple[int, ...], ...], frozenset[int]] = {}

    @property
    def points(self) -> list[Point]:
        """All points there are, passed or not."""
        return [point for point in self._trail.points if point.kind != "reached"]

    def read(self, rows: pl.DataFrame) -> Sheet:
        """Render rows of the frozen list that are to be mailed."""
        sheet = Sheet()
        for chunk in rows.iter_slices(CHUNK):
            self._chunk(sheet, chunk)
        sheet.likeness = sheet.likeness.packed()
        _note_empty(sheet, rows)
        return sheet

    def _chunk(self, sheet: Sheet, chunk: pl.DataFrame) -> None:
        rendered = self._renderer.render(chunk)
        ways = self._trail.ways(chunk.height)
        rows, keys = chunk["row"].to_list(), chunk["key"].to_list()
        messages, failures = rendered.messages, rendered.failures
        sheet.rows += chunk.height
        failed = {failure.row for failure in failures}
        kept = [place for place, row in enumerate(rows) if row not in failed]
        if failures:
            by_row = dict(zip(rows, keys, strict=True))
            for failure in failures:
                self._note_failure(sheet, failure, by_row[failure.row])
            keys = [keys[place] for place in kept]
        sheet.look.add(messages, keys, self._provider)
        bodies = messages.texts or messages.htmls or messages.subjects
        sheet.likeness.add(messages.rows, messages.message_ids, bodies)
        self._note_ways(sheet, chunk, kept, ways)
        for place in _braced(sheet, messages):
            size = len(bodies[place])
            sheet.consider(messages.rows[place], badness=BRACED, size=size)
        if len(messages):
            largest = max(range(len(messages)), key=lambda place: len(bodies[place]))
            size = len(bodies[largest])
            sheet.consider(messages.rows[largest], badness=0, size=size)

    def _note_failure(self, sheet: Sheet, failure: Failure, key: str) -> None:
        found = _PLACE.fullmatch(failure.detail)
        file, line, what = found.groups() if found else ("", None, failure.detail)
        place = file, int(line or 0)
        names = self._trail.lines.get(place, ())
        if failure.reason != "undefined":
            what = _VALUE.sub("…", what)
        cause = Cause(failure.reason, *place, names, what)
        if cause in sheet.failures or len(sheet.failures) < FAILURES:
            note(sheet.failures, cause, Example(failure.row, key, failure.detail))
        sheet.consider(failure.row, badness=FAILED, size=0)

    def _note_ways(
        self,
        sheet: Sheet,
        chunk: pl.DataFrame,
        kept: list[int],
        ways: list[tuple[tuple[int, ...], ...]],
    ) -> None:
        """Count the points that rows have passed, way by way."""
        places: dict[tuple[tuple[int, ...], ...], list[int]] = {}
        for place in kept:
            places.setdefault(ways[place], []).append(place)
        rows, keys = chunk["row"].to_list(), chunk["key"].to_list()
        for way, there in places.items():
            if way not in self._passed:
                if len(self._passed) >= WAYS:
                    self._passed.clear()
                self._passed[way] = frozenset(self._trail.passed(way))
            points = [self._trail.points[number] for number in self._passed[way]]
            examples = [Example(rows[place], keys[place]) for place in there[:SHOWN]]
            here, gaps = Count(len(there), examples), 0
            for point, number in zip(points, self._passed[way], strict=True):
                sheet.points.setdefault(point, Count()).merge(here)
                if point.kind == "slot":
                    gaps += 1
                    self._see(sheet, point, number, chunk[there[0]])
            if gaps:
                sheet.consider(rows[there[0]], badness=gaps * GAP, size=0)

    def _see(self, sheet: Sheet, point: Point, number: int, row: pl.DataFrame) -> None:
        """Render a row once more, to see what is read around a gap."""
        if point in sheet.snippets:
            return
        self._trail.marking = True
        try:
            rendered = self._renderer.render(row)
        finally:
            self._trail.marking = False
            self._trail.ways(1)
        found = snippet(rendered.messages, number) if len(rendered.messages) else None
        sheet.snippets[point] = [found] if found else []


def _braced(sheet: Sheet, messages: Messages) -> Iterable[int]:
    """Return the places of messages that were just found to show braces."""
    if not sheet.look.braces:
        return ()
    rows = {e.row for count in sheet.look.braces.values() for e in count.examples}
    return [place for place, row in enumerate(messages.rows) if row in rows]


def _note_empty(sheet: Sheet, rows: pl.DataFrame) -> None:
    """Count empty and null cells, column by column."""
    if not rows.height:
        return
    data = rows["data"].struct.unnest()
    for name in data.columns:
        column = data[name]
        null = column.is_null()
        if column.dtype == pl.String:
            blank = null | (column.str.strip_chars() == "").fill_null(value=False)
        else:
            blank = null
        sheet.nulls[name] += int(null.sum())
        places = blank.arg_true()
        if len(places):
            count = sheet.empty.setdefault(name, Count())
            for place in places.head(3):
                count.add(Example(rows["row"][place], rows["key"][place]))
            count.rows += len(places) - min(3, len(places))
