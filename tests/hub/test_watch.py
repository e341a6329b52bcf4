from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import psutil
import pytest

from wendelin.hub_config.settings import RUN_VARIABLE
from wendelin.hub_config.watch import end_all, processes_of, wait_for_all

SLEEP = "import time; print('up', flush=True); time.sleep(300)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


@contextlib.contextmanager
def started(code: str, run: str) -> Iterator[subprocess.Popen[str]]:
    """A process with the mark of `run`, once it has printed a line."""
    environment = {**os.environ, RUN_VARIABLE: run}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True) as child:
        assert child.stdout
        child.stdout.readline()
        try:
            yield child
        finally:
            child.kill()


def alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_what_carries_the_mark_ends_and_nothing_else_does():
    run, other = uuid.uuid4().hex, uuid.uuid4().hex
    with started(SLEEP, run) as ours, started(SLEEP, other) as theirs:
        assert [process.pid for process in processes_of(run)] == [ours.pid]
        found = end_all(run)
        assert len(found) == 1
        assert found[0].startswith(f"{ours.pid} ")
        assert ours.poll() is not None
        assert theirs.poll() is None


def test_whoever_ignores_sigterm_is_killed():
    run = uuid.uuid4().hex
    with started(STUBBORN, run) as child:
        end_all(run, patience=0.2)
        assert child.poll() is not None


def test_whoever_ends_by_itself_is_waited_for():
    run = uuid.uuid4().hex
    with started(SLEEP, run) as child:
        assert not wait_for_all(run, 0.1)
        child.terminate()
        assert wait_for_all(run, 20)
        assert end_all(run) == []


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for a signal at the parent's death")
def test_a_killed_parent_leaves_no_child():
    run = uuid.uuid4().hex
    child = f"from wendelin.hub_config.watch import die_with_parent; die_with_parent(); {SLEEP}"
    middle = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE);"
        "p.stdout.readline(); print(p.pid, flush=True); p.wait()"
    )
    with started(middle, run) as parent:
        grandchild = next(process for process in processes_of(run) if process.pid != parent.pid)
        parent.kill()
        parent.wait()
        end = time.monotonic() + 20
        while alive(grandchild) and time.monotonic() < end:
            time.sleep(0.05)
        assert not alive(grandchild)
