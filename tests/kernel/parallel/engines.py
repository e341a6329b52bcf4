"""A small engine of processes, after the contract in docs/design/0007."""

from __future__ import annotations

import multiprocessing.connection
import os
import pickle
import queue
import subprocess
import sys
import threading
from typing import Any

_WORKER = """
import multiprocessing.connection, pickle, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
wire = multiprocessing.connection.Connection(int(sys.argv[1]))
while True:
    try:
        data = wire.recv_bytes()
    except EOFError:
        break
    try:
        call, args = pickle.loads(data)
        answer = (None, call(*args))
    except BaseException as error:
        answer = (error, None)
    wire.send_bytes(pickle.dumps(answer))
"""


class Task:
    def __init__(self, engine: ProcessEngine, data: bytes) -> None:
        self.engine, self.data = engine, data
        self.cancelled = self.died = self.tells_all = False
        self.note = None
        self.error: BaseException | None = None
        self.result: Any = None
        self.worker: Any = None

    def cancel(self) -> None:
        with self.engine.lock:
            self.cancelled = True
            if self.worker is not None:
                self.worker.kill()


class ProcessEngine:
    def __init__(self, slots: int = 2) -> None:
        self.slots = slots
        self.lock = threading.RLock()
        self.pids: dict[int, int] = {}
        self._todo: queue.Queue[Task | None] = queue.Queue()
        self._ended: queue.Queue[Task | None] = queue.Queue()
        self._threads = [threading.Thread(target=self._serve, args=(n,), daemon=True) for n in range(slots)]
        for thread in self._threads:
            thread.start()

    def start(self, call: Any, *args: Any) -> Task:
        task = Task(self, pickle.dumps((call, args)))
        self._todo.put(task)
        return task

    def wait(self, timeout: float) -> list[Any]:
        found = []
        try:
            found.append(self._ended.get(timeout=timeout) if timeout > 0 else self._ended.get_nowait())
            while True:
                found.append(self._ended.get_nowait())
        except queue.Empty:
            pass
        return [task for task in found if task is not None]

    def wake(self) -> None:
        self._ended.put(None)

    def nodes(self) -> dict[str, Any]:
        return {"here": None}

    def close(self) -> None:
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, number: int) -> None:
        process: Any = None
        wire: Any = None
        while (task := self._todo.get()) is not None:
            if process is None:
                process, wire = self._spawn(number)
            with self.lock:
                if task.cancelled:
                    self._ended.put(task)
                    continue
                task.worker = process
            try:
                wire.send_bytes(task.data)
                task.error, task.result = pickle.loads(wire.recv_bytes())
            except (EOFError, OSError):
                task.died = not task.cancelled
                process.kill()
                process.wait()
                wire.close()
                process = None
            with self.lock:
                task.worker = None
            self._ended.put(task)
        if process is not None:
            wire.close()
            process.wait()

    def _spawn(self, number: int) -> tuple[Any, Any]:
        ours, theirs = multiprocessing.connection.Pipe()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
        command = [sys.executable, "-c", _WORKER, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        self.pids[number] = process.pid
        return process, ours
