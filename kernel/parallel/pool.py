"""An engine, and the thread that hears from it what ended; the engines of this process.

All callbacks of joblib run in that thread, one at a time: they also send the next batch. It must outlive any error in
one of them.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.kernel.activity.engine import Engine, Task

log = logging.getLogger(__name__)

#: Seconds after which the thread looks for itself, should an engine not have woken it.
_LOOK = 1.0

#: Seconds between looks for workers when an engine has lost all.
_RETRY = 0.2


class Pool:
    """Gives calls to one engine and hears from it. Safe in threads.

    `foreign`: the engine is somebody else's. It is not closed, and listened to only while something runs.
    """

    def __init__(self, engine: Engine, *, foreign: bool = False) -> None:
        self.engine = engine
        self.lock = threading.RLock()
        self._foreign = foreign
        self._running: dict[int, tuple[Task, Callable[[Task], object]]] = {}
        self._soon: deque[Callable[[], object]] = deque()
        self._later: list[tuple[float, Callable[[], object]]] = []
        self._thread: threading.Thread | None = None
        self._closed = False

    def start(self, ended: Callable[[Task], object], call: Callable[..., Any], *args: Any) -> Task:
        """Run `call(*args)` in a worker; `ended(task)` is called in the thread of this pool."""
        with self.lock:
            if self._closed:
                raise RuntimeError("the workers of this process were closed meanwhile: call Parallel again")
            task = self.engine.start(call, *args)
            self._running[id(task)] = task, ended
            self._listen()
        return task

    def soon(self, call: Callable[[], object]) -> None:
        """Call something in the thread of this pool."""
        with self.lock:
            self._soon.append(call)
            self._listen()
        self.engine.wake()

    def later(self, call: Callable[[], object]) -> None:
        """Call something in the thread of this pool, after a moment."""
        with self.lock:
            self._later.append((time.monotonic() + _RETRY, call))
            self._listen()
        self.engine.wake()

    def cancel(self, tasks: list[Task]) -> None:
        """End tasks, those that run by force; nobody is told of their end."""
        with self.lock:
            for task in tasks:
                self._running.pop(id(task), None)
        for task in tasks:
            task.cancel()

    def close(self) -> None:
        """End the engine, unless it is somebody else's, with all that runs."""
        with self.lock:
            self._closed = True
            thread, self._thread = self._thread, None
            tasks = [task for task, _ in self._running.values()]
        self.cancel(tasks)
        self.engine.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        if not self._foreign:
            self.engine.close()

    # -- the thread

    def _listen(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="wendelin-parallel", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._done():
            found = deque(self.engine.wait(self._patience()))
            while found:
                self._hear(found.popleft())  # held no longer than it takes: a task may hold large arrays
            self._due()

    def _hear(self, task: Task) -> None:
        with self.lock:
            known = self._running.pop(id(task), None)
        if known is not None:
            _guarded(partial(known[1], task))

    def _done(self) -> bool:
        with self.lock:
            idle = self._foreign and not (self._running or self._soon or self._later)
            if idle and self._thread is threading.current_thread():
                self._thread = None
            return self._closed or idle

    def _patience(self) -> float:
        with self.lock:
            if self._soon:
                return 0.0
            return max(0.0, min([_LOOK, *(at - time.monotonic() for at, _ in self._later)]))

    def _due(self) -> None:
        with self.lock:
            now = time.monotonic()
            self._soon.extend(call for at, call in self._later if at <= now)
            self._later = [some for some in self._later if some[0] > now]
        while self._soon:
            _guarded(self._soon.popleft())


def _guarded(call: Callable[[], object]) -> None:
    try:
        call()
    except BaseException:  # what a task iterator or a user's progress raises must not end the thread
        log.exception("an answer of a worker could not be taken")


# -- the engines of this process

_lock = threading.RLock()
_local: Pool | None = None
_owner = os.getpid()
_remote: dict[str, Pool] = {}
_foreign: weakref.WeakKeyDictionary[Any, Pool] = weakref.WeakKeyDictionary()


def local(slots: int) -> Pool:
    """The pool of this process's own workers, started at first use; replaced by a larger one when that is asked for."""
    global _local
    with _lock:
        _forget_inherited()
        if _local is not None and _local.engine.slots < slots and not _local._running:
            _local.close()
            _local = None
        if _local is None:
            _local = Pool(_local_engine(slots))
        return _local


def _local_engine(slots: int) -> Engine:
    from wendelin.kernel.activity.local import LocalEngine

    return LocalEngine(slots)


def of(engine: Any) -> Pool:
    """The pool of an engine by what `parallel_config(engine=…)` was given: an address, a Dask client, an Engine."""
    with _lock:
        _forget_inherited()
        if all(hasattr(engine, name) for name in ("start", "wait", "wake")):
            if engine not in _foreign:
                _foreign[engine] = Pool(engine, foreign=True)
            return _foreign[engine]
        address = engine if isinstance(engine, str) else _address(engine)
        if address not in _remote:
            _remote[address] = Pool(_dask_engine(engine))
        return _remote[address]


def _address(client: Any) -> str:
    """Of a Dask client's or cluster's scheduler; raises TypeError for anything else."""
    scheduler = getattr(client, "scheduler", None)
    found = getattr(client, "scheduler_address", None) or getattr(scheduler, "address", None)
    if not isinstance(found, str):
        raise TypeError(
            f"engine={client!r} is no place to run tasks: give 'local', the address of a Dask scheduler, a "
            "distributed.Client, or an Engine"
        )
    return found


def _dask_engine(where: Any) -> Engine:
    from wendelin.kernel.activity.cluster import DaskEngine

    return DaskEngine(where)


def _forget_inherited() -> None:
    """A forked child has neither the parent's threads nor its workers."""
    global _owner, _local, _remote, _foreign
    if _owner != os.getpid():
        _owner, _local, _remote, _foreign = os.getpid(), None, {}, weakref.WeakKeyDictionary()


def close() -> None:
    """End all engines of this process that are its own."""
    global _local
    with _lock:
        _forget_inherited()
        pools = [*([] if _local is None else [_local]), *_remote.values(), *_foreign.values()]
        _local = None
        _remote.clear()
        _foreign.clear()
    for pool in pools:
        pool.close()


atexit.register(close)
