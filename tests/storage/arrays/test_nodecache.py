"""The node's cache: complete files, fetched once by all processes of the node, within a limit, whatever dies when."""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import signal
import stat
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.arrays.fuse import fuse_mount
from tests.storage.database.children import Failed, children
from tests.storage.database.servers import fill, small_disk, wait_until
from wendelin.storage.arrays import nodecache, shelf
from wendelin.storage.arrays.fetchers import Fetchers
from wendelin.storage.arrays.nodecache import Fetch, NodeCache, node_cache
from wendelin.storage.database import paths
from wendelin.storage.errors import DamagedSegmentError, ResourceError, StorageFullError, UsageError

SIZE = 3 * 4096
LARGE = 1 << 40


@pytest.fixture(autouse=True)
def detector() -> None:
    """Nothing here looks for written pages: once is enough."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv("WENDELIN_CACHE_SIZE", raising=False)
    monkeypatch.setattr(nodecache, "_caches", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def content(key: str, nbytes: int = SIZE) -> bytes:
    return (key.encode() * nbytes)[:nbytes]


def writes(key: str, nbytes: int = SIZE) -> Fetch:
    return lambda fd: write_all(fd, content(key, nbytes))


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def refuses(fd: int) -> None:
    raise AssertionError("this should have been there")


def read(fd: int) -> bytes:
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def put(cache: NodeCache, *keys: str, nbytes: int = SIZE) -> None:
    for key in keys:
        assert read(cache.opened(key, nbytes, writes(key, nbytes))) == content(key, nbytes)


def names(folder: Path) -> set[str]:
    """All files but the books: leftovers too."""
    return {path.name for path in folder.iterdir()} - {".books"}


# ------------------------------------------------------------------------------------------------------ one process


def test_what_was_fetched_is_not_fetched_again(folder):
    cache = NodeCache(folder, LARGE)
    put(cache, "a")
    assert read(cache.opened("a", SIZE, refuses)) == content("a")
    assert read(NodeCache(folder, LARGE).opened("a", SIZE, refuses)) == content("a")
    assert names(folder) == {"a"}


def test_the_descriptor_can_only_be_read_and_is_not_inherited(folder):
    cache = NodeCache(folder, LARGE)
    for _ in range(2):  # fetched, then found
        fd = cache.opened("a", SIZE, writes("a"))
        assert not os.get_inheritable(fd)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"x")
        os.close(fd)


def test_nobody_else_may_look_into_the_cache(folder):
    put(NodeCache(folder, LARGE), "a")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("wrong", [SIZE - 1, SIZE + 1, 0])
def test_another_size_than_promised_is_an_error_that_names_the_key(folder, wrong):
    cache = NodeCache(folder, LARGE)
    with pytest.raises(DamagedSegmentError, match=f"{wrong:,} bytes came for the segment a instead of {SIZE:,}"):
        cache.opened("a", SIZE, writes("a", wrong))
    assert not names(folder)
    put(cache, "a")


def test_a_file_of_another_size_is_fetched_anew_and_who_maps_it_keeps_it(folder):
    cache = NodeCache(folder, LARGE)
    put(cache, "a", nbytes=4096)
    fd = cache.opened("a", 4096, refuses)
    mapped = mmap.mmap(fd, 4096, prot=mmap.PROT_READ)
    os.close(fd)
    put(cache, "a")
    assert mapped[:] == content("a", 4096)


def test_a_failing_fetch_leaves_nothing_behind(folder):
    def breaks(fd: int) -> None:
        os.write(fd, b"half")
        raise ConnectionResetError("gone")

    cache = NodeCache(folder, LARGE)
    before = open_files()
    with pytest.raises(ConnectionResetError):
        cache.opened("a", SIZE, breaks)
    assert not names(folder)
    assert open_files() == before
    put(cache, "a")


def test_an_interrupted_fetch_leaves_nothing_behind(folder):
    def interrupted(fd: int) -> None:
        os.write(fd, b"half")
        signal.raise_signal(signal.SIGINT)

    cache = NodeCache(folder, LARGE)
    with pytest.raises(KeyboardInterrupt):
        cache.opened("a", SIZE, interrupted)
    assert not names(folder)
    put(cache, "a")


@pytest.mark.parametrize("key", ["", "../a", "a/b", ".books", "a.part", "a" * 201, "a\0"])
def test_a_key_is_a_plain_name(folder, key):
    cache = NodeCache(folder, LARGE)
    with pytest.raises(ValueError, match="is no key of the cache"):
        cache.opened(key, SIZE, writes("a"))
    with pytest.raises(ValueError, match="is no key of the cache"):
        cache.prefetch([(key, SIZE, writes("a"))])


def test_an_empty_segment(folder):
    cache = NodeCache(folder, LARGE)
    assert read(cache.opened("a", 0, lambda fd: None)) == b""
    assert read(cache.opened("a", 0, refuses)) == b""


def test_a_cache_that_somebody_removed_is_made_again(folder):
    import shutil

    cache = NodeCache(folder, LARGE)
    put(cache, "a")
    shutil.rmtree(folder)
    put(cache, "a", "b")
    assert names(folder) == {"a", "b"}
    assert cache.stats().bytes == 2 * SIZE


def test_a_hit_opens_one_file_and_looks_at_no_folder(folder, monkeypatch):
    cache = NodeCache(folder, LARGE)
    put(cache, *(f"k{i}" for i in range(10)))
    monkeypatch.setattr(shelf.Shelf, "files", lambda self: pytest.fail("looked at the folder"))
    monkeypatch.setattr(shelf, "open_held", lambda path, flags: pytest.fail("took a lock"))
    for i in range(10):
        os.close(cache.opened(f"k{i}", SIZE, refuses))


def test_an_insertion_within_the_limit_looks_at_no_folder(folder, monkeypatch):
    cache = NodeCache(folder, LARGE)
    put(cache, "a")
    monkeypatch.setattr(shelf.Shelf, "files", lambda self: pytest.fail("looked at the folder"))
    put(cache, *(f"k{i}" for i in range(10)))


# ------------------------------------------------------------------------------------------------------- the limit


def test_the_least_recently_used_go_first(folder):
    cache = NodeCache(folder, 3 * SIZE)
    put(cache, "a", "b", "c")
    os.close(cache.opened("a", SIZE, refuses))
    put(cache, "d")
    assert names(folder) == {"a", "c", "d"}
    os.close(cache.opened("c", SIZE, refuses))
    put(cache, "e")
    assert names(folder) == {"c", "d", "e"}
    assert cache.stats().evictions == 2


def test_the_new_one_stays_even_if_the_clock_was_set_back(folder):
    cache = NodeCache(folder, 2 * SIZE)
    put(cache, "a", "b")
    for name in "ab":
        os.utime(folder / name, (1e10, 1e10))
    put(cache, "c")
    assert "c" in names(folder)
    assert len(names(folder)) == 2


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 5)), max_size=40), st.integers(0, 16))
def test_it_holds_what_a_cache_of_that_size_holds(uses, limit):
    """Against a plain model; sizes of a key never change. Files are larger than a sixteenth of the limit."""
    model: OrderedDict[str, int] = OrderedDict()
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as place:
        cache = NodeCache(Path(place), limit)
        for key, size in uses:
            size = sizes.setdefault(key, size)
            fetched: list[str] = []

            def fetch(fd: int, key=key, size=size, fetched=fetched) -> None:
                fetched.append(key)
                os.write(fd, content(key, size))

            assert read(cache.opened(key, size, fetch)) == content(key, size)
            assert fetched == ([] if key in model else [key])
            if size <= limit:
                model[key] = size
                model.move_to_end(key)
            while sum(model.values()) > limit:
                model.popitem(last=False)
            assert names(Path(place)) == set(model)


def test_small_files_are_evicted_a_few_at_a_time(folder, monkeypatch):
    looked: list[int] = []
    files = shelf.Shelf.files

    def looks(self: shelf.Shelf) -> list[tuple[int, str, int]]:
        looked.append(1)
        return files(self)

    monkeypatch.setattr(shelf.Shelf, "files", looks)
    limit = 100 * 4096
    cache = NodeCache(folder, limit)
    looked.clear()
    for i in range(400):
        put(cache, f"k{i}", nbytes=4096)
        assert sum(path.stat().st_size for path in folder.iterdir() if path.name != ".books") <= limit
    assert len(looked) <= 300 / 6 + 1  # a sixteenth of the limit is six files
    assert "k399" in names(folder)
    assert len(names(folder)) >= 94


def test_what_is_larger_than_the_cache_goes_away_with_its_mapping(folder):
    cache = NodeCache(folder, SIZE)
    put(cache, "small", nbytes=4096)
    fd = cache.opened("large", 2 * SIZE, writes("large", 2 * SIZE))
    assert names(folder) == {"small"}
    assert os.fstat(fd).st_nlink == 0
    assert read(fd) == content("large", 2 * SIZE)
    assert cache.stats().bytes == 4096


def test_a_cache_of_nothing_keeps_nothing(folder):
    put(NodeCache(folder, 0), "a", "a")
    assert not names(folder)


def test_several_objects_and_threads_keep_one_limit(folder):
    caches = [NodeCache(folder, 10 * SIZE) for _ in range(4)]
    in_threads(lambda n: put(caches[n], *(f"k{n}-{i}" for i in range(20))))
    assert len(names(folder)) <= 10
    assert caches[0].stats().bytes == len(names(folder)) * SIZE


def test_what_killed_processes_left_is_removed_by_the_next_eviction(folder):
    cache = NodeCache(folder, 2 * SIZE)
    (folder / "dead.part").write_bytes(b"x" * SIZE)
    (folder / "dead.1-2.part").write_bytes(b"x" * SIZE)
    put(cache, "a", "b", "c")
    assert names(folder) == {"b", "c"}


def test_an_eviction_leaves_alone_what_is_being_fetched(folder):
    cache = NodeCache(folder, 2 * SIZE)

    def slow(fd: int) -> None:
        put(cache, "a", "b", "c")
        assert "x.part" in names(folder)
        write_all(fd, content("x"))

    assert read(cache.opened("x", SIZE, slow)) == content("x")
    assert "x" in names(folder)


# ------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(("text", "nbytes"), [("20GB", 20 << 30), ("3 mb", 3 << 20), ("2TB", 2 << 40), ("4096", 4096)])
def test_the_environment_limits_it(folder, monkeypatch, text, nbytes):
    monkeypatch.setenv("WENDELIN_CACHE_SIZE", text)
    assert NodeCache(folder).limit == nbytes
    assert NodeCache(folder, 5).limit == 5


def test_a_wrong_limit_is_named_with_a_right_one(folder, monkeypatch):
    monkeypatch.setenv("WENDELIN_CACHE_SIZE", "much")
    with pytest.raises(
        UsageError, match=r"WENDELIN_CACHE_SIZE=much is no number of bytes.*export WENDELIN_CACHE_SIZE="
    ):
        NodeCache(folder)


def test_by_default_it_takes_half_of_what_nothing_else_takes(tmp_path):
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        empty = NodeCache(disk / "cache")
        assert 0.45 * (8 << 20) < empty.limit <= 0.5 * (8 << 20)
        put(empty, "a", "b", nbytes=1 << 20)
        again = NodeCache(disk / "cache").limit
        assert abs(again - empty.limit) <= 64 << 10  # what it holds counts as free


def test_a_database_has_one_cache_below_the_home(wendelin_home):
    cache = node_cache("local:///somewhere")
    assert cache is node_cache("local:///somewhere")
    assert cache is not node_cache("local:///elsewhere")
    assert cache.folder == paths.cache_folder("local:///somewhere") / "segments"


def test_a_home_on_a_network_has_its_cache_on_the_node(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(paths, "node_folder", lambda: paths.private_folder(tmp_path / "node"))
    with fuse_mount(tmp_path / "there", tmp_path / "here"):
        monkeypatch.setenv("WENDELIN_HOME", str(tmp_path / "here" / "home"))
        cache = node_cache("local:///somewhere")
        assert cache.folder == tmp_path / "node" / paths.short_hash("local:///somewhere") / "segments"
        put(cache, "a")


def test_the_folder_of_the_node_is_private():
    folder = paths.node_folder()
    assert folder.is_dir()
    assert not folder.is_symlink()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with contextlib.suppress(OSError):  # it is somebody's when it is not empty
        folder.rmdir()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="cannot make the folder"):
        NodeCache(tmp_path / "file" / "cache", LARGE)


# ------------------------------------------------------------------------------------------------------ a full disk


def test_a_full_disk_takes_the_place_of_older_files(tmp_path):
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        cache = NodeCache(disk / "cache", LARGE)
        put(cache, "a", "b", "c", nbytes=1 << 20)
        put(cache, "large", nbytes=2 << 20)
        assert "large" in names(cache.folder)
        assert "a" not in names(cache.folder)
        assert "c" in names(cache.folder)  # no more than needed
        assert cache.stats().bytes == sum(path.stat().st_size for path in cache.folder.iterdir() if path.name[0] != ".")


def test_a_disk_that_others_filled_is_an_error_that_says_what_to_do(tmp_path):
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        cache = NodeCache(disk / "cache", LARGE)
        put(cache, "a")
        ballast = fill(disk, leave=64 << 10)
        before = open_files()
        with pytest.raises(
            StorageFullError, match=r"segment b, 1,048,576 bytes.*WENDELIN_CACHE_SIZE.*WENDELIN_HOME"
        ) as e:
            cache.opened("b", 1 << 20, writes("b", 1 << 20))
        assert str(cache.folder) in str(e.value)
        assert e.value.errno == errno.ENOSPC
        assert not names(cache.folder)
        assert open_files() == before
        ballast.unlink()
        put(cache, "b", nbytes=1 << 20)


def test_a_disk_without_a_byte_for_the_books(tmp_path):
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        folder = paths.private_folder(disk / "cache")
        ballast = fill(disk)
        cache = NodeCache(folder, LARGE)
        with pytest.raises(StorageFullError):
            cache.opened("a", SIZE, writes("a"))
        ballast.unlink()
        put(cache, "a")
        assert cache.stats().bytes == SIZE


def test_a_quota_empties_the_cache_and_tries_once_more(folder):
    cache = NodeCache(folder, LARGE)
    put(cache, "a", "b")
    tries = []

    def fetch(fd: int) -> None:
        tries.append(names(folder))
        if len(tries) == 1:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        os.write(fd, content("c"))

    assert read(cache.opened("c", SIZE, fetch)) == content("c")
    assert tries == [{"a", "b", "c.part"}, {"c.part"}]
    assert cache.stats().evictions == 2


# ------------------------------------------------------------------------------------------------- threads and pool


def in_threads(work: Callable[[int], None], count: int = 4) -> None:
    errors: list[BaseException] = []

    def run(n: int) -> None:
        try:
            work(n)
        except BaseException as error:  # noqa: BLE001  raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def open_files() -> set[str]:
    """What descriptors are open on; those of other threads' making included."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(FileNotFoundError):
            found.add((name, os.readlink(f"/proc/self/fd/{name}")))  # noqa: PTH115
    return {f"{name} {path}" for name, path in found if "/proc/" not in path}


class Counted:
    """Fetches that note their keys."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def job(self, key: str, nbytes: int = SIZE) -> tuple[str, int, Fetch]:
        def fetch(fd: int) -> None:
            self.keys.append(key)
            write_all(fd, content(key, nbytes))

        return key, nbytes, fetch


def test_threads_that_want_the_same_fetch_it_once(folder):
    cache, counted = NodeCache(folder, LARGE), Counted()
    keys = [f"k{i}" for i in range(30)]

    def want_all(n: int) -> None:
        for key in keys:
            assert read(cache.opened(*counted.job(key))) == content(key)

    in_threads(want_all)
    assert sorted(counted.keys) == sorted(keys)


def test_all_are_opened_in_order_and_fetched_in_parallel(folder):
    """The first four fetches wait for one another: one after the other they would wait for ever."""
    together = threading.Barrier(4, timeout=60)

    def job(n: int) -> tuple[str, int, Fetch]:
        def fetch(fd: int) -> None:
            if n < 4:
                together.wait()
            os.write(fd, content(f"k{n}"))

        return f"k{n}", SIZE, fetch

    got = [(key, read(fd)) for key, fd in NodeCache(folder, LARGE).opened_all(job(n) for n in range(40))]
    assert got == [(f"k{n}", content(f"k{n}")) for n in range(40)]


def test_more_than_the_cache_holds_is_opened_without_fetching_twice(folder):
    cache, counted = NodeCache(folder, 2 * SIZE), Counted()
    keys = [f"k{i}" for i in range(30)]
    for key, fd in cache.opened_all([counted.job(key) for key in keys]):
        assert read(fd) == content(key)
    assert sorted(counted.keys) == sorted(keys)


def test_the_same_key_twice_in_one_list(folder):
    counted = Counted()
    pairs = list(NodeCache(folder, LARGE).opened_all([counted.job("a")] * 3 + [counted.job("b")] * 3))
    assert [read(fd) for _, fd in pairs] == [content("a")] * 3 + [content("b")] * 3
    assert sorted(counted.keys) == ["a", "b"]


def test_an_error_comes_at_its_turn_and_nothing_stays_open(folder):
    cache, counted = NodeCache(folder, LARGE), Counted()
    jobs = [counted.job(f"k{i}") for i in range(20)]
    jobs[5] = ("bad", SIZE, lambda fd: None)
    before = open_files()
    found = cache.opened_all(jobs)
    for i in range(5):
        key, fd = next(found)
        os.close(fd)
        assert key == f"k{i}"
    with pytest.raises(DamagedSegmentError, match="bad"):
        next(found)
    wait_until(lambda: open_files() == before, "all descriptors closed")


def test_leaving_early_closes_what_was_opened(folder):
    cache, counted = NodeCache(folder, LARGE), Counted()
    put(cache, "k1", "k2")
    before = open_files()
    with contextlib.closing(cache.opened_all([counted.job(f"k{i}") for i in range(20)])) as found:
        os.close(next(found)[1])
    wait_until(lambda: open_files() == before, "all descriptors closed")


def test_a_fetch_may_use_the_cache_even_when_all_threads_do(folder):
    cache, counted = NodeCache(folder, LARGE), Counted()

    def job(n: int) -> tuple[str, int, Fetch]:
        def fetch(fd: int) -> None:
            cache.prefetch([counted.job(f"inner{n}-{i}") for i in range(3)])
            os.write(fd, content(f"outer{n}"))

        return f"outer{n}", SIZE, fetch

    cache.prefetch([job(n) for n in range(12)])
    assert cache.stats().files == 12 * 4


def test_prefetch_brings_all_once_and_no_more_than_fits(folder):
    cache, counted = NodeCache(folder, 10 * SIZE), Counted()
    cache.prefetch([counted.job(f"k{i}") for i in range(30)])
    assert names(folder) == {f"k{i}" for i in range(10)}
    cache.prefetch([counted.job(f"k{i}") for i in range(10)])
    assert len(counted.keys) == 10


def test_ahead_brings_in_the_background_and_keeps_errors_to_itself(folder, caplog):
    cache, counted = NodeCache(folder, LARGE), Counted()

    def breaks(fd: int) -> None:
        raise ConnectionResetError("gone")

    with caplog.at_level(logging.DEBUG, "wendelin.storage.arrays.fetchers"):
        cache.ahead([("bad", SIZE, breaks), *(counted.job(f"k{i}") for i in range(5))])
        wait_until(lambda: names(folder) == {f"k{i}" for i in range(5)}, "five files")
        wait_until(lambda: caplog.records, "the line in the log")
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    cache.ahead([counted.job(f"k{i}") for i in range(5)])
    assert sorted(counted.keys) == [f"k{i}" for i in range(5)]


def test_what_is_fetched_ahead_is_joined_not_fetched_again(folder):
    cache, counted = NodeCache(folder, LARGE), Counted()
    begun, go_on = threading.Event(), threading.Event()
    key, nbytes, fetch = counted.job("a")

    def slow(fd: int) -> None:
        begun.set()
        assert go_on.wait(60)
        fetch(fd)

    cache.ahead([(key, nbytes, slow)])
    assert begun.wait(60)
    cache.ahead([(key, nbytes, refuses)])
    timer = threading.Timer(0.05, go_on.set)
    timer.start()
    assert read(cache.opened(key, nbytes, refuses)) == content("a")
    timer.join()
    assert counted.keys == ["a"]


def test_a_busy_pool_drops_what_is_only_ahead_and_does_what_is_urgent():
    pool, go_on = Fetchers(threads=1, waiting=2), threading.Event()
    order: list[str] = []
    assert pool.ahead("first", lambda: go_on.wait(60))
    wait_until(lambda: not pool._ahead, "the first to begin")
    assert pool.ahead("second", lambda: order.append("second"))
    assert pool.ahead("third", lambda: order.append("third"))
    assert pool.ahead("third", lambda: order.append("again"))  # joined
    assert not pool.ahead("fourth", lambda: order.append("fourth"))
    urgent = pool.submit(lambda: order.append("urgent"))
    go_on.set()
    urgent.result(60)
    wait_until(lambda: len(order) == 3, "the rest")
    assert order == ["urgent", "second", "third"]
    pool.end(60)


def test_the_end_drops_what_waits_and_stops_the_threads():
    pool, begun, go_on = Fetchers(threads=1), threading.Event(), threading.Event()
    done: list[int] = []

    def job() -> None:
        begun.set()
        go_on.wait(60)
        done.append(1)

    pool.ahead("a", job)
    pool.ahead("b", lambda: done.append(2))
    assert begun.wait(60)
    pool.end(0.0)  # a hanging fetch does not hold it up
    assert not pool.ahead("c", lambda: done.append(3))
    go_on.set()
    wait_until(lambda: not pool._threads, "the thread to end")
    assert done == [1]
    assert pool.submit(lambda: 4).result(60) == 4  # who needs it now still gets it
    wait_until(lambda: not pool._threads, "the thread to end")


# -------------------------------------------------------------------------------------------------------- processes

SETUP = """
import contextlib, mmap, os, threading, time
from pathlib import Path
from wendelin.storage.arrays.nodecache import NodeCache
cache = NodeCache(Path({folder!r}), {limit})
log = os.open({log!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def content(key, nbytes={size}):
    return (key.encode() * nbytes)[:nbytes]
def job(key):
    def fetch(fd):
        os.write(log, (key + chr(10)).encode())
        os.write(fd, content(key))
    return key, {size}, fetch
def hangs(fd):
    os.write(fd, b"half")
    os.write(log, b"half" + b"\\n")
    time.sleep(1000)
def right(key, fd):
    try:
        return os.pread(fd, {size}, 0) == content(key)
    finally:
        os.close(fd)
"""


def setup(folder: Path, limit: int = LARGE) -> str:
    return SETUP.format(folder=str(folder), limit=limit, log=str(folder) + ".log", size=SIZE)


def logged(folder: Path) -> list[str]:
    log = Path(f"{folder}.log")
    return log.read_text().split() if log.exists() else []


def test_four_processes_that_want_the_same_fetch_each_once(folder):
    keys = [f"k{i}" for i in range(200)]
    with children(4) as four:
        for n, child in enumerate(four):
            order = keys[50 * n :] + keys[: 50 * n] if n % 2 else keys
            child.do(setup(folder) + f"keys = {order!r}")
        for child in four:
            child.send("", "all([right(key, fd) for key, fd in cache.opened_all(map(job, keys))])")
        assert [child.receive() for child in four] == [True] * 4
    assert sorted(logged(folder)) == sorted(keys)
    assert names(folder) == set(keys)


def test_processes_that_push_out_each_others_files_all_read_right(folder):
    with children(4) as four:
        for child in four:
            child.do(setup(folder, limit=5 * SIZE))
            child.send(
                "import random; wrong = 0\nfor _ in range(300):\n"
                "    key = f'k{random.randrange(12)}'\n    wrong += not right(key, cache.opened(*job(key)))",
                "wrong",
            )
        assert [child.receive() for child in four] == [0] * 4
    assert len(names(folder)) <= 5
    assert NodeCache(folder, LARGE).stats().misses == len(logged(folder))


def test_a_fetcher_killed_in_the_middle_blocks_nobody_and_leaves_nothing(folder):
    with children(2) as (first, second):
        for child in (first, second):
            child.do(setup(folder))
        first.send("cache.opened('a', 12288, hangs)")
        wait_until(lambda: logged(folder) == ["half"], "the fetch to begin")
        second.send("", "right('a', cache.opened(*job('a')))")
        first.kill_group()
        assert second.receive() is True
    assert logged(folder) == ["half", "a"]
    assert names(folder) == {"a"}


def test_what_a_killed_fetcher_left_is_removed_when_the_cache_is_opened_and_what_a_living_one_writes_is_not(folder):
    with children(2) as (first, second):
        for child, key in ((first, "a"), (second, "b")):
            child.do(setup(folder))
            child.send(f"cache.opened('{key}', 12288, hangs)")
        wait_until(lambda: logged(folder) == ["half", "half"], "both fetches to begin")
        first.kill_group()
        assert names(folder) == {"a.part", "b.part"}
        NodeCache(folder, LARGE)
        assert names(folder) == {"b.part"}
        second.kill_group()


def test_the_forked_child_of_a_killed_fetcher_blocks_nobody(folder):
    """A fork shares its parent's descriptors, and with them would keep its locks."""
    fork = """
def fork():
    global pid
    pid = os.fork()
    if not pid:
        time.sleep(1000)
        os._exit(0)
"""
    with children(2) as (first, second):
        for child in (first, second):
            child.do(setup(folder) + fork)
        first.do("threading.Thread(target=cache.opened, args=('a', 12288, hangs), daemon=True).start()")
        wait_until(lambda: logged(folder) == ["half"], "the fetch to begin")
        grandchild = first.do("fork()", "pid")
        try:
            first.process.kill()
            assert second.do("", "right('a', cache.opened(*job('a')))") is True
            assert names(folder) == {"a"}
        finally:
            os.kill(grandchild, signal.SIGKILL)


def test_a_stopped_fetcher_blocks_nobody_for_long(folder):
    with children(2) as (first, second):
        for child in (first, second):
            child.do(setup(folder) + "from wendelin.storage.arrays import shelf; shelf.PATIENCE = 0.2")
        first.send("cache.opened('a', 12288, hangs)")
        wait_until(lambda: logged(folder) == ["half"], "the fetch to begin")
        os.kill(first.pid, signal.SIGSTOP)
        assert second.do("", "right('a', cache.opened(*job('a')))") is True
        assert names(folder) == {"a", "a.part"}  # it may still go on
        first.process.kill()
        first.process.wait()
    assert NodeCache(folder, LARGE).stats().files == 1
    assert names(folder) == {"a"}


def test_a_stopped_process_that_has_the_books_blocks_nobody_for_long(folder, monkeypatch):
    put(NodeCache(folder, 2 * SIZE), "a")
    with children() as (child,):
        child.do(setup(folder) + "stack = contextlib.ExitStack(); shelf = cache._shelf")
        child.do("stack.enter_context(shelf.books(stack.enter_context(shelf.lock_file())))")
        monkeypatch.setattr(shelf, "PATIENCE", 0.05)
        cache = NodeCache(folder, 2 * SIZE)
        put(cache, "a", "b", "c", "d")
    put(cache, "e")
    assert "e" in names(folder)
    assert cache.stats().bytes == len(names(folder)) * SIZE


def test_what_another_process_maps_survives_its_eviction(folder):
    cache = NodeCache(folder, 2 * SIZE)
    put(cache, "a")
    with children() as (child,):
        child.do(
            setup(folder) + "fd = cache.opened(*job('a')); m = mmap.mmap(fd, 0, prot=mmap.PROT_READ); os.close(fd)"
        )
        put(cache, "b", "c", "d")
        assert "a" not in names(folder)
        assert child.do("", "m[:] == content('a')") is True
        put(cache, "a")
        assert child.do("", "m[:] == content('a')") is True
    assert logged(folder) == []


def test_a_forked_child_uses_the_same_object(folder):
    """The pool's threads are gone there, and its lock may have been held."""
    code = """
together = threading.Barrier(4, timeout=60)
def meets(key):
    def fetch(fd):
        together.wait()  # so that all four threads run
        job(key)[2](fd)
    return key, 12288, fetch
cache.ahead(map(meets, "abcd"))
while not all((cache.folder / key).exists() for key in "abcd"):
    time.sleep(0.01)
pid = os.fork()
if not pid:
    try:
        good = [right(key, fd) for key, fd in cache.opened_all(map(job, "abcdefgh"))] == [True] * 8
        cache.ahead(map(job, ["x"]))
        while not (cache.folder / "x").exists():
            time.sleep(0.01)
        os._exit(0 if good else 1)
    finally:
        os._exit(2)
status = os.waitpid(pid, 0)[1]
"""
    with children() as (child,):
        assert child.do(setup(folder) + code, "status") == 0
        assert child.do("", "[right(k, cache.opened(*job(k))) for k in 'abcdefghx']") == [True] * 9
    assert sorted(logged(folder)) == list("abcdefghx")


def test_a_program_ends_although_a_fetch_hangs(folder):
    with children() as (child,):
        child.do(setup(folder) + "from wendelin.storage.arrays import fetchers; fetchers.GRACE = 0.1")
        child.do("cache.ahead([('a', 12288, hangs), *(job(f'k{i}') for i in range(50))])")
        wait_until(lambda: "half" in logged(folder), "the fetch to begin")
        assert child.end() == 0


def test_a_restarted_machine_begins_anew(folder, monkeypatch):
    """Files are not synced: what a power failure left of them could be zeros of the right size."""
    put(NodeCache(folder, LARGE), "a", "b")
    monkeypatch.setattr(shelf, "boot_id", lambda: b"the next start of this machine".ljust(36))
    cache = NodeCache(folder, LARGE)
    assert names(folder) == set()
    put(cache, "a")
    stats = NodeCache(folder, LARGE).stats()
    assert (stats.files, stats.bytes, stats.misses) == (1, SIZE, 1)


def test_zeros_that_a_power_failure_left_are_fetched_anew_and_a_short_file_at_any_time(folder, monkeypatch):
    put(NodeCache(folder, LARGE), "a", "b", "c")
    (folder / "a").write_bytes(bytes(SIZE))
    (folder / "b").write_bytes(content("b")[:100])
    cache = NodeCache(folder, LARGE)
    assert read(cache.opened("b", SIZE, writes("b"))) == content("b")
    monkeypatch.setattr(shelf, "boot_id", lambda: b"the next start of this machine".ljust(36))
    cache = NodeCache(folder, LARGE)
    for key in "abc":
        assert read(cache.opened(key, SIZE, writes(key))) == content(key)


def test_a_process_killed_between_counting_and_renaming_counts_too_much_not_too_little(folder, monkeypatch):
    cache = NodeCache(folder, 3 * SIZE)
    put(cache, "a")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            cache.opened("b", SIZE, writes("b"))
    with cache._shelf.lock_file() as lock, cache._shelf.books(lock) as books:
        assert books.bytes == 2 * SIZE
    put(cache, "c", "d")  # looks, since it believes to be full; nothing has to go
    assert names(folder) == {"a", "c", "d"}


def test_stats_count_for_all_processes(folder):
    cache = NodeCache(folder, 2 * SIZE)
    put(cache, "a", "b", "c", "c")
    with children() as (child,):
        child.do(setup(folder), "[right('c', cache.opened(*job('c'))) for _ in range(300)] and cache.stats().hits")
        found = child.do("", "cache.stats().hits")
    stats = cache.stats()
    assert stats.hits == 301 >= found
    assert (stats.files, stats.bytes, stats.limit, stats.misses, stats.evictions) == (2, 2 * SIZE, 2 * SIZE, 3, 1)


def test_a_forked_child_does_not_count_what_its_parent_will(folder):
    code = """
for _ in range(11):
    os.close(cache.opened(*job("a")))
pid = os.fork()
if not pid:
    cache.stats()
    os._exit(0)
os.waitpid(pid, 0)
"""
    with children() as (child,):
        assert child.do(setup(folder) + code, "cache.stats().hits") == 10


@pytest.mark.slow
def test_dozens_of_killed_processes_leave_a_right_cache(folder):
    """Killed at any moment of fetching, renaming and evicting: all files are whole, and soon within the limit."""
    code = setup(folder, limit=8 * SIZE) + (
        "\nimport random\ndef work():\n    while True:\n"
        "        for key, fd in cache.opened_all(job(f'k{random.randrange(40)}') for _ in range(20)):\n"
        "            assert right(key, fd)\n"
    )

    def more_than(count: int) -> bool:
        return len(logged(folder)) > count

    for _ in range(12):
        done = len(logged(folder)) + 50
        with children(3) as three:
            for child in three:
                child.send(code + "work()")
            wait_until(partial(more_than, done), "some fetches")
            for child in three:
                child.kill_group()
                with pytest.raises(Failed, match="the child died"):
                    child.receive()
        for name in names(folder):
            if not name.endswith(".part"):
                assert (folder / name).read_bytes() == content(name), name
        cache = NodeCache(folder, 8 * SIZE)
        put(cache, *(f"new{i}" for i in range(9)))
        assert len(names(folder)) <= 8
        assert not any(name.endswith(".part") for name in names(folder))
