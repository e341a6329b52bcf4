"""joblib's side: `WendelinBackend`, one object a `parallel_config` or a `Parallel`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

from joblib import cpu_count
from joblib.externals.loky import process_executor
from joblib.parallel import (
    TASK_PENDING,
    AutoBatchingMixin,
    BatchCompletionCallBack,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    ThreadingBackend,
)

from wendelin.kernel.parallel import pool, work
from wendelin.kernel.parallel.calls import Call, Job
from wendelin.kernel.parallel.files import Files
from wendelin.kernel.parallel.progress import Bar
from wendelin.storage.errors import UsageError

#: What joblib passes to `configure` for its own backends and means nothing here.
_IGNORED = {"temp_folder", "verbose", "max_nbytes", "mmap_mode", "context", "timeout"}

#: Seconds between two looks of a call whether another task has failed, while it waits for one.
_LOOK = 0.05


class WendelinBackend(AutoBatchingMixin, ParallelBackendBase):
    """Runs the tasks of `joblib.Parallel` in workers of an engine.

    Parameters
    ----------
    engine
        "local": this process's own workers, started at first use and shared by all calls; the address of a Dask
        scheduler; a `distributed.Client`; an Engine.
    durable : bool
        Keep the results of finished batches in the database, and take those of an earlier run from it.
    key : str
        Under what name they are kept; needed with `durable`.
    database : str
        URL of the database they are kept in; None: as `wendelin.connect()`.
    progress : bool
        Draw a bar on stderr; None: when `verbose` is given and stderr is a terminal or a notebook.
    patience : float
        Seconds to wait for workers when all are lost (a scheduler was killed) before the call fails.

    Notes
    -----
    Tasks may run more than once: whose worker dies is run again. A task's own changes to a database are transactions
    of the worker.
    """

    supports_inner_max_num_threads = True
    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._options = _checked(options)
        self._calls: dict[str, Call] = {}
        self.parallel: Any = None

    # -- before a call

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many tasks run at a time. Raises ValueError for 0."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        n_jobs = -1 if n_jobs is None else int(n_jobs)
        if n_jobs < 0:
            n_jobs = max(self._slots() + 1 + n_jobs, 1)
        # joblib runs one job in the caller, which is neither elsewhere nor durable.
        special = self._options["durable"] or self._options["engine"] != "local"
        return max(n_jobs, 2) if special and not _is_nested() else n_jobs

    def configure(
        self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None, **options: Any
    ) -> int:
        self._options = _checked({**self._options, **{k: v for k, v in options.items() if k not in _IGNORED}})
        jobs = self.effective_n_jobs(n_jobs)
        if jobs == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        if _is_nested():
            raise FallbackToBackend(ThreadingBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        return jobs

    def _slots(self) -> int:
        if self._options["engine"] == "local":
            return int(cpu_count())
        return pool.of(self._options["engine"]).engine.slots

    # -- a call: joblib may have several at once on one backend object, told apart by who called

    def submit(self, func: Any, callback: Callable[[Job], object]) -> Job:
        if type(callback) is BatchCompletionCallBack:
            callback.__class__ = _Heard
        return self._call(callback).submit(func, callback)

    def retrieve_result_callback(self, job: Job) -> list[Any]:
        return job.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what runs for those who abort; workers that ran it are replaced."""
        self._end(lambda call: bool(call.parallel._aborting))

    def stop_call(self) -> None:
        self._end(lambda call: not call.parallel._running)

    def terminate(self) -> None:
        """The workers stay for the next call."""
        self.stop_call()
        self.reset_batch_stats()

    def batch_completed(self, batch_size: int, duration: float) -> None:
        super().batch_completed(batch_size, duration)
        for call in list(self._calls.values()):
            if call.bar is not None:
                call.bar.show()

    def _call(self, callback: Any) -> Call:
        parallel, number = callback.parallel, callback.parallel_call_id
        if number not in self._calls:
            if parallel._aborting or not parallel._running:  # an answer came while the call was being given up
                raise RuntimeError("this Parallel call has ended")
            self._calls[number] = self._new_call(parallel)
        return self._calls[number]

    def _new_call(self, parallel: Any) -> Call:
        options, jobs = self._options, parallel._cached_effective_n_jobs
        is_local = options["engine"] == "local"
        call = Call(
            pool.local(max(jobs, cpu_count())) if is_local else pool.of(options["engine"]),
            parallel,
            jobs=jobs,
            files=Files(parallel._backend_kwargs.get("max_nbytes"), parallel._backend_kwargs.get("mmap_mode")),
            environment=self._prepare_worker_env(jobs),
            patience=options["patience"],
            secret=bytes(multiprocessing.current_process().authkey) if is_local else None,
        )
        if options["durable"]:
            from wendelin.kernel.parallel.kept import Kept

            call.kept = Kept(options["key"], options["database"])
        call.bar = Bar.wanted(parallel, options["progress"])
        return call

    def _end(self, which: Callable[[Call], bool]) -> None:
        for number, call in list(self._calls.items()):
            if which(call):
                del self._calls[number]
                call.close()

    def __reduce__(self) -> Any:
        return WendelinBackend, (self.nesting_level, self.inner_max_num_threads)


class _Heard(BatchCompletionCallBack):
    """joblib looks for a pending batch each 10 ms; here it waits for it, and looks at others meanwhile."""

    def get_status(self, timeout: float | None) -> str:
        job = self.job
        if job is not None and self.status == TASK_PENDING:
            job.wait(_LOOK)
        return str(super().get_status(timeout))


_DEFAULTS: dict[str, Any] = {
    "engine": "local",
    "durable": False,
    "key": None,
    "database": None,
    "progress": None,
    "patience": 60.0,
}


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(options) - set(_DEFAULTS))
    if unknown:
        raise UsageError(f'the backend "wendelin" has no option {unknown[0]!r}; it has {", ".join(sorted(_DEFAULTS))}')
    found = {**_DEFAULTS, **options}
    if found["durable"] and not found["key"]:
        raise UsageError(
            "durable=True needs a name to find the results by: parallel_config(backend='wendelin', durable=True, "
            "key='my analysis')"
        )
    return found


def _is_nested() -> bool:
    """Whether this process is a worker, ours or another backend's: processes below processes would be too many."""
    return bool(work.is_worker or multiprocessing.current_process().daemon or process_executor._CURRENT_DEPTH > 0)
