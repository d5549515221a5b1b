"""The engine as a library: `send`, `asend` and `plan`.

    import engine

    report = engine.send(frame, "campaigns/welcome.toml", out="results.parquet")
    report.raise_for_failures()

A list is a path, a glob, a polars frame, or anything that speaks Arrow's C interface.
`send` is for callers without an event loop; `await asend` for those on trio or asyncio.
Troubles of single recipients are rows of the results; an exception means that the run
could not be made or could not go on. Nothing here touches signals, logging or global
state.
"""

import asyncio
import threading
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import sniffio
import trio

from engine import campaign as campaigns
from engine import history, planning, providers, rundir
from engine.campaign import Campaign
from engine.crew import AUTO, Asked
from engine.errors import ungrouped
from engine.job import NewRun, Options, perform
from engine.outcome import InDoubt
from engine.planning import Occasion, Plan
from engine.recipients import Source
from engine.report import Report
from engine.rundir import RunDirectory

PathLike = str | Path


def load(
    file: PathLike, *, overrides: Sequence[str] = (), needs_list: bool = True
) -> Campaign:
    """Read and check a campaign file, with what the providers know of themselves.

    Args:
        file: the TOML file.
        overrides: `key.path=value` each, laid over the file.
        needs_list: whether the file must name the list.

    Raises:
        CampaignError: with every problem found.
    """
    return campaigns.load(
        Path(file),
        overrides=overrides,
        catalogue=_Catalogue(),
        needs_list=needs_list,
    )


def send(
    recipients: Source | None,
    campaign: PathLike | Campaign,
    *,
    out: PathLike | None = None,
    runs_dir: PathLike | None = None,
    resume: bool = True,
    again: bool = False,
    new_run: bool = False,
    limit: int | None = None,
    sandbox: bool = False,
    overrides: Sequence[str] = (),
    allow: Sequence[str] = (),
    max_recipients: int | None = None,
    base_url: str | None = None,
    in_doubt: InDoubt = "hold",
    drain: float = 20.0,
    processes: Asked = AUTO,
) -> Report:
    """Send a campaign. Blocks until it has ended, and owns the event loop meanwhile.

    Arguments and errors are those of `asend`.

    Raises:
        KeyboardInterrupt: as if cancelled: see `asend`.
        RuntimeError: called on trio, where `await asend(…)` is the way.
    """
    if _library() == "trio":
        raise RuntimeError("inside trio: use await asend(…)")
    begin = partial(
        asend,
        recipients,
        campaign,
        out=out,
        runs_dir=runs_dir,
        resume=resume,
        again=again,
        new_run=new_run,
        limit=limit,
        sandbox=sandbox,
        overrides=overrides,
        allow=allow,
        max_recipients=max_recipients,
        base_url=base_url,
        in_doubt=in_doubt,
        drain=drain,
        processes=processes,
    )
    with ungrouped(KeyboardInterrupt):  # what `except` in a script expects
        return trio.run(begin)


async def asend(
    recipients: Source | None,
    campaign: PathLike | Campaign,
    *,
    out: PathLike | None = None,
    runs_dir: PathLike | None = None,
    resume: bool = True,
    again: bool = False,
    new_run: bool = False,
    limit: int | None = None,
    sandbox: bool = False,
    overrides: Sequence[str] = (),
    allow: Sequence[str] = (),
    max_recipients: int | None = None,
    base_url: str | None = None,
    in_doubt: InDoubt = "hold",
    drain: float = 20.0,
    processes: Asked = AUTO,
) -> Report:
    """Send a campaign, on trio or on asyncio.

    On asyncio the engine runs on trio in a thread, and a cancellation is carried
    across. If cancelled, what was answered is recorded, what was under way is in doubt,
    and the run can be resumed.

    Args:
        recipients: the list; None for the one that the campaign names.
        campaign: a campaign file, or a campaign that `load` returned.
        out: where the results are copied to.
        runs_dir: where the runs are kept; else `runs/` beside the templates.
        resume: whether an unfinished run is continued; else it is refused.
        again: whether a finished campaign is sent once more, to everyone.
        new_run: plan anew, leaving out everyone whom this sending has reached.
        limit: take only so many rows of the list, from the first.
        sandbox: send to a provider inside this process, that mails nobody.
        overrides: `key.path=value` each, laid over the campaign file.
        allow: ids of rules of `engine.lint` that it may break.
        max_recipients: refuse to mail more; None: any number.
        base_url: in place of the provider's public address.
        in_doubt: what becomes of messages that an earlier start left in doubt.
        drain: seconds for what is under way after a stop.
        processes: in how many processes messages are made and sent, each with a Python
            of its own; "auto": as many as the run can use, often one.

    Raises:
        CampaignError: the campaign, a template or the list is wrong; nothing was sent.
        RunLocked: somebody else is sending this campaign.
        RunFinished: it has been sent; see `again`.
        RunError: it cannot be continued as asked.
        JournalError: the disk failed; sending has stopped, and can be resumed.
    """
    loaded, source = _loaded(recipients, campaign, overrides, base_url)
    loaded = campaigns.allowing(loaded, allow)
    job = NewRun(
        campaign=loaded,
        source=source,
        out=None if out is None else Path(out),
        runs_dir=None if runs_dir is None else Path(runs_dir),
        resume=resume,
        again=again,
        new_run=new_run,
        limit=limit,
        sandbox=sandbox,
        max_recipients=max_recipients,
    )
    options = Options(in_doubt=in_doubt, drain=drain, processes=processes)
    if _library() == "trio":
        return await perform(job, options)
    return await _on_asyncio(job, options)


def plan(
    recipients: Source | None,
    campaign: PathLike | Campaign,
    *,
    limit: int | None = None,
    overrides: Sequence[str] = (),
    allow: Sequence[str] = (),
    max_recipients: int | None = None,
    runs_dir: PathLike | None = None,
    sandbox: bool = False,
    refuse: bool = True,
) -> Plan:
    """Check a campaign against its list without sending, and without any network.

    The frozen list is kept in a temporary folder for as long as the plan lives.

    Args:
        recipients: the list; None for the one that the campaign names.
        campaign: a campaign file, or a campaign that `load` returned.
        limit: take only so many rows of the list, from the first.
        overrides: `key.path=value` each, laid over the campaign file.
        allow: ids of rules of `engine.lint` that it may break.
        max_recipients: refuse to mail more; None: any number.
        runs_dir: where the runs are kept, with the suppressions; else `runs/` beside
            the templates.
        sandbox: check it for the sandbox, which takes any address.
        refuse: whether a broken rule that is not allowed raises; else it is only among
            the findings of the plan.

    Raises:
        CampaignError: the campaign, a template or the list is wrong.
    """
    loaded, source = _loaded(recipients, campaign, overrides, None)
    loaded = campaigns.allowing(loaded, allow)
    runs = loaded.home / "runs" if runs_dir is None else Path(runs_dir)
    base_url = "" if sandbox else planning.base_url_of(loaded)
    occasion = Occasion(
        rehearsal=sandbox,
        base_url=base_url,
        runs=runs,
        keep=False,
        before=history.before(runs / loaded.name, base_url),
        max_recipients=max_recipients,
        refuses=refuse,
    )
    passing = rundir.Passing("mailvolley-plan-")
    try:
        passing.make()
        drawn = planning.draw_up(
            loaded, source, RunDirectory(passing.path), limit=limit, occasion=occasion
        )
    except BaseException:
        passing.remove()
        raise
    weakref.finalize(drawn, passing.remove)
    return drawn


class _Catalogue(Mapping[str, Collection[str]]):
    """The providers, and the settings that each takes; it is loaded when asked for."""

    def __getitem__(self, name: str) -> Collection[str]:
        if name not in providers.NAMES:
            raise KeyError(name)
        return providers.load(name).settings

    def __iter__(self) -> Iterator[str]:
        return iter(providers.NAMES)

    def __len__(self) -> int:
        return len(providers.NAMES)


def _loaded(
    recipients: Source | None,
    campaign: PathLike | Campaign,
    overrides: Sequence[str],
    base_url: str | None,
) -> tuple[Campaign, Source]:
    if not isinstance(campaign, Campaign):
        campaign = load(campaign, overrides=overrides, needs_list=recipients is None)
    elif overrides:
        raise TypeError("overrides belong to a campaign file; this one is loaded")
    if base_url is not None:
        campaign = campaigns.rebased(campaign, base_url)
    return campaign, campaign.list() if recipients is None else recipients


def _library() -> str:
    """Return the name of the event loop that is running here; empty if none is."""
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return ""


async def _on_asyncio(job: NewRun, options: Options) -> Report:
    """Run a job on trio in a thread, and carry a cancellation across."""
    scope = trio.CancelScope()
    running = threading.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def on_trio() -> Report:
        token.append(trio.lowlevel.current_trio_token())
        running.set()
        with scope:
            return await perform(job, options)
        raise asyncio.CancelledError

    thread = asyncio.get_running_loop().run_in_executor(None, trio.run, on_trio)
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        # A thread that has not begun yet does so soon; then it is cancelled at once.
        await asyncio.to_thread(running.wait)
        token[0].run_sync_soon(scope.cancel)
        await asyncio.wait([thread])
        thread.exception()
        raise
