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


def _database(folder: Path) -> Any:
    os.fsync = lambda fd: None  # before ZODB is imported: FileStorage keeps the function
    import wendelin

    return wendelin.connect(f"file://{folder}")


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
    """Size on disk (packed) and seconds of a scan: written at once, aged, and aged then defragmented."""
    connection = _database(folder / "aged")
    import transaction

    import wendelin

    connection.root()["a"] = array = wendelin.ZBigArray((length,))
    array[:] = 1.0
    transaction.commit()
    work(array, transaction.commit)
    found = _state("aged", connection, array, folder / "aged")
    if _defragment(array):
        transaction.commit()
        found |= _state("tidy", connection, array, folder / "aged")
    values = np.array(array[:])
    del array
    connection.close()
    connection = _database(folder / "bulk")
    connection.root()["a"] = array = wendelin.ZBigArray(values.shape)
    array[:] = values
    transaction.commit()
    return found | _state("bulk", connection, array, folder / "bulk")


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


def _state(name: str, connection: Any, array: Any, folder: Path) -> dict[str, float]:
    connection.db().pack()
    connection.cacheMinimize()
    float(array[:].sum())
    scans = [timed(array[:].sum)[0] for _ in range(9)]
    with Path("/proc/self/maps").open() as maps:
        mappings = sum(1 for _ in maps)
    return {
        f"{name} bytes": float(on_disk(folder)),
        f"{name} scan": statistics.median(scans),
        f"{name} mappings": float(mappings),
    }


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
    import transaction

    import wendelin

    connection.root()["a"] = array = wendelin.ZBigArray((length,), blksize=blksize)
    write(array, transaction.commit)
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
