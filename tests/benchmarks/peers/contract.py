"""What a store does to be measured: one array of float64 in a folder. Python 3.10 runs it too, for wendelin.core."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

#: Elements of a chunk of the stores that have chunks: 8 MB.
CHUNK = 1 << 20


class Peer:
    """One store with one array. A call that writes returns when its bytes survive a power failure.

    Parameters
    ----------
    folder : pathlib.Path
        Where everything of the store lies; the bytes on disk are this folder's.
    """

    #: How many single elements a turn reads: some hundred where one takes a millisecond.
    reads = 200
    #: Seconds spent in the `fsync`s that the store itself leaves out, since the last reset.
    outside: float = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, length: int) -> None:
        """A new store with an array of `length` elements, open for writing."""
        raise NotImplementedError

    def open(self) -> None:
        """Open what `make` made; reads no values."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of everything; a second call does nothing."""

    def discard(self) -> None:
        """Close, and stop whatever else serves the folder."""
        self.close()

    def fill(self, data: np.ndarray) -> float:
        """Write the whole array; the seconds that making it durable took of it."""
        start = time.perf_counter()
        self.write(0, data)
        return time.perf_counter() - start

    def scan(self) -> float:
        """The sum of all values, read in the way that is fastest for the store."""
        raise NotImplementedError

    def read(self, place: int) -> float:
        """One value, through the store's normal indexing."""
        raise NotImplementedError

    def view(self) -> Any:
        """An ndarray of the whole array without a copy; None where the store has none."""
        return None

    def head(self, count: int) -> float:
        """The sum of the first values."""
        raise NotImplementedError

    def write(self, start: int, values: Any) -> None:
        """Write values from a place on; durable."""
        raise NotImplementedError

    def append(self, values: np.ndarray) -> None:
        """Add values behind the end; durable."""
        raise NotImplementedError

    def commit_plain(self) -> bool:
        """Commit one changed plain object of the database beneath; False where there is no such thing."""
        return False


class Chunked(Peer):
    """A store whose `array` reads chunks when it is sliced."""

    array: Any

    def scan(self) -> float:
        length = self.array.shape[0]
        return float(sum(np.sum(self.array[i : i + CHUNK]) for i in range(0, length, CHUNK)))

    def read(self, place: int) -> float:
        return float(self.array[place])

    def head(self, count: int) -> float:
        return float(np.sum(self.array[:count]))


def fsync(path: Path | str) -> None:
    """Sync a file or a folder."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def on_disk(folder: Path) -> int:
    """Bytes that the files of a folder take; not counted is FileStorage's scratch of the last transaction, `.tmp`."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and path.suffix != ".tmp")
