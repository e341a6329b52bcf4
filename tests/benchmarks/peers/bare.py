"""The machine itself: what one file and the memory can do, without any store. The physical limits."""

from __future__ import annotations

import os
import time

import numpy as np

from tests.benchmarks.peers.contract import Peer, fsync


class Bare(Peer):
    """`write` and `fsync` of one open file; scans sum an array in memory (warm) or the file read into it (cold)."""

    reads = 20_000

    def make(self, length: int) -> None:
        self.folder.mkdir(parents=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT)
        fsync(self.folder)

    def open(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR)
        self._memory: np.ndarray | None = None

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def scan(self) -> float:
        return float(self.view().sum())

    def cold_scan(self) -> float:
        with self._path.open("rb", buffering=0) as file:
            buffer = np.empty(1 << 17)
            total = 0.0
            while count := file.readinto(buffer.data.cast("B")):
                total += float(buffer[: count // 8].sum())
        return total

    def read(self, place: int) -> float:
        return float(self.view()[place])

    def view(self) -> np.ndarray:
        if self._memory is None:
            self._memory = np.fromfile(self._path)
        return self._memory

    def head(self, count: int) -> float:
        return float(np.fromfile(self._path, count=count).sum())

    def write(self, start: int, values: float | np.ndarray) -> None:
        self._put(np.asarray(values, "f8"), 8 * start)
        os.fsync(self._fd)

    def fill(self, data: np.ndarray) -> float:
        start = time.perf_counter()
        self.write(0, data)
        return time.perf_counter() - start

    def append(self, values: np.ndarray) -> None:
        self._put(values, os.fstat(self._fd).st_size)
        os.fsync(self._fd)

    def _put(self, values: np.ndarray, place: int) -> None:
        left: memoryview = np.atleast_1d(values).data.cast("B")
        while left:
            count = os.pwrite(self._fd, left, place)
            left, place = left[count:], place + count

    @property
    def _path(self):
        return self.folder / "raw"

    _fd = -1
