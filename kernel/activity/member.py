"""A node that stands by, and meanwhile offers its workers to the one that dispatches."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from wendelin.kernel.activity import wire
from wendelin.kernel.activity.engine import Engine, Task
from wendelin.kernel.activity.fleet import (
    BEAT,
    BEAT_SECONDS,
    CANCEL,
    CANCELLED,
    DIED,
    KNOWN,
    SILENCE_SECONDS,
    place_of,
)
from wendelin.kernel.activity.work import work_for
from wendelin.storage.activities.report import LINE_ERRORS, Address, dial

log = logging.getLogger(__name__)

#: Seconds between two looks at what running calls say of themselves.
_NOTES = 0.1

#: Seconds before a dispatcher that could not be reached is tried again.
_AGAIN = 2.0


class Membership:
    """Lets other dispatchers use an engine. One thread calls `serve` and `leave`.

    `wait`: instead of the engine's own, of whoever must hear what the engine had before.
    """

    def __init__(self, url: str, engine: Engine, name: str, wait: Callable[[float], list[Task]] | None = None) -> None:
        self._url, self._engine, self._name = url, engine, name
        self._wait = wait or engine.wait
        self._lock = threading.RLock()
        self._line: Connection | None = None
        self._at: tuple[Address, str] | None = None
        self._unwanted: tuple[Address, str] | None = None
        self._numbers: dict[Task, int] = {}
        self._notes: dict[Task, Any] = {}
        self._reader: threading.Thread | None = None
        self._not_before = self._beat = 0.0

    def serve(self, address: Address | None, key: str, seconds: float) -> None:
        """Work for the dispatcher at an address for some seconds; without one, only wait."""
        if self._line is None or self._at != (address, key):
            self.leave()
            self._join(address, key)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for task in self._wait(min(left, _NOTES if self._numbers else left)):
                self._answer(task)
            self._relay()
            if self._line is None:
                break
        if self._line is None and left > 0:
            for task in self._wait(left):
                self._answer(task)

    def leave(self) -> None:
        """Hang up; what runs is cancelled. Again: nothing."""
        with self._lock:
            tasks, self._numbers = self._numbers, {}
            for task, number in tasks.items():
                task.cancel()
                self._send(CANCELLED, number)  # else they would seem to have ended a worker
            line, self._line, self._at = self._line, None, None
        if line is not None:
            _shut_down(line)
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.join()

    def _join(self, address: Address | None, key: str) -> None:
        if address is None or time.monotonic() < self._not_before or self._unwanted == (address, key):
            return
        hello = {"role": "work", "name": self._name, "slots": self._engine.slots, "pid": os.getpid()}
        hello["place"] = place_of(self._engine)
        self._at = (address, key)
        try:
            self._line = dial(address, bytes.fromhex(key), hello)
        except LINE_ERRORS as error:
            log.info("the dispatcher at %s:%d cannot be reached, so this node stands by: %r", *address, error)
            self._not_before = time.monotonic() + _AGAIN
            return
        self._reader = threading.Thread(target=self._read, args=(self._line,), name="wendelin member", daemon=True)
        self._reader.start()
        log.info("this node works for the dispatcher at %s:%d", *address)

    def _read(self, line: Connection) -> None:
        """In a thread: what the dispatcher wants."""
        heard = time.monotonic()
        try:
            while self._line is line and time.monotonic() - heard < SILENCE_SECONDS:
                if line.poll(BEAT_SECONDS):
                    self._hear(*wire.unframed(line.recv_bytes()))
                    heard = time.monotonic()
        except LINE_ERRORS as error:
            log.info("the dispatcher hung up: %r", error)
        self._lost(line)
        with self._lock:
            line.close()

    def _hear(self, kind: bytes, number: int, data: bytes) -> None:
        with self._lock:
            if kind == wire.CALL:
                self._numbers[self._engine.start(work_for, data, self._url, self._name)] = number
            elif kind == KNOWN:
                log.info("the dispatcher uses the workers of the same cluster itself, so this node stands by")
                self._unwanted = self._at
            elif kind == CANCEL:
                for task in [task for task, known in self._numbers.items() if known == number]:
                    task.cancel()

    def _lost(self, line: Connection) -> None:
        """Nobody wants what runs any more: whoever dispatches next gives it out again."""
        with self._lock:
            if self._line is not line:
                return
            self._line = None
            tasks, self._numbers = list(self._numbers), {}
            _shut_down(line)
        for task in tasks:
            task.cancel()
        self._engine.wake()

    def _answer(self, task: Task) -> None:
        with self._lock:
            number = self._numbers.pop(task, None)
            self._notes.pop(task, None)
        if number is None:
            return
        if task.cancelled:
            self._send(CANCELLED, number)
        elif task.died:
            self._send(DIED, number, str(task.error).encode())
        elif task.error is not None:
            self._send(wire.FAILED, number, wire.failure(task.error).to_bytes())
        else:
            kind, data = task.result
            self._send(kind, number, data)

    def _relay(self) -> None:
        """What running calls say of themselves, and that this side lives."""
        with self._lock:
            said = [(task, number, task.note) for task, number in self._numbers.items()]
        for task, number, note in said:
            if note is not None and self._notes.get(task) != note:
                self._notes[task] = note
                self._send(wire.NOTE, number, pickle.dumps(note))
        if time.monotonic() - self._beat > BEAT_SECONDS:
            self._beat = time.monotonic()
            self._send(BEAT, 0, pickle.dumps([pid for node in self._engine.nodes().values() for pid in node.pids]))

    def _send(self, kind: bytes, number: int, data: bytes = b"") -> None:
        with self._lock:
            line = self._line
            if line is None:
                return
            try:
                line.send_bytes(wire.framed(kind, number, data))
            except LINE_ERRORS as error:
                log.info("the dispatcher does not listen: %r", error)
                self._lost(line)


def _shut_down(line: Connection) -> None:
    """Let the thread that reads a line see its end; only that thread closes it."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(line.fileno())) as shared:
        shared.shutdown(socket.SHUT_RDWR)
