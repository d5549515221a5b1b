"""Snapshot and templates: are they what the manifest says was planned?"""

import hashlib
from pathlib import Path

import polars as pl

from engine.manifest import Manifest
from engine.rundir import RunDirectory
from engine.verify.check import Check


def check_snapshot(
    directory: RunDirectory, manifest: Manifest, check: Check
) -> bytes | None:
    """Check the snapshot's bytes and what it holds.

    Returns:
        A byte per row: 1 if it is to be mailed. None if the snapshot is not what was
        planned.
    """
    path = directory.recipients
    if not _is(path, manifest.snapshot):
        check.fault(f"{path}: {_difference(path)}")
        return None
    try:
        scan = pl.scan_parquet(path)
        rows, ordered = rows_in_order(scan)
        by_status = scan.group_by("status").len().collect().iter_rows()
        counts = {status or "mailable": count for status, count in by_status}
        mailable = scan.select(pl.col("status").is_null()).collect()["status"]
    except pl.exceptions.PolarsError as error:
        check.fault(f"{path}: cannot be read: {error}")
        return None
    if rows != manifest.rows or not ordered:
        check.fault(f"{path}: {rows:,} rows, or out of order, for {manifest.rows:,}")
        return None
    for status in sorted({*counts, *manifest.planned}):
        found, planned = counts.get(status, 0), manifest.planned.get(status, 0)
        if found != planned:
            check.fault(
                f"{path}: {found:,} rows {status}, and {planned:,} were planned"
            )
    check.told = f"{rows:,} rows, {counts.get('mailable', 0):,} to be mailed"
    return bytes(mailable)


def check_templates(directory: RunDirectory, manifest: Manifest, check: Check) -> None:
    """Check the bytes of every template in use."""
    for name, sha256 in manifest.templates.items():
        path = directory.templates / name
        if not _is(path, sha256):
            check.fault(f"{path}: {_difference(path)}")
    check.told = f"{len(manifest.templates)} in use"


def rows_in_order(scan: pl.LazyFrame) -> tuple[int, bool]:
    """Return how many rows a file has, and whether they are numbered in order."""
    in_order = (pl.col("row") == pl.int_range(pl.len(), dtype=pl.UInt64)).all()
    rows, ordered = scan.select(pl.len(), ordered=in_order).collect().row(0)
    return rows, ordered


def _is(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False


def _difference(path: Path) -> str:
    return "is not what was planned" if path.is_file() else "is gone"
