"""The processes that render every row, and the sheet of all of them.

The frozen list is cut into pieces; each process reads its own from the disk, renders
them, and returns a sheet. So memory holds a piece for each process, and twelve bytes
for each row, by which bodies are compared.

Processes are spawned: polars hangs after a fork. A small list is not worth their start.
"""

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import polars as pl

from engine import planning
from engine.errors import RunError
from engine.manifest import Manifest
from engine.parquet import GROUP
from engine.planning import Plan
from engine.planning.extras import again, recipe_of
from engine.planning.links import LinkingRenderer, Links
from engine.planning.plan import provider_of, renderer_of
from engine.proof import limits
from engine.proof.proof import Proof
from engine.proof.sheet import Reader, Sheet
from engine.proof.watching import Trail
from engine.rundir import RunDirectory

#: Rows from which processes are worth their start: it takes them half a second.
MANY = 10_000
#: Pieces for each process, so that none waits long for the last.
PIECES = 8


@dataclass(frozen=True, slots=True)
class _Work:
    # What a process has to know; it goes there by pickle.
    manifest: bytes
    directory: Path
    links: Links | None


class Prover:
    """Renders rows of a plan and tells what they show, in this process.

    Args:
        manifest: what was planned.
        directory: where the frozen list and the templates are.
        links: makes the links to unsubscribe, as for the plan.
        trail: is told of the rows; None: one of the prover's own.

    Attributes:
        recipe: what the messages have beside their parts.
        reader: renders and looks.
    """

    def __init__(
        self,
        manifest: Manifest,
        directory: RunDirectory,
        links: Links | None,
        trail: Trail | None = None,
    ) -> None:
        campaign = planning.as_planned(manifest)
        moment = datetime.fromisoformat(manifest.created_at)
        self.recipe = recipe_of(campaign, moment, again(manifest, directory))
        trail = trail or Trail()
        templates = directory.templates
        renderer = renderer_of(
            campaign, templates, self.recipe, links=links, watch=trail
        )
        size = manifest.batch_size
        provider = provider_of(campaign, manifest.run, size, self.recipe)
        self.reader = Reader(renderer, trail, provider)

    @classmethod
    def of(cls, plan: Plan) -> "Prover":
        """Make one for a plan."""
        return cls(plan.manifest, plan.directory, _links(plan))

    def prove(self, rows: pl.DataFrame) -> Proof:
        """Tell what some rows of the frozen list show.

        Args:
            rows: as `engine.snapshot` describes them.
        """
        mailable = rows.filter(pl.col("status").is_null())
        return Proof(self.reader.read(mailable), self.reader.points)


def prove(
    plan: Plan,
    *,
    processes: int | None = None,
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> Proof:
    """Render every row of a plan that is to be mailed, and tell what that shows.

    Args:
        plan: the plan; its files are read while this runs.
        processes: how many work; None: one for each processor.
        on_rows: called with the rows done since the last call.

    Raises:
        RunError: a process was ended: it took too long over a row, or for want of
            memory perhaps.
    """
    workers = processes or os.cpu_count() or 1
    prover = Prover.of(plan)
    whole = Sheet()
    total = plan.manifest.rows
    if total < MANY or workers == 1:
        path = plan.directory.recipients
        _add_up(whole, (_read(prover, path, p) for p in _cut(total, 1)), on_rows)
        return Proof(whole, prover.reader.points)
    work = _Work(plan.manifest.to_json(), plan.directory.path, _links(plan))
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin
    )
    try:
        with pool:
            pieces = _cut(total, workers)
            _add_up(whole, pool.map(_piece, repeat(work), pieces), on_rows)
    except BrokenProcessPool as error:
        raise RunError(
            f"a process that rendered rows was ended: it took more than "
            f"{limits.SECONDS:g} s over one row, or there was no memory left",
            hint="look for a row that makes the template grow without end",
        ) from error
    return Proof(whole, prover.reader.points)


def _add_up(
    whole: Sheet, sheets: Iterator[tuple[int, Sheet]], on_rows: Callable[[int], None]
) -> None:
    for rows, sheet in sheets:
        whole.merge(sheet)
        on_rows(rows)


def _cut(total: int, workers: int) -> list[tuple[int, int]]:
    """Cut rows into pieces: where each begins, and how many it has."""
    size = max(1, min(GROUP, -(-total // (workers * PIECES))))
    return [(start, min(size, total - start)) for start in range(0, total, size)]


def _begin() -> None:
    """Leave an interrupt to the process that asked for the work, and be modest."""
    limits.hold_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@cache
def _prover(work: _Work) -> Prover:
    manifest = Manifest(**json.loads(work.manifest))
    trail = limits.TimedTrail()
    return Prover(manifest, RunDirectory(work.directory), work.links, trail)


def _links(plan: Plan) -> Links | None:
    renderer = plan.renderer
    return renderer.links if isinstance(renderer, LinkingRenderer) else None


def _piece(work: _Work, piece: tuple[int, int]) -> tuple[int, Sheet]:
    prover = _prover(work)
    return _read(prover, RunDirectory(work.directory).recipients, piece)


def _read(prover: Prover, path: Path, piece: tuple[int, int]) -> tuple[int, Sheet]:
    rows = pl.scan_parquet(path).slice(*piece).collect()
    mailable = rows.filter(pl.col("status").is_null())
    return mailable.height, prover.reader.read(mailable)
