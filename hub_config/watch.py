"""Processes: none stays behind.

- The hub gets its own session, so that Ctrl-C reaches only us and we stop things in order.
- Everything of a run carries `WENDELIN_HUB_RUN` in its environment: whatever the hub could not stop (it was killed,
  or a kernel hung) is found by it and ended. Only processes of this run, and only this user's, can carry it.
- The hub and the dashboards ask Linux for SIGTERM when their parent dies, so a killed parent leaves nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator

import psutil

from wendelin.hub_config.settings import RUN_VARIABLE

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let this process get SIGTERM when its parent ends. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def processes_of(run: str) -> Iterator[psutil.Process]:
    """All processes, but this one, that carry the mark of `run`."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(RUN_VARIABLE) == run:
                yield process


def wait_for_all(run: str, seconds: float) -> bool:
    """Whether all of `run` ended by itself within `seconds`; a kernel sees the end of its server a second later."""
    end = time.monotonic() + seconds
    while any(_alive(process) for process in processes_of(run)):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def end_all(run: str, patience: float = 10.0) -> list[str]:
    """End what is left of `run`: SIGTERM, and after `patience` seconds SIGKILL. Returns what it found, as text."""
    left = list(processes_of(run))
    found = [_describe(process) for process in left]
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(left, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=patience)
    return found


def wait_until_gone(process: psutil.Process, seconds: float) -> bool:
    """Whether `process` ended within `seconds`."""
    end = time.monotonic() + seconds
    while _alive(process):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:100]}"
    except psutil.Error:
        return str(process.pid)
