"""Which rows tell most: what is asked for, the extremes, the failing, every branch."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import polars as pl

from engine import parquet
from engine.planning import Plan
from engine.proof import Proof, Prover, Wanted, find, prove

#: Rows looked through for the branches of the templates; a second or three.
LOOKED: Final = 20_000
#: Pieces that they are taken in, spread over the list.
_PIECES: Final = 10
#: Messages of a page at most.
MOST: Final = 60
#: A letter of any script but Latin.
_NOT_LATIN: Final = r"[\p{L}--\p{Latin}]"
#: What stands around the words of a tag.
_TAG: Final = re.compile(r"^\{[%{] | [%}]\}$")


class Label(NamedTuple):
    """Why a row is shown.

    Attributes:
        kind: `asked`, `list`, `fails`, `gap` or `branch`.
        text: in words, or the tag of a branch.
        way: which way behind that tag; else empty.
    """

    kind: str
    text: str
    way: str = ""


@dataclass(slots=True)
class Sample:
    """Rows to show.

    Attributes:
        labels: why each row is shown, by its position, in the order of the page.
        proof: what the rows that were looked through have shown.
        looked: how many these are.
    """

    proof: Proof
    looked: int
    labels: dict[int, list[Label]] = field(default_factory=dict)

    def add(self, row: int, kind: str, text: str, way: str = "") -> None:
        """Show a row, and say why."""
        if row not in self.labels and len(self.labels) >= MOST:
            return
        label, known = Label(kind, text, way), self.labels.setdefault(row, [])
        if label not in known:  # the HTML and the text often ask the same
            known.append(label)


def chosen(plan: Plan, prover: Prover, wanted: Wanted) -> Sample:
    """Choose the rows of a page.

    Raises:
        CampaignError: a row that is asked for is not on the list.
    """
    rows = find(plan, wanted)
    proof, looked = _proof(plan, prover, whole=wanted.worst)
    sample = Sample(proof, looked)
    for row in rows:
        sample.add(row, "asked", "As asked")
    if wanted.worst and proof.worst is not None:
        sample.add(proof.worst, "asked", "The worst of all")
    for row, text in _extremes(plan):
        sample.add(row, "list", text)
    for name, row in plan.first_rows().items():
        sample.add(row, "list", f"Variant {name}")
    for failing in proof.failures:
        example = failing.count.examples[0]
        sample.add(example.row, "fails", "Fails")
    for empty in proof.empties:
        if empty.breaks:
            sample.add(empty.count.examples[0].row, "gap", f"“{empty.reads}”")
    for branch in proof.branches:
        if branch.example is not None:
            tag = _TAG.sub("", branch.tag)
            sample.add(branch.example.row, "branch", tag, branch.way)
    return sample


def _proof(plan: Plan, prover: Prover, *, whole: bool) -> tuple[Proof, int]:
    total = plan.manifest.rows
    if whole:
        return prove(plan), total
    scan = pl.scan_parquet(plan.directory.recipients)
    if total <= LOOKED:
        return prover.prove(scan.collect()), total
    size = LOOKED // _PIECES
    starts = [piece * (total - size) // (_PIECES - 1) for piece in range(_PIECES)]
    rows = pl.concat([scan.slice(start, size).collect() for start in starts])
    return prover.prove(rows), LOOKED


def _extremes(plan: Plan) -> Iterator[tuple[int, str]]:
    """Yield the rows at the ends of what there is among those to be mailed."""
    ends: dict[str, tuple[int, int]] = {}
    first: int | None = None
    last = 0
    foreign: int | None = None
    for group in parquet.groups(plan.directory.recipients):
        rows = group.filter(pl.col("status").is_null())
        if not rows.height:
            continue
        first = rows["row"][0] if first is None else first
        last = rows["row"][-1]
        texts = rows["data"].struct.unnest().select(pl.col(pl.String).fill_null(""))
        if not texts.width:
            continue
        told = texts.select(
            long=pl.sum_horizontal(pl.all().str.len_chars()),
            empty=pl.sum_horizontal((pl.all() == "").cast(pl.Int64)),
            foreign=pl.any_horizontal(pl.all().str.contains(_NOT_LATIN)),
        )
        for name in ("long", "empty"):
            place = told[name].arg_max() or 0
            much = int(told[name][place])
            if name not in ends or much > ends[name][0]:
                ends[name] = much, int(rows["row"][place])
        places = told["foreign"].arg_true()
        if foreign is None and len(places):
            foreign = rows["row"][places[0]]
    if first is None:
        return
    yield first, "First"
    yield last, "Last"
    if "long" in ends:
        yield ends["long"][1], "Longest"
        yield ends["empty"][1], "Emptiest"
    if foreign is not None:
        yield foreign, "Not Latin"
