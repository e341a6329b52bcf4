"""icechunk: zarr arrays in a repository with commits, on its local file system storage, without compression.

A write is a writable session of `main`, as its quickstart has it, and `Session.commit`. The local storage calls no
`fsync` (neither its pages name one nor `strace` shows one), so a commit alone survives no power failure: this file
syncs the files that a commit made, and their folders. The tables show the time with and without.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import icechunk
import numpy as np
import zarr

from tests.benchmarks.peers.contract import CHUNK, Chunked, fsync


class Icechunk(Chunked):
    _repository: Any = None

    def make(self, length: int) -> None:
        self.folder.mkdir(parents=True)
        self._known: dict[str, set[str]] = {}
        self._repository = icechunk.Repository.create(self._storage())
        session = self._repository.writable_session("main")
        zarr.create_array(
            session.store, name="a", shape=(length,), chunks=(CHUNK,), dtype="f8", compressors=None, filters=None
        )
        session.commit("an empty array")
        self._sync()
        self._show()

    def open(self) -> None:
        self._repository = icechunk.Repository.open(self._storage())
        self._known = {}
        self._new_files()
        self._show()

    def fill(self, data: np.ndarray) -> float:
        session = self._repository.writable_session("main")
        zarr.open_array(session.store, path="a", mode="r+")[:] = data
        start = time.perf_counter()
        session.commit("all")
        self._sync()
        return time.perf_counter() - start

    def write(self, start: int, values: float | np.ndarray) -> None:
        session = self._repository.writable_session("main")
        zarr.open_array(session.store, path="a", mode="r+")[start : start + np.size(values)] = values
        session.commit("some values")
        self._sync()

    def append(self, values: np.ndarray) -> None:
        session = self._repository.writable_session("main")
        zarr.open_array(session.store, path="a", mode="r+").append(values)
        session.commit("more values")
        self._sync()

    def close(self) -> None:
        self._repository = self.array = None

    def _storage(self) -> Any:
        logging.getLogger("icechunk").setLevel(logging.ERROR)
        return icechunk.local_filesystem_storage(str(self.folder))

    def _show(self) -> None:
        self.array = zarr.open_array(self._repository.readonly_session("main").store, path="a", mode="r")

    def _new_files(self) -> list[str]:
        """Files that appeared since the last call; refs are rewritten under their name and always among them."""
        new = []
        for folder, _, names in os.walk(self.folder):
            known = self._known.setdefault(folder, set())
            fresh = set(names) if "/refs" in folder else set(names) - known
            known |= fresh
            new += [os.path.join(folder, name) for name in fresh]  # noqa: PTH118 - walked thousands of times
        return new

    def _sync(self) -> None:
        new = self._new_files()
        start = time.perf_counter()
        for path in {*new, *(os.path.dirname(file) for file in new)}:  # noqa: PTH120 - as above
            fsync(path)
        self.outside += time.perf_counter() - start
