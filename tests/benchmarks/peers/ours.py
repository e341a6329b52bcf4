"""Wendelin: an array in a database, on the on-demand ZEO server (`local://`) or in this process (`file://`).

Durable by itself: what `transaction.commit` returned from survives a power failure (docs/design/0003, "Durability").
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import transaction

import wendelin
from tests.benchmarks.peers.contract import Peer
from wendelin.storage.database import ondemand


class InProcess(Peer):
    scheme = "file"
    reads = 5_000
    array: Any
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

    def scan(self) -> float:
        return float(self.array[:].sum())

    def read(self, place: int) -> float:
        return float(self.array[place])

    def view(self) -> Any:
        return self.array[:]

    def head(self, count: int) -> float:
        return float(self.array[:count].sum())

    def write(self, start: int, values: float | np.ndarray) -> None:
        self.array[start : start + np.size(values)] = values
        transaction.commit()

    def append(self, values: np.ndarray) -> None:
        self.array.append(values)
        transaction.commit()

    def commit_plain(self) -> bool:
        root = self._connection.root()
        root["plain"] = root.get("plain", 0) + 1
        transaction.commit()
        return True


class Served(InProcess):
    scheme = "local"

    def discard(self) -> None:
        self.close()
        ondemand.stop(self.folder)
