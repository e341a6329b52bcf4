"""The joblib backend beside joblib's own: loky, threading, and dask on a cluster of as many processes.

All on this machine with as many workers, started and warmed up before anything is timed. Each case runs in turns, one
backend after the other, so that a busy machine is busy for all; the figure is the fastest of the rounds, and beside it
stands the ratio to loky. Then the memory of a grid search, each backend in a process of its own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import transaction
from joblib import Parallel, delayed, parallel_config
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV

import wendelin
from tests import processes
from tests.benchmarks import memory
from wendelin.kernel import parallel

NAME = "joblib back ends"

ROUNDS = 3
JOBS = 2
SINGLE, MANY = 400, 10_000
BYTES, TASKS = 100_000_000, 100

Configure = Callable[[], Any]
Case = tuple[str, str, Callable[[], float]]


def nothing(x: int) -> int:
    return x


def total(array: Any) -> float:
    return float(array[::4096].sum())


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def overhead(count: int, size: int | str) -> float:
    """Milliseconds a task of a function that does nothing."""
    run = Parallel(batch_size=size)
    return 1000 * timed(lambda: run(delayed(nothing)(i) for i in range(count))) / count


def two_tasks() -> float:
    return 1000 * timed(lambda: Parallel()(delayed(nothing)(i) for i in range(2)))


def array_argument(array: Any) -> float:
    return timed(lambda: Parallel(batch_size=1)(delayed(total)(array) for _ in range(TASKS)))


def grid_search(x: Any, y: Any) -> float:
    model = RandomForestClassifier(20, random_state=0)
    return timed(lambda: GridSearchCV(model, {"max_depth": [2, 4, 6, 8]}, cv=3).fit(x, y))


def cases(stored: Any) -> list[Case]:
    plain = np.ones(BYTES // 8)
    x, y = make_classification(2000, 20, random_state=0)
    return [
        (f"a task, batch_size=1, of {SINGLE}", "ms", lambda: overhead(SINGLE, 1)),
        (f"a task, batch_size='auto', of {MANY:,}", "ms", lambda: overhead(MANY, "auto")),
        ("a call of 2 tasks", "ms", two_tasks),
        (f"an ndarray of 100 MB × {TASKS} tasks", "s", lambda: array_argument(plain)),
        (f"a view of a ZBigArray of 100 MB × {TASKS} tasks", "s", lambda: array_argument(stored)),
        ("GridSearchCV of a forest, 12 fits", "s", lambda: grid_search(x, y)),
    ]


@contextlib.contextmanager
def dask_cluster() -> Iterator[Any]:
    import dask
    import distributed

    dask.config.set({"distributed.worker.daemon": False})
    with (
        distributed.LocalCluster(JOBS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def backends(client: Any) -> dict[str, Configure]:
    return {
        "loky": lambda: parallel_config(backend="loky", n_jobs=JOBS),
        "threading": lambda: parallel_config(backend="threading", n_jobs=JOBS),
        "wendelin, local": lambda: parallel_config(backend="wendelin", n_jobs=JOBS),
        "dask": lambda: parallel_config(backend="dask", n_jobs=JOBS),
        "wendelin, Dask": lambda: parallel_config(backend="wendelin", engine=client, n_jobs=JOBS),
    }


def measure(stored: Any) -> dict[tuple[str, str], float]:
    """The best of the rounds, by case and backend."""
    best: dict[tuple[str, str], float] = {}
    with dask_cluster() as client:
        known = backends(client)
        for configure in known.values():
            with configure():  # workers start, and import what they need
                Parallel()(delayed(total)(np.ones(10)) for _ in range(4 * JOBS))
        for case, _, run in cases(stored):
            for _ in range(ROUNDS):
                for name, configure in known.items():
                    with configure():
                        took = run()
                    best[case, name] = min(best.get((case, name), took), took)
        parallel.close()
    return best


def figure(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def table(best: dict[tuple[str, str], float], stored: Any) -> str:
    names = list(backends(None))
    lines = [f"| best of {ROUNDS}, {JOBS} workers | | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    for case, unit, _ in cases(stored):
        base = best[case, "loky"]
        cells = [f"{figure(best[case, name])} ({best[case, name] / base:.2f}×)" for name in names]
        lines.append(f"| {case} | {unit} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\nIn parentheses: as a multiple of loky's; less is better."


def memories() -> str:
    """A grid search on more data, with the memory that it takes."""
    lines = ["| a grid search, one process for each cell | wall time | peak memory |", "|---|---|---|"]
    for kind, called in (("ndarray", "an ndarray"), ("view", "a view of a ZBigArray")):
        for name in backends(None):
            found = memory.of(name, kind)
            lines.append(f"| {name}, {called} | {figure(found['seconds'])} s | {found['bytes'] / 1e6:,.0f} MB |")
    size = memory.ROWS * memory.COLUMNS * 8 / 1e6
    return "\n".join(lines) + (
        f"\n\nGridSearchCV of an SGDClassifier, {memory.FITS}, on {memory.ROWS:,} × {memory.COLUMNS} float64 "
        f"({size:,.0f} MB, synthetic). Peak memory is the sum of the proportional set sizes of the caller, its "
        "workers, a scheduler and the database server; each fit copies its two thirds of the rows."
    )


@contextlib.contextmanager
def home() -> Iterator[Callable[[], list[int]]]:
    """A database of its own; gives what tells the processes of its server."""
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp") as folder:
        changed = {"WENDELIN_HOME": folder, "XDG_RUNTIME_DIR": str(Path(folder) / "run")}
        Path(changed["XDG_RUNTIME_DIR"]).mkdir(mode=0o700)
        before = {name: os.environ.get(name) for name in [*changed, "WENDELIN_DB"]}
        os.environ.update(changed)
        os.environ.pop("WENDELIN_DB", None)
        try:
            yield lambda: [process.pid for process in processes.started_with("WENDELIN_HOME", folder)]
        finally:
            processes.stop(processes.started_with("WENDELIN_HOME", folder))
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def main() -> str:
    """The table."""
    parallel.register()
    with home():
        connection = wendelin.connect()
        array = connection.root()["a"] = wendelin.ZBigArray((BYTES // 8,), np.float64)
        array[:] = 1.0
        transaction.commit()
        try:
            stored = array[:]
            first = table(measure(stored), stored)
        finally:
            transaction.abort()
            connection.close()
    return f"{first}\n\n{memories()}"
