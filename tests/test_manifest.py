"""Claims about `engine.manifest`: what a run is, stored once and read back."""

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.manifest import Manifest
from engine.rundir import RunDirectory

MANIFEST = Manifest(
    campaign="spring",
    run="20261120T101112Z-000001",
    generation=1,
    parent=None,
    rehearsal=False,
    base_url="https://api.cloudmails.eu/v1",
    out=None,
    created_at="2026-11-20T10:11:12.000001+00:00",
    file="campaigns/spring.toml",
    definition={"name": "spring", "message": {"from": "Grüße <a@a.example>"}},
    source={"kind": "file", "sha256": "0" * 64},
    excluded=[],
    limit=None,
    rows=3,
    planned={"mailable": 2, "invalid": 1, "duplicate": 0},
    chunk=100,
    batch_size=1000,
    snapshot="1" * 64,
    templates={"s.j2": "2" * 64},
    attachments={"1/logo.png": "3" * 64},
    folders={"invoices": "/srv/invoices"},
    link_key="",
    overridden=[],
    versions={"mailvolley": "0.1.0", "python": "3.11.7"},
)


def test_manifest_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Every fact of it, and its hash."""
    directory = RunDirectory(tmp_path)
    MANIFEST.write(directory)
    read = Manifest.read(directory)
    assert MANIFEST == read
    assert MANIFEST.sha256 == read.sha256
    assert 2 == read.mailable
    assert 0o600 == directory.manifest.stat().st_mode & 0o777


def test_run_without_a_canary_is_what_it_always_was(tmp_path: Path) -> None:
    """A run of before there was that fact reads back with the hash it had."""
    old = json.loads(MANIFEST.to_json())
    assert "canary" not in old
    directory = RunDirectory(tmp_path)
    replace(MANIFEST, canary=7).write(directory)
    assert Manifest.read(directory).canary == 7
    directory.manifest.write_bytes(MANIFEST.to_json())
    assert Manifest.read(directory).sha256 == MANIFEST.sha256


def test_run_exists_once_its_manifest_does(tmp_path: Path) -> None:
    """Before, whatever else is there, it is none."""
    directory = RunDirectory(tmp_path)
    directory.recipients.touch()
    assert not directory.exists()
    MANIFEST.write(directory)
    assert directory.exists()


@pytest.mark.parametrize("name", [field.name for field in fields(Manifest)])
def test_hash_knows_every_fact(name: str) -> None:
    """Two runs that differ in anything have different hashes."""
    assert MANIFEST.sha256 != replace(MANIFEST, **{name: "other"}).sha256


def test_run_that_is_not_there_is_told(tmp_path: Path) -> None:
    """By the folder that was named."""
    with pytest.raises(RunError, match="there is no such run") as caught:
        Manifest.read(RunDirectory(tmp_path / "gone"))
    assert str(caught.value).startswith(f"{tmp_path / 'gone'}: ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"\xff",
        b"{}",
        b"[" * 100_000,
        MANIFEST.to_json()[:-9],
        json.dumps({**json.loads(MANIFEST.to_json()), "colour": 1}).encode(),
    ],
    ids=["empty", "open", "list", "number", "bytes", "bare", "deep", "cut", "newer"],
)
def test_damaged_manifest_is_told_in_words(tmp_path: Path, content: bytes) -> None:
    """Not in those of Python: the user reads what it is and what to do."""
    directory = RunDirectory(tmp_path)
    directory.manifest.write_bytes(content)
    with pytest.raises(RunError) as caught:
        Manifest.read(directory)
    assert (
        f"{directory.manifest}: cannot be read: it is damaged, or of another version "
        "of mailvolley"
    ) == str(caught.value)
    assert caught.value.hint


def test_folder_in_place_of_a_manifest_is_told(tmp_path: Path) -> None:
    """With the operating system's reason."""
    directory = RunDirectory(tmp_path)
    directory.manifest.mkdir()
    with pytest.raises(RunError, match="cannot be read: Is a directory"):
        Manifest.read(directory)


@pytest.mark.parametrize(
    "change",
    [
        {"base_url": None},
        {"planned": "other"},
        {"planned": {}},
        {"versions": {}},
        {"created_at": "yesterday"},
        {"definition": []},
    ],
)
def test_manifest_that_says_nothing_sensible_is_told(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """A run whose manifest cannot be believed is never taken for one of elsewhere."""
    directory = RunDirectory(tmp_path)
    replace(MANIFEST, **change).write(directory)
    with pytest.raises(RunError, match="damaged"):
        Manifest.read(directory)
