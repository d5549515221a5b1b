"""`mailvolley erase`: forget people, and never write to them again."""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from engine import recipients
from engine.cli import exits, options, output
from engine.cli.exits import ExitCode
from engine.cli.suppress import addresses_of
from engine.erase import Erased, Left, People, Survey, erase, survey
from engine.errors import RecipientsError, RunError

#: What to do about several.
_FINISH = (
    "finish each, mailvolley resume RUN, or close it, mailvolley send CAMPAIGN "
    "--new-run; then erase once more"
)


@click.command("erase")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option(
    "--file", metavar="FILE", help="More addresses: CSV, TSV, NDJSON, Parquet, Arrow."
)
@click.option("--column", metavar="NAME", help="The column of the addresses in it.")
@click.option("--dry-run", is_flag=True, help="Say what there is; change nothing.")
@click.option(
    "--discard-unsent",
    is_flag=True,
    help="Remove unfinished runs that hold them and have sent nothing.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.runs_dir
@options.as_json
def command(
    *,
    addresses: tuple[str, ...],
    file: str | None,
    column: str | None,
    dry_run: bool,
    discard_unsent: bool,
    yes: bool,
    runs_dir: Path,
    as_json: bool,
) -> ExitCode:
    """Forget people: nothing below the runs folder tells any more who they were.

    Their rows stay, with outcome and message id, and without address, name and data;
    so do events of them. The suppressions keep a keyed hash of the address, by which
    every later plan leaves them out.

    A run that is not finished stays as it is, and they are left out of it from now on:
    finish it, then erase once more; or discard it, where it has sent nothing. Doubts
    about messages near theirs stay doubts.

    What was written elsewhere is yours: the list itself, backups, files of --out.
    """
    with exits.told(as_json=as_json):
        people = _people(addresses, file, column)
        if not runs_dir.is_dir():
            raise RunError(
                f"{runs_dir}: there are no runs here to erase anybody from",
                hint="name the folder of the runs: --runs-dir DIR",
            )
        if dry_run or not yes:
            found = survey(runs_dir, people)
            _show(found, done=False)
            if dry_run:
                return _end(found, people, "surveyed", as_json=as_json)
            _confirm(people)
        erased = erase(runs_dir, people, discard_unsent=discard_unsent)
        _show(erased, done=True)
        return _end(erased, people, "erased", as_json=as_json)


def _people(addresses: tuple[str, ...], file: str | None, column: str | None) -> People:
    given = list(addresses)
    if file is not None:
        with recipients.translating(file):
            frame = addresses_of(file, column).collect()
        given += [text for text in frame["address"] if text]
    if wrong := [text for text in given if "@" not in text]:
        raise RecipientsError(f"{wrong[0]}: is no address")
    if not given:
        raise RecipientsError("whom? Name addresses, or --file FILE")
    return People.of(given)


def _confirm(people: People) -> None:
    who = output.count(len(people.addresses), "person", "s")
    if not sys.stdin.isatty():
        raise RunError(
            f"this would erase {who} for good, and nobody is here to say yes",
            hint="add --yes to erase, or --dry-run to look",
        )
    click.confirm(f"Erase {who} for good?", abort=True, err=True)


def _show(told: Survey, *, done: bool) -> None:
    for directory, rows in told.runs.items():
        whose = output.count(rows, "row") if rows else "names them"
        output.line("run", f"{output.shown(directory)}: {whose}")
    output.line("events", f"{told.events:,}")
    output.line("entries", f"{told.entries:,} of the suppressions")
    for file in told.files:
        output.line("file", output.shown(file))
    for run in told.left:
        if not run.unfinished:
            why = f"{output.shown(run.directory)}: {run.why}"
            output.line("left", why, colour="yellow")
            output.line("next", run.next)
    _show_unfinished([run for run in told.left if run.unfinished])
    if isinstance(told, Erased):
        for directory in told.discarded:
            output.line("discarded", f"{output.shown(directory)}: nothing was sent")
        for file in told.others:
            shown = f"{output.shown(file)} names them, and is not ours to change"
            output.line("warning", shown, colour="yellow")
    if done:
        output.line("kept", "a keyed hash of each address: nobody writes to them")


def _show_unfinished(left: list[Left]) -> None:
    """Tell what is left of runs that are not finished, and the one thing to do."""
    if not left:
        return
    runs = output.count(len(left), "run")
    told = f"{runs} not finished; whoever is erased is left out when one goes on"
    output.line("left", told, colour="yellow")
    for run in left:
        said = "   nothing was sent" if run.unsent else ""
        output.line("", f"{output.shown(run.directory)}{said}")
    if any(run.unsent for run in left):
        step = "erase once more with --discard-unsent: it removes what has sent nothing"
    else:
        step = left[0].next if len(left) == 1 else _FINISH
    output.line("next", step)


def _end(told: Survey, people: People, word: str, *, as_json: bool) -> ExitCode:
    unfinished = bool(told.left) or (isinstance(told, Erased) and bool(told.others))
    code = ExitCode.STOPPED if unfinished and word == "erased" else ExitCode.DONE
    if as_json:
        facts = asdict(told)
        facts["runs"] = {str(path): rows for path, rows in told.runs.items()}
        facts["files"] = list(map(str, told.files))
        facts["left"] = [
            {**one, "directory": str(one["directory"])} for one in facts["left"]
        ]
        if isinstance(told, Erased):
            facts["discarded"] = list(map(str, told.discarded))
            facts["others"] = list(map(str, facts["others"]))
        status = {"status": word, "exit": int(code), "people": len(people.addresses)}
        output.data({**status, **facts})
    return code
