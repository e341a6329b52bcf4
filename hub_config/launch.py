"""Bring a workbench up and down: database, example data, hub; and down in the opposite order.

- `prepare` decides everything (ports, secrets, accounts) and touches only the data folder.
- One workbench a data folder: a lock that the kernel frees when its holder dies.
- Ready means: a browser would get the sign-in page, and the dashboards would send it there.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

import psutil

from wendelin.hub_config.accounts import Accounts, ensure_demo
from wendelin.hub_config.errors import AlreadyRunningError, HubDiedError
from wendelin.hub_config.examples import application_digest, copy_dashboards, loaders
from wendelin.hub_config.folders import DataFolder
from wendelin.hub_config.ports import free_port, require_free
from wendelin.hub_config.settings import RUN_VARIABLE, SETTINGS_VARIABLE, Settings
from wendelin.hub_config.tools import find_tools
from wendelin.hub_config.watch import end_all, wait_for_all, wait_until_gone
from wendelin.storage.database import ondemand
from wendelin.storage.database.urls import LocalURL, parse

CONFIG = Path(__file__).with_name("jupyterhub_config.py")
READY_SECONDS = 120.0
STOP_SECONDS = 45.0
#: Kernels whose server had to be ended find that out by themselves.
LINGER_SECONDS = 10.0
_LOG_LIMIT = 10 << 20

Say = Callable[[str], None]


class Workbench:
    """One run on one data folder. `start` raises what is wrong; `stop` may be called at any time, also twice."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self.folder = settings.folder
        self.say = say
        self.hub: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    def start(self, *, examples: bool = True, password: str | None = None) -> None:
        """Start everything and return when it is ready, or raise.

        `examples`: load example data when there is none yet. `password`: set that of the demo accounts.
        """
        self._claim()
        # Only now: another workbench may have been running on these files.
        ensure_demo(Accounts(self.folder.accounts), password)
        self.settings.save()
        self._install_kernel()
        copy_dashboards(self.folder.dashboards)
        self._start_database()
        if examples:
            for name in loaders():
                self._load(name)
        self._start_hub()
        self._wait_until_ready()

    def stop(self) -> None:
        """End everything that this run started, and wait until it is gone."""
        if self._lock is None:
            return  # nothing was started, and what runs in the folder is another one's
        if self.hub is not None and self.hub.poll() is None:
            self.say("stopping: notebooks, dashboards and hub …")
            self.hub.terminate()
            if wait_until_gone(psutil.Process(self.hub.pid), STOP_SECONDS):
                wait_for_all(self.settings.run, LINGER_SECONDS)
            else:
                self.say(f"the hub did not end within {STOP_SECONDS:.0f} s: ending it")
        for found in end_all(self.settings.run):
            self.say(f"ended what was left: {found}")
        if self.hub is not None:
            self.hub.wait()
        self._stop_database()
        self._lock.truncate(0)
        self._lock.close()
        self._lock = None

    def check(self) -> None:
        """Raise `HubDiedError` with the log's tail when the hub has ended by itself."""
        if self.hub is not None and self.hub.poll() is not None:
            raise HubDiedError(
                f"the hub ended (status {self.hub.returncode}); its log {self._log('hub')} ends:\n{self._tail()}"
            )

    def _claim(self) -> None:
        # Opened for appending: what a running one wrote must stay readable.
        lock = self.folder.lock.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            text = lock.read()
            lock.close()
            other = json.loads(text) if text else {}
            raise AlreadyRunningError(
                f"a workbench runs on {self.folder.root} already: process {other.get('pid')}, {other.get('url')}. "
                f"Stop it with Ctrl-C, or choose another folder: --data /path/to/a/folder"
            ) from None
        self._lock = lock
        lock.truncate(0)
        lock.write(json.dumps({"pid": os.getpid(), "url": self.settings.url}))
        lock.flush()

    def _install_kernel(self) -> None:
        from wendelin.kernel.install import install

        install(prefix=str(self.folder.jupyter))

    def _start_database(self) -> None:
        database = parse(self.settings.database)
        if isinstance(database, LocalURL):
            self.say("starting the database …")
            ondemand.ensure(database.folder)

    def _stop_database(self) -> None:
        database = parse(self.settings.database)
        if isinstance(database, LocalURL):
            ondemand.stop(database.folder)

    def _load(self, name: str) -> None:
        """Load the example data of an application once, and after its upgrades; a failure is told and stops nothing."""
        done = self.folder.hub / f"loaded-{name}"
        digest = application_digest(name)
        if done.exists() and done.read_text() == digest:
            return
        self.say(f"loading the example data of {name} …")
        command = [sys.executable, "-m", f"wendelin.notebooks.{name}.load"]
        result = subprocess.run(command, env=self._environment(), check=False)
        if result.returncode == 0:
            done.write_text(digest)
        else:
            self.say(
                f"could not load it (status {result.returncode}); going on without. The next start tries again; "
                f"by hand: WENDELIN_HOME={self.folder.home} {sys.executable} -m wendelin.notebooks.{name}.load"
            )

    def _start_hub(self) -> None:
        self.say("starting the hub …")
        for port, option in (
            (self.settings.hub_port, "--hub-port"),
            (self.settings.proxy_port, "--proxy-port"),
            (self.settings.dashboards_port, "--dashboards-port"),
        ):
            require_free("127.0.0.1", port, option)
        log = self._log("hub")
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        command = [sys.executable, "-P", "-m", "jupyterhub", "-f", str(CONFIG)]
        with log.open("ab") as output:
            self.hub = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder.hub,
                env=self._environment(),
                start_new_session=True,  # Ctrl-C in the terminal is ours alone
            )

    def _environment(self) -> dict[str, str]:
        # Started from inside another hub, say from a notebook's terminal, none of its variables may leak in.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTERHUB_", "JPY_"))}
        ours = {SETTINGS_VARIABLE: str(self.folder.settings), RUN_VARIABLE: self.settings.run}
        return {**kept, **self.settings.service_environment(), **ours, "HOME": os.environ.get("HOME", "/")}

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        waiting = {"/hub/login": 200, "/services/dashboards/": 302}
        while waiting:
            self.check()
            waiting = {path: status for path, status in waiting.items() if _status(self.settings.url + path) != status}
            if waiting and time.monotonic() > deadline:
                raise HubDiedError(
                    f"{', '.join(waiting)} did not answer within {READY_SECONDS:.0f} s; "
                    f"the log {self._log('hub')} ends:\n{self._tail()}"
                )
            time.sleep(0.25)

    def _log(self, name: str) -> Path:
        return self.folder.log / f"{name}.log"

    def _tail(self, lines: int = 15) -> str:
        with self._log("hub").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 16384))
            found = file.read().decode(errors="replace").splitlines()
        # The proxy tells at length that the hub is gone: that is known.
        told = [line for line in found if "ConfigProxy" not in line and not line.startswith((" ", "}"))]
        return "\n".join((told or found)[-lines:])


def prepare(
    data: Path,
    *,
    host: str,
    port: int,
    inner_ports: tuple[int, int, int] = (0, 0, 0),
    database: str | None = None,
    preheat: int = 1,
    sign_up: bool = False,
) -> Settings:
    """Make the data folder and decide the settings of a run; every port that is 0 becomes a free one.

    Raises `PortTakenError`, `ToolMissingError`, `DatabaseURLError` before anything is started.
    """
    require_free(host, port)
    tools = find_tools()
    folder = DataFolder(data.absolute())
    folder.make()
    url = parse(database) if database else LocalURL(folder.home / "db" / "default")
    hub_port, proxy_port, dashboards_port = (chosen or free_port() for chosen in inner_ports)
    return Settings(
        data=str(folder.root),
        host=host,
        port=port,
        hub_port=hub_port,
        proxy_port=proxy_port,
        dashboards_port=dashboards_port,
        database=database or url.url,
        node=str(tools.node),
        proxy=str(tools.script),
        preheat=preheat,
        sign_up=sign_up,
        run=secrets.token_hex(8),
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def _status(url: str) -> int | None:
    """The HTTP status of `url`, without following redirections and without the machine's web proxy."""
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None
