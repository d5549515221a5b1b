"""What a sink has seen: counts and times, and whether the mails are the right ones.

The sum of a strict tally is that of a hash of each mail's sender, address, subject and
bodies. It does not depend on the order, the batches or the form in which the mails
came: two senders with the same sum have sent the same mails.
"""

import hashlib
import time
from array import array
from collections.abc import Iterable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, cast

import orjson

#: Sender, address, subject, HTML, text.
Mail = tuple[str, str, str, str, str]


class Tally:
    """Counts what comes.

    Attributes:
        strict: whether mails are to be read and added up.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._requests = 0
        self._messages = 0
        self._bytes = 0
        self._times = array("d")
        self._counts = array("L")
        self._addresses: set[str] = set()
        self._sum = 0

    def count(self, messages: int, size: int) -> None:
        """Count a request that has just come whole."""
        self._requests += 1
        self._messages += messages
        self._bytes += size
        self._times.append(time.monotonic())
        self._counts.append(messages)

    def add(self, mails: Iterable[Mail]) -> int:
        """Add mails up, and return how many they are."""
        number = 0
        for sender, address, subject, html, text in mails:
            bodies = [_body(html), _body(text)]
            octets = orjson.dumps([sender, address, subject, *bodies])
            digest = hashlib.blake2b(octets, digest_size=16).digest()
            self._sum = (self._sum + int.from_bytes(digest, "big")) % (1 << 128)
            self._addresses.add(address)
            number += 1
        return number

    def stats(self) -> dict[str, Any]:
        """Tell what came.

        Returns:
            requests, messages, body_bytes; first_at and last_at, of the monotonic
            clock that all processes share; worst_second, the most messages of any
            second; addresses and sum of a strict tally.
        """
        return {
            "requests": self._requests,
            "messages": self._messages,
            "body_bytes": self._bytes,
            "first_at": self._times[0] if self._times else 0.0,
            "last_at": self._times[-1] if self._times else 0.0,
            "last_count": self._counts[-1] if self._counts else 0,
            "worst_second": self._worst_second(),
            "addresses": len(self._addresses),
            "sum": f"{self._sum:032x}",
        }

    def _worst_second(self) -> int:
        worst = inside = first = 0
        for moment, count in zip(self._times, self._counts, strict=True):
            inside += count
            while self._times[first] <= moment - 1.0:
                inside -= self._counts[first]
                first += 1
            worst = max(worst, inside)
        return worst


def read_cloudmails(messages: Iterable[dict[str, Any]]) -> Iterable[Mail]:
    """Read messages as CloudMails takes them."""
    for message in messages:
        sender, to, subject = message["from"], message["to"], message["subject"]
        yield sender, to, subject, message["html"], message["text"]


def read_brevo(message: dict[str, Any]) -> Mail:
    """Read a message as Brevo takes it."""
    sender, (to,) = message["sender"], message["to"]
    return (
        f"{sender['name']} <{sender['email']}>",
        to["email"],
        message["subject"],
        message["htmlContent"],
        message["textContent"],
    )


def read_mime(octets: bytes) -> Mail:
    """Read a message of RFC 5322."""
    mail = cast(EmailMessage, message_from_bytes(octets, policy=default))
    html, text = mail.get_body(("html",)), mail.get_body(("plain",))
    if html is None or text is None:
        raise ValueError("a mail has not both bodies")
    fields = str(mail["From"]), str(mail["To"]), str(mail["Subject"])
    return *fields, html.get_content(), text.get_content()


def _body(value: str) -> str:
    # MIME ends lines in its own way, and every body with one.
    return value.replace("\r\n", "\n").rstrip("\n")
