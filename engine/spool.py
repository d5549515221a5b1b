"""Frames set aside on the disk, to be gone through a second time.

A file of Arrow IPC each, not compressed: a tenth of the time that Parquet takes, for
five times the room. So each goes as soon as it has been read for the last time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl


class Spool:
    """Frames in a folder, in order.

    Args:
        folder: is there, is empty, and belongs to the spool alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: Rows of each frame.
        self.heights: list[int] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Set a frame aside, after those before it."""
        frame.write_ipc(self._file(len(self.heights)))
        self.heights.append(frame.height)

    def read(self, place: int, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns of a frame; `place` counts from 0."""
        return pl.read_ipc(self._file(place), columns=list(columns))

    def take(self) -> Iterator[pl.DataFrame]:
        """Read each frame a last time."""
        for place in range(len(self.heights)):
            file = self._file(place)
            frame = pl.read_ipc(file)
            file.unlink()  # its pages stay mapped as long as the frame needs them
            yield frame

    def _file(self, place: int) -> Path:
        return self._folder / f"{place}.arrow"
