"""A database server, a dispatcher and worker processes together; each of them killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
from click.testing import CliRunner

import wendelin
from tests.house.repository import ROOT
from tests.kernel.activity.dispatching import running, until
from wendelin import ZBigArray
from wendelin.kernel.activity import election, embedded
from wendelin.kernel.activity.dispatcher import Dispatcher
from wendelin.kernel.activity.local import LocalEngine
from wendelin.storage.activities import active
from wendelin.storage.activities.queue import ActivityQueue, queue_of
from wendelin.storage.cli import main
from wendelin.storage.database import ondemand
from wendelin.storage.database.status import stop
from wendelin.storage.database.urls import LocalURL, parse
from wendelin.storage.errors import ActivityError

pytestmark = pytest.mark.slow


@pytest.fixture
def engine() -> Iterator[LocalEngine]:
    made = LocalEngine(2)
    yield made
    made.close()


@pytest.fixture
def dispatcher(conn: Any, engine: LocalEngine) -> Iterator[Dispatcher]:
    with running(Dispatcher(conn.url, engine)) as made:
        yield made


def test_the_decks_line_on_workers(data: ZBigArray, dispatcher: Dispatcher) -> None:
    handles = [data.activate(serialization_tag="one").process(server * 25, 25) for server in range(4)]
    transaction.commit()
    assert [handle.result(60) for handle in handles] == [0, 25, 50, 75]
    transaction.begin()
    assert data[:].tolist() == [2 * n for n in range(100)]
    until(lambda: dispatcher.is_idle)
    assert dispatcher.state == {"running": 0, "waiting": 0, "failed": 0, "ended": 4, "errors": 0}


def test_writers_of_one_block_conflict_and_all_have_their_effect(data: ZBigArray, dispatcher: Dispatcher) -> None:
    """Uncounted repetitions: twenty activities add to one element."""

    @wendelin.operation
    def add(data: ZBigArray) -> None:
        data[7] += 1

    handles = [data.activate(max_retry=0).add() for _ in range(20)]
    transaction.commit()
    for handle in handles:
        handle.result(60)
    transaction.begin()
    assert data[7] == 27


def test_a_worker_that_dies_is_replaced_and_a_poisonous_activity_fails_alone(
    data: ZBigArray, dispatcher: Dispatcher, tmp_path: Path
) -> None:
    @wendelin.operation
    def die_once(data: ZBigArray, mark: str) -> str:
        if not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "lived"

    @wendelin.operation
    def poison(data: ZBigArray) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    once = data.activate().die_once(str(tmp_path / "mark"))
    always = data.activate(group_method_id="").poison()
    others = [data.activate(group_method_id="").process(n, 1) for n in range(5)]
    transaction.commit()
    assert once.result(60) == "lived"
    with pytest.raises(ActivityError, match=r"failed after one run(.|\n)*its worker died 3 times while running it"):
        always.result(60)
    assert [handle.result(60) for handle in others] == [0, 1, 2, 3, 4]
    assert until(lambda: dispatcher.state["failed"]) == 1


def test_a_time_out_ends_a_run(data: ZBigArray, dispatcher: Dispatcher) -> None:
    @wendelin.operation
    def hang(data: ZBigArray) -> None:
        while True:
            time.sleep(0.05)

    handle = data.activate(timeout=0.5, max_retry=0).hang()
    transaction.commit()
    with pytest.raises(ActivityError, match=r"longer than its time-out of 0\.5 s"):
        handle.result(60)


def test_in_a_group_only_what_hangs_takes_too_long(data: ZBigArray, dispatcher: Dispatcher) -> None:
    @wendelin.operation
    def perhaps(data: ZBigArray, place: int) -> int:
        while place == 2:
            time.sleep(0.05)
        data[place] = -1
        return place

    options: dict[str, Any] = {"group_method_id": "", "timeout": 1, "max_retry": 0}
    handles = [data.activate(**options).perhaps(place) for place in range(4)]
    transaction.commit()
    assert [handles[place].result(60) for place in (0, 1, 3)] == [0, 1, 3]
    with pytest.raises(ActivityError, match="longer than its time-out"):
        handles[2].result(60)
    transaction.begin()
    assert data[:5].tolist() == [-1, -1, 2, -1, 4]


def test_operations_that_options_name_come_along(data: ZBigArray, dispatcher: Dispatcher, conn: Any) -> None:
    """Workers cannot import what a notebook defines: neither the operation of a group nor the one to be told."""

    @wendelin.operation
    def add_all(messages: list[Any]) -> None:
        for message in messages:
            message.target()[50] += 1

    @wendelin.operation
    def tell(message: Any) -> None:
        message._p_jar.root()["told"] = message.error.strip().splitlines()[-1]

    options: dict[str, Any] = {"group_method_id": "add_all", "group_method_cost": 0.2}
    handles = [data.activate(**options).process(0, 1) for _ in range(10)]
    bad = wendelin.activate(divmod, connection=conn, max_retry=0, on_error_callback="tell")(1, 0)
    transaction.commit()
    for handle in handles:
        handle.result(60)
    assert bad.wait(60)
    until(lambda: dispatcher.state["waiting"] + dispatcher.state["running"] == 0)
    transaction.begin()
    assert (data[50], conn.root()["told"].split(":")[0]) == (60, "ZeroDivisionError")


def test_a_node_that_was_named_does_it(data: ZBigArray, conn: Any, engine: LocalEngine) -> None:
    handle = data.activate(node="b").process(3, 1)
    other = data.activate().process(4, 1)
    transaction.commit()
    with running(Dispatcher(conn.url, engine, node="a")) as first:
        assert other.result(60) == 4
        until(lambda: first.state["running"] == 0)
        assert handle.state == "pending"
    with running(Dispatcher(conn.url, engine, node="b")):
        assert handle.result(60) == 3


def test_a_retry_before_the_failure_was_heard_of_counts(data: ZBigArray, conn: Any, engine: LocalEngine) -> None:
    """The worker has stored the failure, a person has asked for another try, and only then the dispatcher looks."""

    @wendelin.operation
    def fragile(data: ZBigArray) -> str:
        if data[0] == 0:
            raise ValueError("zero")
        return "fine"

    dispatcher = Dispatcher(conn.url, engine)
    heard = threading.Event()
    take_back = dispatcher._take_back

    def late(task: Any) -> None:
        assert heard.wait(60)
        transaction.manager.abort()
        dispatcher._round()
        take_back(task)

    dispatcher._take_back = late  # type: ignore[method-assign]
    with running(dispatcher):
        handle = data.activate(max_retry=0).fragile()
        transaction.commit()
        until(lambda: handle.state == "failed")
        transaction.begin()
        data[0] = 1
        queue = queue_of(conn)
        assert queue is not None
        queue.retry(queue.find(handle.uid))
        transaction.commit()
        heard.set()
        assert handle.result(60) == "fine"


def test_what_waits_in_a_circle_fails_and_says_so(data: ZBigArray, dispatcher: Dispatcher) -> None:
    first = data.activate(tag="a", after_tag="b").process(0, 1)
    second = data.activate(tag="b", after_tag="a").process(0, 1)
    transaction.commit()
    for handle in (first, second):
        with pytest.raises(ActivityError, match="would wait for ever"):
            handle.result(60)


def test_a_person_retries_and_cancels_by_the_command_line(data: ZBigArray, dispatcher: Dispatcher, conn: Any) -> None:
    @wendelin.operation
    def fragile(data: ZBigArray) -> str:
        if data[0] == 0:
            raise ValueError("zero")
        return "fine"

    handle = data.activate(max_retry=0).fragile()
    later = data.activate(delay=3600).process(0, 1)
    transaction.commit()
    until(lambda: handle.state == "failed")
    cli = CliRunner()
    listed = cli.invoke(main, ["activity", "list", "--json"])
    found = {row["uid"]: row for row in map(json.loads, listed.output.splitlines())}
    assert {row["state"] for row in found.values()} == {"failed", "pending"}
    assert found[handle.uid]["error"] == "ValueError: zero"
    assert "ValueError: zero" in cli.invoke(main, ["activity", "show", handle.uid[:8]]).output
    transaction.begin()
    data[0] = 1
    transaction.commit()
    assert cli.invoke(main, ["activity", "retry", handle.uid[:8]]).output == f"{handle.uid[:8]} is run again\n"
    assert handle.result(60) == "fine"
    assert cli.invoke(main, ["activity", "cancel", later.uid]).exit_code == 0
    assert later.state == "cancelled"
    until(lambda: "no activity is waiting" in listing(cli), 20, lambda: (listing(cli), dispatcher.state))
    missing = cli.invoke(main, ["activity", "show", "xyz"])
    assert missing.exit_code == 1
    assert "'xyz' names no activity" in missing.output


def listing(cli: CliRunner) -> str:
    done = cli.invoke(main, ["activity", "list"])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_one_dispatches_and_the_next_takes_over(
    data: ZBigArray, conn: Any, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(election, "LEASE_SECONDS", 1.0)
    other = LocalEngine(1)
    with running(Dispatcher(conn.url, engine)) as first:
        data.activate().process(0, 1)
        transaction.commit()
        until(lambda: first.leads)
        with running(Dispatcher(conn.url, other)) as second:
            assert not second.leads
            first.stop()
            until(lambda: second.leads)
            assert not first.leads
            handle = data.activate().process(1, 1)
            transaction.commit()
            assert handle.result(60) == 1
    other.close()


def test_a_node_is_started_on_demand_and_survives_its_starter(
    conn: Any, data: ZBigArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a notebook does: the first activity's commit starts a node, which works on without the notebook."""
    monkeypatch.setattr(embedded, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(embedded, "_started", {})
    active.after_commit.append(embedded.ensure)
    handle = data.activate().process(3, 1)
    transaction.commit()
    assert handle.result(60) == 3
    ((_, node),) = embedded._started.values()
    assert node.wait(60) == 0, "it ends when nothing has been waiting for a while"
    transaction.begin()
    queue = queue_of(conn)
    assert queue is not None
    assert queue.lease.is_free


def test_a_killed_node_that_was_started_on_demand_has_a_successor(
    conn: Any, data: ZBigArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another commit: who left the activity sees that nobody works on it any more."""
    monkeypatch.setattr(embedded, "IDLE_SECONDS", 1.0)
    monkeypatch.setattr(embedded, "_started", {})
    active.after_commit.append(embedded.ensure)
    first = data.activate().process(3, 1)
    transaction.commit()
    assert first.result(60) == 3
    ((_, node),) = embedded._started.values()
    node.kill()
    node.wait()
    second = data.activate().process(4, 1)
    transaction.commit()
    assert second.result(60) == 4
    ((_, node),) = embedded._started.values()
    assert node.wait(60) == 0


def test_a_stopped_database_stays_stopped(conn: Any, data: ZBigArray, engine: LocalEngine) -> None:
    """A dispatcher would start it again by connecting."""
    dispatcher = Dispatcher(conn.url, engine)
    with running(dispatcher):
        data.activate().process(0, 1)
        transaction.commit()
        until(lambda: dispatcher.leads)
        assert stop(conn.url)
        until(lambda: not dispatcher.leads)
        place = parse(conn.url)
        assert isinstance(place, LocalURL)
        assert ondemand.find(place.folder) is None
    ondemand.ensure(place.folder)


def test_a_killed_node_is_followed_by_another(conn: Any, data: ZBigArray) -> None:
    command = [sys.executable, "-m", "wendelin.kernel.activity.node", "--database", conn.url, "--workers", "1"]

    @wendelin.operation
    def slow(data: ZBigArray) -> None:
        data[5] += 100
        time.sleep(1)

    conn.root()["activities"] = ActivityQueue()
    handle = data.activate().slow()
    transaction.commit()
    nodes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)]
    try:

        def leads() -> bool:
            transaction.begin()
            queue = queue_of(conn)
            return queue is not None and str(nodes[0].pid) in queue.lease.holder

        until(leads)
        nodes[0].kill()
        nodes.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        handle.result(60)
    finally:
        for node in nodes:
            node.terminate()
            node.wait(60)
    transaction.begin()
    assert data[5] == 105


def torture(folder: Path, *options: str) -> Any:
    """The verdict of a run of the tool."""
    command = [sys.executable, "-m", "tests.torture.activities", str(folder), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_every_effect_happens_once_whoever_is_killed(tmp_path: Path) -> None:
    found = torture(tmp_path, "--kills", "24", "--seed", "3")
    assert found["violations"] == []
    assert sum(found["kills"].values()) == 24
    assert len(found["kills"]) >= 3


def test_schedulers_of_dask_are_killed_too(tmp_path: Path) -> None:
    """One node with workers of its own and one with a cluster, which share the work."""
    found = torture(tmp_path, "--kills", "12", "--seed", "5", "--engine", "mixed")
    assert found["violations"] == []
    assert found["kills"]["scheduler"] >= 2


def test_the_torture_notices_when_runs_do_not_conflict(tmp_path: Path) -> None:
    """Whether two runs of a message overlap is luck: as many turns as it takes, and few."""
    turns = (torture(tmp_path / str(seed), "--kills", "20", "--seed", str(seed), "--sabotage") for seed in (2, 4, 6))
    assert any(found["violations"] for found in turns)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("seed", "engine"), list(enumerate(["local", "dask", "mixed"])))
def test_every_effect_happens_once_in_a_thousand_kills(tmp_path: Path, seed: int, engine: str) -> None:
    """Tens of thousands of activities each."""
    found = torture(tmp_path, "--kills", "1000", "--seed", str(seed), "--engine", engine)
    assert found["violations"] == []
    assert found["activities"] > 10_000
