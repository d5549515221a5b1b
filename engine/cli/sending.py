"""What `send` and `resume` share: ask, run with signals, tell how it ended."""

import json
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import click
import trio

from engine.campaign import Campaign
from engine.cli import exits, output
from engine.cli.exits import ExitCode
from engine.errors import CampaignError, EngineError
from engine.job import NewRun, OldRun, Options, perform
from engine.planning import Plan
from engine.report import Report
from engine.run import Run


def run(
    job: NewRun | OldRun, options: Options, *, ask: bool, as_json: bool
) -> ExitCode:
    """Do a job as a command does. Returns the exit code, after telling how it ended."""
    session = _Session(job, options, ask=ask, quiet=as_json)
    report = trio.run(session.run)
    if report is None:
        click.echo("stopped before anything was sent", err=True)
        return ExitCode.STOPPED
    code = exits.of_report(report)
    output.show_report(report, next_steps=session.next_steps(report, code))
    if as_json:
        click.echo(json.dumps(report.to_dict()))
    return code


class _Session:
    """One job with somebody at the terminal: questions, signals, a progress bar."""

    def __init__(
        self, job: NewRun | OldRun, options: Options, *, ask: bool, quiet: bool
    ) -> None:
        self._job = job
        self._ask = ask
        self._quiet = quiet
        self._bar = ExitStack()
        self._plan: Plan | None = None
        self._run: Run | None = None
        self._options = replace(options, on_plan=self._on_plan, on_start=self._on_start)

    async def run(self) -> Report | None:
        """Do the job; the first SIGINT or SIGTERM drains it, the second cuts it."""
        report = None
        refused: EngineError | click.Abort | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(self._watch_signals, nursery.cancel_scope))
            try:
                with self._bar:
                    report = await perform(self._job, self._options)
            except (EngineError, click.Abort) as error:
                refused = error  # told by itself, not as a group of one
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused
        return report

    async def _watch_signals(
        self,
        scope: trio.CancelScope,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                if self._run is None:
                    scope.cancel()
                elif self._run.stop.requested:
                    self._run.cut()
                else:
                    self._run.stop.request()
                    output.line("stopping", "what is under way may finish; again: cut")

    def _on_plan(self, plan: Plan, begun: bool) -> None:  # noqa: FBT001 - a callback
        self._plan = plan
        output.show_plan(plan)
        if begun:
            output.line("continues", plan.manifest.run)
        if self._ask:
            _confirm(plan)

    def _on_start(self, run: Run) -> None:
        self._run = run
        if self._plan is not None and not self._quiet:
            bar = output.progress(self._plan.manifest.mailable)
            self._options.on_progress = self._bar.enter_context(bar)

    def next_steps(self, report: Report, code: ExitCode) -> list[str]:
        """Say what to type next."""
        run = output.shown(report.directory)
        look = output.command("status", run)
        again = output.command("resume", run, "--in-doubt", "resend")
        steps = {
            ExitCode.DONE: [],
            ExitCode.SOME_FAILED: [f"{look}   # who, and why"],
            ExitCode.STOPPED: [output.command("resume", run)],
            ExitCode.ACCOUNT: [
                f"mend the account, then: {output.command('resume', run)}"
            ],
            ExitCode.SOME_IN_DOUBT: [
                f"{look}   # who, and why",
                f"{again}   # send to them again: some may get it twice",
            ],
        }[code]
        if self._job.sandbox and isinstance(self._job, NewRun):
            campaign = self._job.campaign
            steps.append(_for_real(campaign))
        return steps


def _for_real(campaign: Campaign) -> str:
    token = campaign.provider.token
    export = f"export {token.env}=…; " if token and token.env else ""
    send = output.command("send", output.shown(campaign.file))
    return f"{export}{send}   # for real"


def _confirm(plan: Plan) -> None:
    address = plan.campaign.provider.base_url or plan.provider.default_base_url
    question = f"send up to {plan.manifest.mailable:,} messages through {address}"
    if not sys.stdin.isatty():
        raise CampaignError(
            f"this would {question}, and nobody is here to say yes",
            hint="add --yes to send, or --sandbox to rehearse",
        )
    click.confirm(f"{question.capitalize()}?", abort=True, err=True)
