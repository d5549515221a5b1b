"""One job, from what the caller asks to a report: which run, planned or taken up, sent.

    own the campaign ─▶ new run, or the unfinished one ─▶ the door agrees ─▶ send

A run exists once its manifest does. Whatever is refused before that leaves nothing
behind, and what a crash left half planned is cleared by the next start. A rehearsal, in
the sandbox, is always a new run and never stands in the way of the real thing.
"""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from engine import planning, providers, rundir, secret
from engine.campaign import Campaign, rebased
from engine.errors import AccountRejected, EngineError, RunError, RunFinished, first
from engine.journal import Journal
from engine.manifest import Manifest
from engine.planning import Plan
from engine.recipients import Source
from engine.report import Report
from engine.run import Ended, InDoubt, Run
from engine.rundir import RunDirectory
from engine.sandbox import Faults, serve
from engine.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A campaign to send: as a new run, or by continuing its unfinished one.

    Attributes:
        campaign: the campaign.
        source: its list.
        runs_dir: where the runs are kept; None: `runs/` beside the templates.
        resume: whether an unfinished run is continued; else it is refused.
        again: whether a finished campaign is sent once more.
        limit: take only so many rows of the list.
        sandbox: whether it goes to a provider inside this process.
    """

    campaign: Campaign
    source: Source
    runs_dir: Path | None = None
    resume: bool = True
    again: bool = False
    limit: int | None = None
    sandbox: bool = False

    @property
    def folder(self) -> Path:
        """Where the campaign's runs are."""
        return (self.runs_dir or self.campaign.home / "runs") / self.campaign.name

    def choose(self) -> tuple[Plan, bool]:
        """Take up the campaign's unfinished run, or plan a new one.

        Returns:
            The plan, and whether an earlier start has begun it.
        """
        last = None if self.sandbox else _last_run(self.folder)
        if last is None:
            return self._planned(generation=1), False
        manifest = Manifest.read(last)
        finished = finished_at(last)
        if finished and self.again:
            return self._planned(generation=manifest.generation + 1), False
        if finished:
            raise RunFinished(
                f"{self.campaign.name} has been sent: {manifest.mailable} messages, "
                f"finished {finished} (run {last.run})",
                hint="to send it once more, to everyone on the list: --again",
            )
        if self.again or not self.resume:
            raise RunError(
                f"{self.campaign.name}: the run {last.run} is not finished",
                hint=f"finish it first: mailvolley resume {last.path}",
            )
        return self._continued(last, manifest), True

    def _planned(self, *, generation: int) -> Plan:
        directory = rundir.create(self.folder, rehearsal=self.sandbox)
        try:
            return planning.draw_up(
                self.campaign,
                self.source,
                directory,
                generation=generation,
                rehearsal=self.sandbox,
                limit=self.limit,
            )
        except BaseException:
            shutil.rmtree(directory.path)
            raise

    def _continued(self, directory: RunDirectory, manifest: Manifest) -> Plan:
        changed = planning.differences(
            manifest, self.campaign, self.source, limit=self.limit
        )
        if changed:
            raise RunError(
                f"{self.campaign.name}: the run {directory.run} is not finished, and "
                f"this has changed since it was planned: {'; '.join(changed)}",
                hint=f"finish it as it was planned: mailvolley resume {directory.path}",
            )
        return planning.take_up(directory, self.campaign)


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run to finish as it was planned.

    Attributes:
        directory: the run's.
        base_url: in place of the address that the run was planned with.
        in_doubt: other than "hold", even a finished run is taken up for those in doubt.
        sandbox: never: a rehearsal's provider is gone with its process.
    """

    directory: RunDirectory
    base_url: str | None = None
    in_doubt: InDoubt = "hold"
    sandbox: bool = False

    @property
    def folder(self) -> Path:
        """Where the campaign's runs are."""
        return self.directory.path.parent

    def choose(self) -> tuple[Plan, bool]:
        """Take up the run."""
        manifest = Manifest.read(self.directory)
        if manifest.rehearsal:
            raise RunError(
                f"{self.directory.path}: is a rehearsal; its sandbox is gone",
                hint=f"rehearse anew: mailvolley send {manifest.file} --sandbox",
            )
        finished = finished_at(self.directory)
        if finished and self.in_doubt == "hold":
            raise RunFinished(
                f"{self.directory.path}: there is nothing left to send; "
                f"finished {finished}",
                hint=f"look at it: mailvolley status {self.directory.path}",
            )
        planned = planning.as_planned(manifest)
        if self.base_url is not None:
            planned = rebased(planned, self.base_url)
        return planning.take_up(self.directory, planned), True


@dataclass(slots=True, kw_only=True)
class Options:
    """How a job is done, and what its door wants to be told or to decide on the way.

    Attributes:
        out: where the results are copied to, if anywhere.
        in_doubt: what becomes of batches that an earlier start left in doubt.
        drain: seconds for what is under way after a stop.
        faults: what goes wrong in the sandbox.
        on_plan: called before anything is sent, with the plan and whether it was begun
            earlier; may raise to refuse.
        on_start: called with the run as it starts, which can be stopped by it.
        on_progress: called with the messages settled since the last call.
    """

    out: Path | None = None
    in_doubt: InDoubt = "hold"
    drain: float = 20.0
    faults: Faults = field(default_factory=Faults)
    on_plan: Callable[[Plan, bool], None] = lambda _plan, _begun: None
    on_start: Callable[[Run], None] = lambda _run: None
    on_progress: Callable[[int], None] = lambda _messages: None


async def perform(job: NewRun | OldRun, options: Options) -> Report:
    """Do a job: choose the run, plan it or take it up, send it, report.

    Raises:
        EngineError: see `engine.asend`.
    """
    with rundir.owned(job.folder):
        rundir.clear_leftovers(job.folder)
        plan, begun = job.choose()
        token = _agreed(plan, options, begun=begun, sandbox=job.sandbox)
        async with _address(plan, options, sandbox=job.sandbox) as base_url:
            run = Run(
                plan,
                base_url=base_url,
                secret=token,
                in_doubt=options.in_doubt,
                drain=options.drain,
                on_progress=options.on_progress,
            )
            options.on_start(run)
            ended = await run.send()
        if options.out is not None:
            rundir.copy(ended.results, options.out)
        return _report(plan, options, ended)


def finished_at(directory: RunDirectory) -> str:
    """Return when a run was finished, ISO 8601; empty if it was not.

    Raises:
        JournalError: the journal cannot be read; also while a process owns the run.
    """
    if not directory.journal.exists():
        return ""
    with Journal.open(directory.journal) as journal:
        return journal.fact("finished_at") or ""


def _last_run(folder: Path) -> RunDirectory | None:
    """Return the newest run that was no rehearsal."""
    runs = (run for run in rundir.find(folder) if not run.is_rehearsal)
    return next(runs, None)


def _agreed(plan: Plan, options: Options, *, begun: bool, sandbox: bool) -> Secret:
    """Ask the door, read the secret, and let the run exist. Returns the secret."""
    try:
        options.on_plan(plan, begun)
        if sandbox:
            token = Secret("sandbox")
        else:
            campaign = plan.campaign
            token = secret.read(campaign.provider.token, folder=campaign.file.parent)
    except BaseException:
        if not begun:
            shutil.rmtree(plan.directory.path)
        raise
    if not begun:
        plan.manifest.write(plan.directory)
    return token


@asynccontextmanager
async def _address(
    plan: Plan, options: Options, *, sandbox: bool
) -> AsyncIterator[str]:
    """Give the base URL: the provider's, or that of a sandbox that lives meanwhile."""
    settings = plan.campaign.provider
    if not sandbox:
        default = providers.load(settings.name).default_base_url
        yield settings.base_url or default
        return
    try:
        async with trio.open_nursery() as nursery:
            site = await nursery.start(partial(serve, faults=options.faults))
            yield site.base_url(settings.name)
            nursery.cancel_scope.cancel()
    except* EngineError as group:
        raise first(group) from None


def _report(plan: Plan, options: Options, ended: Ended) -> Report:
    return Report(
        campaign=plan.manifest.campaign,
        run=plan.manifest.run,
        finished=ended.finished,
        counts={status.value: count for status, count in ended.counts.items()},
        path=(options.out or ended.results).resolve(),
        directory=plan.directory.path,
        seconds=ended.seconds,
        messages_per_second=ended.messages_per_second,
        cause="" if ended.cause is None else str(ended.cause),
        account=isinstance(ended.cause, AccountRejected),
    )
