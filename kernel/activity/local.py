"""Worker processes of this machine: the engine that needs nothing.

Why it is our own. loky, `multiprocessing` and `concurrent.futures` break the whole pool when one worker is killed, or
do not say which calls it had; they cannot end one running call; and their pipes copy arrays several times. Here

- each worker has one call more than it runs, so that it never waits; a call that waits behind a long one is taken back
  from the kernel and given to the worker that becomes free first, or whose turn it is when a worker dies;
- one thread per engine starts workers, hears from them and replaces them. Workers live as long as that thread: Linux
  kills them when it ends, however that comes about;
- `start` sends by itself, in the caller's thread, and never waits for a worker.

Linux only.
"""

from __future__ import annotations

import itertools
import logging
import os
import selectors
import socket
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from wendelin.kernel.activity import wire
from wendelin.kernel.activity.engine import Ended, NodeStatus, Task
from wendelin.kernel.activity.workers import LocalTask, Worker, describe_end
from wendelin.storage.arrays.interrupts import uninterrupted
from wendelin.storage.errors import EngineClosedError, WendelinError, WorkerLostError

log = logging.getLogger(__name__)

AHEAD = 2
"""Calls that a worker has at a time: one runs, one waits in its socket."""
ATTEMPTS = 3
"""Workers in a row that may end before they are ready, until calls that wait are given up."""


class LocalEngine:
    """Runs calls in `slots` worker processes of this machine; by default as many as this process may use processors.

    Workers start with the first calls and stay. They share this process's output, working directory and environment as
    of their start, and not its Ctrl-C. Cancelling a running call kills its worker. A forked child cannot use it.
    """

    def __init__(self, slots: int | None = None) -> None:
        self.slots = len(os.sched_getaffinity(0)) if slots is None else slots
        if self.slots < 1:
            raise ValueError(f"slots={slots}: an engine needs at least one worker, LocalEngine(slots=1)")
        self._pool = Pool(self.slots)
        weakref.finalize(self, self._pool.close)

    def start(self, call: Callable[..., Any], *args: Any) -> Task:
        """See `Engine.start`."""
        return self._pool.start(call, args)

    def wait(self, timeout: float) -> list[Task]:
        """See `Engine.wait`."""
        return self._pool.ended.wait(timeout)

    def wake(self) -> None:
        """See `Engine.wake`."""
        self._pool.ended.wake()

    def nodes(self) -> dict[str, NodeStatus]:
        """This machine, by its host name."""
        status = self._pool.status()
        return {status.name: status}

    def close(self) -> None:
        """See `Engine.close`. Also called when the engine is forgotten, and at the end of the program."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalEngine slots={self.slots} pids={self._pool.status().pids}>"


class Pool:
    """What an engine is made of; does not know it, so that a forgotten engine is closed."""

    def __init__(self, slots: int) -> None:
        self.ended = Ended()
        self._slots = slots
        self._name = socket.gethostname()
        self._owner = os.getpid()
        self._numbers = itertools.count(1)
        self._path: list[str] | None = None
        self._lock = threading.RLock()
        # All below only with the lock.
        self._pending: deque[LocalTask] = deque()  # may hold cancelled ones
        self._open = 0
        self._workers: list[Worker] = []
        self._size = 0
        self._early_ends = 0
        self._not_before = 0.0
        self._done = self._failed = 0
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._news = -1

    # -- from any thread

    def start(self, call: Callable[..., Any], args: tuple[Any, ...]) -> Task:
        self._refuse_closed()
        task = LocalTask(self, wire.name_of(call), next(self._numbers))
        path = list(sys.path)
        try:
            task.packet = wire.pack_call(call, args, None if self._path in (None, path) else path).keep()
        except (WendelinError, OSError, MemoryError) as error:
            task.end(error)
            self.ended.add(task)
            return task
        with uninterrupted(), self._lock:
            self._refuse_closed()
            self._path = self._path or path
            self._open += 1
            self._pending.append(task)
            self._assign()
            wanted = min(self._slots, self._open)
            if wanted > self._size:
                self._size = wanted
                self._call_thread()
        return task

    def cancel(self, task: LocalTask) -> None:
        with uninterrupted(), self._lock:
            if task.ended or self._owner != os.getpid():
                return
            worker = task.worker
            if worker is not None:
                self._pending.extendleft(reversed(worker.take_back()))
            if task.worker is None:
                self._end(task, task.end)
            else:
                task.is_cancelling = True
                task.worker.kill()
            self._assign()

    def status(self) -> NodeStatus:
        with self._lock:
            busy = sum(bool(worker.tasks) for worker in self._workers)
            pids = tuple(worker.pid for worker in self._workers)
            return NodeStatus(self._name, self._slots, busy, self._done, self._failed, pids)

    def close(self) -> None:
        if self._owner != os.getpid():
            return  # a forked child: all of it is the parent's
        with uninterrupted(), self._lock:
            self._is_closed = True
            thread = self._thread
            for task in [*self._pending, *(task for worker in self._workers for task in worker.tasks)]:
                if not task.ended:
                    self._end(task, task.end)
            self._pending.clear()
            for worker in self._workers:
                worker.kill()
            if thread is not None:
                self._wake_thread()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self.ended.close()

    def _refuse_closed(self) -> None:
        if self._owner != os.getpid():
            raise EngineClosedError(
                f"this engine belongs to process {self._owner}, and this is its forked child {os.getpid()}: make one "
                "here, LocalEngine()"
            )
        if self._is_closed:
            raise EngineClosedError("this engine was closed: make a new one, LocalEngine()")

    # -- with the lock

    def _assign(self) -> None:
        """Give calls that wait to the ready workers that have least to do."""
        ready = [worker for worker in self._workers if worker.is_ready]
        while self._pending and ready:
            task = self._pending[0]
            worker = min(ready, key=_load)
            if not task.ended and (len(worker.tasks) >= AHEAD or not self._send(worker, task)):
                return
            self._pending.popleft()

    def _send(self, worker: Worker, task: LocalTask) -> bool:
        try:
            return worker.send(task)
        except OSError as error:
            self._end(task, partial(task.end, error))
            return True

    def _level(self) -> None:
        """Calls that wait behind others go to workers that have nothing to do."""
        idle = [worker for worker in self._workers if worker.is_ready and not worker.tasks]
        for worker in self._workers if idle and not self._pending else ():
            if len(worker.tasks) > 1:
                self._pending.extend(worker.take_back())
                self._assign()

    def _end(self, task: LocalTask, how: Callable[[], object]) -> None:
        how()
        self._open -= 1
        task.worker = None
        if task.packet is not None:
            task.packet.close()
            task.packet = None
        self.ended.add(task)

    def _call_thread(self) -> None:
        if self._thread is None:
            self._news = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._thread = threading.Thread(target=self._serve, name="wendelin-engine", daemon=True)
            self._thread.start()
        self._wake_thread()

    def _wake_thread(self) -> None:
        if self._news >= 0:
            os.eventfd_write(self._news, 1)

    # -- the thread

    def _serve(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._news, selectors.EVENT_READ, lambda: os.eventfd_read(self._news))
        try:
            while not self._is_closed:
                patience = self._fill_up(selector)
                for key, _ in selector.select(patience):
                    key.data()
        except BaseException:
            log.exception("the thread of an engine failed: its calls are lost")
            raise
        finally:
            self._leave(selector)

    def _leave(self, selector: selectors.BaseSelector) -> None:
        """No process is left behind."""
        with self._lock:
            self._is_closed = True
            self._news, news = -1, self._news
            for worker in self._workers:
                lost = list(worker.tasks)
                worker.reap()
                for task in lost:
                    if not task.ended:
                        self._end(task, partial(task.end, WorkerLostError("the engine failed"), died=True))
            self._workers.clear()
            for task in self._pending:
                if not task.ended:
                    self._end(task, task.end)
        selector.close()
        os.close(news)
        self.ended.wake()

    def _fill_up(self, selector: selectors.BaseSelector) -> float | None:
        """Start workers that are lacking; the seconds until it should be called again."""
        while len(self._workers) < self._size and not self._is_closed:
            patience = self._not_before - time.monotonic()
            if patience > 0:
                return patience
            try:
                worker = Worker()
            except OSError as error:
                self._give_up(f"{error}: this machine starts no more processes")
                return None
            with self._lock:
                self._workers.append(worker)
            selector.register(worker.answers, selectors.EVENT_READ, partial(self._hear, selector, worker))
            if worker.end is not None:
                selector.register(worker.end, selectors.EVENT_READ, partial(self._lose, selector, worker))
        return None

    def _hear(self, selector: selectors.BaseSelector, worker: Worker) -> None:
        """A worker has answered, or ended."""
        if worker.is_gone:
            return
        try:
            message = worker.answer()
        except BlockingIOError:
            return
        if message is None:
            self._lose(selector, worker)
            return
        with self._lock:
            self._take(worker, *message)
            self._assign()
            if not worker.tasks:
                self._level()

    def _take(self, worker: Worker, kind: bytes, number: int, content: wire.Content) -> None:
        if kind == wire.READY:
            worker.is_ready = True
            self._early_ends = 0
            return
        if kind == wire.NOTE:
            if worker.tasks and worker.tasks[0].number == number:  # not one that came late
                worker.tasks[0].note = wire.outcome(wire.DONE, content)[1]
            return
        task = worker.tasks.popleft()
        assert task.number == number
        worker.begin()
        if kind == wire.DONE:
            self._done += 1
        else:
            self._failed += 1
        if not task.ended:  # closed meanwhile
            self._end(task, partial(task.answered, partial(wire.outcome, kind, content), self._name))

    def _lose(self, selector: selectors.BaseSelector, worker: Worker) -> None:
        """A process has ended: what it answered counts, what it had not begun goes to others."""
        if worker.is_gone:
            return
        with self._lock:
            try:
                while (message := worker.answer()) is not None:
                    self._take(worker, *message)
            except BlockingIOError:
                pass
            not_begun = worker.take_back()
            selector.unregister(worker.answers)
            if worker.end is not None:
                selector.unregister(worker.end)
            end = describe_end(worker.reap())
            self._workers.remove(worker)
            for task in worker.tasks:
                self._lost(worker, task, end)
            self._pending.extendleft(reversed(not_begun))
            if not worker.is_ready:
                self._ended_early(end)
            self._assign()

    def _lost(self, worker: Worker, task: LocalTask, end: str) -> None:
        if task.ended:
            return
        task.node = self._name
        if task.is_cancelling:
            self._end(task, task.end)
            return
        self._failed += 1
        error = WorkerLostError(
            f"the worker process {worker.pid} ended ({end}) while it ran {task.name}, which may have had effects. If "
            "nobody killed it, memory ran out (see the system's log) or compiled code crashed (see its output)"
        )
        self._end(task, partial(task.end, error, died=True))

    def _ended_early(self, end: str) -> None:
        self._early_ends += 1
        self._not_before = time.monotonic() + min(2.0, 0.05 * 2**self._early_ends)
        if self._early_ends >= ATTEMPTS and not end.startswith("killed"):
            self._give_up(f"{ATTEMPTS} workers in a row ended before they were ready ({end}); see their output")

    def _give_up(self, why: str) -> None:
        """No workers: calls that wait would wait for ever."""
        with self._lock:
            self._size, self._early_ends = len(self._workers), 0
            for task in self._pending if not self._workers else ():
                if not task.ended:
                    self._failed += 1
                    self._end(task, partial(task.end, WorkerLostError(f"{task.name} was not run: {why}")))
            if not self._workers:
                self._pending.clear()


def _load(worker: Worker) -> int:
    return len(worker.tasks)
