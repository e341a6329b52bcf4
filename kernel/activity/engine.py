"""The contract of engines: what runs calls in other processes, and forgets everything when it is closed.

The database is the truth and an engine is disposable: it runs each call at most once, says how it ended, and repeats
nothing by itself. All engines pass `tests/kernel/activity/test_engine.py`.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, Protocol

from wendelin.storage.arrays.interrupts import uninterrupted

Outcome = tuple[BaseException | None, Any]
"""What a call raised, or None and what it returned."""


@dataclass(frozen=True)
class NodeStatus:
    """What one node of an engine does now, and what it did since the engine began."""

    name: str
    slots: int
    """Calls that it runs at a time."""
    busy: int
    done: int
    """Calls that returned."""
    failed: int
    """Calls that raised, or whose worker was lost."""
    pids: tuple[int, ...]
    """Worker processes, as numbers on that node; only those that are known."""


class Task:
    """A call that an engine was given. All of it may be read, and `cancel` called, in any thread.

    When it has `ended`, it was `cancelled`, or its worker `died`, or the call raised (`error`), or it returned
    (`error` is None, `result`). What came back is unpickled when it is first asked for.
    """

    #: Whether `note` is the last word even of a call whose worker died.
    tells_all = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.node = ""
        self.began = 0.0
        """When a worker began with it, in seconds since 1970; 0.0 before."""
        self.over = 0.0
        """When it ended."""
        self.note: Any = None
        """What the running call said last of itself, through `wendelin.storage.activities.progress.carrier`."""
        self.ended = False
        self.cancelled = False
        self.died = False
        """Whether the worker process was lost (kill -9, out of memory) with this call, which may have had effects."""
        self._outcome: Outcome = (None, None)
        self._unpack: Callable[[], Outcome] | None = None
        self._reading = threading.Lock()

    def cancel(self) -> None:
        """End it soon as `cancelled`, whatever it is doing; a call that ends meanwhile keeps its result."""
        raise NotImplementedError

    @property
    def error(self) -> BaseException | None:
        """What the call raised, with the worker's traceback as its cause; CancelledError; WorkerLostError; or None."""
        return self._read()[0]

    @property
    def result(self) -> Any:
        """What the call returned; None when there is an `error`, or before the end."""
        return self._read()[1]

    def end(self, error: BaseException | None = None, *, died: bool = False) -> None:
        """For engines: it has ended without an answer of a worker; no error means that it was cancelled."""
        self._outcome = (error or CancelledError(f"{self.name} was cancelled"), None)
        self.cancelled, self.died, self.over = error is None, died, time.time()
        self.ended = True

    def answered(self, unpack: Callable[[], Outcome], node: str) -> None:
        """For engines: a worker's answer has come; `unpack` gives it, and raises nothing."""
        self._unpack, self.node, self.over = unpack, node, time.time()
        self.ended = True

    def _read(self) -> Outcome:
        if self._unpack is not None:
            with self._reading:
                if self._unpack is not None:
                    self._outcome = self._unpack()
                    self._unpack = None
        return self._outcome

    def __repr__(self) -> str:
        if not self.ended:
            state = "not ended"
        elif self.cancelled or self.died:
            state = "cancelled" if self.cancelled else "worker died"
        else:
            state = "ended"
        return f"<Task {self.name}: {state}>"


class Engine(Protocol):
    """Runs calls in worker processes. Every method may be called in any thread."""

    @property
    def slots(self) -> int:
        """How many calls run at a time; a cluster's may change. More are kept until there is room."""

    def start(self, call: Callable[..., Any], *args: Any) -> Task:
        """Hand `call(*args)` to a worker and return at once; it runs at most once.

        Both are pickled before this returns, functions of `__main__` by value and persistent arrays by reference. What
        cannot be pickled gives a task that has ended with the error. Raises `EngineClosedError` after `close`.
        """

    def wait(self, timeout: float) -> list[Task]:
        """The tasks that ended since the last call; waits until there are some, or gives [] after `timeout` seconds.

        Each task is given once, to one of the threads that wait. A KeyboardInterrupt may take some with it: their
        `ended` still says so.
        """

    def wake(self) -> None:
        """Let `wait` return now, the next one if nobody waits."""

    def nodes(self) -> dict[str, NodeStatus]:
        """The nodes by name."""

    def close(self) -> None:
        """End all workers; tasks that have not ended become cancelled. No process is left behind. Again: nothing."""


class Ended:
    """The tasks of an engine that ended and were not returned yet, and who waits for them.

    Ctrl-C reaches the main thread only, and within the methods of a `Condition`, which are Python, it would leave its
    lock taken for ever. So the main thread holds that lock only while interrupts wait, and waits for a descriptor.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tasks: list[Task] = []
        self._wakes = self._heard = 0
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._hang_up = weakref.finalize(self, os.close, self._bell)

    def add(self, task: Task) -> None:
        """One more has ended."""
        with uninterrupted(), self._changed:
            self._tasks.append(task)
            self._changed.notify()
            self._ring()

    def wake(self) -> None:
        """Let all that wait return, or else the next one."""
        with uninterrupted(), self._changed:
            self._wakes += 1
            self._changed.notify_all()
            self._ring()

    def close(self) -> None:
        """Give the descriptor back; nobody is kept waiting any more."""
        self.wake()
        with uninterrupted(), self._changed:
            self._hang_up()
            self._bell = -1

    def _ring(self) -> None:
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)

    def wait(self, timeout: float) -> list[Task]:
        """As `Engine.wait`."""
        if threading.current_thread() is threading.main_thread():
            return self._wait_interruptibly(timeout)
        with self._changed:
            before = self._before()
            self._changed.wait_for(lambda: self._tasks or self._wakes != before, timeout)
            return self._take()

    def _wait_interruptibly(self, timeout: float) -> list[Task]:
        deadline = time.monotonic() + timeout
        before: int | None = None
        while True:
            with uninterrupted(), self._changed:
                before = self._before() if before is None else before
                left = deadline - time.monotonic()
                if self._tasks or self._wakes != before or left <= 0 or self._bell < 0:
                    return self._take()
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
            bell = select.poll()
            bell.register(self._bell, select.POLLIN)
            bell.poll(1000 * left)

    def _before(self) -> int:
        return self._heard if self._wakes != self._heard else self._wakes

    def _take(self) -> list[Task]:
        self._heard = self._wakes
        ended, self._tasks = self._tasks, []
        return ended
