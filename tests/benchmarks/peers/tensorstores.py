"""tensorstore: zarr 3 chunks through its `file` key-value store, without compression.

`Context.file_io_sync` ("file Key-Value Store driver"; default true) syncs each written file before a write is
acknowledged; it is set here all the same. `write(...).result()` waits for that. Atomic for each chunk, not beyond.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorstore as ts

from tests.benchmarks.peers.contract import CHUNK, Chunked


class TensorStore(Chunked):
    def make(self, length: int) -> None:
        self.folder.mkdir(parents=True)
        grid = {"name": "regular", "configuration": {"chunk_shape": [CHUNK]}}
        codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
        metadata = {"shape": [length], "data_type": "float64", "chunk_grid": grid, "codecs": codecs}
        self.array = ts.open({**self._spec(), "create": True, "metadata": metadata}).result()

    def open(self) -> None:
        self.array = ts.open(self._spec()).result()

    def close(self) -> None:
        self.array = None

    def scan(self) -> float:
        """Chunk by chunk: faster here than more at a time."""
        length = self.array.shape[0]
        return float(sum(self.array[i : min(i + CHUNK, length)].read().result().sum() for i in range(0, length, CHUNK)))

    def read(self, place: int) -> float:
        return float(self.array[place].read().result())

    def head(self, count: int) -> float:
        return float(self.array[:count].read().result().sum())

    def write(self, start: int, values: float | np.ndarray) -> None:
        self.array[start : start + np.size(values)].write(values).result()

    def append(self, values: np.ndarray) -> None:
        length = self.array.shape[0]
        self.array = self.array.resize(exclusive_max=[length + len(values)]).result()
        self.write(length, values)

    def _spec(self) -> dict[str, Any]:
        store = {"driver": "file", "path": f"{self.folder / 'data.zarr'}/"}
        return {"driver": "zarr3", "kvstore": store, "context": {"file_io_sync": True}}
