"""Arrays against the bare machine: scanning against `np.memmap`, committing against raw write + fsync.

Each pair runs in turns, in the same process and on the same disk; the ratio is the median of the ratios of the turns.
The database is a FileStorage in this process, so that no other process's work is counted; `BENCH_MIB` sets the size.
"""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import transaction

from wendelin import ZBigArray
from wendelin.storage.arrays.written import detector
from wendelin.storage.database.connection import DB
from wendelin.storage.database.durable import DurableFileStorage

NAME = "Arrays: scan and commit"

MIB = int(os.environ.get("BENCH_MIB", "1024"))
TURNS = 7


def main() -> str:
    folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=Path.cwd()))
    try:
        return _table(folder)
    finally:
        transaction.abort()
        shutil.rmtree(folder)


def _table(folder: Path) -> str:
    db = DB(DurableFileStorage(str(folder / "Data.fs"), blob_dir=str(folder / "blobs")))
    connection = db.open()
    root = connection.root()
    data = np.random.default_rng(0).normal(size=(MIB << 20) // 8)
    root["a"] = array = ZBigArray(data.shape)
    array[:] = data
    transaction.commit()
    data.tofile(folder / "memmap")
    sync(folder / "memmap")
    rows = [
        scan(array, folder / "memmap"),
        one_element(array, folder / "memmap"),
        bulk_commit(root, data, folder),
        one_value(array, root),
        dirty_scan(array),
        opening(db, array),
        on_disk(folder, data.nbytes, root),
    ]
    del array
    connection.close()
    db.close()
    lines = ["| what | Wendelin | compared with | | ratio |", "|---|---|---|---|---|"]
    note = f"\n{MIB:,} MiB of float64, {TURNS} turns, medians; written pages found by `{detector().name}`."
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), note])


def scan(array: ZBigArray, file: Path) -> list[str]:
    """Sum all values, warm: the page cache holds both."""
    view, memmap = array[:], np.memmap(file, "f8", "r")
    view.sum(), memmap.sum()
    ours, theirs = in_turns(view.sum, memmap.sum)
    return row(
        "warm scan (sum)",
        "{:.2f} GB/s",
        "np.memmap",
        [view.nbytes / 1e9 / t for t in ours],
        [view.nbytes / 1e9 / t for t in theirs],
    )


def one_element(array: ZBigArray, file: Path) -> list[str]:
    """Read single elements through a view taken once."""
    view, memmap = array[:], np.memmap(file, "f8", "r")
    places = np.random.default_rng(0).integers(0, len(view), 20_000).tolist()
    ours, theirs = in_turns(lambda: [view[i] for i in places], lambda: [memmap[i] for i in places])
    return row("one element through a view", "{:.3f} µs", "np.memmap", [50 * t for t in ours], [50 * t for t in theirs])


def bulk_commit(root: Any, data: np.ndarray, folder: Path) -> list[str]:
    """Commit the whole array, freshly written, against writing the same bytes to a file and syncing it."""
    array = root["a"]
    view = array[:]
    ours, theirs = [], []
    for turn in range(TURNS):
        view[:] = data
        view[0] = turn
        ours.append(timed(transaction.commit))
        theirs.append(timed(lambda: raw_write(folder / "raw", data)))
        (folder / "raw").unlink()
        root._p_jar.db().pack()  # overwritten segments go, or the disk fills
    gb = data.nbytes / 1e9
    return row("bulk commit", "{:.2f} GB/s", "raw write + fsync", [gb / t for t in ours], [gb / t for t in theirs])


def one_value(array: ZBigArray, root: Any) -> list[str]:
    """Commit one changed value against committing one changed plain object."""
    view = array[:]

    places = np.random.default_rng(1)

    def ours() -> None:
        for place in places.integers(len(view), size=20).tolist():
            view[place] = 1
            transaction.commit()

    def theirs() -> None:
        for value in range(20):
            root["plain"] = value
            transaction.commit()

    a, b = in_turns(ours, theirs)
    return row("one-value commit", "{:.2f} ms", "plain ZODB commit", [50 * t for t in a], [50 * t for t in b])


def dirty_scan(array: ZBigArray) -> list[str]:
    """Find written pages of the whole, mapped array when none is written."""
    view = array[:]
    memory = array._p_jar.arrays.memory(array)
    assert memory.has_views
    assert view.size
    took = [timed(memory.dirty) for _ in range(TURNS)]
    return ["finding that nothing was written", f"{1e3 * statistics.median(took):.2f} ms", "", "", ""]


def opening(db: Any, array: ZBigArray) -> list[str]:
    """Open the array in a fresh connection and read one value of a 1 MiB slice, against np.memmap."""
    file = Path(next(p for p in Path(db.storage.fshelper.base_dir).rglob("*.blob")))

    def ours() -> None:
        manager = transaction.TransactionManager()
        connection = db.open(manager)
        connection.cacheMinimize()
        connection.root()["a"][1 << 17 : 1 << 18][0]
        manager.abort()
        connection.close()

    a, b = in_turns(ours, lambda: np.memmap(file, "u1", "r")[0])
    del array
    return row("open, slice of 1 MiB", "{:.2f} ms", "np.memmap", [1e3 * t for t in a], [1e3 * t for t in b])


def on_disk(folder: Path, payload: int, root: Any) -> list[str]:
    """All bytes on disk minus the payload, of a fresh database with one bulk-written array."""
    fresh = folder / "fresh"
    fresh.mkdir()
    db = DB(DurableFileStorage(str(fresh / "Data.fs"), blob_dir=str(fresh / "blobs")))
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    connection.root()["a"] = array = ZBigArray((payload // 8,))
    array[:] = 1.5
    manager.commit()
    connection.close()
    db.close()
    stored = sum(p.stat().st_blocks * 512 for p in fresh.rglob("*") if p.is_file())
    return [
        "bytes on disk above the payload",
        f"{stored - payload:,}",
        "payload",
        f"{payload:,}",
        f"{100 * (stored - payload) / payload:.4f} %",
    ]


def raw_write(path: Path, data: np.ndarray) -> None:
    with path.open("wb", buffering=0) as file:
        left: memoryview = data.data.cast("B")
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Seconds of both, turn by turn; the first turn is not counted."""
    pairs = [(timed(ours), timed(theirs)) for _ in range(TURNS + 1)][1:]
    return [a for a, _ in pairs], [b for _, b in pairs]


def row(what: str, unit: str, peer: str, ours: list[float], theirs: list[float]) -> list[str]:
    """A line of the table; the ratio is the median of the turns' ratios, Wendelin / peer."""
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    return [what, unit.format(statistics.median(ours)), peer, unit.format(statistics.median(theirs)), f"{ratio:.2f}"]
