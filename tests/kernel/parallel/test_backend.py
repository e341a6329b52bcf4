"""What `Parallel` does with the backend: results, errors, generators, time-outs, cancelling, nesting, threads."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing import TimeoutError as JoblibTimeoutError
from pathlib import Path
from pickle import PicklingError
from typing import Any

import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import ThreadingBackend, get_active_backend

from tests.kernel.parallel.engines import ProcessEngine
from tests.storage.database.servers import wait_until
from wendelin.kernel.parallel import pool, progress
from wendelin.kernel.parallel.backend import WendelinBackend
from wendelin.storage.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def square(x: int) -> int:
    return x * x


def fail_at(x: int, where: int) -> int:
    if x == where:
        raise ValueError(f"no {x}")
    return x


def note_and_sleep(folder: str, number: int) -> None:
    (Path(folder) / f"{number}-{os.getpid()}").touch()
    time.sleep(600)


def test_results_come_in_order_from_other_processes() -> None:
    with parallel_config(backend="wendelin", n_jobs=2):
        assert Parallel()(delayed(square)(i) for i in range(50)) == [i * i for i in range(50)]
        assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(4))


def test_workers_stay_for_the_next_call() -> None:
    with parallel_config(backend="wendelin", n_jobs=2):
        first = set(Parallel(batch_size=1)(delayed(os.getpid)() for _ in range(20)))
        second = set(Parallel(batch_size=1)(delayed(os.getpid)() for _ in range(20)))
    assert first & second
    assert len(first | second) <= 2


def test_the_error_of_a_task_is_raised_with_the_workers_traceback_as_cause() -> None:
    with pytest.raises(ValueError, match="no 3") as caught:
        Parallel(n_jobs=2, backend="wendelin")(delayed(fail_at)(i, 3) for i in range(10))
    assert "in fail_at" in str(caught.value.__cause__)
    assert Parallel(n_jobs=2, backend="wendelin")(delayed(square)(i) for i in range(3)) == [0, 1, 4]


class Finicky(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("finicky")


def raise_finicky() -> None:
    raise Finicky(1, 2)


def test_an_exception_that_cannot_be_unpickled_is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match="Finicky: finicky"):
        Parallel(n_jobs=2, backend="wendelin")(delayed(raise_finicky)() for _ in range(2))


def test_exit_in_a_task_is_its_error_and_harms_no_worker() -> None:
    with pytest.raises(SystemExit):
        Parallel(n_jobs=2, backend="wendelin")([delayed(sys.exit)(3), delayed(square)(2)])


class Unpicklable:
    def __reduce__(self) -> Any:
        raise RuntimeError("123")


@pytest.mark.parametrize("first", [True, False])
def test_an_argument_that_cannot_be_pickled_is_named(first: bool) -> None:
    values: list[Any] = [Unpicklable(), *range(20)] if first else [*range(20), Unpicklable()]
    with pytest.raises(PicklingError, match=r"the task to send.*123"):
        Parallel(n_jobs=2, backend="wendelin")(delayed(id)(value) for value in values)


def test_a_result_that_cannot_be_pickled_is_an_error() -> None:
    with pytest.raises(TypeError, match="pickle"):
        Parallel(n_jobs=2, backend="wendelin")(delayed(threading.Lock)() for _ in range(2))


@pytest.mark.parametrize("return_as", ["generator", "generator_unordered"])
def test_generators_give_results_while_others_run(return_as: str) -> None:
    found = Parallel(n_jobs=2, backend="wendelin", return_as=return_as)(delayed(square)(i) for i in range(20))
    assert sorted(found) == [i * i for i in range(20)]


def test_two_generators_of_one_backend_object_do_not_disturb_each_other(tmp_path: Path) -> None:
    with parallel_config(backend="wendelin", n_jobs=2):
        stuck = Parallel(return_as="generator")(delayed(note_and_sleep)(str(tmp_path), i) for i in range(1))
        other = Parallel(return_as="generator")(delayed(square)(i) for i in range(10))
        wait_until(lambda: list(tmp_path.iterdir()))
        with pytest.warns(UserWarning, match="cancelled"):
            del stuck
        assert list(other) == [i * i for i in range(10)]


def test_a_time_out_is_raised_and_what_ran_is_ended(tmp_path: Path) -> None:
    with pytest.raises(JoblibTimeoutError):
        Parallel(n_jobs=2, backend="wendelin", timeout=2)(delayed(note_and_sleep)(str(tmp_path), i) for i in range(2))
    for file in tmp_path.iterdir():
        pid = int(file.name.split("-")[1])
        wait_until(partial(is_gone, pid))


def test_ctrl_c_cancels_what_runs_and_the_workers_are_replaced(tmp_path: Path) -> None:
    def press() -> None:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        Parallel(n_jobs=2, backend="wendelin")(delayed(note_and_sleep)(str(tmp_path), i) for i in range(2))
    presser.join()
    for file in tmp_path.iterdir():
        pid = int(file.name.split("-")[1])
        wait_until(partial(is_gone, pid))
    assert Parallel(n_jobs=2, backend="wendelin")(delayed(square)(i) for i in range(3)) == [0, 1, 4]


def test_no_more_tasks_run_at_a_time_than_there_are_jobs() -> None:
    engine = ProcessEngine(3)
    try:
        with parallel_config(backend="wendelin", engine=engine, n_jobs=2):
            pids = Parallel(batch_size=1, pre_dispatch="all")(delayed(_pid_of_a_moment)() for _ in range(12))
        spans = sorted((begin, end) for _, begin, end in pids)
        for begin, _ in spans:
            assert sum(1 for b, e in spans if b <= begin < e) <= 2
    finally:
        engine.close()


def _pid_of_a_moment() -> tuple[int, float, float]:
    begin = time.monotonic()
    sum(range(300_000))
    return os.getpid(), begin, time.monotonic()


def test_an_engine_of_somebody_else_stays_open_and_is_left_alone_afterwards() -> None:
    engine = ProcessEngine(2)
    try:
        with parallel_config(backend="wendelin", engine=engine):
            assert Parallel()(delayed(square)(i) for i in range(4)) == [0, 1, 4, 9]
        theirs = pool.of(engine)
        wait_until(lambda: theirs._thread is None)
        task = engine.start(square, 5)
        found = wait_until(lambda: engine.wait(1))
        assert found == [task]
        assert task.result == 25
    finally:
        engine.close()


def test_auto_batching_makes_large_batches_of_small_tasks() -> None:
    with Parallel(n_jobs=2, backend="wendelin") as parallel:
        parallel(delayed(id)(i) for i in range(5000))
        assert parallel._backend._effective_batch_size > 10


# -- nesting


def _nested_types(levels: int) -> list[str]:
    here = [type(get_active_backend()[0]).__name__]
    if not levels:
        return here
    return here + Parallel(n_jobs=2)(delayed(_nested_types)(levels - 1) for _ in range(1))[0]


def test_below_a_worker_are_threads_and_below_those_nothing() -> None:
    with parallel_config(backend="wendelin", n_jobs=2):
        assert _nested_types(3) == ["WendelinBackend", "ThreadingBackend", "SequentialBackend", "SequentialBackend"]


def _explicitly_nested() -> str:
    with Parallel(n_jobs=2, backend="wendelin") as parallel:
        parallel(delayed(square)(i) for i in range(3))
        return type(parallel._backend).__name__


def test_who_names_the_backend_in_a_worker_gets_threads() -> None:
    found = Parallel(n_jobs=2, backend="wendelin")(delayed(_explicitly_nested)() for _ in range(2))
    assert found == [ThreadingBackend.__name__] * 2


def test_it_can_be_used_in_threads() -> None:
    found = Parallel(n_jobs=2, backend="threading")(delayed(_explicitly_nested)() for _ in range(4))
    assert found == [WendelinBackend.__name__] * 4


# -- threads of libraries


def _library_threads() -> list[int]:
    import numpy as np
    import threadpoolctl

    np.dot(np.ones((100, 100)), np.ones((100, 100)))
    return [library["num_threads"] for library in threadpoolctl.threadpool_info()]


@pytest.mark.parametrize("threads", [1, 2])
def test_libraries_get_as_many_threads_as_asked_for_in_workers_that_ran_before(threads: int) -> None:
    here = _library_threads()
    if not here:
        pytest.skip("this NumPy has no BLAS with threads")
    found: list[list[int]] = []
    for number in (3 - threads, threads):
        with parallel_config(backend="wendelin", n_jobs=2, inner_max_num_threads=number):
            found = Parallel(batch_size=1)(delayed(_library_threads)() for _ in range(4))
    assert {n for some in found for n in some} == {threads}


def test_the_environment_of_the_caller_decides_when_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    found = Parallel(n_jobs=2, backend="wendelin")(delayed(os.environ.get)("OPENBLAS_NUM_THREADS") for _ in range(2))
    assert found == ["3", "3"]


# -- options and registration


@pytest.mark.parametrize(
    ("options", "words"),
    [({"color": 1}, "no option 'color'; it has .*engine"), ({"durable": True}, "key='my analysis'")],
)
def test_wrong_options_are_refused_with_the_right_ones(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words), parallel_config(backend="wendelin", **options):
        pass


def test_what_is_no_engine_is_refused() -> None:
    with parallel_config(backend="wendelin", engine=3), pytest.raises(TypeError, match=r"engine=3 .*'local'"):
        Parallel()(delayed(square)(i) for i in range(3))


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("import wendelin, sys; print('joblib' in sys.modules)", "False"),
        ("import joblib, wendelin; print('wendelin' in joblib.parallel.BACKENDS)", "True"),
        ("import wendelin, joblib; print('wendelin' in joblib.parallel.BACKENDS)", "True"),
        ("import wendelin, sklearn; print('wendelin' in __import__('joblib').parallel.BACKENDS)", "True"),
        ("import wendelin, joblib, sys; print([it for it in sys.meta_path if 'Joblib' in type(it).__name__])", "[]"),
        (
            "import joblib, wendelin, sys; print('wendelin.kernel.parallel.backend' in sys.modules)",
            "False",
        ),
    ],
)
def test_importing_wendelin_registers_the_backend_and_imports_neither_it_nor_joblib(code: str, known: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == known


# -- the bar


class _Counts:
    n_tasks: int | None = 40
    n_completed_tasks = 10
    n_dispatched_tasks = 40
    _iterating = False
    _original_iterator = None
    verbose = 1


def test_the_bar_shows_the_part_done_the_time_and_the_rate() -> None:
    assert progress.Bar(_Counts()).line(5.0) == f" 25%|{'█' * 7}{' ' * 23}| 10/40 [00:05<00:15, 2.0/s]"
    endless = _Counts()
    endless.n_tasks, endless._iterating = None, True
    assert progress.Bar(endless).line(3605.0) == "10 tasks [1:00:05, 0.0/s]"


def test_the_bar_ends_full_and_with_a_new_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    Parallel(n_jobs=2, backend="wendelin", progress=True)([delayed(square)(i) for i in range(5)])
    last = stream.getvalue().rpartition("\r")[2]
    assert last.startswith("100%|██████████████████████████████| 5/5 [")
    assert last.endswith("/s]\n")


def test_no_bar_without_somebody_to_see_it(capsys: pytest.CaptureFixture[str]) -> None:
    Parallel(n_jobs=2, backend="wendelin")([delayed(square)(i) for i in range(5)])
    assert capsys.readouterr().err == ""
