"""Claims about `engine.planning`: what is checked, frozen, taken up, and told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handmade
import polars as pl
import pytest
from handmade import MESSAGE, campaign_file, lay_out

import engine
from engine import api, planning, snapshot
from engine.campaign import Campaign
from engine.errors import CampaignError, RecipientsError, RunError
from engine.manifest import Manifest
from engine.planning import Plan
from engine.recipients import Source
from engine.rundir import RunDirectory

CAMPAIGN = campaign_file(
    message=MESSAGE + 'text = "body.txt.j2"\ntags = ["spring"]\n',
    below="[limits]\nworkers = 2\n",
)
TEMPLATES = {
    "subject.txt.j2": "Hello {{ name }}",
    "body.html.j2": "<p>{{ name }}</p>{% include 'foot.html.j2' %}",
    "body.txt.j2": "Hello {{ name }}",
    "foot.html.j2": "<p>Bye</p>",
}
LIST = """\
id,email,name
1,ann@inbox.example,Ann
2,bob@inbox.example,Bob
3,nobody,Cy
4,dee@inbox.example,Dee
5,ann@inbox.example,Eve
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a folder with a campaign, its templates and its list."""
    lay_out(tmp_path, CAMPAIGN, TEMPLATES, LIST.splitlines())
    return tmp_path


def rewrite(home: Path, *pairs: tuple[str, str]) -> Campaign:
    """Change the campaign file and load it."""
    file = home / "letter.toml"
    text = file.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)
    return api.load(file)


def draw_up(
    home: Path,
    source: Source | None = None,
    *,
    limit: int | None = None,
    campaign: Campaign | None = None,
) -> Plan:
    """Plan the campaign in a run directory of its own, and let the run exist."""
    return handmade.draw_up(campaign or home / "letter.toml", source, limit=limit)


def refusal(home: Path, source: Source | None = None) -> CampaignError:
    """Plan what cannot be planned."""
    with pytest.raises(CampaignError) as caught:
        draw_up(home, source)
    return caught.value


# ---- what a plan is


def test_a_plan_counts_what_becomes_of_the_rows(home: Path) -> None:
    """Mailable, invalid and duplicate rows are told before anything is sent."""
    plan = draw_up(home)
    assert plan.counts == {"mailable": 3, "invalid": 1, "suppressed": 0, "duplicate": 1}
    assert plan.manifest.rows == 5
    assert plan.manifest.mailable == 3


def test_a_plan_freezes_the_list_and_the_templates(home: Path) -> None:
    """The snapshot has the columns that the templates read; their copies are whole."""
    plan = draw_up(home)
    directory = plan.directory
    frozen = pl.read_parquet(directory.recipients)
    assert frozen["data"].struct.fields == ["email", "name"]
    copies = {path.name: path.read_text() for path in directory.templates.iterdir()}
    originals = {path.name: path.read_text() for path in (home / "templates").iterdir()}
    assert copies == originals
    assert plan.manifest.templates.keys() == originals.keys()


def test_nothing_of_a_plan_can_be_read_by_others(home: Path) -> None:
    """Files are their owner's alone, and so are folders."""
    plan = draw_up(home)
    for path in (plan.directory.path, *plan.directory.path.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_manifest_is_read_as_it_was_written(home: Path) -> None:
    """What a run is survives the way through the file."""
    plan = draw_up(home, limit=4)
    read = Manifest.read(plan.directory)
    assert read == plan.manifest
    assert read.sha256 == plan.manifest.sha256
    assert planning.as_planned(read) == plan.campaign
    assert planning.as_planned(read).file == plan.campaign.file


def test_a_manifest_holds_no_secret(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names where the token is kept, never the token."""
    monkeypatch.setenv("SHOP_KEY", "s3cret-t0ken")
    plan = draw_up(home)
    assert "SHOP_KEY" in plan.directory.manifest.read_text()
    for path in plan.directory.path.rglob("*"):
        if path.is_file():
            assert b"s3cret-t0ken" not in path.read_bytes()


@pytest.mark.parametrize(("limit", "rows"), [(1, 1), (3, 3), (5, 5), (99, 5)])
def test_a_limit_takes_the_first_rows(home: Path, limit: int, rows: int) -> None:
    """Rows beyond the limit are not part of the run."""
    plan = draw_up(home, limit=limit)
    assert plan.manifest.rows == rows
    assert sum(plan.counts.values()) == rows
    assert plan.manifest.limit == limit


def test_a_warning_does_not_stop_a_plan(home: Path) -> None:
    """What the provider cannot carry, but need not, is told and left to the user."""
    plan = draw_up(home)
    assert any("has no tags: spring" in warning for warning in plan.warnings)


# ---- estimates and samples


def readers(count: int) -> pl.DataFrame:
    """Make a list of good rows."""
    numbers = range(count)
    return pl.DataFrame(
        {
            "id": list(numbers),
            "email": [f"{n}@inbox.example" for n in numbers],
            "name": [f"Reader {n}" for n in numbers],
        }
    )


@pytest.mark.parametrize(
    ("limits", "requests", "seconds"),
    [
        ("batch_size = 10", 25, None),
        ("batch_size = 100", 3, None),
        ("batch_size = 250", 1, None),
        ("batch_size = 10\nmessages_per_second = 50", 25, 5.0),
        ("batch_size = 10\nrequests_per_second = 2", 25, 12.5),
        (
            "batch_size = 10\nrequests_per_second = 2\nmessages_per_second = 50",
            25,
            12.5,
        ),
        (
            "batch_size = 10\nrequests_per_second = 25\nmessages_per_second = 5",
            50,
            50.0,
        ),
    ],
)
def test_a_plan_says_how_long_its_limits_make_it_take(
    home: Path, limits: str, requests: int, seconds: float | None
) -> None:
    """Requests at least, and seconds by the slower of both limits."""
    campaign = rewrite(home, ("workers = 2", f"workers = 2\n{limits}"))
    plan = draw_up(home, readers(250), campaign=campaign)
    assert plan.requests == requests
    assert plan.seconds == seconds


def test_nobody_to_mail_takes_no_request(home: Path) -> None:
    """A list of invalid rows is a plan of nothing, and no error."""
    campaign = rewrite(home, ("workers = 2", "messages_per_second = 5"))
    frame = pl.DataFrame({"id": [1], "email": ["nobody"], "name": ["X"]})
    plan = draw_up(home, frame, campaign=campaign)
    assert (plan.requests, plan.seconds) == (0, 0.0)
    messages, failures = plan.sample()
    assert (len(messages), failures) == (0, [])


def test_a_sample_is_the_first_rows_to_be_mailed(home: Path) -> None:
    """Rows that are left out are passed over."""
    messages, failures = draw_up(home).sample()
    assert messages.rows == [0, 1, 3]
    assert messages.subjects == ["Hello Ann", "Hello Bob", "Hello Dee"]
    assert failures == []
    assert draw_up(home).sample(1)[0].rows == [0]


def test_a_sample_tells_which_rows_fail(home: Path) -> None:
    """A row whose template fails is a sentence with row, file and line."""
    (home / "templates" / "body.txt.j2").write_text("Hi\n{{ 1 // (id | int - 2) }}")
    messages, failures = draw_up(home).sample()
    assert messages.rows == [0, 3]
    (failure,) = failures
    assert failure.startswith("row 1: body.txt.j2:2: ")


# ---- what cannot be planned: all of it at once


def test_every_missing_column_is_told(home: Path) -> None:
    """Those that the campaign names, and those that a template reads."""
    (home / "templates" / "body.txt.j2").write_text("{{ town }}")
    frame = pl.DataFrame({"mail": ["ann@inbox.example"], "name": ["Ann"]})
    problems = refusal(home, frame).problems
    assert len(problems) == 3
    text = "\n".join(problems)
    assert f'{home}/letter.toml: [recipients] address = "email"' in text
    assert f'{home}/letter.toml: [recipients] key = "id"' in text
    assert "(columns: mail, name)" in text
    assert "town" in text
    assert "body.txt.j2" in text


def test_provider_templates_and_list_are_told_together(home: Path) -> None:
    """One start shows what is wrong with each of the three."""
    rewrite(home, ('html = "body.html.j2"\n', ""))
    (home / "templates" / "subject.txt.j2").write_text("{{ name")
    (home / "list.csv").write_text("id,email,name\n1,ann@inbox.example\n")
    problems = refusal(home).problems
    assert len(problems) == 3
    assert "requires an HTML part" in problems[0]
    assert "subject.txt.j2" in problems[1]
    assert "list.csv" in problems[2]


def test_columns_are_checked_even_if_a_template_is_broken(home: Path) -> None:
    """What can still be found is not kept for the next start."""
    (home / "templates" / "subject.txt.j2").write_text("{{ name")
    frame = pl.DataFrame({"email": ["ann@inbox.example"], "name": ["Ann"]})
    problems = refusal(home, frame).problems
    assert len(problems) == 2
    assert "subject.txt.j2" in problems[0]
    assert '[recipients] key = "id"' in problems[1]


def test_one_trouble_keeps_its_kind(home: Path) -> None:
    """A list that cannot be read is a RecipientsError still."""
    (home / "list.csv").write_text("id,email,name\n1,ann@inbox.example\n")
    assert type(refusal(home)) is RecipientsError


@pytest.mark.parametrize(
    "empty",
    [
        pl.DataFrame({"id": [1], "email": [""], "name": [""]}).clear(),
        pl.LazyFrame({"id": [1], "email": [""], "name": [""]}).filter(
            pl.lit(value=False)
        ),
    ],
    ids=["frame", "query"],
)
def test_a_list_of_nobody_is_refused(home: Path, empty: Source) -> None:
    """A run needs at least one row."""
    assert "no rows" in str(refusal(home, empty))


def test_a_query_that_fails_on_the_way_is_an_error_of_ours(home: Path) -> None:
    """What shows only when the list is read is told as a trouble of the list."""
    frame = readers(3).lazy().with_columns(pl.col("email").cast(pl.Int64))
    assert type(refusal(home, frame)) is RecipientsError


BREAKAGES: dict[str, Callable[[Path], object]] = {
    "list": lambda home: (home / "list.csv").write_text("id,email,name\n1,x\n"),
    "column": lambda home: (home / "list.csv").write_text("id,mail,name\n1,x,y\n"),
    "template": lambda home: (home / "templates/body.txt.j2").write_text("{{"),
    "provider": lambda home: rewrite(home, ('html = "body.html.j2"\n', "")),
}


def test_a_list_that_changes_after_it_was_read_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the manifest would know the new one, and the frozen one be the old."""
    file = home / "list.csv"
    assert file.is_file()

    def write_and_change(*args: Any, **kwargs: Any) -> Any:
        try:
            return write(*args, **kwargs)
        finally:
            file.write_text(LIST + "6,zoe@inbox.example,Zoe\n")

    write = snapshot.write
    monkeypatch.setattr(snapshot, "write", write_and_change)
    assert "changed while it was read; start again" in str(refusal(home))


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_what_cannot_be_planned_leaves_no_run(home: Path, breakage: str) -> None:
    """After a refusal there is no run to resume, to finish or to report."""
    BREAKAGES[breakage](home)
    with pytest.raises(CampaignError):
        engine.send(None, home / "letter.toml", sandbox=True)
    left = [path.name for path in (home / "runs" / "letter").iterdir()]
    assert left == [".lock-rehearsal"]


def test_a_plan_for_the_eyes_alone_leaves_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`engine.plan` keeps its files elsewhere, and only as long as it lives."""
    plan = engine.plan(None, home / "letter.toml", sandbox=True)
    folder = plan.directory.path
    assert plan.counts["mailable"] == 3
    assert folder.is_dir()
    assert not (home / "runs").exists()
    del plan
    assert not folder.exists()


# ---- what has changed


def differences(home: Path, plan: Plan, source: Source | None = None) -> list[str]:
    """Compare the plan with the files as they are now."""
    campaign = api.load(home / "letter.toml")
    read = Manifest.read(plan.directory)
    return planning.differences(
        read, campaign, campaign.list() if source is None else source, None
    )


MESSAGE = "[message] of {home}/letter.toml"
CHANGES: dict[str, tuple[str, str, list[str]]] = {
    "nothing": ("x", "x", []),
    "workers": ("workers = 2", "workers = 9", []),
    "rate": ("workers = 2", "messages_per_second = 3\nburst = 3", []),
    "batch size": ("workers = 2", "batch_size = 3", []),
    "token": ('env = "SHOP_KEY"', 'env = "OTHER"', []),
    "address": ("[limits]", 'base_url = "https://other.example"\n[limits]', []),
    "sender": ("shop@", "info@", [MESSAGE]),
    "tags": ('"spring"', '"spring", "new"', [MESSAGE]),
    "reply": ("[provider]", '[message.headers]\nX-A = "b"\n[provider]', [MESSAGE]),
    "kind": ("transactional", "marketing", ["kind of {home}/letter.toml"]),
    "key": ('key = "id"', "", ["[recipients] of {home}/letter.toml"]),
    "types": (
        "[message]",
        '[recipients.types]\nid = "integer"\n[message]',
        ["[recipients] of {home}/letter.toml"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_campaign_is_named(home: Path, change: str) -> None:
    """What is sent is named by its section; how fast and for whose account is not."""
    plan = draw_up(home)
    old, new, expected = CHANGES[change]
    if change != "nothing":
        rewrite(home, (old, new))
    named = [name.format(home=home) for name in expected]
    assert differences(home, plan) == named


@pytest.mark.parametrize("name", ["subject.txt.j2", "body.html.j2", "foot.html.j2"])
def test_a_changed_template_is_named(home: Path, name: str) -> None:
    """Also one that another includes."""
    plan = draw_up(home)
    file = home / "templates" / name
    file.write_text(file.read_text() + "!")
    assert differences(home, plan) == [str(file)]


def test_a_changed_list_is_named(home: Path) -> None:
    """One byte is enough."""
    plan = draw_up(home)
    (home / "list.csv").write_text(LIST.replace("Bob", "Rob"))
    assert differences(home, plan) == ["the list list.csv"]


def test_another_frame_is_named(home: Path) -> None:
    """A frame in memory is told from another by its rows and their order."""
    plan = draw_up(home, readers(3))
    assert differences(home, plan, readers(3)) == []
    assert differences(home, plan, readers(3).reverse()) == ["the list list.csv"]
    assert differences(home, plan, readers(4)) == ["the list list.csv"]


def test_the_same_list_seen_from_another_folder_is_the_same(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a path that begins elsewhere nor a copy changes who is mailed."""
    plan = draw_up(home)
    monkeypatch.chdir(home)
    assert differences(Path(), plan) == []
    copied = shutil.copy(home / "list.csv", home / "copy.csv")
    assert differences(Path(), plan, copied) == []


def test_another_limit_is_named(home: Path) -> None:
    """It decides who is part of the run."""
    plan = draw_up(home, limit=4)
    campaign = plan.campaign
    found = planning.differences(plan.manifest, campaign, campaign.list(), 5)
    assert found == ["--limit (4, now 5)"]
    found = planning.differences(plan.manifest, campaign, campaign.list(), None)
    assert found == ["--limit (4, now none)"]
    assert not planning.differences(plan.manifest, campaign, campaign.list(), 4)


def test_all_changes_are_named_at_once(home: Path) -> None:
    """Campaign, template and list, each in its words."""
    plan = draw_up(home)
    rewrite(home, ("shop@", "info@"), ("workers = 2", "workers = 3"))
    (home / "templates" / "foot.html.j2").write_text("<p>Good bye</p>")
    (home / "list.csv").write_text(LIST + "6,fay@inbox.example,Fay\n")
    assert differences(home, plan) == [
        MESSAGE.format(home=home),
        str(home / "templates" / "foot.html.j2"),
        "the list list.csv",
    ]


# ---- taking a plan up again


def test_a_plan_is_taken_up_as_it_was(home: Path) -> None:
    """Whatever has become of the files it was made from, and with new limits."""
    plan = draw_up(home)
    (home / "templates" / "body.html.j2").write_text("something else {{ other }}")
    (home / "list.csv").unlink()
    planned = planning.as_planned(Manifest.read(plan.directory))
    again = planning.take_up(plan.directory, planned)
    assert again.manifest == plan.manifest
    assert again.sample() == plan.sample()
    assert again.requests == plan.requests


def test_lower_limits_keep_the_batches_of_a_plan(home: Path) -> None:
    """How messages are cut into requests is part of a run, and stays."""
    plan = draw_up(home)
    campaign = rewrite(home, ("workers = 2", "batch_size = 1\nworkers = 1"))
    again = planning.take_up(plan.directory, campaign)
    assert again.manifest.batch_size == plan.manifest.batch_size
    assert again.requests == plan.requests
    assert again.campaign.limits.workers == 1


def taken_up(directory: RunDirectory) -> Plan:
    """Take up a plan as it was planned."""
    return planning.take_up(directory, planning.as_planned(Manifest.read(directory)))


@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_list_is_not_taken_up(home: Path, *, gone: bool) -> None:
    """Rather nothing is sent than the wrong thing."""
    directory = draw_up(home).directory
    if gone:
        directory.recipients.unlink()
    else:
        data = bytearray(directory.recipients.read_bytes())
        data[len(data) // 2] ^= 1
        directory.recipients.write_bytes(data)
    with pytest.raises(RunError, match="changed since") as caught:
        taken_up(directory)
    assert str(directory.recipients) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize("name", ["body.html.j2", "foot.html.j2"])
def test_a_changed_copy_of_a_template_is_not_taken_up(
    home: Path, name: str, *, gone: bool
) -> None:
    """Each copy that is not what it was is named, and no other."""
    directory = draw_up(home).directory
    copy = directory.templates / name
    if gone:
        copy.unlink()
    else:
        copy.write_text(copy.read_text() + " ")
    with pytest.raises(RunError) as caught:
        taken_up(directory)
    assert str(caught.value) == f"changed since the run was planned: {copy}"


def test_what_is_no_run_is_not_taken_up(home: Path) -> None:
    """A folder without a manifest, or with one that cannot be read, is no run."""
    directory = draw_up(home).directory
    directory.manifest.write_text(json.dumps({"run": "x"}))
    with pytest.raises(RunError, match="cannot be read"):
        taken_up(directory)
    directory.manifest.unlink()
    with pytest.raises(RunError, match="there is no such run"):
        taken_up(directory)
