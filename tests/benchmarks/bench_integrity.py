"""Integrity: what checksums cost a commit, how fast verifying and backups are, and what a stream takes on the disk.

Synthetic data. Commits and raw writes take turns, since the disk's speed changes while one waits.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import transaction

import wendelin
from wendelin.storage.arrays.compaction import defragment
from wendelin.storage.database.status import bytes_on_disk
from wendelin.storage.integrity.backup import backup
from wendelin.storage.integrity.verify import verify

NAME = "Integrity: checksums, verifying, backups, streams"

#: Bytes of a bulk commit, how often; bytes of a stream, and of one append.
BULK, TURNS = 512 << 20, 5
STREAM, PIECE = 1 << 30, 1 << 20


def main() -> str:
    """A table; ratios are of medians."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as folder, _home(folder):
        rows = [*_bulk(Path(folder)), *_stream(Path(folder))]
    return "| | figure |\n|---|---|\n" + "\n".join(f"| {name} | {figure} |" for name, figure in rows)


@contextlib.contextmanager
def _home(folder: str) -> Iterator[None]:
    before = os.environ.get("WENDELIN_HOME")
    os.environ["WENDELIN_HOME"] = f"{folder}/home"
    try:
        yield
    finally:
        if before is None:
            del os.environ["WENDELIN_HOME"]
        else:
            os.environ["WENDELIN_HOME"] = before


def _bulk(folder: Path) -> Iterator[tuple[str, str]]:
    manager = transaction.TransactionManager()
    conn = wendelin.connect(f"file://{folder}/bulk", transaction_manager=manager)
    data = np.random.default_rng(0).random(BULK // 8)
    raw, ours = [], []
    for turn in range(TURNS):
        raw.append(_written(folder / "raw", data))
        conn.root()[f"a {turn}"] = array = wendelin.ZBigArray(data.shape)
        began = time.perf_counter()
        array[:] = data
        manager.commit()
        ours.append(time.perf_counter() - began)
    conn.close()
    disk, ratio = BULK / statistics.median(raw), statistics.median(raw) / statistics.median(ours)
    yield f"raw write and fsync of {BULK >> 20} MiB", f"{disk / 1e6:,.0f} MB/s"
    yield "raw write ÷ assignment and commit of the same, with checksums", f"{ratio:.2f}×"
    report = verify(f"file://{folder}/bulk")
    yield (
        f"verify {report.nbytes / 1e9:.1f} GB, from the system's cache",
        f"{report.nbytes / report.seconds / 1e9:.1f} GB/s",
    )
    began = time.perf_counter()
    done = backup(folder / "copies", f"file://{folder}/bulk")
    yield f"backup of {done.nbytes / 1e9:.1f} GB", f"{done.nbytes / (time.perf_counter() - began) / 1e6:,.0f} MB/s"
    began = time.perf_counter()
    backup(folder / "copies", f"file://{folder}/bulk")
    yield "backup when nothing is new", f"{(time.perf_counter() - began) * 1e3:.0f} ms"


def _written(path: Path, data: npt.NDArray[np.float64]) -> float:
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    raw = data.data.cast("B")
    began = time.perf_counter()
    while raw:
        raw = raw[os.write(fd, raw[: 1 << 30]) :]
    os.fsync(fd)
    took = time.perf_counter() - began
    os.close(fd)
    path.unlink()
    return took


def _stream(folder: Path) -> Iterator[tuple[str, str]]:
    manager = transaction.TransactionManager()
    conn = wendelin.connect(f"file://{folder}/stream", transaction_manager=manager)
    conn.root()["log"] = stream = wendelin.ByteStream()
    manager.commit()
    piece = np.random.default_rng(0).bytes(PIECE)
    began = time.perf_counter()
    for _ in range(STREAM // PIECE):
        stream.append(piece)
        manager.commit()
    took = time.perf_counter() - began
    yield f"a stream of {STREAM >> 20} MiB in commits of {PIECE >> 20} MiB", f"{STREAM / took / 1e6:,.0f} MB/s"
    yield "overhead on disk with all history", _overhead(folder)
    conn.db().pack()
    yield "overhead when it is packed", _overhead(folder)
    defragment(stream.array)
    conn.db().pack()
    yield "overhead when it is defragmented and packed", _overhead(folder)
    rng = np.random.default_rng(1)
    places = rng.integers(0, STREAM - 100, 1000).tolist()
    began = time.perf_counter()
    for at in places:
        stream.read(at, 100)
    yield "read 100 bytes at any offset", f"{(time.perf_counter() - began) / len(places) * 1e6:.0f} µs"
    conn.close()


def _overhead(folder: Path) -> str:
    found = bytes_on_disk(folder / "stream")
    assert found is not None
    return f"{100 * (found - STREAM) / STREAM:.4f} %"
