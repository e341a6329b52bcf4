"""What tests are held to holds: leftovers are seen, a second name is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes

pytest_plugins = ["pytester"]

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_detached_process_is_seen_and_stopped() -> None:
    """A double fork with setsid hides a process from its parent, not from the mark."""
    script = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True)"
    known = processes.pids()
    subprocess.run([sys.executable, "-c", script, *SLEEP], check=True)
    left = processes.left_behind(os.environ[processes.MARK], known)
    assert [process.command for process in left] == [" ".join(SLEEP)]
    assert left[0].parent != os.getpid()
    processes.stop(left)
    assert processes.left_behind(os.environ[processes.MARK], known) == []


def test_a_forked_child_is_seen() -> None:
    """Without exec, /proc shows the environment of the parent's start: the descent tells."""
    known = processes.pids()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os._exit(0)
    assert [process.pid for process in processes.left_behind("no such mark", known)] == [child]
    os.write(writing, b".")
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert processes.left_behind("no such mark", known) == []


@pytest.mark.slow
def test_a_test_that_leaves_a_process_fails(pytester: pytest.Pytester) -> None:
    """… and the process is gone afterwards."""
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(
        f"import subprocess\n\ndef test_it():\n    subprocess.Popen({SLEEP!r}, start_new_session=True)\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "-W", "ignore")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left running*"])


def test_a_floor_has_one_name() -> None:
    """`import storage` would give every persistent class a twin."""
    with pytest.raises(ImportError, match=r"import wendelin\.storage"):
        __import__("storage")


def test_the_home_is_fresh_and_short(wendelin_home: Path) -> None:
    """A UNIX socket's path has 107 bytes."""
    assert list(wendelin_home.iterdir()) == [wendelin_home / "run"]
    assert len(str(wendelin_home)) < 40
    assert os.environ["WENDELIN_HOME"] == str(wendelin_home)
