"""Worker processes of this machine: what holds beyond the contract."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.repository import ROOT
from tests.kernel.activity import calls
from tests.kernel.activity.calls import Gate, ended, is_living, pids
from tests.storage.database.children import Failed, children
from tests.storage.database.servers import wait_until
from wendelin.kernel.activity.engine import Task
from wendelin.kernel.activity.local import LocalEngine
from wendelin.storage.errors import EngineClosedError, WorkerLostError


def all_gone(numbers: set[int]) -> bool:
    return not any(is_living(pid) for pid in numbers)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def busy_engine(folder: Path) -> tuple[LocalEngine, list[Gate]]:
    """An engine of two workers that both run something."""
    engine = LocalEngine(2)
    gates = [Gate(folder, str(number)) for number in range(2)]
    for gate in gates:
        engine.start(gate)
    for gate in gates:
        gate.pid()
    return engine, gates


def test_as_many_slots_as_processors() -> None:
    with LocalEngine() as engine:
        assert engine.slots == len(os.sched_getaffinity(0))
        assert pids(engine) == set()  # nothing starts before it is needed
    with pytest.raises(ValueError, match="at least one worker"):
        LocalEngine(0)


def test_close_leaves_nothing(tmp_path: Path) -> None:
    """Neither processes, busy or not, nor descriptors."""
    gc.collect()
    before = open_files()
    engine, _ = busy_engine(tmp_path)
    for _ in range(3):
        engine.start(calls.total, calls.big())
    engine.start(calls.die)
    numbers = pids(engine)
    assert len(numbers) == 2
    engine.close()
    assert all_gone(numbers)
    assert pids(engine) == set()
    gc.collect()
    assert open_files() <= before  # less, when others' garbage went meanwhile


def test_descriptors_are_given_back() -> None:
    """Calls, answers and dead workers leave none open."""
    with LocalEngine(1) as engine:
        engine.start(calls.double, calls.big())
        ended(engine, 1)
        before = open_files()
        for _ in range(5):
            engine.start(calls.double, calls.big())
            engine.start(calls.die)
        ended(engine, 10)
        wait_until(lambda: len(pids(engine)) == 1, "another worker")
        gc.collect()
        assert open_files() <= before  # less, when others' garbage went meanwhile


def test_a_forgotten_engine_is_closed(tmp_path: Path) -> None:
    engine, _ = busy_engine(tmp_path)
    numbers = pids(engine)
    del engine
    gc.collect()
    assert all_gone(numbers)


def test_what_a_call_started_ends_with_it(tmp_path: Path) -> None:
    """Cancelled or lost: processes of the worker's session are killed too."""
    with LocalEngine(1) as engine:
        started = tmp_path / "pid"
        task = engine.start(subprocess.run, ["/bin/sh", "-c", f"echo $$ > {started}; exec sleep 1000"])
        wait_until(lambda: started.exists() and started.read_text().strip(), "a process of the call")
        task.cancel()
        ended(engine, 1)
        wait_until(lambda: not is_living(int(started.read_text())), "the end of what the call started")


def test_a_call_does_not_wait_behind_a_long_one(tmp_path: Path) -> None:
    """Those that wait in the socket of a busy worker are taken back when another one has nothing to do."""
    engine, gates = busy_engine(tmp_path)
    with engine:
        waiting = [engine.start(calls.add, number, 0) for number in range(4)]
        gates[1].open()
        found = ended(engine, 5)
        assert {task.result for task in found if task in waiting} == {0, 1, 2, 3}
        gates[0].open()
        ended(engine, 1)


@pytest.mark.slow
def test_kills_at_random(tmp_path: Path) -> None:
    """Every call ends, none ran twice, and those that are not told as lost ran."""
    chosen = random.Random(7)
    with LocalEngine(2) as engine:

        def storm(first: int) -> list[Task]:
            batch = [engine.start(calls.count, tmp_path / str(first + number)) for number in range(60)]
            wait_until(lambda: any(task.ended for task in batch), "the first of a batch")
            with contextlib.suppress(ProcessLookupError):  # the one before may only just be gone
                os.kill(chosen.choice(sorted(wait_until(lambda: pids(engine), "a worker"))), signal.SIGKILL)
            chosen.choice(batch).cancel()
            wait_until(lambda: all(task.ended for task in batch), "the end of a batch")
            return batch

        tasks = [task for number in range(15) for task in storm(60 * number)]
        assert len(ended(engine, len(tasks))) == len(set(tasks))
    runs = [len(file.read_text().split()) if (file := tmp_path / str(n)).exists() else 0 for n in range(len(tasks))]
    assert max(runs) == 1
    assert [run for run, task in zip(runs, tasks, strict=True) if task.error is None and run != 1] == []
    assert sum(task.died for task in tasks) <= 15
    assert sum(task.error is None for task in tasks) >= len(tasks) - 30


def test_two_engines_in_one_process(tmp_path: Path) -> None:
    with LocalEngine(1) as one, LocalEngine(1) as other:
        gate = Gate(tmp_path)
        one.start(gate)
        task = other.start(calls.add, 1, 2)
        assert ended(other, 1) == [task]
        assert one.wait(0) == []
        assert pids(one) | pids(other) > pids(one)
        other.close()
        gate.open()
        assert ended(one, 1)[0].error is None


def test_a_path_added_later_holds_for_running_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As notebooks do: `sys.path.append("..")`, then an import."""
    (tmp_path / "engine_test_helper.py").write_text("def seven():\n    return 7\n")
    with LocalEngine(1) as engine:
        engine.start(calls.add, 1, 2)
        ended(engine, 1)
        monkeypatch.syspath_prepend(tmp_path)
        task = engine.start(importlib.import_module("engine_test_helper").seven)
        ended(engine, 1)
        assert task.error is None
        assert task.result == 7


@pytest.mark.parametrize(
    ("program", "text"),
    [("/bin/false", "in a row ended before they were ready"), ("/no/such/python", "starts no more")],
)
def test_workers_that_do_not_start_are_told(program: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call does not wait for ever; the next one tries again."""
    with LocalEngine(1) as engine:
        with monkeypatch.context() as context:
            context.setattr(sys, "executable", program)
            task = engine.start(calls.add, 1, 2)
            ended(engine, 1)
        assert isinstance(task.error, WorkerLostError)
        assert not task.died
        assert text in str(task.error)
        task = engine.start(calls.add, 1, 2)
        ended(engine, 1)
        assert task.result == 3


SCRIPT = """
import sys
from wendelin.kernel.activity.local import LocalEngine

print("main", flush=True)

class Reading:
    def __init__(self, value):
        self.value = value

def double(reading):
    return Reading(reading.value * FACTOR)

FACTOR = 2
engine = LocalEngine(2)
tasks = [engine.start(double, Reading(number)) for number in range(3)]
while not all(task.ended for task in tasks):
    engine.wait(60)
print([task.result.value for task in tasks], type(tasks[0].result) is Reading, flush=True)
"""


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    """Functions and classes of `__main__` work, and workers do not run it again. It need not close the engine."""
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "error", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "main\n[0, 2, 4] True\n", done.stderr
    assert (done.returncode, done.stderr) == (0, "")


PREPARE = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import os, pathlib, threading, time
from tests.kernel.activity import calls
from wendelin.kernel.activity.local import LocalEngine
engine = LocalEngine(2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("by", ["main thread", "another thread"])
def test_workers_die_with_their_owner(tmp_path: Path, by: str) -> None:
    """kill -9 of a notebook, while one worker runs compiled code and another one nothing."""
    start = "tasks = [engine.start(time.sleep, 1000), engine.start(calls.add, 1, 2)]"
    if by != "main thread":
        start = f"t = threading.Thread(target=exec, args=({start!r}, globals())); t.start(); t.join()"
    with children() as (child,):
        child.do(PREPARE)
        child.do(start)
        numbers = set(child.do("while not tasks[1].ended: engine.wait(60)", "sorted(calls.pids(engine))"))
        assert len(numbers) == 2
        # The thread that started them is long gone: they live as long as the engine.
        assert child.do("again = engine.start(calls.add, 2, 2); engine.wait(60)", "again.result") == 4
        assert set(child.do("", "sorted(calls.pids(engine))")) == numbers
        os.kill(child.pid, signal.SIGKILL)
        wait_until(lambda: all_gone(numbers), "the end of the workers")


@pytest.mark.slow
def test_ctrl_c_is_not_for_workers(tmp_path: Path) -> None:
    """SIGINT for the whole process group, as a terminal or Jupyter sends it: `wait` is interrupted, calls go on."""
    gate = Gate(tmp_path)
    with children() as (child,):
        child.do(PREPARE)
        child.do(f"gate = calls.Gate(pathlib.Path({str(tmp_path)!r}))")
        child.do("task = engine.start(gate)")
        worker = gate.pid()
        child.send("calls.count(gate.begun); engine.wait(600)")
        wait_until(lambda: len(gate.begun.read_text().split()) == 2, "the owner to wait")
        os.killpg(child.pid, signal.SIGINT)
        assert child.process.stdout
        while not select.select([child.process.stdout], [], [], 10)[0]:
            os.killpg(child.pid, signal.SIGINT)  # the first one came while garbage was collected, which swallows it
        with pytest.raises(Failed, match="KeyboardInterrupt"):
            child.receive()
        gate.open()
        assert child.do("while not task.ended: engine.wait(60)", "(task.result, str(task.error))") == [worker, "None"]
        child.do("engine.close()")
        assert child.end() == 0


STORM = """
import signal
tasks, hits, armed = [], 0, False

def interrupt(number, frame):
    global armed
    if armed:
        armed = False
        raise KeyboardInterrupt

signal.signal(signal.SIGINT, interrupt)
while len(tasks) < 2000:
    try:
        armed = True
        while len(tasks) < 2000:
            tasks.append(engine.start(calls.count, file))
            engine.wait(0.001)
        armed = False
    except KeyboardInterrupt:
        hits += 1
"""


@pytest.mark.slow
def test_interrupts_tear_nothing(tmp_path: Path) -> None:
    """Ctrl-C at any moment of `start` and `wait`: each call that began ran once, and the engine goes on."""
    told = tmp_path / "counted"
    with children() as (child,):
        child.do(PREPARE + f"file = pathlib.Path({str(told)!r})")
        child.send(STORM, "(len(tasks), hits)")
        wait_until(told.exists, "the first call")
        assert child.process.stdout
        while not select.select([child.process.stdout], [], [], 0.001)[0]:
            os.kill(child.pid, signal.SIGINT)
        number, hits = child.receive()
        assert hits > 5
        # A `start` that was interrupted on its way back has handed its call over.
        child.do("engine.start(calls.count, file)")
        child.do("while any(node.busy for node in engine.nodes().values()): engine.wait(0.1)")
        assert child.do("", "[repr(task) for task in tasks if not task.ended or task.error]") == []
        assert number < len(told.read_text().split()) <= number + 1 + hits
        child.do("engine.close()")


def test_a_forked_child_is_refused(tmp_path: Path) -> None:
    """And its end does not end the parent's workers."""
    code = """
pid = os.fork()
if not pid:
    try:
        engine.start(calls.add, 1, 1)
    except Exception as error:
        pathlib.Path(file).write_text(f"{type(error).__name__}: {error}")
    engine.close()
    os._exit(0)
os.waitpid(pid, 0)
"""
    with children() as (child,):
        child.do(PREPARE + f"import sys, warnings\nwarnings.simplefilter('ignore')\nfile = {str(tmp_path / 'said')!r}")
        numbers = child.do("task = engine.start(calls.add, 1, 2); engine.wait(60)", "sorted(calls.pids(engine))")
        child.do(code)
        assert "EngineClosedError: this engine belongs to process" in (tmp_path / "said").read_text()
        assert child.do("task = engine.start(calls.add, 1, 2); engine.wait(60)", "task.result") == 3
        assert child.do("", "sorted(calls.pids(engine))") == numbers
        child.do("engine.close()")
    assert issubclass(EngineClosedError, RuntimeError)
