"""Arrays whose data is not on this node's disks are mapped from the node's cache: bounded, shared, never stale."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from ZODB.FileStorage import FileStorage

import wendelin
from tests.storage.arrays.fuse import fuse_mount
from tests.storage.database.children import children
from tests.storage.database.servers import wait_until, zeo_server
from wendelin import ZBigArray
from wendelin.storage.arrays import remote, segments
from wendelin.storage.arrays.compaction import defragment
from wendelin.storage.arrays.pages import PART, Chunks, Parts
from wendelin.storage.database import paths
from wendelin.storage.database.connection import DB

MIB = 1 << 20


@pytest.fixture(autouse=True)
def detector() -> None:
    """The ways of finding written pages have their own tests."""


@pytest.fixture
def db(tmp_path: Path, wendelin_home: Path) -> Iterator[DB]:
    """A database in a storage without blobs."""
    found = DB(FileStorage(str(tmp_path / "Data.fs")))
    yield found
    found.close()


def filled(db: Any, nbytes: int = 6 * MIB) -> np.ndarray:
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    connection.root()["a"] = array = ZBigArray((nbytes // 8,), "i8")
    array[:] = np.arange(nbytes // 8)
    manager.commit()
    connection.close()
    return np.arange(nbytes // 8)


def opened(db: Any) -> tuple[Any, ZBigArray]:
    connection = db.open(transaction.TransactionManager())
    return connection, connection.root()["a"]


def closed(connection: Any) -> None:
    connection.transaction_manager.abort()
    connection.close()


def mapped_files(view: np.ndarray) -> set[str]:
    """The files under the addresses of a view."""
    lo, hi = np.lib.array_utils.byte_bounds(view)
    found = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        start, end = (int(text, 16) for text in fields[0].split("-"))
        if start < hi and lo < end and len(fields) == 6:
            found.add(fields[5])
    return found


def test_without_blobs_a_slice_brings_the_chunks_it_needs(db: DB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "AHEAD", 0)
    expected = filled(db)
    connection, array = opened(db)
    sources = array.extents.layout(0, 1)[1].values()
    assert any(isinstance(source, Chunks) for source in sources)
    view = array[10:20]
    np.testing.assert_array_equal(view, expected[10:20])
    cache = connection.arrays._remote_files().cache
    assert cache.stats().files == 2, "a block of 2 MiB is two chunks"
    assert all(str(cache.folder) in name for name in mapped_files(view))
    np.testing.assert_array_equal(array[:], expected)
    assert cache.stats().files == 6
    view[0] = -1
    connection.transaction_manager.commit()
    assert array[10] == -1
    closed(connection)


def test_what_lies_behind_a_slice_follows(db: DB) -> None:
    filled(db)
    connection, array = opened(db)
    assert array[10] == 10
    cache = connection.arrays._remote_files().cache
    wait_until(lambda: cache.stats().files == 6)
    closed(connection)


def test_what_is_in_the_cache_is_fetched_once(db: DB, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = filled(db)
    connection, array = opened(db)
    np.testing.assert_array_equal(array[:], expected)
    cache = connection.arrays._remote_files().cache
    before = cache.stats().misses
    closed(connection)
    monkeypatch.setattr(remote.RemoteFiles, "_load", lambda *args: pytest.fail("it is there already"))
    connection, array = opened(db)
    connection.cacheMinimize()
    np.testing.assert_array_equal(array[:], expected)
    assert cache.stats().misses == before
    closed(connection)


def test_the_cache_is_bounded_and_views_outlive_what_leaves_it(db: DB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WENDELIN_CACHE_SIZE", "2MB")
    monkeypatch.setattr(remote, "AHEAD", 0)
    expected = filled(db, 16 * MIB)
    connection, array = opened(db)
    view = array[:]
    np.testing.assert_array_equal(view, expected)
    assert connection.arrays._remote_files().cache.stats().bytes <= 2 * MIB
    np.testing.assert_array_equal(view[::-1], expected[::-1])
    closed(connection)


@pytest.mark.slow
def test_blobs_over_the_wire_come_several_at_once(wendelin_home: Path) -> None:
    with zeo_server(wendelin_home / "z", tcp=True) as server, children() as [child]:
        cache = wendelin_home / "theirs"
        child.do(f"import wendelin, transaction; c = wendelin.connect('{server.url}?blob_dir={cache}')")
        child.do("c.root()['a'] = a = wendelin.ZBigArray((8 << 20,), 'u1', blksize=1 << 20)")
        for number in range(8):
            child.do(f"a[{number} << 20 : {number + 1} << 20] = {number + 1}; transaction.commit()")
        connection = wendelin.connect(server.url)
        array = connection.root()["a"]
        np.testing.assert_array_equal(array[:], np.repeat(np.arange(1, 9, dtype="u1"), MIB))
        ours = paths.cache_folder(server.url) / "blobs"
        assert len(list(ours.rglob("*.blob"))) == 8
        transaction.abort()
        connection.close()


@pytest.mark.slow
def test_a_broken_network_file_system_is_an_error_and_no_end_of_the_process(wendelin_home: Path) -> None:
    """On a real FUSE file system whose every read fails from some moment on."""
    folder = wendelin_home / "plant"
    connection = wendelin.connect(f"file://{folder}")
    connection.root()["a"] = array = ZBigArray((40 * MIB,), "u1")
    array[:] = 7
    transaction.commit()
    connection.close()
    with fuse_mount(folder, wendelin_home / "mount") as broken:
        connection = wendelin.connect(f"file://{wendelin_home}/mount", read_only=True)
        array = connection.root()["a"]
        view = array[:100]
        assert all("segments" in name for name in mapped_files(view))
        broken.touch()
        assert (view == 7).all()
        with pytest.raises(OSError, match=r"Input/output|segment"):
            array[30 * MIB :].sum()
        broken.unlink()
        assert array[30 * MIB :].sum() == 7 * 10 * MIB
        transaction.abort()
        connection.close()


def in_cache(url: str) -> int:
    """Bytes of blobs that came over the wire."""
    folder = paths.cache_folder(url) / "blobs"
    return sum(file.stat().st_size for file in folder.rglob("*.blob"))


@pytest.mark.slow
def test_over_the_wire_a_slice_of_a_large_array_brings_little(wendelin_home: Path) -> None:
    size = 128 * MIB
    with zeo_server(wendelin_home / "z", tcp=True) as server, children() as [child]:
        child.do(f"import wendelin, transaction; c = wendelin.connect('{server.url}?blob_dir={wendelin_home}/theirs')")
        child.do(f"c.root()['a'] = a = wendelin.ZBigArray(({size // 8},), 'i8'); import numpy as np")
        child.do(f"a[:] = np.arange({size // 8}); transaction.commit(); a[7] = 0; transaction.commit()")
        connection = wendelin.connect(server.url)
        array = connection.root()["a"]
        expected = np.arange(size // 8)
        expected[7] = 0
        start = 61 * MIB // 8
        np.testing.assert_array_equal(array[start : start + MIB // 8], expected[start : start + MIB // 8])
        assert in_cache(server.url) == PART, "the only part that it lies in, and none ahead of a single slice"
        array[start + MIB // 8 : start + 4 * MIB // 8].sum()
        wait_until(lambda: in_cache(server.url) >= (2 + remote.AHEAD) * PART)  # who goes on is expected to go on
        np.testing.assert_array_equal(array[:], expected)
        assert in_cache(server.url) == size
        transaction.abort()
        connection.close()


@pytest.mark.slow
def test_parts_are_brought_several_at_once_and_written_to(wendelin_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written over the wire is cut; what was stored whole is cut by `defragment`."""
    monkeypatch.setattr(segments, "PART", 1 << 60)
    with zeo_server(wendelin_home / "z", tcp=True) as server:
        writer = wendelin.connect(f"{server.url}?blob_dir={wendelin_home}/theirs")
        writer.root()["a"] = array = ZBigArray((32 * MIB,), "u1")
        array[:] = expected = np.resize(np.arange(251, dtype="u1"), 32 * MIB)
        transaction.commit()
        assert not any(isinstance(source, Parts) for source in array.extents.layout(0, 1)[1].values())
        monkeypatch.setattr(segments, "PART", PART)
        assert defragment(array) == 32 * MIB
        assert defragment(array) == 0
        view = array[PART - 10 : PART + 10]
        view[:] = expected[PART - 10 : PART + 10] = 77
        transaction.commit()
        np.testing.assert_array_equal(array[:], expected)
        manager = transaction.TransactionManager()
        reader = wendelin.connect(f"{server.url}?blob_dir={wendelin_home}/ours", transaction_manager=manager)
        array = reader.root()["a"]
        [parts] = [some for some in array.extents.layout(0, 1)[1].values() if isinstance(some, Parts)]
        asked: list[bytes] = []
        load = remote.RemoteFiles._load_blob

        def noted(files: remote.RemoteFiles, oid: bytes) -> None:
            load(files, oid)
            asked.append(oid)

        monkeypatch.setattr(remote.RemoteFiles, "_load_blob", noted)
        np.testing.assert_array_equal(array[:], expected)
        assert set(asked) == {part._p_oid for part in parts.parts}
        for connection in (reader, writer):
            connection.transaction_manager.abort()
            connection.close()
