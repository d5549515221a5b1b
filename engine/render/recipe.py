"""What a campaign file says of the extras of a message, in words that can be filled.

A recipe knows nothing of files of campaigns: whoever makes it says where each text
stands, and how it is to be read once a row has filled it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Words(Generic[T]):
    """A text of the campaign file: the same for every row, or an inline template.

    Attributes:
        place: where it stands, for people: `[message] cc, item 2`.
        text: as it stands there.
        inline: whether it is a template.
        read: what it means once it is filled; raises `ValueError` with a sentence.
    """

    place: str
    text: str
    inline: bool
    read: Callable[[str], T]


@dataclass(frozen=True, slots=True)
class File:
    """A file that travels with the messages.

    Attributes:
        path: below the folder.
        folder: the only place that is read from.
        name: as recipients see it; None: the file's own.
        content_type: None: by its name.
        content_id: what the HTML shows it by, or None.
        required: whether a row fails whose file is missing.
        content: the file itself where it is the same for every row; else None.
    """

    path: Words[str]
    folder: Path
    name: Words[str] | None = None
    content_type: str | None = None
    content_id: str | None = None
    required: bool = True
    content: bytes | None = None

    @property
    def varies(self) -> bool:
        """Whether it differs from row to row."""
        return self.path.inline or (self.name is not None and self.name.inline)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An event in somebody's calendar; see the campaign file's [message.calendar]."""

    summary: Words[str]
    start: Words[date | datetime]
    end: Words[date | datetime] | None = None
    duration: Words[timedelta] | None = None
    timezone: Words[tzinfo] | None = None
    location: Words[str] | None = None
    description: Words[str] | None = None
    organizer: Words[str]
    url: Words[str] | None = None
    uid: Words[str] | None = None
    method: Words[str]
    sequence: Words[int]
    alarm_minutes: Words[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What messages have beside their recipient, subject and bodies.

    Attributes:
        file: the campaign file.
        moment: what an invitation bears as its own date, UTC: the run's.
    """

    file: Path
    moment: datetime
    reply_to: Words[str] | None = None
    cc: tuple[Words[str], ...] = ()
    bcc: tuple[Words[str], ...] = ()
    headers: Mapping[str, Words[str]] = field(default_factory=dict)
    metadata: Mapping[str, Words[str]] = field(default_factory=dict)
    files: tuple[File, ...] = ()
    invitation: Invitation | None = None
