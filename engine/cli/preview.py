"""`mailvolley preview`: look at messages of a campaign before anything is sent."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine import rundir
from engine.cli import exits, machine, options, output
from engine.cli.exits import ExitCode

if TYPE_CHECKING:
    from engine.planning import Plan
    from engine.proof import Wanted


@click.command("preview")
@options.campaign
@options.chosen
@click.option("--out", type=options.FILE, metavar="FILE", help="The page to write.")
@click.option("--no-open", is_flag=True, help="Write the page; do not open it.")
@options.as_json
def command(
    *,
    campaign: Path,
    recipients: str | None,
    limit: int | None,
    overrides: tuple[str, ...],
    rows: tuple[int, ...],
    keys: tuple[str, ...],
    worst: bool,
    out: Path | None,
    no_open: bool,
    as_json: bool,
) -> ExitCode:
    """Write a page with messages of an informative sample, and open it.

    Each as HTML at two widths, as text, with its headers, source, data and what is to
    be said of it. The first, last, longest, emptiest and one beyond the Latin script;
    one for each branch of the templates; and those that are asked for.

    Nothing is loaded from the network and nothing of a mail can run. The page holds
    data of people: only its owner can read it.
    """
    with exits.told(as_json=as_json):
        plan = machine.api.plan(
            recipients,
            campaign,
            limit=limit,
            overrides=overrides,
            sandbox=True,
            refuse=False,  # what is only looked at need not keep the rules
        )
        wanted = machine.proof.Wanted(rows, keys, worst)
        page, shown = _written(plan, wanted, out)
        opened = not no_open and _can_open() and webbrowser.open(page.as_uri())
        output.line("page", output.shown(page))
        told = output.count(len(shown), "message")
        output.line("shows", f"{told}{'' if opened else '; open it in a browser'}")
        output.line("next", output.command("test", campaign, "--to", "me@…"))
        if as_json:
            facts = {"campaign": plan.manifest.campaign, "status": "previewed"}
            output.data({**facts, "page": str(page), "rows": shown})
        return ExitCode.DONE


def _written(
    plan: "Plan", wanted: "Wanted", out: Path | None
) -> tuple[Path, list[int]]:
    """Write the page of a plan; return where, and which rows it shows."""
    prover = machine.proof.Prover.of(plan)
    sample = machine.preview.chosen(plan, prover, wanted)
    html = machine.preview.write(plan, prover, sample, plan.findings)
    folder = plan.campaign.home / "runs" / plan.manifest.campaign
    page = (folder / rundir.PREVIEW if out is None else out).resolve()
    rundir.check_target(page, never=[plan.campaign.file])
    rundir.publish(page, html.encode(), option="--out FILE")
    return page, list(sample.labels)


def _can_open() -> bool:
    """Whether there is a screen to open a page on."""
    if sys.platform in {"darwin", "win32"}:
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
