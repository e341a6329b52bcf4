"""A real Jupyter server with the REST door, on a database of its own that has an array and a queue."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import processes
from tests.extensions.people import ROLES
from wendelin.hub_config.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SETUP = """
import numpy as np, transaction, wendelin
root = wendelin.connect().root()
root["plants/4/power"] = A = wendelin.ZBigArray((0, 8), "f4")
A.append(np.arange(80).reshape(10, 8))
root["plants/4/time"] = wendelin.ZBigArray((3,), "M8[s]")
root["plants/5/state"] = wendelin.ZBigArray((4,), [("code", "i4"), ("value", "f8")])
root["cube"] = wendelin.ZBigArray((2, 3, 4), "f8")
wendelin.activate(len, delay=10000, tag="one")("later")
wendelin.activate(len, delay=10000, tag="two")("later")
transaction.commit()
"""


@dataclass
class Door:
    """A server that runs; `call` asks as a person of `tests.extensions.people`."""

    url: str
    home: Path

    def call(self, who: str | None, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"token {who}"} if who else {}
        headers |= options.pop("headers", {})
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, headers=headers, timeout=60, **options)

    def admin(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.call(ROLES["admin"], method, path, **options)


def environment(home: Path) -> dict[str, str]:
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    own = {name: str(home / name.lower()) for name in names}
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return {**os.environ, **own, "WENDELIN_HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}


@contextmanager
def opened(database: str = "", *options: str) -> Iterator[Door]:
    """A server with the door, on a database of its own or on the one of that URL, filled as `SETUP` says."""
    home = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    port = free_port()
    variables = environment(home) | ({"WENDELIN_DB": database} if database else {})
    subprocess.run([sys.executable, "-c", SETUP], env=variables, check=True, cwd=ROOT)
    command = [sys.executable, "-m", "jupyter_server", f"--port={port}", "--ServerApp.port_retries=0", "--no-browser"]
    command += ["--allow-root", "--ServerApp.allow_unauthenticated_access=False"]
    command += ["--ServerApp.identity_provider_class=tests.extensions.people.People"]
    command += ['--ServerApp.jpserver_extensions={"wendelin.extensions.server": True}', f"--ServerApp.root_dir={home}"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen([*command, *options], env=variables, cwd=ROOT, stdout=log, stderr=log)
    found = Door(f"http://127.0.0.1:{port}/wendelin/api/v1", home)
    try:
        _wait(found, server)
        yield found
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        processes.stop(processes.started_with("WENDELIN_HOME", str(home)))
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with opened() as found:
        yield found


def _wait(door: Door, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        try:
            if door.admin("GET", "/").status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise AssertionError((door.home / "log").read_text())
