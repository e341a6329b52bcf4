"""What engines run in tests, and how tests see it: by files, since it runs in other processes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np

from tests.storage.database.servers import PATIENCE, wait_until
from wendelin.kernel.activity.engine import Engine, Task
from wendelin.storage.activities.progress import carrier


def add(left: int, right: int) -> int:
    return left + right


def fail(text: str) -> None:
    raise ValueError(text)


def leave() -> None:
    raise SystemExit("out")


class Awkward(Exception):
    """Pickles, and then cannot be unpickled: a well-known trap."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def fail_awkwardly() -> None:
    raise Awkward(1, 2)


def fail_locked() -> None:
    error = RuntimeError("holds a lock")
    error.lock = threading.Lock()  # type: ignore[attr-defined]
    raise error


def give_lock() -> Any:
    return threading.Lock()


def double(array: Any) -> Any:
    array *= 2
    return array


def total(array: Any) -> tuple[float, str]:
    return float(array.sum()), type(array).__name__


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def count(file: Path) -> None:
    with file.open("a") as handle:
        handle.write(f"{os.getpid()}\n")


class Gate:
    """A call that says that it has begun, and goes on when the test opens the gate."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self.begun, self._gate = folder / f"{name}.begun", folder / f"{name}.fifo"
        if not self._gate.exists():
            os.mkfifo(self._gate)

    def __call__(self) -> int:
        count(self.begun)
        with self._gate.open() as gate:
            gate.read()
        return os.getpid()

    @property
    def has_begun(self) -> bool:
        return self.begun.exists() and self.begun.read_text().endswith("\n")

    def pid(self) -> int:
        """The process that runs it, when it has begun."""
        wait_until(lambda: self.has_begun, "a call to begin")
        return int(self.begun.read_text())

    def open(self) -> None:
        self._gate.open("w").close()


def ended(engine: Engine, number: int) -> list[Task]:
    """The next tasks that end."""
    found: list[Task] = []

    def enough() -> bool:
        found.extend(engine.wait(PATIENCE))
        return len(found) >= number

    wait_until(enough, f"{number} tasks to end")
    assert len(found) == number
    return found


def pids(engine: Engine) -> set[int]:
    return {pid for node in engine.nodes().values() for pid in node.pids}


def is_living(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def big() -> Any:
    return np.arange(2_500_000.0).reshape(500, 5000)


class Telling:
    """Says words of itself, the last ones in a burst, and goes on when the test opens the gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self) -> int:
        carry = carrier.get()
        assert carry is not None
        for word in range(50):
            carry(("word", word))
        return self._gate()
