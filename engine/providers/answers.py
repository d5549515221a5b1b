"""What an answer says: its own words, fit to be shown, and its word on one message.

JSON of any form is read, and nothing here raises for what it holds; `parse` raises when
it is no JSON at all.

Rules:
- What is shown or stored is one short line without control characters, credentials or
  a list of addresses.
- Yes and no at once is a doubt. So is a word that nobody knows.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from engine.errors import Unanswered
from engine.message import Response
from engine.outcome import Status

#: Characters of the provider's words that are shown.
LONGEST_WORDS = 300

#: Characters of an id that is believed to be one. RFC 5322 allows 998 in a line.
LONGEST_ID = 512

Entry = Mapping[str, object]

# ---- words ------------------------------------------------------------------------

_CREDENTIALS = re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"',;]+")
_ASSIGNED = re.compile(
    r"(?i)(?<![a-z])(key|token|secret|password)\b([\"']?\s*[:=]\s*[\"']?)[^\s\"',;]+"
)
#: Long, of one piece, with a digit in it, and no part of an address.
_KEYLIKE = re.compile(r"(?<![\w@.-])(?=[\w.-]*\d)[\w.-]{16,}(?![\w@.-])")
#: Bounded, so that a long text without a space costs no quadratic search.
_ADDRESS = re.compile(r"[^\s<>\"',;:@]{1,64}@[^\s<>\"',;:@]{1,255}")

#: Addresses that a message may show. A refusal may quote the whole list.
_FEW = 3


def words(text: str) -> str:
    """Return a provider's words in one short line that is safe to show and to store."""
    # Not printable: control characters, and what turns a line or hides in it.
    cut = text[: 2 * LONGEST_WORDS]
    text = "".join(one if one.isprintable() else " " for one in cut)
    text = " ".join(text.split())
    text = _CREDENTIALS.sub(r"\1 […]", text)
    text = _ASSIGNED.sub(r"\1\2[…]", text)
    if text.count("@") > _FEW:
        shown = iter(range(_FEW))
        text = _ADDRESS.sub(
            lambda found: found[0] if next(shown, None) is not None else "[…]", text
        )
    return text if len(text) <= LONGEST_WORDS else text[: LONGEST_WORDS - 1] + "…"


def without_keys(text: str) -> str:
    """Hide what looks like a token, for answers about credentials."""
    return _KEYLIKE.sub("[…]", text)


_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NO_CODE = re.compile(r"[^a-z0-9]+")
_LONGEST_CODE = 48


def snake(value: object) -> str | None:
    """Return a provider's error code as a short code of ours, or None if it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"error_{abs(value)}"
    if not isinstance(value, str) or len(value) > _LONGEST_CODE or "/" in value:
        return None
    return _NO_CODE.sub("_", _CAMEL.sub("_", value).lower()).strip("_") or None


_CODES = ("code", "error_code", "type")
_SAYINGS = ("message", "detail", "description", "reason", "bounce_reason", "title")

#: Errors inside errors that are looked into.
_DEPTH = 4


def complaint(answer: object) -> tuple[str | None, str | None]:
    """Return the code and the words of an error, wherever in an answer they are."""
    code: str | None = None
    said: str | None = None
    for _ in range(_DEPTH):
        if isinstance(answer, list):
            answer = answer[0] if answer else None
        if isinstance(answer, str) and answer.strip():
            # {"error": "invalid_recipient", "message": "…"}: the word is the code.
            code = code if said is None else code or snake(answer)
            said = said or words(answer)
        if not isinstance(answer, dict):
            break
        code = next(filter(None, (snake(answer.get(key)) for key in _CODES)), code)
        sayings = (answer.get(key) for key in _SAYINGS)
        texts = (words(text) for text in sayings if isinstance(text, str))
        said = next(filter(None, texts), said)
        answer = answer.get("error") or answer.get("errors")
    return code, said


_TITLE = re.compile(r"(?is)<title[^>]*>([^<]*)")
_TAG = re.compile(r"<[^>]*>")
_BOM = b"\xef\xbb\xbf"

#: Bytes of a page that are searched for its title.
_PAGE = 8192


def spoken(body: bytes) -> tuple[str | None, str | None]:
    """Return the code and the words of a refusal, from JSON, a page or plain text."""
    try:
        return complaint(orjson.loads(body.removeprefix(_BOM)))
    except orjson.JSONDecodeError:
        text = body[:_PAGE].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        text = title[1] if title else _TAG.sub(" ", text)
    return None, words(text) or None


def parse(response: Response, *, provider: str) -> object:
    """Return the JSON of an answer.

    Raises:
        Unanswered: there is none.
    """
    try:
        return orjson.loads(response.body.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        said = spoken(response.body)[1]
        raise Unanswered(
            f"{provider} answered {response.status} with "
            + (f"what is not JSON: {said}" if said else "nothing"),
            reason="unreadable_answer",
            http_status=response.status,
        ) from error


#: Of a refusal for the sender or its domain, which is not verified.
_VERIFIED = re.compile(r"(?i)verif")
_SENDER = re.compile(r"(?i)\b(from|sender|sending|domain)\b")
#: Or for one recipient, whose address may be called so, too.
_RECIPIENT = re.compile(r"(?i)\brecipients?\b|['\"]to['\"]|\bto (address|field|header)")


def is_about_the_sender(said: str) -> bool:
    """Whether a refusal says that the sender is not verified.

    Every other message of the run would be refused for the same.
    """
    text = said.replace("_", " ")
    found = _VERIFIED.search(text) and _SENDER.search(text)
    return bool(found) and not _RECIPIENT.search(text)


# ---- one entry --------------------------------------------------------------------

#: Words for yes and no, of CloudMails' status endpoint and of other APIs for the same.
YES = frozenset(
    {"queued", "sent", "accepted", "ok", "delivered", "deferred", "success", "true"}
    | {"pending", "scheduled", "processing", "processed"}
)
NO = frozenset(
    {"rejected", "failed", "error", "invalid", "bounced", "failure", "false"}
    | {"refused", "blocked", "dropped", "suppressed", "unsubscribed", "spam"}
)

#: The first digit of an HTTP status.
_CLASSES = {2: "ok", 4: "error", 5: "error"}


def word(value: object) -> str | None:
    """Return a status as a word in lower case: "" if it says none, None if unreadable.

    A number is an HTTP status: 200 is "ok", 400 is "error".
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _CLASSES.get(value // 100, str(value))
    if isinstance(value, str):
        return value if value in YES else words(value).lower()
    return None


def flag(value: object) -> str | None:
    """Return a `success` as `word` does, where 1 is "true" and 0 is "false"."""
    return word(bool(value) if value in (0, 1) else value)


def identity(*candidates: object) -> str | None:
    """Return the first candidate that can be an id, as text."""
    for value in candidates:
        if isinstance(value, str):
            if 0 < len(value) <= LONGEST_ID and value.isprintable() and value.strip():
                return value
        elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return str(value)
    return None


def are_identities(texts: Sequence[str]) -> bool:
    """Whether `identity` would take each of the texts; at a tenth of the cost."""
    fit = max(map(len, texts), default=0) <= LONGEST_ID
    return fit and all(map(str.strip, texts)) and "".join(texts).isprintable()


#: The fields of an entry that may hold the provider's id of the message, best first.
IDS = ("message_id", "id")


class Verdict(NamedTuple):
    """What an entry says. `plain`: it says so in a word, not by its silence."""

    status: Status
    reason: str | None
    detail: str | None
    provider_id: str | None
    plain: bool


def judge(entry: Entry, ids: Sequence[str] = IDS) -> Verdict:
    """Turn what an answer says of one message into the words of an outcome.

    An entry without a status is a yes: that is what being listed in a 2xx means. Yes
    and no at once is a doubt, and so is an unknown word, unless an id comes with it.
    """
    said = word(entry.get("status"))
    success = flag(entry.get("success"))
    name = identity(*map(entry.get, ids))
    yes = said in YES or success in YES
    no = said in NO or success in NO
    error = entry.get("error") or entry.get("errors")
    if yes and (no or error):
        detail = complaint(entry)[1]
        return Verdict(
            Status.IN_DOUBT, "answer_contradictory", detail, name, plain=True
        )
    if no or error:
        code, detail = complaint(entry)
        reason = code or (said if said in NO and said != "false" else "rejected")
        return Verdict(Status.REJECTED, reason, detail, name, plain=True)
    if yes or said == "":
        return Verdict(Status.ACCEPTED, None, None, name, plain=yes)
    if said is not None and name is not None:
        return Verdict(Status.ACCEPTED, None, said, name, plain=False)
    return Verdict(Status.IN_DOUBT, "unknown_status", said, name, plain=False)
