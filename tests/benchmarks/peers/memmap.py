"""`np.memmap`: the array is the file. `flush` is msync, as NumPy's page of `numpy.memmap.flush` says.

Appending lengthens the file; its new size is durable after an `fsync`, which msync of the new pages does not promise.
"""

from __future__ import annotations

import os
import time

import numpy as np

from tests.benchmarks.peers.contract import Peer, fsync


class Memmap(Peer):
    reads = 20_000
    array: np.memmap | None = None

    def make(self, length: int) -> None:
        self.folder.mkdir(parents=True)
        with self._path.open("wb") as file:
            file.truncate(8 * length)
        if length:
            self.open()
        fsync(self.folder)

    def open(self) -> None:
        self.array = np.memmap(self._path, "f8", "r+")

    def close(self) -> None:
        self.array = None

    def scan(self) -> float:
        return float(self.view().sum())

    def read(self, place: int) -> float:
        return float(self.view()[place])

    def view(self) -> np.memmap:
        assert self.array is not None
        return self.array

    def head(self, count: int) -> float:
        return float(self.view()[:count].sum())

    def fill(self, data: np.ndarray) -> float:
        view = self.view()
        view[:] = data
        start = time.perf_counter()
        view.flush()
        return time.perf_counter() - start

    def write(self, start: int, values: float | np.ndarray) -> None:
        view = self.view()
        view[start : start + np.size(values)] = values
        view.flush()

    def append(self, values: np.ndarray) -> None:
        with self._path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.truncate(size + values.nbytes)
            tail = np.memmap(file, "f8", "r+", offset=size, shape=values.shape)
            tail[:] = values
            tail.flush()
            os.fsync(file.fileno())

    @property
    def _path(self):
        return self.folder / "memmap"
