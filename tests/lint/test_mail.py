"""Claims about what is found in messages: rules L20 to L29, L33 to L35."""

from dataclasses import replace

import pytest

from engine.lint import Finding, Severity, mail
from engine.lint.mail import Expected, mails, steady
from engine.lint.url import is_guessable
from engine.message import Extras, Messages

ADDRESS = "Harbour Books, 3 Quay"
#: 32 characters each, as only who has a key could make them.
TOKENS = ("Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4", "c3dpbmdpbmdvdmVydGhlbGF6eWRvZ3M0")
FOOT = (
    '<p>Harbour <b>Books</b>, 3&nbsp;Quay</p><p><a href="https://m.example/u/{token}">'
    "Unsubscribe</a></p>"
)
TEXT = "Hello\n--\nHarbour Books,\n3 Quay\nUnsubscribe: https://m.example/u/{token}\n"
EXPECTED = Expected(
    marketing=True,
    provider="Pigeon",
    carries_headers=True,
    postal_address=ADDRESS,
    is_ours=lambda url, address: False,
    max_bytes=1_000_000,
    shared=Extras(),
)
TRANSACTIONAL = replace(EXPECTED, marketing=False, postal_address=None)


def written(
    html: str | None = FOOT,
    text: str | None = TEXT,
    subject: str = "Spring has come",
    headers: dict[str, str] | None = None,
) -> Messages:
    """Return two messages, to Ann and Bob; `{token}` is each one's own."""

    def filled(text: str, place: int) -> str:
        return text.replace("{token}", TOKENS[place])

    if headers is None:
        headers = {
            "List-Unsubscribe": "<https://m.example/u/{token}>, <mailto:x@m.example>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    return Messages(
        rows=[0, 1],
        addresses=["ann@inbox.org", "bob@inbox.org"],
        names=["", ""],
        message_ids=["a", "b"],
        subjects=[filled(subject, place) for place in (0, 1)],
        htmls=None if html is None else [filled(html, place) for place in (0, 1)],
        texts=None if text is None else [filled(text, place) for place in (0, 1)],
        extras=[
            Extras(headers={name: filled(v, place) for name, v in headers.items()})
            for place in (0, 1)
        ],
    )


def look(
    messages: Messages, expected: Expected = EXPECTED, size: int = 1000
) -> list[Finding]:
    """Look at messages."""
    return mail.look(mails(messages, ["1", "2"], [size, size], Extras()), expected)


def told(found: list[Finding]) -> list[tuple[str, str]]:
    """Return rule and sentence of each finding."""
    return [(finding.id, finding.text) for finding in found]


def test_a_lawful_letter_has_no_findings() -> None:
    """Headers, a seen, signed link of one's own, and an address: nothing is found."""
    assert [] == look(written())


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "there is no List-Unsubscribe header with an address"),
        (
            {"List-Unsubscribe": "<mailto:x@m.example>"},
            "there is no List-Unsubscribe header with an address",
        ),
        (
            {"List-Unsubscribe": "<https://m.example/u/{token}>"},
            "there is no List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        ),
    ],
)
def test_l20_both_headers_must_be_there(headers: dict[str, str], text: str) -> None:
    """Rule L20 asks for what RFC 8058 does, of marketing alone."""
    found = look(written(headers=headers))
    assert [("L20", text)] == told(found)
    assert found[0].severity is Severity.ERROR
    assert [] == look(written(headers=headers), TRANSACTIONAL)


def test_l20_is_a_word_where_the_api_has_no_headers() -> None:
    """The provider's own handling stands in; link and address do not fall away."""
    expected = replace(EXPECTED, carries_headers=False)
    (found,) = look(written(headers={}), expected)
    assert (found.id, found.severity) == ("L20", Severity.WARNING)
    assert "Pigeon has no place for" in found.text
    bare = look(written(html="<p>Hi</p>", text=None, headers={}), expected)
    assert {"L20", "L24", "L25", "L29"} == {finding.id for finding in bare}


def test_l21_every_way_out_must_be_https() -> None:
    """Rule L21 holds for the header and for the bodies."""
    plain = FOOT.replace("https:", "http:")
    headers = {
        "List-Unsubscribe": "<http://m.example/u/{token}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    found = [
        text
        for rule, text in told(look(written(plain, headers=headers)))
        if rule == "L21"
    ]
    assert [
        "the link to unsubscribe in the HTML is not https",
        "the link to unsubscribe in the header is not https",
    ] == sorted(found)


def test_l22_two_recipients_may_not_get_the_same_link() -> None:
    """Rule L22: who forwards a mail must not unsubscribe somebody else."""
    html = FOOT.replace("{token}", TOKENS[0])
    found = look(written(html))
    assert [("L22", "two recipients get the same link in the HTML")] == told(found)
    headers = {
        "List-Unsubscribe": f"<https://m.example/u/{TOKENS[0]}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    found = look(written(headers=headers), TRANSACTIONAL)
    assert [("L22", "two recipients get the same link in the header")] == told(found)


@pytest.mark.parametrize(
    ("url", "other", "guessable"),
    [
        ("https://a.org/u?reader=000123", "https://a.org/u?reader=000124", True),
        ("https://a.org/u/ann@b.org/" + TOKENS[0], "https://a.org/u/x", True),
        ("https://a.org/u/ann%40b.org/" + TOKENS[0], "https://a.org/u/x", True),
        ("https://a.org/u/" + TOKENS[0], "https://a.org/u/" + TOKENS[0], True),
        ("https://a.org/u/" + TOKENS[0], "https://a.org/u/" + TOKENS[1], False),
        ("https://a.org/u?i=1&s=" + TOKENS[0], "https://a.org/u?i=2&s=x", False),
    ],
)
def test_l23_a_link_without_enough_chance_is_guessable(
    url: str, other: str, *, guessable: bool
) -> None:
    """Rule L23: an id or an address is known to others; a signature is not."""
    assert guessable is is_guessable(url, other, address="ann@b.org", key="000123")


def test_l23_our_own_links_are_known_by_their_signature() -> None:
    """Rule L23: what we signed is believed at sight; an id in a link never is."""
    short = FOOT.replace("{token}", "{id}")
    messages = written(short)
    assert messages.htmls is not None
    htmls = [messages.htmls[n].replace("{id}", f"{n}") for n in (0, 1)]
    numbered = replace(messages, htmls=htmls)
    text = "the link to unsubscribe in the HTML bears no signature"
    assert [("L23", text)] == told(look(numbered))
    expected = replace(EXPECTED, is_ours=lambda url, address: url[-2:] in {"/0", "/1"})
    assert [] == look(numbered, expected)


@pytest.mark.parametrize(
    "html",
    [
        "<p>Harbour Books, 3 Quay</p>",
        '<p>Harbour Books, 3 Quay <a href="https://m.example/u/{token}"></a></p>',
        (
            '<p>Harbour Books, 3 Quay</p><div style="display: none">'
            '<a href="https://m.example/u/{token}">Unsubscribe</a></div>'
        ),
        '<p>Harbour Books, 3 Quay <a href="mailto:x@m.example">Unsubscribe</a></p>',
    ],
    ids=["none", "empty", "hidden", "mailto"],
)
def test_l24_a_link_must_be_seen(html: str) -> None:
    """Rule L24: a link that nobody can click is none."""
    found = look(written(html))
    assert [("L24", "no link to unsubscribe can be seen in the HTML")] == told(found)
    assert [] == look(written(html), TRANSACTIONAL)


def test_l24_holds_for_the_text_part() -> None:
    """Rule L24: who reads plain text wants to leave, too."""
    text = TEXT.replace("https://m.example/u/{token}", "by phone")
    assert [("L24", "no link to unsubscribe can be seen in the text")] == told(
        look(written(text=text))
    )


@pytest.mark.parametrize(
    "words", ["Abmelden", "Se désabonner", "Darse de baja", "Отписаться", "退订"]
)
def test_l24_knows_the_way_out_in_other_languages(words: str) -> None:
    """A link is known by what it says, whatever its address."""
    assert [] == look(written(FOOT.replace("Unsubscribe", words)))


def test_l25_the_postal_address_must_be_in_each_body() -> None:
    """Rule L25: it may be cut into lines, but it must be there, and be known."""
    found = look(written(FOOT.replace("Quay", "Key")))
    assert [("L25", "the postal address is not in the HTML")] == told(found)
    expected = replace(EXPECTED, postal_address=None)
    assert [("L25", "the campaign has no postal address")] == told(
        look(written(), expected)
    )


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Re: your order", "the subject pretends to be an answer"),
        ("FWD: news", "the subject pretends to be an answer"),
        ("AW: Angebot", "the subject pretends to be an answer"),
        ("LAST CHANCE NOW", "the subject is in capitals"),
    ],
)
def test_l26_a_subject_may_not_pretend_or_shout(subject: str, text: str) -> None:
    """Rule L26 is a warning."""
    (found,) = look(written(subject=subject))
    assert (found.id, found.text, found.severity) == ("L26", text, Severity.WARNING)


@pytest.mark.parametrize(
    "subject", ["News from NASA", "EU VAT", "Regarding you", "2026"]
)
def test_l26_is_quiet_on_plain_subjects(subject: str) -> None:
    """An abbreviation does not shout, and a word does not answer."""
    assert [] == look(written(subject=subject))


def test_l28_braces_of_a_template_are_an_error() -> None:
    """Rule L28: a recipient reads "Hello {{ name }}"."""
    messages = written(f"{{{{ name }}}}{FOOT}", f"{{% if %}}{TEXT}", "{{ x }}")
    assert [
        ("L28", "braces of a template in the HTML"),
        ("L28", "braces of a template in the subject"),
        ("L28", "braces of a template in the text"),
    ] == sorted(told(look(messages)))
    assert [] == look(written("<style>@media{a{b:c}}</style>" + FOOT))


def test_l29_large_messages_and_missing_text_are_told() -> None:
    """Rule L29: Gmail clips, providers refuse, and some read text alone."""
    found = told(look(written(FOOT + "x" * 103_000, text=None), size=2_000_000))
    assert [
        ("L29", "there is no text part"),
        ("L29", "HTML of over 102,400 bytes is cut off by Gmail"),
        ("L29", "over 1,000,000 bytes: Pigeon refuses it"),
    ] == found


def test_l33_a_link_that_runs_code_is_an_error() -> None:
    """Rule L33 holds for what a row has made, too; white space hides nothing."""
    bad = '<a href="java\nscript:alert(1)">x</a><a href="tel:+44">y</a>' + FOOT
    found = look(written(bad))
    assert [("L33", "a link to javascript: in the HTML")] == told(found)


def test_l34_a_message_must_come_out_the_same() -> None:
    """Rule L34: what is sent again must be what was sent."""
    one = mails(written(), ["1", "2"], [1, 1], Extras())
    other = mails(written(subject="Spring {token}"), ["1", "2"], [1, 1], Extras())
    assert [] == steady(one, one)
    (found,) = steady(one, other)
    assert (found.id, [e.row for e in found.examples]) == ("L34", [0, 1])


def test_l35_plain_http_and_misleading_links_are_told() -> None:
    """Rule L35 is a warning: http, and a link that shows another site."""
    bad = (
        '<img src="http://a.org/x.png"><a href="http://a.org">a</a>'
        '<a href="https://evil.org/">www.bank.org</a>'
    )
    found = look(written(bad + FOOT))
    assert [
        ("L35", "a link shows another domain: evil.org"),
        ("L35", "a link without https in the HTML"),
        ("L35", "a picture without https"),
    ] == sorted(told(found))
    assert {Severity.WARNING} == {finding.severity for finding in found}


@pytest.mark.parametrize(
    "link",
    [
        '<a href="https://www.bank.org/a">bank.org</a>',
        '<a href="https://shop.bank.org/a">https://bank.org/offers</a>',
        '<a href="http://127.0.0.1:8000/">here</a>',
        '<a href="https://bank.org">Mr. Bank</a>',
    ],
)
def test_l35_is_quiet_on_honest_links(link: str) -> None:
    """The same site under a longer name is the same site."""
    assert [] == look(written(link + FOOT))
