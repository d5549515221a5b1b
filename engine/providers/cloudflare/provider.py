"""The provider: settings, limits, requests.

A message is written whole by `engine.mime` and sent as text in JSON (`raw`), or as its
parts, which Cloudflare puts together (`json`). The envelope of a raw message is
`recipients`: bare addresses, those in cc and bcc among them.

There is no key against sending twice. A lost answer can be looked up by recipient,
subject and time alone, in the zone's analytics.

Source:
    as `engine.providers.cloudflare`; the Python client of Cloudflare, 5.9.0, for the
    fields of `send`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import cached_property
from itertools import repeat
from typing import ClassVar

from engine.message import (
    Attachment,
    Batch,
    Envelope,
    Extras,
    Feature,
    Messages,
    Request,
    Response,
)
from engine.mime import Skeleton
from engine.mime.mailbox import Mailbox, ascii_domain
from engine.mime.mailbox import parse as parse_mailbox
from engine.outcome import Outcomes
from engine.providers.base import (
    Capabilities,
    Credentials,
    Finding,
    check_batch_size,
)
from engine.providers.cloudflare import account, answer
from engine.providers.cloudflare.header import review_headers
from engine.providers.form import Form, check_batch, fragment, post
from engine.providers.review import choice, review

_FORMATS = ("raw", "json")


class Cloudflare:
    """The provider `cloudflare`. See `engine.providers.base.Provider`.

    Args:
        envelope: what all messages share.
        batch_size: 1.
        account_id: the account's id, which stands in the path.
        format: `raw` or `json`.
        email: of the user whose Global API Key the token is; None: it is an API token.

    Raises:
        CampaignError: `account_id` cannot stand in a path.
    """

    name: ClassVar[str] = answer.NAME
    title: ClassVar[str] = "Cloudflare Email Sending"
    default_base_url: ClassVar[str] = "https://api.cloudflare.com/client/v4"
    settings: ClassVar[Mapping[str, str]] = {
        "account_id": "the account's id, 32 hexadecimal digits; required",
        "format": '"raw" (default): whole messages of RFC 5322, or "json": their parts',
        "email": "the user's address, if the token is a Global API Key (the old way)",
    }
    rehearsal: ClassVar[Mapping[str, str]] = {"account_id": "sandbox"}
    variables: ClassVar[Mapping[str, str]] = {
        "CLOUDFLARE_API_TOKEN": "an API token with the permission Email Sending: Edit",
        "CLOUDFLARE_ACCOUNT_ID": "the account's id, for [provider] account_id",
        "CLOUDFLARE_API_KEY": "the Global API Key, the old way; it needs an email",
        "CLOUDFLARE_EMAIL": "the address that belongs to it, for [provider] email",
    }
    traps: ClassVar[tuple[str, ...]] = (
        (
            "1200 requests in 5 minutes for a user, and one message in each: 10 000 "
            "recipients take 42 minutes. Above that everything is refused for the next "
            "5 minutes, the dashboard included."
        ),
        (
            "A recipient on the account's suppression list fails the whole send, those "
            "in cc and bcc with it: fetch the list before, by mailvolley suppress "
            "fetch."
        ),
        "A 200 may be a bounce: each recipient is in a list of its own.",
        (
            "Two editions of the documents swap the error numbers 10200 and 10202, too "
            "big and invalid: the words count."
        ),
        "A new account's daily quota is small, and grows with its reputation.",
        "Transactional mail alone is allowed; it is a beta, on the Workers Paid plan.",
        (
            "sending_disabled, which stops the run, is also the answer some minutes "
            "after a domain was set up, and before it is for unverified recipients."
        ),
        'With format = "json" Cloudflare writes Date and Message-ID itself.',
        "A subject of more than 998 characters is refused.",
        (
            "Messages up to 25 MiB go to verified destination addresses, 5 MiB to all "
            "others."
        ),
        "There are no webhooks: events go to a Cloudflare Queue, for a Worker to post.",
        "Its own clients try again by themselves, and may send twice.",
    )
    sources: ClassVar[tuple[str, ...]] = (
        '"Send a raw MIME email message", of Cloudflare\'s API reference',
        (
            "Cloudflare's Email Service: REST API, Limits, Email headers, Suppression "
            "lists"
        ),
        "OpenAPI schema of send and send_raw; cloudflare-python 5.9.0",
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_batch=1,  # there is no endpoint for more
        max_batch_bytes=5 * 1024 * 1024,  # "5 MiB", "including attachments"
        per_item_results="keyed",  # by address
        all_or_nothing=True,  # 400, 429: "No email will be sent when this happens"
        idempotency="none",  # no such header or field
        key_seconds=0.0,
        raw_mime=True,
        features=frozenset(
            {
                Feature.REPLY_TO,
                Feature.CC,
                Feature.BCC,
                Feature.NAMES,
                Feature.HEADERS,
                Feature.ATTACHMENTS,
                Feature.INLINE,
                Feature.CALENDAR,  # in a raw message; the parts have no place for it
                # No field: tags, metadata, switches for tracking.
            }
        ),
        max_recipients=50,  # "Combined across all recipient fields"
        messages_per_second=None,
        requests_per_second=4.0,  # "1200 requests per five minutes"
        test_mode=False,
        bulk_allowed=False,  # "transactional"
        lookup="recipient",  # in the zone's analytics (GraphQL)
        requires_html=False,
        rate_headers=("retry-after", "ratelimit", "ratelimit-policy"),
        read_on=date(2026, 11, 20),
    )

    def __init__(
        self,
        envelope: Envelope,
        *,
        batch_size: int,
        account_id: str | None = None,
        format: str = "raw",  # noqa: A002 - the key that users write
        email: str | None = None,
    ) -> None:
        check_batch_size(batch_size, self.capabilities)
        self._envelope = envelope
        self._account_id = None if account_id is None else account.check(account_id)
        self._format = format
        self._email = email

    def credentials(self, token: str) -> Credentials:
        """Return the header, or the two, that the wire adds as it sends."""
        return account.credentials(token, self._email)

    def review(self) -> list[Finding]:
        """Return what of the envelope Cloudflare cannot carry."""
        can, raw = self.capabilities, self._format == "raw"
        if not raw:
            can = replace(can, features=can.features - {Feature.CALENDAR})
        missing = [] if self._account_id is not None else [_NO_ACCOUNT]
        return [
            *missing,
            *self._strangers_key(),
            *choice("format", self._format, _FORMATS),
            *review(self._envelope, title=self.title, can=can),
            *_wide(self._envelope),
            *review_headers(self._envelope, listed=not raw),
        ]

    def _strangers_key(self) -> list[Finding]:
        """Say whether the address that a key belongs to is none."""
        if self._email is None or account.is_email(self._email):
            return []
        told = (
            f'[provider] email = "{self._email}": write the address of the user whose '
            "Global API Key the token is, or leave it out for an API token"
        )
        return [Finding("error", told)]

    def encode(self, messages: Messages) -> list[bytes]:
        """Return one JSON object per message."""
        return self._parts(messages) if self._format == "json" else self._raw(messages)

    def _raw(self, messages: Messages) -> list[bytes]:
        form = Form(len(messages))
        form.fixed("from", _bare(self._envelope.sender))
        form.text("mime_message", self._skeleton.encode(messages))
        if messages.extras is None:
            copies: Iterable[list[str]] = repeat(
                _copies(self._envelope.extras), len(messages)
            )
        else:
            copies = map(_copies, messages.extras)
        form.column("recipients", map(_recipients, messages.addresses, copies))
        return form.rows()

    @cached_property
    def _skeleton(self) -> Skeleton:
        return Skeleton(self._envelope)

    def _parts(self, messages: Messages) -> list[bytes]:
        form = Form(len(messages))
        form.fixed("from", _person(parse_mailbox(self._envelope.sender)))
        people = map(Mailbox, messages.names, messages.addresses)
        form.column("to", map(_person, people))
        form.text("subject", messages.subjects)
        if messages.htmls is not None:
            form.text("html", messages.htmls)
        if messages.texts is not None:
            form.text("text", messages.texts)
        form.extras(self._envelope, messages, _fields)
        return form.rows()

    def request(self, batch: Batch) -> Request:
        """Return the request of one message.

        Raises:
            ValueError: the batch has not one message.
        """
        check_batch(batch, 1)
        action = "send" if self._format == "json" else "send_raw"
        path = f"/accounts/{self._account_id}/email/sending/{action}"
        return post(path, batch.parts[0])

    def outcomes(self, batch: Batch, response: Response) -> Outcomes:
        """Read an answer: what became of the message's own recipient."""
        return answer.outcomes(batch, response)


_NO_ACCOUNT = Finding("error", account.MISSING)


def _wide(envelope: Envelope) -> list[Finding]:
    """Say which addresses cannot be written in ASCII; SMTPUTF8 is not documented."""
    extras = envelope.extras
    reply_to = () if extras.reply_to is None else (extras.reply_to,)
    written = (envelope.sender, *reply_to, *extras.cc, *extras.bcc)
    return [
        Finding(
            "error",
            f"Cloudflare cannot be trusted with {address}: before the @ it has letters "
            "beyond ASCII",
        )
        for address in map(_bare, written)
        if not address.rpartition("@")[0].isascii()
    ]


# ---- fields ------------------------------------------------------------------------


def _bare(text: str) -> str:
    """Return the address of `Name <address>`, its domain in ASCII."""
    return ascii_domain(parse_mailbox(text).address)


def _copies(extras: Extras) -> list[str]:
    return [*map(_bare, (*extras.cc, *extras.bcc))]


def _recipients(address: str, copies: list[str]) -> list[str]:
    """Return everybody who gets a message, each once."""
    once: dict[str, str] = {}
    for one in (ascii_domain(address), *copies):
        once.setdefault(one.casefold(), one)
    return [*once.values()]


def _person(box: Mailbox) -> str | dict[str, str]:
    address = ascii_domain(box.address)
    return {"address": address, "name": box.name} if box.name else address


def _people(texts: Iterable[str]) -> list[str | dict[str, str]] | None:
    return [_person(parse_mailbox(text)) for text in texts] or None


def _fields(extras: Extras) -> bytes:
    """Return the fields of what a message has beside its recipient and bodies."""
    reply_to = extras.reply_to
    return fragment(
        {
            "cc": _people(extras.cc),
            "bcc": _people(extras.bcc),
            "reply_to": None if reply_to is None else _person(parse_mailbox(reply_to)),
            "headers": dict(extras.headers) or None,
            "attachments": [*map(_attachment, extras.files())] or None,
        }
    )


def _attachment(file: Attachment) -> dict[str, str]:
    fields = {
        "content": file.content,
        "filename": file.name,
        "type": file.content_type,
        "disposition": "attachment",
    }
    if file.content_id is not None:
        fields |= {"disposition": "inline", "content_id": file.content_id}
    return fields
