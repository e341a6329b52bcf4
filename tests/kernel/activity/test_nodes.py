"""Several nodes of one database, each a process: they share the work, and what a dead one had is done by another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction

import wendelin
from tests.house.repository import ROOT
from tests.kernel.activity.calls import Gate, ended
from tests.kernel.activity.dispatching import until
from wendelin import ZBigArray
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.exchange import Exchange, host_towards
from wendelin.kernel.activity.fleet import Fleet
from wendelin.kernel.activity.local import LocalEngine
from wendelin.kernel.activity.member import Membership
from wendelin.kernel.activity.node import serve
from wendelin.storage.activities.monitor import Monitor
from wendelin.storage.activities.queue import ActivityQueue

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(conn: Any) -> Iterator[Start]:
    """Starts nodes by name, with one worker each."""
    conn.root()["activities"] = ActivityQueue()
    transaction.commit()
    nodes: list[subprocess.Popen[bytes]] = []

    def start_node(name: str) -> subprocess.Popen[bytes]:
        module = "wendelin.kernel.activity.node"
        command = [sys.executable, "-m", module, "--database", conn.url, "--workers", "1", "--name", name]
        nodes.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        return nodes[-1]

    yield start_node
    for node in nodes:
        node.send_signal(signal.SIGCONT)
        node.terminate()
    for node in nodes:
        node.wait(60)


@pytest.fixture
def monitor(conn: Any) -> Iterator[Monitor]:
    with Monitor(conn) as made:
        yield made


def leader(monitor: Monitor) -> str:
    return monitor.look().dispatcher.partition(":")[0]


def names(monitor: Monitor) -> set[str]:
    """Of the nodes that others see, without the leader's own engine, which has the machine's name."""
    return {node.name for node in monitor.look().nodes}


@wendelin.operation
def meet(data: ZBigArray, mine: str, other: str) -> int:
    """Ends only if the other one runs at the same time."""
    Path(mine).touch()
    while not Path(other).exists():
        time.sleep(0.01)
    data[0 if mine < other else 1] += 1000
    return os.getpid()


@wendelin.operation
def add_when_open(data: ZBigArray, gate: str) -> int:
    """Goes on when the test opens the gate; says where it runs."""
    wendelin.progress(1, 2, str(os.getpid()))
    while not Path(gate).exists():
        time.sleep(0.01)
    data[5] += 100
    return os.getppid()


def two(start: Start, monitor: Monitor) -> dict[str, subprocess.Popen[bytes]]:
    """A leader and one that joined, by name."""
    first = start("first")
    until(lambda: leader(monitor) == "first")
    second = start("second")
    until(lambda: "second" in names(monitor))
    return {"first": first, "second": second}


def test_two_nodes_work_at_the_same_time(start: Start, data: ZBigArray, monitor: Monitor, tmp_path: Path) -> None:
    nodes = two(start, monitor)
    marks = [str(tmp_path / "a"), str(tmp_path / "b")]
    handles = [data.activate().meet(mine, other) for mine, other in (marks, marks[::-1])]
    transaction.commit()
    assert len({handle.result(60) for handle in handles}) == 2
    transaction.begin()
    assert data[:2].tolist() == [1000, 1001]
    assert len(nodes) == 2


@pytest.mark.parametrize("name", ["first", "second"])
def test_the_named_node_does_it(start: Start, data: ZBigArray, monitor: Monitor, tmp_path: Path, name: str) -> None:
    nodes = two(start, monitor)
    (tmp_path / "gate").touch()
    handles = [data.activate(node=name, serialization_tag="x").add_when_open(str(tmp_path / "gate")) for _ in range(6)]
    transaction.commit()
    assert {handle.result(60) for handle in handles} == {nodes[name].pid}
    transaction.begin()
    assert data[5] == 605


@pytest.mark.parametrize("killed", ["first", "second"])
def test_what_a_killed_node_had_is_done_by_the_other(
    start: Start, data: ZBigArray, monitor: Monitor, tmp_path: Path, killed: str
) -> None:
    """The leader, or the one that joined; each with an activity under way, whose progress was seen."""
    nodes = two(start, monitor)
    gate = tmp_path / "gate"
    handles = [data.activate(serialization_tag=f"{n}").add_when_open(str(gate)) for n in range(2)]
    transaction.commit()
    until(lambda: all(handle.progress for handle in handles))
    nodes[killed].kill()
    nodes[killed].wait()
    gate.touch()
    left = nodes["first" if killed == "second" else "second"].pid
    assert left in {handle.result(60) for handle in handles}
    transaction.begin()
    assert data[5] == 205
    until(lambda: leader(monitor) == ("first" if killed == "second" else "second"))


def test_a_node_that_stands_still_is_left_out(start: Start, data: ZBigArray, monitor: Monitor, tmp_path: Path) -> None:
    """No word of it for some seconds: what it had is given out again, and happens once although it goes on later."""
    nodes = two(start, monitor)
    gate = tmp_path / "gate"
    handles = [data.activate(serialization_tag=f"{n}").add_when_open(str(gate)) for n in range(2)]
    transaction.commit()
    until(lambda: all(handle.progress for handle in handles))
    nodes["second"].send_signal(signal.SIGSTOP)
    gate.touch()
    for handle in handles:
        handle.result(60)
    nodes["second"].send_signal(signal.SIGCONT)
    until(lambda: "second" in names(monitor))
    transaction.begin()
    assert data[5] == 205


def test_a_dispatcher_listens_where_the_database_is() -> None:
    assert host_towards("local:///tmp/db") == "127.0.0.1"
    assert host_towards("zeo://127.0.0.1:8100") == "127.0.0.1"
    assert host_towards("zeo://[::1]:8100") == "::1"
    assert host_towards("postgresql://x@localhost/db") in ("127.0.0.1", "::1")
    assert host_towards("zeo://no.such.host.invalid:1") == "127.0.0.1"


def test_what_an_engine_had_is_forgotten_though_a_membership_hears_of_it() -> None:
    """Somebody led, and stands by now: what was cancelled must not count as work when it leads again."""
    with LocalEngine(1) as engine:
        fleet = Fleet(engine, "own")
        member = Membership("", engine, "own", fleet.wait)
        tasks = [fleet.start(time.sleep, 600) for _ in range(4)]
        for task in tasks:
            task.cancel()
        while not all(task.ended for task in tasks):
            member.serve(None, "", 0.1)
        member.serve(None, "", 0.1)
        assert fleet._own == {}


class Cluster(LocalEngine):
    """As an engine of a Dask scheduler: others may have its workers, too."""

    address = "tcp://10.0.0.5:8786"


def test_a_cluster_that_the_leader_uses_itself_is_not_offered_twice() -> None:
    """Each of its workers would run two calls, and both would be blamed for its death."""
    with Cluster(1) as own, Cluster(1) as other:
        fleet = Fleet(own, "own")
        exchange = Exchange("127.0.0.1", dict, fleet.join)
        member = Membership("", other, "other")
        try:
            while member._unwanted is None:
                member.serve(exchange.address, exchange.key, 0.1)
            member.serve(exchange.address, exchange.key, 0.1)
            assert set(fleet.nodes()) == set(own.nodes())
            assert member._line is None
        finally:
            member.leave()
            exchange.close()


def test_a_node_that_leaves_in_order_is_no_death(tmp_path: Path) -> None:
    """Three of them would fail an activity that takes long."""
    stopping, gate = threading.Event(), Gate(tmp_path)
    with LocalEngine(1) as own, LocalEngine(1) as other:
        fleet = Fleet(own, "own")
        exchange = Exchange("127.0.0.1", dict, fleet.join)
        member = Membership("", other, "other")

        def serve() -> None:
            while not stopping.is_set():
                member.serve(exchange.address, exchange.key, 0.1)
            member.leave()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            until(lambda: "other" in fleet.nodes())
            task = fleet.start_on("other", gate)
            gate.pid()
            stopping.set()
            assert ended(fleet, 1) == [task]
            assert (task.cancelled, task.died) == (True, False)
        finally:
            stopping.set()
            thread.join()
            exchange.close()
            fleet.close()


def test_a_node_whose_dispatcher_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever supervises it sees an exit status that is not zero."""

    def fail(self: Dispatcher) -> None:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(Dispatcher, "run", fail)
    with pytest.raises(RuntimeError, match="unforeseen"):
        serve(f"local://{tmp_path}/db", LocalEngine(1), stop=threading.Event())
