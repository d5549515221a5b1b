"""Who is left out of a campaign for what else they are or have got."""

import json
from collections import Counter
from collections.abc import Callable

import polars as pl
from end_to_end.desk import Desk, Site


def _add(desk: Desk, *lines: str) -> None:
    desk.campaign.write_text(desk.campaign.read_text() + "\n".join(lines) + "\n")


def test_nobody_is_mailed_more_often_than_the_campaign_allows(
    desk: Desk, sandbox: Site
) -> None:
    """A second letter within the week reaches only those who had none."""
    desk.send(sandbox.url, "--limit=60")
    _add(desk, "[audience]", 'not_mailed_within = "7 days"', 'counting = "all"')
    desk.campaign.rename(desk.folder / "other.toml")
    other = desk.folder / "other.toml"
    other.write_text(other.read_text().replace('"letter"', '"other"', 1))
    sent = desk.run("send", "other.toml", "--base-url", sandbox.url, "--yes", "--json")

    assert sent.code == 0
    assert sent.json["counts"]["suppressed"] == 60
    assert len(set(sandbox.accepted())) == len(sandbox.accepted()) == 100
    again = desk.run(
        "send", "other.toml", "--base-url", sandbox.url, "--yes", "--json", "--again"
    )
    assert again.json["counts"]["suppressed"] == 100
    assert "100 rows: suppressed, mailed_recently" in again.err
    assert len(sandbox.accepted()) == 100


def test_an_unfinished_run_goes_on_without_asking_who_is_left_out(
    desk: Desk, sandbox: Site
) -> None:
    """What was planned stays planned: its own messages leave nobody of it out."""
    (desk.folder / "staff.csv").write_text("email\nreader7@inbox.example\n")
    _add(
        desk,
        "[audience]",
        'exclude = ["staff.csv"]',
        'not_mailed_within = "7 days"',
        'counting = "all"',
    )
    sandbox.fault(credentials_after=3)
    assert desk.send(sandbox.url).code == 6
    sandbox.fault()
    (desk.folder / "staff.csv").write_text("email\n")
    assert desk.send(sandbox.url).code == 2
    resumed = desk.run("resume", desk.run_directory(), "--yes", "--json")
    assert resumed.json["counts"]["accepted"] == 99
    manifest = json.loads((desk.run_directory() / "manifest.json").read_bytes())
    assert [1] == [len(one["files"]) for one in manifest["excluded"]]
    assert sandbox.ask("stats")["twice"] == []


VARIANTS = (
    "[holdout]",
    "share = 0.2",
    "[[variants]]",
    'name = "short"',
    "share = 0.5",
    'subject = "letter/short.txt.j2"',
)


def _varied(desk: Desk) -> None:
    """Add a hold-out and a variant to the letter."""
    short = desk.folder / "templates" / "letter" / "short.txt.j2"
    short.write_text("Hi {{ name }}")
    _add(desk, *VARIANTS)


def _subjects(site: Site) -> dict[str, str]:
    messages = site.ask("messages?limit=1000000")["messages"]
    return {message["to"]: message["subject"] for message in messages}


def test_variants_are_counted_apart_from_the_plan_to_the_events(
    desk: Desk, sandbox: Site
) -> None:
    """In the report, the results, the status, and of what is reported later."""
    _varied(desk)
    planned = desk.run("plan", "letter.toml", "--sandbox", "--json")
    sent = desk.send(sandbox.url, "--json")
    results = desk.results()

    counts = planned.json["variants"]
    held = planned.json["left_out"]["suppressed"]["held_out"]
    assert sum(counts.values()) + held == 100
    assert {name: {"accepted": n} for name, n in counts.items()} == sent.json[
        "variants"
    ]
    assert {"suppressed": {"held_out": held}} == sent.json["left_out"]
    assert "variant    short, " in planned.err
    assert "Hi Reader" in planned.err
    for address, variant in results.select("address", "variant").iter_rows():
        subject = _subjects(sandbox).get(address, "")
        begins = {"short": "Hi", "base": "Hello", None: ""}[variant]
        assert subject.startswith(begins)
        assert bool(subject) == (variant is not None)

    run = desk.run_directory()
    told = desk.run("status", run)
    assert f"left out   {held} rows: suppressed, held_out" in told.err
    assert f"variant    short: {counts['short']} accepted" in told.err
    assert desk.run("status", run, "--json").json["variants"] == sent.json["variants"]
    events = desk.folder / "events.jsonl"
    events.write_bytes(sandbox.read("events"))
    desk.run("events", "import", events, "--provider", "cloudmails")
    shown = desk.run("events", "show", run, "--json").json["variants"]
    assert {n: {"rows": c, "delivered": c} for n, c in counts.items()} == {
        name: {key: told[key] for key in ("rows", "delivered")}
        for name, told in shown.items()
    }


def test_a_row_keeps_its_variant_in_every_run_of_the_campaign(
    desk: Desk, start_sandbox: Callable[..., Site]
) -> None:
    """In another try, in a new run, in a second sending: and in other processes."""
    _varied(desk)
    site = start_sandbox()
    refused = {f"row{n}": f"reject{n}@inbox.example" for n in range(0, 40, 2)}
    desk.list(100, **refused)
    planned = desk.run("plan", "letter.toml", "--sandbox", "--json")
    desk.send(site.url, "--limit=50", "--processes=2")
    first = desk.run_directory()
    variants = {
        row["key"]: row["variant"]
        for row in desk.results().iter_rows(named=True)
        if row["variant"]
    }
    rejected = desk.results().filter(status="rejected").height
    tried = desk.run("retry", first, "--yes", "--json")
    rest = desk.send(site.url, "--new-run", "--json")
    again = desk.send(site.url, "--again", "--json")
    assert tried.json["rows"] == rejected > 5
    whole = pl.read_parquet(again.json["results"]).drop_nulls("variant")
    known = dict(whole.select("key", "variant").iter_rows())
    assert Counter(known.values()) == planned.json["variants"]
    assert variants.items() <= known.items()
    for ended in (tried, rest):
        some = pl.read_parquet(ended.json["results"]).drop_nulls("variant")
        assert set(some.select("key", "variant").iter_rows()) <= known.items()


def test_a_test_shows_each_variant_and_marks_it(desk: Desk, sandbox: Site) -> None:
    """One message of each, with [Test] before its own subject."""
    _varied(desk)
    done = desk.run(
        "test",
        "letter.toml",
        "--to=me@inbox.example",
        f"--base-url={sandbox.url}",
        "--yes",
    )
    assert done.code == 0, done.err
    messages = sandbox.ask("messages?limit=10")["messages"]
    subjects = sorted(message["subject"].split(" Reader")[0] for message in messages)
    assert ["[Test] Hello", "[Test] Hi"] == subjects
