"""Streams: bytes as they came, as files, in parallel, after a kill, without their head, and as others append."""

from __future__ import annotations

import csv
import gzip
import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transaction import TransactionManager

import wendelin
from wendelin.storage.database.status import stop
from wendelin.storage.errors import DroppedError, NotStoredError
from wendelin.storage.testing.base import small_limits


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Any]:
    connection = wendelin.connect(f"file://{tmp_path}/db", transaction_manager=TransactionManager())
    yield connection
    connection.transaction_manager.abort()
    connection.close()


def made(conn: Any, data: bytes = b"") -> wendelin.ByteStream:
    conn.root()["log"] = stream = wendelin.ByteStream(data)
    conn.transaction_manager.commit()
    return stream


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_is_like_a_bytearray(conn: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stream, manager = made(conn), conn.transaction_manager
    wanted, start = bytearray(), 0
    committed = b"", 0
    with small_limits():
        for _ in range(60):
            what = rng.integers(0, 10)
            for _ in range(int(rng.integers(1, 4))):
                data = rng.bytes(int(rng.choice([0, 1, 100, 5000, 300_000])))
                stream.append(data)
                wanted += data
            if what == 8:
                start = max(start, int(rng.integers(0, len(wanted) + 1)))
                stream.drop(start)
            if what == 9:
                manager.abort()
                wanted, start = bytearray(committed[0]), committed[1]
            elif what > 1:
                manager.commit()
                committed = bytes(wanted), start
            assert (stream.start, stream.stop, len(stream)) == (start, len(wanted), len(wanted) - start)
            at = int(rng.integers(start, len(wanted) + 1))
            assert stream.read(at, 70_000) == wanted[at : at + 70_000]
            with stream.open(at) as file:
                assert file.read(50) == wanted[at : at + 50]
                assert file.tell() == min(at + 50, len(wanted))
    manager.commit()
    assert stream.read() == wanted[start:]


def test_a_stream_is_a_file(conn: Any) -> None:
    text = "".join(f"{i},{i * i}\n" for i in range(20_000))
    stream = made(conn, text.encode())
    with stream.open() as file:
        assert (file.readable(), file.seekable(), file.writable()) == (True, True, False)
        assert file.seek(-6, io.SEEK_END) == len(text) - 6
        assert file.read() == text[-6:].encode()
        assert file.read() == b""
        assert file.seek(2) == 2
        assert file.seek(3, io.SEEK_CUR) == 5
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        file.tell()
    rows = list(csv.reader(io.TextIOWrapper(io.BufferedReader(stream.open()))))
    assert rows[-1] == ["19999", str(19_999**2)]
    packed = wendelin.ByteStream(gzip.compress(text.encode()))
    with gzip.open(packed.open()) as unpacked:
        assert unpacked.read() == text.encode()


def test_pyarrow_reads_it(conn: Any) -> None:
    pa_csv = pytest.importorskip("pyarrow.csv")
    stream = made(conn, b"a,b\n" + b"1,2.5\n" * 10_000)
    table = pa_csv.read_csv(stream.open())
    assert (table.num_rows, table.column_names) == (10_000, ["a", "b"])


def test_what_was_dropped_is_refused_and_packing_frees_it(conn: Any, tmp_path: Path) -> None:
    stream = made(conn)
    for _ in range(8):
        stream.append(np.random.default_rng(1).bytes(1 << 20))
        conn.transaction_manager.commit()
    from wendelin.storage.arrays.compaction import defragment

    assert defragment(stream.array) >= 0
    last = stream.read(7 << 20, 1 << 20)
    assert stream.keep(nbytes=1 << 20) == 7 << 20
    conn.transaction_manager.commit()
    with pytest.raises(DroppedError, match="begins at 7,340,032"):
        stream.read(5)
    with pytest.raises(DroppedError), stream.open(0) as file:
        file.read(1)
    assert stream.read() == last
    assert stream.drop(3) == 0
    defragment(stream.array)
    conn.db().pack()
    conn.cacheMinimize()
    assert stream.read() == last
    assert sum(path.stat().st_blocks * 512 for path in (tmp_path / "db/blobs").rglob("*.blob")) < 2 << 20


def test_age_is_what_the_history_says(conn: Any) -> None:
    stream, manager = made(conn, b"old"), conn.transaction_manager
    early = datetime.now(UTC)
    stream.append(b"newer")
    manager.commit()
    late = datetime.now(UTC)
    stream.append(b"newest")
    manager.commit()
    assert stream.keep(since=early) == 3
    assert stream.read() == b"newernewest"
    manager.commit()
    assert stream.keep(since=late) == 5
    manager.commit()
    assert stream.read() == b"newest"
    conn.db().pack()
    assert stream.keep(since=late) == 0
    with pytest.raises(NotStoredError):
        wendelin.ByteStream(b"x").keep(since=late)


def test_streams_are_linked(conn: Any) -> None:
    first = made(conn, b"a")
    second = first.continue_with(wendelin.ByteStream(b"b"))
    third = second.continue_with(wendelin.ByteStream(b"c"))
    conn.transaction_manager.commit()
    conn.cacheMinimize()
    assert [each.read() for each in first.chain()] == [b"a", b"b", b"c"]
    assert third.predecessor is second
    assert second.predecessor is first
    with pytest.raises(ValueError, match="linked already"):
        first.continue_with(wendelin.ByteStream())


WRITER = """
import os, sys, time
from transaction import TransactionManager
import wendelin
manager = TransactionManager()
conn = wendelin.connect(sys.argv[1], transaction_manager=manager)
stream, me = conn.root()["log"], sys.argv[2].encode()
print("ready", flush=True)
for turn in range(int(sys.argv[3])):
    manager.begin()
    size = 40_000 if turn % 5 == 4 else 37 + turn % 50
    piece = b"<%s %05d " % (me, turn)
    stream.append(piece.ljust(size - 1, b".") + b">")
    manager.commit()
    print(turn, flush=True)
conn.close()
"""


def _writer(url: str, name: str, turns: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, url, name, str(turns)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _pieces(data: bytes) -> dict[str, list[int]]:
    """Of each writer the turns, in their order; fails at anything that is not in one piece."""
    found: dict[str, list[int]] = {}
    for piece in data.split(b">")[:-1]:
        assert piece.startswith(b"<"), piece[:40]
        name, turn, rest = piece[1:].split(b" ", 2)
        assert rest.strip(b".") == b""
        found.setdefault(name.decode(), []).append(int(turn))
    assert data.endswith(b">")
    return found


@pytest.mark.slow
def test_parallel_appends_merge_followers_see_them_and_kills_leave_whole_pieces(tmp_path: Path) -> None:
    url = f"local://{tmp_path}/db"
    conn = wendelin.connect(url, transaction_manager=TransactionManager())
    try:
        stream = made(conn, b"<m 00000 .>")
        writers = [_writer(url, f"w{i}", 40) for i in range(2)]
        victim = _writer(url, "victim", 100_000)
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(12)]
        victim.send_signal(signal.SIGKILL)
        acknowledged = int(lines[-1])
        victim.wait()
        victim.stdout.close()
        for writer in writers:
            assert writer.wait() == 0
            assert writer.stdout is not None
            writer.stdout.close()
        conn.transaction_manager.begin()
        data = stream.read()
        found = _pieces(data)
        assert [found[f"w{i}"] for i in range(2)] == [list(range(40))] * 2
        assert found["victim"] == list(range(len(found["victim"])))
        assert len(found["victim"]) > acknowledged
        assert b"".join(stream.follow(at=0, timeout=0)) == data
        following = stream.follow(at=stream.stop - 1)
        assert next(following) == b">"
        other = _writer(url, "late", 1)
        assert _pieces(next(following)) == {"late": [0]}
        assert other.wait() == 0
        assert other.stdout is not None
        other.stdout.close()
        following.close()  # type: ignore[attr-defined]
    finally:
        conn.close()
        stop(url)


def test_droppers_merge_and_the_later_start_counts(conn: Any) -> None:
    stream = made(conn, bytes(range(100)))
    other = conn.db().open(TransactionManager())
    theirs = other.root()["log"]
    stream.drop(10)
    theirs.drop(30)
    theirs.append(b"more")
    other.transaction_manager.commit()
    conn.transaction_manager.commit()
    assert (stream.start, stream.stop) == (30, 104)
    other.close()


def test_an_entity_carries_a_stream(conn: Any) -> None:
    ubm = wendelin.entities(conn)
    first = ubm.create("stream", title="log of inverter 4", media_type="text/csv")
    first.stream = wendelin.ByteStream(b"time,power\n")
    second = ubm.create("stream", title="the same, after the exchange", predecessor=first)
    second.stream = first.stream.continue_with(wendelin.ByteStream())
    conn.transaction_manager.commit()
    first.stream.append(b"0,1\n")
    conn.transaction_manager.commit()
    conn.cacheMinimize()
    assert first.stream.read() == b"time,power\n0,1\n"
    assert second.predecessor == first
    assert "ByteStream" in second._repr_html_()
    assert first.stream.successor is second.stream
