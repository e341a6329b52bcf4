"""How long it takes until what ran is done, after somebody was killed (kill -9)."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.activities.site import Site, until
from tests.house.repository import ROOT
from tests.kernel.activity.test_cluster import Cluster
from wendelin.kernel.activity.cluster import DaskEngine
from wendelin.storage.activities.queue import queue_of
from wendelin.storage.database import ondemand
from wendelin.storage.database.urls import LocalURL, parse

TURNS = 3


def after_a_worker(site: Site) -> list[float]:
    """All workers of a local engine."""

    def kill() -> None:
        assert site.engine is not None
        for node in site.engine.nodes().values():
            for pid in node.pids:
                os.kill(pid, signal.SIGKILL)

    return [site.recovery(kill) for _ in range(TURNS)]


def after_the_database(site: Site) -> list[float]:
    """The server, which those who need it start again."""

    def kill() -> None:
        place = parse(site.url)
        assert isinstance(place, LocalURL)
        server = ondemand.find(place.folder)
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)

    return [site.recovery(kill) for _ in range(TURNS)]


def after_the_dispatcher(folder: Path) -> list[float]:
    """The process that dispatches, and its workers with it; another node takes over."""
    with _nodes(folder) as site:

        def leader() -> int:
            with site.manager:
                queue = queue_of(site.connection)
                return 0 if queue is None or queue.lease.is_free else int(queue.lease.holder.rpartition(":")[2])

        found: list[float] = []
        for _ in range(TURNS):
            until(lambda: bool(leader()))
            found.append(site.recovery(lambda: os.kill(leader(), signal.SIGKILL)))
        return found


@contextmanager
def _nodes(folder: Path) -> Iterator[Site]:
    """As many processes of `wendelin node` as are killed, and one more."""
    with Site(folder, None) as site, (folder / "log").open("ab") as log:
        command = [sys.executable, "-m", "wendelin.kernel.activity.node", "--database", site.url, "--workers", "1"]
        nodes = [
            subprocess.Popen([*command, "--name", f"n{number}"], cwd=ROOT, stdout=log, stderr=log)
            for number in range(TURNS + 1)
        ]
        try:
            yield site
        finally:
            for node in nodes:
                node.terminate()
            for node in nodes:
                node.wait(60)


def after_the_scheduler(folder: Path) -> list[float]:
    """Dask's scheduler; it and its workers, which end without it, are started again at once, as a supervisor does."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # that its scheduler is gone is no news
    with tempfile.TemporaryDirectory(prefix="w-dask-", dir="/tmp") as place:
        cluster = Cluster(Path(place))
        cluster.worker("--nthreads", "1", "--no-nanny")
        engine = DaskEngine(cluster.address)
        until(lambda: bool(engine.nodes()))

        def kill() -> None:
            cluster.scheduler.kill()
            cluster.scheduler.start()
            cluster.worker("--nthreads", "1", "--no-nanny")

        try:
            with Site(folder, engine) as site:
                return [site.recovery(kill) for _ in range(TURNS)]
        finally:
            cluster.close()
