"""Lose answers, ask the provider about those in doubt, and settle what is found."""

import json
import signal
import time
import urllib.request
from collections.abc import Callable

import pytest
from end_to_end.desk import Desk, Site

PROVIDERS = {
    "cloudmailin": ("cloudmailin/api/v0.1", 'username = "0123456789abcdef"'),
    "mailerlogic": ("mailerlogic", ""),
}
FAST = ("--requests-per-second", "1000")


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDMAILIN_API_TOKEN", "api-token")
    monkeypatch.setenv("CLOUDMAILIN_ACCOUNT_ID", "fedcba9876543210")


def through(desk: Desk, site: Site, name: str) -> str:
    """Let the campaign go through a provider. Returns the address of its API."""
    prefix, more = PROVIDERS[name]
    definition = desk.campaign.read_text().replace("cloudmails", name)
    desk.campaign.write_text(definition.replace("[limits]", f"{more}\n\n[limits]"))
    request = urllib.request.Request(
        f"{site.root}/_sandbox/webhook", data=json.dumps({"pace": 0}).encode()
    )
    urllib.request.urlopen(request).close()
    return f"{site.root}/{prefix}"


@pytest.mark.long
@pytest.mark.parametrize("name", PROVIDERS)
def test_who_is_found_is_settled_and_who_is_not_stays_in_doubt(
    desk: Desk, start_sandbox: Callable[..., Site], name: str
) -> None:
    """Some were taken and the answer was lost; others were not: nobody says so."""
    site = start_sandbox(close_after_every=4, error_before_every=7)
    url = through(desk, site, name)
    desk.list(100, row3="bounce@inbox.example")
    sent = desk.send(url)
    assert sent.code == 4
    assert "--lookup   # ask the provider" in sent.err
    before = desk.results()
    doubtful = set(before.filter(status="in_doubt")["address"])
    taken = doubtful & set(site.accepted())
    assert taken
    assert doubtful - taken
    site.fault()
    requests = site.ask("stats")["requests"]

    run = desk.run_directory()
    told = desk.run("reconcile", run, "--lookup", *FAST, "--json")
    assert told.code == 4, told.err
    looked = {"asked": len(doubtful), "found": len(taken), "failed": 0}
    assert looked == told.json["lookup"]
    after = desk.results()
    assert taken == set(after.filter(reason="reconciled")["address"])
    assert {"accepted"} == set(after.filter(reason="reconciled")["status"])
    assert doubtful - taken == set(after.filter(status="in_doubt")["address"])
    given = {
        m["to"]: m["message_id"] for m in site.ask("messages?limit=999")["messages"]
    }
    accepted = after.filter(status="accepted")
    assert given == dict(accepted.select("address", "provider_id").iter_rows())
    assert requests == site.ask("stats")["requests"]
    assert before.filter(status="accepted").equals(
        after.filter(after["row"].is_in(before.filter(status="accepted")["row"]))
    )

    again = desk.run("reconcile", run, "--lookup", *FAST, "--json")
    assert (4, 0) == (again.code, again.json["lookup"]["found"])
    resent = desk.run("resume", run, "--in-doubt", "resend", "--yes")
    assert resent.code == 0, resent.err
    assert desk.run("verify", run).code == 0
    assert site.ask("stats")["twice"] == []
    nobody = desk.run("reconcile", run, "--lookup")
    assert (2, True) == (nobody.code, "nobody is in doubt" in nobody.err)


@pytest.mark.long
@pytest.mark.parametrize("name", PROVIDERS)
def test_mail_of_another_run_ends_no_doubt(
    desk: Desk, start_sandbox: Callable[..., Site], name: str
) -> None:
    """The same people had a letter before; that proves nothing of this one."""
    site = start_sandbox()
    url = through(desk, site, name)
    desk.list(12)
    assert desk.send(url).code == 0
    first = desk.run_directory()
    site.fault(error_before_every=1)
    assert desk.send(url, "--again").code in {3, 4}
    (run,) = {path.parent for path in desk.runs.glob("letter/*/journal.db")} - {first}
    site.fault()
    told = desk.run("reconcile", run, "--lookup", *FAST, "--json")
    assert (4, 0) == (told.code, told.json["lookup"]["found"]), told.err


@pytest.mark.long
def test_who_may_not_ask_is_told_and_nothing_changes(
    desk: Desk, start_sandbox: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 6 if the account is refused, 2 if a variable or the way is missing."""
    site = start_sandbox(close_after_every=4)
    url = through(desk, site, "cloudmailin")
    desk.list(12)
    assert desk.send(url).code == 4
    before = desk.results()
    run = desk.run_directory()

    site.fault(credentials="refuse")
    refused = desk.run("reconcile", run, "--lookup", *FAST, "--json")
    assert (6, "account") == (refused.code, refused.json["status"])
    assert f"reconcile runs/letter/{run.name} --lookup" in refused.err
    monkeypatch.delenv("CLOUDMAILIN_API_TOKEN")
    missing = desk.run("reconcile", run, "--lookup")
    assert (2, True) == (missing.code, "CLOUDMAILIN_API_TOKEN" in missing.err)
    for words in ((), ("--lookup", "--events", "list.csv")):
        assert 2 == desk.run("reconcile", run, *words).code
    assert before.equals(desk.results())


@pytest.mark.long
def test_an_interrupt_settles_what_was_found(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """What is asked slowly can be stopped, and goes on where it was."""
    site = start_sandbox(close_after_every=2)
    url = through(desk, site, "cloudmailin")
    desk.list(60)
    assert desk.send(url).code == 4
    site.fault()
    before = desk.results().filter(status="in_doubt").height
    run = desk.run_directory()
    process = desk.start(
        "reconcile", run, "--lookup", "--requests-per-second", "4", "--json"
    )
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert 3 == process.returncode, err
    found = json.loads(out)["lookup"]["found"]
    assert 0 < found < before
    assert before - found == desk.results().filter(status="in_doubt").height
    assert 0 == desk.run("reconcile", run, "--lookup", *FAST).code


@pytest.mark.long
def test_a_provider_that_finds_nothing_says_what_to_do(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """CloudMails knows messages by its own ids alone."""
    site = start_sandbox(close_after_every=4)
    sent = desk.send(site.url)
    assert (4, False) == (sent.code, "--lookup" in sent.err)
    told = desk.run("reconcile", desk.run_directory(), "--lookup")
    assert (2, True) == (told.code, "--events FILE" in told.err)
