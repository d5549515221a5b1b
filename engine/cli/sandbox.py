"""`mailvolley sandbox`: a provider on this machine to rehearse against."""

import signal
from functools import partial

import click
import trio

from engine.cli import exits, output
from engine.cli.exits import ExitCode
from engine.cli.options import fault
from engine.cli.send import parsed_faults
from engine.errors import CampaignError, ungrouped
from engine.sandbox import DIALECTS, Faults, Sandbox, Webhook, serve

#: What a shell and a command line need beside the address, by provider. Any token will
#: do; these have the form that each provider's own have.
LINES = {
    "cloudmailin": (
        "export CLOUDMAILIN_SMTP_URL=smtp://sandbox:token@smtp.example:587",
    ),
    "cloudmails": ("export CLOUDMAILS_API_KEY=sandbox",),
    "cloudflare": (
        "export CLOUDFLARE_API_TOKEN=sandbox",
        "--set provider.account_id=sandbox",
    ),
    "mailerlogic": ("export MAILERLOGIC_API_KEY=ml_live_sandbox",),
}


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
@click.option(
    "--webhook",
    "webhook_url",
    default="",
    metavar="URL",
    help="Post what becomes of each message there, as its provider would; on this "
    "machine only, and {provider} in its path becomes each one's name.",
)
@click.option(
    "--webhook-pace",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    metavar="FACTOR",
    help="On the time that things take: 0.01 is a hundred times as fast.",
)
@click.option(
    "--webhook-secret",
    default="",
    metavar="TEXT",
    help="Sign posts with it, as the providers do that sign.",
)
@fault
def command(
    *,
    port: int,
    webhook_url: str,
    webhook_pace: float,
    webhook_secret: str,
    faults: tuple[str, ...],
) -> ExitCode:
    """Run a provider that mails nobody, keeps what it accepted, and fails on request.

    It listens on 127.0.0.1 alone. Ask it: GET /_sandbox/stats, /_sandbox/messages,
    /_sandbox/requests, /_sandbox/events; change it: POST /_sandbox/faults,
    /_sandbox/webhook.

    What becomes of a message, its address decides by how it begins: reject, bounce,
    soft, slow, open, click, unsubscribe, complain, suppress; others are delivered.
    """
    with exits.told(as_json=False):
        webhook = _webhook(webhook_url, webhook_pace, webhook_secret)
        try:
            with ungrouped(OSError):
                trio.run(_serve, port, parsed_faults(faults), webhook)
        except OSError as error:
            raise CampaignError(
                f"--port {port}: cannot listen there: {error}",
                hint="choose another one: --port 0 takes any that is free",
            ) from None
    return ExitCode.DONE


def _webhook(url: str, pace: float, secret: str) -> Webhook:
    """Read where to post.

    Raises:
        CampaignError: nothing may be posted there.
    """
    try:
        return Webhook(url, pace, secret)
    except ValueError as error:
        raise CampaignError(str(error)) from None


async def _serve(port: int, faults: Faults, webhook: Webhook) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            listen = partial(serve, port=port, faults=faults, webhook=webhook)
            site: Sandbox = await nursery.start(listen)
            _greet(site)
            async for _ in signals:
                nursery.cancel_scope.cancel()


def _greet(site: Sandbox) -> None:
    """Tell where it is, and what each provider needs to be pointed at it."""
    root = f"http://127.0.0.1:{site.port}/"
    output.line("sandbox", f"{root}   it mails nobody; Ctrl-C ends it")
    output.line("", "Send to it: set the variable, and add the rest to mailvolley send")
    output.say()
    for name in DIALECTS:
        lines = (*LINES[name], f"--base-url {site.base_url(name)}")
        for place, line in enumerate(lines):
            output.say(f"  {'' if place else name:<13}", newline=False, fg="cyan")
            output.say(line)
    output.say()
    if site.webhook.url:
        pace = f"   at pace {site.webhook.pace:g}"
        output.line("webhook", site.webhook.url + pace)
    for name, value in site.faults.active().items():
        output.line("fault", f"{name}={value}", colour="yellow")
