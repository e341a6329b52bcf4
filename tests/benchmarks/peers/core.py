"""wendelin.core 0.13, the original, on Python 3.10 with a FileStorage in the same process.

Durable as ZODB's FileStorage is: it syncs its file when a transaction finishes. Its defaults: blocks of 2 MiB, its
own choice of how a block is stored. The package is called `wendelin`, as ours is, so its interpreter sees this folder
but not this repository.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import transaction
import ZODB
from ZODB.FileStorage import FileStorage

from tests.benchmarks.peers.transactional import Transactional
from wendelin.bigarray.array_zodb import ZBigArray


class Core(Transactional):
    reads = 2_000
    _db: Any = None
    _root: Any = None

    def make(self, length: int) -> None:
        self.folder.mkdir(parents=True)
        self._connect()
        self._root["a"] = self.array = ZBigArray((length,), np.float64)
        transaction.commit()

    def open(self) -> None:
        self._connect()
        self.array = self._root["a"]

    def close(self) -> None:
        if self._db is not None:
            transaction.abort()
            self.array = self._root = None
            self._connection.close()
            self._db.close()
            self._db = None

    def _connect(self) -> None:
        self._db = ZODB.DB(FileStorage(str(self.folder / "Data.fs")))
        self._connection = self._db.open()
        self._root = self._connection.root()

    def fill(self, data: np.ndarray) -> float:
        self.array[:][:] = data
        start = time.perf_counter()
        transaction.commit()
        return time.perf_counter() - start

    def write(self, start: int, values: float | np.ndarray) -> None:
        self.array[start : start + np.size(values)][:] = values
        transaction.commit()

    def root(self) -> Any:
        return self._root
