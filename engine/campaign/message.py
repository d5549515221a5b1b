"""The [message] section: what the recipients get.

Where a value may be an inline template, it is kept as it stands in the file, and filled
and judged row by row.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import PydanticCustomError

from engine.campaign.values import (
    ContentId,
    CountText,
    DurationText,
    FileName,
    HeaderName,
    LinesText,
    LineText,
    LinkText,
    Mailbox,
    MailboxText,
    MediaType,
    MetadataName,
    MethodText,
    MomentText,
    Named,
    NamedText,
    OneLine,
    PathText,
    Section,
    ZoneText,
    is_inline,
    line,
    moment,
)


def _template_or_false(value: object) -> str | Literal[False] | None:
    if value is None or value is False:
        return value
    if isinstance(value, str) and value:
        try:
            return line(value)
        except ValueError as error:
            raise PydanticCustomError("value", "{told}", {"told": str(error)}) from None
    raise PydanticCustomError(
        "template", "write a template's path, or false: no text part"
    )


def _is_time(text: str | None, *, naive: bool = False) -> bool:
    """Whether a value is a time and no day, and perhaps one without its zone."""
    if text is None or is_inline(text):
        return False
    value = moment(text)
    return isinstance(value, datetime) and not (naive and value.tzinfo)


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


TextTemplate = Annotated[
    str | Literal[False] | None,
    PlainValidator(_template_or_false),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {"const": False}]}),
]
_LIST = {"type": "array", "items": {"type": "string"}}
Mailboxes = Annotated[
    tuple[MailboxText, ...],
    Field(strict=False),
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, _LIST]}),
]


class AttachedFile(Section):
    """A file that travels with the message."""

    path: PathText = Field(description="a file below the folder")
    folder: Named = Field(
        "attachments", description="the folder, beside this file or the one above"
    )
    name: FileName | None = Field(
        None, description="the name that recipients see; else the file's own"
    )
    type: MediaType | None = Field(
        None, description='the type of the content; else by the name: "image/png"'
    )
    inline: ContentId | None = Field(
        None, description='the HTML shows it: inline = "logo" for src="cid:logo"'
    )
    required: bool = Field(
        default=True,
        description="whether a row fails whose file is missing; else it is left out",
    )

    @field_validator("folder")
    @classmethod
    def _no_way_up(cls, folder: str) -> str:
        if ".." in folder.split("/"):
            raise PydanticCustomError("folder", 'write it without ".."')
        return folder


class Calendar(Section):
    """An invitation; each value may be an inline template."""

    summary: NamedText = Field(description="what it is")
    start: MomentText = Field(description='"2026-12-20T18:30", or a day: "2026-12-20"')
    end: MomentText | None = Field(
        None, description="likewise; of days, the one after the last"
    )
    duration: DurationText | None = Field(
        None,
        description='in place of end: "1h 30m", "90m", "2d"',
        validate_default=True,
    )
    timezone: ZoneText | None = Field(
        None,
        description='of times without one: "Europe/Lisbon"',
        validate_default=True,
    )
    location: LinesText | None = Field(None, description="where")
    description: LinesText | None = Field(None, description="more about it")
    organizer: MailboxText | None = Field(
        None, description="a mailbox; else [message] from"
    )
    url: LinkText | None = Field(None, description='a page about it: "https://…"')
    uid: NamedText | None = Field(
        None,
        description="its id, the same in all that is sent about it; else the message's",
    )
    method: MethodText = Field(
        "REQUEST", description='"REQUEST" asks for an answer; "PUBLISH", "CANCEL"'
    )
    sequence: CountText = Field("0", description="a higher one with every change")
    alarm_minutes: CountText | None = Field(
        None, description="minutes before the start to remind them"
    )

    @field_validator("duration")
    @classmethod
    def _one_end(cls, duration: str | None, info: ValidationInfo) -> str | None:
        end = info.data.get("end", "")
        if duration is not None and end is not None:
            raise PydanticCustomError("end", "there is an end, too; keep one of them")
        if duration is end is None and _is_time(info.data.get("start")):
            raise PydanticCustomError("body", 'has no end: write end = "…" or duration')
        return duration

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, timezone: str | None, info: ValidationInfo) -> str | None:
        moments = (info.data.get(key) for key in ("start", "end"))
        if timezone is None and any(_is_time(text, naive=True) for text in moments):
            raise PydanticCustomError(
                "body", 'has times without a zone: write timezone = "Europe/Lisbon"'
            )
        return timezone


class Message(Section):
    """What they get."""

    sender: Mailbox = Field(alias="from", description='"Name <address@domain>"')
    reply_to: MailboxText | None = Field(
        None, description='where answers go: "Name <address@domain>"'
    )
    cc: Mailboxes = Field((), description="a mailbox, or a list; everyone sees them")
    bcc: Mailboxes = Field((), description="a mailbox, or a list; nobody sees them")
    subject: Named = Field(description="a template, below templates/")
    html: Named | None = Field(None, description="a template, below templates/")
    markdown: Named | None = Field(
        None, description="a template, below templates/, in place of html"
    )
    text: TextTemplate = Field(
        None,
        description="a template, below templates/; else made from the HTML; "
        "false: no text",
        validate_default=True,
    )
    tags: tuple[OneLine, ...] = Field((), strict=False, description="labels")
    headers: dict[HeaderName, LineText] = Field(
        default_factory=dict, description="extra header fields"
    )
    metadata: dict[MetadataName, LineText] = Field(
        default_factory=dict,
        description="facts that come back in the provider's events",
    )
    track_opens: bool | None = Field(
        None, description="whether opens are tracked; else as the account has it"
    )
    track_clicks: bool | None = Field(
        None, description="whether clicks are tracked; else as the account has it"
    )
    attachments: tuple[AttachedFile, ...] = Field(
        (), strict=False, description="files that travel with the message"
    )
    calendar: Calendar | None = Field(None, description="an invitation")
    postal_address: Named | None = Field(
        None, description="the sender's: templates see campaign.postal_address"
    )

    @field_validator("headers", "metadata")
    @classmethod
    def _each_once(cls, named: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        what = "header" if info.field_name == "headers" else "name"
        seen: dict[str, str] = {}
        for name in named:
            if (first := seen.setdefault(name.lower(), name)) != name:
                raise PydanticCustomError(
                    "twice",
                    "{first} and {name} are the same {what}; keep one of them",
                    {"first": first, "name": name, "what": what},
                )
        return named

    # On keys, not on the whole section: that would be looked at only when nothing
    # else is wrong, and all problems are told at once.
    @field_validator("markdown")
    @classmethod
    def _one_html(cls, markdown: str | None, info: ValidationInfo) -> str | None:
        if markdown is not None and info.data.get("html") is not None:
            raise PydanticCustomError(
                "body", "has html and markdown: keep one of them", {}
            )
        return markdown

    @field_validator("text")
    @classmethod
    def _some_body(
        cls, text: str | Literal[False] | None, info: ValidationInfo
    ) -> str | Literal[False] | None:
        shown = (info.data.get(part, "") for part in ("html", "markdown"))
        if not text and all(part is None for part in shown):
            raise PydanticCustomError(
                "body", 'has no body: write html = "…", markdown = "…" or text = "…"'
            )
        return text

    @field_validator("attachments")
    @classmethod
    def _each_shown_once(
        cls, files: tuple[AttachedFile, ...]
    ) -> tuple[AttachedFile, ...]:
        names = [file.inline for file in files if file.inline is not None]
        for name in names:
            if names.count(name) > 1:
                raise PydanticCustomError(
                    "twice", 'inline = "{name}" is there twice', {"name": name}
                )
        return files

    @property
    def parts(self) -> dict[str, str]:
        """The templates by part: subject, and html, markdown or text."""
        parts: Mapping[str, str | Literal[False] | None] = {
            "subject": self.subject,
            "html": self.html,
            "markdown": self.markdown,
            "text": self.text,
        }
        return {part: name for part, name in parts.items() if name}

    @property
    def derives_text(self) -> bool:
        """Whether the text part is made from the HTML."""
        return self.text is None
