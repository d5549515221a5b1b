"""Where a journal may lie: on a disk of this machine, and among our own things.

How it works: the kernel tells of every mount its device and its kind of file system,
and a folder knows the device that it is on. Where there is no such table, or the folder
is on none of its devices (a subvolume of btrfs is not), nothing is refused.

Why not over a network: there, whether a flush has reached a disk is the other side's
word, and a lock may be unknown to the next machine. Then a record that was acknowledged
can be lost, and two processes can send the same run.
"""

import os
import stat
from pathlib import Path
from typing import Final

from engine.errors import JournalError

_MOUNTS: Final = Path("/proc/self/mountinfo")

#: File systems of the kernel that reach another machine. Those that several machines
#: share as one disk (gfs2, ocfs2) are not among them: they lock and flush as ours do;
#: nor is virtiofs, which is a folder of the host that this machine runs on.
NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "smb3",
        "smbfs",
    }
)

#: What FUSE serves from this machine: from a partition, or from one of its folders.
#: Everything else under FUSE may be anything (sshfs, s3fs, rclone, gcsfuse, glusterfs);
#: `fuseblk` is the kernel's own word for one that lies on a partition.
LOCAL_FUSE: Final = frozenset(
    {
        "fuse.bindfs",
        "fuse.cryfs",
        "fuse.encfs",
        "fuse.fuse-overlayfs",  # containers without root
        "fuse.fuse2fs",
        "fuse.gocryptfs",
    }
)


def is_network(kind: str) -> bool:
    """Say whether a kind of file system may lie on another machine."""
    if kind == "fuse" or kind.startswith("fuse."):
        return kind not in LOCAL_FUSE
    return kind in NETWORK


def filesystem_of(mountinfo: str, device: int) -> str | None:
    """Find the kind of file system that a device holds.

    Args:
        mountinfo: the kernel's table, a mount per line.
        device: as in `st_dev`.

    Returns:
        The kernel's word for it, or None if the table does not tell.

    Source:
        proc_pid_mountinfo(5): the third field is major:minor; the kind follows the
        single hyphen that ends a list of optional fields.
    """
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.splitlines():
        fields, hyphen, rest = line.partition(" - ")
        if hyphen and fields.split(" ")[2:3] == [wanted]:
            return rest.split(" ")[0]
    return None


def expect_local(folder: Path) -> None:
    """Refuse a folder on a network file system.

    Raises:
        JournalError: it is on one.
    """
    try:
        mountinfo = _MOUNTS.read_text("utf-8", "replace")
    except OSError:
        return
    kind = filesystem_of(mountinfo, folder.stat().st_dev)
    if kind is not None and is_network(kind):
        raise JournalError(
            f"{folder}: on a network file system ({kind}), where a journal can lose "
            "what it has acknowledged",
            hint="Keep the runs on a disk of this machine.",
        )


def expect_own_folder(folder: Path) -> None:
    """Refuse a folder that is a link, or in which somebody else has the say.

    Raises:
        JournalError: it is one of these.
    """
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _stranger(f"{folder}: not a plain folder")
    _expect_owner(folder, found)


def expect_own_file(path: Path) -> None:
    """Refuse what is not a plain file of ours. A link could lead to another's journal.

    Raises:
        JournalError: it is missing, not a plain file, or somebody else's.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise JournalError(
            f"{path}: there is no journal",
            hint="Look for the run with `mailvolley status`.",
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise _stranger(f"{path}: not a plain file")
    _expect_owner(path, found)


def _expect_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in {os.geteuid(), 0}:
        raise _stranger(f"{path}: belongs to another user, number {found.st_uid}")


def _stranger(message: str) -> JournalError:
    return JournalError(
        message,
        hint=(
            "Never send from a journal that somebody else may have made or changed: "
            "go back to the original run directory, as the user who began the run."
        ),
    )
