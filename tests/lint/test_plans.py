"""Claims about rules put to a plan: reading, refusing, allowing, telling."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import engine
from engine import planning, rundir
from engine.errors import CampaignError, RecipientsError, TemplateError
from engine.lint import Severity
from engine.manifest import Manifest
from engine.planning import Occasion, Plan
from engine.suppression import Entry, Suppressions
from engine.unsubscribe import keys

ADDRESS = "Harbour Books, 3 Quay"
CAMPAIGN = f"""\
name = "letter"
[recipients]
source = "list.csv"
key = "id"
[message]
from = "Shop <shop@harbour.example>"
subject = "subject.txt.j2"
html = "body.html.j2"
text = "body.txt.j2"
postal_address = "{ADDRESS}"
[unsubscribe]
url = "https://mail.harbour.example"
list = "readers"
[provider]
name = "mailerlogic"
token = {{ env = "SHOP_KEY" }}
domain = "harbour.example"
"""
LIST = "id,email,name\n1,ann@inbox.org,Ann\n2,bob@inbox.org,Bob\n3,cy@inbox.org,Cy\n"
FOOT = "{{ campaign.postal_address }} Unsubscribe: "
HTML = f'<p>Dear {{{{ name }}}}</p>{FOOT}<a href="{{{{ unsubscribe_url }}}}">here</a>'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a lawful campaign."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "subject.txt.j2").write_text("News for {{ name }}")
    (templates / "body.html.j2").write_text(HTML)
    (templates / "body.txt.j2").write_text(
        f"Dear {{{{ name }}}}\n{FOOT}{{{{ unsubscribe_url }}}}"
    )
    (tmp_path / "list.csv").write_text(LIST)
    (tmp_path / "letter.toml").write_text(CAMPAIGN)
    return tmp_path


def change(file: Path, *pairs: tuple[str, str]) -> None:
    """Change a file."""
    text = file.read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)


def refusal(home: Path, **more: object) -> CampaignError:
    """Plan what is refused."""
    with pytest.raises(CampaignError) as caught:
        engine.plan(None, home / "letter.toml", **more)
    return caught.value


def draw_up(home: Path, *, occasion: Occasion | None = None) -> Plan:
    """Plan the campaign in a run directory of its own, and let the run exist."""
    campaign = engine.load(home / "letter.toml")
    folder = home / "runs" / campaign.name
    folder.mkdir(parents=True, exist_ok=True)
    directory = rundir.create(folder, rehearsal=False)
    occasion = occasion or Occasion(runs=home / "runs")
    plan = planning.draw_up(campaign, campaign.list(), directory, occasion=occasion)
    plan.manifest.write(directory)
    return plan


# ---- what is refused


def test_a_lawful_campaign_is_planned_without_a_word(home: Path) -> None:
    """Headers, link and address are there: the rules have nothing to say."""
    plan = engine.plan(None, home / "letter.toml")
    assert [] == plan.findings
    assert plan.counts["mailable"] == 3


def test_l20_l24_l25_marketing_without_a_way_out_is_refused(home: Path) -> None:
    """Every reason is told at once, with rows, what to do, and how to override."""
    change(
        home / "letter.toml",
        (f'postal_address = "{ADDRESS}"\n', ""),
        ('[unsubscribe]\nurl = "https://mail.harbour.example"\nlist = "readers"\n', ""),
    )
    for name in ("body.html.j2", "body.txt.j2"):
        (home / "templates" / name).write_text("Dear {{ name }}")
    refused = refusal(home)
    assert ["L20", "L24", "L24", "L25"] == [
        problem.split(": ", 1)[1].split()[0] for problem in refused.problems
    ]
    assert "row 0 (1), row 1 (2), row 2 (3)" in str(refused)
    assert "write [message] postal_address" in str(refused)
    assert refused.hint.endswith("--allow L20 --allow L24 --allow L25")


def test_l24_l25_hold_where_the_api_has_no_headers(home: Path) -> None:
    """CloudMails' own handling stands in for headers alone, and the plan says so."""
    change(
        home / "letter.toml",
        ('"mailerlogic"', '"cloudmails"'),
        ('domain = "harbour.example"\n', ""),
    )
    (finding,) = engine.plan(None, home / "letter.toml").findings
    assert (finding.id, finding.severity) == ("L20", Severity.WARNING)
    assert "CloudMails has no place for List-Unsubscribe" in finding.text
    change(home / "templates" / "body.html.j2", ('href="{{ unsubscribe_url }}"', ""))
    assert "L24" in str(refusal(home))


def test_transactional_mail_needs_no_way_out(home: Path) -> None:
    """A receipt is nobody's newsletter."""
    (home / "letter.toml").write_text(
        'kind = "transactional"\n'
        + CAMPAIGN.partition("postal_address")[0]
        + '[provider]\nname = "cloudmails"\n'
    )
    for name in ("body.html.j2", "body.txt.j2"):
        (home / "templates" / name).write_text("Dear {{ name }}")
    assert [] == engine.plan(None, home / "letter.toml").findings


def test_a_rule_that_is_allowed_refuses_nobody_and_is_recorded(home: Path) -> None:
    """The manifest says which rules were broken with somebody's leave."""
    change(home / "templates" / "body.txt.j2", ("{{ campaign.postal_address }}", ""))
    assert "L25" in str(refusal(home))
    plan = engine.plan(None, home / "letter.toml", allow=["L25", "L28"])
    assert plan.manifest.overridden == ["L25"]
    assert plan.manifest.definition["lint"] == {"allow": ["L25", "L28"]}
    with (home / "letter.toml").open("a") as file:
        file.write('[lint]\nallow = ["L25"]\n')
    again = engine.plan(None, home / "letter.toml")
    assert [("L25", Severity.ERROR)] == [(f.id, f.severity) for f in again.findings]


def test_what_is_no_rule_cannot_be_allowed(home: Path) -> None:
    """A slip of the keyboard allows nothing."""
    assert '"l25" is no rule' in str(refusal(home, allow=["l25"]))


def test_l07_is_about_the_real_thing_alone(home: Path) -> None:
    """Example addresses can be rehearsed with, and reach nobody at a provider."""
    change(home / "list.csv", ("bob@inbox.org", "bob@inbox.example"))
    plan = engine.plan(None, home / "letter.toml")
    assert plan.counts == {"mailable": 2, "invalid": 1, "suppressed": 0, "duplicate": 0}
    assert ["L07"] == [finding.id for finding in plan.findings]
    rehearsed = engine.plan(None, home / "letter.toml", sandbox=True)
    assert rehearsed.counts["mailable"] == 3


def test_l14_more_than_may_be_mailed_is_refused(home: Path) -> None:
    """--max-recipients is a number that nobody can forget to look at."""
    told = str(refusal(home, max_recipients=2))
    assert "3 are to be mailed, and --max-recipients is 2" in told
    assert "else raise --max-recipients" in told
    assert engine.plan(None, home / "letter.toml", max_recipients=3).findings == []


# ---- what is refused as the list and the templates are read


def test_l11_two_columns_of_one_name_are_refused(home: Path) -> None:
    """Rule L11: polars would rename one of them in silence."""
    (home / "list.csv").write_text("id,email,email\n1,a@b.org,c@d.org\n")
    with pytest.raises(RecipientsError, match="email"):
        engine.plan(None, home / "letter.toml")


def test_l12_cells_are_text_unless_declared(home: Path) -> None:
    """Rule L12: 00123 stays so, and a cell that is no number is refused by place."""
    change(home / "list.csv", ("1,ann", "00123,ann"))
    plan = engine.plan(None, home / "letter.toml")
    frozen = pl.read_parquet(plan.directory.recipients)
    assert frozen["key"][0] == "00123"
    change(
        home / "letter.toml",
        ('key = "id"\n', 'key = "id"\n[recipients.types]\nname = "integer"\n'),
    )
    with pytest.raises(RecipientsError, match=r"list\.csv:2"):
        engine.plan(None, home / "letter.toml")


def test_l16_a_file_that_is_cut_off_is_refused(home: Path) -> None:
    """Rule L16: a row of another width is told with its line."""
    (home / "list.csv").write_text(LIST + "4,dee")
    with pytest.raises(RecipientsError, match=r"list\.csv:5"):
        engine.plan(None, home / "letter.toml")


def test_l27_a_name_that_is_no_column_is_refused(home: Path) -> None:
    """Rule L27: an unknown name is told with template and line."""
    change(home / "templates" / "subject.txt.j2", ("{{ name }}", "{{ nmae }}"))
    with pytest.raises(TemplateError, match=r'subject\.txt\.j2:1: "nmae"'):
        engine.plan(None, home / "letter.toml")


def test_l27_rows_that_cannot_be_rendered_are_told(home: Path) -> None:
    """Rule L27: some is a warning, for each fails alone; all is an error."""
    bad = "{{ 1 // (id|int - 2) }}"
    change(home / "templates" / "subject.txt.j2", ("{{ name }}", bad))
    (finding,) = engine.plan(None, home / "letter.toml").findings
    assert finding.text == "1 of 3 sample rows cannot be rendered"
    assert [example.row for example in finding.examples] == [1]
    change(home / "templates" / "subject.txt.j2", (bad, "{{ 1 // 0 }}"))
    assert "L27 no sample row can be rendered" in str(refusal(home))


def test_l33_a_template_that_lets_code_in_is_refused(home: Path) -> None:
    """Rule L33 is told with template and line."""
    change(home / "templates" / "body.html.j2", ("{{ name }}", "{{ name|safe }}"))
    assert "L33 body.html.j2:1: |safe switches escaping off" in str(refusal(home))


def test_l40_no_secret_can_be_written_into_a_campaign(home: Path) -> None:
    """Rule L40: neither in the file nor on the command line."""
    secret = "abcdefghij0123456789"
    for overrides in (['provider.token="{secret}"'], [f"provider.token={secret}"]):
        with pytest.raises(CampaignError) as caught:
            engine.plan(None, home / "letter.toml", overrides=overrides)
        assert "a secret does not belong here" in str(caught.value)
        assert secret not in str(caught.value)


# ---- suppression


def test_l15_suppressed_rows_are_left_out_of_a_plan(home: Path) -> None:
    """Whoever said no to all, to this list or to this campaign is left out."""
    with Suppressions.open(home / "runs") as entries:
        entries.add(
            [
                Entry("ANN@inbox.org", "complained", "cloudmails", "all"),
                Entry("bob@inbox.org", "unsubscribed", "link", "list:readers"),
                Entry("cy@inbox.org", "manual", "by hand", "campaign:other"),
            ]
        )
    plan = engine.plan(None, home / "letter.toml")
    assert plan.counts == {"mailable": 1, "invalid": 0, "suppressed": 2, "duplicate": 0}
    frozen = pl.read_parquet(plan.directory.recipients)
    assert frozen.select("status", "reason", "detail").rows() == [
        ("suppressed", "complained", "cloudmails"),
        ("suppressed", "unsubscribed", "link"),
        (None, None, None),
    ]


def test_a_plan_makes_neither_suppressions_nor_keys(home: Path) -> None:
    """To look leaves nothing behind."""
    engine.plan(None, home / "letter.toml")
    assert not (home / "runs").exists()


# ---- links


def test_each_message_has_its_own_link_in_header_and_body(home: Path) -> None:
    """The token is that of the address and the list, signed by the runs' key."""
    plan = draw_up(home)
    messages, _ = plan.sample()
    assert messages.texts is not None
    assert messages.extras is not None
    signing = keys(home / "runs" / "unsubscribe.keys")
    seen = set()
    for place, text in enumerate(messages.texts):
        url = text.rpartition(" ")[2]
        headers = messages.extras[place].headers
        assert headers["List-Unsubscribe"] == f"<{url}>"
        assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        base, _, token = url.rpartition("/")
        assert base == "https://mail.harbour.example/u"
        subject = signing.read(token)
        assert subject is not None
        assert subject.list == "readers"
        with Suppressions.open(home / "runs") as entries:
            entries.enter(
                subject.mark, reason="unsubscribed", source="link", scope="list:readers"
            )
            found = entries.filter({"list:readers"}).find(
                pl.Series([messages.addresses[place]])
            )
        assert found["suppressed"].to_list() == ["unsubscribed"]
        seen.add(url)
    assert len(seen) == 3


def test_a_resumed_run_has_the_same_bytes_though_the_key_was_changed(
    home: Path,
) -> None:
    """A new key signs the next run; what is under way keeps the one it began with."""
    plan = draw_up(home)
    before, _ = plan.sample()
    file = home / "runs" / "unsubscribe.keys"
    file.write_text(f"{'ab' * 32}\n{file.read_text()}")
    again = planning.take_up(plan.directory, planning.as_planned(plan.manifest))
    after, _ = again.sample()
    assert (before.texts, before.extras) == (after.texts, after.extras)
    new, _ = draw_up(home).sample()
    assert new.texts != before.texts


def test_a_run_whose_key_is_gone_is_not_taken_up(home: Path) -> None:
    """Its links would be others, and those of the mails that were sent would fail."""
    plan = draw_up(home)
    (home / "runs" / "unsubscribe.keys").unlink()
    with pytest.raises(engine.EngineError, match="is gone"):
        planning.take_up(plan.directory, planning.as_planned(plan.manifest))


def test_a_mail_address_stands_beside_the_link(home: Path) -> None:
    """The mailto of the section is in the header, after the address of the web."""
    change(
        home / "letter.toml", ('list = "readers"', 'mailto = "leave@harbour.example"')
    )
    messages, _ = draw_up(home).sample()
    assert messages.extras is not None
    assert (
        messages.extras[0]
        .headers["List-Unsubscribe"]
        .endswith(">, <mailto:leave@harbour.example?subject=unsubscribe>")
    )


def test_headers_are_not_written_twice(home: Path) -> None:
    """The file and the section cannot both say where one leaves."""
    change(
        home / "letter.toml",
        (
            "[unsubscribe]",
            '[message.headers]\nList-Unsubscribe = "<https://a.org>"\n[unsubscribe]',
        ),
    )
    assert "[message.headers] List-Unsubscribe" in str(refusal(home))


def test_a_link_without_its_section_is_told(home: Path) -> None:
    """It is no column that the list lacks."""
    section = '[unsubscribe]\nurl = "https://mail.harbour.example"\nlist = "readers"\n'
    change(home / "letter.toml", (section, ""))
    assert (
        '"unsubscribe_url" is the link of an [unsubscribe] section: write one with'
        in str(refusal(home))
    )


def test_a_column_cannot_take_the_name_of_the_link(home: Path) -> None:
    """Nobody could tell which of the two a template means."""
    change(home / "list.csv", ("id,email,name", "id,email,unsubscribe_url"))
    assert 'the list has a column "unsubscribe_url"' in str(refusal(home))


def test_the_manifest_tells_the_key_without_holding_it(home: Path) -> None:
    """What a run is can be shown to anybody."""
    plan = draw_up(home)
    stored = plan.directory.manifest.read_text()
    for line in (home / "runs" / "unsubscribe.keys").read_text().split():
        assert line not in stored
    assert Manifest.read(plan.directory).link_key


# ---- the command


def command(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the campaign's folder."""
    path = Path(sys.executable).with_name("mailvolley")
    return subprocess.run(
        [path, *words],
        cwd=home,
        env={**os.environ, "SHOP_KEY": "k"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plan_and_send_refuse_with_two_and_tell_what_to_type(home: Path) -> None:
    """Both doors are held to the rules, and both can be told to look away."""
    change(home / "templates" / "body.txt.j2", ("{{ campaign.postal_address }}", ""))
    for words in (["plan"], ["send", "--sandbox"], ["send", "--dry-run"]):
        refused = command(home, words[0], "letter.toml", *words[1:])
        assert refused.returncode == 2, refused.stderr
        assert "L25 the postal address is not in the text" in refused.stderr
        assert "--allow L25" in refused.stderr
        assert not list(home.glob("runs/letter/*/manifest.json"))
    done = command(home, "send", "letter.toml", "--sandbox", "--allow", "L25")
    assert done.returncode == 0, done.stderr
    (manifest,) = home.glob("runs/letter/*/manifest.json")
    assert json.loads(manifest.read_text())["overridden"] == ["L25"]


def test_a_plan_tells_a_program_what_was_found(home: Path) -> None:
    """Each finding has its rule, severity, sentence, rows and fix."""
    change(home / "list.csv", ("bob@inbox.org", "bob"))
    done = command(home, "plan", "letter.toml", "--json")
    assert done.returncode == 0, done.stderr
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding == {
        "rule": "L02",
        "severity": "row",
        "text": "1 row: The address is not of the form name@example.com",
        "fix": "correct the addresses at their source",
        "rows": 1,
        "examples": [{"row": 1, "key": "2", "told": ""}],
    }


def test_the_rules_can_be_listed(home: Path) -> None:
    """`mailvolley rules` shows the table itself."""
    listed = json.loads(command(home, "rules", "--json").stdout)
    assert [rule["id"] for rule in listed][:2] == ["L01", "L02"]
    assert "L45" in command(home, "rules").stdout
