"""Arrays across processes: spawned children, forks, native code, and a database that another process changes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction

import wendelin
from wendelin import ZBigArray
from wendelin.storage.database.connection import Connection
from wendelin.storage.errors import ForkedConnectionError

# Python's helper lives as long as the first test that needs it would, and its end would be a warning in the next.
resource_tracker.ensure_running()


@pytest.fixture
def served(wendelin_home: Path) -> Iterator[Connection]:
    """A connection to a real server of its own, with an array of eight blocks."""
    connection = wendelin.connect()
    connection.root()["a"] = array = ZBigArray((8 << 13,), "i8", blksize=1 << 16)
    array[:] = np.arange(8 << 13)
    transaction.commit()
    yield connection
    transaction.abort()
    connection.close()


def in_another_process(code: str) -> str:
    """Run code in a fresh interpreter, with the environment of this test; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


OPEN = "import wendelin, transaction; c = wendelin.connect(); a = c.root()['a'];"


def test_another_process_sees_commits_and_is_seen(served):
    view = served.root()["a"][:]
    view[5] = -5
    transaction.commit()
    assert in_another_process(OPEN + "print(a[5]); a[1 << 13] = -6; transaction.commit()") == "-5"
    assert view[1 << 13] == 1 << 13
    transaction.begin()
    assert view[1 << 13] == -6


def test_conflicts_and_merges_between_processes(served):
    view = served.root()["a"][:]
    view[0] = -1
    in_another_process(OPEN + "a[1 << 13] = -2; transaction.commit()")
    transaction.commit()  # another block: merged inside the server
    assert view[0] == -1
    assert view[1 << 13] == -2
    view[0] = -3
    in_another_process(OPEN + "a[7] = -4; transaction.commit()")
    with pytest.raises(Exception, match="conflict"):
        transaction.commit()
    transaction.abort()
    assert view[0] == -1
    assert view[7] == -4


def test_processes_add_names_to_one_folder_at_the_same_time(served):
    code = """
        import wendelin, transaction, sys
        root = wendelin.connect().root()
        folder = root["shared"]
        for k in range(20):
            folder[f"{sys.argv[1]}-{k}"] = wendelin.ZBigArray((10,), "i4")
            folder[f"{sys.argv[1]}-{k}"][:] = k
            transaction.commit()
    """
    served.root().folder("shared")
    transaction.commit()
    workers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), name], stderr=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=60)
        assert worker.returncode == 0, errors
    transaction.begin()
    folder = served.root()["shared"]
    assert len(folder) == 40
    assert all(folder[f"{name}-{k}"][3] == k for name in "ab" for k in range(20))


def _sum_of(url: str, path: str) -> int:
    return int(wendelin.connect(url).root()[path][:].sum())


def test_spawned_children_open_the_database_themselves(served):
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        total = pool.apply(_sum_of, (served.url, "a"))
        pool.close()
        pool.join()
    assert total == np.arange(8 << 13).sum()


def in_a_fork(check: Callable[[], Any]) -> str:
    """Run `check` in a forked child; returns its result, or its exception, as text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            text = repr(check())
        except BaseException as error:  # noqa: BLE001 (the parent asserts on it)
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    return text


def test_a_fork_reads_what_was_mapped(served):
    array = served.root()["a"]
    view = array[:]
    view[3] = -3  # not committed: a fork shares it as it is
    assert in_a_fork(lambda: (int(view[3]), int(array[3]), int(array[100:200].sum()))) == "(-3, -3, 14950)"
    transaction.commit()
    assert array[3] == -3


def test_a_fork_is_refused_writing(served):
    array = served.root()["a"]
    view = array[:]

    def write() -> None:
        array[0] = 1

    def write_and_commit() -> None:
        view[0] = 1
        transaction.commit()

    def new_object() -> None:
        served.root()["b"] = 1
        transaction.commit()

    for attempt in (write, write_and_commit, new_object, lambda: array.resize(5), lambda: array.append([1])):
        answer = in_a_fork(attempt)
        assert answer.startswith(ForkedConnectionError.__name__), answer
        assert "wendelin.connect(" in answer
    assert in_a_fork(transaction.begin).startswith("<transaction")  # nothing written: nothing refused
    transaction.begin()
    assert view[0] == 0
    assert "b" not in served.root()


def test_a_fork_opens_a_connection_of_its_own(served):
    view = served.root()["a"][:]

    def work() -> int:
        own = wendelin.connect(transaction_manager=(manager := transaction.TransactionManager()))
        own.root()["a"][9] = -9
        manager.commit()
        return int(own.root()["a"][9])

    assert in_a_fork(work) == "-9"
    transaction.begin()
    assert view[9] == -9


def test_estimators_learn_from_views(root):
    from sklearn.decomposition import IncrementalPCA
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import SGDRegressor

    rng = np.random.default_rng(0)
    root["x"] = x = ZBigArray((600, 5))
    root["y"] = y = ZBigArray((600,))
    x[:] = rng.normal(size=(600, 5))
    y[:] = x[:] @ [1, 2, 3, 4, 5]
    transaction.commit()
    forest = RandomForestRegressor(10, random_state=0).fit(x, y)  # Cython on the array itself
    assert forest.score(x[:], y[:]) > 0.9
    linear = SGDRegressor(random_state=0)
    for k in range(0, 600, 100):
        linear.partial_fit(x[k : k + 100], y[k : k + 100])
    assert linear.coef_.argmax() == 4
    assert IncrementalPCA(2, batch_size=100).fit(x).n_samples_seen_ == 600


def test_linear_algebra_works_in_place_on_fortran_order(root, conn):
    import scipy.linalg

    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(50, 50)) + 50 * np.eye(50)
    root["m"] = array = ZBigArray((50, 50), order="F")
    array[:] = matrix
    transaction.commit()
    view = array[:]
    lu, pivots = scipy.linalg.lu_factor(view, overwrite_a=True)
    assert np.shares_memory(lu, view)
    transaction.commit()
    conn.cacheMinimize()
    b = rng.normal(size=50)
    solved = scipy.linalg.lu_solve((root["m"][:], pivots), b)
    np.testing.assert_allclose(matrix @ solved, b)


def test_c_code_gets_the_address(root):
    import ctypes

    root["a"] = array = ZBigArray((1000,), "u1")
    view = array[100:200]
    ctypes.memset(view.ctypes.data, 7, 100)
    transaction.commit()
    assert array[:].sum() == 700
    assert memoryview(view).nbytes == 100
