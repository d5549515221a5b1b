"""One job, from what the caller asks to a report: which run, planned or taken up, sent.

    own the campaign ─▶ new run, or the unfinished one ─▶ the door agrees ─▶ send

A run exists once its manifest does. Whatever is refused before that leaves nothing
behind, nor does a new run that ends before its first request; what a crash left half
planned is cleared by the next start. A rehearsal, in
the sandbox, is always a new run and never stands in the way of the real thing.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl
import trio

from engine import history, overtaken, planning, results, rundir, secret
from engine.campaign import Campaign, rebased
from engine.crew import AUTO, Asked, choose
from engine.errors import (
    AccountRejected,
    EngineError,
    JournalError,
    NothingSent,
    RunError,
    RunFinished,
    ungrouped,
)
from engine.lint.audience import too_many
from engine.manifest import Manifest
from engine.outcome import InDoubt, Status
from engine.planning import Occasion, Plan
from engine.recipients import Source
from engine.report import Report
from engine.run import Ended, Run
from engine.rundir import RunDirectory
from engine.secret import Secret
from engine.stages import Spent, Stage

if TYPE_CHECKING:  # 6000 lines that only a rehearsal needs
    from engine.sandbox import Faults


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A campaign to send: as a new run, or by continuing its unfinished one.

    Attributes:
        campaign: the campaign.
        source: its list.
        out: where the results are copied to, if anywhere; a resume does so, too.
        runs_dir: where the runs are kept; None: `runs/` beside the templates.
        resume: whether an unfinished run is continued; else it is refused.
        again: whether a finished campaign is sent once more, to everyone.
        new_run: whether to plan anew, leaving out whom this sending has reached.
        limit: take only so many rows of the list.
        sandbox: whether it goes to a provider inside this process.
        max_recipients: refuse to mail more; None: any number. Of a run that is
            continued, those count who wait in it.
    """

    campaign: Campaign
    source: Source
    out: Path | None = None
    runs_dir: Path | None = None
    resume: bool = True
    again: bool = False
    new_run: bool = False
    limit: int | None = None
    sandbox: bool = False
    max_recipients: int | None = None

    @property
    def folder(self) -> Path:
        """Where the campaign's runs are."""
        return (self.runs_dir or self.campaign.home / "runs") / self.campaign.name

    def choose(self) -> tuple[Plan, bool]:
        """Take up the campaign's unfinished run, or plan a new one.

        Returns:
            The plan, and whether an earlier start has begun it.
        """
        if self.sandbox:
            return self._planned(Occasion(rehearsal=True, out=self.out)), False
        base_url = planning.base_url_of(self.campaign)
        earlier = history.runs(self.folder, base_url)
        if not earlier:
            return self._planned(Occasion(base_url=base_url, out=self.out)), False
        last, manifest = earlier[0]
        generation = max(manifest.generation for _, manifest in earlier)
        finished = history.finished_at(last, manifest)
        if finished and self.again:
            occasion = Occasion(
                base_url=base_url, generation=generation + 1, out=self.out
            )
            return self._planned(occasion), False
        if self.new_run or (finished and self._wants_more_than(manifest)):
            same = [run for run in earlier if run[1].generation == generation]
            occasion = Occasion(
                base_url=base_url,
                generation=generation,
                sent=history.sent(same),
                out=self.out,
            )
            return self._planned(occasion), False
        if finished:
            raise _sent_already(manifest, finished)
        return self._continued(last, manifest), True

    def _wants_more_than(self, manifest: Manifest) -> bool:
        """Whether a finished run took only the first rows, and now more are wanted."""
        return manifest.limit is not None and (
            self.limit is None or self.limit > manifest.limit
        )

    def _planned(self, occasion: Occasion) -> Plan:
        occasion = replace(occasion, max_recipients=self.max_recipients)
        return _new_plan(
            self.folder, self.campaign, self.source, occasion, limit=self.limit
        )

    def _continued(self, directory: RunDirectory, manifest: Manifest) -> Plan:
        told = f"{self.campaign.name}: the run {directory.run} is not finished"
        finish = f"mailvolley resume {directory.path}"
        if self.again or not self.resume:
            raise RunError(told, hint=f"finish it first: {finish}")
        changed = planning.differences(
            manifest, self.campaign, self.source, limit=self.limit
        )
        if changed:
            raise RunError(
                f"{told}, and this has changed since it was planned: "
                f"{'; '.join(changed)}",
                hint=f"finish it as it was planned: {finish}; or send what there is "
                "now to those whom it has not reached: the same command with --new-run",
            )
        history.expect_unreached((directory, manifest))
        return planning.take_up(directory, self.campaign)


@dataclass(frozen=True, slots=True)
class Retry:
    """Another try for rows of a run that were refused or failed.

    The campaign is the run's; its templates are as they are now, perhaps mended.

    Attributes:
        directory: the run's.
        statuses: which rows.
        out: where the results are copied to; None: where the run says.
        base_url: in place of the address that the run was planned with.
        sandbox: never: what was refused in a rehearsal is rehearsed anew.
    """

    directory: RunDirectory
    statuses: tuple[Status, ...]
    out: Path | None = None
    base_url: str | None = None
    sandbox: bool = False

    @property
    def folder(self) -> Path:
        """Where the campaign's runs are."""
        return self.directory.path.parent

    def choose(self) -> tuple[Plan, bool]:
        """Plan a run for exactly those rows."""
        manifest = Manifest.read(self.directory)
        if manifest.rehearsal:
            raise _rehearsal_is_over(self.directory, manifest)
        if not history.finished_at(self.directory, manifest):
            raise RunError(
                f"{self.directory.path}: the run is not finished",
                hint=f"finish it first: mailvolley resume {self.directory.path}",
            )
        manifest.check_snapshot(self.directory)
        campaign = _as_planned(manifest, self.base_url)
        earlier = history.runs(self.folder, manifest.base_url)
        same = [run for run in earlier if run[1].generation == manifest.generation]
        occasion = Occasion(
            base_url=planning.base_url_of(campaign),
            generation=manifest.generation,
            parent=manifest.run,
            sent=history.sent(same),
            out=self.out,
        )
        try:
            rows = planning.rows_of(self.directory, campaign, self.statuses)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise RunError(
                f"{self.directory.results}: is damaged: {error}",
                hint="make it anew from the journal: mailvolley reconcile "
                f"{self.directory.path} --events /dev/null",
            ) from error
        return _new_plan(self.folder, campaign, rows, occasion), False


@dataclass(frozen=True, slots=True)
class OldRun:
    """A run to finish as it was planned.

    Attributes:
        directory: the run's.
        out: where the results are copied to; None: where the run says.
        base_url: in place of the address that the run was planned with.
        in_doubt: other than "hold", even a finished run is taken up for those in doubt.
        max_recipients: refuse to mail more; None: any number.
        sandbox: never: a rehearsal's provider is gone with its process.
    """

    directory: RunDirectory
    out: Path | None = None
    base_url: str | None = None
    in_doubt: InDoubt = "hold"
    max_recipients: int | None = None
    sandbox: bool = False

    @property
    def folder(self) -> Path:
        """Where the campaign's runs are."""
        return self.directory.path.parent

    def choose(self) -> tuple[Plan, bool]:
        """Take up the run."""
        manifest = Manifest.read(self.directory)
        if manifest.rehearsal:
            raise _rehearsal_is_over(self.directory, manifest)
        finished = history.finished_at(self.directory, manifest)
        if finished and self.in_doubt == "hold":
            told = f"there is nothing left to send; finished {finished}"
            hint = f"look at it: mailvolley status {self.directory.path}"
            if not self.directory.results.exists():
                told += f"; but {self.directory.results.name} is gone"
                hint = results.anew(self.directory.path)
            raise RunFinished(f"{self.directory.path}: {told}", hint=hint)
        planned = _as_planned(manifest, self.base_url)
        history.expect_unreached((self.directory, manifest))
        return planning.take_up(self.directory, planned), True


class Job(Protocol):
    """What can be done: one of those above, or a `Trial`.

    Attributes:
        out: where the results are copied to; None: where the run says.
        sandbox: whether it goes to a provider inside this process.
        folder: where the runs are that it is one of.
    """

    @property
    def out(self) -> Path | None: ...  # noqa: D102 - see the class
    @property
    def sandbox(self) -> bool: ...  # noqa: D102
    @property
    def folder(self) -> Path: ...  # noqa: D102

    def choose(self) -> tuple[Plan, bool]:
        """Plan a run or take one up; return it, and whether it was begun earlier.

        What it makes in the folder, and does not come to send, is removed for it.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Options:
    """How a job is done, and what its door wants to be told or to decide on the way.

    Attributes:
        in_doubt: what becomes of batches that an earlier start left in doubt.
        drain: seconds for what is under way after a stop.
        processes: in how many processes messages are made and sent; "auto": as many as
            the run can use.
        faults: what goes wrong in the sandbox; None: nothing.
        on_plan: called before anything is sent, with the plan and whether it was begun
            earlier; may raise to refuse.
        on_start: called with the run as it starts, which can be stopped by it.
        on_progress: called with the messages settled since the last call.
    """

    in_doubt: InDoubt = "hold"
    drain: float = 20.0
    processes: Asked = AUTO
    faults: "Faults | None" = None
    on_plan: Callable[[Plan, bool], None] = lambda _plan, _begun: None
    on_start: Callable[[Run], None] = lambda _run: None
    on_progress: Callable[[int], None] = lambda _messages: None


async def perform(job: Job, options: Options) -> Report:
    """Do a job: choose the run, plan it or take it up, send it, report.

    Raises:
        EngineError: see `engine.asend`.
    """
    if isinstance(job, OldRun | Retry):
        Manifest.read(job.directory)  # before a lock is laid beside what is no run
    with rundir.owned(job.folder, rehearsal=job.sandbox):
        if not isinstance(job, OldRun | Retry):
            rundir.clear_leftovers(job.folder, rehearsal=job.sandbox)
        await _close_overtaken(job)
        with _leaving_nothing(job):
            spent = Spent()
            with spent.on(Stage.PLAN):
                plan, begun = job.choose()
                if begun:
                    _expect_few(plan, job, resend=options.in_doubt == "resend")
            token = _agreed(plan, options, job, begun=begun)
            async with _address(plan, options, sandbox=job.sandbox) as base_url:
                run = Run(
                    plan,
                    base_url=base_url,
                    secret=token,
                    in_doubt=options.in_doubt,
                    drain=options.drain,
                    processes=choose(options.processes, plan),
                    spent=spent,
                    on_progress=options.on_progress,
                )
                # Whoever was to end it meanwhile is heard now, or never.
                await trio.lowlevel.checkpoint()
                options.on_start(run)
                ended = await run.send()
            if not (begun or ended.finished) and _is_untouched(plan.directory):
                raise _nothing_sent(ended.cause)
        await _close_overtaken(job)
        return _report(plan, _out(plan, job), ended)


@contextmanager
def _leaving_nothing(job: Job) -> Iterator[None]:
    """Remove the run that a job makes inside, if it ends before its first request.

    Known by what was there before: an interrupt may come between any two steps.
    """
    before = rundir.every(job.folder, rehearsal=job.sandbox)
    try:
        yield
    except BaseException:
        for made in rundir.every(job.folder, rehearsal=job.sandbox) - before:
            if _is_untouched(made):
                with suppress(RunError):  # what was raised says more
                    rundir.remove(made)
        raise


def _is_untouched(directory: RunDirectory) -> bool:
    """Whether it is certain that nothing of a run was sent, or was to be."""
    if not directory.exists():
        return True
    try:
        return history.is_untouched((directory, Manifest.read(directory)))
    except RunError:
        return False


def _nothing_sent(cause: EngineError | None) -> NothingSent:
    if cause is None:
        return NothingSent("nothing was sent")
    return NothingSent(
        f"nothing was sent: {cause}",
        hint="see to that, and send again: there is no run to resume",
    )


def _expect_few(plan: Plan, job: Job, *, resend: bool) -> None:
    """Refuse to take up a run in which more wait than may be mailed now.

    Raises:
        CampaignError: so it is.
    """
    if not isinstance(job, NewRun | OldRun):
        return
    expect = plan.campaign.expect
    if isinstance(job, OldRun) or plan.manifest.limit is not None:
        expect = None  # it is of the whole list, and as it was planned
    if job.max_recipients is None and expect is None:
        return
    count = history.pending((plan.directory, plan.manifest), resend=resend)
    found = too_many(count, most=job.max_recipients, expect=expect)
    planning.refuse(list(found), plan.campaign)


async def _close_overtaken(job: Job) -> None:
    """Finish what a later run has taken the place of; no trouble of this one's."""
    if not job.sandbox:
        with suppress(RunError, JournalError):
            await overtaken.close(job.folder)


def _as_planned(manifest: Manifest, base_url: str | None) -> Campaign:
    """Return the campaign of a run, bound for another address of the same place.

    Another place would not know what was sent in this one, and send it once more.
    """
    campaign = planning.as_planned(manifest)
    if base_url is None:
        return campaign
    if history.place(base_url) != history.place(manifest.base_url):
        raise RunError(
            f"--base-url {base_url}: the run {manifest.run} went to "
            f"{manifest.base_url}, which has a history of its own",
            hint=f"leave it out, or send anew: mailvolley send {manifest.file} "
            f"--base-url {base_url}",
        )
    return rebased(campaign, base_url)


def _rehearsal_is_over(directory: RunDirectory, manifest: Manifest) -> RunError:
    return RunError(
        f"{directory.path}: is a rehearsal; its sandbox is gone",
        hint=f"rehearse anew: mailvolley send {manifest.file} --sandbox",
    )


def _sent_already(manifest: Manifest, finished: str) -> RunFinished:
    count = manifest.mailable
    return RunFinished(
        f"{manifest.campaign} has been sent: {count:,} message{'s'[: count != 1]}, "
        f"finished {finished} (run {manifest.run})",
        hint="to send it once more, to everyone on the list: --again; only to those "
        "whom it has not reached: --new-run",
    )


def _new_plan(
    folder: Path,
    campaign: Campaign,
    source: Source,
    occasion: Occasion,
    *,
    limit: int | None = None,
) -> Plan:
    owned = not occasion.rehearsal
    occasion = replace(
        occasion,
        runs=folder.parent,
        owned=owned,
        before=history.before(folder, occasion.base_url, owned=owned),
    )
    directory = rundir.create(folder, rehearsal=occasion.rehearsal)
    return planning.draw_up(campaign, source, directory, limit=limit, occasion=occasion)


def _agreed(plan: Plan, options: Options, job: Job, *, begun: bool) -> Secret:
    """Read the secret, ask the door, and let the run exist. Returns the secret."""
    if job.sandbox:
        token = Secret("sandbox")
    else:
        campaign = plan.campaign
        token = secret.read(campaign.provider.token, folder=campaign.file.parent)
    if (out := _out(plan, job)) is not None:
        rundir.check_target(out, never=planning.inputs(plan))
    options.on_plan(plan, begun)
    if not begun:
        plan.manifest.write(plan.directory)
    return token


def _out(plan: Plan, job: Job) -> Path | None:
    """Return where the results are copied to, if anywhere."""
    if job.out is not None:
        return job.out
    return None if plan.manifest.out is None else Path(plan.manifest.out)


@asynccontextmanager
async def _address(
    plan: Plan, options: Options, *, sandbox: bool
) -> AsyncIterator[str]:
    """Give the base URL: the provider's, or that of a sandbox that lives meanwhile."""
    if not sandbox:
        yield planning.base_url_of(plan.campaign)
        return
    from engine.sandbox import Faults, serve  # noqa: PLC0415 - see the import above

    faults = options.faults or Faults()
    with ungrouped(EngineError):
        async with trio.open_nursery() as nursery:
            site = await nursery.start(partial(serve, faults=faults))
            yield site.base_url(plan.campaign.provider.name)
            nursery.cancel_scope.cancel()


def _report(plan: Plan, out: Path | None, ended: Ended) -> Report:
    path, cause, hint = ended.results, "", ""
    if ended.cause is not None:
        cause, hint = str(ended.cause), ended.cause.hint
    if out is not None:
        try:
            rundir.copy(ended.results, out)
            path = out
        except RunError as error:  # it could be written when the run began
            cause, hint = str(error), error.hint
    return Report(
        campaign=plan.manifest.campaign,
        run=plan.manifest.run,
        finished=ended.finished,
        counts={status.value: count for status, count in ended.counts.items()},
        path=path.resolve(),
        directory=plan.directory.path,
        seconds=ended.seconds,
        messages_per_second=ended.messages_per_second,
        cause=cause,
        hint=hint,
        account=isinstance(ended.cause, AccountRejected),
        stages={stage.value: took for stage, took in ended.spent.seconds.items()},
        bound="" if ended.bound is None else str(ended.bound),
    )
