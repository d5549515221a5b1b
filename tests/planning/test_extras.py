"""Claims about copies, headers, files and invitations, from the file to the message."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import icalendar
import polars as pl
import pytest
from handmade import draw_up

from engine import api, planning, rundir
from engine.campaign import Campaign
from engine.errors import CampaignError, RunError
from engine.manifest import Manifest
from engine.message import Extras, Feature
from engine.planning import Occasion, Plan
from engine.planning.plan import limited
from engine.render import Failure, Rendered
from engine.rundir import RunDirectory

ROOT = Path(__file__).parents[2]
HEAD = """\
name = "letter"
kind = "transactional"
[recipients]
source = "list.csv"
name = "name"
key = "id"
[provider]
name = "cloudmails"
token = { env = "SHOP_KEY" }
[message]
from = "Shop <shop@harbour.example>"
subject = "subject.txt.j2"
"""
BODY = 'html = "body.html.j2"\n'
LIST = """\
id,email,name,x,boss
1,ann@inbox.example,Ann,one,Bo <bo@inbox.example>
2,bob@inbox.example,Bob,two,
"""

#: Writes the message section (after `html`) and the rows; returns the campaign file.
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a campaign with its templates, its list and its files."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "subject.txt.j2").write_text("Hello {{ name }}")
    (templates / "body.html.j2").write_text('<p>{{ name }}</p><img src="cid:logo">')
    (templates / "body.md.j2").write_text("# {{ name }}\n\n[us](https://x.example)")
    (templates / "body.txt.j2").write_text("Dear {{ name }}")
    (templates / "shared.j2").write_text("{{ boss }}")
    (tmp_path / "attachments" / "seats").mkdir(parents=True)
    (tmp_path / "attachments" / "logo.png").write_bytes(b"logo")
    (tmp_path / "attachments" / "seats" / "one.txt").write_bytes(b"seat one")
    (tmp_path / "attachments" / "seats" / "two.txt").write_bytes(b"seat two")
    (tmp_path / "secret.txt").write_bytes(b"secret")

    def write_files(message: str, *, body: str = BODY, rows: str = LIST) -> Path:
        (tmp_path / "list.csv").write_text(rows, encoding="utf-8")
        file = tmp_path / "letter.toml"
        file.write_text(HEAD + body + message, encoding="utf-8")
        return file

    return write_files


def rendered(plan: Plan) -> Rendered:
    """Render all rows of a plan."""
    frozen = pl.read_parquet(plan.directory.recipients)
    return plan.renderer.render(frozen.filter(pl.col("status").is_null()))


def extras(file: Path) -> list[Extras]:
    """Return what each message has, all of which can be rendered."""
    done = rendered(draw_up(file))
    assert [] == done.failures
    assert done.messages.extras is not None
    return done.messages.extras


def failure(file: Path) -> Failure:
    """Return the failure of the only row that fails; the other one is rendered."""
    done = rendered(draw_up(file))
    assert 1 == len(done.messages)
    (failed,) = done.failures
    return failed


def problems(file: Path) -> list[str]:
    """Return what is wrong with a campaign, free of its folder."""
    with pytest.raises(CampaignError) as caught:
        draw_up(file)
    told = (text.replace(f"{file.parent}/", "") for text in caught.value.problems)
    return [text.replace(f"{file.parent.parent}/", "") for text in told]


def rows(x: str, boss: str = "", *, x2: str = "two", boss2: str = "") -> str:
    """Return a list whose rows have these cells; those of the second are good."""
    frame = pl.DataFrame(
        {
            "id": ["1", "2"],
            "email": ["ann@inbox.example", "bob@inbox.example"],
            "name": ["Ann", "Bob"],
            "x": [x, x2],
            "boss": [boss, boss2],
        }
    )
    return frame.write_csv()


# -- what is the same for all, and what is not ----------------------------------------


def test_constants_are_the_envelopes(write: Write) -> None:
    """Nothing differs from message to message, so messages have no extras."""
    file = write(
        'reply_to = "help@harbour.example"\n'
        'cc = "Audit <audit@harbour.example>"\n'
        'bcc = ["b@harbour.example", "c@harbour.example"]\n'
        "track_opens = false\n"
        'headers = { X-A = "1" }\n'
        'metadata = { event = "spring" }\n'
        '[[message.attachments]]\npath = "logo.png"\ninline = "logo"\n'
    )
    plan = draw_up(file)
    envelope = plan.provider._envelope
    assert envelope.extras.reply_to == "help@harbour.example"
    assert envelope.extras.cc == ("Audit <audit@harbour.example>",)
    assert envelope.extras.bcc == ("b@harbour.example", "c@harbour.example")
    assert envelope.extras.headers == {"X-A": "1"}
    assert envelope.extras.metadata == {"event": "spring"}
    (logo,) = envelope.extras.attachments
    assert (logo.name, logo.content_type) == ("logo.png", "image/png")
    assert (logo.content, logo.content_id) == ("bG9nbw==", "logo")
    assert envelope.varying == frozenset()
    assert (envelope.track_opens, envelope.track_clicks) == (False, None)
    assert rendered(plan).messages.extras is None


# Inline pictures are more than this provider can carry, which is its own matter.
@pytest.fixture(autouse=True)
def provider_that_shows_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the provider carry everything: what it cannot is told elsewhere."""
    from engine.providers.cloudmails import CloudMails  # noqa: PLC0415 - patched here

    monkeypatch.setattr(
        CloudMails,
        "capabilities",
        replace(CloudMails.capabilities, features=frozenset(Feature)),
    )


def test_what_a_row_fills_is_the_messages(write: Write) -> None:
    """One template among constants makes extras of each message; all of them."""
    file = write(
        'reply_to = "{{ name }} <{{ x }}@harbour.example>"\n'
        'cc = ["audit@harbour.example", "{% include \'shared.j2\' %}"]\n'
        'headers = { X-A = "1", X-B = "{{ x }}", X-C = "{{ boss and x }}" }\n'
        'metadata = { event = "spring", seat = "{{ boss and x }}" }\n'
    )
    ann, bob = extras(file)
    assert ann.reply_to == "Ann <one@harbour.example>"
    assert ann.cc == ("audit@harbour.example", "Bo <bo@inbox.example>")
    assert ann.headers == {"X-A": "1", "X-B": "one", "X-C": "one"}
    assert ann.metadata == {"event": "spring", "seat": "one"}
    assert bob.cc == ("audit@harbour.example",)
    assert bob.headers == {"X-A": "1", "X-B": "two"}
    assert bob.metadata == {"event": "spring", "seat": ""}
    envelope = draw_up(file).provider._envelope
    features = {Feature.REPLY_TO, Feature.CC, Feature.HEADERS, Feature.METADATA}
    assert envelope.varying == features
    assert envelope.header_names == ("X-A", "X-B", "X-C")
    assert envelope.extras.metadata.keys() == {"event", "seat"}


def test_columns_of_inline_templates_are_frozen_too(write: Write) -> None:
    """The snapshot has what the extras read, and no more."""
    plan = draw_up(write('cc = "{{ boss }}"\n'))
    frozen = pl.read_parquet(plan.directory.recipients)
    assert frozen["data"].struct.fields == ["boss", "email", "name"]
    assert "shared.j2" not in plan.manifest.templates
    plan = draw_up(write("cc = \"{% include 'shared.j2' %}\"\n"))
    assert "shared.j2" in plan.manifest.templates


def test_every_problem_is_told_at_once(write: Write) -> None:
    """Of inline templates, files and the list, each with its place."""
    file = write(
        'reply_to = "{{ nam }}"\n'
        'cc = ["{{ x }}", "{% if %}"]\n'
        'headers = { X-A = "{{ x|nope }}" }\n'
        '[[message.attachments]]\npath = "nowhere.pdf"\n'
        '[[message.attachments]]\npath = "seats"\n'
        '[[message.attachments]]\npath = "{{ x }}"\nfolder = "invoices"\n'
    )
    place = "letter.toml: [[message.attachments]] item"
    assert problems(file) == [
        f'{place} 1, path = "nowhere.pdf": there is no such file in attachments',
        f'{place} 2, path = "seats": is no regular file',
        f'{place} 3, path = "{{{{ x }}}}": there is no folder invoices',
        (
            "letter.toml: [message] cc, item 2: Expected an expression, "
            "got 'end of statement block'"
        ),
        "letter.toml: [message.headers] X-A: No filter named 'nope'.",
    ]
    assert problems(write('reply_to = "{{ nam }}"\n')) == [
        (
            'letter.toml: [message] reply_to: "nam" is not a column of the list; '
            'did you mean "name"?'
        )
    ]


# -- what a row cannot do --------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "x", "reason", "detail"),
    [
        (
            'headers = { X-A = "v{{ x }}w" }',
            "1\r\nBcc: evil@x.example",
            "header_unsafe",
            "[message.headers] X-A: it has a control code or line end (U+000D) at 3",
        ),
        (
            'metadata = { a = "v{{ x }}w" }',
            "a\x1fb",
            "header_unsafe",
            "[message.metadata] a: it has a control code or line end (U+001F) at 3",
        ),
        (
            'cc = "{{ x }}"',
            "a@x.example, b@x.example",
            "mailbox_unfit",
            (
                "[message] cc, item 1: 'a@x.example, b@x.example': write one "
                '"Name <address@domain>" or "address@domain"'
            ),
        ),
        (
            'bcc = ["{{ x }}@x.example"]',
            "a@x.example\nBcc: b",
            "header_unsafe",
            "[message] bcc, item 1: it has a control code or line end (U+000A) at 12",
        ),
        (
            'reply_to = "{{ x }}"',
            "nobody",
            "mailbox_unfit",
            (
                "[message] reply_to: 'nobody': write one \"Name <address@domain>\" or "
                '"address@domain"'
            ),
        ),
        (
            'cc = "{{ 1 // (x|length - 3) }}@x.example"',
            "abc",
            "template_error",
            (
                "[message] cc, item 1: ZeroDivisionError: integer division or modulo "
                "by zero"
            ),
        ),
    ],
)
def test_row_that_spoils_a_header_fails_alone(
    write: Write, message: str, x: str, reason: str, detail: str
) -> None:
    """It says where, and the other row is sent."""
    good = "c@x.example" if 'c = "{{ x }}"' in message or "to" in message else "four"
    failed = failure(write(f"{message}\n", rows=rows(x, x2=good)))
    assert (0, reason, detail) == (failed.row, failed.reason, failed.detail)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        ("../../secret", "attachment_unfit"),
        ("../seats/two", "attachment_unfit"),
        ("/etc/passwd", "attachment_missing"),
        ("out", "attachment_unfit"),
        ("pipe", "attachment_unfit"),
        ("folder", "attachment_unfit"),
        ("nobody", "attachment_missing"),
        ("a\nb", "header_unsafe"),
    ],
)
def test_row_that_reaches_for_another_file_fails_alone(
    write: Write, x: str, reason: str
) -> None:
    """Whatever it says: a way up, a link, a FIFO, a folder, what is not there."""
    file = write('[[message.attachments]]\npath = "seats/{{ x }}.txt"\n', rows=rows(x))
    seats = file.parent / "attachments" / "seats"
    (seats / "out.txt").symlink_to(file.parent / "secret.txt")
    (seats / "folder.txt").mkdir()
    os.mkfifo(seats / "pipe.txt")
    failed = failure(file)
    assert (0, reason) == (failed.row, failed.reason)
    assert failed.detail.startswith("[[message.attachments]] item 1, path: ")


def test_whole_path_of_a_row_is_no_way_out(write: Write) -> None:
    """Not even where the row has the path to itself."""
    for x in ("/etc/passwd", "../secret.txt", "seats/../../secret.txt"):
        file = write(
            '[[message.attachments]]\npath = "{{ x }}"\n',
            rows=rows(x, x2="seats/two.txt"),
        )
        assert "attachment_unfit" == failure(file).reason


# -- files -----------------------------------------------------------------------------


def test_file_of_each_row_is_attached(write: Write) -> None:
    """With the name and type that the campaign gives it, or the file's own."""
    file = write(
        '[[message.attachments]]\npath = "logo.png"\nname = "{{ name }}.png"\n'
        '[[message.attachments]]\npath = "seats/{{ x }}.txt"\ntype = "text/markdown"\n'
    )
    ann, bob = extras(file)
    assert ["Ann.png", "one.txt"] == [a.name for a in ann.attachments]
    assert ["image/png", "text/markdown"] == [a.content_type for a in ann.attachments]
    assert ["bG9nbw==", "c2VhdCBvbmU="] == [a.content for a in ann.attachments]
    assert ["Bob.png", "two.txt"] == [a.name for a in bob.attachments]


def test_file_that_is_not_required_may_be_missing(write: Write) -> None:
    """Or its path be empty; one that must not be read is no missing one."""
    table = '[[message.attachments]]\nrequired = false\npath = "{0}"\n'
    file = write(table.format("{{ x }}"), rows=rows("nowhere.txt", x2=""))
    assert [(), ()] == [e.attachments for e in extras(file)]
    file = write(table.format("{{ x }}"), rows=rows("../secret.txt", x2=""))
    assert "attachment_unfit" == failure(file).reason
    plan = draw_up(write(table.format("nowhere.pdf")))
    assert plan.manifest.attachments == {}
    assert any("nowhere.pdf" in warning for warning in plan.warnings)
    file = write("[[message.attachments]]\npath = \"{{ boss and 'logo.png' }}\"\n")
    assert "attachment_missing" == failure(file).reason


def test_name_from_a_row_is_a_name(write: Write) -> None:
    """No folder, no control code."""
    table = '[[message.attachments]]\npath = "logo.png"\nname = "{{ x }}"\n'
    for x in ("../a.png", "a/b.png", "a\\b.png", ".."):
        assert "attachment_unfit" == failure(write(table, rows=rows(x))).reason
    assert "header_unsafe" == failure(write(table, rows=rows("a\nb"))).reason


def test_constant_files_are_kept_with_the_run(write: Write) -> None:
    """As they were, for their owner alone, with their hash in the manifest."""
    file = write(
        '[[message.attachments]]\npath = "seats/one.txt"\n'
        '[[message.attachments]]\npath = "seats/one.txt"\nname = "b.txt"\n'
    )
    plan = draw_up(file)
    sha = hashlib.sha256(b"seat one").hexdigest()
    assert {"1/one.txt": sha, "2/one.txt": sha} == plan.manifest.attachments
    copy = plan.directory.path / "attachments" / "1" / "one.txt"
    assert b"seat one" == copy.read_bytes()
    for path in (copy, copy.parent, copy.parent.parent):
        assert 0 == path.stat().st_mode & 0o077


def test_run_that_is_taken_up_sends_what_was_planned(write: Write) -> None:
    """The copies are sent, whatever the files are now."""
    file = write(
        '[[message.attachments]]\npath = "logo.png"\n'
        '[message.metadata]\nx = "{{ x }}"\n[message.calendar]\nsummary = "S"\n'
        'start = 2026-12-01T10:00:00Z\nduration = "1h"\n'
    )
    plan = draw_up(file)
    (file.parent / "attachments" / "logo.png").write_bytes(b"new")
    before = rendered(plan)
    campaign = planning.as_planned(Manifest.read(plan.directory))
    assert campaign == api.load(file)
    again = planning.take_up(plan.directory, campaign)
    assert before == rendered(again)
    parts = plan.provider.encode(before.messages)
    assert parts == again.provider.encode(rendered(again).messages)


def test_copy_that_was_changed_is_refused(write: Write) -> None:
    """As templates are."""
    plan = draw_up(write('[[message.attachments]]\npath = "logo.png"\n'))
    (plan.directory.path / "attachments" / "1" / "logo.png").write_bytes(b"new")
    with pytest.raises(RunError, match=r"1/logo\.png"):
        planning.take_up(plan.directory, plan.campaign)


def test_folder_of_the_rows_files_is_found_from_anywhere(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A run is taken up in another folder; and not without the files."""
    write('[[message.attachments]]\npath = "seats/{{ x }}.txt"\n')
    monkeypatch.chdir(tmp_path)
    plan = draw_up(Path("letter.toml"))
    directory = RunDirectory(plan.directory.path.resolve())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    campaign = planning.as_planned(Manifest.read(directory))
    assert [] == rendered(planning.take_up(directory, campaign)).failures
    shutil.move(tmp_path / "attachments", tmp_path / "gone")
    with pytest.raises(RunError, match="there is no folder"):
        planning.take_up(directory, campaign)


def test_file_that_is_another_now_is_a_difference(write: Write) -> None:
    """So is one that is gone, and one that has come."""
    file = write(
        '[[message.attachments]]\npath = "logo.png"\n'
        '[[message.attachments]]\npath = "later.png"\nrequired = false\n'
    )
    plan = draw_up(file)

    def told() -> list[str]:
        found = planning.differences(
            plan.manifest, plan.campaign, plan.campaign.list(), None
        )
        return [text.replace(f"{file.parent}/", "") for text in found]

    assert [] == told()
    (file.parent / "attachments" / "later.png").touch()
    assert ["attachments/later.png"] == told()
    (file.parent / "attachments" / "logo.png").write_bytes(b"new")
    assert ["attachments/logo.png", "attachments/later.png"] == told()
    (file.parent / "attachments" / "logo.png").unlink()
    assert "there is no such file" in told()[0]


def test_files_beside_the_campaigns_folder_are_found(write: Write) -> None:
    """As templates are."""
    file = write('[[message.attachments]]\npath = "logo.png"\n')
    (file.parent / "campaigns").mkdir()
    moved = file.parent / "campaigns" / "letter.toml"
    file.rename(moved)
    (file.parent / "list.csv").rename(moved.with_name("list.csv"))
    assert 1 == len(draw_up(moved).manifest.attachments)


def test_pictures_are_held_against_the_html(write: Write) -> None:
    """One that is not shown and one that is not there are told; a row's is not."""
    table = '[[message.attachments]]\npath = "logo.png"\ninline = "{0}"\n'
    warnings = draw_up(write(table.format("photo"))).warnings
    assert [
        '[[message.attachments]] inline = "photo": the HTML has no "cid:photo"',
        'the HTML shows "cid:logo", and no attachment has inline = "logo"',
    ] == [text for text in warnings if "cid:" in text]
    file = write(table.format("logo"))
    assert not any("cid:" in text for text in draw_up(file).warnings)
    html = file.parent / "templates" / "body.html.j2"
    html.write_text('<img src="cid:{{ x }}">')
    assert not any("cid:" in text for text in draw_up(file).warnings)


def test_batches_are_small_where_files_are_large(write: Write) -> None:
    """A worker holds no more than about a request of them."""
    table = '[[message.attachments]]\npath = "logo.png"\n'
    assert 1000 == draw_up(write("")).manifest.batch_size
    file = write(table)
    assert 999 == draw_up(file).manifest.batch_size
    logo = file.parent / "attachments" / "logo.png"
    logo.write_bytes(b"x" * 3_000_000)
    many = LIST + "".join(f"{n},a{n}@inbox.example,N,two,\n" for n in range(300))
    plan = draw_up(write(table, rows=many))
    assert (2, 2) == (plan.manifest.batch_size, plan.manifest.chunk)
    rowwise = write('[[message.attachments]]\npath = "seats/{{ x }}.txt"\n')
    assert 19 == draw_up(rowwise).manifest.batch_size
    logo.write_bytes(b"x" * 8_000_000)
    assert "10,666,668" in problems(write(table))[0]


# -- bodies ----------------------------------------------------------------------------


def test_text_is_made_from_the_html_unless_it_is_not_wanted(write: Write) -> None:
    """A template comes first, and `false` means none."""
    done = rendered(draw_up(write("")))
    assert ["Ann\n", "Bob\n"] == done.messages.texts
    done = rendered(draw_up(write('text = "body.txt.j2"\n')))
    assert ["Dear Ann", "Dear Bob"] == done.messages.texts
    plan = draw_up(write("text = false\n"))
    assert rendered(plan).messages.texts is None
    for message, has in (
        ("", True),
        ('text = "body.txt.j2"', True),
        ("text=false", False),
    ):
        assert has is draw_up(write(f"{message}\n")).provider._envelope.text


def test_markdown_makes_html_and_text(write: Write) -> None:
    """Its source is kept beside them; a row cannot add to it."""
    body = 'markdown = "body.md.j2"\n'
    plan = draw_up(
        write("", body=body, rows=LIST.replace("Bob", "[B](http://e.example)"))
    )
    messages = rendered(plan).messages
    assert messages.markdowns is not None
    assert messages.htmls is not None
    assert messages.texts is not None
    link = '<p><a href="https://x.example">us</a></p>\n'
    assert f"<h1>Ann</h1>\n{link}" == messages.htmls[0]
    assert f"<h1>[B](http://e.example)</h1>\n{link}" == messages.htmls[1]
    assert "Ann\n\nus <https://x.example>\n" == messages.texts[0]
    assert "# Ann\n\n[us](https://x.example)" == messages.markdowns[0]
    assert plan.provider._envelope.markdown
    assert plan.provider._envelope.html
    assert "markdown-it-py" in plan.manifest.versions


# -- invitations -----------------------------------------------------------------------

CALENDAR = """\
[message.calendar]
summary = "Seat {{ x }}"
start = "{{ boss }}"
duration = "90m"
timezone = "Europe/Lisbon"
"""


def test_each_row_has_its_invitation(write: Write) -> None:
    """To its recipient, from the sender, about its moment, with its message's id."""
    table = rows("one", "2026-12-01 18:00", boss2="2026-07-01T12:00")
    plan = draw_up(write(CALENDAR + 'description = "{{ x }}\\nsecond"\n', rows=table))
    done = rendered(plan)
    assert done.messages.extras is not None
    ann, bob = (
        icalendar.Calendar.from_ical(extra.calendar).events[0]
        for extra in done.messages.extras
    )
    assert "Seat one" == ann["SUMMARY"]
    assert "one\nsecond" == ann["DESCRIPTION"]
    assert "mailto:ann@inbox.example" == ann["ATTENDEE"]
    assert "Ann" == ann["ATTENDEE"].params["CN"]
    assert "mailto:shop@harbour.example" == ann["ORGANIZER"]
    assert done.messages.message_ids[0] == ann["UID"]
    assert "2026-12-01T18:00:00+00:00" == ann.start.isoformat()
    assert "2026-07-01T11:00:00+00:00" == bob.start.isoformat()
    stamp = ann["DTSTAMP"].dt
    assert plan.provider._envelope.date.replace(microsecond=0) == stamp
    assert Feature.CALENDAR in plan.provider._envelope.features


@pytest.mark.parametrize(
    ("moment", "detail"),
    [
        (
            "tomorrow",
            (
                "[message.calendar] start: 'tomorrow': write a day, \"2026-12-20\", or "
                'a time, "2026-12-20T18:30"'
            ),
        ),
        ("", "[message.calendar] start: it is empty"),
        (
            "9999-12-31T23:59:00+00:00",
            "[message.calendar]: date value out of range",
        ),
        (
            "2026-12-01",
            "[message.calendar]: a day lasts whole days: give start a time, too",
        ),
    ],
)
def test_row_with_no_fit_moment_fails_alone(
    write: Write, moment: str, detail: str
) -> None:
    """In a sentence."""
    table = rows("one", moment, boss2="2026-12-01T10:00")
    failed = failure(write(CALENDAR, rows=table))
    assert (0, "calendar_unfit", detail) == (failed.row, failed.reason, failed.detail)


# -- limits ----------------------------------------------------------------------------


def test_documented_limit_holds_where_the_campaign_sets_none(write: Write) -> None:
    """It is told; not so in a rehearsal, nor on this machine, nor above one's own."""
    file = write("")
    set_name = "provider.name=mailerlogic"
    base = "https://api.mailerlogic.net"

    def rate(campaign: Campaign, occasion: Occasion) -> tuple[float | None, int]:
        held, told = limited(campaign, occasion)
        return held.limits.requests_per_second, len(told)

    none = api.load(file, overrides=[set_name])
    own = api.load(file, overrides=[set_name, "limits.requests_per_second=3.0"])
    assert (10.0, 1) == rate(none, Occasion(base_url=base))
    assert (3.0, 0) == rate(own, Occasion(base_url=base))
    assert (None, 0) == rate(none, Occasion(rehearsal=True))
    assert (None, 0) == rate(none, Occasion(base_url="http://127.0.0.1:8025/v1"))
    plan = planned(none, file, Occasion(base_url=base))
    assert any("documented limit" in text for text in plan.warnings)
    assert plan.campaign.limits.requests_per_second == 10.0
    assert plan.manifest.definition["limits"]["requests_per_second"] is None
    assert (
        10.0
        == planning.take_up(plan.directory, none).campaign.limits.requests_per_second
    )


def planned(campaign: Campaign, file: Path, occasion: Occasion) -> Plan:
    """Plan a campaign that is loaded already."""
    folder = file.parent / "runs" / "loaded"
    folder.mkdir(parents=True)
    directory = rundir.create(folder, rehearsal=False)
    plan = planning.draw_up(campaign, campaign.list(), directory, occasion=occasion)
    plan.manifest.write(directory)
    return plan


# -- the sample ------------------------------------------------------------------------


SETTINGS = {
    "cloudmails": [],
    "cloudmailin": ["provider.username=harbour"],
    "cloudflare": ["provider.account_id=0123456789abcdef0123456789abcdef"],
    "mailerlogic": ["provider.domain=harbour.example"],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_sample_can_be_sent_by_every_provider(tmp_path: Path, name: str) -> None:
    """All five guests are accepted, and each has their own files and entry."""
    for folder in ("campaigns", "templates"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    overrides = [f"provider.name={name}", *SETTINGS[name]]
    file = tmp_path / "campaigns" / "invitation.toml"
    report = api.send(None, file, overrides=overrides, sandbox=True)
    assert 5 == report.counts["accepted"]
    run = json.loads((report.directory / "manifest.json").read_text())
    assert ["1/programme.pdf"] == list(run["attachments"])
