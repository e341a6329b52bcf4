"""Workers of a Dask cluster: what a link knows of each, and what runs in them."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from typing import TYPE_CHECKING, Any

from distributed import get_worker

from wendelin.kernel.activity import wire
from wendelin.kernel.activity.engine import NodeStatus

if TYPE_CHECKING:
    from wendelin.kernel.activity.link import DaskTask

NOTES = "wendelin-notes"
"""The topic of the scheduler's events on which calls say how far they are."""


class Node:
    """One worker: its threads, what it runs, and what it did."""

    def __init__(self, address: str, info: dict[str, Any]) -> None:
        self.address = address
        name = info.get("name")
        self.name = address if name in (None, "") else str(name)
        self.has_nanny = bool(info.get("nanny"))
        self.tasks: set[DaskTask] = set()
        self.is_condemned = self.is_gone = False
        self.done = self.failed = 0
        self.pid: int | None = None
        self.renew(info)

    def renew(self, info: dict[str, Any]) -> None:
        """What the scheduler says of it now."""
        self.slots = int(info["nthreads"])
        self.accepts = info.get("status", "running") == "running"

    @property
    def room(self) -> int:
        """How many calls more its threads take; far below zero when it takes none."""
        return self.slots - len(self.tasks) if self.accepts and not self.is_condemned else -(2**30)

    def status(self) -> NodeStatus:
        """As `Engine.nodes` gives it."""
        pids = () if self.pid is None else (self.pid,)
        busy = min(self.slots, len(self.tasks))
        return NodeStatus(self.name, self.slots, busy, self.done, self.failed, pids)

    async def learn_pid(self, client: Any) -> None:
        """Ask for its process number."""
        with contextlib.suppress(Exception):  # it may be gone already
            self.pid = (await client.run(os.getpid, workers=[self.address])).get(self.address)


def run(data: bytes, key: str) -> tuple[bytes, bytes]:
    """Run in a worker: a call, and what it says of itself meanwhile."""
    worker = get_worker()
    return wire.answer_bytes(data, lambda word: worker.log_event(NOTES, (key, pickle.dumps(word))))


def kill_this() -> None:
    """Run in a worker: end its process."""
    os.kill(os.getpid(), signal.SIGKILL)
