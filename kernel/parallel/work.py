"""What a worker does with a batch: open it, run it with so many threads as it was given, pack what came of it.

What the function returns or raises, `KeyboardInterrupt` and `SystemExit` included, is an answer. No answer comes from
a worker that dies, and that is the engine's to say.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wendelin.kernel.parallel import register
from wendelin.kernel.parallel.pickling import dumps, loads
from wendelin.storage.activities.progress import carrier

#: Whether this process is a worker: a nested "wendelin" then uses threads.
is_worker = False

_limits: tuple[dict[str, str], int] = ({}, 0)


@dataclass(frozen=True)
class Batch:
    """Some calls, what nested `Parallel` calls in them use, and how many threads libraries may have."""

    items: list[tuple[Any, tuple[Any, ...], dict[str, Any]]]
    nested: tuple[Any, int | None]
    environment: dict[str, str]

    def __call__(self, begin: Callable[[int], object]) -> list[Any]:
        """The results; `begin` is told the place of each call before it."""
        from joblib import parallel_config

        limit_threads(self.environment)
        with parallel_config(backend=self.nested[0], n_jobs=self.nested[1]):
            return [begin(place) or call[0](*call[1], **call[2]) for place, call in enumerate(self.items)]


def _nobody(place: int) -> None:
    """Nobody wants to know which task begins."""


class RemoteTraceback(Exception):
    """Where in the worker an error came from; it is shown as the cause of that error."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


def run(data: bytes, secret: bytes | None = None, careful: bool = False) -> tuple[bool, bytes]:
    """Whether a batch went well, and the pickle of its results or of its error.

    `secret`: the caller's key to its `multiprocessing.Manager`, for workers of its own. `careful`: say which task
    begins, for one of them may end this process.
    """
    global is_worker
    if not is_worker:
        is_worker = True
        register()
    if secret is not None:
        multiprocessing.current_process().authkey = secret
    try:
        results = loads(data)((careful and carrier.get()) or _nobody)
    except BaseException as error:  # noqa: BLE001 - handed to the caller
        return False, _packed_error(error)
    try:
        return True, dumps(results)[0]
    except Exception as error:  # noqa: BLE001 - handed to the caller
        return False, _packed_error(error)


def _packed_error(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(error))
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        data = dumps((error, text))[0]
        loads(data)  # an exception that takes other arguments than it keeps
        return data
    except Exception:  # noqa: BLE001 - whatever its own methods raise
        stand_in = RuntimeError(f"{type(error).__name__}: {error} (the exception itself could not be pickled)")
        return dumps((stand_in, text))[0]


def error_of(data: bytes) -> BaseException:
    """The error that a worker packed, with its traceback as the cause."""
    error, text = loads(data)
    assert isinstance(error, BaseException)
    error.__cause__ = RemoteTraceback(text)
    return error


def limit_threads(environment: dict[str, str]) -> None:
    """Set what libraries ask when they are loaded, and tell those that are loaded already."""
    global _limits
    if _limits == (environment, len(sys.modules)):
        return
    os.environ.update(environment)
    try:
        import threadpoolctl
    except ImportError:
        return
    wanted = {"openmp": environment.get("OMP_NUM_THREADS"), "blas": environment.get("OPENBLAS_NUM_THREADS")}
    numbers = {kind: int(number) for kind, number in wanted.items() if number is not None and number.isdigit()}
    threadpoolctl.threadpool_limits(numbers)
    _limits = (environment, len(sys.modules))
