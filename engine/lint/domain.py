"""Domains that look like another, and names of roles.

What is a likely slip is found by making all slips of the well-known domains once: a
letter too many, too few, another, or two swapped. So a column of a million addresses is
looked up in a table, not compared with each domain.

Source:
    RFC 2142 (names of roles); the domains: consumer mail services with over a million
    mailboxes each, as public lists of them agree in 2026.
"""

import string
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

#: Names before the @ that are a role's. `info` and the like are read by somebody, but
#: hardly ever by the one who signed up.
ROLES: Final = frozenset(
    {
        "abuse",
        "accounts",
        "admin",
        "administrator",
        "billing",
        "contact",
        "do-not-reply",
        "donotreply",
        "enquiries",
        "ftp",
        "hello",
        "help",
        "hostmaster",
        "hr",
        "info",
        "jobs",
        "list",
        "majordomo",
        "mail",
        "mailer-daemon",
        "marketing",
        "news",
        "no-reply",
        "no_reply",
        "noc",
        "noreply",
        "office",
        "orders",
        "postmaster",
        "root",
        "sales",
        "security",
        "service",
        "spam",
        "support",
        "team",
        "trouble",
        "usenet",
        "uucp",
        "webmaster",
        "www",
    }
)
_KNOWN: Final = (
    "aol.com",
    "bluewin.ch",
    "btinternet.com",
    "comcast.net",
    "freenet.de",
    "gmail.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.fr",
    "hotmail.it",
    "icloud.com",
    "libero.it",
    "live.com",
    "msn.com",
    "orange.fr",
    "outlook.com",
    "protonmail.com",
    "t-online.de",
    "verizon.net",
    "wanadoo.fr",
    "web.de",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.de",
    "yahoo.fr",
    "yandex.ru",
)
#: Real services that are one letter from another.
_REAL: Final = frozenset(
    {
        "cloud.com",
        "email.com",
        "fmail.com",
        "hmail.com",
        "jmail.com",
        "mail.com",
        "rmail.com",
        "umail.com",
        "ymail.com",
        "zmail.com",
    }
)
#: Shorter names are one letter from too many others.
_LONG_ENOUGH: Final = 5
_LETTERS: Final = string.ascii_lowercase + string.digits + "-"
#: Endings that nobody registers on purpose.
_ENDINGS: Final = {
    "com": ("con", "cmo", "ocm", "comm", "vom", "xom", "cpm", "cim", "om", "cm", "co"),
    "de": ("ed", "dee", "dde", "d"),
    "net": ("nte", "ner", "bet", "ent"),
}


@cache
def slips() -> dict[str, str]:
    """Return each likely slip with the domain that was meant."""
    found: dict[str, str] = {}
    for domain in _KNOWN:
        name, _, ending = domain.partition(".")
        for wrong in _ENDINGS.get(ending, ()):
            found.setdefault(f"{name}.{wrong}", domain)
        if len(name) >= _LONG_ENOUGH:
            for wrong in _neighbours(name):
                found.setdefault(f"{wrong}.{ending}", domain)
    for real in (*_KNOWN, *_REAL):
        found.pop(real, None)
    return found


def _neighbours(name: str) -> Iterator[str]:
    """Yield what one slip makes of a name; never less than a label."""
    for place in range(len(name)):
        before, after = name[:place], name[place + 1 :]
        yield before + after
        for letter in _LETTERS:
            yield before + letter + after
            yield before + letter + name[place:]
        if after:
            yield before + after[0] + name[place] + after[1:]


def scripts(domain: str) -> set[str]:
    """Return the alphabets of a domain's labels that mix them; empty if none does.

    Args:
        domain: as A-labels, as `xn--80ak6aa92e.com`.

    Source:
        UTS 39, 5.1: a label in one script is no homograph of one in another by
        accident. Japanese and Korean are written in several at once.
    """
    for label in domain.split("."):
        if label.startswith("xn--"):
            try:
                found = _scripts(label[4:].encode().decode("punycode"))
            except UnicodeError:
                continue
            if len(found) > 1 and not found <= _TOGETHER:
                return found
    return set()


_TOGETHER: Final = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "LATIN", "BOPOMOFO"}


def _scripts(text: str) -> set[str]:
    names = (unicodedata.name(letter, "") for letter in text if letter.isalpha())
    # A name begins with its script: LATIN SMALL LETTER A, CYRILLIC SMALL LETTER A.
    return {name.split()[0] for name in names if name}
