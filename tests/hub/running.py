"""The real program, `python -m wendelin.hub_config.run`, started and stopped as a person would."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import requests

from wendelin.hub_config.ports import free_port

READY = re.compile(
    r"Wendelin is ready at (?P<url>http://\S+)  \(analyst: ada / (?P<ada>.+); manager: mara / (?P<mara>.+)\)"
)


@dataclass
class Running:
    """A workbench that told that it is ready."""

    data: Path
    port: int
    process: subprocess.Popen[str]
    url: str
    passwords: dict[str, str]
    told: Path

    def stop(self) -> int:
        """Ctrl-C; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=90)

    @property
    def stderr(self) -> str:
        return self.told.read_text()

    @property
    def log(self) -> str:
        return (self.data / "log" / "hub.log").read_text(errors="replace")

    @property
    def run(self) -> str:
        """The mark in the environment of all its processes."""
        found = re.search(r'"run": "(\w+)"', (self.data / "hub" / "settings.json").read_text())
        assert found
        return found[1]

    def sign_in(self, name: str, password: str | None = None) -> requests.Session:
        """A session of `name`, by the form that a browser would fill."""
        session = requests.Session()
        session.trust_env = False
        session.get(f"{self.url}/hub/login", timeout=60)
        answer = session.post(
            f"{self.url}/hub/login",
            data={"username": name, "password": password or self.passwords[name], "_xsrf": xsrf(session, "/hub/")},
            allow_redirects=False,
            timeout=60,
        )
        assert answer.status_code == 302, f"{name} could not sign in: {answer.status_code}"
        return session


def xsrf(session: requests.Session, path: str) -> str:
    """The token of the pages below `path`; the hub and each service have one of their own."""
    found = [cookie.value for cookie in session.cookies if cookie.name == "_xsrf" and cookie.path == path]
    return str(found[0])


def program(data: Path, *options: str, port: int | None = None) -> list[str]:
    """The command line."""
    command = [sys.executable, "-m", "wendelin.hub_config.run", "--data", str(data)]
    return [*command, "--port", str(port or free_port()), *options]


def start(data: Path, *options: str, port: int | None = None, seconds: float = 400) -> Running:
    """Start the program and wait for its line."""
    port = port or free_port()
    told = data.parent / f"{data.name}.stderr"
    with told.open("w") as stderr:
        process = subprocess.Popen(
            program(data, *options, port=port), stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=data.parent
        )
    assert process.stdout
    line = _first_line(process, seconds)
    found = READY.fullmatch(line)
    if not found:
        process.terminate()
        process.wait(60)
        raise AssertionError(f"no ready line but {line!r}:\n{told.read_text()}")
    return Running(data, port, process, found["url"], {name: found[name] for name in ("ada", "mara")}, told)


def _first_line(process: subprocess.Popen[str], seconds: float) -> str:
    assert process.stdout
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([process.stdout], [], [], 0.2)[0]:
            return process.stdout.readline().rstrip("\n")
        if process.poll() is not None:
            return ""
    return ""


def environment(data: Path) -> dict[str, str]:
    """For a process that opens the workbench's database."""
    return {**os.environ, "WENDELIN_HOME": str(data / "home")}
