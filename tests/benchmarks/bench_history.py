"""History: what ten thousand versions cost, how fast an earlier state opens, and packing.

Synthetic data. Commits are compared in turns with those of a fresh array in the same database, since the disk's speed
changes while one waits.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import transaction

import wendelin
from wendelin.storage.database import ondemand
from wendelin.storage.history.packing import pack

NAME = "History: versions, earlier states, packing"

#: Versions that one array gets; commits of each kind that are timed then; bytes of the array.
VERSIONS, TIMED, NBYTES = 10_000, 400, 64 << 20

#: Bytes that are overwritten before the pack, and how often.
BULK, TURNS = 256 << 20, 4


def main() -> str:
    """A table; times are medians."""
    rows = [row for kind in ("file", "local") for row in _figures(kind)]
    return "| | storage | figure |\n|---|---|---|\n" + "\n".join(f"| {a} | {b} | {c} |" for a, b, c in rows)


def _figures(kind: str) -> Iterator[tuple[str, str, str]]:
    with _fresh(kind) as url:
        manager = transaction.TransactionManager()
        conn = wendelin.connect(url, transaction_manager=manager)
        root = conn.root()
        root["old"] = wendelin.ZBigArray((NBYTES // 8,), "f8")
        root["old"][:] = 1
        manager.commit()
        middle: Any = None
        began = time.perf_counter()
        for number in range(VERSIONS):
            root["old"][(number * 7919) % (NBYTES // 8)] = number
            manager.commit()
            if number == VERSIONS // 2:
                middle = wendelin.history(conn, 1)[0]
        took = time.perf_counter() - began
        yield f"{VERSIONS:,} one-value commits", f"`{kind}://`", f"{took:.1f} s, {VERSIONS / took:,.0f}/s"
        yield from _ratio(kind, manager, root)
        first = root["old"].history(VERSIONS * 2)[-1]
        for what, info in (("the middle one", middle), ("the first one", first)):
            opened = _timed(lambda at=info: _sum(url, at), 5)  # type: ignore[misc]
            yield f"open {what} of {VERSIONS:,} states, read one value", f"`{kind}://`", f"{opened * 1e3:.1f} ms"
        yield f"A.history(20) after {VERSIONS:,} versions", f"`{kind}://`", _ms(lambda: root["old"].history(20))
        yield f"A.diff over {VERSIONS // 2:,} versions", f"`{kind}://`", _ms(lambda: root["old"].diff(middle), 1)
        yield from _packed(kind, conn, manager, root)
        conn.close()


def _ratio(kind: str, manager: Any, root: Any) -> Iterator[tuple[str, str, str]]:
    """One-value commits of the array with many versions beside those of one that has none, taking turns."""
    times: dict[str, list[float]] = {"old": [], "new": []}
    root["new"] = wendelin.ZBigArray((NBYTES // 8,), "f8")
    root["new"][:] = 1
    manager.commit()
    for number in range(TIMED):
        for name, found in times.items():
            root[name][(number * 104729) % (NBYTES // 8)] = -number
            began = time.perf_counter()
            manager.commit()
            found.append(time.perf_counter() - began)
    old, new = (statistics.median(found) for found in times.values())
    means = statistics.fmean(times["old"]) / statistics.fmean(times["new"])
    yield (
        f"a commit after {VERSIONS:,} versions against one of a new array (goal: within 1.2)",
        f"`{kind}://`",
        f"{old * 1e3:.2f} ms / {new * 1e3:.2f} ms = {old / new:.2f}; of the means {means:.2f}",
    )


def _packed(kind: str, conn: Any, manager: Any, root: Any) -> Iterator[tuple[str, str, str]]:
    """Pack a database of which most is past, and one array is tagged."""
    root["bulk"] = wendelin.ZBigArray((BULK // 8,), "f8")
    for turn in range(TURNS):
        root["bulk"][:] = np.float64(turn)
        manager.commit()
    conn.tag("kept", root["old"])
    manager.commit()
    began = time.perf_counter()
    done = pack(conn.db())
    took = time.perf_counter() - began
    assert done.before is not None
    assert done.after is not None
    freed = done.before - done.after
    yield (
        f"pack {done.before / 1e6:,.0f} MB, of which {freed / 1e6:,.0f} MB were past",
        f"`{kind}://`",
        f"{took:.2f} s: {done.before / took / 1e6:,.0f} MB/s looked at, {freed / took / 1e6:,.0f} MB/s freed",
    )


def _sum(url: str, at: Any) -> None:
    with contextlib.closing(wendelin.connect(url, at=at, transaction_manager=transaction.TransactionManager())) as old:
        assert old.root()["old"][-1] >= 0


def _timed(call: Callable[[], object], times: int = 5) -> float:
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


def _ms(call: Callable[[], object], times: int = 5) -> str:
    return f"{_timed(call, times) * 1e3:.1f} ms"


@contextlib.contextmanager
def _fresh(kind: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as place:
        folder = Path(place) / "db"
        try:
            yield f"{kind}://{folder}"
        finally:
            if kind == "local":
                ondemand.stop(folder)
