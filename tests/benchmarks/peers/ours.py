"""Wendelin: an array in a database, on the on-demand ZEO server (`local://`) or in this process (`file://`).

Durable by itself: what `transaction.commit` returned from survives a power failure (docs/design/0003, "Durability").
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import transaction

import wendelin
from tests.benchmarks.peers.transactional import Transactional
from wendelin.storage.database import ondemand


class InProcess(Transactional):
    scheme = "file"
    reads = 5_000
    _connection: Any = None

    def make(self, length: int) -> None:
        self._connect()
        self._connection.root()["a"] = self.array = wendelin.ZBigArray((length,))
        transaction.commit()

    def open(self) -> None:
        self._connect()
        self.array = self._connection.root()["a"]

    def close(self) -> None:
        if self._connection is not None:
            transaction.abort()
            self.array = None
            self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        self._connection = wendelin.connect(f"{self.scheme}://{self.folder}")

    def fill(self, data: np.ndarray) -> float:
        self.array[:] = data
        start = time.perf_counter()
        transaction.commit()
        return time.perf_counter() - start

    def write(self, start: int, values: float | np.ndarray) -> None:
        self.array[start : start + np.size(values)] = values
        transaction.commit()

    def root(self) -> Any:
        return self._connection.root()


class Served(InProcess):
    scheme = "local"

    def discard(self) -> None:
        self.close()
        ondemand.stop(self.folder)
