"""`mailvolley erase`: nothing below the runs folder tells any more who they were."""

import base64
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from end_to_end.desk import Desk, Ended, Site

import engine
from engine import planning, rundir
from engine.erase import People
from engine.erase import erase as erase_all
from engine.journal import Journal
from engine.planning import Occasion
from engine.verify import verify

Start = Callable[..., Site]

#: Whom it is about: with a domain that has letters of its own.
ROW = 37
ADDRESS = "Zelda.Quux@bücher.example"
A_LABEL = "zelda.quux@xn--bcher-kva.example"
NAME = "Zelda Quuxhaven"


def spellings() -> list[bytes]:
    """Return what must not be found, in lower case."""
    known = [ADDRESS.lower(), A_LABEL, NAME.lower(), "quuxhaven"]
    known += [text.replace("@", "%40") for text in known]
    return [text.encode() for text in known] + [b"b\\u00fccher", b"zelda"]


def texts(path: Path) -> Iterator[bytes]:
    """Yield what a file says: its bytes, and the what Parquet and journals compress."""
    yield path.read_bytes()
    if path.suffix == ".parquet":
        yield pl.read_parquet(path).write_ndjson().encode()
    if path.name == "journal.db":
        with Journal.looked_into(path) as journal:
            yield repr(list(journal.batches())).encode()


def found(folder: Path) -> list[str]:
    """Return the files below a folder that tell of them in any spelling."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        f"{path.relative_to(folder)}: {text.decode()}"
        for path in files
        for told in texts(path)
        for text in spellings()
        if text in told.lower()
    ]


@pytest.fixture
def letter(desk: Desk) -> Desk:
    """A list with them in it, keyed by the address, and somebody who names them."""
    definition = desk.campaign.read_text().replace('key = "id"\n', 'name = "name"\n')
    metadata = 'metadata = { name = "{{ name }}" }\n'
    definition = definition.replace("[provider]", f"{metadata}\n[provider]")
    desk.campaign.write_text(definition)
    lines = (desk.folder / "list.csv").read_text().splitlines()
    lines = [f"{line},by" for line in lines]
    lines[0] = "id,email,name,friend"
    lines[ROW + 1] = f"{ROW:05},{ADDRESS},{NAME},"
    lines[ROW + 3] = f"{ROW + 2:05},friend@inbox.example,Friend,by {ADDRESS.upper()}"
    (desk.folder / "list.csv").write_text("\n".join(lines) + "\n")
    return desk


def plan_alone(desk: Desk, campaign: str) -> None:
    """Leave the run of a campaign that was planned and has sent nothing."""
    loaded = engine.load(desk.folder / campaign)
    folder = desk.runs / loaded.name
    folder.mkdir(parents=True)
    directory = rundir.create(folder, rehearsal=False)
    occasion = Occasion(runs=desk.runs, base_url=planning.base_url_of(loaded))
    source = loaded.list()
    drawn = planning.draw_up(loaded, source, directory, occasion=occasion)
    drawn.manifest.write(directory)


def take_in(desk: Desk, site: Site) -> None:
    """Take in the events of a site, and look at them once."""
    events = desk.folder / "events.jsonl"
    events.write_bytes(site.read("events"))
    told = desk.run("events", "import", events, "--provider", "cloudmails")
    assert told.code == 0, told.err


def erase(desk: Desk, *words: object) -> Ended:
    """Erase them, without being asked."""
    return desk.run("erase", ADDRESS.upper(), "--yes", "--json", *words)


@pytest.mark.slow
def test_nothing_below_the_runs_tells_of_them(letter: Desk, sandbox: Site) -> None:
    """Rows stay, with outcome and id; verify, status, events and retry still work."""
    out = letter.folder / "out.parquet"
    assert letter.send(sandbox.url, f"--out={out}").code == 0
    assert letter.run("preview", "letter.toml", "--no-open", "--row", ROW).code == 0
    assert letter.run("send", "letter.toml", "--sandbox").code == 0
    take_in(letter, sandbox)
    run = next(p for p in letter.runs.glob("letter/2*"))
    assert letter.run("events", "show", run).code == 0
    letter.run("suppress", "add", ADDRESS, "--campaign", "other")
    before = pl.read_parquet(run / "results.parquet")
    assert before["address"][ROW] == "Zelda.Quux@xn--bcher-kva.example"
    assert found(letter.runs)

    looked = letter.run("erase", ADDRESS, "--dry-run", "--json")
    assert looked.code == 0, looked.err
    assert looked.json["runs"] == {
        f"runs/letter/{p.name}": 1 for p in run.parent.glob("*Z-*")
    }
    assert pl.read_parquet(run / "results.parquet").equals(before)

    told = erase(letter)
    assert told.code == 0, told.err
    assert found(letter.runs) == []
    assert found(out.parent / "runs") == []
    assert [t for t in spellings() if t in list(texts(out))[1].lower()] == []
    assert told.json["others"] == []
    assert told.json["entries"] == 1
    after = pl.read_parquet(run / "results.parquet")
    same = [name for name in before.columns if name not in {"key", "address"}]
    assert after.select(same).equals(before.select(same))
    assert after["address"][ROW] == after["key"][ROW] == "erased"
    others = pl.col("row") != ROW
    assert after.filter(others).equals(before.filter(others))
    assert pl.read_parquet(out).equals(after)
    assert letter.run("verify", run).code == 0
    assert letter.run("status", run).code == 0
    show = letter.run("events", "show", run, "--json")
    assert show.json["deliveries"]["delivered"] > 90
    again = erase(letter)
    assert again.json["runs"] == {}
    assert again.code == 0


@pytest.mark.slow
def test_they_are_never_written_to_again(letter: Desk, sandbox: Site) -> None:
    """Not by a new sending, nor by an import or a late event; which tell nothing."""
    assert letter.send(sandbox.url).code == 0
    assert erase(letter).code == 0
    take_in(letter, sandbox)
    (letter.folder / "no.csv").write_text(f"email\n{ADDRESS}\nother@inbox.example\n")
    entered = letter.run("suppress", "import", "no.csv", "--json")
    assert entered.json == {"entered": 1}
    assert found(letter.runs) == []
    again = letter.send(sandbox.url, "--again", "--json")
    assert again.code == 0, again.err
    assert again.json["counts"]["suppressed"] == 1
    assert sandbox.accepted().count("Zelda.Quux@xn--bcher-kva.example") == 1


@pytest.mark.slow
def test_a_run_that_goes_on_is_left_and_they_are_left_out_of_it(
    letter: Desk, start_sandbox: Start
) -> None:
    """It says what to do; once that is done, the same command ends it."""
    site = start_sandbox(credentials_after=2)
    assert letter.send(site.url).code == 6
    told = erase(letter)
    assert told.code == 3
    (left,) = told.json["left"]
    assert "mailvolley resume" in left["next"]
    site.fault()
    done = letter.run("resume", letter.run_directory(), "--yes", "--base-url", site.url)
    assert done.code == 0, done.err
    assert erase(letter).code == 0
    assert found(letter.runs) == []
    row = letter.results().row(ROW, named=True)
    assert (row["status"], row["reason"], row["detail"]) == (
        "suppressed",
        "erased",
        "erased",
    )
    assert letter.run("verify", letter.run_directory()).code == 0


@pytest.mark.slow
def test_the_words_of_the_provider_name_nobody(
    letter: Desk, start_sandbox: Start
) -> None:
    """What it refused, by address, and what it refused of others."""
    refused = "reject.zelda@inbox.example"
    listed = letter.folder / "list.csv"
    listed.write_text(listed.read_text().replace(ADDRESS, refused))
    site = start_sandbox()
    assert letter.send(site.url).code == 1
    before = letter.results().row(ROW, named=True)
    assert refused in before["detail"]
    assert letter.run("erase", refused, "--yes").code == 0
    assert found(letter.runs) == []
    after = letter.results().row(ROW, named=True)
    changed = {"key", "address", "detail"}
    assert {name for name in before if before[name] != after[name]} == changed
    assert letter.run("verify", letter.run_directory()).code == 0
    words = ("--yes", "--json", "--base-url", site.url)
    retried = letter.run("retry", letter.run_directory(), *words)
    assert retried.json["counts"]["invalid"] == retried.json["rows"] == 1


@pytest.mark.slow
def test_what_is_in_doubt_stays_so_and_they_are_not_sent_to_again(
    letter: Desk, start_sandbox: Start
) -> None:
    """Whoever asks to send again what is in doubt does not reach them."""
    site = start_sandbox(error_after_every=1)
    assert letter.send(site.url, "--set=limits.batch_size=100").code == 4
    before, mailed = letter.results(), site.accepted()
    assert erase(letter).code == 0
    assert letter.results()["status"].equals(before["status"])
    site.fault()
    words = ("--in-doubt", "resend", "--yes", "--base-url", site.url)
    assert letter.run("resume", letter.run_directory(), *words).code in {0, 4}
    again = site.accepted()
    to = "Zelda.Quux@xn--bcher-kva.example"
    assert again.count(to) == mailed.count(to) == 1
    assert "erased" not in again
    assert letter.results().row(ROW, named=True)["status"] == "in_doubt"
    assert letter.run("verify", letter.run_directory()).code == 4
    assert found(letter.runs) == []


#: Kills itself just before it does something to a file below the runs, the nth time.
KILLED = """
import os, signal, sys
from pathlib import Path
from engine.erase import People, erase
runs, address, left, *steps = sys.argv[1:]
left = int(left)

def look(event, arguments):
    global left
    if event in steps and (runs in str(arguments) or event == "ctypes.dlsym"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

people = People.of([address])
sys.addaudithook(look)
erase(Path(runs), people)
print(left)
"""
#: What gives and takes names; and whatever else changes a folder or a file.
NAMES = ("os.rename", "os.rmdir", "ctypes.dlsym")
STEPS = (*NAMES, "open", "os.remove", "os.link", "os.mkdir", "sqlite3.connect")
NEVER = 10**9


def killed(runs: Path, after: int, steps: tuple[str, ...]) -> int:
    """Erase them in a process that kills itself; return how many steps it took."""
    words = [sys.executable, "-c", KILLED, str(runs), ADDRESS, str(after), *steps]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if after == NEVER else -signal.SIGKILL), done.stderr
    return after - int(done.stdout or 0)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [NAMES, pytest.param(STEPS, marks=pytest.mark.long)])
def test_a_kill_leaves_each_run_before_or_after(
    letter: Desk, sandbox: Site, steps: tuple[str, ...]
) -> None:
    """Killed before each step, all holds; and the same once more ends it."""
    for more in ((), ("--again",)):
        assert letter.send(sandbox.url, *more).code == 0
    take_in(letter, sandbox)
    (whole := letter.folder / "whole").mkdir()
    shutil.copytree(letter.runs, whole / "runs")
    seen = set()
    for after in range(1, 1 + killed(letter.runs, NEVER, steps)):
        shutil.rmtree(letter.runs)
        shutil.copytree(whole / "runs", letter.runs)
        killed(letter.runs, after, steps)
        runs = rundir.find(letter.runs / "letter")
        assert len(runs) == 2
        told = [verify(run) for run in runs]
        assert [one.checks for one in told if one.broken] == []
        gone = [pl.read_parquet(run.results)["address"][ROW] for run in runs]
        seen.add(gone.count("erased"))
        ended = erase_all(letter.runs, People.of([ADDRESS]))
        assert (ended.left, ended.others) == ([], [])
        assert found(letter.runs) == []
        assert list(letter.runs.rglob(".erasing*")) == []
        assert not any(verify(run).broken for run in runs)
    assert seen == {0, 1, 2}


@pytest.mark.slow
def test_runs_that_have_sent_nothing_can_be_discarded(
    letter: Desk, start_sandbox: Start
) -> None:
    """Several unfinished runs are one sentence, a list, and one thing to do."""
    site = start_sandbox(credentials_after=2)
    assert letter.send(site.url).code == 6
    begun = letter.run_directory()
    for number in range(2):  # as if each had been stopped before its first message
        campaign = letter.campaign.read_text().replace("letter", f"later{number}", 1)
        (letter.folder / f"later{number}.toml").write_text(campaign)
        plan_alone(letter, f"later{number}.toml")
    told = letter.run("erase", ADDRESS, "--yes")
    assert told.code == 3
    assert "left       3 runs not finished; whoever is erased is left out" in told.err
    assert told.err.count("next ") == 1
    assert told.err.count("   nothing was sent") == 2
    assert "once more with --discard-unsent" in told.err

    told = letter.run("erase", ADDRESS, "--yes", "--discard-unsent", "--json")
    assert told.code == 3
    assert len(told.json["discarded"]) == 2
    (left,) = told.json["left"]
    assert (letter.folder / left["directory"]) == begun
    assert not left["unsent"]
    assert list(letter.runs.glob("later*/2*")) == []
    assert "mailvolley resume" in left["next"]


def test_it_is_asked_for_and_refuses_what_is_no_address(desk: Desk) -> None:
    """Nobody is here to say yes; and nothing is entered."""
    desk.runs.mkdir()
    assert desk.run("erase", ADDRESS).code == 2
    refused = desk.run("erase", "zelda", "--yes")
    assert refused.code == 2
    assert "is no address" in refused.err
    assert not (desk.runs / "suppressions.db").exists()
    (desk.folder / "who.csv").write_text(f"email\n{ADDRESS}\n\n")
    told = desk.run("erase", "--file", "who.csv", "--yes", "--json")
    assert told.json["people"] == 1
    assert json.loads(desk.run("suppress", "list", "--json").out)["entries"]
    assert (
        base64.b64encode(ADDRESS.encode())
        not in (desk.runs / "suppressions.db").read_bytes()
    )


def test_a_folder_without_runs_is_refused(desk: Desk) -> None:
    """Whoever mistypes it would think that somebody is forgotten."""
    told = desk.run("erase", "a@inbox.example", "--yes", "--runs-dir", "typo")
    assert told.code == 2
    assert "there are no runs here" in told.err
    assert not (desk.folder / "typo").exists()
