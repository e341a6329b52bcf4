"""scikit-learn on a ZBigArray with two workers: right results, and what memory it takes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import transaction
from joblib import parallel_config
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_predict

import wendelin
from tests.storage.database.servers import zeo_server

pytestmark = pytest.mark.slow

GIGABYTE = 1 << 30


@contextmanager
def stored(url: str, rows: int, columns: int) -> Iterator[tuple[Any, Any]]:
    """A committed array of random features, written block by block, and labels that depend on them."""
    connection = wendelin.connect(url)
    a = connection.root()["x"] = wendelin.ZBigArray((rows, columns), np.float64)
    labels = np.empty(rows, np.int64)
    random = np.random.default_rng(0)
    step = max(1, (64 << 20) // (8 * columns))
    for start in range(0, rows, step):
        some = random.normal(size=(min(step, rows - start), columns))
        a[start : start + len(some)] = some
        labels[start : start + len(some)] = some[:, 0] + some[:, 1] > 0
        transaction.savepoint()
    transaction.commit()
    try:
        yield a[:], labels
    finally:
        transaction.abort()
        connection.close()


@pytest.fixture
def url(wendelin_home: Path) -> Iterator[str]:
    with zeo_server(wendelin_home / "zeo") as server:
        yield server.url


def search() -> GridSearchCV:
    return GridSearchCV(SGDClassifier(random_state=0, max_iter=5, tol=None), {"alpha": [1e-4, 1e-2]}, cv=3)


def test_grid_search_forest_and_predictions_are_those_of_one_process(url: str) -> None:
    with stored(url, 3000, 20) as (x, y):
        alone = search().fit(np.array(x), y)
        forest = RandomForestClassifier(20, random_state=0).fit(np.array(x), y)
        predicted = cross_val_predict(SGDClassifier(random_state=0), np.array(x), y)
        with parallel_config(backend="wendelin", n_jobs=2):
            ours = search().fit(x, y)
            np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
            assert ours.best_params_ == alone.best_params_
            trees = RandomForestClassifier(20, random_state=0).fit(x, y)
            np.testing.assert_array_equal(trees.predict_proba(x), forest.predict_proba(np.array(x)))
            np.testing.assert_array_equal(cross_val_predict(SGDClassifier(random_state=0), x, y), predicted)


def memory() -> tuple[int, int]:
    """What this process and its children have: the sum of their proportional set sizes, and the part of it in no file.

    Pages of a file that several map count once; what is in no file, or in memory files, cannot be dropped.
    """
    whole = own = 0
    me = psutil.Process(os.getpid())
    for process in [me, *me.children(recursive=True)]:
        try:
            words = Path(f"/proc/{process.pid}/smaps_rollup").read_text().split()
        except OSError:  # it ended
            continue
        whole += 1024 * int(words[words.index("Pss:") + 1])
        own += 1024 * (int(words[words.index("Pss_Anon:") + 1]) + int(words[words.index("Pss_Shmem:") + 1]))
    return whole, own


def most(call: Callable[[], object]) -> tuple[int, int]:
    """The most of both while something runs, above what there was before."""
    before = memory()
    found = [before]
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.05):
            found.append(memory())

    looker = threading.Thread(target=look)
    looker.start()
    try:
        call()
    finally:
        end.set()
        looker.join()
    return max(whole for whole, _ in found) - before[0], max(own for _, own in found) - before[1]


@pytest.mark.parametrize(
    "size",
    [GIGABYTE // 2, pytest.param(4 * GIGABYTE, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
    ids=["half a GiB", "4 GiB"],
)
def test_a_second_worker_takes_scikit_learns_own_copies_more_and_no_other(url: str, size: int) -> None:
    """A fit copies the rows that it takes (scikit-learn takes them by index), here a third of them, in each worker."""
    rows, columns = size // (8 * 64), 64
    split = ShuffleSplit(2, train_size=0.25, test_size=0.05, random_state=0)
    model = SGDClassifier(random_state=0, max_iter=1, tol=None)
    with stored(url, rows, columns) as (x, y):

        def run(jobs: int, count: int = rows) -> None:
            search = GridSearchCV(model, {"alpha": [1e-4, 1e-2]}, cv=split, refit=False, n_jobs=jobs)
            search.fit(x[:count], y[:count])

        run(1, 1000)
        alone = most(lambda: run(1))
        with parallel_config(backend="wendelin", n_jobs=2):
            run(2, 1000)  # workers have started and imported what they need
            both = most(lambda: run(2))
    told = [f"{what / GIGABYTE:.3f}" for what in (*alone, *both)]
    print("GiB alone {}, in no file {}; two workers {}, in no file {}".format(*told))  # noqa: T201 - shown by -s
    room = 64 << 20
    assert both[1] <= 2 * alone[1] + room, told
    assert both[0] <= alone[0] + alone[1] + room, told
