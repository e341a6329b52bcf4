"""Memory that all processes of a torture share: who is in which phase of a commit, and who shall die where.

A slot a process. Its owner notes the phase it is in, which stays readable when it is dead. The killer plans: at the
n-th event in that phase the owner kills itself with SIGKILL.
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
from pathlib import Path
from typing import Any

PHASES = ("program", "flush", "store", "vote", "finish", "remap", "pack")

#: Audit events of Python that change a file system.
EVENTS = {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.chmod", "os.truncate", "shutil.rmtree"}
_SLOT = 64  # phase, phase to die in, events until then, length and letters of the last event's name


class Marks:
    """The slots, in a file that every process maps."""

    def __init__(self, path: Path, slots: int = 0) -> None:
        if slots:
            path.write_bytes(bytes(slots * _SLOT))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def phase(self, slot: int) -> str:
        return PHASES[self._map[slot * _SLOT]]

    def last_event(self, slot: int) -> str:
        at = slot * _SLOT
        return self._map[at + 4 : at + 4 + self._map[at + 3]].decode()

    def reset(self, slot: int) -> None:
        self._map[slot * _SLOT : (slot + 1) * _SLOT] = bytes(_SLOT)

    def plan(self, slot: int, phase: str, events: int) -> None:
        """Let the owner of `slot` die at the n-th event from now on that it is in `phase` for."""
        at = slot * _SLOT
        self._map[at + 2] = events
        self._map[at + 1] = PHASES.index(phase)

    def owner(self, slot: int) -> Owner:
        return Owner(self._map, slot * _SLOT)


class Owner:
    """A process's own side of its slot."""

    def __init__(self, shared: mmap.mmap, at: int) -> None:
        self._map, self._at = shared, at

    def event(self, name: str) -> None:
        phase, wanted, left = self._map[self._at : self._at + 3]
        if not wanted or phase != wanted:
            return
        if left > 1:
            self._map[self._at + 2] = left - 1
            return
        letters = name.encode()[:48]
        self._map[self._at + 3] = len(letters)
        self._map[self._at + 4 : self._at + 4 + len(letters)] = letters
        os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Count what changes a file system. Never undone: the process dies."""
        sys.addaudithook(lambda name, _: self.event(name) if name in EVENTS else None)
        for name in ("write", "writev", "fsync"):
            setattr(os, name, self._counted(name, getattr(os, name)))

    def _counted(self, name: str, real: Any) -> Any:
        def call(*args: Any) -> Any:
            self.event(name)
            done = real(*args)
            self.event(f"after {name}")
            return done

        return call

    def during(self, phase: str, owner: Any, name: str) -> None:
        """Note the phase while a method runs."""
        number, real = PHASES.index(phase), getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            before = self._map[self._at]
            self._map[self._at] = number
            self.event(f"enter {name}")
            try:
                return real(*args, **options)
            finally:
                self.event(f"leave {name}")
                self._map[self._at] = before

        setattr(owner, name, call)


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, task.read_text().split())
        except OSError:
            continue
    return found
