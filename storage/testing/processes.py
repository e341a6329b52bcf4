"""Functions run in other processes, all let go at the same moment.

`multiprocessing` would import the test runner once more in each of them and leave a helper running.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

#: What a worker runs: it says that it is ready, waits for the word, and answers with the result.
_LOOP = """
import os, pickle, sys
wire = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
sys.path[:] = pickle.load(sys.stdin.buffer)
prepare, arguments, act = pickle.load(sys.stdin.buffer)
state = prepare(*arguments)
pickle.dump("ready", wire); wire.flush()
pickle.load(sys.stdin.buffer)
pickle.dump(act(state), wire); wire.flush()
"""

Work = tuple[Callable[..., Any], tuple[Any, ...], Callable[[Any], Any]]


def in_processes(works: Sequence[Work], meanwhile: Callable[[], Any]) -> list[Any]:
    """Runs `act(prepare(*arguments))` for each `(prepare, arguments, act)` in a process of its own.

    None acts before all are prepared; `meanwhile` is called here when they have been let go. Returns what it gave, and
    what each of them gave. A process that fails raises `AssertionError` with what it said.
    """
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_Worker(work)) for work in works]
        for worker in workers:
            worker.receive()
        for worker in workers:
            worker.send("go")
        return [meanwhile(), *(worker.receive() for worker in workers)]


class _Worker(contextlib.AbstractContextManager["_Worker"]):
    """One process; its end is waited for."""

    def __init__(self, work: Work) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process, at the exit of this context
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", _LOOP], stdin=pipe, stdout=pipe, stderr=self._said)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.send(sys.path)
        self.send(work)

    def send(self, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # it died: what it said comes with the answer
            self._to.write(pickle.dumps(value))
            self._to.flush()

    def receive(self) -> Any:
        try:
            return pickle.load(self._from)
        except EOFError:
            self._said.seek(0)
            said = self._said.read().decode(errors="replace")
            raise AssertionError(f"another process failed:\n{said}") from None

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._to.close()
        if kind is not None:
            self._process.kill()
        self._process.wait()
        self._from.close()
        self._said.close()
