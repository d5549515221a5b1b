"""What earlier runs mean for the next: who is left out, who is tried again."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from end_to_end.desk import Desk, Site


def test_after_a_first_few_the_rest_is_sent_and_nobody_twice(
    desk: Desk, sandbox: Site
) -> None:
    """--limit 3, then all: the three are left out, with their reason."""
    first = desk.send(sandbox.url, "--limit=3", "--json")
    rest = desk.send(sandbox.url, "--json")
    results = pl.read_parquet(rest.json["results"])

    assert first.json["counts"]["accepted"] == 3
    assert rest.code == 0
    assert rest.json["counts"]["accepted"] == 97
    assert results.head(3)["reason"].to_list() == ["sent_before"] * 3
    assert sandbox.ask("stats")["twice"] == []
    assert desk.send(sandbox.url).code == 2


def test_a_longer_list_reaches_only_the_newcomers(desk: Desk, sandbox: Site) -> None:
    """--new-run plans what is there now, and leaves out whom this sending reached."""
    desk.send(sandbox.url)
    desk.list(130)
    refused = desk.send(sandbox.url)
    added = desk.send(sandbox.url, "--new-run", "--json")

    assert refused.code == 2
    assert "--new-run" in refused.err
    assert added.json["counts"]["accepted"] == 30
    assert sandbox.ask("stats")["twice"] == []


def test_another_place_is_another_history(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """A run against one server on this machine says nothing of another one."""
    one, other = start_sandbox(), start_sandbox()
    assert desk.send(one.url, "--json").json["counts"]["accepted"] == 100
    assert desk.send(other.url, "--json").json["counts"]["accepted"] == 100
    assert desk.send(one.url).code == 2


def _results(run: Path) -> pl.DataFrame:
    return pl.read_parquet(run / "results.parquet")


@pytest.mark.slow
def test_an_old_run_ends_once_a_new_one_has_reached_everybody(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """Stopped, then --new-run: it says of each who waited where they were sent."""
    site = start_sandbox(credentials_after=6, close_after_every=3)
    assert desk.send(site.url).code == 6
    old = desk.run_directory()
    before = _results(old)
    site.fault()
    new = desk.send(site.url, "--new-run", "--json")
    assert new.code == 0

    assert {"accepted", "in_doubt", "pending"} == set(before["status"])
    after = _results(old)
    waited = before["status"] == "pending"
    assert before.filter(~waited).equals(after.filter(~waited))
    told = after.filter(waited)
    assert {("duplicate", "sent_since")} == set(told.select("status", "reason").rows())
    assert all(new.json["run"] in detail for detail in told["detail"])
    assert desk.run("verify", old).code == 4  # for those in doubt
    status = desk.run("status", old)
    assert f"the run {new.json['run']} took the place of this one" in status.err
    assert "resume" not in status.err

    refused = desk.run("resume", old, "--yes")
    assert refused.code == 2
    assert "nothing left to send" in refused.err
    assert site.ask("stats")["twice"] == []
    assert len(site.accepted()) == 100
    again = desk.run("resume", old, "--yes", "--in-doubt", "resend")
    assert again.code == 0
    assert len(site.ask("stats")["twice"]) == before["status"].to_list().count(
        "in_doubt"
    )


@pytest.mark.slow
def test_who_is_no_longer_on_the_list_of_the_new_run_can_be_tried_again(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """Neither run wrote to them; the old one says so, and retry takes them up."""
    site = start_sandbox(credentials_after=4)
    assert desk.send(site.url).code == 6
    old = desk.run_directory()
    site.fault()
    desk.list(90)
    assert desk.send(site.url, "--new-run").code == 0

    left = _results(old).filter(reason="overtaken")
    assert list(range(90, 100)) == left["row"].to_list()
    assert {"failed"} == set(left["status"])
    retried = desk.run("retry", old, "--yes", "--json")
    assert {"accepted": 10} == {k: n for k, n in retried.json["counts"].items() if n}
    assert len(site.accepted()) == 100
    assert site.ask("stats")["twice"] == []


@pytest.mark.slow
def test_an_old_run_is_refused_once_a_new_one_reached_somebody_who_waited(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """The old run's resume would mail them twice; status says what to do instead."""
    site = start_sandbox(credentials_after=4)
    assert desk.send(site.url).code == 6
    old = desk.run_directory()
    site.fault(credentials_after=2)
    new = desk.send(site.url, "--new-run", "--json")
    assert new.code == 6
    reached = new.json["counts"]["accepted"]
    assert reached > 0

    for doubt in ("hold", "resend"):
        refused = desk.run("resume", old, "--yes", "--in-doubt", doubt)
        assert refused.code == 2
        assert f"by the run {new.json['run']}" in refused.err
        assert "--new-run" in refused.err
    told = desk.run("status", old, "--json").json
    assert ("overtaken", new.json["run"], reached) == tuple(
        told[key] for key in ("status", "overtaken_by", "reached")
    )
    assert told["next"].endswith(f"resume runs/letter/{new.json['run']}")
    assert told["next"] in desk.run("status", old).err

    site.fault()
    assert desk.run(*told["next"].split()[1:], "--yes").code == 0
    assert desk.run("status", old, "--json").json["status"] == "finished"
    assert {"accepted", "duplicate"} == set(_results(old)["status"])
    assert site.ask("stats")["twice"] == []
    assert len(site.accepted()) == 100


@pytest.mark.slow
def test_a_new_run_to_a_few_ends_no_old_one(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """The others still wait, and the way on is told."""
    site = start_sandbox(credentials_after=4)
    assert desk.send(site.url).code == 6
    old = desk.run_directory()
    site.fault()
    assert desk.send(site.url, "--new-run", "--limit", 60).code == 0
    told = desk.run("status", old, "--json").json
    assert "overtaken" == told["status"]
    assert "letter.toml --new-run" in told["next"]
    assert "pending" in set(_results(old)["status"])
    assert desk.send(site.url, "--new-run").code == 0
    assert {"accepted", "duplicate"} == set(_results(old)["status"])
    assert len(site.accepted()) == 100


def test_an_old_run_goes_on_while_nobody_else_was_reached(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """A new run that reached nobody stands in nobody's way."""
    site = start_sandbox(credentials_after=4)
    desk.send(site.url)
    old = desk.run_directory()
    assert desk.send(site.url, "--new-run").code == 6
    site.fault()

    assert desk.run("resume", old, "--yes", "--json").json["counts"]["accepted"] == 100
    assert desk.send(site.url).code == 2
    assert site.ask("stats")["twice"] == []


@pytest.mark.parametrize("command", ["resume", "retry"])
def test_a_run_is_taken_up_in_its_own_place(
    desk: Desk, start_sandbox: Callable[..., Site], command: str
) -> None:
    """Sent elsewhere, it would be missing in the history of both places."""
    site, other = start_sandbox(credentials_after=4), start_sandbox()
    desk.list(100, row3="reject3@inbox.example")
    desk.send(site.url)
    if command == "retry":
        site.fault()
        desk.run("resume", desk.run_directory(), "--yes")
    refused = desk.run(command, desk.run_directory(), "--yes", "--base-url", other.url)

    assert refused.code == 2
    assert "a history of its own" in refused.err
    assert other.accepted() == []


def test_retry_reaches_exactly_those_who_were_refused(
    desk: Desk, sandbox: Site
) -> None:
    """A child run, with templates as they are now; whoever was accepted is left out."""
    template = desk.folder / "templates/letter/body.html.j2"
    good = template.read_text()
    template.write_text("{{ 1 // (id | int - 7) }}")
    first = desk.send(sandbox.url, "--json")
    assert first.json["counts"]["render_failed"] == 1

    template.write_text(good)
    parent = desk.run_directory()
    again = desk.run("retry", parent, "--status", "render_failed", "--yes", "--json")
    nobody = desk.run("retry", parent, "--status", "failed", "--yes")
    once_more = desk.run("retry", parent, "--yes", "--json")

    assert again.code == 0
    assert again.json["rows"] == 1
    assert again.json["counts"]["accepted"] == 1
    assert pl.read_parquet(again.json["results"])["key"].to_list() == ["00007"]
    assert nobody.code == 2
    assert once_more.json["counts"]["accepted"] == 0
    assert sandbox.ask("stats")["twice"] == []


def test_what_is_in_doubt_is_sent_again_only_if_asked(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """--in-doubt resend sends exactly those; they may get it twice, and did."""
    site = start_sandbox(close_after_every=5)
    first = desk.send(site.url, "--json")
    assert first.code == 4
    assert first.json["counts"]["in_doubt"] == 20
    site.fault()
    refused = desk.run("resume", desk.run_directory(), "--yes")
    resent = desk.run(
        "resume", desk.run_directory(), "--in-doubt=resend", "--yes", "--json"
    )

    assert refused.code == 2
    assert resent.code == 0
    assert resent.json["counts"]["accepted"] == 100
    assert len(site.ask("stats")["twice"]) == 20


def test_what_is_in_doubt_can_be_taken_for_sent(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """--in-doubt assume-sent settles it without a request, and says so in each row."""
    site = start_sandbox(close_after_every=5)
    desk.send(site.url)
    requests = site.ask("stats")["requests"]
    assumed = desk.run(
        "resume", desk.run_directory(), "--in-doubt=assume-sent", "--yes", "--json"
    )

    assert assumed.code == 0
    assert assumed.json["counts"]["accepted"] == 100
    assert desk.results().filter(reason="assumed_sent").height == 20
    assert site.ask("stats")["requests"] == requests


def test_a_resume_with_a_wrong_name_touches_nothing(desk: Desk, sandbox: Site) -> None:
    """Neither the folder that was named nor what lies beside it."""
    desk.send(sandbox.url)
    before = sorted(desk.folder.rglob("*"))
    wrong = desk.run("resume", desk.runs / "letter", "--yes")
    typo = desk.run("resume", "20261120T000000Z-000001", "--yes")

    assert wrong.code == 2
    assert typo.code == 2
    assert sorted(desk.folder.rglob("*")) == before


def test_out_follows_the_run_and_never_overwrites_what_it_is_made_from(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """A resume brings the copy up to date; the list and the campaign are safe."""
    site = start_sandbox(credentials_after=4)
    desk.send(site.url, "--out=copy.parquet")
    copy = desk.folder / "copy.parquet"
    assert pl.read_parquet(copy)["status"].to_list().count("pending") > 0
    site.fault()
    desk.run("resume", desk.run_directory(), "--yes")

    assert set(pl.read_parquet(copy)["status"]) == {"accepted"}
    listed = (desk.folder / "list.csv").read_bytes()
    assert desk.send(site.url, "--again", "--out=list.csv").code == 2
    assert desk.send(site.url, "--again", "--out=letter.toml").code == 2
    assert (desk.folder / "list.csv").read_bytes() == listed


def test_a_stop_never_doubts_what_never_left(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """401 in mid-run: batches whose intent was just written are pending."""
    site = start_sandbox(credentials_after=6, latency=0.02)
    desk.list(1000)
    stopped = desk.send(site.url, "--json", "--set=limits.workers=8")

    assert stopped.code == 6
    assert stopped.json["counts"]["in_doubt"] == 0
    assert stopped.json["counts"]["accepted"] == len(site.accepted())
