"""Which processes a test started and left behind, seen in /proc.

A server that detaches is no child of the test any more, so every test marks its environment: what it starts, and
what that starts, carries the mark. A fork without exec shows the environment of its parent's start, so descendants
count too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MARK = "WENDELIN_TEST_MARK"

# Python's and loky's own helpers; they end with the process that started them.
_HELPERS = ("resource_tracker", "multiprocessing.forkserver")


@dataclass(frozen=True)
class Process:
    """A living process: its number, its parent's, its command line and its environment as it was at exec."""

    pid: int
    parent: int
    command: str
    environment: frozenset[str]

    def __str__(self) -> str:
        return f"{self.pid}: {self.command}"


def _read(folder: Path) -> Process | None:
    try:
        # After the name in parentheses, which may hold spaces: state, parent.
        state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        environment = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # gone meanwhile, or another user's
        return None
    if state in "ZX":
        return None
    return Process(int(folder.name), int(parent), command, frozenset(environment))


def pids() -> set[int]:
    """The numbers of all processes there are."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - called twice a test


def living(numbers: Iterable[int] | None = None) -> list[Process]:
    """The processes (all, or those of the numbers given) that this user may look at, zombies left out."""
    found = (_read(Path("/proc") / str(pid)) for pid in (pids() if numbers is None else numbers))
    return [process for process in found if process is not None]


def started_with(variable: str, value: str) -> list[Process]:
    """The living processes, other than this one, that carry `variable=value` in their environment."""
    return [p for p in living() if f"{variable}={value}" in p.environment and p.pid != os.getpid()]


def left_behind(mark: str, known: set[int]) -> list[Process]:
    """Of the processes whose numbers are not among the `known` ones: those that carry `mark`, and our descendants."""
    fresh = living(pids() - known - {os.getpid()})
    family = {os.getpid()}
    for process in sorted(fresh, key=lambda process: process.pid):  # a child's number is mostly above its parent's
        if process.parent in family:
            family.add(process.pid)
    return [
        process
        for process in fresh
        if (f"{MARK}={mark}" in process.environment or process.pid in family)
        and not any(helper in process.command for helper in _HELPERS)
    ]


def stop(processes: Iterable[Process], patience: float = 10.0) -> None:
    """SIGTERM, then SIGKILL to those that still live after `patience` seconds; returns when all are gone."""
    chosen = {process.pid: process for process in processes}
    for number, limit in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
        alive = [p.pid for p in living(chosen) if p.command == chosen[p.pid].command]
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        end = time.monotonic() + limit
        while alive and time.monotonic() < end:
            time.sleep(0.02)
            alive = [process.pid for process in living(alive)]
