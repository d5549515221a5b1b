"""Who is to be forgotten, and where a text or a column names them.

A text names somebody if their address stands in it by itself, in any case, with the
domain as A-label or in its own letters, with the @ as it is or as URLs, JSON and HTML
may write it. `joann@harbour.example` does not name `ann@harbour.example`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

import polars as pl

from engine.address import normalised, spellings

#: What stands in the place of an address, of a key that is one, and of a sentence about
#: somebody. It is no address, so nothing that reads it as one mails anybody.
ERASED: Final = "erased"

_AT: Final = re.compile(r"@|%40|\\u0040|&#64;|&#x40;", re.IGNORECASE)
_ATS: Final = ("@", "%40", "\\u0040", "&#64;", "&#x40;")
#: What may stand before the @, read backwards from it: at most so many characters.
_LOCAL: Final = re.compile(r"[^\s<>()\[\]\\,;:\"@]+\Z")
_LONGEST_LOCAL: Final = 200
#: A domain by itself; and with what is no letter to Python: marks that are composed
#: with one, bytes of a letter in a URL.
_DOMAINS: Final = tuple(
    re.compile(rf"{label}+(?:\.{label}+)+")
    for label in (r"[\w\-]", r"(?:[\w\-%]|[^\x00-\x7F\s])")
)
#: What an address may follow: "?to=ann@harbour.example", "'ann@harbour.example'"; but
#: not "d'ann@harbour.example", which is somebody else's.
_BEFORE: Final = re.compile(r"(?:.*[=&?/|#!])?[^\w.+\-]*")


@dataclass(frozen=True, slots=True)
class People:
    """Who is to be forgotten. Made by `People.of`.

    Attributes:
        addresses: as they are compared: see `engine.address.normalised`.
    """

    addresses: frozenset[str]
    _spellings: frozenset[str]
    _words: tuple[str, ...]

    @classmethod
    def of(cls, addresses: Iterable[str]) -> "People":
        """Return who has some addresses, however these are written."""
        given = pl.Series("address", list(addresses), pl.String)
        known = given.to_frame().select(normalised(pl.col("address"))).to_series()
        forms = {form for address in known for form in spellings(address)}
        words = {word for form in forms for word in _written(form)}
        return cls(frozenset(known), frozenset(forms), tuple(sorted(words)))

    def are(self, address: pl.Expr) -> pl.Expr:
        """Tell the rows of these people by a column of addresses, str; never null."""
        mine = normalised(address).is_in(list(self.addresses))
        return mine.fill_null(value=False)

    def cleaned(self, text: str) -> str:
        """Return a text with `ERASED` in the place of each of their addresses."""
        pieces, end = [], 0
        for at in _AT.finditer(text):
            if (span := self._named(text, at)) is not None and span[0] >= end:
                pieces += [text[end : span[0]], ERASED]
                end = span[1]
        return "".join([*pieces, text[end:]]) if pieces else text

    def _named(self, text: str, at: re.Match[str]) -> tuple[int, int] | None:
        """Return where an address of theirs begins and ends that has its @ there."""
        before = text[max(0, at.start() - _LONGEST_LOCAL) : at.start()]
        local = _LOCAL.search(before)
        ends = [end for label in _DOMAINS if (end := label.match(text, at.end()))]
        if local is None or not ends:
            return None
        found = local[0]
        for place in range(len(found)):
            if not _BEFORE.fullmatch(found, 0, place):
                continue
            for domain in ends:
                address = f"{found[place:]}@{domain[0]}"
                forms = _form(address), _form(unquote(address))
                if not self._spellings.isdisjoint(forms):
                    return at.start() - len(found) + place, domain.end()
        return None

    def column(self, column: pl.Series) -> pl.Series:
        """Return a column of a frame with `ERASED` in the place of their addresses.

        Texts, and what holds texts: lists and structs. Other columns stay.
        """
        kind = column.dtype
        if kind == pl.Categorical:
            return self.column(column.cast(pl.String)).cast(kind)
        if kind == pl.String:
            return self._texts(column)
        if not kind.is_nested():
            return column
        values = column.to_list()
        clean = [_deeply(value, self.cleaned) for value in values]
        # Made anew only if it must be: Python's moments are coarser than polars'.
        return column if clean == values else pl.Series(column.name, clean, dtype=kind)

    def named(self, column: pl.Series) -> pl.Series:
        """Tell the rows of a column that name one of them, bool; never null."""
        return self.column(column).ne_missing(column)

    def _texts(self, column: pl.Series) -> pl.Series:
        """Look closely at those alone that may name somebody: in most lists, few."""
        may = column.str.contains_any(list(self._words), ascii_case_insensitive=True)
        places = may.fill_null(value=False).arg_true()
        if not len(places):
            return column
        clean = [self.cleaned(text) for text in column.gather(places)]
        # `scatter` changes the series that it is called on.
        return column.clone().scatter(places, pl.Series(clean, dtype=pl.String))


def _written(form: str) -> Iterable[str]:
    """Return how an address may be written in a text, but for the case of ASCII."""
    local, _, domain = form.rpartition("@")
    for name in {local, quote(local)}:
        for host in {domain, domain.upper(), unicodedata.normalize("NFD", domain)}:
            yield from (f"{name}{at}{host}" for at in _ATS)
            yield f"{name}%40{quote(host)}"


def _form(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower())


def _deeply(value: Any, clean: Callable[[str], str]) -> Any:
    """Return a value of a nested column with its texts cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _deeply(inner, clean) for name, inner in value.items()}
    if isinstance(value, list):
        return [_deeply(inner, clean) for inner in value]
    return value
