"""`durable=True`: what was finished is not run again, also by another process after the first was killed."""

from __future__ import annotations

import os
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
from wendelin.kernel.parallel.kept import forget
from wendelin.kernel.parallel.keys import Keys
from wendelin.storage.arrays.reference import memory_of

pytestmark = pytest.mark.slow


@pytest.fixture
def url(wendelin_home: Path) -> Iterator[str]:
    with zeo_server(wendelin_home / "zeo") as server:
        yield server.url


def note(number: int, folder: str) -> int:
    (Path(folder) / f"{number}-{os.getpid()}-{os.urandom(4).hex()}").touch()
    return number * 10


def numbers_run(folder: Path) -> list[int]:
    return sorted(int(path.name.split("-")[0]) for path in folder.iterdir())


def run(url: str, folder: Path, count: int, **options: Any) -> list[int]:
    with parallel_config(backend="wendelin", durable=True, database=url, n_jobs=2, **{"key": "k", **options}):
        return list(Parallel(batch_size=2)(delayed(note)(i, str(folder)) for i in range(count)))


def test_a_second_run_takes_what_the_first_one_kept(url: str, tmp_path: Path) -> None:
    assert run(url, tmp_path, 6) == [0, 10, 20, 30, 40, 50]
    assert run(url, tmp_path, 9) == [i * 10 for i in range(9)]
    assert numbers_run(tmp_path) == list(range(9))
    assert run(url, tmp_path, 3, key="another") == [0, 10, 20]
    assert len(numbers_run(tmp_path)) == 12
    assert forget("k", url) == 9
    assert run(url, tmp_path, 1) == [0]
    assert len(numbers_run(tmp_path)) == 13


_RUN = """
import os, pathlib, time
import joblib, wendelin
from joblib import Parallel, delayed, parallel_config
def work(number, folder):
    (pathlib.Path(folder) / f"{number}-{os.getpid()}-{os.urandom(4).hex()}").touch()
    while number == 7 and not pathlib.Path(folder + ".go").exists():
        time.sleep(0.01)
    return number * 10
def run(url, folder):
    with parallel_config(backend="wendelin", durable=True, database=url, key="notebook", n_jobs=2):
        return Parallel(batch_size=1)(delayed(work)(i, folder) for i in range(12))
"""


def kept(url: str) -> int:
    connection = wendelin.connect(url)
    try:
        trees = connection.root().get("joblib", {})
        return len(trees["notebook"]) if "notebook" in trees else 0
    finally:
        connection.close()


def test_a_killed_notebook_resumes_where_it_was(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    with children(2) as (first, second):
        first.do(_RUN)
        first.send(f"run({url!r}, {str(folder)!r})")
        wait_until(lambda: kept(url) == 11)
        first.kill_group()
        assert numbers_run(folder) == list(range(12))
        folder.with_suffix(".go").touch()
        second.do(_RUN)
        assert second.do("pass", f"run({url!r}, {str(folder)!r})") == [i * 10 for i in range(12)]
        assert numbers_run(folder) == sorted([*range(12), 7])  # only what was under way ran again
        second.end()


def half(array: Any) -> Any:
    return array[len(array) // 2 :]


def test_persistent_arrays_are_keys_by_version_and_kept_as_references(url: str) -> None:
    connection = wendelin.connect(url)
    a = connection.root()["a"] = wendelin.ZBigArray((1_000_000,), float)
    a[:] = 1.0
    transaction.commit()
    key = Keys().of(half, (a[:],), {})
    found: Any = None
    connection.root()["something"] = 1
    transaction.commit()
    assert Keys().of(half, (a[:],), {}) == key
    for _ in range(2):
        with parallel_config(backend="wendelin", durable=True, key="refs", database=url, n_jobs=2):
            found = Parallel()([delayed(half)(a[:])])[0]
        assert memory_of(found) is not None
        assert found.sum() == 500_000
    del found
    a[5] = 3.0
    transaction.commit()
    assert Keys().of(half, (a[:],), {}) != key
    assert Keys().of(half, (a,), {}) != Keys().of(half, (a[:],), {})
    connection.close()


def large(number: int) -> Any:
    return np.full(400_000, float(number))


def test_large_results_lie_in_files_of_their_own(url: str) -> None:
    found: list[Any] = []
    for _ in range(2):
        with parallel_config(backend="wendelin", durable=True, key="large", database=url, n_jobs=2):
            found = Parallel()(delayed(large)(i) for i in range(3))
        assert [float(array[0]) for array in found] == [0.0, 1.0, 2.0]


def test_one_job_is_kept_too(url: str, tmp_path: Path) -> None:
    with parallel_config(backend="wendelin", durable=True, database=url, key="one"):
        for _ in range(2):
            assert Parallel(n_jobs=1)(delayed(note)(i, str(tmp_path)) for i in range(3)) == [0, 10, 20]
    assert numbers_run(tmp_path) == [0, 1, 2]
