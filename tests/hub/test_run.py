"""The program's ends that are not happy: each says what to type next, and none leaves a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.hub.running import program, start
from wendelin.hub_config.accounts import Accounts, ensure_demo
from wendelin.hub_config.launch import prepare
from wendelin.hub_config.ports import free_port
from wendelin.hub_config.run import ready_line
from wendelin.hub_config.watch import processes_of


@pytest.fixture
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="w-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "data"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def test_a_taken_port_says_so_before_anything_is_started(data: Path):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        found = run(*program(data, port=port))
    assert found.returncode == 1
    assert found.stdout == ""
    assert f"Error: port {port} on 127.0.0.1 is taken" in found.stderr
    assert "--port " in found.stderr
    assert not data.exists()


def test_a_wrong_database_says_so(data: Path):
    found = run(*program(data, "--db", "mongo://x"))
    assert found.returncode == 1
    assert "'mongo://x' is no database URL" in found.stderr


def test_a_short_password_says_so(data: Path):
    found = run(*program(data, "--password", "x"))
    assert found.returncode == 1
    assert "at least 8 characters" in found.stderr


@pytest.mark.slow
def test_a_hub_that_dies_ends_the_program_with_its_reason(data: Path):
    parts = data / "conf.d"
    parts.mkdir(parents=True)
    (parts / "90_mine.py").write_text("def configure(c, settings):\n    c.Spawner.deafult_url = '/lab'\n")
    found = run(*program(data, "--no-examples"))
    assert found.returncode == 1
    assert found.stdout == ""
    assert "the hub ended" in found.stderr
    assert "90_mine.py sets c.Spawner.deafult_url" in found.stderr
    assert "did you mean default_url?" in found.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_workbench_a_folder_and_a_killed_one_leaves_nothing(data: Path):
    """A second start is refused; kill -9 of the first ends all its processes; then the folder is free again."""
    first = start(data, "--no-examples", "--preheat", "0")
    mark = first.run
    database = database_server(data)
    second = run(*program(data, "--no-examples"))
    assert second.returncode == 1
    assert f"process {first.process.pid}, {first.url}" in second.stderr
    assert "--data" in second.stderr
    assert first.run == mark, "the second one has not touched the settings of the first"
    assert database_server(data) == database, "nor stopped its database"

    assert len(list(processes_of(mark))) >= 3, "hub, proxy, dashboards"
    first.process.kill()
    first.process.wait()
    assert first.process.stdout
    first.process.stdout.close()
    end = time.monotonic() + 60
    while (left := list(processes_of(mark))) and time.monotonic() < end:
        time.sleep(0.2)
    assert left == []

    # The same settings, so the database server that outlived the kill is found, used, and stopped.
    third = start(data, "--no-examples", "--preheat", "0")
    server = psutil.Process(database_server(data))
    os.kill(third.process.pid, signal.SIGTERM)
    assert third.stop() == 0
    assert third.process.stdout
    third.process.stdout.close()
    assert list(processes_of(third.run)) == []
    # In a container without an init nobody collects what has ended.
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def database_server(data: Path) -> int:
    from wendelin.storage.database import ondemand

    found = ondemand.find(data / "home" / "db" / "default")
    assert found
    return found.pid


def test_the_ready_line_shows_only_what_there_is(data: Path):
    settings = prepare(data, host="127.0.0.1", port=free_port())
    people = Accounts(settings.folder.accounts)
    ensure_demo(people, "correct horse")
    line = f"Wendelin is ready at {settings.url}"
    assert ready_line(settings) == f"{line}  (analyst: ada / correct horse; manager: mara / correct horse)"
    people.forget_password("ada")
    people.remove("mara")
    assert ready_line(settings) == f"{line}  (analyst: ada / (chosen by its user))"
    people.remove("ada")
    assert ready_line(settings) == line
