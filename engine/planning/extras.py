"""Copies, headers, files and invitations of a campaign: from its file to a recipe.

Files that are the same for every row are read once, as a run is planned, and kept in
its directory: `attachments/1/logo.png` is the first of the campaign file's list. Files
that a row chooses are read as it is rendered, from their folder.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from engine import providers, rundir
from engine.campaign import AttachedFile, Calendar, Campaign, is_inline, values
from engine.errors import CampaignError, RunError
from engine.manifest import Manifest
from engine.message import Feature
from engine.planning import links
from engine.render import File, Invitation, Recipe, Words
from engine.render import files as disk
from engine.rundir import RunDirectory

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attached:
    """What there is to be attached.

    Attributes:
        contents: the constant files, by their 0-based place in the campaign's list.
        folders: where files that a row chooses are read from, by the campaign's name.
        absent: constant files that are not there and not required.
    """

    contents: Mapping[int, bytes]
    folders: Mapping[str, Path]
    absent: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the constant files in base64."""
        return sum(-(-len(content) // 3) * 4 for content in self.contents.values())


#: Nothing is attached.
NONE = Attached({}, {})


def read(campaign: Campaign) -> Attached:
    """Read the constant files of a campaign, and find the folders of the others.

    Raises:
        CampaignError: with every file and folder that cannot be used.
    """
    contents: dict[int, bytes] = {}
    folders: dict[str, Path] = {}
    absent: list[str] = []
    problems: list[str] = []
    for number, file in enumerate(campaign.message.attachments):
        folder = campaign.folder(file.folder)
        place = f'{campaign.file}: {_place(number, "path")} = "{file.path}"'
        if not folder.is_dir():
            problems.append(f"{place}: there is no folder {folder}")
        elif is_inline(file.path):
            folders[file.folder] = folder.resolve()
        else:
            try:
                contents[number] = disk.read(folder, file.path)
            except disk.FileMissing:
                told = f"there is no such file in {folder}"
                (problems if file.required else absent).append(f"{place}: {told}")
            except disk.FileUnfit as error:
                problems.append(f"{place}: {error}")
    if problems:
        raise CampaignError(*problems)
    return Attached(contents, folders, tuple(absent))


def keep(
    campaign: Campaign, attached: Attached, directory: RunDirectory
) -> dict[str, str]:
    """Copy the constant files into a run directory; return their hashes by name."""
    hashes = {}
    for number, content in attached.contents.items():
        name = (
            f"{number + 1}/{disk.file_name(campaign.message.attachments[number].path)}"
        )
        copy = kept(directory, name)
        rundir.make_folders(copy.parent, below=directory.path)
        rundir.publish(copy, content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    return hashes


def kept(directory: RunDirectory, name: str) -> Path:
    """Return where a run keeps a constant file."""
    return directory.path / "attachments" / name


def again(manifest: Manifest, directory: RunDirectory) -> Attached:
    """Return what an earlier start has kept.

    Raises:
        RunError: a folder that rows choose files from is gone: each of them would fail.
    """
    folders = {name: Path(folder) for name, folder in manifest.folders.items()}
    if gone := [str(folder) for folder in folders.values() if not folder.is_dir()]:
        raise RunError(
            f"there is no folder {' or '.join(gone)}, which attachments are read from",
            hint="put it back, then resume",
        )
    contents = {
        int(name.partition("/")[0]) - 1: kept(directory, name).read_bytes()
        for name in manifest.attachments
    }
    return Attached(contents, folders)


def changed(manifest: Manifest, campaign: Campaign) -> list[str]:
    """Name the constant files that are not what they were when a run was planned."""
    try:
        now = read(campaign).contents
    except CampaignError as error:
        return list(error.problems)
    then = {
        int(n.partition("/")[0]) - 1: sha for n, sha in manifest.attachments.items()
    }
    return [
        str(campaign.folder(file.folder) / file.path)
        for number, file in enumerate(campaign.message.attachments)
        if then.get(number)
        != (hashlib.sha256(now[number]).hexdigest() if number in now else None)
    ]


def recipe_of(campaign: Campaign, moment: datetime, attached: Attached) -> Recipe:
    """Say what the messages of a campaign have beside their parts.

    Args:
        campaign: the campaign.
        moment: the run's, UTC.
        attached: the files.
    """
    message = campaign.message
    return Recipe(
        file=campaign.file,
        moment=moment,
        reply_to=_optional("[message] reply_to", message.reply_to, values.mailbox),
        cc=_mailboxes("cc", message.cc),
        bcc=_mailboxes("bcc", message.bcc),
        headers=_headers(campaign),
        metadata={
            name: _words(f"[message.metadata] {name}", text, values.line)
            for name, text in message.metadata.items()
        },
        files=tuple(
            _file(number, file, campaign, attached)
            for number, file in enumerate(message.attachments)
            if is_inline(file.path) or number in attached.contents
        ),
        invitation=_invitation(message.calendar, message.sender),
    )


def _headers(campaign: Campaign) -> dict[str, Words[str]]:
    """Return the header fields: the campaign's, and those to unsubscribe by.

    These only where the provider has a place for headers: it is not the campaign that
    asks for them, so nobody is told that they cannot be carried.
    """
    found = {
        name: _words(f"[message.headers] {name}", text, values.line)
        for name, text in campaign.message.headers.items()
    }
    can = providers.load(campaign.provider.name).capabilities
    ours = links.headers(campaign)
    return {**found, **ours} if Feature.HEADERS in can.features else found


def _words(place: str, text: str, read: Callable[[str], T]) -> Words[T]:
    return Words(place, text, is_inline(text), read)


def _optional(
    place: str, text: str | None, read: Callable[[str], T]
) -> Words[T] | None:
    return None if text is None else _words(place, text, read)


def _mailboxes(key: str, texts: tuple[str, ...]) -> tuple[Words[str], ...]:
    return tuple(
        _words(f"[message] {key}, item {number}", text, values.mailbox)
        for number, text in enumerate(texts, 1)
    )


def _place(number: int, key: str) -> str:
    return f"[[message.attachments]] item {number + 1}, {key}"


def _file(
    number: int, file: AttachedFile, campaign: Campaign, attached: Attached
) -> File:
    return File(
        path=_words(_place(number, "path"), file.path, values.path),
        folder=attached.folders.get(file.folder, campaign.folder(file.folder)),
        name=_optional(_place(number, "name"), file.name, values.file_name),
        content_type=file.type,
        content_id=file.inline,
        required=file.required,
        content=attached.contents.get(number),
    )


def _invitation(calendar: Calendar | None, sender: str) -> Invitation | None:
    if calendar is None:
        return None

    def words(key: str, read: Callable[[str], T]) -> Words[T] | None:
        return _optional(f"[message.calendar] {key}", getattr(calendar, key), read)

    def needed(key: str, text: str, read: Callable[[str], T]) -> Words[T]:
        return _words(f"[message.calendar] {key}", text, read)

    return Invitation(
        summary=needed("summary", calendar.summary, values.line),
        start=needed("start", calendar.start, values.moment),
        end=words("end", values.moment),
        duration=words("duration", values.duration),
        timezone=words("timezone", values.zone),
        location=words("location", values.lines),
        description=words("description", values.lines),
        organizer=needed("organizer", calendar.organizer or sender, values.mailbox),
        url=words("url", values.link),
        uid=words("uid", values.line),
        method=needed("method", calendar.method, values.method),
        sequence=needed("sequence", calendar.sequence, values.count),
        alarm_minutes=words("alarm_minutes", values.count),
    )
