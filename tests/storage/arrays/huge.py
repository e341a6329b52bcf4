"""A program that changes far more than its memory: `python huge.py FOLDER BYTES`. Prints the most it took, as JSON.

It samples its own anonymous memory (RssAnon) in a thread, and says what each step took beyond the start.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import transaction

import wendelin

STEP = 1 << 20


def anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) << 10
    raise AssertionError("the kernel names no RssAnon")


class Peaks:
    """The most anonymous memory of each step, beyond what there was at the start."""

    def __init__(self) -> None:
        self.start = anonymous()
        self.found: dict[str, int] = {}
        self._step = "start"
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            self.found[self._step] = max(self.found.get(self._step, 0), anonymous() - self.start)
            time.sleep(0.001)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self._step = name
        yield
        self._step = "between"


def main(folder: str, nbytes: int) -> None:
    connection = wendelin.connect(f"file://{folder}")
    root, n = connection.root(), nbytes // 8
    peaks = Peaks()
    with peaks.step("fill through slices"):
        root["a"] = a = wendelin.ZBigArray((n,))
        for lo in range(0, n, STEP):
            a[lo : lo + STEP] = np.arange(lo, min(lo + STEP, n), dtype="f8")
    with peaks.step("commit"):
        transaction.commit()
    with peaks.step("fill a stored array"):
        root["b"] = b = wendelin.ZBigArray((n,))
        transaction.commit()
        b[:] = 1.0
    with peaks.step("abort"):
        transaction.abort()
    assert not b[::STEP].any(), "what was spilled and aborted is gone"
    with peaks.step("a *= 2"):
        a *= 2
    with peaks.step("np.add(a, a, out=b)"):
        np.add(a, a, out=b)
    with peaks.step("savepoint, changes, rollback"):
        savepoint = transaction.savepoint()
        np.negative(b, out=b)
        savepoint.rollback()
    with peaks.step("second commit"):
        transaction.commit()
    with peaks.step("append"):
        a.append(b[: n // 4])
        transaction.commit()
    connection.cacheMinimize()
    for lo in range(0, n, STEP):
        hi = min(lo + STEP, n)
        np.testing.assert_array_equal(a[lo:hi], 2 * np.arange(lo, hi, dtype="f8"))
        np.testing.assert_array_equal(b[lo:hi], 4 * np.arange(lo, hi, dtype="f8"))
    for lo in range(0, n // 4, STEP):
        hi = min(lo + STEP, n // 4)
        np.testing.assert_array_equal(a[n + lo : n + hi], b[lo:hi])
    peaks.found.pop("between", None)
    sys.stdout.write(json.dumps(peaks.found))
    transaction.abort()
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
