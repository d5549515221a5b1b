"""What a population proof looks like to a person: worst things first, then coverage."""

import shutil
from collections.abc import Iterator
from itertools import groupby

from engine.cli import output
from engine.planning import Plan
from engine.proof import Branch, Proof, prove
from engine.proof.alike import Alike
from engine.proof.count import Count
from engine.proof.looking import CLIPPED, LONG_SUBJECT

#: Lines of one kind at most; `--json` has them all.
LINES = 12
#: From this share of rows on, the same body for several is worth a look.
ALIKE = 0.01
_KB = 1000


def proved(plan: Plan, *, quiet: bool) -> Proof:
    """Render every row of a plan, with a bar where somebody looks on."""
    if quiet:
        return prove(plan)
    with output.progress(plan.manifest.mailable, "rendering") as advance:
        return prove(plan, on_rows=advance)


def show(proof: Proof) -> None:
    """Tell a person what rendering every row has shown."""
    output.say()
    failed = f"; {proof.failed:,} cannot be" if proof.failed else ""
    output.line("proof", f"{output.count(proof.rows, 'row')} rendered{failed}")
    _show_some("fails", _failures(proof), colour="red")
    _show_some("gap", _gaps(proof), colour="yellow")
    _show_some("empty", _columns(proof))
    _show_some("braces", _braces(proof), colour="red")
    for label, text, colour in _look(proof):
        output.line(label, text, colour=colour)
    _show_some("not https", _links(proof), colour="yellow")
    _show_coverage(proof.branches)


def _show_some(label: str, lines: Iterator[str], colour: str | None = None) -> None:
    told = list(lines)
    for text in told[:LINES]:
        output.line(label, text, colour=colour)
    if len(told) > LINES:
        output.line("", f"and {len(told) - LINES} more: --json has them all")


def _failures(proof: Proof) -> Iterator[str]:
    for failing in proof.failures:
        cause = failing.cause
        place = f"{cause.template}:{cause.line}" if cause.line else cause.template
        reads = f" (reads {', '.join(cause.names)})" if cause.names else ""
        yield f"{_rows(failing.count)}: {place}{reads}: {cause.what}"


def _gaps(proof: Proof) -> Iterator[str]:
    for empty in proof.empties:
        point = empty.point
        if not empty.breaks:
            continue
        names = ", ".join(point.names)
        place = f"{point.template}:{point.line}" if point.line else point.template
        gap = f"“{empty.reads}” where nothing is printed of {names}"
        yield f"{_rows(empty.count)}: {gap}, {place}"


def _columns(proof: Proof) -> Iterator[str]:
    for name, (count, nulls) in sorted(
        proof.columns.items(), key=lambda pair: -pair[1][0].rows
    ):
        share = f", {count.rows / proof.rows:.0%}" if proof.rows else ""
        null = f", {nulls:,} of them null" if nulls else ""
        yield f"{name}: {output.count(count.rows, 'row')}{share}{null}"


def _braces(proof: Proof) -> Iterator[str]:
    for part, count in proof.look.braces.items():
        told = count.examples[0].told
        yield f"{_rows(count)}: in the {part}: “{told}”"


def _look(proof: Proof) -> Iterator[tuple[str, str, str | None]]:
    look = proof.look
    if look.longest_subject.size >= 0:
        longest = look.longest_subject
        told = f"longest {longest.size} characters (row {longest.example.row})"
        bad = look.empty_subjects.rows
        if look.long_subjects.rows:
            told += f"; {look.long_subjects.rows:,} above {LONG_SUBJECT}, cut off"
        if bad:
            told += f"; empty in {_rows(look.empty_subjects)}"
        yield "subject", told, "red" if bad else None
    if look.largest.size >= 0:
        largest = look.largest
        told = f"largest body {largest.size / _KB:,.1f} kB (row {largest.example.row})"
        if look.clipped.rows:
            told += (
                f"; {_rows(look.clipped)} above {CLIPPED // 1024} KB: Gmail clips it"
            )
        if look.too_large.rows:
            told += f"; more than a request takes: {_rows(look.too_large)}"
        bad = look.clipped.rows + look.too_large.rows
        yield "size", told, "yellow" if bad else None
    alike = proof.alike
    if alike.share is not None:
        told = _likeness(alike)
        if alike.rows > proof.rows * ALIKE:
            count, first = alike.groups[0]
            told += (
                f"; {alike.rows:,} rows get a body that others get, too: "
                f"{count:,} the same as row {first}"
            )
        yield "alike", told, None


def _likeness(alike: Alike) -> str:
    """Say how alike the messages of the sample are, links and tags aside."""
    if alike.least == 1:
        return f"all {alike.sample:,} messages that were compared have the same words"
    return (
        f"of {alike.sample:,} messages, two share {alike.share:.0%} of their words "
        "(the median)"
    )


def _links(proof: Proof) -> Iterator[str]:
    for link, count in proof.look.links.items():
        yield f"{link} in {_rows(count)}"


def _rows(count: Count) -> str:
    told = ", ".join(str(example.row) for example in count.examples)
    rest = ", …" if count.rows > len(count.examples) else ""
    noun = "row" if count.rows == 1 else "rows"
    return f"{count.rows:,} {noun} ({told}{rest})"


def _show_coverage(branches: list[Branch]) -> None:
    if not any(branch.rows for branch in branches):
        return
    taken = sum(branch.rows > 0 for branch in branches)
    colour = None if taken == len(branches) else "yellow"
    output.say()
    output.line("branches", f"{taken} of {len(branches)} taken", colour=colour)
    width = shutil.get_terminal_size().columns - output.MARGIN
    for template, some in groupby(branches, key=lambda branch: branch.point.template):
        output.line("", template)
        for branch in some:
            _show_branch(branch, width)


def _show_branch(branch: Branch, width: int) -> None:
    line = f"{branch.point.line or ''}"
    example = branch.example
    if example is None:
        who = "no row takes it"
    else:
        who = f"{output.count(branch.rows, 'row')}, as row {example.row}"
    room = max(20, width - len(who) - 9)
    told = branch.told if len(branch.told) <= room else f"{branch.told[: room - 1]}…"
    output.say(f"{'':{output.MARGIN}}{line:>5}  {told:<{room}}  ", newline=False)
    output.say(who, fg=None if example else "yellow")
