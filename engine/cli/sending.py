"""What `send` and `resume` share: ask, run with signals, tell how it ended."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial

import click
import trio

from engine import tracking
from engine.campaign import Campaign
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.cli.interrupt import ignore
from engine.errors import CampaignError, EngineError
from engine.guard import Waiting
from engine.job import Job, NewRun, OldRun, Options, Retry, perform
from engine.planning import Plan
from engine.report import Report
from engine.run import Run


def run(job: Job, options: Options, *, ask: bool, as_json: bool) -> ExitCode:
    """Do a job as a command does. Returns the exit code, after telling how it ended."""
    session = _Session(job, options, ask=ask, quiet=as_json)
    report = trio.run(session.run)
    ignore()
    code = exits.of_report(report)
    output.show_report(report, next_steps=session.next_steps(report, code))
    if as_json:
        output.data(report.to_dict())
    return code


class _Session:
    """One job with somebody at the terminal: questions, signals, a progress bar.

    It leaves the signals ignored once it has begun: see `run`.
    """

    def __init__(self, job: Job, options: Options, *, ask: bool, quiet: bool) -> None:
        self._job = job
        self._heard = ExitStack()
        self._ask = ask
        self._quiet = quiet
        self._bar = ExitStack()
        self._plan: Plan | None = None
        self._nursery: trio.Nursery | None = None
        self._options = replace(options, on_plan=self._on_plan, on_start=self._on_start)

    async def run(self) -> Report:
        """Do the job; the first SIGINT or SIGTERM drains it, the second cuts it.

        Until it has started, an interrupt ends the command as it ends any other.
        """
        report = None
        refused: EngineError | click.Abort | KeyboardInterrupt | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                with self._heard, self._bar:
                    report = await perform(self._job, self._options)
            except (EngineError, click.Abort, KeyboardInterrupt) as error:
                refused = error  # told by itself, not as a group of one
            nursery.cancel_scope.cancel()
        if report is None:
            raise refused or click.Abort
        return report

    async def _watch_signals(self, run: Run, signals: AsyncIterator[int]) -> None:
        async for _ in signals:
            if run.stop.requested:
                run.cut()
            else:
                run.stop.request()
                self._bar.close()
                output.line("stopping", "what is under way may finish; again: cut")

    def _on_plan(self, plan: Plan, begun: bool) -> None:  # noqa: FBT001 - a callback
        self._plan = plan
        output.show_plan(plan, begun=begun)
        if begun:
            output.line("continues", plan.manifest.run)
        if self._ask:
            _confirm(plan)

    def _on_start(self, run: Run) -> None:
        if self._nursery is None or self._plan is None:
            raise RuntimeError("a run starts after its plan, and inside the session")
        # In this order: when the receiver is closed, signals are ignored again, and
        # none ends the command between the run's end and the telling of it.
        ignore()
        receiver = trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM)
        signals = self._heard.enter_context(receiver)
        self._nursery.start_soon(self._watch_signals, run, signals)
        count = output.count(run.processes.count, "process", "es")
        output.line("made in", f"{count}: {run.processes.why}")
        run.on_wait = _show_canary
        run.on_hold = _show_hold
        if not self._quiet:
            run.on_begin = partial(self._show_bar, run, self._plan.manifest.mailable)

    def _show_bar(self, run: Run, mailable: int, settled: int) -> None:
        if not run.stop.requested:
            bar = output.progress(mailable, done=settled)
            run.on_progress = self._bar.enter_context(bar)

    def next_steps(self, report: Report, code: ExitCode) -> list[str]:
        """Say what to type next."""
        run = output.shown(report.directory)
        look = f"{output.command('status', run)}   # who, and why"
        if isinstance(self._job, NewRun) and self._job.sandbox:
            for_real = [_for_real(self._job.campaign)]
            return for_real if code is ExitCode.DONE else [look, *for_real]
        if not isinstance(self._job, NewRun | OldRun | Retry):  # a trial is over
            return [] if code is ExitCode.DONE else [look]
        resume = output.command("resume", run)
        again = output.command("resume", run, "--in-doubt", "resend")
        retry = output.command("retry", run)
        steps = {
            ExitCode.DONE: [],
            ExitCode.SOME_FAILED: [look, f"{retry}   # once more, for those alone"],
            ExitCode.STOPPED: [resume],
            ExitCode.ACCOUNT: [resume],
            ExitCode.SOME_IN_DOUBT: [
                look,
                *self._look_up(run),
                f"{again}   # send to them again: some may get it twice",
            ],
        }[code]
        return [report.hint, *steps] if report.hint else steps

    def _look_up(self, run: str) -> list[str]:
        """Say how to ask the provider about those in doubt, where it can be asked."""
        name = "" if self._plan is None else self._plan.campaign.provider.name
        if name not in tracking.FINDERS:
            return []
        return [f"{output.command('reconcile', run, '--lookup')}   # ask the provider"]


def _show_canary(out: Waiting) -> None:
    output.show_canary(out.messages, out.until)


def _show_hold(until: datetime) -> None:
    told = f"until {output.moment(until)}: the provider has asked for it (Retry-After)"
    output.line("waits", told)


def _for_real(campaign: Campaign) -> str:
    token = campaign.provider.token
    export = f"export {token.env}=…; " if token and token.env else ""
    send = output.command("send", output.shown(campaign.file), *options.carried())
    return f"{export}{send}   # for real"


def _confirm(plan: Plan) -> None:
    messages = output.count(plan.manifest.mailable, "message")
    question = f"send up to {messages} through {plan.manifest.base_url}"
    if not sys.stdin.isatty():
        raise CampaignError(
            f"this would {question}, and nobody is here to say yes",
            hint="add --yes to send, or --sandbox to rehearse",
        )
    click.confirm(f"{question.capitalize()}?", abort=True, err=True)
