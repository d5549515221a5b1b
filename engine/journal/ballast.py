"""Room on the disk that is set aside for the answers to what is under way.

How it works: while a journal is open, a file beside it holds some megabytes. When the
disk is full it is removed, and what it held takes the answers that are still to come.
"""

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Bytes. The outcomes of 1000 messages take about 20 kB, twice that in the log and the
#: file: enough for some 200 requests in flight. Most runs have 8.
BALLAST: Final = 8 * 2**20

_BLOCK: Final = 2**20


class Ballast:
    """The file `ballast` in a journal's folder. Only who holds the journal touches it.

    Attributes:
        size: bytes; 0 for none.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self._path = folder / "ballast"
        self._held = False

    def take(self) -> OSError | None:
        """Set the room aside, in place of what a crash has left.

        Returns:
            None if the file is there, or why it is not: most often there is no room.
        """
        if not self.size:
            return None
        try:
            self._path.unlink(missing_ok=True)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            self._held = True
            try:
                _fill(descriptor, self.size)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.drop()
            return error
        return None

    def drop(self) -> bool:
        """Give the room back, once. Says whether there was any."""
        if not self._held:
            return False  # by now the file may be that of the next who opened it
        self._held = False
        with suppress(OSError):
            self._path.unlink()
            return True
        return False


def _fill(descriptor: int, size: int) -> None:
    """Have the file system reserve all of it; a file with holes would hold nothing."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except (AttributeError, OSError) as error:
        # macOS has no such call; musl's does not make up for a file system without it.
        told = getattr(error, "errno", None)
        if told not in {None, errno.EOPNOTSUPP, errno.EINVAL}:
            raise
        for start in range(0, size, _BLOCK):
            os.write(descriptor, bytes(min(_BLOCK, size - start)))
