"""Claims about `engine.render.files`: what a row may reach, and nothing else."""

import os
import socket
from pathlib import Path

import pytest

from engine.render import files
from engine.render.files import FileMissing, FileUnfit, Shelf, media_type, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with files in it, and a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    made = tmp_path / "attachments"
    (made / "seats").mkdir(parents=True)
    (made / "seats" / "a1.txt").write_text("seat")
    (made / "empty.txt").touch()
    return made


@pytest.mark.parametrize("path", ["seats/a1.txt", "./seats//a1.txt", "seats/./a1.txt"])
def test_file_below_the_folder_is_read(folder: Path, path: str) -> None:
    """However its path is written."""
    assert b"seat" == read(folder, path)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "seats/../../secret.txt",
        "seats/../seats/a1.txt",
        "/etc/passwd",
        "//etc/passwd",
        "a\0b",
        "",
        ".",
        "seats",
        "seats/",
        "x" * 300,
        "\ud800",
    ],
)
def test_path_that_leads_elsewhere_is_refused(folder: Path, path: str) -> None:
    """No way up, no absolute path, no folder, no NUL."""
    with pytest.raises(FileUnfit):
        read(folder, path)


@pytest.mark.parametrize("path", ["nowhere.txt", "seats/b9.txt", "empty.txt/a"])
def test_missing_file_is_told_from_an_unfit_one(folder: Path, path: str) -> None:
    """A file that is not there may be left out; one that must not be read may not."""
    with pytest.raises(FileMissing):
        read(folder, path)


def test_link_out_of_the_folder_is_refused(folder: Path) -> None:
    """Neither a link to a file nor one to a folder on the way."""
    (folder / "file.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "up").symlink_to(folder.parent)
    (folder / "round").symlink_to("round")
    for path in ("file.txt", "up/secret.txt", "round"):
        with pytest.raises(FileUnfit):
            read(folder, path)


def test_link_within_the_folder_is_followed(folder: Path) -> None:
    """It leads nowhere else."""
    (folder / "mine.txt").symlink_to("seats/a1.txt")
    (folder / "chairs").symlink_to("seats")
    assert b"seat" == read(folder, "mine.txt") == read(folder, "chairs/a1.txt")


def test_folder_that_is_a_link_itself_is_the_users_choice(folder: Path) -> None:
    """It stands in the campaign file, not in the list."""
    (folder.parent / "linked").symlink_to(folder)
    assert b"seat" == read(folder.parent / "linked", "seats/a1.txt")


def test_what_is_no_regular_file_is_refused_at_once(folder: Path) -> None:
    """A FIFO without a writer would be waited for without end."""
    os.mkfifo(folder / "pipe")
    (folder / "null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        for path in ("pipe", "null", "s"):
            with pytest.raises(FileUnfit):
                read(folder, path)


def test_file_that_is_swapped_for_a_link_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens between the look at a path and the opening of it."""
    judged = Path.resolve

    def swap(path: Path, *, strict: bool = False) -> Path:
        found = judged(path, strict=strict)
        if path.name == "a1.txt":
            path.unlink()
            path.symlink_to(folder.parent / "secret.txt")
        return found

    monkeypatch.setattr(Path, "resolve", swap)
    with pytest.raises(FileUnfit):
        read(folder, "seats/a1.txt")


def test_folder_on_the_way_that_is_swapped_for_a_link_is_not_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step of the path is opened without following links."""
    (folder.parent / "evil").mkdir()
    (folder.parent / "evil" / "a1.txt").write_text("evil")
    judged = Path.resolve

    def swap(path: Path, *, strict: bool = False) -> Path:
        found = judged(path, strict=strict)
        if path.name == "a1.txt":
            (folder / "seats").rename(folder / "old")
            (folder / "seats").symlink_to(folder.parent / "evil")
        return found

    monkeypatch.setattr(Path, "resolve", swap)
    with pytest.raises((FileUnfit, FileMissing)):
        read(folder, "seats/a1.txt")


def test_file_that_is_too_large_is_refused(folder: Path) -> None:
    """At the limit it is taken, one byte above it is not."""
    with (folder / "large.bin").open("wb") as file:
        file.truncate(files.LARGEST)
    assert files.LARGEST == len(read(folder, "large.bin"))
    with (folder / "large.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(FileUnfit, match="25,000,000"):
        read(folder, "large.bin")


def test_unreadable_file_is_told(folder: Path) -> None:
    """In the words of the system."""
    if os.geteuid() == 0:
        pytest.skip("nothing is closed to root")
    (folder / "closed.txt").touch(mode=0o000)
    with pytest.raises(FileUnfit, match="Permission denied"):
        read(folder, "closed.txt")


def test_shelf_keeps_what_many_rows_share(folder: Path) -> None:
    """A file is read once, as long as there is room for it."""
    shelf = Shelf()
    first = shelf.take(folder, "seats/a1.txt")
    (folder / "seats" / "a1.txt").unlink()
    assert "c2VhdA==" == first == shelf.take(folder, "seats/a1.txt")


def test_shelf_has_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that was not asked for longest goes first."""
    monkeypatch.setattr(files, "KEPT", 20)
    for name in "abc":
        (folder / name).write_bytes(b"123456")  # 8 characters of base64
    shelf = Shelf()
    for name in "abac":
        shelf.take(folder, name)
    for name in "abc":
        (folder / name).unlink()
    assert "MTIzNDU2" == shelf.take(folder, "a") == shelf.take(folder, "c")
    with pytest.raises(FileMissing):
        shelf.take(folder, "b")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.pdf", "application/pdf"),
        ("A.PNG", "image/png"),
        ("a.txt", "text/plain"),
        ("a.tar.gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
        ("data:text/html,x.js/y", "application/octet-stream"),
    ],
)
def test_type_is_told_by_the_name(name: str, kind: str) -> None:
    """What is compressed is not what its name says before."""
    assert kind == media_type(name)
