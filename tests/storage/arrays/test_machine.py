"""Settings of the machine: arrays work under them, or one error names the setting. Limits are real, in child processes.

Nothing is switched for the whole machine: huge pages are asked for by a mount option and by `madvise`, and overcommit
mode 2, which would refuse memory to every other program here, is simulated (see that test).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction

from tests.storage.arrays.conftest import open_folder
from tests.storage.database.children import Child, Failed, children
from tests.storage.database.servers import mounted
from wendelin import ZBigArray
from wendelin.storage.arrays import addresses
from wendelin.storage.errors import AddressSpaceError

MIB = 1 << 20

START = """
import resource, transaction, wendelin, numpy as np
from pathlib import Path
from wendelin import ZBigArray
connection = wendelin.connect("file://{folder}/db")
root = connection.root()
root["small"] = ZBigArray((1000,), "i8")
root["small"][:] = 1
transaction.commit()
def status(name):
    line = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)][0]
    return int(line.split()[1]) << 10
"""

GOES_ON = """
transaction.abort()
root["small"][:] += 1
transaction.commit()
connection.cacheMinimize()
"""


@pytest.fixture
def child(wendelin_home: Path) -> Iterator[Child]:
    """A process with an open database and a small array, free to limit itself."""
    with children() as [found]:
        found.do(START.format(folder=wendelin_home))
        yield found
        found.do(GOES_ON)
        assert found.do("", "int(root['small'][:].sum())") == 2000, "after a refusal the process goes on"
        found.do("transaction.abort(); connection.close()")


@pytest.fixture
def once(detector: str) -> None:
    """For tests of what has nothing to do with the way of finding written pages."""
    if detector != "scan":
        pytest.skip("runs once: limits of a child process, which chooses its own way of finding written pages")


@pytest.mark.usefixtures("once")
def test_a_limit_of_addresses_is_lived_with_or_named(child: Child) -> None:
    child.do(f"resource.setrlimit(resource.RLIMIT_AS, (status('VmSize') + {256 * MIB}, -1))")
    child.do(f"root['a'] = ZBigArray(({4 * MIB},), 'i8'); root['a'][:] = 5; transaction.commit()")
    assert child.do("", "int(root['a'][-1])") == 5
    with pytest.raises(Failed, match=r"AddressSpaceError.*RLIMIT_AS allows.*ulimit -v unlimited"):
        child.do(f"root['b'] = ZBigArray(({128 * MIB},), 'i8'); root['b'][:] = 5")


@pytest.mark.usefixtures("once")
def test_a_limit_of_data_is_lived_with_or_named(child: Child) -> None:
    """The kernel would grant these mappings, and refuse whatever the process asks for next."""
    child.do(f"resource.setrlimit(resource.RLIMIT_DATA, (status('VmData') + {256 * MIB}, -1))")
    child.do(f"root['a'] = ZBigArray(({4 * MIB},), 'i8'); root['a'][:] = 5; transaction.commit()")
    assert child.do("", "int(root['a'][-1])") == 5
    child.do(f"root['b'] = ZBigArray(({64 * MIB},), 'i8'); transaction.commit()")
    for attempt in ("root['b'][:]", "root['b'].__setitem__(slice(None), 7)", "root['b'].__iadd__(1)[:]"):
        with pytest.raises(Failed, match=r"AddressSpaceError.*RLIMIT_DATA allows.*ulimit -d unlimited"):
            child.do(attempt)
        child.do(f"ballast = bytearray({8 * MIB}); del ballast")  # there is room for everything else
    child.do("part = root['b'][: 1 << 20]; part[:] = 7; transaction.commit()")
    assert child.do("", "int(part.sum())") == 7 << 20
    child.do("del part; resource.setrlimit(resource.RLIMIT_DATA, (-1, -1)); root['b'][:] = 7")
    assert child.do("", "int(root['b'][-1])") == 7


@pytest.mark.usefixtures("once")
def test_many_arrays_share_a_limit_of_data(child: Child) -> None:
    """Each maps far ahead while there is room, and less when there is not."""
    child.do(f"resource.setrlimit(resource.RLIMIT_DATA, (status('VmData') + {400 * MIB}, -1))")
    child.do(
        "for number in range(40):\n"
        "    root[f'many/{number}'] = ZBigArray((1 << 17,), 'i8')\n"
        "    root[f'many/{number}'][:] = number\n"
        "    if number % 8 == 7: transaction.commit()\n"
    )
    assert child.do("", "[int(root[f'many/{number}'][-1]) for number in range(40)]") == list(range(40))


@pytest.mark.usefixtures("once")
def test_memory_that_nobody_looks_at_is_given_back_for_another_array(child: Child) -> None:
    child.do(f"resource.setrlimit(resource.RLIMIT_DATA, (status('VmData') + {300 * MIB}, -1))")
    for number in range(4):
        child.do(f"root['{number}'] = ZBigArray(({20 * MIB},), 'i8'); root['{number}'][:] = {number + 1}")
        child.do("transaction.commit()")
    assert child.do("", "int(root['0'][:].sum())") == 20 * MIB


@pytest.mark.usefixtures("once")
def test_an_array_that_only_reads_takes_no_data(child: Child) -> None:
    child.do(f"root['a'] = ZBigArray(({64 * MIB},), 'i8'); root['a'][-1] = 5; transaction.commit()")
    child.do(f"resource.setrlimit(resource.RLIMIT_DATA, (status('VmData') + {64 * MIB}, -1))")
    child.do("manager, db = transaction.TransactionManager(), connection.db()")
    child.do("past = db.open(manager, at=db.lastTransaction())")
    assert child.do("", "int(past.root()['a'][:].sum())") == 5
    child.do("past.close()")


@pytest.mark.usefixtures("once")
def test_a_limit_of_file_sizes_fails_the_commit_and_no_more(child: Child) -> None:
    child.do(f"resource.setrlimit(resource.RLIMIT_FSIZE, ({MIB}, -1))")
    child.do(f"root['a'] = ZBigArray(({MIB},), 'i8'); root['a'][:] = 5")
    with pytest.raises(Failed, match=r"StorageFullError.*File too large.*commit again, or abort"):
        child.do("transaction.commit()")
    child.do("transaction.abort(); root['a'] = ZBigArray((50_000,), 'i8'); root['a'][:] = 5; transaction.commit()")


@pytest.mark.usefixtures("once")
def test_mappings_keep_no_file_open(child: Child) -> None:
    child.do("import os; used = len(os.listdir('/proc/self/fd'))")
    child.do("resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, used + 20))")
    child.do(
        "views = []\n"
        "for number in range(60):\n"
        "    root[f'many/{number}'] = array = ZBigArray((50_000,), 'i8')\n"
        "    array[:] = number\n"
        "    views.append(array[:])\n"
        "    if number % 10 == 9: transaction.commit()\n"
    )
    assert child.do("", "[int(view[-1]) for view in views]") == list(range(60))
    assert child.do("", "len(os.listdir('/proc/self/fd')) <= used + 2")


@pytest.mark.slow
@pytest.mark.usefixtures("once")
def test_a_process_without_mappings_left_is_told_the_setting(child: Child) -> None:
    """Every second page of a range gets another protection, until the kernel refuses."""
    allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    if allowed > 1 << 18:
        pytest.skip(f"vm.max_map_count is {allowed:,} here: to use them up takes the kernel's memory for no gain")
    child.do("root['a'] = ZBigArray((1 << 16,), 'i8', blksize=1 << 16); root['a'][:] = 5; transaction.commit()")
    child.do("connection.arrays._forget_unused(); root['c'] = ZBigArray((1 << 16,), 'i8'); transaction.commit()")
    child.do(
        "import ctypes, mmap\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"ballast = mmap.mmap(-1, {allowed} * 2 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\n"
        "at = ctypes.addressof(ctypes.c_char.from_buffer(ballast))\n"
        "page = 1\n"
        "while not libc.mprotect(ctypes.c_void_p(at + page * 4096), 4096, 0): page += 2\n"
    )
    with pytest.raises(Failed, match=r"AddressSpaceError.*vm\.max_map_count is .*raise it with sysctl"):
        child.do("root['d'] = ZBigArray((1 << 16,), 'i8'); root['d'][:] = 5; transaction.commit()")
    child.do(f"libc.mprotect(ctypes.c_void_p(at), {allowed} * 2 * 4096, 3)")


def test_overcommit_mode_2_is_named(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: `mmap` refuses as the kernel does, and the setting is read as 2. The real one hits all programs."""
    real, read = addresses._mmap, addresses._sysctl

    def refusing(at: int | None, length: int, *rest: int) -> int:
        if length > 64 * MIB:
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return real(at, length, *rest)

    monkeypatch.setattr(addresses, "_mmap", refusing)
    monkeypatch.setattr(addresses, "_sysctl", lambda name: 2 if name == "overcommit_memory" else read(name))
    root["a"] = array = ZBigArray((MIB,), "i8")  # a smaller reservation is enough for it
    array[:] = 5
    with pytest.raises(AddressSpaceError, match=r"overcommit_memory is 2.*sysctl vm\.overcommit_memory=0"):
        ZBigArray((128 * MIB,), "i8")[:]
    transaction.commit()
    assert array[-1] == 5


@contextlib.contextmanager
def overlay(folder: Path) -> Iterator[Path]:
    """An overlay whose lower layer holds a database already, as an image of a container may."""
    with mounted("tmpfs", "size=64m", folder / "disk") as disk:
        layers = [disk / name for name in ("lower", "upper", "work")]
        for layer in layers:
            layer.mkdir()
        exercise(layers[0], first=True)
        options = ",".join(f"{layer.name}dir={layer}" for layer in layers)
        with mounted("overlay", options, folder / "merged") as merged:
            yield merged


N = 1 << 20


def exercise(folder: Path, *, first: bool) -> None:
    """Write, abort, commit, see it elsewhere, pack, reopen."""
    database = open_folder(folder / "db")
    managers = [transaction.TransactionManager() for _ in range(2)]
    root, theirs = (database.open(manager).root() for manager in managers)
    if first:
        root["a"] = ZBigArray((N,), "i8")
        root["a"][:] = np.arange(N)
        managers[0].commit()
    array = root["a"]
    view = array[:]
    np.testing.assert_array_equal(view, np.arange(N))
    managers[1].begin()
    other = theirs["a"][:]
    view[7] = view[N // 2] = -1
    assert other[7] == 7
    managers[0].abort()
    np.testing.assert_array_equal(view, np.arange(N))
    for lo, hi in ((7, 8), (0, N // 2)):  # inline, and a segment
        view[lo:hi] = -5
        managers[0].commit()
        managers[1].begin()
        for seen in (view, other):
            assert (seen[lo:hi] == -5).all()
            assert seen[N // 2 :].tolist() == list(range(N // 2, N))
    database.pack()
    view[: N // 2] = np.arange(N // 2)
    managers[0].commit()
    managers[1].begin()
    np.testing.assert_array_equal(other, np.arange(N))
    for manager in managers:
        manager.abort()
    database.close()


def test_a_database_on_a_tmpfs_of_huge_pages(tmp_path: Path) -> None:
    """The page cache of the segments is huge pages then, from which single pages are split off by writing."""
    with mounted("tmpfs", "size=128m,huge=always", tmp_path / "huge") as folder:
        exercise(folder, first=True)
        exercise(folder, first=False)


def test_a_database_on_an_overlay(tmp_path: Path) -> None:
    with overlay(tmp_path) as folder:
        exercise(folder, first=False)
        exercise(folder, first=False)


@pytest.mark.parametrize("advice", [14, 15], ids=["MADV_HUGEPAGE", "MADV_NOHUGEPAGE"])
def test_huge_pages_forced_on_views(root: Any, conn: Any, advice: int) -> None:
    """Somebody asks for huge pages for a view's addresses: more may be stored, never less."""
    root["a"] = array = ZBigArray((N,), "i8")
    transaction.commit()
    view = array[:]
    libc = ctypes.CDLL(None, use_errno=True)
    start = ctypes.c_void_p(view.ctypes.data)
    if libc.madvise(start, ctypes.c_size_t(view.nbytes), advice):
        pytest.skip(f"this kernel was built without transparent huge pages (errno {ctypes.get_errno()})")
    view[N // 2] = 1
    transaction.abort()
    assert not view.any()
    expected = np.zeros(N, "i8")
    expected[[3, N // 2, N - 1]] = view[[3, N // 2, N - 1]] = 1, 2, 3
    transaction.commit()
    np.testing.assert_array_equal(view, expected)
    conn.cacheMinimize()
    np.testing.assert_array_equal(root["a"][:], expected)
