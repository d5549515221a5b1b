"""Who posted it: a signature over the bytes of a post, checked in constant time.

The signature is the HMAC-SHA256 of what was posted, in hex, in a header: over the body
as it came, or, where a header tells the time of signing, over `<time>.<body>`. Then an
old post is refused: nobody can play it again later.

Source:
    CloudMails, docs/webhooks.php, read 2026-11-20: "hex HMAC-SHA256(secret, raw body)",
    compared in constant time; the name of the header is not documented, so it is a
    setting. The form with a time is that of Stripe and Slack, for a Worker of one's own
    in front of a provider that signs nothing.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

#: Seconds that a post may be old, or early: as long as Stripe and Slack allow.
TOLERANCE: Final = 300.0


@dataclass(frozen=True, slots=True)
class Signature:
    """How posts of one provider are signed.

    Attributes:
        secret: shared with who signs.
        header: holds the signature; lower case. A prefix `sha256=` is passed over.
        time_header: holds the time of signing, seconds since 1970; lower case; empty
            where there is none.
    """

    secret: str
    header: str
    time_header: str = ""

    def __repr__(self) -> str:
        return f"Signature({self.header!r})"

    def sign(self, body: bytes, time: str = "") -> str:
        """Return the signature of a body."""
        signed = f"{time}.".encode() + body if self.time_header else body
        return hmac.new(self.secret.encode(), signed, sha256).hexdigest()

    def flaw(
        self, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> str | None:
        """Say why a post is not to be believed; None: it is genuine.

        Args:
            headers: of the post, names in lower case.
            body: as it came.
            now: the moment it came.
        """
        given = headers.get(self.header, "")
        if not given:
            return f"there is no {self.header}"
        time = headers.get(self.time_header, "") if self.time_header else ""
        if self.time_header and not _is_recent(time, now):
            return f"{self.time_header} is not within {TOLERANCE:g} s of now"
        expected = self.sign(body, time)
        given = given.strip().lower().removeprefix("sha256=")
        # As bytes: compare_digest takes no text that is not ASCII.
        if not hmac.compare_digest(given.encode(), expected.encode()):
            return f"{self.header} does not fit the body"
        return None


#: Digits of a time; int and float have ends, and a header may have thousands.
_DIGITS: Final = 12


def _is_recent(time: str, now: datetime) -> bool:
    if not (time.isascii() and time.isdecimal() and len(time) <= _DIGITS):
        return False
    return abs(now.timestamp() - int(time)) <= TOLERANCE
