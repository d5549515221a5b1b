"""Messages as recipients would get them, those of a few telling rows.

The way to unsubscribe is judged as a stranger would: it must be seen, lead to a page by
https, be each recipient's own, and not be guessable. A link of our own making is known
by its signature; somebody else's is believed to be signed where it holds enough chance
and neither the address nor the id of the one who got it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from engine.lint import page
from engine.lint.page import Link, Page
from engine.lint.rule import Example, Finding, Severity
from engine.lint.url import SCHEMES, host, is_guessable, is_plain, scheme
from engine.message import Extras, Messages

#: Bytes of HTML from which Gmail shows the rest on a page of its own.
#: Source: Google's documents name no number; senders agree on 102 kB (2026).
CLIPPED: Final = 102_400
ONE_CLICK: Final = "List-Unsubscribe=One-Click"
_ANSWER: Final = re.compile(r"(?:re|fwd?|aw|wg|sv|vs|tr|rv)\s*:", re.IGNORECASE)
_BRACES: Final = re.compile(r"\{\{|\{%")
#: Letters from which capitals are shouting, not an abbreviation.
_SHOUT: Final = 10
_URIS: Final = re.compile(r"<([^<>]*)>")
#: A text that is itself an address of the web.
_SHOWN_URL: Final = re.compile(
    r"(?:https?://)?((?:[\w-]+\.)+[a-z]{2,})(?:/\S*)?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the messages are to be.

    Attributes:
        marketing: whether they are marketing, and so must say who writes and how to
            leave.
        provider: what the API's makers call it.
        carries_headers: whether the API has a place for headers.
        postal_address: of the sender; None: the campaign has none.
        is_ours: whether a link was made and signed by us, for exactly this address.
        max_bytes: of one message, encoded.
        shared: what all messages have.
    """

    marketing: bool
    provider: str
    carries_headers: bool
    postal_address: str | None
    is_ours: Callable[[str, str], bool]
    max_bytes: int
    shared: Extras


@dataclass(frozen=True, slots=True)
class Mail:
    """One message.

    Attributes:
        example: its row.
        address: whom it goes to.
        bodies: its parts, by name, as they are seen.
        raw: the same, as they are.
        headers: by name, lower case.
        size: bytes, encoded.
    """

    example: Example
    address: str
    subject: str
    bodies: dict[str, Page]
    raw: dict[str, str]
    headers: dict[str, str]
    size: int


def mails(
    messages: Messages, keys: Sequence[str], sizes: Sequence[int], shared: Extras
) -> list[Mail]:
    """Read messages.

    Args:
        messages: rendered.
        keys: of their rows.
        sizes: bytes of each, encoded.
        shared: what all of them have, where `messages` says nothing else.
    """
    read_html = page.reader() if messages.htmls is not None else None
    found = []
    for place, row in enumerate(messages.rows):
        raw, bodies = {}, {}
        if messages.htmls is not None and read_html is not None:
            raw["HTML"] = messages.htmls[place]
            bodies["HTML"] = read_html(raw["HTML"])
        if messages.texts is not None:
            raw["text"] = messages.texts[place]
            bodies["text"] = page.of_text(raw["text"])
        extras = shared if messages.extras is None else messages.extras[place]
        headers = {name.lower(): value for name, value in extras.headers.items()}
        found.append(
            Mail(
                Example(row, keys[place]),
                messages.addresses[place],
                messages.subjects[place],
                bodies,
                raw,
                headers,
                sizes[place],
            )
        )
    return found


def look(found: Sequence[Mail], expected: Expected) -> list[Finding]:
    """Look at messages: one finding for each thing that is wrong, with its rows."""
    if not found:
        return []
    troubles: dict[tuple[str, str, Severity | None], list[Example]] = {}
    for place, mail in enumerate(found):
        other = found[place - 1] if len(found) > 1 else None
        for rule, text, severity in _troubles(mail, other, expected):
            troubles.setdefault((rule, text, severity), []).append(mail.example)
    findings = [
        Finding.of(rule, text, examples, severity=severity)
        for (rule, text, severity), examples in troubles.items()
    ]
    return sorted([*_of_all(found, expected), *findings], key=lambda f: f.id)


def steady(first: Sequence[Mail], second: Sequence[Mail]) -> list[Finding]:
    """Compare two renderings of the same rows."""
    differing = [
        one.example
        for one, other in zip(first, second, strict=True)
        if (one.subject, one.raw, one.headers)
        != (other.subject, other.raw, other.headers)
    ]
    if not differing:
        return []
    return [Finding.of("L34", "rendered twice, a row gives two messages", differing)]


def _of_all(found: Sequence[Mail], expected: Expected) -> Iterator[Finding]:
    """Say what is wrong with the campaign, so with every message."""
    if "text" not in found[0].bodies:
        yield Finding.of("L29", "there is no text part")
    if not expected.marketing:
        return
    if not expected.carries_headers:
        told = (
            f"{expected.provider} has no place for List-Unsubscribe headers: its own "
            "unsubscribe handling stands in for them"
        )
        remedy = "see that the account has it switched on"
        yield Finding.of("L20", told, severity=Severity.WARNING, remedy=remedy)
    if expected.postal_address is None:
        yield Finding.of("L25", "the campaign has no postal address")


Trouble = tuple[str, str, Severity | None]


def _troubles(mail: Mail, other: Mail | None, expected: Expected) -> Iterator[Trouble]:
    yield from _of_subject(mail)
    yield from _of_bodies(mail, expected)
    yield from _of_links(mail)
    if expected.marketing:
        yield from _of_marketing(mail, expected)
    if expected.marketing or "list-unsubscribe" in mail.headers:
        yield from _of_ways_out(mail, other, expected)


def _of_subject(mail: Mail) -> Iterator[Trouble]:
    subject = mail.subject
    if _ANSWER.match(subject):
        yield "L26", "the subject pretends to be an answer", None
    letters = [c for c in subject if c.isalpha() and c.upper() != c.lower()]
    if len(letters) >= _SHOUT and all(letter.isupper() for letter in letters):
        yield "L26", "the subject is in capitals", None
    if _BRACES.search(subject):
        yield "L28", "braces of a template in the subject", None


def _of_bodies(mail: Mail, expected: Expected) -> Iterator[Trouble]:
    for part, raw in mail.raw.items():
        if _BRACES.search(raw):
            yield "L28", f"braces of a template in the {part}", None
    size = len(mail.raw.get("HTML", "").encode())
    if size > CLIPPED:
        yield "L29", f"HTML of over {CLIPPED:,} bytes is cut off by Gmail", None
    if mail.size > expected.max_bytes:
        told = f"over {expected.max_bytes:,} bytes: {expected.provider} refuses it"
        yield "L29", told, None


def _of_links(mail: Mail) -> Iterator[Trouble]:
    for part, body in mail.bodies.items():
        for link in body.links:
            kind = scheme(link.url)
            if kind and kind not in SCHEMES:
                yield "L33", f"a link to {kind}: in the {part}", None
            if is_plain(link.url):
                yield "L35", f"a link without https in the {part}", None
            if part == "HTML" and _misleads(link):
                yield "L35", f"a link shows another domain: {host(link.url)}", None
        if any(is_plain(url) for url in body.pictures):
            yield "L35", "a picture without https", None


def _misleads(link: Link) -> bool:
    """Whether a link shows the address of another site."""
    shown = _SHOWN_URL.fullmatch(link.text)
    if shown is None or scheme(link.url) not in {"http", "https"}:
        return False
    one, other = shown[1].lower().removeprefix("www."), host(link.url)
    return not (one == other or other.endswith(f".{one}") or one.endswith(f".{other}"))


def _of_marketing(mail: Mail, expected: Expected) -> Iterator[Trouble]:
    if expected.carries_headers:
        uris = _URIS.findall(mail.headers.get("list-unsubscribe", ""))
        by_web = [uri for uri in uris if scheme(uri) in {"http", "https"}]
        asks = mail.headers.get("list-unsubscribe-post", "").strip()
        if not by_web:
            yield "L20", "there is no List-Unsubscribe header with an address", None
        elif asks != ONE_CLICK:
            yield "L20", f"there is no List-Unsubscribe-Post: {ONE_CLICK}", None
    for part, body in mail.bodies.items():
        if not any(link.is_seen for link in _ways_out(mail, body, expected)):
            yield "L24", f"no link to unsubscribe can be seen in the {part}", None
        address = expected.postal_address
        if address is not None and _letters(address) not in _letters(body.text):
            yield "L25", f"the postal address is not in the {part}", None


def _ways_out(mail: Mail, body: Page, expected: Expected) -> list[Link]:
    """Return the links to unsubscribe: ours, or those that say so."""
    ours = [k for k in body.links if expected.is_ours(k.url, mail.address)]
    return ours or [k for k in body.links if k.is_way_out and scheme(k.url) != "mailto"]


def _of_ways_out(
    mail: Mail, other: Mail | None, expected: Expected
) -> Iterator[Trouble]:
    """Judge every way to unsubscribe by the web: of the headers and of the bodies."""
    own, theirs = _all_ways_out(mail, expected), {}
    if other is not None and other.address != mail.address:
        theirs = _all_ways_out(other, expected)
    for part, urls in own.items():
        others = theirs.get(part, [])
        for url in urls:
            yield from _of_way_out(mail, url, others, expected, part)


def _all_ways_out(mail: Mail, expected: Expected) -> dict[str, list[str]]:
    uris = _URIS.findall(mail.headers.get("list-unsubscribe", ""))
    found = {"header": [uri for uri in uris if scheme(uri) in {"http", "https"}]}
    if expected.marketing:
        for part, body in mail.bodies.items():
            found[part] = [link.url for link in _ways_out(mail, body, expected)]
    return found


def _of_way_out(
    mail: Mail, url: str, theirs: list[str], expected: Expected, part: str
) -> Iterator[Trouble]:
    if is_plain(url):
        yield "L21", f"the link to unsubscribe in the {part} is not https", None
    if url in theirs:
        yield "L22", f"two recipients get the same link in the {part}", None
        return
    if expected.is_ours(url, mail.address):
        return
    other = theirs[0] if theirs else ""
    if is_guessable(url, other, address=mail.address, key=mail.example.key):
        yield "L23", f"the link to unsubscribe in the {part} bears no signature", None


def _letters(text: str) -> str:
    """Return letters and digits alone: lines may be cut anywhere."""
    return "".join(c for c in text.casefold() if c.isalnum())
