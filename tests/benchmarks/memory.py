"""Wall time and peak memory of a grid search with one joblib backend, in a process of its own.

`python -m tests.benchmarks.memory BACKEND ndarray|view` prints JSON. The memory is the sum of the proportional set
sizes (PSS) of this process, all that it started, and the database server: pages that several map count once.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import transaction
from joblib import parallel_config
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV

import wendelin

ROWS, COLUMNS = 400_000, 64
FITS = "2 parameters × 3 folds and a last fit"


class Peak:
    """The most memory within a `with`, in bytes, looked for each 20 ms."""

    def __init__(self, others: list[int]) -> None:
        self._others = others
        self.most = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        me = psutil.Process()
        while not self._end.wait(0.02):
            mine = [os.getpid(), *(child.pid for child in me.children(recursive=True))]
            self.most = max(self.most, sum(map(_pss, {*mine, *self._others})))


def _pss(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
    except OSError:  # it ended
        return 0
    return 1024 * int(words[words.index("Pss:") + 1])


def search(x: Any, y: Any) -> None:
    """What is measured."""
    model = SGDClassifier(random_state=0, max_iter=1, tol=None)
    GridSearchCV(model, {"alpha": [1e-4, 1e-2]}, cv=3).fit(x, y)


@contextlib.contextmanager
def features(kind: str) -> Iterator[tuple[Any, Any]]:
    """Random ones (synthetic), and labels that depend on them."""
    random = np.random.default_rng(0)
    if kind == "ndarray":
        x = random.normal(size=(ROWS, COLUMNS))
        yield x, (x[:, 0] + x[:, 1] > 0).astype(np.int64)
        return
    connection = wendelin.connect()
    stored = connection.root()["x"] = wendelin.ZBigArray((ROWS, COLUMNS), np.float64)
    labels = np.empty(ROWS, np.int64)
    for start in range(0, ROWS, 50_000):
        some = random.normal(size=(min(50_000, ROWS - start), COLUMNS))
        stored[start : start + len(some)] = some
        labels[start : start + len(some)] = some[:, 0] + some[:, 1] > 0
        transaction.savepoint()
    transaction.commit()
    try:
        yield stored[:], labels
    finally:
        transaction.abort()
        connection.close()


def measured(backend: str, kind: str) -> dict[str, float]:
    """In a fresh process: the faster of two searches, after a small one, and the most memory in both."""
    from tests.benchmarks.bench_joblib import backends, dask_cluster, home, timed
    from wendelin.kernel import parallel

    parallel.register()
    cluster = dask_cluster() if "ask" in backend else contextlib.nullcontext()
    with home() as servers, features(kind) as (x, y), cluster as client:
        with backends(client)[backend](), parallel_config(n_jobs=2):
            search(x[:1000], y[:1000])
            with Peak(servers()) as peak:
                seconds = min(timed(lambda: search(x, y)) for _ in range(2))
        parallel.close()
    return {"seconds": seconds, "bytes": peak.most}


def of(backend: str, kind: str) -> dict[str, float]:
    """As `measured`, by a process that is started for it."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", backend, kind]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(measured(*sys.argv[1:]))}\n")
