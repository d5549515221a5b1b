"""What CloudMailin's API can do, the requests it takes and what its answers mean."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from functools import cached_property
from http import HTTPStatus
from typing import ClassVar
from urllib.parse import quote, unquote, urlsplit

from engine.errors import CampaignError, ProviderError
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
from engine.mime.mailbox import ascii_domain
from engine.outcome import Outcomes, Status
from engine.providers import tolerant
from engine.providers.answers import parse
from engine.providers.base import (
    SUCCESS,
    Capabilities,
    Credentials,
    Finding,
    check_batch_size,
    refuse,
)
from engine.providers.cloudmailin import field
from engine.providers.form import Form, check_batch, post
from engine.providers.review import choice, review

_FORMATS = ("json", "raw")
_PRIORITIES = ("standard", "priority", "digest")
#: The header that is the `priority` of a raw message; its schema has no such field.
_CLASS = "x-cloudmta-class"
#: "Although not exhaustive the following attachments are not permitted"
_REFUSED_FILES = frozenset(
    {"vbs", "exe", "bin", "bat", "chm", "com", "hta", "pif", "reg", "vbe", "vba"}
    | {"msc", "msi"}
)
_URL_FORM = "smtp://USERNAME:TOKEN@smtp.cloudmta.net:587?starttls=true"
_USERNAME_HINT = (
    "write [provider] username, which is the username of the SMTP account, or let the "
    f"token be the whole URL: {_URL_FORM}"
)


class CloudMailin:
    """The provider `cloudmailin`. See `engine.providers.base.Provider`.

    Args:
        envelope: what all messages share.
        batch_size: 1.
        username: of the SMTP account; may come with the token instead.
        format: `json` or `raw`.
        priority: `standard`, `priority` or `digest`; None: CloudMailin's own choice.
        test_mode: whether messages are checked and not sent.
        markdown: whether Markdown bodies go out as they are, for CloudMailin to make
            HTML of.
    """

    name: ClassVar[str] = "cloudmailin"
    title: ClassVar[str] = "CloudMailin"
    default_base_url: ClassVar[str] = "https://api.cloudmailin.com/api/v0.1"
    settings: ClassVar[Mapping[str, str]] = {
        "username": "the username of the SMTP account; not needed if the token has it",
        "format": '"json" (default), or "raw": whole messages of RFC 5322',
        "priority": '"standard", "priority" or "digest"; digests have to say so',
        "test_mode": "true: messages are checked, and nobody is mailed",
        "markdown": "true: Markdown bodies go out as they are (ask CloudMailin first)",
    }
    rehearsal: ClassVar[Mapping[str, str]] = {"username": "0123456789abcdef"}
    variables: ClassVar[Mapping[str, str]] = {
        "CLOUDMAILIN_SMTP_URL": f"username and token of the SMTP account: {_URL_FORM}",
        "CLOUDMAILIN_API_BASE_URL": "an address in place of the public one",
    }
    traps: ClassVar[tuple[str, ...]] = (
        (
            "An accepted message need not leave: what is taken for spam, or comes from "
            "a domain that is not verified, gets a 202 and then the event suppressed."
        ),
        (
            "What exceeds the domain's allowance is not refused but held back, with "
            "the event rate_limit."
        ),
        "Transactional mail alone is allowed; digests are tolerated, marked as such.",
        "There is no bcc, and at most 20 recipients in a message.",
        (
            "Two credentials: the SMTP account's sends, the account's API token does "
            "all the rest. Neither does the other's work."
        ),
        (
            "An SMTP account for tests never mails anybody, whatever test_mode says; "
            "the results say so in their detail."
        ),
        "Attachments of some types are refused: exe, bat, msi and their like.",
        "Markdown has to be enabled by CloudMailin's support.",
        (
            "The documents once named 5 calls a minute, without saying whether that "
            "binds sending: set requests_per_second if you meet 429."
        ),
        "A bounce rate above 2 % is looked into, and the volume is ramped up slowly.",
    )
    sources: ClassVar[tuple[str, ...]] = (
        '"CloudMailin Send Email Message API", of docs.cloudmailin.com',
        "Core API of CloudMailin: Message, RawMessage, MessageAttachment",
        '"Sending with CloudMailin Outbound": limits and what is not permitted',
        "the clients cloudmailin-js and cloudmailin-go: CLOUDMAILIN_SMTP_URL",
    )
    capabilities: ClassVar[Capabilities] = Capabilities(
        max_batch=1,  # there is no endpoint for more
        max_batch_bytes=10_000_000,  # "10 MB", "all message content and encoding"
        per_item_results="ordered",  # one message, one answer
        all_or_nothing=True,  # likewise
        idempotency="none",  # no such header or field
        key_seconds=0.0,
        raw_mime=True,
        features=frozenset(
            {
                Feature.REPLY_TO,  # a header; there is no field
                Feature.CC,
                Feature.NAMES,
                Feature.HEADERS,
                Feature.TAGS,
                Feature.ATTACHMENTS,
                Feature.INLINE,
                # No field: bcc, metadata, tracking, and invitations in JSON.
            }
        ),
        max_recipients=20,  # "a maximum of 20 recipients"
        messages_per_second=None,  # the excess is queued
        requests_per_second=None,  # 5 a minute in 2021, for other endpoints
        test_mode=True,
        bulk_allowed=False,  # "Marketing or bulk messages are not permitted"
        lookup="tag",
        requires_html=False,  # "Either the plain text, html, or markdown"
        rate_headers=(),  # 429 is not documented
        read_on=date(2026, 11, 20),
    )

    def __init__(
        self,
        envelope: Envelope,
        *,
        batch_size: int,
        username: str | None = None,
        format: str = "json",  # noqa: A002 - the key that users write
        priority: str | None = None,
        test_mode: bool = False,
        markdown: bool = False,
    ) -> None:
        check_batch_size(batch_size, self.capabilities)
        self._envelope = envelope
        self._username = username
        self._format = format
        self._priority = priority
        self._test_mode = test_mode
        self._markdown = markdown

    def credentials(self, token: str) -> Credentials:
        """Return the header and the path that the wire adds as it sends.

        Args:
            token: of the SMTP account, alone or in the URL of CLOUDMAILIN_SMTP_URL.

        Raises:
            CampaignError: there is no username, or two; or the URL cannot be read.
        """
        username = self._username
        if token.lower().startswith(("smtp://", "smtps://")):
            named, token = _taken_apart(token)
            if username not in (None, named):
                # Not quoted: who mixes up the parts has the token there.
                raise CampaignError(
                    f'[provider] username = "{username}": the SMTP URL that token '
                    "holds has another username",
                    hint="leave out [provider] username, or correct one of them",
                )
            username = named
        if not username:
            raise CampaignError("[provider] username is missing", hint=_USERNAME_HINT)
        path = "/" + quote(username, safe="")
        return Credentials({"Authorization": f"Bearer {token}"}, path)

    def review(self) -> list[Finding]:
        """Return what of the envelope CloudMailin cannot carry."""
        can, raw = self.capabilities, self._format == "raw"
        if raw:
            can = replace(can, features=can.features | {Feature.CALENDAR})
        digest = self._priority == "digest"
        found = [
            *choice("format", self._format, _FORMATS),
            *choice("priority", self._priority, _PRIORITIES),
            *review(
                self._envelope,
                title=self.title,
                can=replace(can, bulk_allowed=digest),
            ),
            *_refused_files(self._envelope.extras.attachments),
        ]
        told = []
        if self._envelope.kind == "marketing":
            told.append(_DIGEST if digest else _PERHAPS_A_DIGEST)
        if self._test_mode:
            told.append("test_mode = true: CloudMailin checks and mails nobody")
        if self._markdown and raw:
            told.append(
                'markdown = true does nothing with format = "raw": the HTML made of '
                "the Markdown is sent"
            )
        elif self._markdown and not self._envelope.markdown:
            told.append("markdown = true does nothing: no body is written in Markdown")
        return [*found, *(Finding("warning", text) for text in told)]

    def encode(self, messages: Messages) -> list[bytes]:
        """Return one JSON object per message."""
        if self._format == "raw":
            return self._encode_raw(messages)
        form = Form(len(messages))
        form.fixed("from", self._envelope.sender)
        people = zip(messages.names, messages.addresses, strict=True)
        form.column("to", ([field.mailbox(name, address)] for name, address in people))
        form.text("subject", messages.subjects)
        if messages.texts is not None:
            form.text("plain", messages.texts)
        if self._markdown and messages.markdowns is not None:
            form.text("markdown", messages.markdowns)
        elif messages.htmls is not None:
            form.text("html", messages.htmls)
        if self._priority is not None:
            form.fixed("priority", self._priority)
        self._common(form)
        form.extras(self._envelope, messages, field.of_json)
        return form.rows()

    def _encode_raw(self, messages: Messages) -> list[bytes]:
        """Put whole messages into JSON, with the mailboxes that their headers have.

        "For raw messages, this must match" the header.
        """
        form = Form(len(messages))
        form.fixed("from", field.as_in_header(self._envelope.sender))
        people = zip(messages.names, messages.addresses, strict=True)
        form.column("to", ([field.mailbox(n, ascii_domain(a))] for n, a in people))
        self._common(form)
        form.extras(self._envelope, messages, field.of_raw)
        if messages.extras is not None:
            messages = replace(messages, extras=[*map(self._classed, messages.extras)])
        form.text("raw", self._skeleton.encode(messages))
        return form.rows()

    def _common(self, form: Form) -> None:
        """Add the fields that messages of both formats have, but for the mailboxes."""
        form.fixed("tags", [*self._envelope.tags, self._envelope.run])
        if self._test_mode:
            form.fixed("test_mode", value=True)

    @cached_property
    def _skeleton(self) -> Skeleton:
        envelope = self._envelope
        return Skeleton(replace(envelope, extras=self._classed(envelope.extras)))

    def _classed(self, extras: Extras) -> Extras:
        """Add the header that is the priority of a raw message."""
        if self._priority is None:
            return extras
        return replace(extras, headers={**extras.headers, _CLASS: self._priority})

    def request(self, batch: Batch) -> Request:
        """Return the request of one message.

        Raises:
            ValueError: the batch has not one message.
        """
        check_batch(batch, 1)
        return post("/messages", batch.parts[0])

    def outcomes(self, batch: Batch, response: Response) -> Outcomes:
        """Read an answer: 202 with the id of the message."""
        if response.status not in SUCCESS:
            raise _refused(response)
        outcomes = tolerant.read(batch, response, provider=self.name, single=True)
        if outcomes.statuses == [Status.ACCEPTED] and _is_test(response):
            outcomes.details[0] = "in test mode: nobody was mailed"
        return outcomes


def _taken_apart(url: str) -> tuple[str, str]:
    """Return username and token of an SMTP URL; what it holds is never shown."""
    try:
        parts = urlsplit(url)
        username, token = unquote(parts.username or ""), unquote(parts.password or "")
    except ValueError:  # it quotes a part of the URL
        username = token = ""
    fits = token.isascii() and token.isprintable() and token == token.strip()
    if not (username and token and fits):
        raise CampaignError(
            "[provider] token: the SMTP URL has no username and token that can be read",
            hint=f"write {_URL_FORM}, with %2F for / and the like",
        )
    return username, token


_DIGEST = (
    'priority = "digest": CloudMailin tolerates daily, weekly and monthly digests of '
    "updates; newsletters, announcements and other bulk mail are not permitted"
)
_PERHAPS_A_DIGEST = (
    "a regular digest of updates is tolerated by CloudMailin if it says so: write "
    '[provider] priority = "digest"'
)


def _refused_files(files: Iterable[Attachment]) -> list[Finding]:
    """Say which attachments CloudMailin refuses for their type."""
    return [
        Finding("error", f"CloudMailin refuses attachments of this type: {file.name}")
        for file in files
        if file.name.rpartition(".")[2].strip().lower() in _REFUSED_FILES
    ]


# ---- answers ----------------------------------------------------------------------


def _refused(response: Response) -> ProviderError:
    """Say what an answer outside 2xx means at CloudMailin."""
    error = refuse(response, provider=CloudMailin.name)
    if response.status == HTTPStatus.NOT_FOUND:
        error.hint = "check [provider] username, which is in the path, and base_url"
    elif response.status == HTTPStatus.UNAUTHORIZED:
        error.hint = (
            "check username and token: both are the SMTP account's, not those of the "
            "account's API"
        )
    return error


def _is_test(response: Response) -> bool:
    """Whether an accepted message was checked alone: so the answer says, if any."""
    if not response.body.strip():
        return False
    answer = parse(response, provider=CloudMailin.name)
    return isinstance(answer, dict) and answer.get("test_mode") is True
