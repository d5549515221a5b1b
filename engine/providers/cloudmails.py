"""CloudMails: `POST /send` and `POST /send/batch`, up to 1000 messages.

The answers are not documented: `engine.providers.tolerant` reads them.

There is no key against sending twice, and a lost answer cannot be looked up: the status
endpoint wants the id that was in it. What we send along in `custom_args` comes back in
webhooks, and is the only way to learn of a message in doubt.

Source:
    "SMTP API Documentation", REST API, of cloudmails.eu, read 2026-11-20.
"""

from collections.abc import Mapping
from datetime import date
from typing import ClassVar

import orjson

from engine.message import Batch, Envelope, Messages, Request, Response
from engine.outcome import Outcomes
from engine.providers import tolerant
from engine.providers.base import SUCCESS, Capabilities, Finding, refuse

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class CloudMails:
    """The provider `cloudmails`. See `engine.providers.base.Provider`."""

    name: ClassVar[str] = "cloudmails"
    default_base_url: ClassVar[str] = "https://api.cloudmails.eu/v1"
    settings: ClassVar[tuple[str, ...]] = ()
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_batch=1000,  # "Maximum 1000 messages per batch request"
        max_batch_bytes=10_000_000,  # not documented: small enough for common servers
        per_item_results="tolerant",  # not documented
        all_or_nothing=True,  # 400: "Missing required fields or malformed JSON"
        idempotency="none",  # no such header or field
        key_seconds=0.0,
        raw_mime=False,
        headers=False,  # no such field
        tags=False,  # no such field; they travel in `custom_args`
        display_names=False,  # `to` is a "Recipient email address"
        test_mode=False,
        bulk_allowed=True,  # "personalized campaigns to large lists"
        lookup="none",  # GET /emails/{message_id} alone, no list or search
        requires_html=True,  # `html`: required
        rate_headers=(),  # 429 exists, its headers are not documented
        read_on=date(2026, 11, 20),
    )

    def __init__(self, envelope: Envelope, *, batch_size: int) -> None:
        most = self.capabilities.max_batch
        if not 1 <= batch_size <= most:
            raise ValueError(f"batch_size is {batch_size}: must be 1 to {most}")
        self._envelope = envelope
        self._batch_size = batch_size
        self._sender = _constant(envelope.sender)
        reply_to, tags = envelope.reply_to, ",".join(envelope.tags)
        self._ours = (
            (b',"reply_to":' + _constant(reply_to) if reply_to else b"")
            + b',"custom_args":{"campaign":'
            + _constant(envelope.campaign)
            + b',"run":'
            + _constant(envelope.run)
            + b',"row":%b,"message_id":%b'
            + (b',"tags":' + _constant(tags) if tags else b"")
            + b"}}"
        )

    def credentials(self, token: str) -> Mapping[str, str]:
        """Return the headers that the wire adds as it sends."""
        return {"Authorization": f"Bearer {token}"}

    def review(self) -> list[Finding]:
        """Return what of the envelope CloudMails cannot carry."""
        envelope = self._envelope
        found: list[Finding] = []
        if not envelope.html:
            told = "CloudMails requires an HTML part: write [message] html"
            found.append(Finding("error", told))
        if envelope.headers:
            told = f"CloudMails cannot carry headers: {', '.join(envelope.headers)}"
            if any(name.lower() == "list-unsubscribe" for name in envelope.headers):
                told += "; recipients get no one-click unsubscribe, so put a link in"
            found.append(Finding("warning", told))
        if envelope.tags:
            told = (
                f"CloudMails has no tags: {', '.join(envelope.tags)} will come back in "
                "its webhooks, under custom_args, but its statistics do not know them"
            )
            found.append(Finding("warning", told))
        if envelope.named:
            told = "CloudMails takes bare addresses: display names are not sent in To"
            found.append(Finding("warning", told))
        return found

    def encode(self, messages: Messages) -> list[bytes]:
        """Return one JSON object per message.

        What all messages share is encoded once, and the rest goes into its gaps: half
        the time of a dict per message (1.6 against 3.7 us for 2.2 kB, 2026-11-20).
        """
        form = b'{"to":%b,"from":' + self._sender + b',"subject":%b'
        columns = [
            map(orjson.dumps, messages.addresses),
            map(orjson.dumps, messages.subjects),
        ]
        for field, texts in ((b"html", messages.htmls), (b"text", messages.texts)):
            if texts is not None:
                form += b',"' + field + b'":%b'
                columns.append(map(orjson.dumps, texts))
        form += self._ours
        columns.append(map(orjson.dumps, map(str, messages.rows)))
        columns.append(map(orjson.dumps, messages.message_ids))
        return [form % values for values in zip(*columns, strict=True)]

    def request(self, batch: Batch) -> Request:
        """Join the parts of a batch.

        Raises:
            ValueError: the batch is empty or larger than `batch_size`.
        """
        if not 1 <= len(batch) <= self._batch_size:
            raise ValueError(
                f"batch {batch.id} has {len(batch)} messages: "
                f"must be 1 to {self._batch_size}"
            )
        if self._batch_size == 1:
            return Request("POST", "/send", _HEADERS, batch.parts[0])
        body = b'{"messages":[' + b",".join(batch.parts) + b"]}"
        return Request("POST", "/send/batch", _HEADERS, body)

    def outcomes(self, batch: Batch, response: Response) -> Outcomes:
        """Read an answer: one place per message, in the order of the batch."""
        if response.status not in SUCCESS:
            # 403: "Sender address not verified"
            raise refuse(response, provider=self.name, forbidden="sender_not_verified")
        single = self._batch_size == 1
        return tolerant.read(
            batch, response, provider=self.name, echo="custom_args", single=single
        )


def _constant(text: str) -> bytes:
    # For a place in a bytes format, where "%" has a meaning.
    return orjson.dumps(text).replace(b"%", b"%%")
