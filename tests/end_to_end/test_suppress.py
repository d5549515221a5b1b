"""`mailvolley suppress` as it is typed."""

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from end_to_end.desk import COMMAND, Desk, Ended, Site, looked

from engine.suppression import Suppressions


def typed(home: Path, *words: str) -> Ended:
    """Run a command in a folder, where something was sent before."""
    (home / "runs").mkdir(exist_ok=True)
    return looked(home, "suppress", *words)


def test_a_list_goes_out_and_comes_in_again(tmp_path: Path) -> None:
    """What is exported here is entered there, with its reasons."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert typed(here, "add", "Ann@Example.com", "--reason", "asked").code == 0
    assert typed(here, "export", "../list.csv").code == 0
    told = typed(there, "import", "../list.csv", "--json")
    assert json.loads(told.out) == {"entered": 1}
    (entry,) = json.loads(typed(there, "list", "--json").out)["entries"]
    assert (entry["address"], entry["reason"]) == ("ann@example.com", "asked")
    assert json.loads(typed(there, "import", "../list.csv", "--json").out) == {
        "entered": 0
    }
    assert typed(there, "remove", "ANN@example.com").code == 0
    assert json.loads(typed(there, "list", "--json").out) == {"entries": []}


@pytest.mark.parametrize(
    "words",
    [
        ("suppress", "add", "ann@example.com"),
        ("suppress", "list"),
        ("events", "serve", "--port", "0"),
        ("erase", "ann@example.com", "--yes"),
    ],
)
def test_a_folder_where_nothing_is_sent_from_is_refused(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Beside no campaign nobody would be left out, and no link would be known."""
    told = subprocess.run(
        [COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert "runs: there are no runs here" in told.stderr
    assert "--runs-dir DIR" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_named_is_made_and_told(desk: Desk) -> None:
    """A first campaign may begin with the list of those who must not be mailed."""
    told = desk.run("suppress", "add", "ann@example.com", "--runs-dir", "runs")
    assert told.code == 0
    assert "file       runs/suppressions.db" in told.err
    assert "1 address" in desk.run("suppress", "add", "bob@example.com").err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "nobody"), "nobody: is no address"),
        (("remove", "nobody@example.com"), "is not on the list"),
        (("import", "missing.csv"), "missing.csv"),
        (("import", "odd.csv"), "--column NAME"),
        (("import", "odd.csv", "--column", "gone"), "name, town"),
    ],
)
def test_bad_input_is_refused_by_name(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    """One clear error, and nothing entered."""
    (tmp_path / "odd.csv").write_text("name,town\nAnn,Ulm\n")
    told = typed(tmp_path, *words)
    assert told.code == 2
    assert said in told.err
    assert "Traceback" not in told.err


def test_an_entry_keeps_its_scope_on_the_way(tmp_path: Path) -> None:
    """Who left one campaign has not left all of them; --campaign goes before it."""
    typed(tmp_path, "add", "ann@a.example", "--campaign", "letter")
    typed(tmp_path, "add", "bob@b.example")
    assert typed(tmp_path, "export", "list.csv").code == 0
    typed(tmp_path, "import", "list.csv", "--runs-dir", "there")
    typed(tmp_path, "import", "list.csv", "--runs-dir", "other", "--campaign", "x")
    (tmp_path / "own.csv").write_text("email,scope\ncy@c.example,oscillo\n")
    typed(tmp_path, "import", "own.csv", "--runs-dir", "there")

    def scopes(runs: str) -> list[str]:
        told = typed(tmp_path, "list", "--json", "--runs-dir", runs)
        return [entry["scope"] for entry in json.loads(told.out)["entries"]]

    assert scopes("there") == ["campaign:letter", "all", "all"]
    assert scopes("other") == ["campaign:x", "campaign:x"]


def test_a_list_as_a_provider_exports_it_is_taken(tmp_path: Path) -> None:
    """Capital headers, names before addresses; what is none is told, not kept."""
    (tmp_path / "list.csv").write_text(
        "Date,Email Address,Reason\n"
        "2026,Ann Lee <Ann@a.example>,x\n2026,n/a,x\n2026,bob@b.example,y\n2026,,z\n"
    )
    told = typed(tmp_path, "import", "list.csv", "--json", "--reason", "bounced")
    assert json.loads(told.out) == {"entered": 2}
    assert "2 rows without an address" in told.err
    entries = json.loads(typed(tmp_path, "list", "--json").out)["entries"]
    assert {(entry["address"], entry["reason"]) for entry in entries} == {
        ("ann@a.example", "bounced"),
        ("bob@b.example", "bounced"),
    }


def test_a_mark_goes_out_and_comes_in_again(tmp_path: Path) -> None:
    """Who was erased stays out, where the key is the same."""
    there = tmp_path / "there"
    there.mkdir()
    with Suppressions.open(tmp_path / "runs") as entries:
        entries.erase(["ann@a.example"])
    assert typed(tmp_path, "export", "list.csv").code == 0
    shutil.copy(tmp_path / "runs" / "suppressions.key", there)
    told = typed(tmp_path, "import", "list.csv", "--runs-dir", "there")
    assert told.code == 0, told.err
    with Suppressions.open(there) as entries:
        assert entries.are_erased(["Ann@A.example", "bob@b.example"]) == [True, False]


def enter(site: Site, account: str, emails: list[str]) -> None:
    """Put addresses on an account's list in the sandbox."""
    url = f"{site.root}/cloudflare/client/v4/accounts/{account}/email/sending"
    body = json.dumps({"items": [{"email": email} for email in emails]}).encode()
    headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{url}/suppressions/bulk", body, headers)
    urllib.request.urlopen(request).close()


@pytest.mark.slow
def test_the_list_that_cloudflare_keeps_is_fetched_whole(
    desk: Desk, sandbox: Site
) -> None:
    """More than a page of it, the reasons as they are; a wrong account exits 6."""
    definition = desk.campaign.read_text()
    name = 'name = "cloudflare"\naccount_id = "acc1"'
    desk.campaign.write_text(definition.replace('name = "cloudmails"', name))
    for part in range(3):
        enter(sandbox, "acc1", [f"r{part}x{n}@inbox.example" for n in range(900)])
    url = f"{sandbox.root}/cloudflare/client/v4"
    words = ("suppress", "fetch", "letter.toml", "--base-url", url, "--json")
    told = desk.run(*words)
    assert told.code == 0, told.err
    assert (told.json["status"], told.json["listed"]) == ("fetched", 2705)
    assert told.json["reasons"] == {
        "manual": 2701,
        "soft_bounced": 1,
        "bounced": 1,
        "complained": 1,
        "blocked": 1,
    }
    kept = desk.run("suppress", "list", "full@sandbox.example", "--json").json
    assert kept["entries"][0]["reason"] == "soft_bounced"
    assert "soft_bounce, until" in kept["entries"][0]["source"]
    desk.list(3, row1="r1x5@inbox.example")
    planned = desk.run("send", "letter.toml", "--dry-run", *words[3:])
    assert planned.json["counts"] == {**planned.json["counts"], "suppressed": 1}
    again = desk.run(*words).json
    assert (again["entered"], again["removed"]) == (0, 0)

    refused = desk.run(*words, "--set", "provider.account_id=forbidden")
    assert refused.code == 6
    assert refused.json["status"] == "account"
    assert "permission" in refused.json["error"]["next"]
