"""A dispatcher's own engine and the nodes that joined it, as one engine.

While it is alone it hands everything through. With others, calls wait here, and whoever has room gets the next one; one
that names a node goes there only. A node that is gone, or silent, takes with it what it had: that has `died`.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from wendelin.kernel.activity import wire
from wendelin.kernel.activity.engine import Engine, NodeStatus, Task
from wendelin.storage.activities.report import LINE_ERRORS
from wendelin.storage.errors import WendelinError, WorkerLostError

log = logging.getLogger(__name__)

#: Beside `wire`'s kinds: end a call; a call was ended; its worker died; a node's state, or that this side lives; the
#: node's workers are known already.
CANCEL, CANCELLED, DIED, BEAT, KNOWN = b"x", b"k", b"l", b"b", b"z"

#: Seconds between two signs of life on a line, and after which silence means that the other side is gone.
BEAT_SECONDS, SILENCE_SECONDS = 0.5, 4.0

#: Calls for each slot of the own engine: the next one waits at its worker.
_OWN_AHEAD = 2


class FleetTask(Task):
    """A call of a fleet that is not alone."""

    def __init__(self, fleet: Fleet, number: int, node: str, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.inner: Task | None = None
        super().__init__(wire.name_of(call))
        self.number, self.wanted, self.call, self.args = number, node, call, args
        self.member: Member | None = None
        self._fleet = fleet

    @property
    def note(self) -> Any:
        """Of the own engine's task, where that has it."""
        return self._note if self.inner is None else self.inner.note

    @note.setter
    def note(self, word: Any) -> None:
        self._note = word

    @property
    def began(self) -> float:
        """Of the own engine's task, where that has it."""
        return self._began if self.inner is None else self.inner.began

    @began.setter
    def began(self, seconds: float) -> None:
        self._began = seconds

    def cancel(self) -> None:
        """As the engine that has it does it."""
        self._fleet.cancel(self)


class Member:
    """A node that joined: its line, and what it has."""

    def __init__(self, line: Connection, name: str, slots: int, place: str) -> None:
        self.line, self.name, self.slots, self.place = line, name, slots, place
        self.tasks: dict[int, FleetTask] = {}
        self.done = self.failed = 0
        self.pids: tuple[int, ...] = ()
        self.heard = time.monotonic()
        self._lock = threading.Lock()

    def send(self, kind: bytes, number: int = 0, data: bytes = b"") -> None:
        """Raises one of `LINE_ERRORS`."""
        with self._lock:
            self.line.send_bytes(wire.framed(kind, number, data))

    def status(self) -> NodeStatus:
        """As `Engine.nodes` gives it."""
        return NodeStatus(self.name, self.slots, len(self.tasks), self.done, self.failed, self.pids)


class Fleet:
    """The engine of a dispatcher. `name`: its own node's; `secret`: an argument that is not sent to other nodes."""

    def __init__(self, own: Engine, name: str, secret: str = "") -> None:
        self.own, self._name, self._secret = own, name, secret
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._members: dict[str, Member] = {}
        self._pending: deque[FleetTask] = deque()
        self._own: dict[Task, FleetTask | None] = {}
        self._ended: list[Task] = []
        self._is_closed = False

    @property
    def slots(self) -> int:
        """See `Engine.slots`."""
        return self.own.slots + sum(member.slots for member in list(self._members.values()))

    @property
    def names(self) -> set[str]:
        """Of the nodes that are there."""
        return {self._name, *self._members}

    def nodes(self) -> dict[str, NodeStatus]:
        """See `Engine.nodes`."""
        return {**self.own.nodes(), **{name: member.status() for name, member in list(self._members.items())}}

    def start(self, call: Callable[..., Any], *args: Any) -> Task:
        """See `Engine.start`."""
        return self.start_on("", call, *args)

    def start_on(self, node: str, call: Callable[..., Any], *args: Any) -> Task:
        """As `start`, on the node of that name; "" is any. It ends as cancelled when that node leaves first."""
        with self._lock:
            if (not self._members and node in ("", self._name)) or self._is_closed:  # closed: the own one refuses it
                task = self.own.start(call, *args)
                self._own[task] = None
                return task
            waiting = FleetTask(self, next(self._numbers), node, call, args)
            if node and node not in self.names:
                self._end(waiting)
                return waiting
            self._pending.append(waiting)
            self._assign()
            return waiting

    def wait(self, timeout: float) -> list[Task]:
        """See `Engine.wait`."""
        found = self.own.wait(0 if self._ended else timeout)
        with self._lock:
            out: list[Task] = []
            for task in found:
                outer = self._own.pop(task, None)
                if outer is not None:
                    _mirror(task, outer)
                out.append(outer or task)
            self._assign()
            out += self._ended
            self._ended = []
            return out

    def wake(self) -> None:
        """See `Engine.wake`."""
        self.own.wake()

    def close(self) -> None:
        """See `Engine.close`; those that joined end what they had and go on by themselves."""
        with self._lock:
            self._is_closed = True
            for task in [
                *self._pending,
                *(task for member in self._members.values() for task in member.tasks.values()),
            ]:
                task.cancel()
                if not task.ended:
                    self._end(task)
            self._pending.clear()
        self.own.close()

    def cancel(self, task: FleetTask) -> None:
        """See `Task.cancel`."""
        with self._lock:
            if task.ended:
                return
            if task.inner is not None:
                task.inner.cancel()
            elif task.member is None:
                self._pending.remove(task)
                self._end(task)
            else:
                self._tell(task.member, CANCEL, task.number)

    # -- members

    def join(self, line: Connection, hello: dict[str, Any]) -> None:
        """A node offers its workers; returns when it is gone. Called in a thread of its line."""
        member = Member(line, str(hello["name"]), int(hello["slots"]), str(hello["place"]))
        with self._lock:
            if member.place in {place_of(self.own), *(each.place for each in self._members.values())} - {""}:
                member.send(KNOWN)  # it would have each worker run two calls, and both die with it
                return
            if member.name in self.names:
                member.name = f"{member.name} {hello.get('pid', '')}"
            self._members[member.name] = member
            self._assign()
        log.info("the node %s offers %d workers", member.name, member.slots)
        self.own.wake()
        try:
            self._listen(member)
        except LINE_ERRORS as error:
            log.info("the node %s is gone: %r", member.name, error)
        finally:
            self._drop(member)

    def _listen(self, member: Member) -> None:
        beat = time.monotonic()
        while self._members.get(member.name) is member:
            if member.line.poll(BEAT_SECONDS):
                self._hear(member, *wire.unframed(member.line.recv_bytes()))
                member.heard = time.monotonic()
            if time.monotonic() - member.heard > SILENCE_SECONDS:
                raise TimeoutError(f"nothing was heard of it for {SILENCE_SECONDS:g} s")
            if time.monotonic() - beat > BEAT_SECONDS:
                beat = time.monotonic()
                member.send(BEAT)

    def _hear(self, member: Member, kind: bytes, number: int, data: bytes) -> None:
        if kind == BEAT:
            member.pids = tuple(wire.Content(data, is_pickle=True).load())
            return
        with self._lock:
            if kind == wire.NOTE:
                if number in member.tasks:
                    member.tasks[number].note = wire.Content(data, is_pickle=True).load()
                return
            task = member.tasks.pop(number, None)
            if task is None or task.ended:
                return
            if kind == CANCELLED:
                task.end()
            elif kind == DIED:
                member.failed += 1
                task.end(WorkerLostError(f"on the node {member.name}: {data.decode()}"), died=True)
            else:
                member.done += kind == wire.DONE
                member.failed += kind != wire.DONE
                task.answered(partial(wire.outcome, kind, wire.Content.of(data)), member.name)
            self._ended.append(task)
            self._assign()
        self.own.wake()

    def _drop(self, member: Member) -> None:
        with self._lock:
            if self._members.get(member.name) is not member:
                return
            del self._members[member.name]
            for task in member.tasks.values():
                if not task.ended:
                    lost = f"{task.name} was lost with the node {member.name}, which is gone; it may have had effects"
                    task.node = member.name
                    self._end(task, WorkerLostError(lost), died=True)
            for task in [task for task in self._pending if task.wanted == member.name]:
                self._pending.remove(task)
                self._end(task)
            self._assign()
        self.own.wake()

    # -- with the lock

    def _assign(self) -> None:
        """Give calls that wait to whoever has most room."""
        for task in list(self._pending) if self._pending else ():
            place = self._place(task.wanted)
            if place is None or task not in self._pending:  # a member was lost meanwhile
                continue
            self._pending.remove(task)
            if place == "":
                task.inner = self.own.start(task.call, *task.args)
                self._own[task.inner] = task
            else:
                self._send(self._members[place], task)

    def _place(self, wanted: str) -> str | None:
        """The name of the member with most room, "" for the own engine; None when there is none."""
        room = {name: 1 - len(member.tasks) / member.slots for name, member in self._members.items()}
        room[""] = (1 - len(self._own) / (_OWN_AHEAD * self.own.slots)) if self.own.slots else 0.0
        if wanted:
            wanted = "" if wanted == self._name else wanted
            room = {name: room[name] for name in [wanted] if name in room}
        best = max(room, key=lambda name: room[name], default=None)
        return best if best is not None and room[best] > 0 else None

    def _send(self, member: Member, task: FleetTask) -> None:
        try:
            args = tuple("" if self._secret and arg == self._secret else arg for arg in task.args)
            data = wire.pack_call(task.call, args).to_bytes()
        except (WendelinError, OSError, MemoryError) as error:
            self._end(task, error)
            return
        task.member, task.node, task.began = member, member.name, time.time()
        member.tasks[task.number] = task
        self._tell(member, wire.CALL, task.number, data)

    def _tell(self, member: Member, kind: bytes, number: int, data: bytes = b"") -> None:
        try:
            member.send(kind, number, data)
        except LINE_ERRORS as error:
            log.info("the node %s does not listen: %r", member.name, error)
            self._drop(member)

    def _end(self, task: FleetTask, error: BaseException | None = None, *, died: bool = False) -> None:
        task.end(error, died=died)
        self._ended.append(task)
        self.own.wake()


def place_of(engine: Engine) -> str:
    """The address of a cluster that engines of several nodes may share; "" for an engine of its own workers."""
    return str(getattr(engine, "address", ""))


def _mirror(inner: Task, task: FleetTask) -> None:
    """What became of the call in the own engine."""
    task.node = inner.node
    if inner.cancelled:
        task.end()
    elif inner.died:
        task.end(inner.error, died=True)
    else:
        task.answered(lambda: (inner.error, inner.result), inner.node)
