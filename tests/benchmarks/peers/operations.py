"""What is measured: each operation makes ready, then yields the seconds of one turn after the other, by label.

An operation runs in a process of its own, one a store; the stores take their turns one after the other. Positions
come from the turn's number, so that every store is asked the same and no two turns are. The first turn is not counted.
"""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers.contract import Peer

Turns = Iterator[dict[str, float]]

UPDATES, BLOCKS, OPENS = 20, 5, 3
#: Values of an append, of a block (1 MiB) and of the slice after opening (1 MiB).
ROWS, BLOCK, HEAD = 10_000, 1 << 17, 1 << 17
DROP = Path("/proc/sys/vm/drop_caches")


def fill(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Write the whole array into a new store; the last turn's store stays for the other operations."""
    for turn in count():
        if turn:
            peer.discard()
            shutil.rmtree(peer.folder)
        peer.make(len(data))
        peer.outside = 0.0
        took, durable = timed(lambda: peer.fill(data))
        yield {"fill": took, "commit": durable, "fill unsynced": took - peer.outside}


def scan(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Sum all values; the page cache holds them."""
    peer.open()
    while True:
        took, total = timed(peer.scan)
        assert np.isclose(total, data.sum(), rtol=1e-6), f"the sum is {total}"
        yield {"scan": took}


def memory(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Copy and sum an array in memory."""
    source, target = np.array(data), np.empty_like(data)
    while True:
        yield {"copy": timed(lambda: np.copyto(target, source))[0], "sum": timed(source.sum)[0]}


def cold(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Sum all values; the page cache holds nothing of the store."""
    while True:
        peer.open()
        work = getattr(peer, "cold_scan", peer.scan)
        drop(peer.folder)
        yield {"cold": timed(work)[0]}
        peer.close()


def read(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Single elements at random: through the store's indexing, and through a view taken once."""
    peer.open()
    length = len(data)
    for turn in count():
        places = np.random.default_rng(turn).integers(length, size=20_000).tolist()
        some = places[: peer.reads]
        took, values = timed(partial(each, peer.read, some))
        assert np.array_equal(values, data[some])
        found = {"read": took / len(some)}
        view = peer.view()
        if view is not None:
            found["view"] = timed(partial(elements, view, places))[0] / len(places)
        del view
        yield found


def opening(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Open the store and sum the first MiB, in a process that did so before."""

    def work() -> None:
        peer.open()
        peer.head(HEAD)

    while True:
        took = 0.0
        for _ in range(OPENS):
            took += timed(work)[0]
            peer.close()
        yield {"open": took / OPENS}


def update(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """One value at random, durable each time; and one changed plain object in the same database."""
    peer.open()
    for turn in count():
        places = np.random.default_rng(turn).integers(len(data), size=UPDATES).tolist()
        found = writing(peer, "update", [partial(peer.write, place, float(turn)) for place in places])
        if peer.commit_plain():
            found["plain"] = timed(lambda: [peer.commit_plain() for _ in range(UPDATES)])[0] / UPDATES
        yield found


def block(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """A MiB at a random place, durable each time."""
    peer.open()
    values = np.ones(min(BLOCK, len(data)))
    for turn in count():
        places = np.random.default_rng(turn).integers(len(data) - len(values) + 1, size=BLOCKS).tolist()
        yield writing(peer, "block", [partial(peer.write, place, values) for place in places])


def append(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Rows appended to an empty array, durable each time; all turns together make `BENCH_APPENDS`."""
    appends = int(os.environ.get("BENCH_APPENDS", "500"))
    peer.folder = peer.folder.with_name("append")
    peer.make(0)
    rows = np.random.default_rng(0).normal(size=ROWS)
    share = max(1, appends // (turns + 1))
    for turn in count():
        some = share if turn else max(1, appends - turns * share)
        yield writing(peer, "append", [partial(peer.append, rows)] * some)


def discard(peer: Peer, data: np.ndarray, turns: int) -> Turns:
    """Stop what still serves the stores' folders."""
    while True:
        for folder in ("bulk", "append"):
            peer.folder = peer.folder.with_name(folder)
            peer.discard()
        yield {}


def writing(peer: Peer, label: str, works: list[Callable[[], Any]]) -> dict[str, float]:
    """Seconds of one write, and of one without the `fsync`s that the store itself leaves out."""
    peer.outside = 0.0
    took = timed(lambda: [work() for work in works])[0]
    return {label: took / len(works), f"{label} unsynced": (took - peer.outside) / len(works)}


def each(ask: Callable[[int], Any], places: list[int]) -> list[Any]:
    """What each place answers."""
    return [ask(place) for place in places]


def elements(view: Any, places: list[int]) -> list[Any]:
    """The element at each place."""
    return [view[place] for place in places]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and what it gave."""
    gc.collect()
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def drop(folder: Path) -> None:
    """Take a folder's files out of the page cache; as root, drop the whole cache too."""
    for path in folder.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
    if may_drop():
        DROP.write_text("1")


def may_drop() -> bool:
    """Whether this process may drop the machine's whole page cache."""
    return os.access(DROP, os.W_OK)


OPERATIONS: dict[str, Callable[[Peer, np.ndarray, int], Turns]] = {
    function.__name__: function
    for function in (fill, scan, memory, cold, read, opening, update, block, append, discard)
}
