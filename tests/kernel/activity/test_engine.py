"""The contract of engines, for each of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import transaction

import wendelin
from tests.kernel.activity import calls
from tests.kernel.activity.calls import Gate, ended, pids
from tests.storage.database.servers import PATIENCE, wait_until
from wendelin.kernel.activity.engine import Engine, Task
from wendelin.storage.errors import EngineClosedError, UncommittedChangesError, UnsendableError, WorkerLostError


def test_a_call_returns(engine: Engine) -> None:
    task = engine.start(calls.add, 1, 2)
    assert ended(engine, 1) == [task]
    assert (task.result, task.error, task.ended, task.cancelled, task.died) == (3, None, True, False, False)
    assert task.node in engine.nodes()


def test_it_runs_in_another_process(engine: Engine) -> None:
    task = engine.start(os.getpid)
    ended(engine, 1)
    assert task.result != os.getpid()
    assert task.result in wait_until(lambda: pids(engine), "process numbers")


def test_start_does_not_wait(engine: Engine, tmp_path: Path) -> None:
    """More calls than slots are taken while none of them can end."""
    gates = [Gate(tmp_path, str(number)) for number in range(5)]
    tasks = [engine.start(gate) for gate in gates]
    assert not any(task.ended for task in tasks)
    assert engine.wait(0) == []
    for gate in gates:
        gate.open()
    assert set(ended(engine, 5)) == set(tasks)


def _last_word(task: Task) -> bool:
    return bool(task.note == ("word", 49))


def test_a_running_call_says_how_far_it_is(engine: Engine, tmp_path: Path) -> None:
    gates = [Gate(tmp_path, str(number)) for number in range(2)]
    before = time.time()
    tasks = [engine.start(calls.Telling(gate)) for gate in gates]
    for task in tasks:
        wait_until(partial(_last_word, task), "the last word")
        assert before <= task.began <= time.time()
    assert engine.wait(0) == []
    for gate in gates:
        gate.open()
    ended(engine, 2)
    silent = engine.start(calls.add, 1, 1)
    ended(engine, 1)
    assert silent.note is None


def test_an_error_comes_with_its_traceback(engine: Engine) -> None:
    task = engine.start(calls.fail, "no sun")
    ended(engine, 1)
    assert isinstance(task.error, ValueError)
    assert str(task.error) == "no sun"
    assert "raise ValueError(text)" in str(task.error.__cause__)
    assert "wire.py" not in str(task.error.__cause__)
    assert (task.result, task.died, task.cancelled) == (None, False, False)


def test_a_call_that_wants_to_exit_only_fails(engine: Engine) -> None:
    left, added = engine.start(calls.leave), engine.start(calls.add, 1, 1)
    ended(engine, 2)
    assert isinstance(left.error, SystemExit)
    assert added.result == 2


@pytest.mark.parametrize(
    ("call", "text"), [(calls.fail_awkwardly, "Awkward: 1 and 2"), (calls.fail_locked, "holds a lock")]
)
def test_an_error_that_cannot_travel_is_told(engine: Engine, call: object, text: str) -> None:
    task = engine.start(call)  # type: ignore[arg-type]
    ended(engine, 1)
    assert isinstance(task.error, UnsendableError)
    assert text in str(task.error)
    assert "raise" in str(task.error.__cause__)


def test_what_cannot_be_pickled_fails_alone(engine: Engine) -> None:
    sent = engine.start(calls.total, threading.Lock())
    given = engine.start(calls.give_lock)
    well = engine.start(calls.add, 2, 2)
    ended(engine, 3)
    assert isinstance(sent.error, UnsendableError)
    assert "total and its arguments cannot be sent" in str(sent.error)
    assert isinstance(given.error, UnsendableError)
    assert "give_lock returned a lock" in str(given.error)
    assert well.result == 4


def test_large_arguments_and_results(engine: Engine) -> None:
    """20 MB there and back; arrays that were writable are, and the sender's is not touched."""
    array = calls.big()
    tasks = [engine.start(calls.double, array) for _ in range(3)]
    array[:] = -1  # was taken as it was
    ended(engine, 3)
    for task in tasks:
        assert task.error is None
        np.testing.assert_array_equal(task.result, 2 * calls.big())
        task.result[0, 0] = 5
    assert array.max() == -1


def test_many_large_calls_wait(engine: Engine) -> None:
    """More than there are descriptors for memory files."""
    tasks = [engine.start(calls.total, np.full(20_000, number)) for number in range(100)]
    ended(engine, 100)
    assert [task.result[0] for task in tasks] == [20_000.0 * number for number in range(100)]


def test_closures_are_sent_by_value(engine: Engine) -> None:
    offset = 10
    task = engine.start(lambda value: value + offset, 1)
    ended(engine, 1)
    assert task.result == 11


@pytest.mark.slow
def test_persistent_arrays_go_by_reference(engine: Engine, wendelin_home: Path) -> None:
    connection = wendelin.connect()
    root = connection.root()
    root["a"] = wendelin.ZBigArray((1_000_000,), "f8")
    view = root["a"][:]
    view[:] = 1
    transaction.commit()
    task = engine.start(calls.total, view[::2])
    ended(engine, 1)
    assert task.error is None
    assert task.result == (500_000.0, "ndarray")
    view[0] = 7
    refused = engine.start(calls.total, view)
    ended(engine, 1)
    assert isinstance(refused.error, UncommittedChangesError)
    transaction.abort()
    connection.close()


def test_wait_gives_up(engine: Engine) -> None:
    assert engine.wait(0.01) == []


def test_wake(engine: Engine) -> None:
    """From another thread, and before anybody waits."""
    engine.wake()
    assert engine.wait(PATIENCE) == []
    waiting = threading.Thread(target=engine.wait, args=(PATIENCE,))
    waiting.start()
    engine.wake()
    waiting.join(PATIENCE / 2)
    assert not waiting.is_alive()


def test_threads_start_and_wait(engine: Engine) -> None:
    """Each task is given once."""
    found: list[int] = []
    started = 4 * 25

    def work(first: int) -> None:
        for number in range(25):
            engine.start(calls.add, first, number)
        while len(found) < started:
            found.extend(task.result for task in engine.wait(0.05))

    threads = [threading.Thread(target=work, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(found) == [100 * first + number for first in range(4) for number in range(25)]


def test_nodes(engine: Engine, tmp_path: Path) -> None:
    engine.start(calls.add, 1, 2)
    engine.start(calls.fail, "")
    ended(engine, 2)
    gate = Gate(tmp_path)
    engine.start(gate)
    gate.pid()
    nodes = engine.nodes()
    assert all(name == node.name for name, node in nodes.items())
    assert sum(node.slots for node in nodes.values()) == engine.slots == 2
    assert [sum(getattr(node, what) for node in nodes.values()) for what in ("busy", "done", "failed")] == [1, 1, 1]
    gate.open()
    ended(engine, 1)
    assert sum(node.busy for node in engine.nodes().values()) == 0


def test_a_call_that_waits_can_be_cancelled(engine: Engine, tmp_path: Path) -> None:
    gates = [Gate(tmp_path, str(number)) for number in range(2)]
    for gate in gates:
        engine.start(gate)
    for gate in gates:
        gate.pid()
    waiting = [engine.start(calls.count, tmp_path / "counted") for _ in range(5)]
    waiting[1].cancel()
    (task,) = ended(engine, 1)
    assert task is waiting[1]
    assert task.cancelled
    assert task.error is not None
    for gate in gates:
        gate.open()
    ended(engine, 6)
    assert len((tmp_path / "counted").read_text().split()) == 4
    task.cancel()  # an ended one: nothing
    assert engine.wait(0) == []


def test_a_running_call_can_be_cancelled(mortal: Engine, tmp_path: Path) -> None:
    """Its process ends, and another takes its place."""
    gate, other = Gate(tmp_path), Gate(tmp_path, "other")
    task, well = mortal.start(gate), mortal.start(other)
    pid = gate.pid()
    other.pid()
    task.cancel()
    assert ended(mortal, 1) == [task]
    assert task.cancelled
    assert not task.died
    wait_until(lambda: not calls.is_living(pid), "the end of the worker")
    other.open()
    assert ended(mortal, 1) == [well]
    assert well.error is None
    wait_until(lambda: len(pids(mortal) - {pid}) == 2, "another worker")


def test_a_killed_worker_is_told_and_replaced(mortal: Engine, tmp_path: Path) -> None:
    """Only the call that it ran is lost, and is not repeated; what waited behind it runs elsewhere."""
    gate, other = Gate(tmp_path), Gate(tmp_path, "other")
    lost, well = mortal.start(gate), mortal.start(other)
    pid = gate.pid()
    other.pid()
    waiting = [mortal.start(calls.count, tmp_path / "counted") for _ in range(4)]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: lost.ended, "the loss to be seen")
    assert lost.died
    assert isinstance(lost.error, WorkerLostError)
    assert "may have had effects" in str(lost.error)
    other.open()
    assert set(ended(mortal, 6)) == {lost, well, *waiting}
    assert [task.error for task in [well, *waiting]] == [None] * 5
    assert len((tmp_path / "counted").read_text().split()) == 4
    assert gate.begun.read_text().split() == [str(pid)]
    wait_until(lambda: len(pids(mortal) - {pid}) == 2, "another worker")


def test_an_idle_worker_that_is_killed_is_replaced(mortal: Engine, tmp_path: Path) -> None:
    gates = [Gate(tmp_path, str(number)) for number in range(2)]
    for gate in gates:
        mortal.start(gate)
    killed = {gate.pid() for gate in gates}
    for gate in gates:
        gate.open()
    ended(mortal, 2)
    wait_until(lambda: pids(mortal) == killed, "process numbers")
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(pids(mortal) - killed) == 2, "other workers")
    task = mortal.start(os.getpid)
    ended(mortal, 1)
    assert task.result in pids(mortal)


def test_a_poisonous_call_dies_alone(mortal: Engine) -> None:
    task = mortal.start(calls.die)
    assert ended(mortal, 1) == [task]
    assert task.died
    well = mortal.start(calls.add, 1, 1)
    ended(mortal, 1)
    assert well.result == 2


def test_close_cancels_what_is_left(engine: Engine, tmp_path: Path) -> None:
    gates = [Gate(tmp_path, str(number)) for number in range(4)]
    tasks = [engine.start(gate) for gate in gates]
    wait_until(lambda: sum(gate.has_begun for gate in gates) == 2, "two calls to begin")
    engine.close()
    assert set(engine.wait(0)) == set(tasks)
    assert all(task.cancelled for task in tasks)
    engine.close()
    with pytest.raises(EngineClosedError, match="make a new one"):
        engine.start(calls.add, 1, 1)
    for gate in gates:  # a cluster's threads cannot be killed
        if gate.has_begun and calls.is_living(gate.pid()):
            gate.open()
