"""Engines for tests. Calls that kill workers have an engine, and a cluster, of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transaction

import wendelin
from tests.house.repository import ROOT
from tests.storage.database.servers import wait_until
from wendelin import ZBigArray
from wendelin.kernel.activity.cluster import DaskEngine
from wendelin.kernel.activity.engine import Engine
from wendelin.kernel.activity.exchange import Exchange
from wendelin.kernel.activity.fleet import Fleet
from wendelin.kernel.activity.local import LocalEngine
from wendelin.kernel.activity.member import Membership
from wendelin.storage.activities import active
from wendelin.storage.database.status import stop

KINDS = ["local", pytest.param("dask", marks=pytest.mark.slow), pytest.param("fleet", marks=pytest.mark.slow)]


# In a process of its own: Dask leaves sockets open when its workers are killed, and here that would be an error.
_CLUSTER = """
import sys
from distributed import LocalCluster
if __name__ == "__main__":
    place = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**place) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


@contextmanager
def local_cluster() -> Iterator[str]:
    """The address of a Dask LocalCluster of two processes with one thread each, on loopback."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _CLUSTER], stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


@contextmanager
def engine_of(address: str | None) -> Iterator[Engine]:
    """One of this machine for None; a fleet of two for "fleet"; one of the cluster at an address."""
    if address == "fleet":
        with fleet() as found:
            yield found
        return
    engine: Engine = LocalEngine(2) if address is None else DaskEngine(address)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def fleet() -> Iterator[Fleet]:
    """An engine of this process, and a node that joined it, with one worker each."""
    fleet = Fleet(LocalEngine(1), "own")
    exchange = Exchange("127.0.0.1", dict, fleet.join)
    stopping = threading.Event()
    with LocalEngine(1) as other:
        member = Membership("", other, "other")

        def serve() -> None:
            while not stopping.is_set():
                member.serve(exchange.address, exchange.key, 0.5)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            wait_until(lambda: "other" in fleet.nodes(), "the node to join")
            yield fleet
        finally:
            stopping.set()
            thread.join()
            member.leave()
            exchange.close()
            fleet.close()


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """A cluster's address for all tests of a module; None for engines that need none."""
    if request.param in ("local", "fleet"):
        yield None if request.param == "local" else "fleet"
    else:
        with local_cluster() as address:
            yield address


@pytest.fixture
def engine(shared: str | None) -> Iterator[Engine]:
    """An engine whose processes stay alive."""
    with engine_of(shared) as found:
        yield found


@pytest.fixture(params=KINDS)
def mortal(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine whose processes may be killed."""
    if request.param in ("local", "fleet"):
        with engine_of(None if request.param == "local" else "fleet") as found:
            yield found
    else:
        with local_cluster() as address, engine_of(address) as found:
            yield found


@pytest.fixture
def conn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(active, "after_commit", [])
    monkeypatch.setenv("WENDELIN_DB", f"local://{tmp_path}/db")
    connection = wendelin.connect()
    connection.root()["data"] = data = ZBigArray((100,), "i8")
    data[:] = np.arange(100)
    transaction.commit()
    url = connection.url
    yield connection
    transaction.abort()
    connection.close()
    stop(url)


@pytest.fixture
def data(conn: Any) -> ZBigArray:
    found: ZBigArray = conn.root()["data"]
    return found
