"""Which addresses may be mailed, and which two are the same."""

import re
import string
import time
import unicodedata

import polars as pl
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from engine import address

_COLUMN = pl.col("address")

_GOOD = [
    "ann@example.com",
    "a@b.co",
    "ann.lee+news@mail.example.co.uk",
    "ANN@EXAMPLE.COM",
    "o'neil@example.ie",
    "!#$%&'*+/=?^_`{|}~-@example.com",
    "1@2.example",
    "ann@xn--bcher-kva.example",
    "ann@3com.com",
    "ann@a--b.com",
    "ann@ab--c.com",
    "xn--a@example.com",
    "ann@XN--BCHER-KVA.example",
    "ann@x.xn--p1ai",
    "ann@1.2.3.4x",
    "ann@bücher.example",
    "ann@例え.テスト",
    "l" * 64 + "@example.com",
    "ann@" + "d" * 63 + ".com",
    "ann@" + "d." * 123 + "info",
]

_BAD = [
    (None, "address_missing"),
    ("", "address_missing"),
    ("a\nnn@example.com", "address_control"),
    ("ann@exa\rmple.com", "address_control"),
    ("ann\0@example.com", "address_control"),
    ("ann\t@example.com", "address_control"),
    ("ann\x7f@example.com", "address_control"),
    ("ann\x85@example.com", "address_control"),
    ("ann\u200b@example.com", "address_control"),
    ("\ufeffann@example.com", "address_control"),
    ("ann@example\u2028.com", "address_control"),
    ("ann@\u202eexample.com", "address_control"),
    ("ann@exam\u2066ple.com", "address_control"),
    ("ann@exam\u00adple.com", "address_control"),
    ("l" * 65 + "@example.com", "address_too_long"),
    ("ü" * 33 + "@example.com", "address_too_long"),
    ("anne@" + "d." * 123 + "info", "address_too_long"),
    ("x" * 300, "address_too_long"),
    ("ann", "address_syntax"),
    ("@", "address_syntax"),
    ("@example.com", "address_syntax"),
    ("ann@", "address_syntax"),
    ("ann@@example.com", "address_syntax"),
    ("ann@lee@example.com", "address_syntax"),
    (".ann@example.com", "address_syntax"),
    ("ann.@example.com", "address_syntax"),
    ("ann..lee@example.com", "address_syntax"),
    ("ann lee@example.com", "address_syntax"),
    ("ann@exa mple.com", "address_syntax"),
    ("ann@exa\u00a0mple.com", "address_syntax"),
    ("ann@exa\u3000mple.com", "address_syntax"),
    ("Ann <ann@example.com>", "address_syntax"),
    ("ann@example.com,bob@example.com", "address_syntax"),
    ("ann@example.com;bob@example.com", "address_syntax"),
    ("mailto:ann@example.com", "address_syntax"),
    ('"ann lee"@example.com', "address_quoted"),
    ('"ann"@example.com', "address_quoted"),
    ("ann@" + "ü" * 63 + ".com", "address_domain"),
    ("ann@☃.example", "address_domain"),
    ("ann@exa٪mple.com", "address_domain"),
    ("ann(work)@example.com", "address_syntax"),
    ("ann@[192.0.2.1]", "address_syntax"),
    ("ann@[IPv6:2001:db8::1]", "address_syntax"),
    ("ann@192.0.2.1", "address_syntax"),
    ("ann@example.123", "address_syntax"),
    ("ann@localhost", "address_syntax"),
    ("ann@example.com.", "address_syntax"),
    ("ann@.example.com", "address_syntax"),
    ("ann@example..com", "address_syntax"),
    ("ann@-example.com", "address_syntax"),
    ("ann@example-.com", "address_syntax"),
    ("ann@exam_ple.com", "address_syntax"),
    ("ann@example.com/", "address_syntax"),
    ("ann@example.com1", "address_syntax"),
    ("ann@bücher.x1", "address_syntax"),
    ("ann@xn--a.com", "address_domain"),
    ("ann@XN--A.com", "address_domain"),
    ("ann@mail.xn--a-ecp.ru", "address_domain"),
    ("ann@xn--.com", "address_syntax"),
    ("ann@x.xn--1", "address_domain"),
    ("ann@" + "d" * 64 + ".com", "address_syntax"),
    ("josé..x@example.com", "address_syntax"),
    ("josé@example.com", "address_not_ascii"),
    ("例え@例え.テスト", "address_not_ascii"),
]

_ENCODED = [
    ("ann@bücher.example", "ann@xn--bcher-kva.example"),
    (" ann@BÜCHER.Example ", "ann@xn--bcher-kva.example"),
    ("ann@faß.de", "ann@xn--fa-hia.de"),
    ("ann@例え.テスト", "ann@xn--r8jz45g.xn--zckzah"),
    ("José@bücher.example", "José@xn--bcher-kva.example"),
    ("ANN@Example.COM", "ANN@Example.COM"),
    ("ann@☃☃.com", "ann@☃☃.com"),
    ("ann", "ann"),
    (None, None),
]


def _problem(text: str | None) -> str | None:
    frame = pl.DataFrame({"address": [text]}, schema={"address": pl.String})
    return frame.select(address.problem(address.encoded(_COLUMN))).item()


def _normalised(*texts: str | None) -> list[str | None]:
    frame = pl.DataFrame({"address": texts}, schema={"address": pl.String})
    return frame.select(address.normalised(_COLUMN)).to_series().to_list()


def _label_holds(label: str) -> bool:
    letters = string.ascii_letters + string.digits + "-"
    return (
        0 < len(label) <= 63
        and not label.startswith("-")
        and not label.endswith("-")
        and all(c in letters or (ord(c) > 127 and not c.isspace()) for c in label)
    )


def _atom_holds(atom: str) -> bool:
    letters = string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-"
    return atom != "" and all(
        c in letters or (ord(c) > 127 and not c.isspace()) for c in atom
    )


def _oracle(text: str | None) -> str | None:  # noqa: PLR0911 - one per code
    """Judge one address with string methods alone."""
    if not text:
        return "address_missing"
    if any(unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"} for c in text):
        return "address_control"
    local, at, domain = text.partition("@")
    if len(text) > 254 or (at and len(local.encode()) > 64) or len(domain) > 253:
        return "address_too_long"
    if re.match(r'".+"@', text):
        return "address_quoted"
    labels = domain.split(".")
    if not (
        at
        and all(map(_atom_holds, local.split(".")))
        and len(labels) >= 2
        and all(map(_label_holds, labels))
        and not (labels[-1][-1] in string.digits and labels[-1][:4] != "xn--")
    ):
        return "address_syntax"
    if not local.isascii():
        return "address_not_ascii"
    return None if domain.isascii() else "address_domain"


@pytest.mark.parametrize("text", _GOOD)
def test_a_mailable_address_has_no_problem(text: str) -> None:
    """What mailing lists rightly hold is let through."""
    assert _problem(text) is None


@pytest.mark.parametrize(("text", "form"), _ENCODED)
def test_a_domain_is_written_as_its_a_label(text: str | None, form: str | None) -> None:
    """Case, capitals of the local part and what cannot be encoded stay."""
    frame = pl.DataFrame({"address": [text]}, schema={"address": pl.String})
    assert frame.select(address.encoded(_COLUMN)).item() == form


@pytest.mark.parametrize(
    ("text", "is_special"),
    [
        ("ann@example.com", True),
        ("ann@mail.example.org", True),
        ("ann@shop.test", True),
        ("ann@printer.local", True),
        ("ann@notexample.com", False),
        ("ann@example.com.au", False),
        ("ann@latest.com", False),
    ],
)
def test_names_set_aside_for_tests_are_known(text: str, *, is_special: bool) -> None:
    """No mail reaches them; names that look alike are other names."""
    frame = pl.DataFrame({"address": [text]})
    assert frame.select(address.is_special_use(_COLUMN)).item() is is_special


@pytest.mark.parametrize(("text", "code"), _BAD)
def test_a_bad_address_is_named_by_its_code(text: str | None, code: str) -> None:
    """Every kind of bad address gets the code of its kind."""
    assert code == _problem(text)


# Of characters that Python's and Rust's tables might class differently, none.
_characters = st.characters(exclude_categories=("Cs", "Cn", "Co"), max_codepoint=0xFFFF)
_part = st.one_of(
    st.text("abcZ019.-_+@ \"'[]\u00e9\u4f8b\u200b\n\x00\u00a0", max_size=12),
    st.text(_characters, max_size=8),
    st.integers(60, 70).map(lambda length: "d" * length),
)
_texts = st.one_of(
    st.builds("{}@{}.{}".format, _part, _part, _part),
    st.lists(_part, max_size=8).map(".".join).map("ann@x{}.com".format),
    st.lists(st.sampled_from("a.@-1é"), max_size=12).map("".join),
)


@given(st.lists(st.none() | _texts, min_size=1, max_size=20))
def test_the_columns_agree_with_a_plain_reading(texts: list[str | None]) -> None:
    """Whole columns are judged as one address at a time by string methods is."""
    frame = pl.DataFrame({"address": texts}, schema={"address": pl.String})
    judged = frame.select(address.problem(_COLUMN)).to_series().to_list()
    assert [_oracle(text) for text in texts] == judged


#: What we take and email-validator does not, and why. There is nothing that it takes
#: and we do not.
_REASONS = {
    # Many lists have blanks around their addresses; they are not mailed.
    "blanks": lambda text: text != text.strip(),
    # IDNA sets such names aside; the DNS has some all the same.
    "dashes": lambda text: re.search(r"[@.](?!xn)..--", text, re.IGNORECASE),
    # It is a rule of its own, which a rehearsal need not keep: `is_special_use`.
    "special use": lambda text: re.search(
        r"[@.](arpa|invalid|local|localhost|onion|test)$", text.lower()
    ),
}
_atoms = st.text(
    "ab1-_+'=/%!#\u00e9\u4f8b\u00df\u0301\u0660\u200d \".,@()[]", max_size=5
)
_domains = st.lists(
    st.one_of(
        st.text("ab1-_\u00fc\u4f8b\u00df\u3002\uff41\u200d\u05d0", max_size=5),
        st.sampled_from(
            ["xn--bcher-kva", "xn--a", "xn--", "ab--c", "com", "de", "test"]
        ),
        st.text("ab1-", max_size=4).map("xn--{}".format),
    ),
    max_size=4,
).map(".".join)


@given(st.builds("{}@{}".format, _atoms, _domains))
def test_email_validator_agrees_but_for_reasons(text: str) -> None:
    """What it refuses we refuse, and what it takes we take, or it is said why not."""
    try:
        validate_email(text, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        assert _problem(text) or any(why(text) for why in _REASONS.values())
    else:
        assert _problem(text) is None


@given(st.lists(st.none() | _texts, min_size=1, max_size=20))
def test_nobody_is_mailed_in_two_forms(texts: list[str | None]) -> None:
    """What is good is ASCII once encoded; encoding it again changes nothing."""
    frame = pl.DataFrame({"address": texts}, schema={"address": pl.String})
    once = frame.select(address.encoded(_COLUMN))
    twice = once.select(address.encoded(_COLUMN))
    assert once.equals(twice)
    good = once.filter(address.problem(_COLUMN).is_null())["address"]
    assert all(text.isascii() and text.count("@") == 1 for text in good)


def test_the_lower_case_is_composed() -> None:
    """J with caron has no composed capital, but its small letter has."""
    small = "\u01f0@x.de"
    assert [small, small] == _normalised("J\u030c@x.de", small)


def test_every_code_has_one_sentence() -> None:
    """Each code of the table is explained in one sentence, and no other is."""
    assert {code for _, code in _BAD} | {"address_special_use"} == set(
        address.SENTENCES
    )
    for explained in address.SENTENCES.values():
        assert explained.endswith(".")
        assert explained.count(". ") == 0


def test_duplicates_meet_in_one_form() -> None:
    """Case, outer blanks and composition of letters do not make a new recipient."""
    expected = ["ann@example.com", "ann@example.com", "zo\u00eb@x.de", None]
    forms = _normalised(" Ann@Example.COM\t", "ann@example.com", "ZOE\u0308@x.de", None)
    assert expected == forms


@given(st.text(_characters, max_size=20))
def test_normalising_twice_changes_nothing(text: str) -> None:
    """The normal form of a normal form is itself, however the text was composed."""
    (form,) = _normalised(text)
    composed, decomposed = _normalised(
        unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    )
    assert [form] == _normalised(form)
    assert form == composed
    assert form == decomposed


@pytest.mark.slow
def test_a_million_addresses_take_less_than_a_second_of_processor_time() -> None:
    """The check does not show beside the reading of the list."""
    number = pl.int_range(1_000_000, eager=True).cast(pl.String)
    frame = pl.select(address=pl.lit("ann.lee+") + number + "@example.co.uk")
    start = time.process_time()
    bad = frame.select(address.problem(_COLUMN).is_not_null().sum()).item()
    seconds = time.process_time() - start
    assert bad == 0
    assert seconds < 1
