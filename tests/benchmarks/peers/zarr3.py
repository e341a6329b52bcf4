"""zarr 3: one file a chunk, without compression and without transactions.

Its pages on `zarr.storage.LocalStore` promise nothing about power failures and name no option for it, so this file
syncs what the store wrote: each file, and the folders. The tables show the time with and without.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from tests.benchmarks.peers.contract import CHUNK, Chunked, fsync


class Noting(LocalStore):
    """A LocalStore that notes which keys were written."""

    written: set[str]

    async def set(self, key: str, value: Any) -> None:
        await super().set(key, value)
        self.__dict__.setdefault("written", set()).add(key)


class Zarr(Chunked):
    def make(self, length: int) -> None:
        self.folder.mkdir(parents=True)
        self._store = Noting(self.folder / "data.zarr")
        self.array = zarr.create_array(
            self._store, shape=(length,), chunks=(CHUNK,), dtype="f8", compressors=None, filters=None
        )
        self._sync()

    def open(self) -> None:
        self._store = Noting(self.folder / "data.zarr")
        self.array = zarr.open_array(self._store, mode="r+")

    def fill(self, data: np.ndarray) -> float:
        self.array[:] = data
        start = time.perf_counter()
        self._sync()
        return time.perf_counter() - start

    def write(self, start: int, values: float | np.ndarray) -> None:
        self.array[start : start + np.size(values)] = values
        self._sync()

    def append(self, values: np.ndarray) -> None:
        self.array.append(values)
        self._sync()

    def _sync(self) -> None:
        start = time.perf_counter()
        written: set[str] = self._store.__dict__.get("written", set())
        files = [Path(self._store.root) / key for key in written]
        for path in {*files, *(file.parent for file in files)}:
            fsync(path)
        written.clear()
        self.outside += time.perf_counter() - start
