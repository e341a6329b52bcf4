"""A Dask cluster for a torture: a scheduler and two workers with nannies, killed and started again at one address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from tests.storage.database.servers import accepts, free_port
from tests.torture.marks import children

_WORKERS = 2


class Cluster:
    """Started when it is made, as processes of `folder`; `keep` starts again what is missing."""

    def __init__(self, folder: Path, log: IO[bytes]) -> None:
        self._folder, self._log, self._port = folder, log, free_port()
        self.address = f"tcp://127.0.0.1:{self._port}"
        self._scheduler: subprocess.Popen[bytes] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self.keep()

    def keep(self) -> None:
        """Start a scheduler and workers where there are none: they end when they lose it."""
        if self._scheduler is None or self._scheduler.poll() is not None:
            options = ["--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard", "--no-jupyter"]
            self._scheduler = self._start("dask_scheduler", *options)
            deadline = time.monotonic() + 60
            while not accepts(("127.0.0.1", self._port)) and time.monotonic() < deadline:
                time.sleep(0.05)
        self._workers = [worker for worker in self._workers if worker.poll() is None]
        while len(self._workers) < _WORKERS:
            options = [
                "--nthreads",
                "1",
                "--no-dashboard",
                "--local-directory",
                str(self._folder),
                "--host",
                "127.0.0.1",
            ]
            self._workers.append(self._start("dask_worker", self.address, *options, "--death-timeout", "20"))

    def kill_scheduler(self) -> None:
        """All that it knew is lost."""
        if self._scheduler is not None:
            self._scheduler.kill()
            self._scheduler.wait()
        self.keep()

    def working(self) -> list[int]:
        """The processes that nannies keep."""
        return [pid for nanny in self._workers for pid in children(nanny.pid) if _works(pid)]

    def pids(self) -> list[int]:
        """All processes."""
        own = [process.pid for process in (self._scheduler, *self._workers) if process is not None]
        return [*own, *(pid for nanny in self._workers for pid in children(nanny.pid))]

    def stop(self) -> None:
        """End all, by force where they do not end by themselves."""
        for process in (*self._workers, self._scheduler):
            if process is not None:
                process.terminate()
        for process in (*self._workers, self._scheduler):
            if process is not None:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def _start(self, program: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{program}", *options]
        return subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)


def _works(pid: int) -> bool:
    """Whether it is a worker, not one of the helpers of `multiprocessing`."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
