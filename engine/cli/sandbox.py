"""`mailvolley sandbox`: a provider on this machine to rehearse against."""

import signal

import click
import trio

from engine.cli import exits, output
from engine.cli.exits import ExitCode
from engine.cli.options import fault
from engine.cli.send import parsed_faults
from engine.errors import CampaignError
from engine.sandbox import DIALECTS, Faults, Sandbox, serve


class _WithFaults(click.Command):
    """A command whose help ends with the table of faults."""

    def format_epilog(
        self,
        ctx: click.Context,  # noqa: ARG002 - the signature is click's
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the table."""
        with formatter.section("Faults"):
            formatter.write_dl(Faults.describe())


@click.command(
    "sandbox",
    cls=_WithFaults,
)
@click.option("--port", type=click.IntRange(0, 65535), default=8025, show_default=True)
@fault
def command(*, port: int, faults: tuple[str, ...]) -> ExitCode:
    """Run a provider that mails nobody, keeps what it accepted, and fails on request.

    It listens on 127.0.0.1 alone. Ask it: GET /_sandbox/stats, /_sandbox/messages,
    /_sandbox/requests; change it: POST /_sandbox/faults.
    """
    with exits.told(as_json=False):
        try:
            trio.run(_serve, port, parsed_faults(faults))
        except* OSError as group:
            reason = group.exceptions[0]
            raise CampaignError(
                f"--port {port}: cannot listen there: {reason}",
                hint="choose another one: --port 0 takes any that is free",
            ) from None
    return ExitCode.DONE


async def _serve(port: int, faults: Faults) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            site: Sandbox = await nursery.start(_listen, port, faults)
            _greet(site)
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def _listen(
    port: int, faults: Faults, *, task_status: trio.TaskStatus[Sandbox]
) -> None:
    await serve(port=port, faults=faults, task_status=task_status)


def _greet(site: Sandbox) -> None:
    output.line(
        "sandbox", f"http://127.0.0.1:{site.port}/   it mails nobody; Ctrl-C ends it"
    )
    for name in DIALECTS:
        url = site.base_url(name)
        output.line("", f"{name}:  mailvolley send … --base-url {url}")
    active = site.faults.active()
    for name, value in active.items():
        output.line("fault", f"{name}={value}", colour="yellow")
