"""One `Parallel` call: its batches on their way to workers and back.

- A batch whose worker died is given out again, and now says which task it begins. When its worker dies once more, that
  task goes alone, and fails with its name if it kills a third one; the others never hear of it. Where nobody can say
  which it was, all go one by one.
- That no worker is left at all (a scheduler was killed) is no task's fault: what was lost waits until one is back.
- So many batches as the call has jobs are with the engine at a time (twice as many, when it has all workers: the next
  one then waits at the worker).
"""

from __future__ import annotations

import logging
import reprlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pickle import PicklingError
from typing import TYPE_CHECKING, Any

from wendelin.kernel.parallel import work
from wendelin.kernel.parallel.files import Files, NodeFile, NotHereError
from wendelin.kernel.parallel.pickling import dumps, loads
from wendelin.storage.errors import ServerGoneError, WendelinError, WorkerDiedError

if TYPE_CHECKING:
    from wendelin.kernel.activity.engine import Task
    from wendelin.kernel.parallel.kept import Kept
    from wendelin.kernel.parallel.pool import Pool
    from wendelin.kernel.parallel.progress import Bar

log = logging.getLogger(__name__)

#: Deaths of a worker after which a task is given up; its batch is taken apart one before.
TRIES = 3

_Item = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Job:
    """One batch: joblib's future. `results` has a place for each task."""

    def __init__(self, call: Call, batch: Any, first: int, callback: Callable[[Job], object]) -> None:
        self.call, self.first, self._callback = call, first, callback
        self.items: list[_Item] = batch.items
        self.nested = (batch._backend, batch._n_jobs)
        self.results: list[Any] = [None] * len(self.items)
        self.missing = len(self.items)
        self.keys: list[str] = []
        self.error: BaseException | None = None
        self._told = False
        self._ended = threading.Lock()
        self._ended.acquire()

    def wait(self, seconds: float) -> None:
        """Until it has ended; for one thread. A plain lock: Ctrl-C within a condition's methods would break it."""
        self._ended.acquire(timeout=seconds)

    def result(self) -> list[Any]:
        """The results of all tasks; raises the error of the first one that failed."""
        if self.error is not None:
            raise self.error
        return self.results

    def take(self, numbers: Sequence[int], results: Sequence[Any]) -> None:
        for number, result in zip(numbers, results, strict=True):
            self.results[number] = result
        self.missing -= len(numbers)
        if not self.missing:
            self._tell()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self._tell()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self.items = []
            try:
                self._callback(self)
            finally:
                self._ended.release()


class Part:
    """Some tasks of a job, given to the engine as one. `files` live as long as the pickle needs them."""

    def __init__(self, job: Job, numbers: list[int], data: bytes, files: list[NodeFile]) -> None:
        self.job, self.numbers, self.data, self.files = job, numbers, data, files
        self.deaths = self.uploads = 0
        self.task: Task | None = None

    def apart(self, guilty: int | None) -> list[Part]:
        """The task at that place for itself, and the others; each for itself where none is known."""
        if guilty is None:
            groups = [[number] for number in self.numbers]
        else:
            groups = [[self.numbers[guilty]], self.numbers[:guilty] + self.numbers[guilty + 1 :]]
        parts = [self.job.call.part(self.job, numbers) for numbers in groups if numbers]
        for part in parts if guilty is None else parts[:1]:
            part.deaths = self.deaths
        return parts

    @property
    def name(self) -> str:
        """What a person would call a single task."""
        number = self.numbers[0]
        function, args, kwargs = self.job.items[number]
        words = [_short(value) for value in args] + [f"{name}={_short(value)}" for name, value in kwargs.items()]
        name = getattr(function, "__qualname__", None) or type(function).__name__
        return f"task {self.job.first + number}, {name}({', '.join(words)})"


def _short(value: Any) -> str:
    try:
        return reprlib.repr(value)
    except Exception:  # noqa: BLE001 - somebody's repr
        return type(value).__name__


class Call:
    """One call of a `Parallel` object. Safe in threads."""

    def __init__(
        self,
        pool: Pool,
        parallel: Any,
        *,
        jobs: int,
        files: Files,
        environment: dict[str, str],
        patience: float,
        secret: bytes | None = None,
    ) -> None:
        self.pool, self.parallel, self.files = pool, parallel, files
        self.kept: Kept | None = None
        self.bar: Bar | None = None
        self._limit = jobs if jobs < pool.engine.slots else 2 * jobs
        self._environment, self._patience, self._secret = environment, patience, secret
        self._queue: deque[Part] = deque()
        self._out: set[Part] = set()
        self._count = 0
        self._ended = False
        self._lost_since: float | None = None

    def submit(self, batch: Any, callback: Callable[[Job], object]) -> Job:
        """Send a batch. It never raises: what goes wrong reaches joblib through `callback`, in the pool's thread."""
        job = Job(self, batch, self._count, callback)
        self._count += len(batch)
        try:
            missing = list(range(len(batch))) if self.kept is None else self.kept.find(job)
            part = self.part(job, missing) if missing else None
        except Exception as error:  # noqa: BLE001 - handed to the caller
            self.pool.soon(partial(job.fail, error))
            return job
        if part is None:
            self.pool.soon(partial(job.take, [], []))
        else:
            self._give([part])
        return job

    def part(self, job: Job, numbers: list[int]) -> Part:
        """Some tasks of a job, pickled."""
        items = [job.items[number] for number in numbers]
        try:
            data, files = dumps(work.Batch(items, job.nested, self._environment), self.files)
        except WendelinError:
            raise
        except Exception as error:
            raise PicklingError(
                f"Could not pickle the task to send to the workers: {type(error).__name__}: {error}"
            ) from error
        return Part(job, numbers, data, files)

    def cancel(self) -> None:
        """End what runs, by force, and forget what waits."""
        with self.pool.lock:
            self._ended = True
            self._queue.clear()
            tasks = [part.task for part in self._out if part.task is not None]
            self._out.clear()
        self.pool.cancel(tasks)
        self.files.clear()

    def close(self) -> None:
        """The call is over: nothing runs any more, or what runs is of no use."""
        self.cancel()
        if self.kept is not None:
            self.kept.close()
        if self.files.uploads is not None:
            self.files.uploads.close()
        if self.bar is not None:
            self.bar.show(last=True)

    # -- to the engine and back

    def _give(self, parts: list[Part], *, first: bool = False) -> None:
        with self.pool.lock:
            if self._ended:
                return
            if first:
                self._queue.extendleft(reversed(parts))
            else:
                self._queue.extend(parts)
        self._fill()

    def _fill(self) -> None:
        with self.pool.lock:
            while self._queue and len(self._out) < self._limit and not self._ended:
                part = self._queue.popleft()
                self._out.add(part)
                try:
                    part.task = self.pool.start(
                        partial(self._over, part), work.run, part.data, self._secret, part.deaths > 0
                    )
                except Exception as error:  # noqa: BLE001 - handed to the caller
                    self._out.discard(part)
                    self.pool.soon(partial(part.job.fail, error))

    def _over(self, part: Part, task: Task) -> None:
        """The engine has ended with a part; in the pool's thread."""
        with self.pool.lock:
            self._out.discard(part)
            part.task = None
            if self._ended:
                return
        if task.died:
            self._died(part, task.note if task.tells_all else None)
        else:
            self._lost_since = None
            self._answered(part, task)
        self._fill()

    def _answered(self, part: Part, task: Task) -> None:
        if task.error is not None:
            part.job.fail(task.error)
            return
        try:
            well, data = task.result
            results = loads(data) if well else work.error_of(data)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            part.job.fail(error)
            return
        if isinstance(results, NotHereError) and part.uploads < TRIES:
            self._upload(part)
            return
        if isinstance(results, BaseException):
            part.job.fail(results)
            return
        if self.kept is not None:
            self._keep(part, results)
        part.job.take(part.numbers, results)

    def _upload(self, part: Part) -> None:
        """A worker elsewhere cannot open the files of a part: send it again with them."""
        from wendelin.kernel.parallel.upload import Uploads

        try:
            if self.files.uploads is None:
                self.files.uploads = Uploads(self.pool.engine)
            else:
                self.files.uploads.spread(part.files)
            again = self.part(part.job, part.numbers)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            part.job.fail(error)
            return
        again.uploads = part.uploads + 1
        self._give([again], first=True)

    def _keep(self, part: Part, results: list[Any]) -> None:
        assert self.kept is not None
        try:
            self.kept.store([part.job.keys[number] for number in part.numbers], results)
        except Exception:
            log.exception("the results of a batch could not be kept; they are given back all the same")

    # -- deaths

    def _died(self, part: Part, guilty: int | None) -> None:
        if not self.pool.engine.nodes():
            self._lost(part)
            return
        part.deaths += 1
        if part.deaths < TRIES - (len(part.numbers) > 1):
            self._give([part], first=True)
        elif len(part.numbers) > 1:
            try:
                self._give(part.apart(guilty), first=True)
            except Exception as error:  # noqa: BLE001 - handed to the caller
                part.job.fail(error)
        else:
            part.job.fail(
                WorkerDiedError(
                    f"the worker that ran {part.name} died {TRIES} times. It may need more memory than there is (the "
                    "system's log then says so), or crash in compiled code: run it alone, with n_jobs=1, to see"
                )
            )

    def _lost(self, part: Part) -> None:
        """No worker is left: try again when there is one."""
        now = time.monotonic()
        if self._lost_since is None:
            self._lost_since = now
        if now - self._lost_since < self._patience:
            self.pool.later(partial(self._back, part))
            return
        part.job.fail(
            ServerGoneError(
                f"no worker came back within {self._patience:g} s: start the scheduler and its workers, or give "
                "parallel_config(…, patience=seconds) more time"
            )
        )

    def _back(self, part: Part) -> None:
        if self.pool.engine.nodes():
            self._give([part], first=True)
        elif not self._ended:
            self._lost(part)
