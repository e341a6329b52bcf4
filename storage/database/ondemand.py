"""Find, start and stop the server of a folder.

- One server a folder, for all processes of the user: whoever needs it first starts it (`ensure`).
- *Truth is in the kernel, not in files*: a server runs if its socket accepts, and its pid is what the kernel says
  about the socket's peer. `server.json` only helps to find a socket that was made with another XDG_RUNTIME_DIR.
- Two at once: starters queue on the lock of `start.lock`; the second finds the first one's server.
- The server is no child of its starter (it forks away) and has a session of its own, so that neither a notebook's
  process group nor a kernel that kills its descendants takes it along.
- The starter waits on a pipe: the server writes one JSON line when it listens, or why it cannot; a closed pipe
  without a line means that it died, and the log's last lines are quoted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import wendelin
from wendelin.storage.database import paths
from wendelin.storage.database.refusals import translated
from wendelin.storage.errors import (
    DatabaseLockedError,
    ResourceError,
    ServerGoneError,
    StorageFullError,
    UnavailableError,
    WendelinError,
)

MODULE = "wendelin.storage.database.server"
START_SECONDS = 90.0
STOP_SECONDS = 20.0
_LOG_LIMIT = 1 << 20


@dataclass(frozen=True)
class Server:
    """A running server: where it listens, and the process behind the socket."""

    folder: Path
    socket: Path
    pid: int


def find(folder: Path) -> Server | None:
    """The server of `folder`, or None when none accepts connections. Starts nothing."""
    for path in _sockets(folder):
        pid = _listening(path)
        if pid is not None:
            return Server(folder, path, pid)
    return None


def ensure(folder: Path) -> Server:
    """The server of `folder`, started when there is none. Safe to call from many processes and threads at once.

    Raises `DatabaseLockedError`, `StorageFullError`, or `ServerGoneError` with the log's last lines.
    """
    running = find(folder)
    if running is not None:
        return running
    paths.private_folder(folder)
    with _start_lock(folder):
        return find(folder) or _start(folder)


def stop(folder: Path) -> Server | None:
    """Stop the server of `folder` and wait until it is gone; return what ran, or None.

    Open connections do not start it again (they raise `ServerGoneError`); the next `wendelin.connect` does.
    """
    if not folder.is_dir():
        return None
    with _start_lock(folder):
        running = find(folder)
        if running is None:
            return None
        stopped_mark(folder).touch()
        _end(running)
        return running


def was_stopped(folder: Path) -> bool:
    """Whether the last server of `folder` was stopped on purpose, by `stop`."""
    return stopped_mark(folder).exists()


def stopped_mark(folder: Path) -> Path:
    """The file that is there when the server was stopped on purpose."""
    return folder / "stopped"


def state_file(folder: Path) -> Path:
    """Where a server writes what it says about itself."""
    return folder / "server.json"


def log_file(folder: Path) -> Path:
    """Where a server writes what it says and why it ended."""
    return folder / "server.log"


def state(folder: Path) -> dict[str, Any]:
    """What the last server of `folder` wrote about itself: pid, socket, folder, host, started; {} when unreadable."""
    try:
        found = json.loads(state_file(folder).read_text())
    except (OSError, ValueError):
        return {}
    # A copied folder carries the state of the original's server.
    if not isinstance(found, dict) or found.get("folder") != os.path.realpath(folder):
        return {}
    return found


def start_command(folder: Path) -> str:
    """What to type to start the server of `folder`."""
    return "wendelin db start" + ("" if folder == paths.database_folder() else f" local://{folder}")


def log_tail(folder: Path, lines: int = 12) -> str:
    """The last lines of the server's log."""
    try:
        with log_file(folder).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            found = file.read().decode(errors="replace").splitlines()
    except OSError as error:
        return f"(no log: {error})"
    return "\n".join(found[-lines:]) or "(the log is empty)"


def _sockets(folder: Path) -> list[Path]:
    recorded = state(folder).get("socket")
    computed = paths.socket_path(folder)
    return [computed] if recorded in (None, str(computed)) else [Path(recorded), computed]


def _listening(path: Path) -> int | None:
    """The pid of our process that listens on the socket `path`, or None."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid if uid == os.getuid() else None


@contextlib.contextmanager
def _start_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's start lock; the kernel frees it when its holder dies."""
    with translated(folder):
        file = (folder / "start.lock").open("a")
    with file:
        deadline = time.monotonic() + START_SECONDS
        while not _locked(file):
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"another process has been starting the server of {str(folder)!r} for {START_SECONDS:.0f} s; "
                    f"see {log_file(folder)}, then try again: {start_command(folder)}"
                )
            time.sleep(0.02)
        yield


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _start(folder: Path) -> Server:
    with translated(folder):
        report = _launch(folder)
    if "pid" not in report:
        raise _failure(folder, report)
    running = find(folder)
    if running is None:
        raise ServerGoneError(
            f"the server of {str(folder)!r} started (pid {report['pid']}) but does not answer; its log says:\n"
            f"{log_tail(folder)}\nTry again: {start_command(folder)}"
        )
    return running


def _launch(folder: Path) -> dict[str, Any]:
    """Start the server process and return its report (see `server.report`), {} when it died without one."""
    log = log_file(folder)
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb") as pipe, log.open("ab") as output:
        try:
            forker = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, "--folder", str(folder), "--report-fd", str(theirs), "--detach"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs],
                start_new_session=True,
                env=_environment(),
            )
        finally:
            os.close(theirs)
        forker.wait()
        return _report(pipe, folder)


def _environment() -> dict[str, str]:
    """Ours, with this very `wendelin` importable whatever our own import path was."""
    root = str(Path(wendelin.__file__).resolve().parents[1])
    search = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": f"{search}{os.pathsep}{root}" if search else root}


def _report(pipe: IO[bytes], folder: Path) -> dict[str, Any]:
    deadline = time.monotonic() + START_SECONDS
    received = b""
    while not received.endswith(b"\n"):
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise UnavailableError(
                f"the server of {str(folder)!r} is still starting after {START_SECONDS:.0f} s "
                f"(a large database may rebuild its index); see {log_file(folder)}, "
                f"then try again: {start_command(folder)}"
            )
        piece = os.read(pipe.fileno(), 65536)
        if not piece:
            return {}
        received += piece
    found = json.loads(received)
    return found if isinstance(found, dict) else {}


_ERRORS: dict[str, type[WendelinError]] = {
    error.__name__: error for error in (DatabaseLockedError, ResourceError, StorageFullError)
}


def _failure(folder: Path, report: dict[str, Any]) -> WendelinError:
    message, number = report.get("message"), report.get("errno")
    if message and report.get("error") in _ERRORS:
        kind = _ERRORS[report["error"]]
        return kind(message) if number is None else kind(number, message)
    return ServerGoneError(
        f"the server of {str(folder)!r} could not start; its log {log_file(folder)} ends:\n{log_tail(folder)}\n"
        f"Try again: {start_command(folder)}"
    )


def _end(running: Server) -> None:
    if not running.pid:
        raise UnavailableError(
            f"the server of {str(running.folder)!r} runs in another container or process namespace: stop it there"
        )
    try:
        handle = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], STOP_SECONDS)[0]:
            raise UnavailableError(
                f"the server of {str(running.folder)!r} (pid {running.pid}) did not end within {STOP_SECONDS:.0f} s; "
                f"see {log_file(running.folder)}; `kill -9 {running.pid}` ends it, what was committed stays"
            )
    finally:
        os.close(handle)
