"""Filling what was never written: zeros of this process's own against holes shared from a sparse file.

The figures behind a decision (docs/design/0006): would a plain view's fill spill by itself, and at what price?
Each way runs in a process of its own and fills `BENCH_MIB` of float64, then brings them to the disk as a commit would.
"""

from __future__ import annotations

import json
import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

NAME = "Holes: private zeros against a shared sparse file"

MIB = int(os.environ.get("BENCH_MIB", "512"))
TURNS = 5
WAYS = {
    "private": "private zeros, then written (as it is)",
    "shared": "shared from a sparse file",
    "reserved": "the same, the disk reserved first",
}


def main() -> str:
    turns = {way: [_in_a_process(way) for _ in range(TURNS)] for way in WAYS}
    lines = ["| way | map ms | fill s | bring to the disk s | anonymous memory MiB | disk taken by reading it only |"]
    lines.append("|---|---|---|---|---|---|")
    for way, name in WAYS.items():
        middle = {key: statistics.median(turn[key] for turn in turns[way]) for key in turns[way][0]}
        cells = [f"{1e3 * middle['map']:.2f}", f"{middle['fill']:.2f}", f"{middle['sync']:.2f}"]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {middle['anonymous'] / 2**20:.0f} | {middle['read'] / 2**20:.0f} MiB |"
        )
    return "\n".join([*lines, f"\n{MIB:,} MiB, {TURNS} turns, medians."])


def _in_a_process(way: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_holes", way]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def _one(way: str) -> dict[str, float]:
    nbytes = MIB << 20
    fd, path = tempfile.mkstemp(prefix=".bench-", dir=Path.cwd())
    try:
        before = _anonymous()
        start = time.perf_counter()
        memory = _mapped(way, fd, nbytes)
        mapped = time.perf_counter()
        view = np.frombuffer(memory, "f8")
        assert view[:: 1 << 9].max() == 0  # read a value of every page
        read = Path(path).stat().st_blocks * 512
        filling = time.perf_counter()
        view[:] = 1.5
        filled = time.perf_counter()
        anonymous = _anonymous() - before
        if way == "private":
            left = memoryview(memory)
            while left:
                left = left[os.write(fd, left[: 1 << 30]) :]
        os.fsync(fd)
        return {
            "map": mapped - start,
            "fill": filled - filling,
            "sync": time.perf_counter() - filled,
            "anonymous": anonymous,
            "read": read,
        }
    finally:
        os.close(fd)
        Path(path).unlink()


def _mapped(way: str, fd: int, nbytes: int) -> Any:
    if way == "private":
        return mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    os.ftruncate(fd, nbytes)
    if way == "reserved":
        os.posix_fallocate(fd, 0, nbytes)
    return mmap.mmap(fd, nbytes, flags=mmap.MAP_SHARED)


def _anonymous() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    print(json.dumps(_one(sys.argv[1])))
