"""How arrays travel: persistent ones by reference, other large ones once per node, in files without names."""

from __future__ import annotations

import os
import pickle
import re
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction
from joblib import Parallel, delayed, parallel_config

import wendelin
from tests.storage.database.children import children
from tests.storage.database.servers import wait_until, zeo_server
from wendelin.kernel.parallel import files as files_module
from wendelin.kernel.parallel.files import Files
from wendelin.kernel.parallel.pickling import dumps, loads
from wendelin.storage.arrays.reference import memory_of
from wendelin.storage.errors import UnavailableError, UncommittedChangesError

MEGABYTE = 1 << 20


@pytest.fixture
def array(tmp_path: Path, wendelin_home: Path) -> Iterator[Any]:
    """A committed ZBigArray of 4 MB on a ZEO server."""
    with zeo_server(wendelin_home / "zeo") as server:
        connection = wendelin.connect(server.url)
        a = connection.root()["a"] = wendelin.ZBigArray((1000, 500), float)
        a[:] = np.arange(500_000).reshape(1000, 500)
        transaction.commit()
        yield a
        transaction.abort()
        connection.close()


def total(value: Any) -> float:
    return float(value["deep"][0].sum())


def part(value: Any) -> Any:
    return {"view": value["deep"][0][5:7]}


def is_persistent(value: Any) -> bool:
    return memory_of(value["deep"][0]) is not None


def test_views_travel_by_reference_from_any_depth_and_back(array: Any) -> None:
    nested = {"deep": (array[:], array)}
    data, used = dumps(nested, Files(MEGABYTE, "r"))
    assert len(data) < 2000
    assert not used
    with parallel_config(backend="wendelin", n_jobs=2):
        assert Parallel()(delayed(is_persistent)(nested) for _ in range(2)) == [True, True]
        assert Parallel()(delayed(total)(nested) for _ in range(3)) == [float(np.arange(500_000).sum())] * 3
        (back,) = Parallel()(delayed(part)(nested) for _ in range(1))
    assert memory_of(back["view"]) is not None
    np.testing.assert_array_equal(back["view"], array[5:7])


def test_what_is_not_committed_is_refused_with_the_call_to_make(array: Any) -> None:
    array[0, 0] = 77
    with pytest.raises(UncommittedChangesError, match="commit"):
        Parallel(n_jobs=2, backend="wendelin")(delayed(total)({"deep": [array[:]]}) for _ in range(2))
    transaction.commit()
    assert len(Parallel(n_jobs=2, backend="wendelin")(delayed(total)({"deep": [array[:]]}) for _ in range(2))) == 2


# -- other arrays


def describe(array: Any) -> tuple[str, bool, float]:
    return type(array).__name__, bool(array.flags.writeable), float(array.sum())


def test_a_large_array_is_written_once_for_all_tasks_and_mapped_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    real = files_module._write

    def write(fd: int, array: Any) -> None:
        written.append(array.nbytes)
        real(fd, array)

    monkeypatch.setattr(files_module, "_write", write)
    a = np.ones(300_000)
    with parallel_config(backend="wendelin", n_jobs=2):
        found = Parallel(batch_size=1)(delayed(describe)(a[:]) for _ in range(20))
    assert found == [("memmap", False, 300_000.0)] * 20
    assert written == [2_400_000]


def test_small_arrays_and_those_of_objects_go_by_value() -> None:
    some = Files(MEGABYTE, "r")
    for a in (np.ones(1000), np.full(300_000, None), np.ones(300_000, "M8[s]")[:10]):
        assert some.reduce(a, []) is NotImplemented
    for never in (Files(None, "r"), Files(MEGABYTE, None)):
        assert never.reduce(np.ones(300_000), []) is NotImplemented


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(300_000.0).reshape(300, 1000),
        lambda: np.asfortranarray(np.arange(300_000.0).reshape(300, 1000)),
        lambda: np.arange(600_000.0).reshape(600, 1000)[::2, ::-1],
        lambda: np.zeros(200_000, [("a", "i4"), ("b", "f8")]),
        lambda: np.arange(300_000).astype("M8[s]"),
        lambda: np.arange(400_000).astype(">i4"),
    ],
    ids=["C", "F", "strided", "structured", "dates", "big-endian"],
)
def test_layout_and_type_survive(make: Any) -> None:
    a = make()
    data, used = dumps([a, {"again": a}], Files(MEGABYTE, "r"))
    assert len(used) == 1
    assert len(data) < 1000
    first, second = loads(data)[0], loads(data)[1]["again"]
    for found in (first, second):
        assert found.dtype == a.dtype
        np.testing.assert_array_equal(np.asarray(found), a)
    assert first.flags.f_contiguous == a.flags.f_contiguous


@pytest.mark.parametrize(("mode", "writes"), [("c", 1.0), ("r+", 5.0)])
def test_mmap_modes_mean_what_they_mean_to_joblib(mode: str, writes: float) -> None:
    a = np.ones(300_000)
    data, _used = dumps(a, Files(MEGABYTE, mode))
    loads(data)[0] = 5.0
    assert loads(data)[0] == writes
    assert a[0] == 1.0


def test_a_memmap_of_the_user_is_opened_again_not_copied(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "data", float, "w+", shape=(1000, 500))
    mapped[:] = np.arange(500_000).reshape(1000, 500)
    mapped.flush()
    some = Files(MEGABYTE, "r")
    for view in (mapped, mapped[3:5], mapped[::2, ::-3], np.asarray(mapped)[7]):
        data, used = dumps(view, some)
        assert not used
        assert len(data) < 1000
        np.testing.assert_array_equal(loads(data), view)
    assert some.written == 0


def make_ones(n: int) -> Iterator[Any]:
    for i in range(n):
        yield np.full(200_000, float(i))


def mean(a: Any) -> float:
    return float(a.mean())


def test_arrays_of_a_generator_are_let_go_when_their_tasks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0
    real = files_module.NodeFile.__init__

    def init(self: Any, array: Any) -> None:
        nonlocal most
        real(self, array)
        alive.add(self)
        most = max(most, len(alive))

    monkeypatch.setattr(files_module.NodeFile, "__init__", init)
    found = Parallel(n_jobs=2, backend="wendelin", batch_size=1)(delayed(mean)(a) for a in make_ones(60))
    assert found == [float(i) for i in range(60)]
    assert most <= 20
    wait_until(lambda: not alive)


def names() -> set[str]:
    places = (Path("/dev/shm"), Path(os.environ["WENDELIN_HOME"]))
    return {str(path) for place in places for path in place.rglob("*")}


_CALLER = """
import sys, os, pathlib, threading, time
import numpy as np, joblib, wendelin
from joblib import Parallel, delayed
from wendelin.kernel.parallel import register
register()
def stay(a, folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(600)
def call(folder):
    a = np.ones(2_000_000)
    Parallel(n_jobs=2, backend="wendelin")(delayed(stay)(a, folder) for _ in range(2))
"""


@pytest.mark.slow
def test_no_file_is_left_behind_by_a_killed_caller(tmp_path: Path) -> None:
    before = names()
    with children() as (child,):
        child.do(_CALLER)
        child.send(f"call({str(tmp_path)!r})")
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        held = [str(link.readlink()) for link in Path(f"/proc/{child.pid}/fd").iterdir()]
        assert sum(bool(re.match(r"/dev/shm/#\d+ \(deleted\)", name)) for name in held) == 1
        os.kill(child.pid, 9)
        child.process.wait()
        for pid in [path.name for path in tmp_path.iterdir()]:
            os.kill(int(pid), 9)
    assert names() <= before


def test_a_file_of_a_caller_that_is_gone_is_named_as_that() -> None:
    some = Files(MEGABYTE, "r")
    data, used = dumps(np.ones(300_000), some)
    used.clear()  # before it was opened anywhere
    some.clear()
    with pytest.raises(UnavailableError, match="has ended"):
        pickle.loads(data)


def test_where_memory_is_short_the_file_lies_in_the_scratch_folder(
    monkeypatch: pytest.MonkeyPatch, wendelin_home: Path
) -> None:
    monkeypatch.setattr(files_module, "_LEAVE", 1 << 60)
    a = np.ones(300_000)
    data, used = dumps(a, Files(MEGABYTE, "r"))
    assert str(Path(used[0].place[1]).readlink()).startswith(str(wendelin_home))
    np.testing.assert_array_equal(loads(data), a)


def test_a_worker_maps_an_array_once_for_tasks_that_follow_each_other_and_lets_go_soon() -> None:
    a = np.ones(300_000)
    data, used = dumps(a, Files(MEGABYTE, "r"))
    first, second = loads(data), loads(data)
    assert np.shares_memory(first, second)
    assert first is not second
    device, inode = used[0].place[2:]
    del first, second

    def is_mapped() -> bool:
        return any(line.split()[4] == str(inode) for line in Path("/proc/self/maps").read_text().splitlines())

    assert device
    assert is_mapped()
    wait_until(lambda: not is_mapped())
