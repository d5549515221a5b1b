"""`mailvolley events serve`: a server that providers post to."""

import json
import os
import secrets
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import click
import trio

from engine import webhooks
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.errors import CampaignError, EngineError, cause_of, ungrouped
from engine.receiver import Counts, Gate, Tls, serve
from engine.webhooks.signature import Signature
from engine.wire.progress import words

#: Environment variables with the secrets that providers sign with, by provider.
VARIABLE = "MAILVOLLEY_{}_WEBHOOK_SECRET"
#: The header of a signature, and of its time, unless --signed names others. CloudMails'
#: documents do not name theirs; the last is for a Worker of the user's own.
HEADERS = {
    "cloudmails": ("x-cloudmails-signature", ""),
    "cloudmailin": ("x-mailvolley-signature", "x-mailvolley-timestamp"),
    "cloudflare": ("x-mailvolley-signature", "x-mailvolley-timestamp"),
    "mailerlogic": ("x-mailerlogic-signature", ""),
}
_KEY_BYTES = 32
_SHORTEST_KEY = 16


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS")
@click.option("--port", type=click.IntRange(0, 65535), default=8026, show_default=True)
@click.option(
    "--key-file",
    type=options.FILE,
    metavar="FILE",
    help="Holds the key in the path; made where there is none. Default: events.key "
    "in the runs folder.",
)
@click.option(
    "--signed",
    multiple=True,
    metavar="PROVIDER=HEADER[,TIME-HEADER]",
    help="Which headers of a provider's posts hold the signature and its time.",
)
@click.option("--certificate", type=options.FILE, metavar="FILE", help="TLS, PEM.")
@click.option("--private-key", type=options.FILE, metavar="FILE", help="TLS, PEM.")
@options.runs_dir
@options.as_json
def command(
    *,
    host: str,
    port: int,
    key_file: Path | None,
    signed: tuple[str, ...],
    certificate: Path | None,
    private_key: Path | None,
    runs_dir: Path,
    as_json: bool,
) -> ExitCode:
    """Receive what providers post, until stopped.

    A post is on the disk before it is answered. Providers post to
    https://YOUR-HOST/KEY/PROVIDER; the key is in the key file. Where a provider signs,
    put the secret into MAILVOLLEY_<PROVIDER>_WEBHOOK_SECRET: then posts without a right
    signature are refused.

    It speaks plain http unless it has a certificate: let a proxy with one stand before
    it, or give it its own.
    """
    with exits.told(as_json=as_json):
        if (certificate is None) != (private_key is None):
            raise CampaignError("--certificate and --private-key go together")
        tls = None
        if certificate is not None and private_key is not None:
            tls = Tls(certificate, private_key)
        path = key_file or runs_dir / "events.key"
        gate = Gate(_key(path), _signatures(signed))
        counts = Counts()
        listen = partial(
            serve, runs_dir, gate, counts=counts, host=host, port=port, tls=tls
        )
        try:
            with ungrouped(OSError), ungrouped(EngineError):
                trio.run(_until_stopped, listen, gate, path)
        except OSError as error:
            raise CampaignError(
                f"{host}:{port}: cannot listen there: {words(error)}",
                hint="choose another one: --port 0 takes any that is free",
            ) from None
        _tell(counts)
        if as_json:
            click.echo(json.dumps(counts.to_dict()))
    return ExitCode.DONE


async def _until_stopped(
    listen: Callable[..., Awaitable[object]], gate: Gate, path: Path
) -> None:
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            base: str = await nursery.start(listen)
            output.line("listening", base)
            output.line("post to", f"{base}/KEY/{'|'.join(webhooks.NAMES)}")
            output.line("key", f"in {output.shown(path)}")
            for provider in webhooks.NAMES:
                signature = gate.signatures.get(provider)
                told = f"signed, in {signature.header}" if signature else "not signed"
                output.line("", f"{provider}: {told}")
            async for _ in signals:
                nursery.cancel_scope.cancel()


def _tell(counts: Counts) -> None:
    posts = ", ".join(f"{number:,} {what}" for what, number in counts.posts.items())
    output.line("posts", posts or "none")
    output.line("events", f"{counts.events:,}, {counts.new:,} of them new")
    output.line("suppressed", output.count(counts.suppressed, "address", "es"))


def _key(path: Path) -> str:
    """Read the key of the path; make one where there is none."""
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(f"{secrets.token_urlsafe(_KEY_BYTES)}\n")
        if path.stat().st_mode & 0o077:
            raise CampaignError(
                f"--key-file: others may read {path}", hint=f"chmod 600 {path}"
            )
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        told = cause_of(error) if isinstance(error, OSError) else "it is no text"
        raise CampaignError(f"--key-file: {path} cannot be used: {told}") from error
    if len(key) < _SHORTEST_KEY or not key.replace("-", "").replace("_", "").isalnum():
        raise CampaignError(
            f"--key-file: {path} holds no key of {_SHORTEST_KEY} letters and digits "
            "or more",
            hint=f"remove it, and a new one is made: rm {path}",
        )
    return key


def _signatures(signed: tuple[str, ...]) -> dict[str, Signature]:
    """Return how the posts of each provider are signed whose secret is at hand."""
    headers = dict(HEADERS)
    for given in signed:
        provider, equals, names = given.partition("=")
        header, _, time_header = names.lower().partition(",")
        if not equals or provider not in headers or not header:
            raise CampaignError(
                f"--signed {given}: write PROVIDER=HEADER or PROVIDER=HEADER,"
                f"TIME-HEADER; providers: {', '.join(headers)}"
            )
        if not os.environ.get(VARIABLE.format(provider.upper())):
            name = VARIABLE.format(provider.upper())
            raise CampaignError(
                f"--signed {given}: there is no secret to check it with",
                hint=f"export {name}=…",
            )
        headers[provider] = (header.strip(), time_header.strip())
    secret = {
        name: os.environ.get(VARIABLE.format(name.upper()), "") for name in headers
    }
    return {
        name: Signature(secret[name].strip(), header, time_header)
        for name, (header, time_header) in headers.items()
        if secret[name].strip()
    }
