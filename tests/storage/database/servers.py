"""Real servers for tests: `zeo_server`, `postgresql_server`, `small_disk`. Other floors' tests may use them too."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60.0


def wait_until(condition: Callable[[], Any], what: str = "", patience: float = PATIENCE) -> Any:
    """The first true value of `condition()`; fails when it stays false."""
    end = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience:.0f} s for {what or condition}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(address: tuple[str, int] | str) -> bool:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(address) == 0


class Program:
    """A server that a test starts, kills and starts again."""

    def __init__(self, command: list[str], ready: Callable[[], bool], log: Path, user: str | None = None) -> None:
        self._command, self._ready, self._log, self._user = command, ready, log, user
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            as_user: dict[str, Any] = (
                {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
            )
            self.process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **as_user
            )
        wait_until(self._is_up, f"{self._command}; its log:\n{self._log.read_text()}")

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        return self._ready()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


class ZeoServer(Program):
    """ZEO's own server (runzeo), as somebody else would run it."""

    def __init__(self, folder: Path, address: tuple[str, int] | str, *, blobs: bool = True) -> None:
        self.folder, self.address = folder, address
        folder.mkdir(parents=True, exist_ok=True)
        place = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        configuration = folder / "zeo.conf"
        configuration.write_text(
            f"<zeo>\n  address {place}\n</zeo>\n"
            f"<filestorage 1>\n  path {folder}/Data.fs\n"
            + (f"  blob-dir {folder}/blobs\n" if blobs else "")
            + "</filestorage>\n"
        )
        command = [sys.executable, "-m", "ZEO.runzeo", "-C", str(configuration)]
        super().__init__(command, lambda: accepts(address), folder / "zeo.log")

    @property
    def url(self) -> str:
        if isinstance(self.address, str):
            return f"zeo://{self.address}"
        return f"zeo://{self.address[0]}:{self.address[1]}"


@contextmanager
def zeo_server(folder: Path, *, tcp: bool = False, blobs: bool = True) -> Iterator[ZeoServer]:
    """A ZEO server of the database in `folder` (below /tmp and short), on a UNIX socket in it or on a TCP port."""
    server = ZeoServer(folder, ("127.0.0.1", free_port()) if tcp else str(folder / "zeo.sock"), blobs=blobs)
    try:
        yield server
    finally:
        server.stop()


class PostgresqlServer(Program):
    """PostgreSQL with one user, `wendelin`, who has a password; it listens on TCP and on a socket in `sockets`."""

    user, password = "wendelin", "geheim'% /:@ß"
    fsync = "off"  # no test cuts the power

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self.bin, self.port, self.sockets = bin_folder, free_port(), folder
        user = "postgres" if os.getuid() == 0 else None
        data, secret = folder / "data", folder / "password"
        secret.write_text(self.password)
        if user:
            for path in (folder, secret):
                shutil.chown(path, user, user)
        as_user: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        subprocess.run(
            [bin_folder / "initdb", "-D", data, "-U", self.user, "--pwfile", secret, "-A", "scram-sha-256", "-EUTF8"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", **as_user,
        )  # fmt: skip
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(folder),
            "port": str(self.port),
            "fsync": self.fsync,
        }
        command = [str(bin_folder / "postgres"), "-D", str(data)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        ready: list[str | Path] = [bin_folder / "pg_isready", "-q", "-h", str(folder), "-p", str(self.port)]
        super().__init__(command, lambda: subprocess.run(ready, check=False).returncode == 0, folder / "log", user)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown; SIGTERM waits for its clients
        self.process.wait(60)

    def psql(self, command: str, database: str = "postgres") -> str:
        return subprocess.run(
            [self.bin / "psql", "-h", self.sockets, "-p", str(self.port), "-U", self.user, "-Atqc", command, database],
            check=True, capture_output=True, text=True, env={**os.environ, "PGPASSWORD": self.password},
        ).stdout.strip()  # fmt: skip

    def url(self, database: str, *, password: str | None = None, parameters: str = "") -> str:
        from urllib.parse import quote

        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{self.user}:{secret}@127.0.0.1:{self.port}/{database}{parameters}"


@contextmanager
def postgresql_server(bin_folder: str | Path | None) -> Iterator[PostgresqlServer]:
    """A fresh PostgreSQL; `bin_folder` is the fixture `tools`' "postgres_bin"; None skips the test."""
    if bin_folder is None:
        pytest.skip("needs the Debian package postgresql: python3 bootstrap.py install (as root) brings it")
    folder = Path(tempfile.mkdtemp(prefix="w-pg-", dir="/tmp"))
    try:
        server = PostgresqlServer(Path(bin_folder), folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def small_disk(folder: Path, megabytes: int = 4) -> AbstractContextManager[Path]:
    """A file system of a few MB, mounted at `folder`; skips where this user may not mount."""
    return mounted("tmpfs", f"size={megabytes}m,mode=700", folder)


@contextmanager
def mounted(kind: str, options: str, folder: Path) -> Iterator[Path]:
    """A file system, mounted at `folder`; skips where this user may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", kind, "-o", options, "wendelin-test", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs the right to mount {kind} with {options}: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill the disk of `folder` with one file until `leave` bytes are free; remove it to free them."""
    ballast = folder / "ballast"
    free = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(b"x" * max(0, free.f_bavail * free.f_frsize - leave))
    return ballast
