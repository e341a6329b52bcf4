"""One worker process, seen by its owner: what was sent to it and not answered yet.

The owner keeps the worker's end of the socket for calls as well. So it can take back calls that the process has not
taken: the kernel gives each packet to one reader, and a worker reads a call only to run it. A call that was neither
answered nor can be taken back is running.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from wendelin.kernel.activity import wire
from wendelin.kernel.activity.engine import Task

if TYPE_CHECKING:
    from wendelin.kernel.activity.local import Pool

_PROGRAM = (
    "import sys; n = [int(a) for a in sys.argv[1:4]]; sys.path[:] = sys.argv[4:]; sys.argv[1:] = []; "
    "from wendelin.kernel.activity.worker_process import main; main(*n)"
)


class LocalTask(Task):
    """A call of a local engine."""

    tells_all = True

    def __init__(self, pool: Pool, name: str, number: int) -> None:
        super().__init__(name)
        self.number = number
        self.packet: wire.Packet | None = None
        self.worker: Worker | None = None
        self.is_cancelling = False
        self._pool = pool

    def cancel(self) -> None:
        """A call that runs is ended by killing its worker, which is replaced."""
        self._pool.cancel(self)


class Worker:
    """A worker process. The owner's thread that makes it must live as long: it dies with that thread."""

    def __init__(self) -> None:
        calls, self._calls_in = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.answers, answers_in = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._calls = calls
        self.tasks: deque[LocalTask] = deque()
        """What was sent and is not answered, the first one running."""
        self.is_ready = self.is_gone = False
        calls.setblocking(False)
        self.answers.setblocking(False)
        ends = (self._calls_in.fileno(), answers_in.fileno())
        try:
            # A session of its own: Ctrl-C of a terminal or a notebook is not for it, and what it starts dies with it.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *map(str, (*ends, os.getpid())), *sys.path],
                stdin=subprocess.DEVNULL,
                pass_fds=ends,
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            answers_in.close()
        self.pid = self.process.pid
        self.end = _watch(self.pid)
        """A descriptor that is readable when the process ended; None where the system has none."""

    def send(self, task: LocalTask) -> bool:
        """Whether there was room for it; raises OSError where the machine refuses memory."""
        assert task.packet is not None
        if not task.packet.send(self._calls, wire.CALL, task.number):
            return False
        task.worker = self
        self.tasks.append(task)
        if len(self.tasks) == 1:
            self.begin()
        return True

    def begin(self) -> None:
        """The first of its calls runs from now on."""
        if self.tasks:
            self.tasks[0].began = time.time()

    def take_back(self) -> list[LocalTask]:
        """The calls that the process has not begun and will not see any more."""
        found: list[LocalTask] = []
        with contextlib.suppress(BlockingIOError):
            while (message := wire.receive(self._calls_in, socket.MSG_DONTWAIT)) is not None:
                task = next(task for task in self.tasks if task.number == message[1])
                self.tasks.remove(task)
                task.worker = None
                found.append(task)
        return found

    def answer(self) -> tuple[bytes, int, wire.Content] | None:
        """The next answer; None when the process is gone. Raises BlockingIOError when there is none yet."""
        return wire.receive(self.answers)

    def kill(self) -> None:
        """End the process, and what it started in its session; `reap` must follow. Not after it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Kill, wait for the end and give all back; the exit status as in `subprocess`."""
        self.is_gone = True
        self.kill()
        status = self.process.wait()
        self._close()
        if self.end is not None:
            os.close(self.end)
        return status

    def _close(self) -> None:
        for end in (self._calls, self._calls_in, self.answers):
            end.close()


def _watch(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def describe_end(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
