"""Wendelin alone: arrays that grew old by many small transactions, and very large ones.

Each is made in a FileStorage of its own. Only how it is laid out is of interest here, so these processes leave out
`fsync` (a hundred thousand commits take minutes instead of an hour); nothing in this file times a commit.
"""

from __future__ import annotations

import importlib
import os
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers.contract import on_disk
from tests.benchmarks.peers.operations import ROWS, timed

PAGE = 512  # elements
SLICE = 1 << 17  # elements: 1 MiB
SCANS = 15


def _database(folder: Path) -> Any:
    os.fsync = lambda fd: None  # before ZODB is imported: FileStorage keeps the function
    import transaction

    import wendelin

    return wendelin.connect(f"file://{folder}", transaction_manager=transaction.TransactionManager())


def appends(place: Path) -> Iterator[dict[str, float]]:
    """An array of `BENCH_APPENDS` appends of 10 k values against the same values written at once."""
    number = int(os.environ.get("BENCH_APPENDS", "500"))
    rows = np.random.default_rng(0).normal(size=ROWS)

    def work(array: Any, commit: Callable[[], None]) -> None:
        for _ in range(number):
            array.append(rows)
            commit()

    yield _aged(place / "aged-appends", 0, work)


def pages(place: Path) -> Iterator[dict[str, float]]:
    """An array after `BENCH_UPDATES` transactions of one random page each, against one written at once."""
    number, length = int(os.environ.get("BENCH_UPDATES", "100000")), (int(os.environ["BENCH_MIB"]) << 20) // 8

    def work(array: Any, commit: Callable[[], None]) -> None:
        generator = np.random.default_rng(1)
        for start in (generator.integers(length // PAGE, size=number) * PAGE).tolist():
            array[start : start + PAGE] = float(start)
            commit()

    yield _aged(place / "aged-pages", length, work)


def _aged(folder: Path, length: int, work: Callable[[Any, Callable[[], None]], None]) -> dict[str, float]:
    """Size on disk (packed) and seconds of a scan: aged, then defragmented, each beside an array written at once."""
    old, new = _database(folder / "aged"), _database(folder / "bulk")
    aged = _filled(old, length, 1.0)
    commits = 0

    def commit() -> None:
        nonlocal commits
        old.transaction_manager.commit()
        commits += 1

    work(aged, commit)
    bulk = _filled(new, len(aged), aged[:])
    found = {"commits": float(commits)} | _side_by_side("aged", aged, "bulk", bulk, folder)
    if _defragment(aged):
        found |= _side_by_side("tidy", aged, "bulk tidy", bulk, folder)
    for connection in (old, new):
        connection.transaction_manager.abort()
    return found


def _filled(connection: Any, length: int, values: Any) -> Any:
    import wendelin

    connection.root()["a"] = array = wendelin.ZBigArray((length,))
    array[:] = values
    connection.transaction_manager.commit()
    return array


def _defragment(array: Any) -> bool:
    """As `wendelin db defragment` does; False where the package cannot yet."""
    try:
        compaction = importlib.import_module("wendelin.storage.arrays.compaction")
    except ModuleNotFoundError:
        return False
    if not hasattr(compaction, "defragment"):
        return False
    compaction.defragment(array)
    return True


def _side_by_side(name: str, aged: Any, other: str, bulk: Any, folder: Path) -> dict[str, float]:
    """Both arrays' bytes on disk, and the medians of scans that take turns."""
    arrays = {name: aged, other: bulk}
    found: dict[str, float] = {}
    for label, array in arrays.items():
        array._p_jar.db().pack()
        array._p_jar.cacheMinimize()
        float(array[:].sum())
        found[f"{label} bytes"] = float(on_disk(folder / ("aged" if array is aged else "bulk")))
    scans = [{label: timed(array[:].sum)[0] for label, array in arrays.items()} for _ in range(SCANS)]
    for label in arrays:
        found[f"{label} scan"] = statistics.median(scan[label] for scan in scans)
    found[f"{name} ratio"] = statistics.median(scan[name] / scan[other] for scan in scans)
    with Path("/proc/self/maps").open() as maps:
        found[f"{name} mappings"] = float(sum(str(folder) in line for line in maps))
    return found


def sparse(place: Path) -> Iterator[dict[str, float]]:
    """A 1 TiB array of which 64 MiB, here and there, were written: open it and read 1 MiB of them."""
    folder, length, stride = place / "sparse", (1 << 40) // 8, (1 << 34) // 8

    def write(array: Any, commit: Callable[[], None]) -> None:
        for start in range(0, length, stride):
            array[start : start + SLICE] = 1.0
        commit()

    yield _opened(folder, length, 2 << 20, write, [stride * n for n in range(5, 12)])


def _first_slice(root: Any, start: int) -> float:
    return float(root["a"][start : start + SLICE].sum())


def scattered(place: Path) -> Iterator[dict[str, float]]:
    """`BENCH_BLOCKS` blocks of one page with a hole between each two, in ten commits: open, read 1 MiB."""
    blocks = int(os.environ.get("BENCH_BLOCKS", "1000000"))
    folder, length = place / "scattered", 2 * blocks * PAGE

    def write(array: Any, commit: Callable[[], None]) -> None:
        for part in range(10):
            view = array[part * length // 10 : (part + 1) * length // 10]
            view[:: 2 * PAGE] = 1.0
            commit()

    yield _opened(folder, length, 4096, write, [int(n * max(0, length - SLICE) / 7) for n in range(7)])


def _opened(
    folder: Path, length: int, blksize: int, write: Callable[[Any, Callable[[], None]], None], starts: list[int]
) -> dict[str, float]:
    """Milliseconds of the array's first slice in a connection that has not seen it, each at another place."""
    connection = _database(folder)
    import wendelin

    connection.root()["a"] = array = wendelin.ZBigArray((length,), blksize=blksize)
    write(array, connection.transaction_manager.commit)
    del array
    connection.close()
    took = []
    for start in starts:
        connection = wendelin.connect(f"file://{folder}")  # a fresh cache; its own time is that of any database
        root = connection.root()
        took.append(timed(partial(_first_slice, root, start))[0])
        del root
        connection.close()
    return {"first slice": statistics.median(took), "bytes": float(on_disk(folder))}


OPERATIONS: dict[str, Callable[[Path], Iterator[dict[str, float]]]] = {
    "age_appends": appends,
    "age_pages": pages,
    "age_sparse": sparse,
    "age_scattered": scattered,
}
