"""Ports of joblib's tests that name their backends in lists of their own (joblib/test/test_parallel.py, BSD)."""

from __future__ import annotations

import subprocess
import sys
import time
from math import sqrt
from multiprocessing import Manager
from pathlib import Path
from traceback import format_exception
from typing import Any

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed, effective_n_jobs, parallel_backend, parallel_config
from joblib.parallel import SequentialBackend, ThreadingBackend, get_active_backend

from wendelin.kernel.parallel.backend import WendelinBackend

pytestmark = pytest.mark.slow

CONTEXTS = pytest.mark.parametrize("context", [parallel_config, parallel_backend])


def square(x: Any) -> Any:
    return x**2


def division(x: float, y: float) -> float:
    return x / y


def interrupt(x: int) -> None:
    time.sleep(0.05)
    raise KeyboardInterrupt


def test_parallel_as_context_manager() -> None:
    with Parallel(n_jobs=4, backend="wendelin") as p:
        backend = p._backend
        for _ in range(2):
            assert p(delayed(square)(x) for x in range(10)) == [x * x for x in range(10)]
        assert p._backend is backend
    assert p(delayed(square)(x) for x in range(10)) == [x * x for x in range(10)]


def test_timeout_success() -> None:
    assert len(Parallel(n_jobs=2, backend="wendelin", timeout=30)(delayed(time.sleep)(0.001) for _ in range(10))) == 10


def test_error_capture() -> None:
    zero = [delayed(division)(x, y) for x, y in zip((0, 1), (1, 0), strict=True)]
    with pytest.raises(ZeroDivisionError):
        Parallel(n_jobs=2, backend="wendelin")(zero)
    with pytest.raises(KeyboardInterrupt):
        Parallel(n_jobs=2, backend="wendelin")([delayed(interrupt)(x) for x in (1, 0)])
    with Parallel(n_jobs=2, backend="wendelin") as parallel:
        for tasks, error in ((zero, ZeroDivisionError), ([delayed(interrupt)(x) for x in (1, 0)], KeyboardInterrupt)):
            with pytest.raises(error):
                parallel(tasks)
            assert parallel(delayed(square)(x) for x in range(10)) == [x * x for x in range(10)]


def consumer(queue: Any, item: str) -> None:
    queue.append(f"Consumed {item}")


def test_dispatch_is_lazy() -> None:
    with Manager() as manager:
        queue = manager.list()

        def producer() -> Any:
            for i in range(6):
                queue.append(f"Produced {i}")
                yield i

        Parallel(n_jobs=2, batch_size=1, pre_dispatch=3, backend="wendelin")(
            delayed(consumer)(queue, "any") for _ in producer()
        )
        found = list(queue)
    assert found[0] == "Produced 0"
    assert found.index("Produced 3") > found[:4].index("Consumed any")
    assert len(found) == 12


def raise_at_seven(x: int) -> int:
    if x == 7:
        raise ValueError(x)
    return x


def inner(i: int) -> None:
    Parallel(n_jobs=2)(delayed(raise_at_seven)(j) for j in range(30))


def outer(i: int) -> None:
    Parallel(n_jobs=2)(delayed(inner)(j) for j in range(30))


def test_nested_exception_dispatch() -> None:
    with pytest.raises(ValueError, match="7") as caught:
        Parallel(n_jobs=2, backend="wendelin")(delayed(outer)(i) for i in range(30))
    report = "".join(format_exception(caught.value))
    assert all(name in report for name in ("outer", "inner", "raise_at_seven"))
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("n_jobs", ["2", 2.3, 2])
def test_njobs_converted_to_int(n_jobs: Any) -> None:
    p = Parallel(n_jobs=n_jobs, backend="wendelin")
    assert p._effective_n_jobs() == 2
    assert p(delayed(square)(i) for i in range(10)) == [i * i for i in range(10)]


@CONTEXTS
def test_backend_context_manager(context: Any) -> None:
    default = type(get_active_backend()[0])
    with context("wendelin", n_jobs=3):
        active, n_jobs = get_active_backend()
        assert (type(active), n_jobs, effective_n_jobs(3)) == (WendelinBackend, 3, 3)
        p = Parallel()
        assert (type(p._backend), p.n_jobs) == (WendelinBackend, 3)
    assert type(get_active_backend()[0]) is default


def check_nested(kind: str, n_jobs: int | None) -> None:
    assert type(get_active_backend()[0]).__name__ == kind
    assert Parallel()._effective_n_jobs() == effective_n_jobs(n_jobs)


@pytest.mark.parametrize("n_jobs", [2, -1, None])
@CONTEXTS
def test_nested_backend_in_sequential(context: Any, n_jobs: int | None) -> None:
    with context("wendelin", n_jobs=n_jobs):
        Parallel(n_jobs=1)(delayed(check_nested)("WendelinBackend", n_jobs) for _ in range(10))


def check_level(name: str, expected: int) -> None:
    with parallel_config(name) as config:
        assert config["backend"].nesting_level == expected


@pytest.mark.parametrize("name", ["threading", "loky", "wendelin"])
def test_backend_nesting_level(name: str) -> None:
    check_level("wendelin", 0)
    Parallel(n_jobs=2, backend="wendelin")(delayed(check_level)(name, 1) for _ in range(10))
    with parallel_config("wendelin", n_jobs=2):
        Parallel()(delayed(check_level)(name, 1) for _ in range(10))


def test_no_blas_crash_or_freeze() -> None:
    a = np.random.RandomState(42).randn(500, 500)
    np.dot(a, a.T)
    found = Parallel(n_jobs=2, backend="wendelin")(delayed(np.dot)(a, a.T) for _ in range(2))
    np.testing.assert_allclose(found[1], np.dot(a, a.T))


SCRIPT = """
import joblib, wendelin
from functools import partial
from joblib import Parallel, delayed
class Value:
    def __init__(self, value):
        self.value = value
def run(f, x):
    return f(x)
def of_value(x, ignored=None, other=None):
    return x.value ** 2
{define}
p = Parallel(n_jobs=2, backend="wendelin")
print(p(delayed(square)(i) for i in range(5)))
print(p(delayed(run)(square, i) for i in range(5)))
print(p(delayed(run)(f=square, x=i) for i in range(5)))
print(p(delayed(partial(of_value, other="x"))(Value(i), ignored=[dict(a=Value(1))]) for i in range(5)))
"""

DEFINITIONS = {
    "main": "def square(x):\n    return x ** 2",
    "local": "def make():\n    def square(x):\n        return x ** 2\n    return square\nsquare = make()",
    "lambda": "square = lambda x: x ** 2",
}


@pytest.mark.parametrize("how", ["-c", "file"])
@pytest.mark.parametrize("define", DEFINITIONS)
def test_functions_and_classes_of_a_script_without_a_main_guard(define: str, how: str, tmp_path: Path) -> None:
    code = SCRIPT.format(define=DEFINITIONS[define])
    (tmp_path / "script.py").write_text(code)
    command = [sys.executable, "-c", code] if how == "-c" else [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == ["[0, 1, 4, 9, 16]"] * 4, done.stderr


def copied(a: Any) -> Any:
    assert isinstance(a, np.memmap)
    return a.copy()


@pytest.mark.parametrize("n_jobs", [2, 4])
def test_auto_memmap_on_arrays_from_generator(n_jobs: int) -> None:
    found = Parallel(n_jobs=n_jobs, max_nbytes=1, backend="wendelin")(
        delayed(copied)(np.ones(10, np.float32) * i) for i in range(100)
    )
    for i, result in enumerate(found):
        np.testing.assert_array_equal(result, np.ones(10, np.float32) * i)


def identity(x: Any) -> Any:
    return x


def test_memmap_with_big_offset(tmp_path: Path) -> None:
    values = [np.zeros(4096, np.uint8), np.ones(4096, np.uint8)]
    joblib.dump(values, tmp_path / "f")
    mapped = joblib.load(tmp_path / "f", mmap_mode="r")
    (found,) = Parallel(n_jobs=2, backend="wendelin")(delayed(identity)(mapped) for _ in [0])
    np.testing.assert_array_equal(values, found)


@pytest.mark.parametrize("byteorder", ["<", ">", "="])
@pytest.mark.parametrize("max_nbytes", [1, "1M"])
def test_byteorder(byteorder: str, max_nbytes: Any) -> None:
    x = np.arange(6).astype(f"{byteorder}i4").reshape(2, 3)
    for found in Parallel(n_jobs=2, backend="wendelin", max_nbytes=max_nbytes)(delayed(identity)(x) for _ in range(3)):
        assert found.dtype.byteorder == x.dtype.byteorder
        np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("first_as", ["generator", "generator_unordered"])
def test_a_forgotten_generator_does_not_disturb_the_next_call(first_as: str) -> None:
    first = Parallel(2, backend="wendelin", return_as=first_as)
    found = first(delayed(time.sleep)(600) for _ in range(10))
    with pytest.warns(UserWarning, match="cancelled"):
        found = Parallel(2, backend="wendelin", return_as="generator")(delayed(sqrt)(i**2) for i in range(10, 20))
    assert list(found) == [float(i) for i in range(10, 20)]
    assert first._aborting


def test_backend_batch_statistics_reset() -> None:
    p = Parallel(n_jobs=2, backend="wendelin")
    for _ in range(2):
        p(delayed(time.sleep)(0.002) for _ in range(300))
        assert p._backend._effective_batch_size == p._backend._DEFAULT_EFFECTIVE_BATCH_SIZE
        assert p._backend._smoothed_batch_duration == p._backend._DEFAULT_SMOOTHED_BATCH_DURATION


@CONTEXTS
def test_backend_hinting_and_constraints(context: Any) -> None:
    with context("wendelin", n_jobs=2):
        p = Parallel(prefer="threads")
        assert (type(p._backend), p.n_jobs) == (WendelinBackend, 2)
        assert Parallel(n_jobs=3, prefer="threads").n_jobs == 3
        p = Parallel(require="sharedmem")
        assert (type(p._backend), p.n_jobs) == (ThreadingBackend, 1)
        assert Parallel(n_jobs=3, require="sharedmem").n_jobs == 3
    with pytest.raises(ValueError, match="shared memory"):
        Parallel(backend="wendelin", require="sharedmem")
    with Parallel(n_jobs=1, backend="wendelin") as p:
        assert type(p._backend) is SequentialBackend


def _recursive() -> Any:
    return Parallel()(delayed(_recursive)() for _ in range(2))


def test_thread_bomb_mitigation() -> None:
    with parallel_config("wendelin", n_jobs=2), pytest.raises(RecursionError):
        _recursive()


def test_globals_update_at_each_parallel_call() -> None:
    names: dict[str, Any] = {"SOMETHING": "original value", "__name__": "__main__"}
    exec("def look():\n    return SOMETHING", names)
    p = Parallel(n_jobs=2, backend="wendelin")
    assert p(delayed(names["look"])() for _ in range(2)) == ["original value"] * 2
    names["SOMETHING"] = "changed value"
    assert p(delayed(names["look"])() for _ in range(2)) == ["changed value"] * 2
