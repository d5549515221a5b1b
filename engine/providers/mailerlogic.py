"""MailerLogic: `POST /api/v1/send` and `POST /api/v1/batch`, up to 500 messages.

The answer to a single message is documented. That to a batch counts (`total`, `queued`,
`failed`); how it names its messages is not known: `engine.providers.tolerant` reads it.

Each message of a batch is validated by itself, and one that fails does not affect the
others: failures are told in a 200. A 400 is therefore about the request, and nothing
of it was accepted. But that is not said in so many words, so its parts are not sent
again (`all_or_nothing` is False), and a 400 that counts what was queued is read like a
200.

There is no key against sending twice. What we send along in `metadata` comes back in
every webhook, and our own message id is in it.

Source:
    "Send a single email" of developers.mailerlogic.com; its pages "Send batch of
    different emails", on limits (FAQ) and on stream types. Read 2026-11-20.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from http import HTTPStatus
from typing import ClassVar

import orjson

from engine.errors import ProviderError
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
from engine.providers.answers import is_about_the_sender, snake
from engine.providers.base import (
    SUCCESS,
    Capabilities,
    Credentials,
    Finding,
    check_batch_size,
    refuse,
)
from engine.providers.form import Form, bare, check_batch, fragment, listed, post
from engine.providers.review import choice, review

#: The field of a batch that holds its messages.
_LIST = "emails"
_STREAMS = ("transactional", "broadcast", "shared")
#: "Unique email ID for tracking", of its webhooks and its Events API, comes first.
_IDS = ("email_id", "message_id", "id")
#: Bytes; "Max per file: 10 MB (configurable)".
_LARGEST_FILE = 10 * 1024 * 1024


class MailerLogic:
    """The provider `mailerlogic`. See `engine.providers.base.Provider`.

    Args:
        envelope: what all messages share.
        batch_size: 1 to 500.
        domain: the sending domain; None: MailerLogic takes the first that is verified.
        stream_type: the pool of addresses that it is sent from; None: `broadcast` for
            marketing, else `transactional`.
    """

    name: ClassVar[str] = "mailerlogic"
    title: ClassVar[str] = "MailerLogic"
    default_base_url: ClassVar[str] = "https://api.mailerlogic.net"
    settings: ClassVar[Mapping[str, str]] = {
        "domain": "the sending domain; else the first of the account that is verified",
        "stream_type": (
            '"transactional", "broadcast" or "shared"; else broadcast for marketing, '
            "and transactional for what is not"
        ),
    }
    rehearsal: ClassVar[Mapping[str, str]] = {}
    variables: ClassVar[Mapping[str, str]] = {
        "MAILERLOGIC_API_KEY": "the API key, ml_live_…, of the dashboard",
    }
    traps: ClassVar[tuple[str, ...]] = (
        (
            "How the answer to a batch names its messages is not documented: where it "
            "tells numbers of failures alone, the batch is in doubt."
        ),
        "It takes one tag: the first is sent, all of them come back as metadata.",
        "Header fields of yours are in its webhooks, too; metadata is not in the mail.",
        "What exceeds the account's throughput (50/s, 500/s) is queued, not refused.",
        "Two hosts are public: api.mailerlogic.net, and in older pages .io.",
        "There is no test mode and no key against sending twice.",
        "Its Events API is part of some plans alone, and has another authentication.",
    )
    sources: ClassVar[tuple[str, ...]] = (
        '"Send a single email", POST /api/v1/send, of developers.mailerlogic.com',
        '"Send batch of different emails", of developers.mailerlogic.com',
        "its FAQ: rate limits and throughput",
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_batch=500,  # "Maximum 500 emails per batch"
        # "Max total size: 25 MB (including HTML)" is one message's; of a request no
        # limit is named. So one message of any size passes that is allowed at all, and
        # no request is larger than a request for that.
        max_batch_bytes=25_000_000,
        per_item_results="tolerant",  # not documented
        all_or_nothing=False,  # "Each email validated independently"
        idempotency="none",  # no such header or field
        key_seconds=0.0,
        raw_mime=False,
        features=frozenset(
            {
                Feature.REPLY_TO,
                Feature.CC,
                Feature.BCC,
                Feature.HEADERS,
                Feature.TAGS,  # one
                Feature.METADATA,
                Feature.ATTACHMENTS,
                Feature.CALENDAR,
                Feature.TRACKING,
                # `to` is a "Recipient email address": no names. No content id.
            }
        ),
        max_recipients=None,  # not documented
        messages_per_second=None,  # the excess is queued
        requests_per_second=10.0,  # "600 requests per minute per customer"
        test_mode=False,
        bulk_allowed=True,  # "broadcast: Marketing campaigns and newsletters"
        lookup="recipient",  # GET /api/v1/events by recipient and time
        requires_html=False,  # neither html nor text is marked so
        rate_headers=(
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",  # seconds since 1970
        ),
        read_on=date(2026, 11, 20),
    )

    def __init__(
        self,
        envelope: Envelope,
        *,
        batch_size: int,
        domain: str | None = None,
        stream_type: str | None = None,
    ) -> None:
        check_batch_size(batch_size, self.capabilities)
        self._envelope = envelope
        self._batch_size = batch_size
        self._domain = domain
        is_marketing = envelope.kind == "marketing"
        self._stream = stream_type or ("broadcast" if is_marketing else "transactional")

    def credentials(self, token: str) -> Credentials:
        """Return the header that the wire adds as it sends."""
        return Credentials({"X-API-Key": token})

    def review(self) -> list[Finding]:
        """Return what of the envelope MailerLogic cannot carry."""
        envelope = self._envelope
        found = [
            *choice("stream_type", self._stream, _STREAMS),
            *review(envelope, title=self.title, can=self.capabilities),
        ]
        told = []
        if len(envelope.tags) > 1:
            told.append(
                f"MailerLogic takes one tag: {envelope.tags[0]} is sent; the others "
                "come back in its webhooks alone, under metadata"
            )
        if envelope.kind == "marketing" and self._stream == "transactional":
            told.append(
                'stream_type = "transactional" is for passwords and confirmations: '
                "marketing spoils the standing of the addresses it is sent from"
            )
        told += [
            f"MailerLogic takes 10 MB in one attachment, unless your account has "
            f"another limit: {file.name} has {_size(file):,} bytes"
            for file in envelope.extras.attachments
            if _size(file) > _LARGEST_FILE
        ]
        return [*found, *(Finding("warning", text) for text in told)]

    def encode(self, messages: Messages) -> Sequence[bytes]:
        """Return one JSON object per message."""
        envelope, form = self._envelope, Form(len(messages))
        if self._domain is not None:
            form.fixed("domain", self._domain)
        form.fixed("from", envelope.sender)
        form.text("to", messages.addresses)
        form.text("subject", messages.subjects)
        if messages.htmls is not None:
            form.text("html", messages.htmls)
        if messages.texts is not None:
            form.text("text", messages.texts)
        if envelope.track_opens is not None:
            form.fixed("track_opens", envelope.track_opens)
        if envelope.track_clicks is not None:
            form.fixed("track_clicks", envelope.track_clicks)
        if envelope.tags:
            form.fixed("tag", envelope.tags[0])
        form.fixed("stream_type", self._stream)
        form.extras(envelope, messages, _fields)
        form.facts("metadata", envelope, messages)
        room = self.capabilities.max_batch_bytes
        return form.listed(_LIST, most=self._batch_size, most_bytes=room)

    def request(self, batch: Batch) -> Request:
        """Join the parts of a batch.

        Raises:
            ValueError: the batch is empty or larger than `batch_size`.
        """
        check_batch(batch, self._batch_size)
        if self._batch_size == 1:
            return post("/api/v1/send", batch.parts[0])
        return post("/api/v1/batch", listed(_LIST, batch.parts))

    def outcomes(self, batch: Batch, response: Response) -> Outcomes:
        """Read an answer: one place per message, in the order of the batch."""
        single = self._batch_size == 1
        if response.status not in SUCCESS and (single or not _counts(response)):
            raise _refused(response)
        return tolerant.read(
            batch,
            response,
            provider=self.name,
            single=single,
            echo="metadata",
            ids=_IDS,
        )


def _fields(extras: Extras) -> bytes:
    """Return the fields of what a message has beside its recipient and bodies."""
    return fragment(
        {
            "reply_to": extras.reply_to,
            "cc": bare(extras.cc),
            "bcc": bare(extras.bcc),
            "headers": extras.headers or None,
            "attachments": [*map(_attachment, extras.attachments)] or None,
            "icalEvent": extras.calendar,
        }
    )


def _attachment(file: Attachment) -> dict[str, str]:
    return {
        "filename": file.name,
        "content": file.content,
        "contentType": file.content_type,
        "encoding": "base64",
    }


def _size(file: Attachment) -> int:
    """Return the bytes of a file, without its base64; up to two too many."""
    return len(file.content) * 3 // 4


# ---- answers ----------------------------------------------------------------------

#: The statuses of a refusal that may count the messages of a batch after all.
_CONTENTS = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)


def _counts(response: Response) -> bool:
    """Whether a refusal of a batch says how many of its messages were queued."""
    return response.status in _CONTENTS and "queued" in _told(response)


def _told(response: Response) -> Mapping[str, object]:
    try:
        answer = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _refused(response: Response) -> ProviderError:
    """Say what an answer outside 2xx means at MailerLogic."""
    reason = snake(_told(response).get("reason")) or "forbidden"
    if is_about_the_sender(reason):
        reason = "sender_not_verified"
    error = refuse(response, provider=MailerLogic.name, forbidden=reason)
    if response.status == HTTPStatus.NOT_FOUND:
        error.hint = "check [provider] domain, which has to be verified, and base_url"
    return error
