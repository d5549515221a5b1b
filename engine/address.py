"""E-mail addresses as columns: may this one be mailed, and is it one we have already?

Pure polars expressions, so a million addresses are judged in the engine's own threads.

Rules:
- An address is a dot-atom, `@`, and a domain of two labels or more. What RFC 5321
  allows beyond that (quoted local parts, IP literals) no mailing list holds on purpose
  and no provider here takes.
- A non-ASCII local part needs SMTPUTF8 (RFC 6531), which no provider here declares. A
  non-ASCII domain may pass as it is: its A-label is the provider's business.
- The regular expressions are Rust's: no look-around, and time linear in the text.
"""

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
_NUMERIC_TOP_LEVEL: Final = r"\.[0-9]+$"
# Cc: control, NUL and newlines; Cf: zero-width and bidirectional; Zl, Zp: separators.
_CONTROL: Final = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]"
_ASCII_LOCAL: Final = r"^[\x00-\x7F]*@"

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
    "address_not_ascii": (
        "The part before the @ has letters beyond ASCII, which no provider here"
        " can deliver to."
    ),
}


def normalised(address: pl.Expr) -> pl.Expr:
    """Write an address in the form in which duplicates are found, never the one sent.

    Args:
        address: str, null allowed.

    Returns:
        str, null where `address` is: trimmed, lower case, NFC. RFC 5321 lets a host
        tell `Ann@` from `ann@`; none that receives campaigns does.
    """
    # NFC last: the lower case of a composed text need not be composed (J with caron).
    return address.str.strip_chars().str.to_lowercase().str.normalize("NFC")


def problem(address: pl.Expr) -> pl.Expr:
    """Say why an address cannot be mailed: the first reason that holds, in this order.

    `address_missing`, `address_control`, `address_too_long`, `address_syntax`,
    `address_not_ascii`.

    Args:
        address: str, trimmed already; null or empty where there is none.

    Returns:
        str: a code of `SENTENCES`, or null: the address may be mailed.

    Source:
        RFC 5321 4.1.2 and 4.5.3.1; RFC 5322 3.2.3; RFC 1035 2.3.1; RFC 3696 2 (a top
        level domain is not all digits); RFC 6531 3.3.
    """
    local_bytes = address.str.find("@", literal=True)
    too_long = (address.str.len_chars() > _ADDRESS_CHARACTERS) | (
        local_bytes > _LOCAL_BYTES
    ).fill_null(value=False)
    well_formed = address.str.contains(_SHAPE) & ~address.str.contains(
        _NUMERIC_TOP_LEVEL
    )
    return (
        pl.when(address.is_null() | (address == ""))
        .then(pl.lit("address_missing"))
        .when(address.str.contains(_CONTROL))
        .then(pl.lit("address_control"))
        .when(too_long)
        .then(pl.lit("address_too_long"))
        .when(~well_formed)
        .then(pl.lit("address_syntax"))
        .when(~address.str.contains(_ASCII_LOCAL))
        .then(pl.lit("address_not_ascii"))
        .otherwise(pl.lit(None, dtype=pl.String))
    )
