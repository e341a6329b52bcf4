"""The databases that are tortured: how each is started, killed, and loses power."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import processes
from tests.conftest import read_tools
from tests.storage.database.servers import PostgresqlServer, postgresql_server, wait_until
from tests.torture import recorded
from wendelin.storage.database import ondemand, paths

MARK = "WENDELIN_TORTURE"


class Kind:
    """A database without a server: `sqlite`."""

    loses_power = True
    has_server = False

    def __init__(self, place: Path) -> None:
        self.place = place
        self.state = place / "state"
        self.state.mkdir()

    @property
    def url(self) -> str:
        return f"sqlite://{self.state}/plant?transaction_timeout=10"

    def start(self) -> None:
        """Start the server again, unless clients do so."""

    def take_out(self, sabotage: str) -> None:
        """Let the server leave out a part of its commits from now on; clients are told themselves."""

    def server_pid(self) -> int:
        """The server, if it dies where the torture plans; else 0."""
        return 0

    def kill_server(self) -> None:
        """kill -9, and wait."""

    def kill_rest(self) -> None:
        """End all processes of the torture but this one: those that clients were just starting too."""
        while left := processes.started_with(MARK, str(self.place)):
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill_rest()


class Local(Kind):
    """`local://`: clients start its server themselves."""

    has_server = True
    folder_name = "plant"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.folder = self.state / "plant"
        os.environ |= {"WENDELIN_SABOTAGE": "", "WENDELIN_TRANSACTION_TIMEOUT": "10"}
        ondemand.MODULE = recorded.__name__

    def take_out(self, sabotage: str) -> None:
        os.environ["WENDELIN_SABOTAGE"] = sabotage
        self.kill_server()

    @property
    def url(self) -> str:
        return f"local://{self.folder}"

    def server_pid(self) -> int:
        running = ondemand.find(self.folder)
        return running.pid if running else 0

    def kill_server(self) -> None:
        if pid := self.server_pid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not processes.living([pid]), "the end of the server")


class Wire(Local):
    """`zeo://` to the same server: blobs go over the wire, each client machine has a cache of them."""

    @property
    def url(self) -> str:
        return f"zeo://{paths.socket_path(self.folder)}?wait_timeout=2"

    def start(self) -> None:
        ondemand.ensure(self.folder)


class Postgresql(Kind):
    """PostgreSQL with blobs in it. Its own syncing is not looked at: it loses processes, not power."""

    loses_power = False
    has_server = True

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._starter = os.getpid()
        self._stack = contextlib.ExitStack()
        self.server: PostgresqlServer = self._stack.enter_context(postgresql_server(read_tools()["postgres_bin"]))
        self.server.psql("CREATE DATABASE plant")

    def take_out(self, sabotage: str) -> None:
        if sabotage == "fsync":  # commits return before they are written
            self.server.psql("ALTER SYSTEM SET synchronous_commit = off")
            self.server.psql("ALTER SYSTEM SET wal_writer_delay = '10s'")
            self.server.psql("SELECT pg_reload_conf()")

    @property
    def url(self) -> str:
        return self.server.url("plant", parameters="?transaction_timeout=10")

    def start(self) -> None:
        if os.getpid() == self._starter and self.server.process.poll() is not None:
            self.server.start()

    def kill_server(self) -> None:
        postmaster = self.server.process.pid
        family = [process.pid for process in processes.living() if process.parent == postmaster]
        for pid in (postmaster, *family):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.server.process.wait()
        wait_until(lambda: not processes.living(family), "the end of PostgreSQL's processes")

    def kill_rest(self) -> None:
        """Nothing: clients start nothing here."""

    def stop(self) -> None:
        self._stack.close()


KINDS: dict[str, type[Kind]] = {"local": Local, "wire": Wire, "sqlite": Kind, "postgresql": Postgresql}


@contextlib.contextmanager
def opened(name: str, place: Path) -> Iterator[Any]:
    """The kind `name` below `place`, with all that belongs to it in folders and an environment of its own."""
    runtime = place / "run"
    runtime.mkdir(mode=0o700)
    os.environ |= {MARK: str(place), "XDG_RUNTIME_DIR": str(runtime), "WENDELIN_HOME": str(place / "home")}
    kind = KINDS[name](place)
    try:
        yield kind
    finally:
        kind.stop()


def forget_caches(place: Path) -> None:
    """What clients' machines had fetched is gone too."""
    shutil.rmtree(place / "home" / "cache", ignore_errors=True)
