"""Workers that die: unseen by the caller, until one task does it each time."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from joblib import Parallel, delayed, parallel_config

from tests.kernel.parallel.engines import ProcessEngine
from tests.storage.database.servers import wait_until
from wendelin.kernel.activity.local import LocalEngine
from wendelin.storage.errors import ServerGoneError, WorkerDiedError

# Slow, because each death costs the start of a worker.
pytestmark = pytest.mark.slow


def wait_for(path: str, mine: str) -> int:
    Path(mine).touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return os.getpid()


def kill_myself(number: int, bad: int, folder: str) -> int:
    with (Path(folder) / str(number)).open("a") as file:
        file.write("x")
    if number == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_killed_worker_is_not_seen(tmp_path: Path) -> None:
    go, started = tmp_path / "go", [tmp_path / "0", tmp_path / "1"]
    engine = LocalEngine(2)

    def kill() -> None:
        wait_until(lambda: all(path.exists() for path in started))
        for path in started:
            path.unlink()
        (node,) = engine.nodes().values()
        for pid in node.pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(path.exists() for path in started))
        go.touch()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with parallel_config(backend="wendelin", engine=engine, n_jobs=2):
            found = Parallel(batch_size=1)(delayed(wait_for)(str(go), str(path)) for path in started)
        assert len(found) == 2
    finally:
        killer.join()
        engine.close()


def test_a_task_that_kills_its_worker_fails_alone_and_is_named(tmp_path: Path) -> None:
    found: list[int] = []
    results = Parallel(n_jobs=2, backend="wendelin", batch_size=4, return_as="generator_unordered", pre_dispatch="all")(
        delayed(kill_myself)(i, 6, str(tmp_path)) for i in range(16)
    )
    with pytest.raises(WorkerDiedError, match=r"task 6, kill_myself\(6, 6, .*died 3 times"):
        found.extend(results)
    # Twice in its batch and once alone; those before it in the batch ran again, those behind it once.
    assert len((tmp_path / "6").read_text()) == 3
    assert 2 <= len((tmp_path / "5").read_text()) <= 3
    assert 6 not in found


def test_where_nobody_says_which_it_was_three_workers_die_as_well(tmp_path: Path) -> None:
    engine = ProcessEngine(2)
    try:
        backend = parallel_config(backend="wendelin", engine=engine, n_jobs=2)
        with backend, pytest.raises(WorkerDiedError, match="task 6"):
            Parallel(batch_size=8)(delayed(kill_myself)(i, 6, str(tmp_path)) for i in range(8))
    finally:
        engine.close()
    assert len((tmp_path / "6").read_text()) == 3


def test_a_single_task_is_given_up_after_three_deaths(tmp_path: Path) -> None:
    with pytest.raises(WorkerDiedError, match=r"kill_myself\(0, 0"):
        Parallel(n_jobs=2, backend="wendelin", batch_size=1)(
            delayed(kill_myself)(i, 0, str(tmp_path)) for i in range(1)
        )
    assert len((tmp_path / "0").read_text()) == 3
    again = Parallel(n_jobs=2, backend="wendelin")(delayed(kill_myself)(i, -1, str(tmp_path)) for i in range(4))
    assert again == [0, 1, 2, 3]


class Flickering(ProcessEngine):
    """As if its scheduler were away for the first looks after a death."""

    away = 3

    def nodes(self) -> dict[str, Any]:
        self.away -= 1
        return {} if self.away >= 0 else {"here": None}


def test_work_waits_for_a_scheduler_that_comes_back_and_no_task_is_blamed(tmp_path: Path) -> None:
    engine = Flickering(2)
    try:
        with parallel_config(backend="wendelin", engine=engine, n_jobs=2), pytest.raises(WorkerDiedError):
            Parallel(batch_size=1)(delayed(kill_myself)(i, 0, str(tmp_path)) for i in range(1))
        assert len((tmp_path / "0").read_text()) == 4  # the first death counted for nothing
    finally:
        engine.close()


class Gone(ProcessEngine):
    def nodes(self) -> dict[str, Any]:
        return {}


def test_patience_ends_with_the_address_to_look_at(tmp_path: Path) -> None:
    engine = Gone(2)
    try:
        with (
            parallel_config(backend="wendelin", engine=engine, n_jobs=2, patience=0.5),
            pytest.raises(ServerGoneError, match=r"no worker came back within 0\.5 s"),
        ):
            Parallel(batch_size=1)(delayed(kill_myself)(i, 0, str(tmp_path)) for i in range(1))
    finally:
        engine.close()
