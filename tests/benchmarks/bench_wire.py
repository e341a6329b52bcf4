"""Blobs over the wire: how large the parts of a segment should be (docs/design/0006).

A ZEO server in a process of its own, on this machine; a writer, and readers with a cache of blobs each, that is empty.
`BENCH_MIB` (256): size of the array.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import transaction

import wendelin
from tests.benchmarks.peers.operations import timed
from tests.storage.database.servers import zeo_server
from wendelin.storage.arrays import pages, segments

NAME = "Blobs over the wire, by the size of their parts"

MIB = int(os.environ.get("BENCH_MIB", "256"))
TURNS = 3
#: MiB; 0: not cut.
SIZES = (2, 4, 8, 16, 32, 0)
SLICE = 1 << 17  # elements: 1 MiB


def main() -> str:
    turns: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as folder:
        for turn in range(TURNS):
            for size in SIZES:
                print(f"  turn {turn + 1}, {size} MiB …", file=sys.stderr, flush=True)
                turns[size].append(_one(Path(folder) / f"{turn}-{size}", size))
    _cut(pages.PART)
    lines = ["| parts of | commit s | first slice of 1 MiB ms | it brought MiB | then all s | all, MiB by MiB s |"]
    lines.append("|---|---|---|---|---|---|")
    for size in SIZES:
        middle = {key: statistics.median(turn[key] for turn in turns[size]) for key in turns[size][0]}
        name = f"{size} MiB{' (as it is)' if size << 20 == pages.PART else ''}" if size else "not cut"
        lines.append(
            f"| {name} | {middle['commit']:.2f} | {1e3 * middle['first']:.0f} | {middle['brought'] / 2**20:.0f} "
            f"| {middle['all']:.2f} | {middle['steps']:.2f} |"
        )
    return "\n".join([*lines, f"\n{MIB:,} MiB, {TURNS} turns, medians."])


def _one(folder: Path, size: int) -> dict[str, float]:
    _cut(size << 20 or sys.maxsize)
    length = MIB << 17
    with zeo_server(folder, tcp=True) as server:
        with _opened(f"{server.url}?blob_dir={folder}/writer") as connection:
            connection.root()["a"] = array = wendelin.ZBigArray((length,))
            array[:] = np.random.default_rng(0).normal(size=length)
            found = {"commit": timed(connection.transaction_manager.commit)[0]}
            del array
        with _opened(f"{server.url}?blob_dir={folder}/random") as connection:
            array = connection.root()["a"]
            found["first"] = timed(partial(_sum, array, length // 16, length // 16 + SLICE))[0]
            found["brought"] = float(sum(file.stat().st_size for file in (folder / "random").rglob("*.blob")))
            found["all"] = timed(partial(_sum, array, 0, length))[0]
            del array
        with _opened(f"{server.url}?blob_dir={folder}/steps") as connection:
            array = connection.root()["a"]
            start = time.perf_counter()
            for first in range(0, length, SLICE):
                _sum(array, first, first + SLICE)
            found["steps"] = time.perf_counter() - start
            del array
    return found


def _cut(nbytes: int) -> None:
    """Let segments be cut into parts of so many bytes, in this process."""
    vars(segments)["PART"] = nbytes


def _sum(array: Any, first: int, last: int) -> float:
    return float(array[first:last].sum())


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    connection = wendelin.connect(url, transaction_manager=transaction.TransactionManager())
    try:
        yield connection
    finally:
        connection.transaction_manager.abort()
        connection.close()
