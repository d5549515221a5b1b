"""`Name <address>` and its parts; domains beyond ASCII."""

import re
from functools import lru_cache
from typing import NamedTuple

import idna

_ESCAPED = re.compile(r"\\(.)")


class Mailbox(NamedTuple):
    """One address of a header field, with the name that is shown with it or ""."""

    name: str
    address: str


def parse(text: str) -> Mailbox:
    """Take `address`, `Name <address>` or `"Name" <address>` apart."""
    name, bracket, address = text.strip().rpartition("<")
    if not bracket:
        return Mailbox("", address)
    name = name.strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = _ESCAPED.sub(r"\1", name[1:-1])
    return Mailbox(name, address.rstrip("> "))


def ascii_domain(address: str) -> str:
    """Return an address with its domain in ASCII, as `xn--…` where it is not already.

    What no rule turns into ASCII stays as it is, for the provider to refuse.

    Source:
        RFC 5891, and UTS 46 for what comes before it (capitals, full-width dots). The
        older RFC 3490 for what these exclude and registries still have, such as emoji.
    """
    if address.isascii():
        return address
    local, _, domain = address.rpartition("@")
    return f"{local}@{_a_labels(domain)}"


@lru_cache(1024)
def _a_labels(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        pass
    try:
        return domain.encode("idna").decode()
    except UnicodeError:
        return domain
