"""E-mail addresses as columns: may this one be mailed, and is it one we have already?

Pure polars expressions, so a million addresses are judged in the engine's own threads.
The few domains beyond ASCII are looked at one by one, by email-validator.

Rules:
- An address is a dot-atom, `@`, and a domain of two labels or more. What RFC 5321
  allows beyond that (quoted local parts, IP literals) no mailing list holds on purpose
  and no provider here takes.
- A non-ASCII domain is mailed, and compared, as its A-label (`encoded` comes first). A
  non-ASCII local part needs SMTPUTF8 (RFC 6531), which no provider here declares.
- The regular expressions are Rust's: no look-around, and time linear in the text.
"""

from functools import lru_cache
from typing import Final

import polars as pl

# Anything beyond ASCII but white space; control characters are refused before.
_WIDE: Final = r"[\x{80}-\x{10FFFF}--\s]"
_ATOM: Final = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~\-{_WIDE}]+"
_EDGE: Final = rf"[A-Za-z0-9{_WIDE}]"
# At most 63 characters; the A-label of a non-ASCII label is never the shorter, so
# counting characters refuses none wrongly.
_LABEL: Final = rf"{_EDGE}(?:[A-Za-z0-9\-{_WIDE}]{{0,61}}{_EDGE})?"
_SHAPE: Final = rf"^{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}$"
# Most addresses, and nothing but good ones: all ASCII, the top level all letters.
_PLAIN: Final = (
    r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$"
)
# No top level domain ends with a digit but as an A-label.
_NO_TOP_LEVEL: Final = r"\.[^.]*[0-9]$"
_A_LABEL: Final = r"(?i)[@.]xn--"
# Cc: control, NUL and newlines; Cf: zero-width and bidirectional; Zl, Zp: separators.
_CONTROL: Final = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]"
_ASCII_LOCAL: Final = r"^[\x00-\x7F]*@"
_QUOTED: Final = r'^".+"@'
#: RFC 6761, 6762, 7686 and 2606: names that no mail can reach.
_SPECIAL_USE: Final = (
    r"@(?:.*\.)?(?:test|example|invalid|localhost|local|onion|alt|internal|arpa"
    r"|example\.(?:com|net|org))$"
)

_LOCAL_BYTES: Final = 64  # RFC 5321 4.5.3.1.1
# RFC 5321 4.5.3.1.3 gives a path 256 octets, of which < and > are two. A domain of
# more than 253 makes the whole longer than this, so it needs no rule of its own.
_ADDRESS_CHARACTERS: Final = 254

#: What each code of `problem` means, in a sentence for people.
SENTENCES: Final = {
    "address_missing": "The row has no address.",
    "address_control": (
        "The address holds an invisible character: a control, zero-width or"
        " direction mark, or a line break."
    ),
    "address_too_long": (
        "The address is too long: at most 64 bytes stand before the @,"
        " and 254 characters in all."
    ),
    "address_syntax": "The address is not of the form name@example.com.",
    "address_quoted": (
        "The part before the @ is in quotation marks, which no provider here takes."
    ),
    "address_domain": (
        "The domain has letters beyond ASCII, or their code, that no domain can have"
        " (IDNA)."
    ),
    "address_special_use": (
        "The domain is set aside for examples and tests: no mail reaches it."
    ),
    "address_not_ascii": (
        "The part before the @ has letters beyond ASCII, which no provider here"
        " can deliver to."
    ),
}


def encoded(address: pl.Expr) -> pl.Expr:
    """Write domains as A-labels, the form in which mail is sent.

    Args:
        address: str, null allowed.

    Returns:
        str, trimmed; a domain that cannot be encoded stays as it is, and `problem`
        finds it.

    Source:
        RFC 5891; UTS 46, by email-validator.
    """
    trimmed = address.str.strip_chars()
    return trimmed.map_batches(_encoded, return_dtype=pl.String(), is_elementwise=True)


def _encoded(addresses: pl.Series) -> pl.Series:
    wide = _is_wide(addresses)
    if not wide.any():
        return addresses
    parts = pl.DataFrame({"address": addresses, "wide": wide}).with_columns(
        local=pl.col("address").str.extract(r"^(.*)@[^@]*$"),
        domain=pl.col("address").str.extract(r"@([^@]*)$"),
    )
    domain = pl.col("domain")
    foreign = parts.filter(_is_wide(parts["domain"]))["domain"].unique().to_list()
    labels = {name: _label(name) for name in foreign}
    return parts.select(
        pl.when(domain.is_in(foreign))
        .then(pl.format("{}@{}", "local", domain.replace(labels)))
        .otherwise("address")
        .alias(addresses.name)
    ).to_series()


def _is_wide(texts: pl.Series) -> pl.Series:
    """Tell texts with characters beyond ASCII."""
    return (texts.str.len_bytes() != texts.str.len_chars()).fill_null(value=False)


def _label(domain: str) -> str:
    """Return the A-label of a domain, or the domain where it has none."""
    labels = _labels(domain)
    return domain if labels is None else labels[0]


@lru_cache(maxsize=10_000)
def _labels(domain: str) -> tuple[str, str] | None:
    """Return a domain as A-label and as U-label; None where it has none."""
    from email_validator import (  # noqa: PLC0415 - slow; only for such domains
        EmailNotValidError,
        validate_email,
    )

    try:
        found = validate_email(
            f"x@{domain}", check_deliverability=False, globally_deliverable=False
        )
    except EmailNotValidError:
        return None
    return found.ascii_domain, found.domain


def normalised(address: pl.Expr) -> pl.Expr:
    """Write an address in the form in which duplicates are found, never the one sent.

    Args:
        address: str, null allowed.

    Returns:
        str, null where `address` is: encoded, lower case, NFC. RFC 5321 lets a host
        tell `Ann@` from `ann@`; none that receives campaigns does.
    """
    return folded(encoded(address))


def folded(address: pl.Expr) -> pl.Expr:
    """Write an address that is encoded already as `normalised` does."""
    # NFC last: the lower case of a composed text need not be composed (J with caron).
    return address.str.to_lowercase().map_batches(
        _composed, return_dtype=pl.String(), is_elementwise=True
    )


def _composed(texts: pl.Series) -> pl.Series:
    # What is ASCII is composed; to find that out takes a thirtieth of the time.
    return texts.str.normalize("NFC") if _is_wide(texts).any() else texts


def spellings(known: str) -> set[str]:
    """Return how a normalised address may be written: also in the domain's letters."""
    local, _, domain = known.rpartition("@")
    return {known, *(f"{local}@{name}" for name in _labels(domain) or ())}


def bare(mailbox: pl.Expr) -> pl.Expr:
    """Return the addresses of mailboxes, which may have names before them.

    Args:
        mailbox: str, as `ann@harbour.example` or `Ann <ann@harbour.example>`; null
            allowed.
    """
    return pl.coalesce(mailbox.str.extract(r"<([^<>]*)>\s*$"), mailbox)


def problem(address: pl.Expr) -> pl.Expr:
    """Say why an address cannot be mailed: the first reason that holds, in this order.

    `address_missing`, `address_control`, `address_too_long`, `address_quoted`,
    `address_syntax`, `address_not_ascii`, `address_domain`.

    Args:
        address: str, encoded and trimmed; null or empty where there is none.

    Returns:
        str: a code of `SENTENCES`, or null: the address may be mailed.

    Source:
        RFC 5321 4.1.2 and 4.5.3.1; RFC 5322 3.2.3; RFC 1035 2.3.1; RFC 3696 2 (a top
        level domain is not all digits; none ends with one); RFC 6531 3.3; RFC 5891 5.4
        (an A-label that cannot be read back is none).
    """
    return address.map_batches(_problems, return_dtype=pl.String(), is_elementwise=True)


def _problems(addresses: pl.Series) -> pl.Series:
    """Look closely at those alone that are not plainly good: in most lists, few."""
    frame = addresses.to_frame("address")
    plain = frame.select(_is_plain(pl.col("address"))).to_series()
    odd = frame.filter(~plain).select(_problem(pl.col("address"))).to_series()
    found = pl.Series(addresses.name, [None], dtype=pl.String).new_from_index(
        0, len(addresses)
    )
    return found.scatter((~plain).arg_true(), odd)


def _is_plain(address: pl.Expr) -> pl.Expr:
    """Tell what is surely good; `_problem` finds more that is."""
    return (
        address.str.contains(_PLAIN)
        # Any A-label has them; a literal is found in half the time.
        & ~address.str.contains("--", literal=True)
        & (address.str.len_bytes() <= _ADDRESS_CHARACTERS)
        & (address.str.find("@", literal=True) <= _LOCAL_BYTES)
    ).fill_null(value=False)


def _problem(address: pl.Expr) -> pl.Expr:
    local_bytes = address.str.find("@", literal=True)
    too_long = (address.str.len_chars() > _ADDRESS_CHARACTERS) | (
        local_bytes > _LOCAL_BYTES
    ).fill_null(value=False)
    last = address.str.extract(r"([^.]*)$")
    well_formed = address.str.contains(_SHAPE) & ~(
        address.str.contains(_NO_TOP_LEVEL) & ~last.str.contains("(?i)^xn--")
    )
    unreadable = address.map_batches(
        _are_unreadable, return_dtype=pl.Boolean(), is_elementwise=True
    )
    return (
        pl.when(address.is_null() | (address == ""))
        .then(pl.lit("address_missing"))
        .when(address.str.contains(_CONTROL))
        .then(pl.lit("address_control"))
        .when(too_long)
        .then(pl.lit("address_too_long"))
        .when(address.str.contains(_QUOTED))
        .then(pl.lit("address_quoted"))
        .when(~well_formed)
        .then(pl.lit("address_syntax"))
        .when(~address.str.contains(_ASCII_LOCAL))
        .then(pl.lit("address_not_ascii"))
        .when((address.str.len_bytes() != address.str.len_chars()) | unreadable)
        .then(pl.lit("address_domain"))
        .otherwise(pl.lit(None, dtype=pl.String))
    )


def _are_unreadable(addresses: pl.Series) -> pl.Series:
    """Tell those whose domain has an A-label of nothing that a domain can be."""
    foreign = addresses.str.contains(_A_LABEL).fill_null(value=False)
    domains = addresses.str.extract(r"@([^@]*)$")
    bad = [
        name for name in domains.filter(foreign).unique() if name and not _labels(name)
    ]
    return domains.is_in(bad).fill_null(value=False)


def is_special_use(address: pl.Expr) -> pl.Expr:
    """Tell addresses that no mail can reach: of examples, of tests, of one machine.

    Args:
        address: str, normalised.

    Source:
        IANA, Special-Use Domain Names; RFC 2606.
    """
    return address.str.contains(_SPECIAL_USE)
