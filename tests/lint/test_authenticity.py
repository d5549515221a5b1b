"""Claims about what receivers will believe of a sender: rules L30 and L31."""

from dataclasses import replace

import pytest

from engine.lint import Finding, Severity
from engine.lint.authenticity import Published, Verified, look, parents

GOOD = Published(
    domain="mail.harbour.org",
    receives=True,
    spf=("google-site=1", "v=spf1 include:spf.pigeon.org -all"),
    dmarc=("v=DMARC1; p=none; rua=mailto:d@harbour.org",),
    dmarc_at="harbour.org",
    dkim={"s1": ("v=DKIM1; k=rsa; p=MIIB",)},
)


def told(published: Published, verified: Verified | None = None) -> list[Finding]:
    """Return what is found."""
    return list(look(published, verified))


def test_l31_is_quiet_where_all_is_published() -> None:
    """SPF, DKIM and DMARC are there, at the domain or above it."""
    assert [] == told(GOOD, Verified(("harbour.org",), complete=True))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"spf": ()}, "mail.harbour.org has no SPF record"),
        (
            {"spf": ("v=spf1 -all", "V=SPF1 mx")},
            "mail.harbour.org has 2 SPF records: none counts",
        ),
        ({"spf": ("v=spf10 -all",)}, "mail.harbour.org has no SPF record"),
        (
            {"spf": ("v=spf1 +all",)},
            "the SPF record of mail.harbour.org lets anybody send",
        ),
        (
            {"spf": (f"v=spf1 {'include:a.org ' * 11}-all",)},
            "the SPF record of mail.harbour.org takes 11 look-ups; 10 are allowed",
        ),
        ({"dmarc": ()}, "mail.harbour.org has no DMARC record"),
        (
            {"dmarc": ("v=DMARC1; p=none", "v=DMARC1; p=reject")},
            "_dmarc.harbour.org has 2 records: none counts",
        ),
        (
            {"dmarc": ("v=DMARC1; sp=reject",)},
            "the DMARC record of harbour.org names no policy: p=none",
        ),
        ({"dkim": {"s1": ()}}, "s1._domainkey.mail.harbour.org has no DKIM key"),
        (
            {"dkim": {"s1": ("v=DKIM1; p=",)}},
            "the DKIM key at s1._domainkey.mail.harbour.org has been withdrawn",
        ),
        (
            {"receives": False},
            "mail.harbour.org takes no mail: answers and bounces are lost",
        ),
        (
            {"spf": None, "unreachable": {"mail.harbour.org": "timed out"}},
            "mail.harbour.org could not be looked up: timed out",
        ),
    ],
)
def test_l31_what_is_missing_or_wrong_is_a_warning(
    changes: dict[str, object], text: str
) -> None:
    """Rule L31 names the record; what could not be asked is not called missing."""
    (found,) = told(replace(GOOD, **changes))  # type: ignore[arg-type]
    assert ("L31", text, Severity.WARNING) == (found.id, found.text, found.severity)


def test_l30_a_domain_that_the_provider_does_not_know_is_an_error() -> None:
    """Rule L30: it would refuse every message; records that miss are a warning."""
    (found,) = told(GOOD, Verified(("other.org",)))
    assert ("L30", Severity.ERROR) == (found.id, found.severity)
    assert (
        found.text == "mail.harbour.org is not among the provider's domains: other.org"
    )
    (found,) = told(GOOD, Verified(("harbour.org",), complete=False))
    assert ("L30", Severity.WARNING) == (found.id, found.severity)


def test_policies_are_looked_for_up_to_two_labels() -> None:
    """Nobody's policy is that of all of org."""
    assert ["a.b.harbour.org", "b.harbour.org", "harbour.org"] == parents(
        "a.b.harbour.org"
    )
    assert ["localhost"] == parents("localhost")
