"""Claims about what is found on a frozen list: rules L01 to L10, L13, L15, L17."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest

from engine import snapshot
from engine.lint import Finding, ListLook, Severity
from engine.lint.domain import scripts, slips
from engine.snapshot import Columns, Leaving


def look(
    folder: Path,
    addresses: Iterable[str | None],
    *,
    leaving: Leaving | None = None,
    seen: ListLook | None = None,
    key: str | None = None,
    **data: list[object],
) -> list[Finding]:
    """Freeze a list, look at it on the way, and return what was found."""
    frame = pl.DataFrame({"email": list(addresses), **data})
    seen = seen or ListLook()
    snapshot.write(
        frame.lazy(),
        folder / "recipients.parquet",
        campaign="letter",
        columns=Columns("email", None, key, list(data)),
        leaving=leaving,
        look=seen.add,
    )
    return seen.findings()


def only(found: list[Finding], rule: str) -> Finding:
    """Return the one finding of a rule."""
    (finding,) = [finding for finding in found if finding.id == rule]
    return finding


@pytest.mark.parametrize(
    ("rule", "address"),
    [
        ("L01", ""),
        ("L02", "nobody"),
        ("L02", '"ann b"@inbox.org'),
        ("L03", f"{'a' * 65}@inbox.org"),
        ("L04", "an\u200bn@inbox.org"),
        ("L05", "zoë@inbox.org"),
        ("L06", "ann@☃❄️.org"),
    ],
)
def test_l01_l02_l03_l04_l05_l06_an_address_leaves_its_row_out(
    tmp_path: Path, rule: str, address: str
) -> None:
    """Rules L01 to L06 count rows, name some, and refuse nobody else."""
    found = only(look(tmp_path, ["bob@inbox.org", address, address]), rule)
    assert found.severity is Severity.ROW
    assert found.rows == 2
    assert [example.row for example in found.examples] == [1, 2]


def test_l01_a_missing_id_is_told(tmp_path: Path) -> None:
    """Rule L01 holds for the recipient's own id, too."""
    found = look(tmp_path, ["a@inbox.org", "b@inbox.org"], key="id", id=["1", None])
    assert "own id is missing" in only(found, "L01").text


def test_a_good_list_has_no_findings(tmp_path: Path) -> None:
    """A list without faults has no findings."""
    assert [] == look(tmp_path, ["ann@inbox.org", "bob@bücher.example"])


def test_l04_an_invisible_character_in_a_field_is_a_warning(tmp_path: Path) -> None:
    """Rule L04: a direction mark or a zero-width space is told with its column."""
    names = ["Ann", "B\u202eob", "C\u200by"]
    found = only(look(tmp_path, ["a@b.org", "c@d.org", "e@f.org"], name=names), "L04")
    assert (found.severity, found.rows) == (Severity.WARNING, 2)
    assert '"name"' in found.text


def test_l04_joiners_and_line_ends_of_a_text_are_no_fault(tmp_path: Path) -> None:
    """Persian names and notes of two lines are as they should be."""
    found = look(
        tmp_path, ["a@b.org"], note=["one\ntwo"], name=["\u0645\u06cc\u200c\u062e"]
    )
    assert [] == found


def test_l04_a_line_end_that_the_subject_reads_is_told(tmp_path: Path) -> None:
    """Rule L04: such a row may fail, for a header is one line."""
    seen = ListLook(in_subject=["name"])
    found = look(tmp_path, ["a@b.org"], seen=seen, name=["Ann\nX"])
    assert "line end" in only(found, "L04").text


def test_l06_a_domain_of_two_alphabets_is_told(tmp_path: Path) -> None:
    """Rule L06: a Cyrillic a among Latin letters is somebody's trick."""
    found = only(look(tmp_path, ["ann@p\u0430ypal.com", "bob@bücher.example"]), "L06")
    assert (found.severity, found.rows) == (Severity.WARNING, 1)
    assert found.examples[0].told.startswith("xn--")


@pytest.mark.parametrize("domain", ["xn--eckwd4c7c.jp", "xn--bcher-kva.org", "a.org"])
def test_l06_one_alphabet_is_no_trick(domain: str) -> None:
    """Umlauts, kana and plain names are left alone."""
    assert scripts(domain) == set()


def test_l07_test_domains_are_left_out_of_the_real_thing(tmp_path: Path) -> None:
    """Rule L07 holds where a real provider is mailed, and only there."""
    addresses = ["ann@inbox.example", "bob@inbox.org"]
    assert [] == look(tmp_path, addresses)
    found = only(look(tmp_path, addresses, leaving=Leaving(special_use=True)), "L07")
    assert (found.severity, found.rows) == (Severity.ROW, 1)


def test_l08_addresses_of_a_role_are_told(tmp_path: Path) -> None:
    """Rule L08: postmaster is nobody who signed up; Ada Info is."""
    found = only(look(tmp_path, ["Postmaster@a.org", "ada.info@b.org"]), "L08")
    assert [example.row for example in found.examples] == [0]


def test_l09_a_slip_is_told_with_what_was_meant(tmp_path: Path) -> None:
    """Rule L09: gmial.com was to be gmail.com."""
    found = only(look(tmp_path, ["ann@gmial.com", "b@GMAIL.CON", "c@gmail.com"]), "L09")
    assert found.rows == 2
    assert str(found.examples[0]) == (
        "row 0 (ann@gmial.com): gmial.com, perhaps gmail.com"
    )


@pytest.mark.parametrize(
    "domain", ["gmail.com", "mail.com", "ymail.com", "yahoo.it", "live.nl", "web.de"]
)
def test_l09_real_services_are_no_slips(domain: str) -> None:
    """A service that is one letter from another is not corrected."""
    assert domain not in slips()


def test_l10_later_rows_of_the_same_person_are_told(tmp_path: Path) -> None:
    """Rule L10: the first row counts."""
    found = only(look(tmp_path, ["a@b.org", "c@d.org", "A@B.ORG"]), "L10")
    assert (found.severity, found.rows) == (Severity.ROW, 1)


def test_l13_an_unguarded_field_that_is_often_empty_is_told(tmp_path: Path) -> None:
    """Rule L13: "Dear ," is told before it is sent; a guarded field is not."""
    addresses = [f"a{n}@b.org" for n in range(10)]
    names = ["Ann"] * 7 + ["", "", None]
    points = [1] * 9 + [None]
    found = look(tmp_path, addresses, name=names, points=points)
    assert [
        ('"name" is empty in 30% of the rows', 3),
        ('"points" is empty in 10% of the rows', 1),
    ] == [(f.text, f.rows) for f in found]
    seen = ListLook(printed=["other"])
    assert [] == look(tmp_path, addresses, seen=seen, name=names, points=points)


def test_l15_suppressed_rows_are_counted_by_their_reason(tmp_path: Path) -> None:
    """Rule L15: who said no is left out, and it is told why."""

    def suppressed(known: pl.DataFrame) -> pl.DataFrame:
        said = {"a@b.org": "complained", "c@d.org": "unsubscribed"}
        reasons = [said.get(address) for address in known["mail"]]
        sources = [reason and "cloudmails" for reason in reasons]
        return pl.DataFrame(
            {"suppressed": reasons, "source": sources},
            schema={"suppressed": pl.String, "source": pl.String},
        )

    addresses = ["a@b.org", "c@d.org", "e@f.org"]
    found = look(tmp_path, addresses, leaving=Leaving(suppressed=suppressed))
    assert ["1 row: suppressed, complained", "1 row: suppressed, unsubscribed"] == [
        finding.text for finding in found if finding.id == "L15"
    ]
    frozen = pl.read_parquet(tmp_path / "recipients.parquet")
    assert frozen.select("status", "reason", "detail").rows()[0] == (
        "suppressed",
        "complained",
        "cloudmails",
    )


def test_a_suppressed_row_makes_no_later_one_a_duplicate(tmp_path: Path) -> None:
    """Both rows of somebody who said no are suppressed; none is a duplicate."""

    def suppressed(known: pl.DataFrame) -> pl.DataFrame:
        reasons = ["bounced" if a == "a@b.org" else None for a in known["mail"]]
        return pl.DataFrame({"suppressed": reasons, "source": reasons})

    look(
        tmp_path,
        ["a@b.org", "A@b.org", "c@d.org"],
        leaving=Leaving(suppressed=suppressed),
    )
    frozen = pl.read_parquet(tmp_path / "recipients.parquet")
    assert frozen["status"].to_list() == ["suppressed", "suppressed", None]


def test_who_is_suppressed_keeps_nobody_else_from_the_mail(tmp_path: Path) -> None:
    """The next row of the same id, at an address that nobody objects to, is mailed."""

    def suppressed(known: pl.DataFrame) -> pl.DataFrame:
        reasons = ["bounced" if a == "a@b.org" else None for a in known["mail"]]
        return pl.DataFrame({"suppressed": reasons, "source": reasons})

    leaving = Leaving(suppressed=suppressed)
    look(tmp_path, ["a@b.org", "new@b.org"], leaving=leaving, key="id", id=["1", "1"])
    frozen = pl.read_parquet(tmp_path / "recipients.parquet")
    assert frozen["status"].to_list() == ["suppressed", None]


def test_l17_one_domain_for_most_of_a_list_is_told(tmp_path: Path) -> None:
    """Rule L17: over half of a hundred and more at one domain."""
    most = [f"a{n}@big.org" for n in range(60)] + [f"b@d{n}.org" for n in range(60)]
    assert [] == look(tmp_path, most)
    found = only(look(tmp_path, [*most, "z@big.org"]), "L17")
    assert found.text == "50% of the list is at big.org"
    assert [] == look(tmp_path, ["a@big.org", "b@big.org"])


def test_the_telling_rows_are_picked(tmp_path: Path) -> None:
    """First, last, longest, emptiest and non-ASCII rows, and some by their ids."""
    count = 3000
    names = ["Ann"] * count
    names[1000], names[1500], names[2000] = "A" * 500, "", "Zoë"
    seen = ListLook()
    addresses = [f"a{n}@b.org" for n in range(count)]
    look(tmp_path, addresses, seen=seen, name=names)
    rows = seen.sample()["row"].to_list()
    assert {0, 1000, 1500, 2000, count - 1} <= set(rows)
    assert rows == sorted(set(rows))
    assert 10 <= len(rows) <= 13
    again = ListLook()
    look(tmp_path, addresses, seen=again, name=names)
    assert again.sample()["row"].to_list() == rows
