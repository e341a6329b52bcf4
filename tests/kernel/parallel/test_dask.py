"""The backend on a Dask cluster; with ports of joblib's test_dask.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import random
from typing import Any

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config

from tests.storage.database.servers import Program, accepts, free_port, wait_until
from wendelin.kernel import parallel
from wendelin.storage.errors import WorkerDiedError

pytestmark = pytest.mark.slow

distributed = pytest.importorskip("distributed")


class Cluster:
    """A scheduler and workers, each a process of its own, to be killed."""

    def __init__(self, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        self._folder, self._port, self._prefix = folder, free_port(), prefix
        self.address = f"tcp://127.0.0.1:{self._port}"
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--no-dashboard"]
        self.scheduler = Program(command, lambda: accepts(("127.0.0.1", self._port)), folder / "scheduler.log")
        self.workers = [self.add_worker(name) for name in ("a", "b")]

    def add_worker(self, name: str) -> Program:
        command = [*self._prefix, sys.executable, "-m", "distributed.cli.dask_worker", self.address]
        command += [
            "--nthreads",
            "1",
            "--no-dashboard",
            "--name",
            name,
            "--local-directory",
            str(self._folder),
            "--host",
            "127.0.0.1",
        ]
        return Program(command, lambda: True, self._folder / f"worker-{name}.log")

    def stop(self) -> None:
        for worker in self.workers:
            # unshare hears no SIGTERM, and takes its child with it when it is killed.
            worker.kill() if self._prefix else worker.stop()
        self.scheduler.stop()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    try:
        yield cluster
    finally:
        parallel.close()
        cluster.stop()


def inc(x: int) -> int:
    return x + 1


def draw() -> float:
    return random()


def slow_raise(condition: bool) -> None:
    if condition:
        raise ValueError("condition evaluated to True")


def test_by_address_and_by_client(cluster: Cluster) -> None:
    with parallel_config(backend="wendelin", engine=cluster.address):
        assert Parallel()(delayed(inc)(i) for i in range(10)) == list(range(1, 11))
        with pytest.raises(ValueError, match="True"):
            Parallel()(delayed(slow_raise)(i == 3) for i in range(10))
        assert Parallel()(delayed(inc)(i) for i in range(10)) == list(range(1, 11))
        x, y = Parallel()(delayed(draw)() for i in range(2))
        assert x != y
    with distributed.Client(cluster.address) as client, parallel_config(backend="wendelin", engine=client):
        assert Parallel()(delayed(inc)(i) for i in range(10)) == list(range(1, 11))
        wait_until(lambda: not client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.tasks)))
        parallel.close()


def isolated(values: list[str], data: Any) -> list[str]:
    values.append(str(float(data.sum())))
    return values


def where_it_lies(array: Any) -> tuple[str, float, bool]:
    return type(array).__name__, float(array.sum()), bool(array.flags.writeable)


def test_workers_of_this_machine_map_the_callers_file(cluster: Cluster) -> None:
    with parallel_config(backend="wendelin", engine=cluster.address):
        found = Parallel(batch_size=1)(delayed(where_it_lies)(np.ones(1_000_000)) for _ in range(4))
    assert found == [("memmap", 1_000_000.0, False)] * 4


ELSEWHERE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def test_workers_elsewhere_are_given_a_large_array_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = subprocess.run([*ELSEWHERE, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"needs the right to make a namespace of processes: {tried.stderr.strip()}")
    scattered: list[int] = []
    real = distributed.Client.scatter

    def scatter(self: Any, data: Any, **options: Any) -> Any:
        if isinstance(data, np.ndarray):
            scattered.append(data.nbytes)
        return real(self, data, **options)

    monkeypatch.setattr(distributed.Client, "scatter", scatter)
    cluster = Cluster(tmp_path, ELSEWHERE)
    array = np.arange(1_000_000.0)
    try:
        with distributed.Client(cluster.address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)  # one that joins in between is lost and found again
        with parallel_config(backend="wendelin", engine=cluster.address, n_jobs=2):
            found = Parallel(batch_size=1)(delayed(where_it_lies)(array) for _ in range(20))
            assert found == [("ndarray", float(array.sum()), False)] * 20
        assert scattered == [8_000_000]
    finally:
        parallel.close()
        cluster.stop()


def test_arguments_are_not_shared_between_tasks(cluster: Cluster) -> None:
    lists: list[list[str]] = [[] for _ in range(100)]
    data = np.ones(1_000_000)
    with parallel_config(backend="wendelin", engine=cluster.address):
        found = Parallel()(delayed(isolated)(some, data) for some in lists)
    assert found == [["1000000.0"]] * 100
    assert lists == [[]] * 100


def nested_sum(array: Any) -> float:
    return sum(Parallel(n_jobs=2)(delayed(np.sum)(array[j:]) for j in range(10)))


def test_nested_calls_end(cluster: Cluster) -> None:
    array = np.ones(10_000)
    with parallel_config(backend="wendelin", engine=cluster.address):
        found = Parallel(n_jobs=2)(delayed(nested_sum)(array[i:]) for i in range(10))
    assert found == [float(sum(10_000 - i - j for j in range(10))) for i in range(10)]


def wait_for(go: str, mine: str) -> int:
    Path(mine).write_text(str(os.getpid()))
    while not Path(go).exists():
        time.sleep(0.01)
    return os.getpid()


def two_pids_though(kill: Callable[[list[Path]], object], cluster: Cluster, folder: Path) -> list[int]:
    """Two tasks that wait until `kill`, called with the files that say that they run, has done what it does."""
    started = [folder / "0", folder / "1"]

    def then_go() -> None:
        kill(started)
        (folder / "go").touch()

    killer = threading.Thread(target=then_go)
    killer.start()
    with parallel_config(backend="wendelin", engine=cluster.address, n_jobs=2):
        found = Parallel(batch_size=1)(delayed(wait_for)(str(folder / "go"), str(path)) for path in started)
    killer.join()
    return list(found)


def test_a_killed_worker_is_not_seen(cluster: Cluster, tmp_path: Path) -> None:
    def kill(started: list[Path]) -> None:
        victim = int(wait_until(lambda: started[0].exists() and started[0].read_text()))
        os.kill(victim, signal.SIGKILL)

    assert len(two_pids_though(kill, cluster, tmp_path)) == 2


def test_a_killed_scheduler_is_not_seen(cluster: Cluster, tmp_path: Path) -> None:
    def kill(started: list[Path]) -> None:
        wait_until(lambda: all(path.exists() and path.read_text() for path in started))
        cluster.scheduler.kill()
        cluster.scheduler.start()
        # Dask's workers end when they lose their scheduler; whoever runs them starts them again.
        cluster.workers += [cluster.add_worker(name) for name in ("c", "d")]

    assert len(two_pids_though(kill, cluster, tmp_path)) == 2


def kill_myself(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_poisonous_task_is_named(cluster: Cluster) -> None:
    with (
        parallel_config(backend="wendelin", engine=cluster.address, n_jobs=2),
        pytest.raises(WorkerDiedError, match=r"task 2, kill_myself\(2\)"),
    ):
        Parallel(batch_size=1)(delayed(kill_myself)(i) for i in range(6))


def test_a_call_waits_for_workers(cluster: Cluster) -> None:
    """A cluster that has none yet, as when it is scaled up on demand: the call goes on as soon as one comes."""
    for worker in cluster.workers:
        worker.stop()
    found: list[list[int]] = []

    def call() -> None:
        with parallel_config(backend="wendelin", engine=cluster.address, n_jobs=2):
            found.append(Parallel()(delayed(inc)(i) for i in range(6)))

    calling = threading.Thread(target=call)
    calling.start()
    with distributed.Client(cluster.address) as client:
        wait_until(lambda: len(client.scheduler_info()["workers"]) == 0)
        assert calling.is_alive()
        cluster.workers = [cluster.add_worker("late")]
        calling.join(60)
    assert found == [[1, 2, 3, 4, 5, 6]]


def test_a_call_leaves_nothing_at_the_scheduler(cluster: Cluster) -> None:
    """Neither results nor arguments stay there once a call has ended, well or with an error."""
    with distributed.Client(cluster.address) as client:

        def tasks() -> int:
            return int(client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))

        with parallel_config(backend="wendelin", engine=cluster.address, n_jobs=2):
            assert Parallel(batch_size=1)(delayed(inc)(i) for i in range(20)) == [*range(1, 21)]
            left = tasks()
            with pytest.raises(ValueError, match="condition"):
                Parallel(batch_size=1)(delayed(slow_raise)(i == 3) for i in range(20))
            wait_until(lambda: tasks() <= left)
            assert left <= 2 * len(cluster.workers), "what serves as the line to each worker"
