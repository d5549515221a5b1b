"""Two folders change places in one step: whoever looks sees the one or the other.

A folder cannot be renamed onto one that holds something, and two renames leave a moment
in which the name leads nowhere: a crash then would lose what is there. Kernels have a
call for it; Python 3.11 has none.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

from engine import rundir
from engine.errors import RunError

# linux/fs.h: relative to the working folder; exchange source and target.
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
# sys/stdio.h of macOS.
_RENAME_SWAP: Final = 2


def exchange(one: Path, other: Path) -> None:
    """Let two folders beside each other change their names, durably.

    Raises:
        RunError: the file system cannot do that, or will not; nothing has changed.

    Source:
        renameat2(2); renamex_np(2) of macOS.
    """
    names = os.fsencode(one), os.fsencode(other)
    try:
        system = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = system.renamex_np(*names, _RENAME_SWAP)
        else:
            failed = system.renameat2(
                _AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE
            )
    except AttributeError:
        raise _impossible(one, "the system has no call for it") from None
    if failed:
        raise _impossible(one, os.strerror(ctypes.get_errno()))
    rundir.sync_folder(one.parent)


def _impossible(folder: Path, why: str) -> RunError:
    return RunError(
        f"{folder}: cannot change places with the folder that is to replace it: {why}",
        hint="move the runs to a file system that can: ext4, XFS, Btrfs, APFS, tmpfs",
    )
