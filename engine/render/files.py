"""Reads the files that a row asks for, and none but those of one folder.

A path comes out of a list that strangers may have filled in, so it is taken for
hostile: no absolute path, no `..`, no link that leads out of the folder, nothing but a
regular file. It is resolved first and judged then; every step of what came out is
opened below the one before without following links, so that nobody can put one in its
way in between. A FIFO or a device is never waited for.
"""

import base64
import mimetypes
import os
import stat
from collections import OrderedDict
from functools import cache
from pathlib import Path, PurePosixPath

#: Bytes of one attachment: what the largest common mailboxes take in one message
#: (Gmail and Outlook.com, documents read in November 2026).
LARGEST = 25_000_000
#: Characters of base64 that are kept for the next rows.
KEPT = 64_000_000


class FileMissing(Exception):
    """There is no such file."""


class FileUnfit(Exception):
    """There is something that must not be read, or that cannot be sent."""


def read(folder: Path, path: str) -> bytes:
    """Read a file below a folder, whole.

    Raises:
        FileMissing: it is not there.
        FileUnfit: it lies elsewhere, is no regular file, is too large, or cannot be
            read.
    """
    if not path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
        raise FileUnfit("is no path below the folder")
    try:
        root = folder.resolve(strict=True)
        target = (root / path).resolve(strict=True)
        if not target.is_relative_to(root) or target == root:
            raise FileUnfit("leads out of the folder")
        return _content(root, target.relative_to(root).parts)
    except (FileNotFoundError, NotADirectoryError):
        raise FileMissing("there is no such file") from None
    except (OSError, RuntimeError, UnicodeEncodeError) as error:
        # RuntimeError: links that go round. UnicodeEncodeError: half a surrogate pair.
        said = getattr(error, "strerror", None) or type(error).__name__
        raise FileUnfit(f"cannot be read: {said}") from None


def _content(root: Path, steps: tuple[str, ...]) -> bytes:
    careful = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for step in steps[:-1]:
            below = os.open(step, careful | os.O_DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
        # Asked first: with some devices opening alone does something.
        status = os.stat(steps[-1], dir_fd=here, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise FileUnfit("is no regular file")
        opened = os.open(steps[-1], careful | os.O_NONBLOCK, dir_fd=here)
    finally:
        os.close(here)
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise FileUnfit("is no regular file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise FileUnfit(f"has more than {LARGEST:,} bytes")
    return content


class Shelf:
    """Files in base64, those of the last rows kept: many rows may share one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, str], str] = OrderedDict()
        self._size = 0

    def take(self, folder: Path, path: str) -> str:
        """Return a file in base64.

        Raises:
            FileMissing, FileUnfit: see `read`.
        """
        key = (folder, path)
        if (known := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return known
        content = encoded(read(folder, path))
        self._kept[key] = content
        self._size += len(content)
        while self._size > KEPT and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._size -= len(oldest)
        return content


def encoded(content: bytes) -> str:
    """Return bytes in base64, without line ends."""
    return base64.b64encode(content).decode("ascii")


def file_name(path: str) -> str:
    """Return the name of a path's file."""
    return PurePosixPath(path).name


@cache
def _types() -> mimetypes.MimeTypes:
    """What the standard library knows; this machine's own types must not matter."""
    return mimetypes.MimeTypes()


def media_type(name: str) -> str:
    """Return the type that a file's name tells."""
    kind, coding = _types().guess_type(PurePosixPath(name).name)
    return kind if kind and not coding else "application/octet-stream"
