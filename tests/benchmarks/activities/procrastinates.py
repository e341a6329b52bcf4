"""Procrastinate on PostgreSQL, set up as its documentation says: durable jobs, LISTEN and NOTIFY, two worker processes.

PostgreSQL has its own defaults: `fsync` and `synchronous_commit` are on. A job that its worker does not end is not
started again by itself, so nothing is killed here. Workers import this module for `app`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import procrastinate

from tests.benchmarks.activities.site import until
from tests.conftest import read_tools
from tests.house.repository import ROOT
from tests.storage.database.servers import PostgresqlServer

#: Jobs that one worker process has at a time; the best one counts.
CONCURRENCIES = (1, 10)

_PLACE = "BENCH_POSTGRESQL"

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ.get(_PLACE, "")))


@app.task(name="nothing")
async def nothing() -> None:
    """What is to be done."""


class DurableServer(PostgresqlServer):
    """With PostgreSQL's own default."""

    fsync = "on"


class Queue:
    """A queue and its workers."""

    def __init__(self, conninfo: str) -> None:
        self._connector = procrastinate.SyncPsycopgConnector(conninfo=conninfo)
        self._app = procrastinate.App(connector=self._connector)
        self._app.open()
        self._app.schema_manager.apply_schema()
        self._task = self._app.configure_task("nothing")

    def close(self) -> None:
        self._app.close()

    def rate(self, count: int) -> float:
        """Jobs a second, from the commit that left all of them to the end of the last."""
        before = self._ended()
        self._task.batch_defer(*[{} for _ in range(count)])
        begin = time.perf_counter()
        until(lambda: self._ended() >= before + count)
        return count / (time.perf_counter() - begin)

    def latency(self) -> float:
        """Seconds from the beginning of the transaction that leaves a job to that of the one that starts it."""
        time.sleep(0.05)
        before = self._ended()
        number = self._task.defer()
        until(lambda: self._ended() > before)
        found = self._connector.execute_query_one(
            "SELECT extract(epoch FROM max(at) FILTER (WHERE type = 'started') - max(at) FILTER (WHERE type = "
            "'deferred'))::float8 AS seconds FROM procrastinate_events WHERE job_id = %(number)s",
            number=number,
        )
        return float(found["seconds"])

    def _ended(self) -> int:
        found = self._connector.execute_query_one(
            "SELECT count(*) AS number FROM procrastinate_jobs WHERE status = 'succeeded'"
        )
        return int(found["number"])


@contextmanager
def queue() -> Iterator[Queue]:
    """On a server of its own. Raises LookupError when this machine has no PostgreSQL."""
    programs = read_tools().get("postgres_bin")
    if programs is None:
        raise LookupError("this machine has no PostgreSQL: python3 bootstrap.py install (as root) brings it")
    folder = Path(tempfile.mkdtemp(prefix="w-pg-", dir="/tmp"))
    try:
        server = DurableServer(Path(programs), folder)
        try:
            server.psql("CREATE DATABASE queue")
            os.environ[_PLACE] = server.url("queue")
            found = Queue(server.url("queue"))
            try:
                yield found
            finally:
                found.close()
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def workers(count: int, concurrency: int) -> Iterator[None]:
    """Worker processes."""
    name = f"{__name__}.app"
    command = [sys.executable, "-m", "procrastinate", "--app", name, "worker", "--concurrency", str(concurrency)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    found = [subprocess.Popen(command, cwd=ROOT, **quiet) for _ in range(count)]
    try:
        yield
    finally:
        for process in found:
            process.terminate()
        for process in found:
            process.wait(60)
