"""Claims about [message] and its tables: what may stand there, and what is told."""

from pathlib import Path

import pytest

from engine.campaign import Campaign, load, rebased, schema
from engine.errors import CampaignError

CATALOGUE = {"pigeon": (), "raven": ("format", "email", "priority", "test_mode")}


def campaign(
    folder: Path, message: str, *, provider: str = "", html: bool = True
) -> Path:
    """Write a campaign file whose message has these lines."""
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "templates" / "a").write_text("x")
    (folder / "list.csv").write_text("email\n")
    file = folder / "c.toml"
    file.write_text(
        'name = "c"\n[recipients]\nsource = "list.csv"\n'
        f'[provider]\nname = "raven"\n{provider}\n'
        '[message]\nfrom = "a@a.example"\nsubject = "a"\n'
        + ('html = "a"\n' if html else "")
        + message,
        encoding="utf-8",
    )
    return file


def loaded(folder: Path, message: str, *, html: bool = True) -> Campaign:
    """Load a good file."""
    return load(campaign(folder, message, html=html), catalogue=CATALOGUE)


def problems(file: Path) -> list[str]:
    """Load a file that must be refused."""
    with pytest.raises(CampaignError) as caught:
        load(file, catalogue=CATALOGUE)
    return [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]


MAILBOX = 'write one "Name <address@domain>" or "address@domain"'
DURATION = 'write a duration: "1h 30m", "90m", "2d" or "PT1H30M"'
MOMENT = 'write a day, "2026-12-20", or a time, "2026-12-20T18:30"'
BELOW = 'write the path of a file below the folder, without ".."'
NEEDED = 'summary = "S"\nstart = 2026-12-01T10:00:00Z\nduration = "1h"\n'


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ('reply_to = "x"', f'[message] reply_to = "x": {MAILBOX}'),
        ('cc = "x"', f'[message] cc, item 1 = "x": {MAILBOX}'),
        ('bcc = ["a@a.example", ""]', f'[message] bcc, item 2 = "": {MAILBOX}'),
        ("cc = 3", '[message] cc = 3: must be a list: ["…", "…"]'),
        (
            "text = true",
            "[message] text = true: write a template's path, or false: no text part",
        ),
        ('markdown = "a"', "[message] has html and markdown: keep one of them"),
        ('track_opens = "no"', '[message] track_opens = "no": must be true or false'),
        (
            '[message.headers]\nX-A = "a\\nb{"',
            '[message.headers] X-A = "a\\nb{": must be one line without control codes',
        ),
        (
            '[message.metadata]\nRun = "x"',
            ("[message.metadata] Run: the engine fills this one in itself; choose "
            "another name"),
        ),
        (
            '[message.metadata]\n"a b" = "x"',
            ('[message.metadata] "a b": write a letter, then letters, digits, _ . and '
            "-, at most 100"),
        ),
        (
            '[message.metadata]\na = "x"\nA = "y"',
            "[message] metadata: a and A are the same name; keep one of them",
        ),
        (
            "[[message.attachments]]",
            "[[message.attachments]] item 1, path is missing: a file below the folder",
        ),
        (
            '[[message.attachments]]\npath = "/etc/passwd"',
            f'[[message.attachments]] item 1, path = "/etc/passwd": {BELOW}',
        ),
        (
            '[[message.attachments]]\npath = "a/../b"',
            f'[[message.attachments]] item 1, path = "a/../b": {BELOW}',
        ),
        (
            '[[message.attachments]]\npath = "a"\nfolder = "../a"',
            '[[message.attachments]] item 1, folder = "../a": write it without ".."',
        ),
        (
            '[[message.attachments]]\npath = "a"\nname = "a/b"',
            ('[[message.attachments]] item 1, name = "a/b": write the name of a file, '
            "without a folder"),
        ),
        (
            '[[message.attachments]]\npath = "a"\ntype = "pdf"',
            ('[[message.attachments]] item 1, type = "pdf": write a type like '
            '"application/pdf"'),
        ),
        (
            '[[message.attachments]]\npath = "a"\ninline = "a b"',
            ('[[message.attachments]] item 1, inline = "a b": write a name like '
            '"logo", as the HTML has it in src="cid:logo"'),
        ),
        (
            ('[[message.attachments]]\npath = "a"\ninline = "a"\n'
            '[[message.attachments]]\npath = "b"\ninline = "a"'),
            '[message.attachments]: inline = "a" is there twice',
        ),
        (
            '[message.calendar]\nstart = "2026-12-01"',
            "[message.calendar] summary is missing: what it is",
        ),
        (
            '[message.calendar]\nsummary = "S"\nstart = "soon"',
            f'[message.calendar] start = "soon": {MOMENT}',
        ),
        (
            f'[message.calendar]\n{NEEDED}end = "2026-12-02"',
            ('[message.calendar] duration = "1h": there is an end, too; keep one of '
            "them"),
        ),
        (
            '[message.calendar]\nsummary = "S"\nstart = 2026-12-01T10:00:00Z',
            '[message.calendar] has no end: write end = "…" or duration',
        ),
        (
            ('[message.calendar]\nsummary = "S"\nstart = 2026-12-01T10:00\n'
            'duration = "1h"'),
            ("[message.calendar] has times without a zone: write timezone = "
            '"Europe/Lisbon"'),
        ),
        (
            '[message.calendar]\nsummary = "S"\nstart = 2026-12-01\nduration = "0m"',
            f'[message.calendar] duration = "0m": {DURATION}',
        ),
        (
            f'[message.calendar]\n{NEEDED}timezone = "Mars"',
            ('[message.calendar] timezone = "Mars": write a time zone by its name: '
            '"Europe/Lisbon"'),
        ),
        (
            f'[message.calendar]\n{NEEDED}method = "ADD"',
            ('[message.calendar] method = "ADD": write "REQUEST", "PUBLISH" or '
            '"CANCEL"'),
        ),
        (
            f"[message.calendar]\n{NEEDED}sequence = -1",
            "[message.calendar] sequence = -1: write a whole number, 0 or more",
        ),
        (
            f"[message.calendar]\n{NEEDED}alarm_minutes = true",
            ("[message.calendar] alarm_minutes = true: must be text, in quotation "
            "marks"),
        ),
        (
            f'[message.calendar]\n{NEEDED}url = "ftp://x"',
            '[message.calendar] url = "ftp://x": write "https://…"',
        ),
        (
            f'[message.calendar]\n{NEEDED}organizer = "us"',
            f'[message.calendar] organizer = "us": {MAILBOX}',
        ),
    ],
)  # fmt: skip
def test_bad_value_is_told_in_one_exact_sentence(
    tmp_path: Path, message: str, told: str
) -> None:
    """Where, what stands there, what to write."""
    if "has times without" in told:
        message = message.replace("T10:00\n", "T10:00:00\n")
    assert [told] == problems(campaign(tmp_path, f"{message}\n"))


@pytest.mark.parametrize("html", ["", "text = false\n"])
def test_message_needs_a_body(tmp_path: Path, html: str) -> None:
    """No text is made from nothing."""
    assert [
        '[message] has no body: write html = "…", markdown = "…" or text = "…"'
    ] == problems(campaign(tmp_path, html, html=False))


def test_inline_templates_are_taken_where_they_may_be(tmp_path: Path) -> None:
    """Whatever a row will make of them; as they stand in the file."""
    message = loaded(
        tmp_path,
        'reply_to = "{{ x }}"\ncc = "{% if x %}{{ x }}{% endif %}"\nbcc = ["{{ x }}"]\n'
        '[message.headers]\nX-A = "{{ x }}"\n[message.metadata]\na = "{{ x }}"\n'
        '[[message.attachments]]\npath = "../{{ x }}"\nname = "{{ x }}/"\n'
        '[message.calendar]\nsummary = "{{ x }}"\nstart = "{{ x }}"\nend = "{{ x }}"\n'
        'timezone = "{{ x }}"\nlocation = "{{ x }}"\ndescription = "{{ x }}"\n'
        'organizer = "{{ x }}"\nurl = "{{ x }}"\nuid = "{{ x }}"\nmethod = "{{ x }}"\n'
        'sequence = "{{ x }}"\nalarm_minutes = "{{ x }}"\n',
    ).message
    assert ("{% if x %}{{ x }}{% endif %}",) == message.cc
    assert "../{{ x }}" == message.attachments[0].path
    assert message.calendar is not None
    assert "{{ x }}" == message.calendar.sequence


def test_constants_of_toml_are_taken_as_they_look(tmp_path: Path) -> None:
    """Dates, times and numbers need no quotation marks."""
    calendar = loaded(
        tmp_path,
        f"[message.calendar]\n{NEEDED}sequence = 2\nalarm_minutes = 15\n",
    ).message.calendar
    assert calendar is not None
    assert "2026-12-01T10:00:00+00:00" == calendar.start
    assert ("2", "15") == (calendar.sequence, calendar.alarm_minutes)


def test_good_campaign_survives_the_way_through_a_manifest(tmp_path: Path) -> None:
    """A run that is taken up has the same one; so has one with another address."""
    first = loaded(
        tmp_path,
        f'text = false\ncc = "a@a.example"\n[message.calendar]\n{NEEDED}'
        '[[message.attachments]]\npath = "a"\ninline = "a"\n',
    )
    stored = first.model_dump(mode="json", by_alias=True)
    assert first == Campaign.model_validate(stored, strict=False).bound_to(first.file)
    moved = rebased(first, "https://x.example")
    assert first.message == moved.message


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        ('format = "mime"', '[provider] format = "mime": write "raw" or "json"'),
        (
            'priority = "low"',
            '[provider] priority = "low": write "standard", "priority" or "digest"',
        ),
        ('test_mode = "yes"', '[provider] test_mode = "yes": must be true or false'),
        ("markdown = true", "[provider] markdown = true: raven does not take this key"),
        (
            "markdown = false",
            "[provider] markdown = false: raven does not take this key",
        ),
    ],
)
def test_settings_are_the_providers(tmp_path: Path, provider: str, told: str) -> None:
    """Each is taken where its catalogue lists it, with the values that there are."""
    assert [told] == problems(campaign(tmp_path, "", provider=provider))
    good = (
        'format = "raw"\nemail = "a@a.example"\npriority = "digest"\ntest_mode = true'
    )
    file = campaign(tmp_path, "", provider=good)
    assert load(file, catalogue=CATALOGUE).provider.test_mode is True


def test_schema_knows_every_form(tmp_path: Path) -> None:
    """An editor accepts what is accepted here."""
    tables = schema()["$defs"]
    message = tables["Message"]["properties"]
    kinds = {"string", "array"}
    assert kinds == {kind["type"] for kind in message["cc"]["anyOf"]}
    assert {"const": False} in message["text"]["anyOf"]
    start = tables["Calendar"]["properties"]["start"]
    assert "date-time" in {kind.get("format") for kind in start["anyOf"]}
    sequence = tables["Calendar"]["properties"]["sequence"]
    assert {"integer", "string"} == {kind["type"] for kind in sequence["anyOf"]}
