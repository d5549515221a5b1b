"""Claims about `engine.campaign`: what a campaign file may say, and what is said of it.

The sentences are stated whole: they are what a user reads.
"""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from engine.campaign import Campaign, is_loopback, load, rebased, schema
from engine.errors import CampaignError
from engine.message import HEADER_UNSAFE

GOOD = """\
name = "spring"
kind = "marketing"

[recipients]
source = "list.csv"
address = "mail"

[message]
from = "Harbour Books <hello@harbour.example>"
subject = "spring/subject.txt.j2"
text = "spring/body.txt.j2"

[provider]
name = "pigeon"
token = { env = "PIGEON_KEY" }

[limits]
workers = 4
"""
CATALOGUE = {"pigeon": (), "raven": ("username", "domain")}
NAME_WANTED = "letters, digits, - and _, at most 100, the first a letter or digit"
NAME_WRONG = f"write {NAME_WANTED}"
MAILBOX_WANTED = 'write one "Name <address@domain>" or "address@domain"'
QUOTE_IT = """; quote a name with , ; : or @: '"Name, more" <address@domain>'"""
NO_SECRET_HERE = (
    '[provider.token]: a secret does not belong here: write { env = "NAME" } '
    'or { file = "path" }'
)
RESERVED = "the engine decides on this header itself; leave it out"
PLAIN_HTTP = "plain http reaches only this machine: write https://"
SECRET = "sk_live_51HZx"

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a campaign file with its list and templates beside it."""
    for name in ("spring/subject.txt.j2", "spring/body.txt.j2"):
        (tmp_path / "templates" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "templates" / name).write_text("Hello", encoding="utf-8")
    (tmp_path / "list.csv").write_text("mail\na@a.example\n", encoding="utf-8")

    def write_file(text: str = GOOD) -> Path:
        file = tmp_path / "spring.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write_file


def changed(old: str, new: str) -> str:
    """Return the good file with one piece replaced."""
    assert 1 == GOOD.count(old), old
    return GOOD.replace(old, new)


def below(section: str, line: str) -> str:
    """Return the good file with a line more in a section, or with the section."""
    head = f"[{section}]\n"
    return (
        GOOD.replace(head, f"{head}{line}\n") if head in GOOD else f"{GOOD}{head}{line}"
    )


def problems(file: Path, **arguments: Any) -> list[str]:
    """Load a file that must be refused; return the problems, free of the folder."""
    arguments.setdefault("catalogue", CATALOGUE)
    with pytest.raises(CampaignError) as caught:
        load(file, **arguments)
    return [p.replace(f"{file.parent}/", "") for p in caught.value.problems]


def test_good_file_gives_its_values(write: Write) -> None:
    """What the file says is what the campaign says, with defaults for the rest."""
    campaign = load(write(), catalogue=CATALOGUE)
    assert "spring" == campaign.name
    assert "mail" == campaign.recipients.address
    assert "Harbour Books <hello@harbour.example>" == campaign.message.sender
    assert "PIGEON_KEY" == campaign.provider.token.env  # type: ignore[union-attr]
    assert 4 == campaign.limits.workers
    assert campaign.limits.messages_per_second is None
    parts = {"subject": "spring/subject.txt.j2", "text": "spring/body.txt.j2"}
    assert parts == campaign.message.parts


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (changed('"spring"\n', '"my sale"\n'), f'name = "my sale": {NAME_WRONG}'),
        (changed('"spring"\n', '"-x"\n'), f'name = "-x": {NAME_WRONG}'),
        (changed('"spring"\n', '"a\\u0000"\n'), rf'name = "a\u0000": {NAME_WRONG}'),
        (changed('"spring"\n', "7\n"), "name = 7: must be text, in quotation marks"),
        (changed('name = "spring"', ""), f"name is missing: {NAME_WANTED}"),
        (
            changed('"marketing"', '"newsletter"'),
            'kind = "newsletter": write "marketing" or "transactional"',
        ),
        (changed("kind", "kimd"), 'kimd: there is no such key; did you mean "kind"?'),
        (
            below("colours", "a = 1"),
            (
                "colours: there is no such key; "
                "keys: name, kind, recipients, message, provider, audience, holdout, "
                "variants, limits, unsubscribe, start_by, expect, stop, canary, lint"
            ),
        ),
        (
            changed('source = "list.csv"', ""),
            "[recipients] source is missing: the list, a path, glob or folder",
        ),
        (
            changed("list.csv", "lists/*.csv"),
            '[recipients] source = "lists/*.csv": there is no such list',
        ),
        (changed('"list.csv"', '""'), '[recipients] source = "": must not be empty'),
        (
            changed('"list.csv"', '["list.csv"]'),
            '[recipients] source = ["list.csv"]: must be text, in quotation marks',
        ),
        (
            changed("address", "adress"),
            '[recipients] adress: there is no such key; did you mean "address"?',
        ),
        (
            below("recipients.types", 'joined = "dates"'),
            ('[recipients.types] joined = "dates": write "text", "integer", "number", '
            '"boolean", "date" or "datetime"'),
        ),
        (
            below("recipients", "types = 3"),
            "[recipients] types: must be a section of its own",
        ),
        (
            changed("from = ", "# "),
            '[message] from is missing: "Name <address@domain>"',
        ),
        (
            changed("Harbour Books <hello@harbour.example>", "hello"),
            f'[message] from = "hello": {MAILBOX_WANTED}',
        ),
        (
            changed("Harbour Books <", "Books, Harbour <"),
            (f'[message] from = "Books, Harbour <hello@harbour.example>": '
            f"{MAILBOX_WANTED}{QUOTE_IT}"),
        ),
        (
            changed("Harbour Books", "Harbour\\r\\nBcc: x@x.example"),
            (r'[message] from = "Harbour\r\nBcc: x@x.example <hello@harbour.example>": '
            "must be one line without control codes"),
        ),
        (
            below("message", 'reply_to = "a@a.example, b@b.example"'),
            f'[message] reply_to = "a@a.example, b@b.example": {MAILBOX_WANTED}',
        ),
        (
            changed("spring/subject.txt.j2", "Spring time"),
            '[message] subject = "Spring time": there is no such template in templates',
        ),
        (
            changed("spring/subject.txt.j2", "/etc/passwd"),
            ('[message] subject = "/etc/passwd": '
            "write the path of a file below templates"),
        ),
        (
            changed("spring/subject.txt.j2", "../list.csv"),
            ('[message] subject = "../list.csv": '
            "write the path of a file below templates"),
        ),
        (
            changed("spring/subject.txt.j2", "Hello " * 60),
            (f'[message] subject = "{"Hello " * 60}": '
            "there is no such template in templates"),
        ),
        (
            changed('text = "spring/body.txt.j2"', ""),
            '[message] has no body: write html = "…", markdown = "…" or text = "…"',
        ),
        (
            below("message", 'html = "b.j2"'),
            '[message] html = "b.j2": there is no such template in templates',
        ),
        (
            below("message", 'tags = "a"'),
            '[message] tags = "a": must be a list: ["…", "…"]',
        ),
        (
            below("message", 'tags = ["a", "b\\n"]'),
            r'[message] tags, item 2 = "b\n": must be one line without control codes',
        ),
        (
            below("message", "headers = 3"),
            "[message] headers: must be a section of its own",
        ),
        (
            below("message.headers", "X-A = 3"),
            "[message.headers] X-A = 3: must be text, in quotation marks",
        ),
        (
            below("message.headers", 'X-A = "a\\r\\nBcc: x@x.example"'),
            (r'[message.headers] X-A = "a\r\nBcc: x@x.example": '
            "must be one line without control codes"),
        ),
        (
            below("message.headers", '"X-A\\nBcc" = "x"'),
            (r'[message.headers] "X-A\nBcc": is not a header name: '
            "write ASCII without spaces and colons"),
        ),
        (
            below("message.headers", 'X-a = "1"\nx-A = "2"'),
            "[message] headers: X-a and x-A are the same header; keep one of them",
        ),
        (
            changed('"pigeon"', '"pidgeon"'),
            '[provider] name = "pidgeon": no such provider; known: pigeon, raven',
        ),
        (
            below("provider", 'username = "x"'),
            '[provider] username = "x": pigeon does not take this key',
        ),
        (
            below("provider", "base_url = 3"),
            "[provider] base_url = 3: must be text, in quotation marks",
        ),
        (changed("= 4", '= "4"'), '[limits] workers = "4": must be a whole number'),
        (changed("= 4", "= 4.5"), "[limits] workers = 4.5: must be a whole number"),
        (changed("= 4", "= true"), "[limits] workers = true: must be a whole number"),
        (changed("= 4", "= 0"), "[limits] workers = 0: must be at least 1"),
        (changed("= 4", "= 5000"), "[limits] workers = 5000: must be at most 1000"),
        (
            below("limits", "messages_per_second = 0"),
            "[limits] messages_per_second = 0: must be above 0",
        ),
        (
            below("limits", 'messages_per_second = "500"'),
            '[limits] messages_per_second = "500": must be a number',
        ),
        (
            below("limits", "requests_per_second = true"),
            "[limits] requests_per_second = true: must be a number",
        ),
        (
            below("limits", "requests_per_second = nan"),
            "[limits] requests_per_second = NaN: must be a finite number",
        ),
        (
            below("limits", "message_per_second = 5"),
            ("[limits] message_per_second: there is no such key; "
            'did you mean "messages_per_second"?'),
        ),
    ],
)  # fmt: skip
def test_bad_value_is_told_in_one_exact_sentence(
    write: Write, text: str, wanted: str
) -> None:
    """One wrong thing gives one problem: where, what stands there, what to write."""
    assert [f"spring.toml: {wanted}"] == problems(write(text))


def test_every_problem_is_told_at_once(write: Write) -> None:
    """Types, unknown keys, missing keys, files and overrides come in one refusal."""
    text = """\
        kimd = "marketing"
        limits = 3
        [recipients]
        source = "nowhere.csv"
        [message]
        from = "hello"
        subject = "none.j2"
        [message.headers]
        Bcc = "x@x.example"
        "To" = "x@x.example"
        [provider]
        name = "pigeon"
        base_url = "http://api.example"
        username = "u"
        """
    in_file = [
        f"name is missing: {NAME_WANTED}",
        f'[message] from = "hello": {MAILBOX_WANTED}',
        '[message] has no body: write html = "…", markdown = "…" or text = "…"',
        f"[message.headers] Bcc: {RESERVED}",
        f"[message.headers] To: {RESERVED}",
        f'[provider] base_url = "http://api.example": {PLAIN_HTTP}',
        '[provider] username = "u": pigeon does not take this key',
        "[limits]: must be a section of its own",
        'kimd: there is no such key; did you mean "kind"?',
        '[message] subject = "none.j2": there is no such template in templates',
        '[recipients] source = "nowhere.csv": there is no such list',
    ]
    wanted = [
        "--set workers: write key.path=value, as in limits.workers=16",
        *(f"spring.toml: {problem}" for problem in in_file),
    ]
    assert wanted == problems(write(text), overrides=["workers"])


def test_empty_file_names_what_is_needed(write: Write) -> None:
    """Whoever starts from nothing reads what to write first."""
    wanted = [
        f"spring.toml: name is missing: {NAME_WANTED}",
        (
            "spring.toml: [message] is missing: "
            "a section with from, subject, and html, markdown or text"
        ),
        "spring.toml: [provider] is missing: a section with name and token",
        "spring.toml: [recipients] source is missing: the list, a path, glob or folder",
    ]
    assert wanted == problems(write(""))


@pytest.mark.parametrize(
    "section", ["recipients", "message", "provider", "limits", "message.headers"]
)
@pytest.mark.parametrize("value", ["3", f'"{SECRET}"', "[1]", "2026-01-01"])
def test_value_in_place_of_a_section_is_told(
    write: Write, section: str, value: str
) -> None:
    """A section that is none is named, without what stands there."""
    pieces = (p for p in GOOD.split("\n\n") if f"[{section}]" not in p)
    file = write("\n\n".join(pieces))
    told = problems(file, overrides=[f"{section}={value}"])
    place = f"[{section}]" if "." not in section else "[message] headers"
    assert f"spring.toml: {place}: must be a section of its own" in told
    assert SECRET not in "".join(told)


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"name = \n", "is not TOML: Invalid value (at line 1, column 8)"),
        (b"[a]\n[a]\n", "is not TOML: Cannot declare ('a',) twice (at line 2, c"),
        (b'name = "Gr\xfc\xdfe"', "is not UTF-8; save it as UTF-8"),
        (b"a = " + b"9" * 5000, "is not TOML: Exceeds the limit"),
        (b"a = " + b"[" * 5000, "is not TOML: maximum recursion depth exceeded"),
    ],
)  # fmt: skip
def test_file_that_is_no_toml_is_refused(
    write: Write, content: bytes, wanted: str
) -> None:
    """Syntax is told with its line, encoding with its cure."""
    file = write()
    file.write_bytes(content)
    (told,) = problems(file)
    assert told.startswith(f"spring.toml: {wanted}")


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A missing file and a folder in place of one are told apart."""
    assert ["x.toml: there is no such campaign file"] == problems(tmp_path / "x.toml")
    (tmp_path / "y.toml").mkdir()
    assert ["y.toml: cannot be read: Is a directory"] == problems(tmp_path / "y.toml")


def test_byte_order_mark_is_no_error(write: Write) -> None:
    """A file saved by an editor that marks UTF-8 loads as any other."""
    assert "spring" == load(write("\ufeff" + GOOD)).name


# -- secrets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (changed('{ env = "PIGEON_KEY" }', f'"{SECRET}"'), NO_SECRET_HERE),
        (
            changed('{ env = "PIGEON_KEY" }', f'["{SECRET}"]'),
            '[provider.token]: write { env = "NAME" } or { file = "path" }',
        ),
        (
            changed("env", "value").replace("PIGEON_KEY", SECRET),
            "[provider.token] value: there is no such key; keys: env, file",
        ),
        (
            changed("PIGEON_KEY", f"{SECRET}-x"),
            (
                "[provider.token] env: is not the name of an environment variable; "
                "a secret does not belong here"
            ),
        ),
        (
            changed('env = "PIGEON_KEY"', f'env = ["{SECRET}"]'),
            "[provider.token] env: must be text, in quotation marks",
        ),
        (
            changed("PIGEON_KEY", f'A", file = "{SECRET}'),
            '[provider.token]: write { env = "NAME" } or { file = "path" }',
        ),
        (
            below("provider", f'tokn = "{SECRET}"'),
            '[provider] tokn: there is no such key; did you mean "token"?',
        ),
        (
            below("provider", f'api_key = "{SECRET}"'),
            (
                "[provider] api_key: there is no such key; keys: name, token, "
                "base_url, username, account_id, domain, stream_type, email, format, "
                "priority, test_mode, markdown"
            ),
        ),
        (
            below("provider", f'base_url = "https://u:{SECRET}@api.example"'),
            "[provider] base_url: write it without credentials, query and fragment",
        ),
        (
            below("provider", f'base_url = "https://api.example/?key={SECRET}"'),
            "[provider] base_url: write it without credentials, query and fragment",
        ),
        (
            below("provider", f'base_url = "u:{SECRET}@api.example"'),
            "[provider] base_url: write it without credentials, query and fragment",
        ),
    ],
)
def test_secret_in_the_file_is_refused_and_never_shown(
    write: Write, text: str, wanted: str
) -> None:
    """No way of writing the secret itself passes, and no refusal repeats it."""
    with pytest.raises(CampaignError) as caught:
        load(write(text), catalogue=CATALOGUE)
    assert (f"{write(text)}: {wanted}",) == caught.value.problems
    error: BaseException | None = caught.value
    while error is not None:  # nor does a traceback, which shows causes as well
        assert SECRET not in f"{error!s}{error!r}"
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "override", [f"provider.token={SECRET}", f'provider.token="{SECRET}"']
)
def test_secret_on_the_command_line_is_refused(write: Write, override: str) -> None:
    """What --set lays over the file is held to the same rule."""
    assert [f"spring.toml: {NO_SECRET_HERE}"] == problems(write(), overrides=[override])


def test_misplaced_override_does_not_show_its_value(write: Write) -> None:
    """An override that cannot be laid over the file is told by its key alone."""
    told = problems(write(), overrides=[f"name.x={SECRET}", f"a..b={SECRET}"])
    assert [
        "--set name.x: name is a value, not a section",
        "--set a..b: write key.path=value, as in limits.workers=16",
    ] == told


# -- overrides ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "section", "key", "wanted"),
    [
        ("limits.workers=16", "limits", "workers", 16),
        ("limits.workers = 16 # more", "limits", "workers", 16),
        ("limits.messages_per_second=2.5", "limits", "messages_per_second", 2.5),
        ("limits.messages_per_second=500", "limits", "messages_per_second", 500),
        ("limits={workers = 3}", "limits", "workers", 3),
        ('message.tags=["a", "b"]', "message", "tags", ("a", "b")),
        ("recipients.address=e-mail", "recipients", "address", "e-mail"),
        ('recipients.address="e-mail"', "recipients", "address", "e-mail"),
        ("recipients.key=a=b", "recipients", "key", "a=b"),
        ("message.reply_to=A <a@a.example>", "message", "reply_to", "A <a@a.example>"),
        ("message.headers.X-A=a, b", "message", "headers", {"X-A": "a, b"}),
        ("recipients.types.My age=text", "recipients", "types", {"My age": "text"}),
        ("provider.token.env=NEW", "provider", "token", {"env": "NEW", "file": None}),
    ],
)  # fmt: skip
def test_override_wins_over_the_file(
    write: Write, override: str, section: str, key: str, wanted: object
) -> None:
    """A value is TOML where it is TOML, else plain text; missing sections are made."""
    campaign = load(write(), overrides=[override])
    assert wanted == campaign.model_dump()[section][key]


def test_later_override_wins(write: Write) -> None:
    """Overrides are laid on in the order in which they are given."""
    overrides = ["limits.workers=5", "limits.workers=6"]
    assert 6 == load(write(), overrides=overrides).limits.workers


def test_override_cannot_smuggle_a_second_key(write: Write) -> None:
    """A line end in a value does not begin another key; the whole is the value."""
    told = problems(write(), overrides=['name=1\nkind = "x"'])
    assert [rf'spring.toml: name = "1\nkind = \"x\"": {NAME_WRONG}'] == told


def test_override_of_the_wrong_type_is_told_as_in_the_file(write: Write) -> None:
    """An override is checked like what it replaces."""
    told = problems(write(), overrides=["limits.workers=many"])
    assert ['spring.toml: [limits] workers = "many": must be a whole number'] == told


# -- where templates and lists are ----------------------------------------------------


def house(root: Path, *, templates: str) -> Path:
    """Lay out `campaigns/spring.toml` with its list, and templates where told."""
    for part in ("subject", "body"):
        path = root / templates / f"spring/{part}.txt.j2"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("Hello", encoding="utf-8")
    file = root / "campaigns/spring.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(GOOD, encoding="utf-8")
    (file.parent / "list.csv").write_text("mail\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("templates", ["templates", "campaigns/templates"])
@pytest.mark.parametrize(
    ("start", "path"),
    [
        (".", "campaigns/spring.toml"),
        (".", "./campaigns/../campaigns/spring.toml"),
        ("campaigns", "spring.toml"),
        ("campaigns", "../campaigns/spring.toml"),
        ("campaigns/deep/deeper", "../../spring.toml"),
        ("campaigns/deep", "../spring.toml"),
    ],
)
def test_templates_are_found_from_anywhere(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    templates: str,
    start: str,
    path: str,
) -> None:
    """They are beside the file, else beside its folder, however the file is named."""
    absolute = house(tmp_path, templates=templates)
    (tmp_path / start).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / start)
    for file in (Path(path), absolute):
        campaign = load(file)
        assert tmp_path / templates == campaign.templates.resolve()
        assert (tmp_path / templates).parent == campaign.home.resolve()
        assert tmp_path / "campaigns/list.csv" == Path(campaign.list()).resolve()


def test_templates_beside_the_file_come_first(tmp_path: Path) -> None:
    """Where both places have a folder of templates, the nearer one is meant."""
    house(tmp_path, templates="templates")
    file = house(tmp_path, templates="campaigns/templates")
    assert tmp_path / "campaigns/templates" == load(file).templates


@pytest.mark.parametrize("source", ["list.csv", "*.csv", "**/*.csv", ".", "{absolute}"])
def test_list_is_a_path_a_glob_or_a_folder(write: Write, source: str) -> None:
    """Each is looked for beside the campaign file, or where an absolute path says."""
    file = write()
    source = source.format(absolute=file.parent / "l*.csv")
    campaign = load(file, overrides=[f'recipients.source="{source}"'])
    assert str(file.parent / source) == campaign.list()


@pytest.mark.parametrize("source", ["list.tsv", "\0/*.csv", "x" * 300, "[", "/nowhere"])
def test_list_that_is_not_there_is_told(write: Write, source: str) -> None:
    """Whatever stands there, the answer is a problem and never a crash."""
    told = problems(write(changed("list.csv", source.replace("\0", "\\u0000"))))
    assert told[-1].startswith("spring.toml: [recipients] source = ")
    assert told[-1].endswith(": there is no such list")


def test_list_may_be_left_to_the_caller(write: Write) -> None:
    """Who brings a list needs none in the file; asking for the file's is a mistake."""
    campaign = load(write(changed('source = "list.csv"', "")), needs_list=False)
    with pytest.raises(ValueError, match="names no list"):
        campaign.list()


# -- headers and mailboxes ------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Bcc", "CC", "content-transfer-encoding", "Content-Type", "Date", "FROM",
        "Message-ID", "MIME-Version", "Reply-To", "Resent-Bcc", "resent-to", "Sender",
        "Subject", "to",
    ],
)  # fmt: skip
def test_reserved_header_is_refused_in_any_case(write: Write, name: str) -> None:
    """Nobody can change the recipients or what the engine writes by a header."""
    wanted = f"spring.toml: [message.headers] {name}: {RESERVED}"
    assert [wanted] == problems(write(below("message.headers", f'{name} = "x"')))


@pytest.mark.parametrize(
    "mailbox",
    [
        "a@a.example",
        "<a@a.example>",
        "A <a@a.example>",
        "Dr. A. (Books) O'Hara <a.b+c@a.example>",
        "Grüße 書店 <a@bücher.example>",
        '"Books, Harbour" <a@a.example>',
        r'"Say \"hi\"" <a@a.example>',
    ],
)
def test_mailbox_is_one_address_with_or_without_a_name(
    write: Write, mailbox: str
) -> None:
    """The usual ways of writing a mailbox are taken as they are."""
    toml = mailbox.replace("\\", "\\\\").replace('"', '\\"')
    text = changed("Harbour Books <hello@harbour.example>", toml)
    assert mailbox == load(write(text)).message.sender


@pytest.mark.parametrize(
    "mailbox",
    [
        "a", "a@b", "a@b..example", "a@.example", "@a.example", "a b@a.example",
        "A a@a.example", "A <a@a.example", "a@a.example>", "A <<a@a.example>>",
        "a@a.example, b@b.example", "A <a@a.example>, B <b@b.example>",
        "A <a@a.example> <b@b.example>", "a@a.example x", "A <a@a.example>;",
        "group: a@a.example;", '"A <a@a.example>', "a@a.example\nBcc: b@b.example",
    ],
)  # fmt: skip
def test_anything_but_one_mailbox_is_refused(write: Write, mailbox: str) -> None:
    """A second address, a stray bracket or a line end never becomes a sender."""
    toml = mailbox.replace('"', '\\"').replace("\n", "\\n")
    (told,) = problems(write(changed("Harbour Books <hello@harbour.example>", toml)))
    assert told.startswith("spring.toml: [message] from = ")


@given(st.data())
def test_no_control_code_reaches_a_header(data: st.DataObject) -> None:
    """Whatever is written where a header comes of it is clean, or is refused."""
    spoilt = st.text(
        st.sampled_from('ab@. <>"-_,:\r\n\0\t\x1f\x7f\x85\u2028é'), max_size=12
    )
    base: dict[str, Any] = {
        "name": "spring",
        "message": {"from": "a@a.example", "subject": "s", "text": "t"},
        "provider": {"name": "pigeon"},
    }
    message, provider = base["message"], base["provider"]
    for table, key in data.draw(
        st.lists(
            st.sampled_from(
                [
                    (base, "name"),
                    (message, "from"),
                    (message, "reply_to"),
                    (provider, "username"),
                    (provider, "account_id"),
                    (provider, "base_url"),
                ]
            ),
            min_size=1,
        )
    ):
        table[key] = data.draw(
            st.one_of(
                spoilt,
                st.builds("{}a@a.example{}".format, spoilt, spoilt),
                st.builds("https://a.example/{}".format, spoilt),
            )
        )
    message["headers"] = data.draw(st.dictionaries(spoilt, spoilt, max_size=2))
    message["tags"] = data.draw(st.lists(spoilt, max_size=2))
    try:
        campaign = Campaign.model_validate(base)
    except ValueError:
        return
    said = campaign.message
    texts = [
        campaign.name,
        said.sender,
        said.reply_to or "",
        *said.tags,
        *said.headers,
        *said.headers.values(),
        campaign.provider.username or "",
        campaign.provider.account_id or "",
        campaign.provider.base_url or "",
    ]
    assert [] == [text for text in texts if HEADER_UNSAFE.search(text)]


# -- the address of the API -----------------------------------------------------------

GOOD_URLS = [
    ("https://api.example", "https://api.example"),
    ("https://api.example:8443/v1/", "https://api.example:8443/v1"),
    ("HTTPS://API.example/v1", "HTTPS://API.example/v1"),
    ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/v1"),
    ("https://bücher.example", "https://bücher.example"),
    ("http://127.0.0.1:8025/", "http://127.0.0.1:8025"),
    ("http://127.9.9.9", "http://127.9.9.9"),
    ("http://localhost:8025", "http://localhost:8025"),
    ("http://[::1]:8025", "http://[::1]:8025"),
]
BAD_URLS = [
    "", "https://", "https:///v1", "api.example", "//api.example", "ftp://api.example",
    "file:///etc/passwd", "https://api.example:99999", "https://api.example:x",
    "https://api.example:0", "https://[::1", "https://a b", "https://a\\b.example",
    " https://api.example", "https://api.example/\n", "https://api.example/\x00",
    "http://api.example", "http://localhost.example", "http://127.0.0.1.example",
    "http://0.0.0.0", "http://10.0.0.1", "http://[::]", "http://0x7f.1",
    "http://2130706433", "https://u@api.example", "https://u:p@api.example",
    "http://localhost@api.example", "http://localhost\\@api.example",
    "https://api.example?", "https://api.example?a=1", "https://api.example#a",
]  # fmt: skip


@pytest.mark.parametrize(("given_url", "kept"), GOOD_URLS)
def test_base_url_is_https_or_this_machine(
    write: Write, given_url: str, kept: str
) -> None:
    """TLS anywhere, plain HTTP to this machine, in the file and laid over it."""
    campaign = load(write(below("provider", f'base_url = "{given_url}"')))
    assert kept == campaign.provider.base_url
    assert kept == rebased(load(write()), given_url).provider.base_url


@pytest.mark.parametrize("url", BAD_URLS)
def test_any_other_base_url_is_refused(write: Write, url: str) -> None:
    """Nothing else is taken, in the file or laid over it."""
    campaign = load(write())
    toml = url.replace("\\", "\\\\").replace("\n", "\\n").replace("\0", "\\u0000")
    (told,) = problems(write(below("provider", f'base_url = "{toml}"')))
    assert told.startswith("spring.toml: [provider] base_url")
    with pytest.raises(CampaignError, match=r"^\[provider\] base_url"):
        rebased(campaign, url)


def test_rebased_campaign_differs_in_its_address_alone(write: Write) -> None:
    """Everything else stays, and so does the file that it came from."""
    campaign = load(write(below("message", 'tags = ["a"]')))
    other = rebased(campaign, "http://localhost:1")
    assert campaign.file == other.file
    assert campaign.templates == other.templates
    there = other.model_dump()
    there["provider"]["base_url"] = None
    assert campaign.model_dump() == there


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("a.localhost", False)],
)  # fmt: skip
def test_loopback_is_known_by_its_address(host: str, here: bool) -> None:  # noqa: FBT001 - a table
    """Only what cannot leave this machine counts as this machine."""
    assert here == is_loopback(host)


# -- the schema for editors -----------------------------------------------------------


TYPES = {
    "array": list, "boolean": bool, "integer": int, "null": type(None),
    "number": int | float, "object": dict, "string": str,
}  # fmt: skip
#: The keywords of JSON Schema that our schema uses, beside those that only explain.
RULES: dict[str, Callable[[Any, Any], bool]] = {
    "type": lambda value, rule: (
        isinstance(value, TYPES[rule]) and (rule == "boolean" or value is not True)
    ),
    "enum": lambda value, rule: value in rule,
    "pattern": lambda value, rule: re.search(rule, value) is not None,
    "minLength": lambda value, rule: len(value) >= rule,
    "minimum": lambda value, rule: value >= rule,
    "maximum": lambda value, rule: value <= rule,
    "exclusiveMinimum": lambda value, rule: value > rule,
    "anyOf": lambda value, rule: any(not [*mismatches(value, one)] for one in rule),
}
INNER = {"$ref", "additionalProperties", "items", "properties", "required"}
EXPLAINING = {"$defs", "$schema", "default", "description", "title"}


def mismatches(value: Any, form: Any, place: str = "") -> Iterator[str]:
    """Check a value by a JSON Schema; yield the places where it does not fit."""
    assert set() == form.keys() - RULES.keys() - INNER - EXPLAINING
    if "$ref" in form:
        named = form["$ref"].removeprefix("#/$defs/")
        yield from mismatches(value, schema()["$defs"][named], place)
    for name, rule in form.items():
        if name in RULES and not RULES[name](value, rule):
            yield place
            return
    if isinstance(value, dict):
        yield from (f"{place}.{k}" for k in form.get("required", ()) if k not in value)
        for key, item in value.items():
            rest = form.get("additionalProperties", True)
            inner = form.get("properties", {}).get(key, rest)
            if inner is False:
                yield f"{place}.{key}"
            elif inner is not True:
                yield from mismatches(item, inner, f"{place}.{key}")
    if isinstance(value, list):
        for item in value:
            yield from mismatches(item, form.get("items", {}), f"{place}[]")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        below("limits", "messages_per_second = 2.5"),
        below("message", 'tags = ["a"]\nreply_to = "a@a.example"'),
        below("recipients.types", 'joined = "date"'),
        changed('env = "PIGEON_KEY"', 'file = "key"'),
        (Path(__file__).parents[1] / "campaigns/welcome.toml").read_text(
            encoding="utf-8"
        ),
    ],
)
def test_schema_takes_what_the_engine_takes(text: str) -> None:
    """An editor does not mark a good file."""
    assert [] == list(mismatches(tomllib.loads(text), schema()))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (changed('name = "spring"', ""), ".name"),
        (changed('"spring"\n', '"a b"\n'), ".name"),
        (changed("kind", "kimd"), ".kimd"),
        (changed('"marketing"', '"x"'), ".kind"),
        (changed("from = ", "# "), ".message.from"),
        (changed('"list.csv"', '""'), ".recipients.source"),
        (below("message", 'tags = "a"'), ".message.tags"),
        (below("message", "tags = [1]"), ".message.tags[]"),
        (below("message.headers", "X-A = 1"), ".message.headers.X-A"),
        (below("recipients.types", 'a = "x"'), ".recipients.types.a"),
        (below("provider", "tokn = 1"), ".provider.tokn"),
        (changed('{ env = "PIGEON_KEY" }', '"x"'), ".provider.token"),
        (changed("= 4", "= 0"), ".limits.workers"),
        (changed("= 4", "= 1.5"), ".limits.workers"),
        (below("limits", "messages_per_second = 0"), ".limits.messages_per_second"),
    ],
)
def test_schema_marks_what_the_engine_refuses(
    write: Write, text: str, place: str
) -> None:
    """What an editor marks is what the engine would refuse."""
    assert [place] == list(mismatches(tomllib.loads(text), schema()))
    problems(write(text))


def test_schema_has_every_key_with_a_description() -> None:
    """An editor can complete and explain each key of each section."""
    found = schema()
    sections: list[tuple[type[BaseModel], dict[str, Any]]] = [(Campaign, found)]
    sections += [
        (field.annotation, found["$defs"][field.annotation.__name__])
        for field in Campaign.model_fields.values()
        if isinstance(field.annotation, type)
        and issubclass(field.annotation, BaseModel)
    ]
    assert 6 == len(sections)
    for section, form in sections:
        keys = [field.alias or name for name, field in section.model_fields.items()]
        assert keys == list(form["properties"])
        assert form["additionalProperties"] is False
        undescribed = [
            key
            for key, inner in form["properties"].items()
            if "description" not in inner and "$ref" not in inner
        ]
        assert [] == undescribed
    assert "https://json-schema.org/draft/2020-12/schema" == found["$schema"]
