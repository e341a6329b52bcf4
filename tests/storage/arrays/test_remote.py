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
from tests.storage.database.servers import zeo_server
from wendelin import ZBigArray
from wendelin.storage.arrays import remote
from wendelin.storage.arrays.pages import Chunks
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
    from tests.storage.database.servers import wait_until

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
