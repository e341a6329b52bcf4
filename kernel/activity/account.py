"""What a dispatcher has done, in numbers; and its state for those who watch. No Jupyter, no Prometheus."""

from __future__ import annotations

import bisect
import os
import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wendelin.kernel.activity.dispatcher import Dispatcher
    from wendelin.kernel.activity.engine import Task
    from wendelin.storage.activities.order import Item

#: Seconds over which a rate is taken.
RATE_SECONDS = 10

#: Failed activities that a report names.
MOST_FAILED = 100

_LATENCY = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600)
_RUN = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600)


class Histogram:
    """Counts of values up to each of some bounds, and their sum. One thread adds."""

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """`times` values."""
        self.counts[bisect.bisect_left(self.bounds, value)] += times
        self.sum += value * times


class Account:
    """Counts of one dispatcher since it began; one thread writes, any may read.

    `started`: runs handed to workers. `finished`: activities that ended. `failed`: runs that raised. `conflicts`: runs
    given up for later because of conflicts. `died`: activities that a worker had when it died. `given_up`: activities
    that failed for good. `waited`: seconds from the commit to the begin of the first run, of those that wait for
    nothing else. `ran`: seconds of a run; those of a group share its time.
    """

    def __init__(self) -> None:
        self.since = time.time()
        self.started = self.finished = self.failed = self.conflicts = self.died = self.given_up = 0
        self.waited, self.ran = Histogram(_LATENCY), Histogram(_RUN)
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_SECONDS + 1)

    def start(self, items: list[Item]) -> None:
        """Some are handed over."""
        self.started += len(items)

    def back(self, task: Task, items: list[Item]) -> None:
        """A call of a worker has come back."""
        if task.died:
            self.died += len(items)
        if not task.began or task.cancelled or task.died:
            return
        self.ran.add(max(0.0, task.over - task.began) / len(items), len(items))
        for item in items:
            if item.committed:
                self.waited.add(max(0.0, task.began - item.committed))
                item.committed = 0.0

    def note(self, kind: str) -> None:
        """What became of one; see `wendelin.storage.activities.run.Outcome`."""
        if kind == "ended":
            self.finished += 1
            now = int(time.time())
            if self._seconds and self._seconds[-1][0] == now:
                self._seconds[-1] = (now, self._seconds[-1][1] + 1)
            else:
                self._seconds.append((now, 1))
        elif kind == "conflict":
            self.conflicts += 1
        else:
            self.failed += 1
            self.given_up += kind == "failed"

    def rate(self) -> float:
        """Activities that ended, a second, over the last whole seconds."""
        now = int(time.time())
        length = min(RATE_SECONDS, max(1, int(time.time() - self.since)))
        return sum(count for second, count in list(self._seconds) if now - length <= second < now) / length


def report(dispatcher: Dispatcher) -> dict[str, Any]:
    """The state of a dispatcher, as plain data that JSON takes; read in any thread, while it works."""
    account, engine = dispatcher.account, dispatcher.engine
    items = list(dispatcher.items)
    now = time.time()
    tasks = [_running(task, some) for task, some in dispatcher.tasks if task.began and not task.ended]
    failed = [item for item in items if item.failed]
    running = sum(len(task["uids"]) for task in tasks)
    return {
        "node": dispatcher.node,
        "pid": os.getpid(),
        "leads": dispatcher.leads,
        "since": account.since,
        "counts": {
            "running": running,
            "waiting": len(items) - running - len(failed),
            "later": sum(item.not_before > now for item in items if not item.failed),
            "failed": len(failed),
        },
        "totals": {
            name: getattr(account, name) for name in ("started", "finished", "failed", "conflicts", "died", "given_up")
        },
        "rate": account.rate(),
        "running": tasks,
        "failures": [item.oid.hex() for item in failed[:MOST_FAILED]],
        "nodes": [{**vars(node), "pids": list(node.pids)} for node in engine.nodes().values()],
    }


def _running(task: Task, items: list[Item]) -> dict[str, Any]:
    first = items[0]
    return {
        "uids": [item.uid for item in items],
        "what": f"{first.path}.{first.method_id}" if first.path else first.method_id,
        "title": first.options.progress,
        "tag": first.options.tag,
        "node": task.node,
        "since": task.began,
        "said": task.note,
    }
