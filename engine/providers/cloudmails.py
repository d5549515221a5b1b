"""CloudMails: `POST /send` and `POST /send/batch`, up to 1000 messages.

The answers are not documented: `engine.providers.tolerant` reads them.

There is no key against sending twice, and a lost answer cannot be looked up: the status
endpoint wants the id that was in it. What we send along in `custom_args` comes back in
webhooks, and is the only way to learn of a message in doubt.

Source:
    "SMTP API Documentation", REST API, of cloudmails.eu, read 2026-11-20.
"""

from collections.abc import Mapping, Sequence
from datetime import date
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
from engine.outcome import Outcomes
from engine.providers import tolerant
from engine.providers.base import (
    SUCCESS,
    Capabilities,
    Credentials,
    Finding,
    check_batch_size,
    refuse,
)
from engine.providers.form import Form, bare, check_batch, fragment, listed, post
from engine.providers.review import review

#: The field of a batch that holds its messages.
_LIST = "messages"


class CloudMails:
    """The provider `cloudmails`. See `engine.providers.base.Provider`."""

    name: ClassVar[str] = "cloudmails"
    title: ClassVar[str] = "CloudMails"
    default_base_url: ClassVar[str] = "https://api.cloudmails.eu/v1"
    settings: ClassVar[Mapping[str, str]] = {}
    rehearsal: ClassVar[Mapping[str, str]] = {}
    variables: ClassVar[Mapping[str, str]] = {
        "CLOUDMAILS_API_KEY": "the API key, of the dashboard's Settings, API Keys",
    }
    traps: ClassVar[tuple[str, ...]] = (
        (
            "The answer to a batch is not documented: every form is read that is "
            "public knowledge, and what cannot be told apart is in doubt."
        ),
        "An answer that is lost cannot be asked for again: only webhooks settle it.",
        "html is required, even where there is a text.",
        "It has no header fields, so no one-click unsubscribe of yours travels.",
        (
            "Two public pages describe it differently; the one with /send/batch is "
            "spoken, and the events of both are understood."
        ),
    )
    sources: ClassVar[tuple[str, ...]] = (
        '"SMTP API Documentation", REST API, of cloudmails.eu',
        (
            "docs/api-reference.php and docs/webhooks.php of cloudmails.eu (the second "
            "form of answers and events)"
        ),
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_batch=1000,  # "Maximum 1000 messages per batch request"
        max_batch_bytes=10_000_000,  # not documented: small enough for common servers
        per_item_results="tolerant",  # not documented
        all_or_nothing=True,  # 400: "Missing required fields or malformed JSON"
        idempotency="none",  # no such header or field
        key_seconds=0.0,
        raw_mime=False,
        features=frozenset(
            {
                Feature.REPLY_TO,
                Feature.CC,
                Feature.BCC,
                Feature.ATTACHMENTS,
                Feature.METADATA,  # `custom_args`
                # No field: headers, tags, switches for tracking, invitations. `to` is
                # a "Recipient email address": no names. No content id: nothing inline.
            }
        ),
        max_recipients=None,  # not documented
        messages_per_second=None,  # 429 exists, its numbers are not documented
        requests_per_second=None,
        test_mode=False,
        bulk_allowed=True,  # "personalized campaigns to large lists"
        lookup="none",  # GET /emails/{message_id} alone, no list or search
        requires_html=True,  # `html`: required
        rate_headers=(),  # 429 exists, its headers are not documented
        read_on=date(2026, 11, 20),
    )

    def __init__(self, envelope: Envelope, *, batch_size: int) -> None:
        check_batch_size(batch_size, self.capabilities)
        self._envelope = envelope
        self._batch_size = batch_size

    def credentials(self, token: str) -> Credentials:
        """Return the header that the wire adds as it sends."""
        return Credentials({"Authorization": f"Bearer {token}"})

    def review(self) -> list[Finding]:
        """Return what of the envelope CloudMails cannot carry."""
        found = review(self._envelope, title=self.title, can=self.capabilities)
        if self._envelope.tags:
            told = "the tags come back in CloudMails' webhooks, under custom_args"
            found.append(Finding("warning", told))
        return found

    def encode(self, messages: Messages) -> Sequence[bytes]:
        """Return one JSON object per message."""
        form = Form(len(messages))
        form.text("to", messages.addresses)
        form.fixed("from", self._envelope.sender)
        form.text("subject", messages.subjects)
        if messages.htmls is not None:
            form.text("html", messages.htmls)
        if messages.texts is not None:
            form.text("text", messages.texts)
        form.extras(self._envelope, messages, _fields)
        form.facts("custom_args", self._envelope, messages)
        room = self.capabilities.max_batch_bytes
        return form.listed(_LIST, most=self._batch_size, most_bytes=room)

    def request(self, batch: Batch) -> Request:
        """Join the parts of a batch.

        Raises:
            ValueError: the batch is empty or larger than `batch_size`.
        """
        check_batch(batch, self._batch_size)
        if self._batch_size == 1:
            return post("/send", batch.parts[0])
        return post("/send/batch", listed(_LIST, batch.parts))

    def outcomes(self, batch: Batch, response: Response) -> Outcomes:
        """Read an answer: one place per message, in the order of the batch."""
        if response.status not in SUCCESS:
            # 403: "Sender address not verified"
            raise refuse(response, provider=self.name, forbidden="sender_not_verified")
        single = self._batch_size == 1
        return tolerant.read(
            batch, response, provider=self.name, echo="custom_args", single=single
        )


def _fields(extras: Extras) -> bytes:
    """Return the fields of what a message has beside its recipient and bodies."""
    return fragment(
        {
            "reply_to": extras.reply_to,
            "cc": bare(extras.cc),
            "bcc": bare(extras.bcc),
            "attachments": [*map(_attachment, extras.files())] or None,
        }
    )


def _attachment(file: Attachment) -> dict[str, str]:
    # docs/api-reference.php; the document leaves the form open.
    return {"name": file.name, "content": file.content}
