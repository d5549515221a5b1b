"""Whether receivers will believe who sends: SPF, DKIM, DMARC, and the provider's word.

Pure: whoever calls has asked the domain name system and, where it can tell, the
provider. DMARC passes if SPF or DKIM passes for a domain that is aligned with that of
the From field. What a provider does with the envelope is its own affair, so of SPF only
what the domain itself publishes is judged, unless the provider has told its own domain.

Source:
    RFC 7208 (SPF), 6376 (DKIM), 7489 (DMARC), 7505 (null MX); Google's and Yahoo's
    rules for bulk senders of 2024, Microsoft's of 2025.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.lint.rule import Finding, Severity

_TAGS: Final = re.compile(r"(?:^|;)\s*([a-z]+)\s*=\s*([^;]*)", re.IGNORECASE)
#: SPF mechanisms that cost a look-up, RFC 7208 4.6.4; ten are allowed.
_LOOK_UPS: Final = re.compile(
    r"^[+?~-]?(?:include:|a\b|mx\b|ptr\b|exists:)|^redirect=", re.IGNORECASE
)
_MOST_LOOK_UPS: Final = 10


@dataclass(frozen=True, slots=True)
class Verified:
    """What the provider says of the domain.

    Attributes:
        domains: those that may be sent from, as far as it was told.
        complete: whether the provider has found everything that it needs in the DNS.
        selector: of the DKIM key; empty if it did not say.
    """

    domains: tuple[str, ...]
    complete: bool | None = None
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the domain name system says; None: it could not be asked.

    Attributes:
        domain: of the From field.
        receives: whether the domain takes mail.
        spf: TXT records of the domain.
        dmarc: TXT records of `_dmarc.` the domain, or of one above it.
        dmarc_at: the domain whose they are.
        dkim: TXT records of each selector that was named.
        unreachable: names that could not be asked after, and why.
    """

    domain: str
    receives: bool | None
    spf: tuple[str, ...] | None
    dmarc: tuple[str, ...] | None
    dmarc_at: str
    dkim: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all could be looked up."""
        told = (self.receives, self.spf, self.dmarc, *self.dkim.values())
        return all(one is None for one in told)


def parents(domain: str) -> list[str]:
    """Return a domain and those above it, down to two labels, the longest first.

    Where to look for a policy: RFC 7489 6.6.3 asks at the domain and at the
    organisation's, which is somewhere above; the new DMARC walks up the same way.
    """
    labels = domain.split(".")
    return [".".join(labels[place:]) for place in range(max(1, len(labels) - 1))]


def look(published: Published, verified: Verified | None) -> Iterator[Finding]:
    """Judge what is published, and what the provider says."""
    for name, why in published.unreachable.items():
        told = f"{name} could not be looked up: {why}"
        remedy = "try again, or ask another name server: --resolver ADDRESS"
        yield Finding.of("L31", told, remedy=remedy)
    if verified is not None:
        yield from _allowed(published.domain, verified)
    if published.receives is False:
        told = f"{published.domain} takes no mail: answers and bounces are lost"
        yield Finding.of("L31", told)
    if published.spf is not None:
        yield from _spf(published.domain, published.spf)
    if published.dmarc is not None:
        yield from _dmarc(published)
    yield from _dkim(published)


def _allowed(domain: str, verified: Verified) -> Iterator[Finding]:
    if not any(is_below(domain, known) for known in verified.domains):
        known = ", ".join(verified.domains) or "none"
        yield Finding.of(
            "L30", f"{domain} is not among the provider's domains: {known}"
        )
    elif verified.complete is False:
        told = f"the provider has not found all records of {domain}"
        yield Finding.of("L30", told, severity=Severity.WARNING)


def _spf(domain: str, texts: tuple[str, ...]) -> Iterator[Finding]:
    records = [t for t in texts if re.match(r"v=spf1(?:\s|$)", t, re.IGNORECASE)]
    if not records:
        yield Finding.of("L31", f"{domain} has no SPF record")
    elif len(records) > 1:
        yield Finding.of("L31", f"{domain} has {len(records)} SPF records: none counts")
    else:
        words = records[0].split()[1:]
        if any(word.lower() in {"all", "+all"} for word in words):
            yield Finding.of("L31", f"the SPF record of {domain} lets anybody send")
        asked = sum(bool(_LOOK_UPS.search(word)) for word in words)
        if asked > _MOST_LOOK_UPS:
            told = f"the SPF record of {domain} takes {asked} look-ups; 10 are allowed"
            yield Finding.of("L31", told)


def _dmarc(published: Published) -> Iterator[Finding]:
    texts = published.dmarc or ()
    records = [t for t in texts if re.match(r"v=DMARC1\s*(?:;|$)", t)]
    if not records:
        yield Finding.of("L31", f"{published.domain} has no DMARC record")
        return
    if len(records) > 1:
        told = f"_dmarc.{published.dmarc_at} has {len(records)} records: none counts"
        yield Finding.of("L31", told)
        return
    tags = {name.lower(): value.strip() for name, value in _TAGS.findall(records[0])}
    if tags.get("p", "").lower() not in {"none", "quarantine", "reject"}:
        told = f"the DMARC record of {published.dmarc_at} names no policy: p=none"
        yield Finding.of("L31", told)


def _dkim(published: Published) -> Iterator[Finding]:
    for selector, texts in published.dkim.items():
        if texts is None:
            continue
        name = f"{selector}._domainkey.{published.domain}"
        keys = [
            match[1].strip()
            for text in texts
            if (match := re.search(r"(?:^|;)\s*p\s*=\s*([^;]*)", text))
        ]
        if not keys:
            yield Finding.of("L31", f"{name} has no DKIM key")
        elif not any(keys):
            yield Finding.of("L31", f"the DKIM key at {name} has been withdrawn")


def is_below(name: str, domain: str) -> bool:
    """Whether a domain is another, or below it."""
    return name == domain or name.endswith(f".{domain}")
