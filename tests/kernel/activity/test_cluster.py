"""Dask as an engine: what holds beyond the contract."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask.config
import pytest
from distributed import Client
from distributed.security import Security

from tests.house.repository import ROOT
from tests.kernel.activity import calls
from tests.kernel.activity.calls import Gate, ended, pids
from tests.storage.database.servers import Program, accepts, free_port, wait_until
from wendelin.kernel.activity import link
from wendelin.kernel.activity.cluster import DaskEngine
from wendelin.storage.errors import ServerGoneError, WorkerLostError

pytestmark = pytest.mark.slow


class Cluster:
    """A scheduler and workers by Dask's own commands, on loopback."""

    def __init__(self, folder: Path, scheme: str = "tcp", options: tuple[str, ...] = ()) -> None:
        self.port = free_port()
        self.address = f"{scheme}://127.0.0.1:{self.port}"
        self._folder, self._options, self._stack = folder, options, ExitStack()
        command = ["scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", *options]
        if scheme == "tls":
            command += ["--protocol", "tls"]
        ready = lambda: accepts(("127.0.0.1", self.port))  # noqa: E731
        self.scheduler = Program([sys.executable, "-m", "dask", *command], ready, folder / "scheduler.log")
        self._stack.callback(self.scheduler.stop)

    def worker(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", "worker", self.address, "--host", "127.0.0.1", "--no-dashboard"]
        command += ["--local-directory", str(self._folder), *self._options, *options]
        log = self._stack.enter_context((self._folder / "worker.log").open("ab"))
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        self._stack.callback(end, process)
        return process

    def close(self) -> None:
        self._stack.close()


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def cluster_of(folder: Path, *arguments: Any) -> Iterator[Cluster]:
    cluster = Cluster(folder, *arguments)
    try:
        yield cluster
    finally:
        cluster.close()


def test_a_scheduler_that_is_lost_and_comes_back(tmp_path: Path) -> None:
    """What it had died; what it had not been given waits for the next one at its address."""
    with cluster_of(tmp_path) as cluster, DaskEngine(cluster.address) as engine:
        assert engine.nodes() == {}
        assert engine.slots == 1
        gate = Gate(tmp_path)
        running = engine.start(gate)  # waits for a worker
        worker = cluster.worker("--nthreads", "1", "--no-nanny")
        gate.pid()
        waiting = engine.start(calls.add, 1, 2)
        cluster.scheduler.kill()
        assert ended(engine, 1) == [running]
        assert running.died
        assert isinstance(running.error, WorkerLostError)
        wait_until(lambda: engine.nodes() == {}, "the workers to be forgotten")
        more = engine.start(calls.add, 3, 4)
        gate.open()
        worker.wait()
        cluster.scheduler.start()
        cluster.worker("--nthreads", "1", "--no-nanny")
        ended(engine, 2)
        assert (waiting.result, more.result) == (3, 7)
        assert len(gate.begun.read_text().split()) == 1
        cluster.scheduler.kill()
        wait_until(lambda: engine.nodes() == {}, "the workers to be forgotten")
        lost = engine.start(calls.add, 1, 2)
        engine.close()  # while it looks for a scheduler
        assert lost.cancelled


def test_a_worker_that_comes_back_at_its_address_repeats_nothing(tmp_path: Path) -> None:
    with cluster_of(tmp_path) as cluster, DaskEngine(cluster.address) as engine:
        cluster.worker("--nthreads", "1", "--worker-port", str(free_port()))
        gate = Gate(tmp_path)
        lost = engine.start(gate)
        pid = gate.pid()
        before = set(wait_until(engine.nodes, "a worker"))
        os.kill(pid, signal.SIGKILL)
        assert ended(engine, 1) == [lost]
        assert lost.died
        wait_until(lambda: pids(engine) and pid not in pids(engine), "another process")
        task = engine.start(calls.add, 1, 2)
        ended(engine, 1)
        assert task.result == 3
        assert set(engine.nodes()) == before
        assert gate.begun.read_text().split() == [str(pid)]


def test_a_thread_cannot_be_killed(tmp_path: Path) -> None:
    """Of a worker with more threads, a cancelled call keeps its slot until its end, and others are not harmed."""
    with cluster_of(tmp_path) as cluster, DaskEngine(cluster.address) as engine:
        cluster.worker("--nthreads", "2")
        gate, other = Gate(tmp_path), Gate(tmp_path, "other")
        task, well = engine.start(gate), engine.start(other)
        assert gate.pid() == other.pid()
        assert engine.slots == 2
        task.cancel()
        assert ended(engine, 1) == [task]
        assert task.cancelled
        assert sum(node.busy for node in engine.nodes().values()) == 2
        other.open()
        ended(engine, 1)
        assert well.error is None
        gate.open()
        wait_until(lambda: not sum(node.busy for node in engine.nodes().values()), "the slot to be free")
        assert engine.wait(0) == []


def test_calls_ahead_die_with_their_worker(tmp_path: Path) -> None:
    with cluster_of(tmp_path) as cluster, DaskEngine(cluster.address, ahead=1) as engine:
        cluster.worker("--nthreads", "1")
        gate = Gate(tmp_path)
        tasks = [engine.start(gate), engine.start(calls.add, 1, 2), engine.start(calls.add, 3, 4)]
        os.kill(gate.pid(), signal.SIGKILL)
        ended(engine, 3)
        assert [task.died for task in tasks] == [True, True, False]
        assert tasks[2].result == 7


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CONNECT_SECONDS", 0.5)
    address = f"tcp://127.0.0.1:{free_port()}"
    with pytest.raises(ServerGoneError, match=f"no Dask scheduler answers at {address}"):
        DaskEngine(address)


def test_without_the_package() -> None:
    code = "import sys; sys.modules['distributed'] = None; import wendelin.kernel.activity.cluster"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MissingPackageError: a Dask cluster needs the package distributed: pip install" in done.stderr


def test_no_place() -> None:
    with pytest.raises(TypeError, match="names no Dask scheduler"):
        DaskEngine(5)
    with dask.config.set({"scheduler-address": None}), pytest.raises(TypeError, match="names no Dask scheduler"):
        DaskEngine()


def test_a_client_or_the_configuration_names_the_scheduler(tmp_path: Path) -> None:
    """The client stays as it is: the engine has its own."""
    with cluster_of(tmp_path) as cluster:
        cluster.worker("--nthreads", "1", "--no-nanny")
        with Client(cluster.address, set_as_default=False) as client:
            with DaskEngine(client) as engine:
                task = engine.start(calls.add, 1, 2)
                ended(engine, 1)
                assert task.result == 3
            assert client.status == "running"
        with dask.config.set({"scheduler-address": cluster.address}), DaskEngine() as engine:
            assert engine.address == cluster.address
            assert repr(engine).startswith(f"<DaskEngine {cluster.address} workers=")


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates from Dask's configuration; without them nothing is told."""
    security = Security.temporary()
    files = {}
    for name, text in (
        ("ca", security.tls_ca_file),
        ("cert", security.tls_client_cert),
        ("key", security.tls_client_key),
    ):
        files[name] = tmp_path / f"{name}.pem"
        files[name].write_text(text)
    options = ("--tls-ca-file", str(files["ca"]), "--tls-cert", str(files["cert"]), "--tls-key", str(files["key"]))
    settings = {
        "distributed.comm.tls.ca-file": str(files["ca"]),
        "distributed.comm.tls.client.cert": str(files["cert"]),
        "distributed.comm.tls.client.key": str(files["key"]),
        "distributed.comm.require-encryption": True,
    }
    with cluster_of(tmp_path, "tls", options) as cluster:
        cluster.worker("--nthreads", "1", "--no-nanny")
        with dask.config.set(settings), DaskEngine(cluster.address) as engine:
            assert engine.address.startswith("tls://")
            task = engine.start(calls.add, 1, 2)
            ended(engine, 1)
            assert task.result == 3
        monkeypatch.setattr(link, "CONNECT_SECONDS", 1.0)
        with pytest.raises(ServerGoneError, match="certificates"):
            DaskEngine(cluster.address)
