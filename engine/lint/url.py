"""Addresses of the web: what may begin one, and whether one is somebody's own."""

import ipaddress
import re
from typing import Final
from urllib.parse import unquote, urlsplit

#: What a link of a mail may lead to.
SCHEMES: Final = ("https", "http", "mailto", "tel", "sms", "cid")
_HARMLESS: Final = re.compile(rf"(?:{'|'.join(SCHEMES)}):|[/#?]", re.IGNORECASE)
_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*)\s*:")
#: What browsers leave out of an address before they read its scheme.
_IGNORED: Final = re.compile("[\x00-\x20]+")
_PIECES: Final = re.compile(r"[/?&=#;:]+")
#: Characters of a token that cannot be guessed: 128 bits in base64.
_TOKEN: Final = 22
#: The same in polars' words: what a cell must look like that a link begins with.
SAFE_CELL: Final = rf"(?i)^\s*(?:(?:{'|'.join(SCHEMES)}):|[/#?]|$)"


def is_harmless_start(text: str) -> bool:
    """Whether nothing that follows can make code of a link that begins so."""
    return _HARMLESS.match(text) is not None


def scheme(url: str) -> str:
    """Return the scheme of a link, lower case, as browsers read it; "" without one."""
    found = _SCHEME.match(_IGNORED.sub("", url))
    return found[1].lower() if found else ""


def host(url: str) -> str:
    """Return the host of a link, lower case, without `www.`; "" where it has none."""
    try:
        found = urlsplit(url.strip()).hostname or ""
    except ValueError:
        return ""
    return found.removeprefix("www.")


def is_plain(url: str) -> bool:
    """Whether a link is http, and not to this machine."""
    return scheme(url) == "http" and not _is_here(host(url))


def _is_here(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def is_guessable(url: str, other: str, *, address: str, key: str) -> bool:
    """Whether somebody could make this link up from what they know of a person.

    Args:
        url: the link.
        other: the link that somebody else got.
        address: of the one who got it.
        key: their id.
    """
    plain = unquote(url).casefold()
    if address.casefold() in plain:
        return True
    known = {key.casefold(), *_PIECES.split(unquote(other).casefold())}
    own = [piece for piece in _PIECES.split(plain) if piece not in known]
    return not any(len(piece) >= _TOKEN for piece in own)
