"""What each row of a messy list deserves: the README and RFC 5321, in plain Python.

Slow and simple on purpose, one row after the other, and nothing of `engine`: where the
two disagree, one of them is wrong.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator

import idna
from oracle.lists import HUGE, Row

ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+")
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
LOCAL_BYTES, DOMAIN_LABEL, WHOLE = 64, 63, 254
#: Unicode's categories of control, format and separating characters.
UNSEEN = {"Cc", "Cf", "Zl", "Zp"}

#: Status and reason; a provider's own reason is its own affair.
Verdict = tuple[str, str | None]


class Judge:
    """Judges rows in the order of the list.

    Args:
        suppressed: addresses and scopes.
        scopes: those that hold for the campaign.
    """

    def __init__(self, suppressed: Iterable[tuple[str, str]], scopes: set[str]) -> None:
        self._left = {same(address) for address, where in suppressed if where in scopes}
        self._addresses: set[str] = set()
        self._keys: set[str] = set()

    def verdicts(self, rows: Iterable[Row]) -> Iterator[tuple[Row, Verdict]]:
        """Yield each row, and what becomes of it."""
        for row in rows:
            verdict = self._planned(row)
            if verdict is None:
                self._addresses.add(same(row.email or ""))
                self._keys.add((row.id or "").strip())
                verdict = sent(row)
            yield row, verdict

    def _planned(self, row: Row) -> Verdict | None:
        """Say why a row is not to be mailed."""
        problem = problem_of(row.email or "")
        if problem is None and not (row.id or "").strip():
            problem = "key_missing"
        if problem is not None:
            return "invalid", problem
        address = same(row.email or "")
        if address in self._left:
            return "suppressed", "imported"
        if address in self._addresses:
            return "duplicate", "same_address"
        if (row.id or "").strip() in self._keys:
            return "duplicate", "same_key"
        return None


def sent(row: Row) -> Verdict:
    """Say what becomes of a row that is to be mailed."""
    if row.note == "bomb":
        return "render_failed", "template_error"
    if not re.fullmatch("[1-9][0-9]*", row.share or ""):
        return "render_failed", "template_error"
    name = row.name or ""
    if any(map(is_control, name.strip() + f"Hello {name}".strip())):
        return "render_failed", "header_unsafe"
    if row.note == HUGE:
        return "render_failed", "message_too_large"
    if (row.email or "").strip().lower().startswith("reject"):
        return "rejected", None
    return "accepted", None


def same(text: str) -> str:
    """Return the form in which two addresses are one."""
    return unicodedata.normalize("NFC", to_ascii(text.strip()).lower())


def to_ascii(address: str) -> str:
    """Write the domain as people's servers know it; as it stands if it is none."""
    local, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        return address


def problem_of(text: str) -> str | None:
    """Say why an address cannot be mailed: the first reason that holds."""
    text = text.strip()
    address = to_ascii(text)
    before, at, _ = address.partition("@")
    local, _, domain = address.rpartition("@")
    reasons = {
        "address_missing": not text,
        # As it stands: a domain in ASCII leaves out what nobody sees.
        "address_control": any(unicodedata.category(c) in UNSEEN for c in text),
        "address_too_long": len(address) > WHOLE
        or (at and len(before.encode()) > LOCAL_BYTES),
        "address_quoted": re.match('".+"@', address),
        "address_syntax": not at or not is_local(local) or not is_domain(domain),
        "address_not_ascii": not local.isascii(),
        "address_domain": not domain.isascii(),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def is_local(text: str) -> bool:
    """Whether a text is a dot-atom, letters beyond ASCII included."""
    return all(ATOM.fullmatch(plain(atom)) for atom in text.split("."))


def is_domain(text: str) -> bool:
    """Whether a text is a domain of two labels or more, the last no number."""
    labels = text.split(".")
    fit = all(
        LABEL.fullmatch(plain(label)) and len(label) <= DOMAIN_LABEL for label in labels
    )
    return fit and len(labels) > 1 and not re.fullmatch("[0-9]+", labels[-1])


def plain(text: str) -> str:
    """Write a letter for each that is beyond ASCII; white space stays what it is."""
    return "".join(c if c.isascii() or c.isspace() else "x" for c in text)


def is_control(character: str) -> bool:
    """Whether a character may not stand in a header."""
    return unicodedata.category(character) in ("Cc", "Zl", "Zp")
