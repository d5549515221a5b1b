"""Messages as bytes: what a reader of mail finds in them is what was put in."""

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from engine.message import Attachment, Envelope, Extras, Messages
from engine.mime import Skeleton
from engine.mime.bodies import bodies
from engine.mime.body import body
from engine.mime.file import Files
from engine.mime.mailbox import ascii_domain, parse
from engine.texts import Texts, inside, insides

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
INVITATION = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n"
    "SUMMARY:Lançamento\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)


def envelope(**changes: Any) -> Envelope:
    """Make an envelope, or one with changes."""
    fields: dict[str, Any] = {
        "campaign": "welcome",
        "run": "r1",
        "date": NOW,
        "kind": "transactional",
        "sender": "Harbour Books <hello@harbour.example>",
        "html": True,
        "text": True,
    }
    return Envelope(**(fields | changes))


def messages(**changes: Any) -> Messages:
    """Make one message, or one with changes."""
    fields: dict[str, Any] = {
        "address": "ann@a.example",
        "name": "Ann",
        "message_id": "our-0",
        "subject": "Hello",
        "html": "<p>Hello</p>\n",
        "text": "Hello\n",
        "extras": None,
    }
    one = fields | changes
    return Messages(
        rows=[0],
        addresses=[one["address"]],
        names=[one["name"]],
        message_ids=[one["message_id"]],
        subjects=[one["subject"]],
        htmls=None if one["html"] is None else [one["html"]],
        texts=None if one["text"] is None else [one["text"]],
        extras=None if one["extras"] is None else [one["extras"]],
    )


def wire(shared: Extras | None = None, sender: str | None = None, **row: Any) -> bytes:
    """Encode one message, and check what holds of every one."""
    given_fields: dict[str, Any] = {} if sender is None else {"sender": sender}
    run = envelope(extras=shared or Extras(), **given_fields)
    (whole,) = Skeleton(run).encode(messages(**row))
    made = whole.encode("ascii")
    assert b"\n" not in made.replace(b"\r\n", b"")
    assert b"\r" not in made.replace(b"\r\n", b"")
    assert b"\0" not in made
    lines = made.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(line.startswith(b".") for line in lines)
    return made


def read(made: bytes) -> EmailMessage:
    """Read a message as Python's own mail programs do, and find nothing wrong."""
    found = BytesParser(policy=policy.default).parsebytes(made)
    assert isinstance(found, EmailMessage)
    for part in found.walk():
        assert part.defects == []
        assert [h for h in part.values() if getattr(h, "defects", ())] == []
    return found


def lines_of(text: str) -> str:
    """Write text as a reader sees it: every kind of line end is one, the last too."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else f"{text}\n"


# ---- the whole, against the standard library ---------------------------------------

#: Valid Unicode: what UTF-8 can write.
CHARACTERS = st.characters(exclude_categories=["Cs"])
AWKWARD = st.sampled_from(
    [
        *("\r", "\n", "\r\n", ".", "..", "\n.", "\n.\n", " \n", "\t\n", " ", "=", "=_"),
        *("--=_mixed\n", "--=_alternative--", "=3D", "=\n", "é", "№", "🐟", "\u2028"),
        *("\0", "\x0b", "\x7f", "From ", "a" * 75, "b" * 76, "c" * 1000, "é" * 80),
    ]
)
BODIES = st.lists(AWKWARD | st.text(CHARACTERS, max_size=30), max_size=12).map("".join)
#: No control characters, and none that are not whole without others.
SHOWN = st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Cn"])
WORDS = st.sampled_from(
    [
        *("=?utf-8?q?a?=", "=?", "  ", " ", ",", '"', "\\", "<a@b.c>", "word"),
        *(
            "é" * 40,
            "🐟" * 20,
            "x" * 80,
            "y" * 990,
            "z" * 1100,
            "?=",
            "a.b",
            "(c)",
            ";",
            ":",
        ),
    ]
)
SUBJECTS = st.lists(WORDS | st.text(SHOWN, max_size=12), max_size=8).map("".join)
#: Readers trim names and make one space of several, unless they are encoded.
NAMES = SUBJECTS.map(lambda name: name.strip(" ")[:200].strip(" "))
ATOMS = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
DOMAINS = st.sampled_from(["a.example", "straße.example", "例え.jp", "x" * 60 + ".com"])
ADDRESSES = st.builds("{}@{}".format, ATOMS, DOMAINS)
FILES = st.builds(
    lambda name, kind, content, cid: Attachment(
        name, kind, base64.b64encode(content).decode(), cid
    ),
    st.text(SHOWN, min_size=1, max_size=60).map(lambda name: f"f{name}.pdf"),
    st.sampled_from(["application/pdf", "image/png", "text/plain; charset=utf-8"]),
    st.binary(max_size=200),
    st.none() | st.from_regex(r"[a-z0-9.@-]{1,20}", fullmatch=True),
)
CALENDARS = st.none() | st.just(INVITATION)


def expected(html: str, text: str, extras: Extras) -> EmailMessage:
    """Build the same with `EmailMessage`, the way its documents show."""
    whole = EmailMessage()
    whole.set_content(text)
    whole.add_alternative(html, subtype="html")
    (_, shown) = whole.iter_parts()
    if extras.calendar is not None:
        whole.add_alternative(
            extras.calendar, subtype="calendar", params={"method": "REQUEST"}
        )
    for file in extras.attachments:
        if file.content_id is not None:
            cid = f"<{file.content_id}>"
            add_file(shown.add_related, file, cid=cid, disposition="inline")
    for file in extras.attachments:
        if file.content_id is None:
            add_file(whole.add_attachment, file)
    if extras.calendar is not None:
        content = extras.calendar.encode()
        whole.add_attachment(
            content, maintype="application", subtype="ics", filename="invite.ics"
        )
    return whole


def add_file(add: Callable[..., None], file: Attachment, **more: str) -> None:
    """Add an attachment to what `EmailMessage` builds."""
    main, _, sub = file.content_type.partition(";")[0].partition("/")
    content = base64.b64decode(file.content)
    add(content, maintype=main, subtype=sub, filename=file.name, **more)


def outline(message: EmailMessage) -> list[tuple[object, ...]]:
    """Say of each part what a reader goes by, and what is in it."""
    return [
        (
            part.get_content_type(),
            part.get_content_disposition(),
            part.get_filename(),
            part["Content-ID"],
            part.get_param("method"),
            None if part.is_multipart() else content_of(part),
        )
        for part in message.walk()
    ]


def content_of(part: EmailMessage) -> object:
    """Return the text of a body, the bytes of an attachment."""
    content = part.get_payload(decode=True)
    if part.get_filename() is not None:
        return content
    assert isinstance(content, bytes)
    return lines_of(content.decode())


@settings(max_examples=30, deadline=None)
@given(BODIES, BODIES, st.lists(FILES, max_size=3), CALENDARS)
@example("", "", [], None)
@example("a" * 76 + ".\n" + "." * 200, " \n.\n", [], None)
def test_a_message_reads_like_one_of_the_standard_library(
    html: str, text: str, files: list[Attachment], calendar: str | None
) -> None:
    """Structure, types, names, ids and contents are those that EmailMessage gives."""
    extras = Extras(attachments=tuple(files), calendar=calendar)
    found = outline(read(wire(extras, html=html, text=text)))
    assert outline(expected(html, text, extras)) == found


def close(name: str) -> str:
    """Write a name without its spaces."""
    return name.replace(" ", "")


def test_a_percent_sign_is_one() -> None:
    """What all messages share is text, too, not a form."""
    found = read(wire(Extras(headers={"X-A": "%b"}), sender="100 % <%b@h%sh.example>"))
    assert (found["From"], found["X-A"]) == ("100 % <%b@h%sh.example>", "%b")


@pytest.mark.parametrize(
    "subject",
    [
        "word " * 40 + "end",
        "a" * 60 + "      " + "b" * 60,
        "a" * 67 + "  " + "b" * 74 + "   c",
        "é" * 100,
        "Olá, mundo! " * 20,
    ],
)
def test_a_long_subject_is_folded(subject: str) -> None:
    """No line is blank, ends in a space, or is longer than need be.

    Source:
        RFC 5322 section 2.2.3; RFC 2047 section 2 for the 75 of an encoded word.
    """
    made = wire(subject=subject)
    assert subject == read(made)["Subject"]
    (field,) = re.findall(rb"Subject: [^\r]*(?:\r\n [^\r]*)*", made)
    for line in field.split(b"\r\n"):
        assert line.rstrip() == line
        assert 1 < len(line) <= 76
    assert all(len(word) <= 75 for word in re.findall(rb"=\?.*?\?=(?=\s|$)", field))


@pytest.mark.parametrize("name", ["Zoë  von und zu " * 9, "例え" * 60, "a" * 90])
def test_long_names_are_encoded_word_by_word(name: str) -> None:
    """A reader that follows RFC 2047 finds each character, each space of a name."""
    (line,) = re.findall(rb"\r\nTo: (.*?)\s+<ann", wire(name=name), re.DOTALL)
    assert name.strip() == str(make_header(decode_header(line.decode())))


@settings(max_examples=50, deadline=None)
@given(SUBJECTS, NAMES, ADDRESSES, NAMES)
@example("", "", "ann@a.example", "")
@example(" a  b ", "a  b", "ann@a.example", 'Harbour, "Books" \\')
def test_headers_read_as_they_were_written(
    subject: str, name: str, address: str, sender: str
) -> None:
    """Subject and display names come back to the letter, domains as A-labels.

    But for the spaces of names: Python's parser adds one between encoded words, and
    makes one of several within (RFC 2047 section 6.2 has it otherwise).
    """
    quoted = sender.replace("\\", "\\\\").replace('"', '\\"')
    run = f'"{quoted}" <hello@harbour.example>' if sender else "hello@harbour.example"
    made = wire(sender=run, subject=subject, name=name, address=address)
    found = read(made)
    assert subject == found["Subject"]
    if words := re.search(rb"Subject: (=\?utf-8\?[^\r]*)", made):
        assert all(word.endswith(b"?=") for word in words[1].split())  # RFC 2047
    (to,) = found["To"].addresses
    assert (close(name), ascii_domain(address)) == (
        close(to.display_name),
        to.addr_spec,
    )
    (by,) = found["From"].addresses
    assert (close(sender), "hello@harbour.example") == (
        close(by.display_name),
        by.addr_spec,
    )


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"X-[A-Za-z0-9-]{1,60}", fullmatch=True), SUBJECTS)
)
def test_further_headers_read_as_they_were_written(headers: dict[str, str]) -> None:
    """The value of each is the same to the letter."""
    assume(len({name.lower() for name in headers}) == len(headers))
    found = read(wire(Extras(headers=headers)))
    assert headers == {name: found[name] for name in headers}


@settings(max_examples=40, deadline=None)
@given(SUBJECTS, st.lists(st.tuples(NAMES, ADDRESSES), min_size=1, max_size=4))
def test_lines_are_as_short_as_they_can_be(
    subject: str, boxes: list[tuple[str, str]]
) -> None:
    """Only a word that cannot be broken makes a line of a header longer than 78."""
    cc = tuple(f'"{n}" <{a}>' for n, a in boxes if not set(n) & {'"', "\\"})
    head = wire(Extras(cc=cc), subject=subject).partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        assert line.strip()
        assert len(line) <= 78 or b" " not in line.strip().partition(b": ")[2]


# ---- header by header --------------------------------------------------------------


def test_the_header_of_a_message() -> None:
    """Each field of the shared and of the message's own is there once, as written."""
    extras = Extras(
        reply_to="Help <help@harbour.example>",
        cc=("cy@c.example", '"Doe, Dee" <dee@d.example>'),
        bcc=("secret@b.example",),
        headers={"List-Unsubscribe": "<https://harbour.example/u?1>", "X-Nº"[:3]: "a"},
    )
    head = wire(extras).partition(b"\r\n\r\n")[0].decode()
    assert head.split("\r\n") == [
        "From: Harbour Books <hello@harbour.example>",
        "To: Ann <ann@a.example>",
        "Cc: cy@c.example,",
        ' "Doe, Dee" <dee@d.example>',
        "Reply-To: Help <help@harbour.example>",
        "Subject: Hello",
        "Date: Fri, 20 Nov 2026 10:00:00 +0000",
        "Message-ID: <our-0@harbour.example>",
        "List-Unsubscribe: <https://harbour.example/u?1>",
        "X-N: a",
        'Content-Type: multipart/alternative; boundary="=_alternative"',
        "MIME-Version: 1.0",
    ]


def test_nobody_in_bcc_is_named() -> None:
    """Neither the address nor the field is in the message."""
    made = wire(Extras(bcc=("secret@b.example",))).lower()
    assert b"secret" not in made
    assert b"bcc" not in made


def test_a_row_has_its_own_extras() -> None:
    """What a message brings along takes the place of what all share."""
    shared = Extras(reply_to="help@harbour.example", headers={"X-All": "1"})
    own = Extras(cc=("cy@c.example",), headers={"X-Own": "2"})
    found = read(wire(shared, extras=own))
    assert (found["Cc"], found["X-Own"]) == ("cy@c.example", "2")
    assert (found["Reply-To"], found["X-All"]) == (None, None)


def test_every_row_of_a_batch_is_its_own() -> None:
    """Messages with and without attachments, in one call, keep their own parts."""
    file = Attachment("a.txt", "text/plain", "YQ==")
    rows = Messages(
        rows=[0, 1],
        addresses=["ann@a.example", "bob@b.example"],
        names=["", ""],
        message_ids=["our-0", "our-1"],
        subjects=["100 % sure", "%b %s"],
        htmls=["<p>%b</p>", "<p>1</p>"],
        texts=None,
        extras=[Extras(attachments=(file,)), Extras()],
    )
    made = Skeleton(envelope(text=False)).encode(rows)
    first, second = (read(whole.encode()) for whole in made)
    assert (first["To"], first["Subject"]) == ("ann@a.example", "100 % sure")
    assert (second["To"], second["Subject"]) == ("bob@b.example", "%b %s")
    assert [part.get_filename() for part in first.iter_attachments()] == ["a.txt"]
    assert second.get_content_type() == "text/html"
    assert second.get_content() == "<p>1</p>\r\n"


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\0", "\x85", "\u2028", "\x7f"])
@pytest.mark.parametrize(
    "place",
    [
        lambda bad: {"subject": bad},
        lambda bad: {"name": bad},
        lambda bad: {"address": f"a{bad}b@c.example"},
        lambda bad: {"message_id": bad},
        lambda bad: {"extras": Extras(headers={"X-A": bad})},
        lambda bad: {"extras": Extras(headers={bad: "a"})},
        lambda bad: {"extras": Extras(reply_to=f"{bad} <a@b.example>")},
        lambda bad: {"extras": Extras(cc=(f"a@b.example{bad}",))},
        lambda bad: {"extras": Extras(attachments=(Attachment(bad, "a/b", ""),))},
        lambda bad: {"extras": Extras(attachments=(Attachment("a", f"a/b{bad}", ""),))},
        lambda bad: {"extras": Extras(attachments=(Attachment("a", "a/b", "", bad),))},
    ],
)
def test_nothing_gets_into_a_header_that_ends_it(
    place: Callable[[str], dict[str, Any]], break_: str
) -> None:
    """A control character anywhere in a header is refused, not sent."""
    with pytest.raises(ValueError, match=r"control character|address|cannot be"):
        wire(**place(f"a{break_}Bcc: eve@evil.example"))


@pytest.mark.parametrize(
    "address",
    ["a@b.example, c@d.example", "a@b.example>", "a b@c.example", "a", "a@b@c"],
)
def test_an_address_is_one_address(address: str) -> None:
    """What would make two of one, or end the field, is refused."""
    with pytest.raises(ValueError, match="is not an address"):
        wire(address=address)


@pytest.mark.parametrize("name", ["Bcc", "SUBJECT", "From", "Content-Type", "X:Y", ""])
def test_a_header_of_ours_is_not_written_twice(name: str) -> None:
    """A further field cannot take the name of one that the message has or must not."""
    with pytest.raises(ValueError, match="cannot be the name"):
        wire(Extras(headers={name: "a"}))


def test_a_local_part_beyond_ascii_is_written_in_utf_8() -> None:
    """RFC 6532: the caller decides whether such a message may leave."""
    (made,) = Skeleton(envelope()).encode(messages(address="zoë@münchen.example"))
    assert "To: Ann <zoë@xn--mnchen-3ya.example>\r\n" in made


@pytest.mark.parametrize(
    ("domain", "ascii_"),
    [
        ("Straße.example", "xn--strae-oqa.example"),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example"),
        ("☃.example", "xn--n3h.example"),
        ("a.Example", "a.Example"),
        ("é" * 80 + ".example", "é" * 80 + ".example"),
    ],
)
def test_domains_beyond_ascii_are_written_in_it(domain: str, ascii_: str) -> None:
    """IDNA 2008 first, 2003 for what it excludes; what has no form stays as it is."""
    assert f"ann@{ascii_}" == ascii_domain(f"ann@{domain}")


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("a@b.example", "", "a@b.example"),
        (" A B  <a@b.example> ", "A B", "a@b.example"),
        ('"A, \\"B\\" \\\\" <a@b.example>', 'A, "B" \\', "a@b.example"),
        ("<a@b.example>", "", "a@b.example"),
    ],
)
def test_a_mailbox_is_taken_apart(text: str, name: str, address: str) -> None:
    """With a name, with a quoted one, and without."""
    assert (name, address) == parse(text)


# ---- bodies ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\n", b"7bit"),
        ("a" * 998, b"7bit"),
        ("a" * 999, b"quoted-printable"),
        (".", b"quoted-printable"),
        ("a\n--=_mixed\n", b"quoted-printable"),
        ("bell\a", b"quoted-printable"),
        ("Olá, tudo bem?", b"quoted-printable"),
        ("Привет, мир", b"base64"),
    ],
)
def test_a_text_is_encoded_as_little_as_it_can_be(text: str, encoding: bytes) -> None:
    """Plain text stays readable; what would not survive is encoded."""
    assert encoding == body(text).encoding


@given(BODIES)
@example("." * 300)
@example("x" * 75 + "." * 80)
def test_lines_of_an_encoded_text_are_76_long_at_most(text: str) -> None:
    """RFC 2045: a longer line is not quoted-printable or base64."""
    part = body(text)
    lines = json.loads(b'"%b"' % part.content).split("\r\n")
    if part.encoding != b"7bit":
        assert max(map(len, lines)) <= 76
    assert not any(line.startswith((".", "--=_")) for line in lines)


_WRITTEN = st.text(
    st.sampled_from(["\n", "\n", ".", " ", "=", "\r", "\\", "n", "r", "a", "é", "✓"]),
    max_size=9,
) | st.sampled_from(["\n.\n", "--=_", " \n", "x" * 80, "é" * 40, "y" * 1000, "\r\n"])


@st.composite
def columns(draw: st.DrawFn) -> Texts:
    """Draw texts that share some of what they say."""
    rows = draw(st.integers(1, 4))
    each = st.lists(_WRITTEN, min_size=rows, max_size=rows)
    drawn = draw(st.lists(_WRITTEN | each, min_size=1, max_size=7))
    return Texts(rows, [inside(p) if isinstance(p, str) else insides(p) for p in drawn])


@settings(max_examples=300)
@given(texts=columns())
@example(texts=Texts(2, [b"Dear ", [b"Ann", b""], b",\\n.\\nx\\n", [b"", b"\\n"]]))
@example(texts=Texts(1, [b"a\\n", [b"b\\r"], b"\\nc"]))
@example(texts=Texts(1, [b"C:\\\\n", [b"C:\\\\n"]]))
def test_texts_that_share_most_are_encoded_as_each_alone(texts: Texts) -> None:
    """Whatever they share, and wherever the lines of it end."""
    assert [*map(body, texts)] == bodies(texts)


def test_no_messages_are_none() -> None:
    """Of a chunk in which nothing can be sent nothing is left."""
    nothing = Messages([], [], [], [], [], None, Texts(0, [b"Hello", []]))
    assert not Skeleton(envelope()).encode(nothing)


def test_a_message_has_a_body() -> None:
    """Neither HTML nor text is a mistake of the caller."""
    with pytest.raises(ValueError, match="neither"):
        wire(html=None, text=None)


def test_one_body_needs_no_parts() -> None:
    """Text alone, or HTML alone, is the message itself."""
    assert read(wire(html=None)).get_content_type() == "text/plain"
    assert read(wire(text=None)).get_content_type() == "text/html"


# ---- attachments and invitations ---------------------------------------------------


def test_without_html_nothing_is_shown_in_it() -> None:
    """An attachment for the HTML of a message that has none lies beside the text."""
    file = Attachment("logo.png", "image/png", "YQ==", "logo")
    found = read(wire(Extras(attachments=(file,)), html=None))
    (part,) = found.iter_attachments()
    assert ("attachment", None) == (part.get_content_disposition(), part["Content-ID"])


@pytest.mark.parametrize(
    "kind", ["message/rfc822", "multipart/mixed", "pdf", "é/a", ""]
)
def test_a_type_that_cannot_be_is_any_bytes(kind: str) -> None:
    """Composite types may not be encoded, and what is no type says nothing."""
    found = read(wire(Extras(attachments=(Attachment("a", kind, "YQ=="),))))
    (part,) = found.iter_attachments()
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_content() == b"a"


def test_an_invitation_is_offered_and_attached() -> None:
    """Readers take the part with a method; others find the file."""
    found = read(wire(Extras(calendar=INVITATION)))
    kinds = [(p.get_content_type(), p.get_param("method")) for p in found.walk()]
    assert kinds == [
        ("multipart/mixed", None),
        ("multipart/alternative", None),
        ("text/plain", None),
        ("text/html", None),
        ("text/calendar", "REQUEST"),
        ("application/ics", None),
    ]
    (file,) = found.iter_attachments()
    assert (file.get_filename(), file.get_content()) == (
        "invite.ics",
        INVITATION.encode(),
    )


def test_a_file_is_encoded_once_for_all_rows() -> None:
    """The same attachment on many rows is cut into lines once, others are dropped."""
    files = Files()
    big = [Attachment(f"{n}", "a/b", "YWFh" * 1_500_000) for n in range(3)]
    first = files.encoded(big[0], shown=False)
    assert files.encoded(big[0], shown=False) is first
    files.encoded(big[1], shown=False)
    files.encoded(big[2], shown=False)
    assert files.encoded(big[0], shown=False) is not first
    assert files.encoded(big[0], shown=False) == first


def test_the_same_messages_have_the_same_bytes() -> None:
    """Another skeleton makes no difference: there is no chance in it."""
    file = Attachment("é.pdf", "application/pdf", "YQ==")
    extras = Extras(attachments=(file,), calendar=INVITATION)
    assert wire(extras) == wire(extras)
    assert not re.search(rb"=_\w*\d", wire(extras))
