"""Forget people everywhere under a runs folder, in an order that survives a crash.

    suppressions ─▶ events.db ─▶ each run ─▶ copies of its results, pages that show it

How it works: their mark is kept first, so that from then on nobody writes to them.
Events are found by the ids of messages, which the runs still know; so they come before
the runs. Each step is whole or not done, and finds by itself what is left to do: after
a crash the same command goes on.

Rules: a run of which something may still be sent is left as it is, and said so: see
`engine.erase.run`. Whoever was erased is left out when it is taken up. One that has
sent nothing can be discarded: it is but a plan, and is planned anew without them.
"""

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from engine import parquet, rundir
from engine.erase import run as one
from engine.erase.people import People
from engine.erase.run import Traces
from engine.errors import JournalError, RunError, StoreError
from engine.events import EventStore, Whose
from engine.events.store import DATABASE as EVENTS
from engine.manifest import Manifest
from engine.rundir import RunDirectory
from engine.suppression import DATABASE as SUPPRESSIONS
from engine.suppression import Suppressions

_STORES: Final = ("journal", "asked", "events", "suppressions", "fetched")
#: Files that were looked through by what they hold.
_OURS: Final = frozenset(
    {"recipients.parquet", "results.parquet", "events.parquet", "results.sha256"}
    | {f"{name}.db{end}" for end in ("", "-wal", "-shm") for name in _STORES}
)
#: Characters of a file that are looked through at a time, and those that may hold the
#: begin of a name which the next piece ends.
_PIECE: Final = 1 << 20
_OVERLAP: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class Left:
    """A run that was left as it is.

    Attributes:
        directory: the run's.
        why: in a sentence.
        next: what to do.
        unfinished: whether it is for what may still be sent of it.
        unsent: whether it has sent nothing, and can be discarded.
    """

    directory: Path
    why: str
    next: str
    unfinished: bool = False
    unsent: bool = False


@dataclass(slots=True)
class Survey:
    """What there is of some people.

    Attributes:
        runs: rows that are theirs, by run; 0: it only names them.
        events: how many tell of them.
        entries: of the suppressions that hold an address of theirs.
        files: other files of ours that name them.
        left: runs that cannot be made anew now.
    """

    runs: dict[Path, int] = field(default_factory=dict)
    events: int = 0
    entries: int = 0
    files: list[Path] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.runs or self.events or self.entries or self.files or self.left)


@dataclass(slots=True)
class Erased(Survey):
    """What came of it.

    Attributes:
        others: files under the runs folder, not ours to change, that name them.
        discarded: runs that had sent nothing, and were removed.
    """

    others: list[Path] = field(default_factory=list)
    discarded: list[Path] = field(default_factory=list)


def survey(runs: Path, people: People) -> Survey:
    """Tell what there is of some people; change nothing.

    Args:
        runs: the runs folder.
        people: who they are.

    Raises:
        StoreError: a database beside the runs cannot be read.
    """
    told, ids = Survey(), set[str]()
    for folder in _campaigns(runs):
        for found in _look(folder, people, told, own=False):
            ids |= found.traces.ids
            told.files += _copies(found.manifest, people)
        told.files += _pages(folder, people)
    told.events = _events(runs, ids, people, erase=False)
    if (runs / SUPPRESSIONS).exists():
        with Suppressions.open(runs) as entries:
            theirs = pl.col("address").is_in(list(people.addresses))
            told.entries = entries.all().filter(theirs).height
    return told


def erase(runs: Path, people: People, *, discard_unsent: bool = False) -> Erased:
    """Forget some people: nobody writes to them, and nothing tells who they were.

    Args:
        runs: the runs folder.
        people: who they are.
        discard_unsent: whether unfinished runs that hold them and have sent nothing
            are removed.

    Returns:
        What was found and is gone; and what was left, and why.

    Raises:
        StoreError: a database beside the runs cannot be written; once more does no
            harm.
    """
    told = Erased()
    with Suppressions.open(runs) as entries:
        told.entries = entries.erase(people.addresses)
    with ExitStack() as owned:
        folders = [f for f in _campaigns(runs) if _own(f, owned, told)]
        for folder in folders:
            _clear(folder)
        found = [run for f in folders for run in _look(f, people, told, own=True)]
        if discard_unsent:
            found = [run for run in found if not _discarded(run, people, told)]
        ids = {id_ for run in found for id_ in run.traces.ids}
        told.events = _events(runs, ids, people, erase=True)
        for run in found:
            _make_anew(run, people, told)
        for folder in folders:
            _tidy(folder, people, told)
    told.others = list(_others(runs, people, told))
    return told


class _Found(NamedTuple):
    """A run that was looked through."""

    directory: RunDirectory
    manifest: Manifest
    traces: Traces


def _campaigns(runs: Path) -> Iterator[Path]:
    """Yield the folders of campaigns, and of their tests."""
    if runs.is_dir():
        yield from sorted(f for f in runs.iterdir() if rundir.find(f))


def _own(folder: Path, owned: ExitStack, told: Survey) -> bool:
    """Own a campaign and its rehearsals, if nobody else does; until the end."""
    try:
        for rehearsal in (False, True):
            owned.enter_context(rundir.owned(folder, rehearsal=rehearsal))
    except RunError as error:
        told.left.append(Left(folder, str(error), error.hint))
        return False
    return True


def _clear(folder: Path) -> None:
    """Remove what crashes have left."""
    one.remove_leftovers(folder)
    for rehearsal in (False, True):
        rundir.clear_leftovers(folder, rehearsal=rehearsal)


def _look(folder: Path, people: People, told: Survey, *, own: bool) -> Iterator[_Found]:
    """Look through the runs of a campaign; say of those that must stay why.

    Yields:
        Those that hold something. Also what must stay: events know its messages.
    """
    for directory in rundir.find(folder):
        try:
            with nullcontext() if own else rundir.looked_at(directory):
                manifest = Manifest.read(directory)
                traces = one.look(directory, manifest, people)
                stays = traces and one.may_be_sent(directory, manifest)
                unfinished = _unfinished(directory, manifest) if stays else None
        except (RunError, JournalError) as error:
            told.left.append(Left(directory.path, str(error), error.hint))
            continue
        if unfinished is not None:
            told.left.append(unfinished)
        elif traces:
            told.runs[directory.path] = len(traces.rows)
        yield _Found(directory, manifest, traces)


def _unfinished(directory: RunDirectory, manifest: Manifest) -> Left:
    unsent = not one.has_sent(directory, manifest)
    finish = (
        f"finish it: mailvolley resume {directory.path}; or send to those whom it has "
        f"not reached, which closes it: mailvolley send {manifest.file} --new-run; "
        "then erase once more"
    )
    state = "has sent nothing" if unsent else "is not finished"
    return Left(
        directory.path,
        f"the run {state}, and holds them; whoever is erased is left out of it",
        "discard it: erase once more with --discard-unsent" if unsent else finish,
        unfinished=True,
        unsent=unsent,
    )


def _discarded(found: _Found, people: People, told: Erased) -> bool:
    """Remove a run that has sent nothing, with the copy of its results."""
    path = found.directory.path
    place = next((n for n, run in enumerate(told.left) if run.directory == path), None)
    if place is None or not told.left[place].unsent:
        return False
    try:
        for copy in _copies(found.manifest, people):
            copy.unlink()
            told.files.append(copy)
        rundir.remove(found.directory)
    except (RunError, OSError) as error:
        told.left[place] = Left(path, str(error), "see to the permissions")
        return False
    del told.left[place]
    told.discarded.append(path)
    return True


def _events(runs: Path, ids: set[str], people: People, *, erase: bool) -> int:
    if not (runs / EVENTS).exists():
        return 0
    whose = Whose(frozenset(ids), people.cleaned)
    with EventStore.open(runs) as store:
        return store.erase(whose) if erase else store.telling(whose)


def _make_anew(found: _Found, people: People, told: Erased) -> None:
    directory, manifest, traces = found
    if directory.path in told.runs:
        try:
            one.make_anew(directory, manifest, people, traces)
        except (RunError, JournalError, StoreError) as error:
            del told.runs[directory.path]
            told.left.append(Left(directory.path, str(error), error.hint))


def _tidy(folder: Path, people: People, told: Erased) -> None:
    """Copy results anew to where they had been copied; remove pages that show them."""
    left = {run.directory for run in told.left}
    for directory in rundir.find(folder):
        if directory.path not in left:
            for copy in _copies(Manifest.read(directory), people):
                rundir.copy(directory.results, copy)
                told.files.append(copy)
    for page in _pages(folder, people):
        page.unlink()
        told.files.append(page)


def _copies(manifest: Manifest, people: People) -> Iterator[Path]:
    """Yield the copy of a run's results, if it is there still and names them."""
    if manifest.out is None or not (copy := Path(manifest.out)).is_file():
        return
    try:
        if pl.read_parquet_metadata(copy).get("run") != manifest.run:
            return
        for group in parquet.groups(copy, ["key", "address", "detail"]):
            if any(people.named(column).any() for column in group.iter_columns()):
                yield copy
                return
    except pl.exceptions.PolarsError:
        return  # something else is there by now


def _pages(folder: Path, people: People) -> Iterator[Path]:
    """Yield the page of a preview, if it shows them."""
    page = folder / rundir.PREVIEW
    if page.is_file() and _names(page, people):
        yield page


def _others(runs: Path, people: People, told: Erased) -> Iterator[Path]:
    """Yield the files that name them and that are not ours to change."""
    left = {run.directory for run in told.left}
    for path in sorted(runs.rglob("*")):
        ours = path.name in _OURS or not left.isdisjoint(path.parents)
        if not ours and path.is_file() and _names(path, people):
            yield path


def _names(path: Path, people: People) -> bool:
    """Whether the bytes of a file name somebody."""
    tail = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        while piece := file.read(_PIECE):
            if people.cleaned(text := tail + piece) != text:
                return True
            tail = text[-_OVERLAP:]
    return False
